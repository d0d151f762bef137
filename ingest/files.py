"""LOG arguments to chunks of whole lines, each with the positions to store with what it comes to.

Memory is bounded by a chunk: nothing is read ahead by more than a block.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingest.lines import PADDING, count_lines
from ingest.log_names import log_names, shown
from ingest.new_logs import ALL_NEW_LOGS, NewLogs, is_being_compressed
from ingest.sources import NO_ROOM, KnownSources, Lines, Source
from ingest.streams import IncompleteError, ReadError, Stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from rating.schemas import SourcePosition


@dataclass(frozen=True, slots=True)
class UnreadableSource:
    """A log that could not be read to its end; once it is mended, the next run goes on there.

    at_byte: of its decompressed content. began_anew: it was emptied behind the reader's back, so
    the end of what it held is lost, and what it holds now is read.
    """

    name: str
    at_byte: int
    why: str
    mend: str
    began_anew: bool = False

    def __str__(self) -> str:
        """One sentence: where, what, how to mend it."""
        if self.began_anew:
            left_out = f"what it held after byte {self.at_byte} is not rated, what it holds now is"
        elif self.at_byte:
            left_out = f"in this run nothing after byte {self.at_byte} was rated"
        else:
            left_out = "in this run nothing of it was rated"
        return f"{self.name}: {self.why}; {left_out}; {self.mend}"


class Segment(NamedTuple):
    """The lines of a chunk that come from one source."""

    name: str
    at: int  # in the chunk's bytes
    first_line: int


@dataclass
class _Found:
    """The place that was looked for last: so many lines end between the segment's start and it."""

    segment: int = -1
    at: int = 0
    lines: int = 0


@dataclass(frozen=True)
class LogChunk:
    """Whole lines, of one source or of several.

    raw: the lines, and the line ends that the scanner needs behind them.
    lines: how many, blank ones included.
    sources: where each source of the chunk stands after it.
    """

    raw: NDArray[np.uint8]
    lines: int
    segments: tuple[Segment, ...]
    sources: tuple[SourcePosition, ...]

    def locate(self, at: int) -> str:
        """Where a byte of `raw` stood: "file:line". Quick where each lies behind the one before."""
        number = bisect_right(self.segments, at, key=lambda each: each.at) - 1
        segment, found = self.segments[number], self._found
        if found.segment != number or at < found.at:
            found.segment, found.at, found.lines = number, segment.at, 0
        found.lines += count_lines(self.raw, found.at, at)
        found.at = at
        return f"{segment.name}:{segment.first_line + found.lines}"

    @cached_property
    def _found(self) -> _Found:
        return _Found()


class ChunkBuilder:
    """Gathers lines until a chunk is full."""

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self._segments: list[Segment] = []
        self._sources: dict[Source, SourcePosition] = {}
        self.lines = 0
        self.byte_count = 0

    def add(self, source: Source, position: SourcePosition, lines: Lines) -> None:
        """Add lines taken from a source, which then stands at a position."""
        if source not in self._sources:
            self._segments.append(Segment(source.name, self.byte_count, lines.first_line))
        self._sources[source] = position
        self._parts.append(lines.content)
        self.lines += lines.lines
        self.byte_count += len(lines.content)

    def build(self) -> LogChunk:
        """The chunk."""
        raw = bytearray().join([*self._parts, b"\n" * PADDING])
        return LogChunk(
            np.frombuffer(raw, np.uint8),
            self.lines,
            tuple(self._segments),
            tuple(self._sources.values()),
        )


