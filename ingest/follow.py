"""Logs that grow: read on as whole lines are appended, until told to stop.

What is read is synced to the disk first. Otherwise a power cut could take back lines that were
rated already, since a writer may not have synced them yet. A pass costs what was appended, and a
look at each name in the folders.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.files import (
    COMPRESSED_SUFFIXES,
    ChunkBuilder,
    LogChunk,
    LogError,
    UnreadableSource,
    log_names,
)
from ingest.sources import HEAD_BYTES, NO_ROOM, KnownSources, Source
from ingest.streams import BLOCK_BYTES, ReadError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from threading import Event

    from rating.schemas import SourcePosition

POLL_S = 0.1
BYTES_MAX = 64 * 2**20


class GrowingFile(Stream):
    """A plain file that others append to. Of it only what `look` has seen is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._upto_byte = 0
        self._at_byte = 0
        self._changed_ns = 0

    @property
    def seen(self) -> tuple[int, int]:
        """Which file it is, and its size when it was last looked at."""
        return os.fstat(self._file.fileno()).st_ino, self._upto_byte

    def look(self) -> bool:
        """Whether there is more than before; it is made durable. Raises: ReadError."""
        found = os.fstat(self._file.fileno())
        size_bytes = found.st_size
        if size_bytes < self._at_byte:
            raise ReadError(
                f"{self._at_byte} bytes of it were rated, but now it has only {size_bytes}, so it "
                "was cut off",
                "put what was never rated into a file of its own",
            )
        if (size_bytes, found.st_mtime_ns) == (self._upto_byte, self._changed_ns):
            return False
        os.fsync(self._file.fileno())
        self._upto_byte, self._changed_ns = size_bytes, found.st_mtime_ns
        return True

    def blocks(self) -> Iterator[bytes]:
        """Blocks in their order, and an empty one whenever there are no more for now."""
        while True:
            block = self._file.read(min(BLOCK_BYTES, self._upto_byte - self._at_byte)) or b""
            self._at_byte += len(block)
            self.bytes_read = max(self.bytes_read, self._at_byte)
            yield block

    def go_back_to(self, at_byte: int) -> None:
        """Read on from there next time."""
        self._file.seek(at_byte)
        self._at_byte = at_byte


class Followed:
    """One log that is open: the file, and the lines that were taken of it."""

    def __init__(self, file: Stream, source: Source) -> None:
        self.file = file
        self.source = source


