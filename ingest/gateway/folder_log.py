"""The usage log of one machine: a folder of segments that only grow, each group synced.

One gateway writes a folder at a time. `ratecast rate --follow FOLDER` reads it meanwhile, and only
whole lines. A line that a crash tore was never acknowledged, and is cut off at the next start.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ingest.gateway.errors import FolderLogError
from ingest.gateway.group_commit import GroupCommit, LogUnavailable, ReceivedClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from ingest.adapters.canonical import LogLine

SEGMENT_BYTES_MAX = 256 * 2**20
TAIL_BYTES = 32 * 2**20  # more than the longest line
CLOCK_AHEAD_MS = 5 * 60_000


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

    async def open(self) -> None:
        """Take the folder, and go on behind the last whole line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._folder)
        segments = sorted(self._folder.glob(f"{self._name}-????????.ndjson"))
        self._number = int(segments[-1].stem.removeprefix(f"{self._name}-")) if segments else 0
        last_ms = _last_received_ms(segments)
        self._clock = ReceivedClock(last_ms)
        if last_ms - ReceivedClock().now_ms() > CLOCK_AHEAD_MS:
            raise FolderLogError(
                f"{self._folder}: its last record was received {last_ms} ms after 1970, which is "
                "more than 5 min ahead of this machine's clock; set the clock right"
            )
        self._file = -1
        if segments:
            self._file = os.open(segments[-1], os.O_RDWR | os.O_APPEND)
            self._size_bytes = _cut_torn_tail(self._file)
        else:
            self._next_segment()
        self._commit = GroupCommit(self._hand_over, groups_max=1, on_group=self._on_group)

    def received_ms(self) -> int:
        """Now, never less than it was."""
        return self._clock.now_ms()

    async def append(self, lines: Sequence[LogLine]) -> None:
        """Return once the lines are on the disk. Raises: LogUnavailable."""
        await self._commit.append(lines)

    async def last_lines(self, bytes_max: int) -> list[bytes]:
        """Its last whole lines, at most about so many bytes of them, in their order."""
        parts: list[bytes] = []
        for segment in sorted(self._folder.glob(f"{self._name}-????????.ndjson"), reverse=True):
            if bytes_max <= 0:
                break
            parts.append(_last_bytes(segment, bytes_max))
            bytes_max -= len(parts[-1])
        return [line for part in reversed(parts) for line in part.split(b"\n") if line]

    async def close(self) -> None:
        """Finish what was appended, and let the folder go."""
        await self._commit.close()
        self._thread.shutdown()
        os.close(self._file)
        os.close(self._lock)

    @property
    def why_not_ready(self) -> str:
        """Empty where the log takes lines."""
        return self._broken

    async def _hand_over(self, lines: list[LogLine]) -> Awaitable[None]:
        content = b"".join([part for each in lines for part in (each.line, b"\n")])
        return asyncio.get_running_loop().run_in_executor(self._thread, self._write, content)

    def _write(self, content: bytes) -> None:
        """Append to the segment and sync it. Raises: LogUnavailable."""
        if self._broken:
            raise LogUnavailable(self._broken)
        try:
            if self._size_bytes >= self._segment_bytes_max:
                self._next_segment()
            self._append_whole(content)
        except OSError as error:
            raise LogUnavailable(f"{self._folder}: {error.strerror}") from error
        try:
            os.fdatasync(self._file)
        except OSError as error:
            # What the system holds of the file may now differ from the disk, and nobody can tell.
            self._broken = f"{self._folder}: it could not be synced ({error.strerror}); start again"
            raise LogUnavailable(self._broken) from error

    def _append_whole(self, content: bytes) -> None:
        """Write all of it. Raises: OSError, after which the segment still ends in a whole line."""
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            # Whole lines stay, since a reader may have taken them; to send them again is harmless.
            self._size_bytes = _cut_torn_tail(self._file)
            raise
        self._size_bytes += len(content)

    def _next_segment(self) -> None:
        """Begin a new segment, whose name is durable before anything is in it."""
        path = self._folder / f"{self._name}-{self._number + 1:08}.ndjson"
        segment = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o640)
        _sync_folder(self._folder)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size_bytes = segment, 0
        self._number += 1


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


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _cut_torn_tail(segment: int) -> int:
    """Cut off what follows the last line end; returns the size in bytes."""
    size_bytes = os.fstat(segment).st_size
    from_byte = max(0, size_bytes - TAIL_BYTES)
    whole_bytes = os.pread(segment, TAIL_BYTES, from_byte).rfind(b"\n") + 1
    if from_byte + whole_bytes < size_bytes:
        os.ftruncate(segment, from_byte + whole_bytes)
        os.fsync(segment)
    return from_byte + whole_bytes


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
        with segment.open("rb") as opened:
            opened.seek(max(0, segment.stat().st_size - TAIL_BYTES))
            lines = opened.read().split(b"\n")
        for line in reversed(lines):
            try:
                received = json.loads(line)["received"]
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
            if isinstance(received, int):
                return received
    return 0
