"""One segment of a folder log: a file that grows by whole lines, whatever the disk does meanwhile."""

from __future__ import annotations

import contextlib
import os
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

TAIL_BYTES = 32 * 2**20  # more than the longest line
STEP_BYTES = 2**20
WRITTEN_AGAIN_S = (
    60.0  # longer than a compressor takes from the end of what it reads to the removal
)


class Segment:
    """An open segment. Used by one thread at a time. Raises, where it is made: OSError.

    is_new: makes the file, whose name is durable before anything is in it. Else it is one that is
    there, and what follows its last line end is cut off.
    """

    def __init__(self, path: Path, *, is_new: bool) -> None:
        self.path = path
        created = os.O_CREAT | os.O_EXCL if is_new else 0
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | created, 0o640)
        self._begins: deque[tuple[float, int]] = deque()
        self._is_torn = False
        try:
            if is_new:
                sync_folder(path.parent)
            self.size_bytes = 0 if is_new else self._cut_torn_tail()
        except OSError:
            os.close(self._file)
            if is_new:
                path.unlink(missing_ok=True)
            raise

    def append(self, content: bytes) -> None:
        """Write whole lines. Raises: OSError, after which nothing may be said to be in it.

        Whole lines of what was written before it failed stay, since a reader may have taken them; to
        send them again is harmless. A torn one is cut off, or gets a line end of its own, now or
        before the next line: so nothing that follows is glued to it.
        """
        self._mend()
        self._begins.append((time.monotonic(), self.size_bytes))
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            self._is_torn = True
            with contextlib.suppress(OSError):  # it is tried again before the next line
                self._mend()
            raise
        self.size_bytes += len(content)

    def sync(self) -> None:
        """Return once all that was written is on the disk. Raises: OSError."""
        os.fdatasync(self._file)

    def is_named(self) -> bool:
        """Whether its name still leads to it: it was neither moved nor removed nor replaced."""
        ours = os.fstat(self._file)
        try:
            named = self.path.stat()
        except OSError:
            return False
        return (named.st_ino, named.st_dev) == (ours.st_ino, ours.st_dev)

    def last_lost(self) -> bytes:
        """What may be lost with a file that was removed: the last WRITTEN_AGAIN_S seconds of it.

        Whoever compressed it may have read its end before that was written. Nothing is lost where it
        only has another name. Raises: OSError.
        """
        if os.fstat(self._file).st_nlink:
            return b""
        since_s = time.monotonic() - WRITTEN_AGAIN_S
        begins = [at for written_s, at in self._begins if written_s >= since_s]
        return self._read(begins[0], self.size_bytes) if begins else b""

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def forget_old(self) -> None:
        """Forget when was written what nobody will ask for."""
        since_s = time.monotonic() - WRITTEN_AGAIN_S
        while len(self._begins) > 1 and self._begins[1][0] < since_s:
            self._begins.popleft()

    def _mend(self) -> None:
        """Cut a torn line off, or close it off. Raises: OSError where neither can be done."""
        if not self._is_torn:
            return
        try:
            self.size_bytes = self._cut_torn_tail()
        except OSError:
            os.write(self._file, b"\n")
            self.size_bytes = os.fstat(self._file).st_size
        self._is_torn = False

    def _cut_torn_tail(self) -> int:
        """Cut off what follows the last line end; returns the size in bytes. Raises: OSError."""
        size_bytes = os.fstat(self._file).st_size
        from_byte = max(0, size_bytes - TAIL_BYTES)
        whole_bytes = from_byte + self._read(from_byte, size_bytes).rfind(b"\n") + 1
        if whole_bytes < size_bytes:
            os.ftruncate(self._file, whole_bytes)
            os.fsync(self._file)
        return whole_bytes

    def _read(self, begin: int, end: int) -> bytes:
        parts = []
        while begin < end and (part := os.pread(self._file, min(STEP_BYTES, end - begin), begin)):
            parts.append(part)
            begin += len(part)
        return b"".join(parts)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Raises: OSError."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
