"""Logs that grow: read on as whole lines are appended, until told to stop.

A log is followed as the file that it is (device and inode), whatever its name becomes: one that is
rotated by renaming is read to its end, and then the new one under the old name from its start. One
that is emptied and written anew is found out by its beginning, which is read again with every block.

What is read is synced to the disk first. Otherwise a power cut could take back lines that were
rated already, since a writer may not have synced them yet. A pass costs what was appended, and a
look at each name in the folders.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.files import ChunkBuilder, LogChunk, UnreadableSource
from ingest.log_names import (
    COMPRESSED_SUFFIXES,
    found_logs,
    log_names,
    may_recur,
    series,
    shown,
)
from ingest.new_logs import ALL_NEW_LOGS, NewLogs, is_being_compressed
from ingest.sources import HEAD_BYTES, NO_ROOM, KnownSources, ShorterError, Source
from ingest.streams import BLOCK_BYTES, IncompleteError, ReadError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from threading import Event

    from rating.schemas import SourcePosition

    FileId = tuple[int, int]  # device and inode

POLL_S = 0.1
BYTES_MAX = 64 * 2**20
OPEN_MAX = 64  # files kept open between two passes; others are found again by their content
NAMELESS_MAX = 4  # files kept open that nobody finds by a name any more


def id_of(found: os.stat_result) -> FileId:
    """Which file it is, whatever its name."""
    return found.st_dev, found.st_ino


class BegunAnewError(ReadError):
    """A log was emptied after lines of it were taken, and may hold others by now."""


class GrowingFile(Stream):
    """A plain file that others append to. Of it only what `look` has seen is read."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._upto_byte = 0
        self._at_byte = 0
        self._changed_ns = 0
        self._head = b""  # of what was read

    def stat(self) -> os.stat_result:
        """How the file is now."""
        return os.fstat(self._file.fileno())

    @property
    def size_seen(self) -> int:
        """Its size when it was last looked at."""
        return self._upto_byte

    def look(self, found: os.stat_result) -> bool:
        """Whether there is more than before; it is made durable. Raises: ReadError.

        found: how the file was at some time after the last look.
        """
        if (found.st_size, found.st_mtime_ns) == (self._upto_byte, self._changed_ns):
            return False
        self._check_head()
        os.fsync(self._file.fileno())
        self._upto_byte, self._changed_ns = found.st_size, found.st_mtime_ns
        return True

    def blocks(self) -> Iterator[bytes]:
        """Blocks in their order, and an empty one whenever there are no more for now.

        Raises: BegunAnewError in place of a block that may be of other content than before.
        """
        while True:
            ahead_bytes = max(0, self._upto_byte - self._at_byte)
            block = self._file.read(min(BLOCK_BYTES, ahead_bytes)) or b""
            # Only after the block was read is it certain that nothing was written anew before.
            self._check_head()
            self._head += block[: HEAD_BYTES - len(self._head)]
            self._at_byte += len(block)
            self.bytes_read = max(self.bytes_read, self._at_byte)
            yield block

    def go_back_to(self, at_byte: int) -> None:
        """Read on from there next time: what follows may be cut off and written again."""
        self._file.seek(at_byte)
        self._at_byte = at_byte
        self._head = self._head[:at_byte]

    def _check_head(self) -> None:
        """Raise ReadError if the file does not hold any more what was read of it."""
        size_bytes = self.stat().st_size
        head = os.pread(self._file.fileno(), len(self._head), 0)
        if head == self._head and size_bytes >= self._at_byte:
            return
        if head and self._head.startswith(head):
            raise ReadError(
                f"{self._at_byte} bytes of it were rated, but now it has only {size_bytes}, so it "
                "was cut off",
                "put what was never rated into a file of its own",
            )
        raise BegunAnewError(
            f"{self._at_byte} bytes of it were rated, then it was cut off and begun anew",
            "if that is how it is rotated, rotate it by renaming",
        )


class Followed:
    """One log that is open: the file, the lines that were taken of it, and its name now.

    found: how it was when it was opened. is_nameless: no name leads to the file any more, or none
    that is followed.
    """

    def __init__(self, name: str, found: os.stat_result, file: Stream, source: Source) -> None:
        self.name = name
        self.file = file
        self.source = source
        self.is_nameless = False
        self._found = found

    @property
    def seen(self) -> tuple[FileId, int]:
        """Which file it is, and its size when it was last looked at."""
        file, found = self.file, self._found
        return id_of(found), file.size_seen if isinstance(file, GrowingFile) else found.st_size

    def rename(self, name: str) -> None:
        """Follow it under another name."""
        self.name, self.is_nameless = name, False
        self.source.name = shown(name)