class FollowReader:
    """The chunks of logs that grow; the same in form as `LogReader`.

    stop: once it is set, what is there is still read, and then the chunks end. Logs may appear while
    it runs, and so may the paths themselves: put a file that is not appended to line by line into the
    folder in one step, by renaming.
    unreadable, taken_before: as of LogReader. warn: called with each unreadable log at once.
    Raises: LogError where a path may not be read.
    """

    def __init__(
        self,
        paths: Sequence[str],
        sources: Iterable[SourcePosition],
        *,
        records_max: int,
        stop: Event,
        warn: Callable[[UnreadableSource], None] = lambda _: None,
    ) -> None:
        self.unreadable: list[UnreadableSource] = []
        self.taken_before: list[str] = []
        self.bytes_total = 0  # nobody knows it
        self.bytes_read = 0
        self._paths = tuple(paths)
        self._known = KnownSources(sources)
        self._records_max = records_max
        self._stop = stop
        self._warn = warn
        self._open: dict[str, Followed] = {}
        self._closed: dict[str, tuple[int, int]] = {}  # name: inode and size when it was closed
        log_names(self._paths_there())

    def __iter__(self) -> Iterator[LogChunk]:
        """Read on; a chunk's lines count as taken when the next one is asked for."""
        is_last = False
        while not is_last:
            # Asked before the pass, so that what was there when it was set is still read.
            is_last = self._stop.is_set()
            yield from self._pass()
            if not is_last:
                self._stop.wait(POLL_S)
        for name in list(self._open):
            self._close(name)

    def _paths_there(self) -> list[str]:
        """The paths but for those that nobody has made yet."""
        return [path for path in self._paths if Path(path).exists()]

    def _pass(self) -> Iterator[LogChunk]:
        """All whole lines that there are now."""
        chunk = ChunkBuilder()
        names: list[str] = []
        with suppress(LogError, OSError):  # a name may go between two looks at the folder
            names = log_names(self._paths_there())
        for name in names:
            followed = self._followed(name)
            while followed:
                try:
                    lines = followed.source.take(
                        self._records_max - chunk.lines,
                        BYTES_MAX - chunk.byte_count,
                        is_alone=chunk.lines == 0,
                    )
                except ReadError as failure:
                    self._give_up(name, failure)
                    break
                if lines is None:
                    self._rest(name, followed, is_newest=name == names[-1])
                    break
                if lines is not NO_ROOM and followed.source.position:
                    chunk.add(followed.source, followed.source.position, lines)
                    self._known.add(followed.source.position)
                    self.bytes_read += len(lines.content)
                if lines is NO_ROOM or chunk.lines >= self._records_max:
                    yield chunk.build()
                    chunk = ChunkBuilder()
        if chunk.lines:
            yield chunk.build()

    def _followed(self, name: str) -> Followed | None:
        """The log of a name if it may have more lines."""
        try:
            followed = self._open.get(name)
            if followed is None:
                return self._opened(name)
            assert isinstance(followed.file, GrowingFile)
            return followed if followed.file.look() else None
        except ReadError as failure:
            self._give_up(name, failure)
        except OSError as error:
            self._give_up(
                name, ReadError(f"the system cannot read it ({error.strerror})", "mend that")
            )
        return None

    def _opened(self, name: str) -> Followed | None:
        """Open a log that has grown since it was closed, or is new and has a whole line."""
        found = Path(name).stat()
        if found.st_size == 0 or self._closed.get(name) == (found.st_ino, found.st_size):
            return None
        is_growing = not name.endswith(COMPRESSED_SUFFIXES)
        file = GrowingFile(name) if is_growing else Stream(name)
        try:
            if isinstance(file, GrowingFile):
                file.look()
            source = Source(file, self._known, is_growing=is_growing)
        except BaseException:
            file.close()
            raise
        if (
            is_growing
            and not source.has_whole_line
            and found.st_size < HEAD_BYTES
            and not source.is_known
        ):
            file.close()  # what it begins with is not known yet, so neither is whether it is new
            return None
        self._open[name] = Followed(file, source)
        return self._open[name]

    def _rest(self, name: str, followed: Followed, *, is_newest: bool) -> None:
        """Leave a log until it grows; one that others have followed is closed."""
        is_growing = isinstance(followed.file, GrowingFile)
        if isinstance(followed.file, GrowingFile):
            followed.file.go_back_to(followed.source.let_go_of_partial_line())
        if followed.source.is_known and followed.source.position is None:
            self.taken_before += [] if name in self.taken_before else [name]
        if not is_growing or (not is_newest and name not in self._paths):
            self._close(name)

    def _close(self, name: str) -> None:
        """Close a log, and remember how far it was read."""
        file = self._open.pop(name).file
        if isinstance(file, GrowingFile):
            self._closed[name] = file.seen
        else:
            self._remember(name)
        file.close()

    def _remember(self, name: str) -> None:
        """Remember how large a log is now."""
        with suppress(OSError):
            found = Path(name).stat()
            self._closed[name] = (found.st_ino, found.st_size)

    def _give_up(self, name: str, failure: ReadError) -> None:
        """Say that a log cannot be read on, and leave it until it changes."""
        at_byte = 0
        if name in self._open:
            position = self._open[name].source.position
            at_byte = position.taken_bytes if position else 0
            self._close(name)
        self._remember(name)
        unreadable = UnreadableSource(name, at_byte, failure.why, failure.mend)
        self.unreadable.append(unreadable)
        self._warn(unreadable)