class LogReader:
    """The chunks of all logs, one after another, and what is to be said about the logs.

    bytes_total, bytes_read: as they are stored; standard input and pipes count 0 in the total.
    unreadable: logs that could not be read to their end. taken_before: logs without anything new.
    Both grow as the chunks are read. passed_over: files in folders whose names are no log's.
    """

    def __init__(
        self,
        paths: Sequence[str],
        sources: Iterable[SourcePosition],
        records_max: int,
        bytes_max: int,
        new_logs: NewLogs,
    ) -> None:
        self.names, passed_over = log_names(paths)
        self.passed_over = [shown(name) for name in passed_over]
        self.bytes_total = sum(stored_bytes(name) for name in self.names)
        self.unreadable: list[UnreadableSource] = []
        self.taken_before: list[str] = []
        self._known = KnownSources(sources)
        self._new_logs = new_logs
        self._records_max = records_max
        self._bytes_max = bytes_max
        self._bytes_closed = 0
        self._stream: Stream | None = None

    @property
    def bytes_read(self) -> int:
        """How much of bytes_total was read so far."""
        stream = self._stream  # which another thread may close meanwhile
        return self._bytes_closed + (stream.bytes_read if stream else 0)

    def __iter__(self) -> Iterator[LogChunk]:
        """Read on; a chunk's lines count as taken when the next one is asked for."""
        chunk = ChunkBuilder()
        for name in self.names:
            for source in self._open(name):
                while lines := self._take(source, chunk):
                    if lines is not NO_ROOM and source.position:
                        chunk.add(source, source.position, lines)
                        # At once, so that the same content in the next file is known.
                        self._known.add(source.position)
                    if lines is NO_ROOM or chunk.lines >= self._records_max:
                        yield chunk.build()
                        chunk = ChunkBuilder()
        if chunk.lines:
            yield chunk.build()

    def _open(self, name: str) -> Iterator[Source]:
        """The source of a name, for as long as it is read; none if it cannot be read at all."""
        try:
            self._stream = Stream(name)
        except OSError as error:
            why = f"the system cannot open it ({error.strerror})"
            self._give_up(name, 0, ReadError(why, "mend that and run again"))
            return
        try:
            source = Source(self._stream, self._known)
            self._new_logs.check(source, name, self._known, self.names)
            yield source
            if source.is_known and source.position is None:
                self.taken_before.append(source.name)
        except ReadError as failure:
            self._give_up(name, 0, failure)
        finally:
            self._stream.close()
            self._bytes_closed, self._stream = self.bytes_read, None

    def _take(self, source: Source, chunk: ChunkBuilder) -> Lines | None:
        """Lines for what room the chunk has; None at the source's end, or where it fails."""
        try:
            return source.take(
                self._records_max - chunk.lines,
                self._bytes_max - chunk.byte_count,
                is_alone=chunk.lines == 0,
            )
        except ReadError as failure:
            at_byte = source.position.taken_bytes if source.position else 0
            self._give_up(self._stream.name if self._stream else source.name, at_byte, failure)
            return None

    def _give_up(self, name: str, at_byte: int, failure: ReadError) -> None:
        """Note that a log cannot be read on."""
        if isinstance(failure, IncompleteError) and is_being_compressed(name, self.names):
            return  # the plain file has it all
        self.unreadable.append(UnreadableSource(shown(name), at_byte, failure.why, failure.mend))


def read_chunks(
    paths: Sequence[str],
    sources: Iterable[SourcePosition] = (),
    *,
    records_max: int,
    bytes_max: int = 64 * 2**20,
    new_logs: NewLogs = ALL_NEW_LOGS,
) -> LogReader:
    """Read logs that were not rated yet, as chunks.

    paths: files, folders, and "-" for standard input. sources: the positions stored so far.
    records_max: lines in a chunk at most, blank ones included. bytes_max: bytes in a chunk at most,
    but for a single line that is longer. new_logs: which logs are taken that no run has met before.
    Raises: LogError if a path does not exist or may not be read.
    """
    return LogReader(paths, sources, records_max, bytes_max, new_logs)


def stored_bytes(name: str) -> int:
    """A file's size; 0 where it is no file."""
    return Path(name).stat().st_size if Path(name).is_file() else 0
