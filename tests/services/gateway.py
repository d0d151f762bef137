"""A gateway of its own for tests: the real command in a process, on a free port."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from patience import PATIENCE_S

from ingest.gateway.key_file import changed_keys, create_api_key, create_signing_key
from ingest.gateway.keys import SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-c", "from rating.runtime.cli import main; main()")
START_S = 120  # compiling takes most of it, where nothing is cached


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


class RunningGateway:
    """`ratecast gateway` over a folder, with a key of all scopes and a signing key.

    url, key: to send to and with. said: what it wrote to its error output so far.
    """

    def __init__(
        self,
        folder: Path,
        *options: str,
        log: Sequence[str] | None = None,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.folder = folder
        self.log_folder = folder / "usage"
        self.keys = folder / "keys.json"
        if not self.keys.exists():
            with changed_keys(self.keys) as document:
                self.key = create_api_key(document, "tests", SCOPES)
                self.signing_kid = create_signing_key(document, "EdDSA")
                self.shared_kid = create_signing_key(document, "HS256")
            (folder / "key").write_text(self.key)
        self.key = (folder / "key").read_text()
        self.said = ""
        self._listens = threading.Event()
        self.process = subprocess.Popen(
            [
                *COMMAND,
                "gateway",
                *(log or ("--log", str(self.log_folder))),
                *("--keys", str(self.keys), "--listen", "127.0.0.1:0"),
                *options,
            ],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=before,  # noqa: PLW1509 - it sets a limit, and takes no lock
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._listens.wait(START_S)
        found = re.search(r"Listening on (\S+);", self.said)
        self.url = found[1] if found else ""

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            if "Listening on" in line:
                self._listens.set()
        self._listens.set()

    def client(self, credentials: str | None = None, **options: Any) -> httpx.Client:
        """Send with these credentials; by default with the key."""
        headers = (
            {"Authorization": f"Bearer {credentials or self.key}"} if credentials != "" else {}
        )
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(PATIENCE_S)
        self._reader.join(5)
        return code

    def raw_lines(self) -> list[bytes]:
        """Every line of the log folder that has an end."""
        segments = sorted(self.log_folder.glob("*.ndjson"))
        content = b"".join(segment.read_bytes() for segment in segments)
        return content.split(b"\n")[:-1]

    def lines(self) -> list[dict[str, Any]]:
        """Every line of the log folder that is JSON."""
        found = []
        for line in self.raw_lines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def most_memory_bytes(self) -> int:
        """The most that its process ever took."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
        return int(kibibytes) * 1024
