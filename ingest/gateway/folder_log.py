"""The usage log of one machine: a folder of segments that only grow, each group synced.

One gateway writes a folder at a time. `ratecast rate --follow FOLDER` reads it meanwhile, and only
whole lines. A line that a crash tore was never acknowledged, and is cut off at the next start. Who
compresses or moves the newest segment gets a new one, with all that it may have missed.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ingest.gateway.errors import FolderLogError
from ingest.gateway.group_commit import GroupCommit, LogUnavailable, ReceivedClock
from ingest.gateway.segment import TAIL_BYTES, Segment
from ingest.json_exact import MalformedError, parse_json
from rating.schemas import TIME_MS_MAX, TIME_MS_MIN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from ingest.adapters.canonical import LogLine

log = logging.getLogger(__name__)

SEGMENT_BYTES_MAX = 256 * 2**20
CLOCK_AHEAD_MS = 5 * 60_000
LOOK_EVERY_S = 1.0
FAILED_S = 10.0  # for so long a failed write keeps senders away; then the next one tries again


class FolderLog:
    """A log in a folder. name: of its segments. Raises, at `open`: FolderLogError, OSError."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str = "usage",
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        on_group: Callable[[int, float], None] = lambda _lines, _elapsed_s: None,
    ) -> None:
        self._folder = folder
        self._name = name
        self._segment_bytes_max = segment_bytes_max
        self._on_group = on_group
        self._thread = ThreadPoolExecutor(1, "usage-log")
        self._broken = ""
        self._failure = ""
        self._failed_s = 0.0

    async def open(self) -> None:
        """Take the folder, and go on behind the last whole line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder)
        segments = self._segments()
        self._number = int(segments[-1].stem.removeprefix(f"{self._name}-")) if segments else 0
        last_ms = _last_received_ms(segments)
        self._clock = ReceivedClock(last_ms)
        if last_ms - ReceivedClock().now_ms() > CLOCK_AHEAD_MS:
            raise FolderLogError(
                f"{self._folder}: its last record was received {last_ms} ms after 1970, which is "
                "more than 5 min ahead of this machine's clock; set the clock right"
            )
        if segments:
            self._segment = Segment(segments[-1], is_new=False)
        else:
            self._segment = self._made_segment()
        self._commit = GroupCommit(self._hand_over, groups_max=1, on_group=self._on_group)
        self._looking = asyncio.create_task(self._look())

    def received_ms(self) -> int:
        """Now, never less than it was."""
        return self._clock.now_ms()

    async def append(self, lines: Sequence[LogLine]) -> None:
        """Return once the lines are on the disk. Raises: LogUnavailable."""
        await self._commit.append(lines)

    async def last_lines(self, bytes_max: int) -> list[bytes]:
        """Its last whole lines, at most about so many bytes of them, in their order."""
        parts: list[bytes] = []
        for segment in reversed(self._segments()):
            if bytes_max <= 0:
                break
            parts.append(_last_bytes(segment, bytes_max))
            bytes_max -= len(parts[-1])
        return [line for part in reversed(parts) for line in part.split(b"\n") if line]

    async def close(self) -> None:
        """Finish what was appended, and let the folder go."""
        await self._commit.close()
        self._looking.cancel()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._keep_named)
        self._thread.shutdown()
        self._segment.close()
        os.close(self._lock)

    @property
    def why_not_ready(self) -> str:
        """Empty where the log takes lines, or where it is time to try again."""
        has_failed = self._failure and time.monotonic() - self._failed_s < FAILED_S
        return self._broken or (self._failure if has_failed else "")

    async def _hand_over(self, lines: list[LogLine]) -> Awaitable[None]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._write, lines)

    def _write(self, lines: list[LogLine]) -> None:
        """Append to the newest segment and sync it. Raises: LogUnavailable."""
        if self._broken:
            raise LogUnavailable(self._broken)
        content = b"".join([part for each in lines for part in (each.line, b"\n")])
        try:
            self._go_on_named()
            if self._segment.size_bytes >= self._segment_bytes_max:
                self._begin_segment()
            self._segment.append(content)
            self._sync()
            self._go_on_named()  # what was taken away meanwhile is not acknowledged
        except OSError as error:
            self._failure = f"{self._folder}: it cannot be written ({error.strerror})"
            self._failed_s = time.monotonic()
            raise LogUnavailable(self._failure) from error
        self._failure = ""

    def _sync(self) -> None:
        """Make what was written durable. Raises: LogUnavailable."""
        try:
            self._segment.sync()
        except OSError as error:
            # What the system holds of the file may now differ from the disk, and nobody can tell.
            self._broken = f"{self._folder}: it could not be synced ({error.strerror}); start again"
            raise LogUnavailable(self._broken) from error

    def _go_on_named(self) -> None:
        """Go on in a new segment where the newest was taken away. Raises: OSError."""
        self._segment.forget_old()
        if self._segment.is_named():
            return
        lost = self._segment.last_lost()
        self._begin_segment(lost)
        log.error(
            "the newest segment was moved, compressed or replaced while it was written; %s goes on, "
            "with the last %d bytes of it once more. Leave the newest segment alone",
            self._segment.path,
            len(lost),
        )

    def _begin_segment(self, content: bytes = b"") -> None:
        """Begin a new segment with some lines. Raises: OSError, and the one before stays."""
        segment = self._made_segment()
        try:
            segment.append(content)
            segment.sync()
        except OSError:
            segment.close()
            segment.path.unlink(missing_ok=True)
            self._number -= 1
            raise
        self._segment.close()
        self._segment = segment

    def _made_segment(self) -> Segment:
        path = self._folder / f"{self._name}-{self._number + 1:08}.ndjson"
        segment = Segment(path, is_new=True)
        self._number += 1
        return segment

    async def _look(self) -> None:
        """Find out that the newest segment was taken away also where nothing is sent."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.get_running_loop().run_in_executor(self._thread, self._keep_named)

    def _keep_named(self) -> None:
        if self._broken:
            return
        try:
            self._go_on_named()
        except OSError as error:
            log.error("%s: no new segment (%s)", self._folder, error.strerror)  # noqa: TRY400 - one sentence

    def _segments(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self._name}-????????.ndjson"))


def _locked(folder: Path) -> int:
    """Keep others from writing the folder for as long as this process lives."""
    lock = os.open(folder / ".gateway.lock", os.O_RDWR | os.O_CREAT, 0o640)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise FolderLogError(
            f"{folder}: another gateway writes this log; stop it, or name another folder"
        ) from None
    return lock


def _last_bytes(segment: Path, bytes_max: int) -> bytes:
    """The whole lines within the last bytes of a segment."""
    with segment.open("rb") as opened:
        begin = max(0, os.fstat(opened.fileno()).st_size - bytes_max)
        opened.seek(begin)
        content = opened.read()
    # What the first of the bytes belong to began before them.
    return content.partition(b"\n")[2] if begin else content


def _last_received_ms(segments: list[Path]) -> int:
    """The `received` of the last line that has one; 0 where there is none near the end."""
    for segment in reversed(segments):
        for line in reversed(_last_bytes(segment, TAIL_BYTES).split(b"\n")):
            # As exactly as a line is read that a sender sent: what was not understood has no time.
            try:
                fields = parse_json(line)
            except MalformedError:
                continue
            received = fields.get("received") if isinstance(fields, dict) else None
            if type(received) is int and TIME_MS_MIN <= received <= TIME_MS_MAX:
                return received
    return 0