class FollowReader:
    """The chunks of logs that grow; the same in form as `LogReader`.

    stop: once it is set, what is there is still read, and then the chunks end. Logs may appear while
    it runs, and so may the paths themselves: put a file that is not appended to line by line into the
    folder in one step, by renaming.
    unreadable, taken_before, passed_over: as of LogReader. warn: called with each unreadable log at
    once. new_logs: as of read_chunks; whether it is a log at all is asked while the store is empty.
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
        new_logs: NewLogs = ALL_NEW_LOGS,
    ) -> None:
        self.unreadable: list[UnreadableSource] = []
        self.taken_before: list[str] = []
        self.passed_over: list[str] = []
        self.bytes_total = 0  # nobody knows it
        self.bytes_read = 0
        self._paths = tuple(paths)
        self._known = KnownSources(sources)
        self._records_max = records_max
        self._stop = stop
        self._warn = warn
        self._new_logs = new_logs
        self._open: dict[FileId, Followed] = {}
        self._closed: dict[str, tuple[FileId, int]] = {}  # name: file and size when it was closed
        self._renewed: set[str] = set()  # names that were seen to become free for another log
        self._names: list[str] = []
        self._newest: set[str] = set()  # of each series of names
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
        for followed in list(self._open.values()):
            self._close(followed)

    def _paths_there(self) -> list[str]:
        """The paths but for those that nobody has made yet."""
        return [path for path in self._paths if Path(path).exists()]

    def _pass(self) -> Iterator[LogChunk]:
        """All whole lines that there are now."""
        chunk = ChunkBuilder()
        for followed in self._turns():
            while True:
                try:
                    lines = followed.source.take(
                        self._records_max - chunk.lines,
                        BYTES_MAX - chunk.byte_count,
                        is_alone=chunk.lines == 0,
                    )
                except ReadError as failure:
                    self._give_up(followed.name, failure, followed)
                    break
                if lines is None:
                    self._rest(followed)
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

    def _turns(self) -> Iterator[Followed]:
        """Each log that may have more lines, in the order in which they were written.

        The newest is looked at first. A writer that goes on from one log to the next has then
        finished the older one by the time that it is looked at.
        """
        names, _ = found_logs(self._paths_there())
        if names.logs != self._names:
            self._newest = set({series(name): name for name in names.logs}.values())
        self._names, self.passed_over = names.logs, [shown(name) for name in names.passed_over]
        found: dict[str, os.stat_result] = {}
        for name in reversed(self._names):
            with suppress(OSError):  # a name may go between two looks at the folder
                found[name] = Path(name).stat()
        self._notice_names(found)
        for followed in [each for each in self._open.values() if each.is_nameless]:
            if self._has_more(followed, None):
                yield followed
        for name in self._names:
            if name in found:
                known = self._open.get(id_of(found[name]))
                if known is None:
                    yield from self._opened(name, found[name])
                # A file that has two names is read under one of them.
                elif known.name == name and self._has_more(known, found[name]):
                    yield known

    def _notice_names(self, found: Mapping[str, os.stat_result]) -> None:
        """Follow files that were renamed, and those that no name leads to any more."""
        names_of: dict[FileId, list[str]] = {}
        for name in self._names:
            if name in found:
                names_of.setdefault(id_of(found[name]), []).append(name)
        for file, followed in self._open.items():
            names = names_of.get(file, [])
            if followed.name in names and not followed.is_nameless:
                continue
            assert isinstance(followed.file, GrowingFile)
            if may_recur(followed.name) and followed.file.stat().st_nlink:
                self._renewed.add(followed.name)
            if names:
                followed.rename(names[-1])
            else:
                followed.is_nameless = True
        nameless = [each for each in self._open.values() if each.is_nameless]
        for followed in nameless[:-NAMELESS_MAX]:
            self._close(followed)

    def _has_more(self, followed: Followed, found: os.stat_result | None) -> bool:
        """Whether an open log has grown. found: how it was when its name was looked at."""
        assert isinstance(followed.file, GrowingFile)
        try:
            return followed.file.look(found or followed.file.stat())
        except ReadError as failure:
            self._give_up(followed.name, failure, followed)
        except OSError as error:
            self._give_up(followed.name, unreadable(error), followed)
        return False

    def _opened(self, name: str, found: os.stat_result) -> Iterator[Followed]:
        """Open a log that has grown since it was closed, or is new and has a whole line."""
        if found.st_size == 0 or self._closed.get(name) == (id_of(found), found.st_size):
            return
        try:
            followed = self._open_file(name, found)
        except (ReadError, OSError) as error:
            self._closed[name] = (id_of(found), found.st_size)
            failure = unreadable(error) if isinstance(error, OSError) else error
            # Under a new name it is a copy that is still being made, or was made before the rest came.
            is_copy = isinstance(failure, ShorterError) and not self._known.newest_named(
                shown(name)
            )
            if not is_copy:
                self._give_up(name, failure)
        else:
            if followed:
                yield followed

    def _open_file(self, name: str, found: os.stat_result) -> Followed | None:
        """Open a log; None where it is too early to. Raises: ReadError, OSError."""
        is_growing = not name.endswith(COMPRESSED_SUFFIXES)
        file = GrowingFile(name) if is_growing else Stream(name)
        is_kept = False
        try:
            if isinstance(file, GrowingFile):
                if id_of(file.stat()) != id_of(found):
                    return None  # the name went on to another file meanwhile
                file.look(found)
            source = Source(file, self._known, is_growing=is_growing)
            is_short = is_growing and not source.has_whole_line and found.st_size < HEAD_BYTES
            if is_short and not source.is_known:
                return None  # what it begins with is not known yet, so neither is whether it is new
            self._check_new(source, name)
            is_kept = True
        finally:
            if not is_kept:
                file.close()
        followed = self._open[id_of(found)] = Followed(name, found, file, source)
        return followed

    def _check_new(self, source: Source, name: str) -> None:
        """Raise ReadError if a source is new and must not be taken."""
        new_logs = self._new_logs
        if source.is_known:
            return
        if self._known:
            # A sender's mistakes must not stop what others send by the same log.
            new_logs = NewLogs(reused_names=new_logs.reused_names)
        if name in self._renewed:
            new_logs = NewLogs(reused_names=True, why_no_log=new_logs.why_no_log)
        new_logs.check(source, name, self._known, self._names)
        self._renewed.discard(name)

    def _rest(self, followed: Followed) -> None:
        """Leave a log until it grows; one that others have followed is closed."""
        source, file, name = followed.source, followed.file, followed.name
        if source.is_known and source.position is None and source.name not in self.taken_before:
            self.taken_before.append(source.name)
        if not isinstance(file, GrowingFile):
            self._close(followed)
            return
        file.go_back_to(source.let_go_of_partial_line())
        if followed.is_nameless:
            is_followed_by_another = any(
                other.name == name and not other.is_nameless for other in self._open.values()
            )
            if is_followed_by_another and not file.stat().st_nlink:
                self._close(followed)  # removed for good, and its writer writes the other one
        elif name not in self._paths and (name not in self._newest or len(self._open) > OPEN_MAX):
            self._close(followed)

    def _close(self, followed: Followed) -> None:
        """Close a log, and remember how far it was read."""
        if not followed.is_nameless:
            self._closed[followed.name] = followed.seen
        self._open = {file: each for file, each in self._open.items() if each is not followed}
        followed.file.close()

    def _give_up(self, name: str, failure: ReadError, followed: Followed | None = None) -> None:
        """Say that a log cannot be read on, and leave it until it changes."""
        position = followed.source.position if followed else None
        if followed:
            self._close(followed)
        began_anew = isinstance(failure, BegunAnewError)
        if began_anew:
            self._closed.pop(name, None)  # to be read from its start
            if may_recur(name):
                self._renewed.add(name)
        if isinstance(failure, IncompleteError) and is_being_compressed(name, self._names):
            return  # the plain file has it all
        at_byte = position.taken_bytes if position else 0
        source = UnreadableSource(shown(name), at_byte, failure.why, failure.mend, began_anew)
        if source not in self.unreadable or began_anew:
            self.unreadable.append(source)
            self._warn(source)


def unreadable(error: OSError) -> ReadError:
    """What to say where the system does not let a log be read."""
    return ReadError(f"the system cannot read it ({error.strerror})", "mend that")
