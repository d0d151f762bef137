"""docs/senders/player.md and programs.md tell the truth: a new user's commands, as they stand there.

Only the ports are other ones, since those of the manuals may be taken.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from services.browser import open_browser
from services.gateway import COMMAND, environment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(900)  # a browser may have to be fetched first

ROOT = Path(__file__).parents[2]
PROGRAMS = {"ratecast": list(COMMAND), "python": [sys.executable], "java": ["java"]}
ENDS_WITHIN_S = 60
READY_WITHIN_S = 120
CHARGED_WITHIN_MS = 240_000  # compiling takes most of it, where nothing is cached


def blocks(page: str) -> list[str]:
    """The commands of a manual: what stands in blocks without a language."""
    text = (ROOT / "docs" / "senders" / page).read_text(encoding="utf-8")
    found = re.findall(r"^```\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)
    return [block for block in found if re.match(r"ratecast|python|RATECAST_KEY", block)]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in taken]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which a new user works."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def words_of(command: str) -> list[str]:
    program, *words = shlex.split(command)
    return [*PROGRAMS[program], *words]


@contextmanager
def running(command: str, folder: Path) -> Iterator[None]:
    """A command in a terminal of its own, ended by Ctrl-C."""
    log = folder / f"terminal-{time.monotonic_ns()}.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            words_of(command), cwd=folder, env=environment(), stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield
        assert process.poll() is None, log.read_text()
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(ENDS_WITHIN_S)
    assert "Traceback" not in log.read_text()


def await_answer(url: str) -> None:
    """Wait as a user does until a program says that it listens."""
    ends_s = time.monotonic() + READY_WITHIN_S
    while True:
        try:
            httpx.get(url)
        except httpx.TransportError:
            assert time.monotonic() < ends_s, url
            time.sleep(0.1)
        else:
            return


def test_three_commands_and_a_page_charge_a_viewing(folder: Path) -> None:
    serve, gateway, rate = blocks("player.md")
    page_port, gateway_port = free_ports(2)
    serve += f" --port {page_port} --gateway http://127.0.0.1:{gateway_port}"
    gateway = gateway.replace("8080", str(gateway_port))
    with ExitStack() as terminals:
        terminals.enter_context(running(serve, folder))
        await_answer(f"http://127.0.0.1:{page_port}")
        terminals.enter_context(running(gateway, folder))
        await_answer(f"http://127.0.0.1:{gateway_port}/readyz")
        terminals.enter_context(running(rate, folder))
        page = terminals.enter_context(open_browser(folder / "profile")).new_page()
        page.goto(f"http://127.0.0.1:{page_port}")
        page.click("#play")
        page.wait_for_function("ownClock.watchedMs > 2000")
        page.click("#stop")
        page.wait_for_function("charged.textContent.includes('EUR')", timeout=CHARGED_WITHIN_MS)
        said = re.fullmatch(r"0\.0(\d+) EUR for (\d+)\.(\d+) s", page.inner_text("#charged"))
        assert said is not None
        assert int(said[1].ljust(5, "0")) * 10 == int(said[2] + said[3]) * 100  # a cent a second


def test_the_sender_in_java_as_its_manual_has_it(folder: Path) -> None:
    create, gateway, rate, send = blocks("programs.md")
    (port,) = free_ports(1)
    began_ms = int(time.time() * 1000) - 60_000
    view = {"type": "view", "account": "anna", "device": "tv", "session": "s1", "kind": "vod"}
    view |= {"content": "counting", "time": began_ms, "state": "playing"}
    lines = [view, view | {"time": began_ms + 60_000, "state": "stopped"}]
    (folder / "events.ndjson").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    made = subprocess.run(
        words_of(create), cwd=folder, env=environment(), capture_output=True, text=True, check=True
    )
    assignment, _, command = send.replace("8080", str(port)).partition(" ")
    command, _, source = command.partition(" < ")
    assert assignment == "RATECAST_KEY=rc_..."
    with running(gateway.replace("8080", str(port)), folder):
        await_answer(f"http://127.0.0.1:{port}/readyz")
        with (folder / source).open("rb") as stdin:
            sent = subprocess.run(
                words_of(command),
                cwd=folder,
                env={**os.environ, "RATECAST_KEY": made.stdout.strip()},
                stdin=stdin,
                capture_output=True,
                text=True,
                check=False,
            )
    assert (sent.stdout, sent.stderr) == ("Sent 2 records.\n", "")
    rated = subprocess.run(
        [*words_of(rate.replace("--follow ", "")), "--json"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    (revenue,) = json.loads(rated.stdout)["revenue"]
    assert (revenue["currency"], revenue["total"]) == ("EUR", 600_000)
