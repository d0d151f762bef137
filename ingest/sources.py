"""One log as a source of whole lines, and how far it was taken before.

A source is known by its content, not by its name, so a log that was renamed, rotated or compressed
is not rated twice, and one that grew goes on where it was left.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingest.digest import DIGEST_BYTES, ContentDigest
from ingest.lines import LINE_BYTES_MAX, LINE_END, cut_lines
from ingest.log_names import same_log, shown
from ingest.streams import ReadError, Stream
from rating.schemas import SourcePosition

if TYPE_CHECKING:
    from collections.abc import Iterable

HEAD_BYTES = 4096
FIRST_LINES_BYTES = 64 * 2**10
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class KnownSources:
    """Every position that a source was left at, found by the beginning of its content."""

    def __init__(self, positions: Iterable[SourcePosition]) -> None:
        self._by_head: dict[int, dict[bytes, dict[str, SourcePosition]]] = {}
        self._newest: dict[str, SourcePosition] = {}
        for position in positions:
            self.add(position)

    def __bool__(self) -> bool:
        """Whether anything was ever taken."""
        return bool(self._newest)

    def add(self, position: SourcePosition) -> None:
        """Remember a position, in place of an earlier one of the same name and beginning."""
        same_length = self._by_head.setdefault(position.head_bytes, {})
        same_length.setdefault(position.head_digest, {})[position.name] = position
        self._newest[same_log(position.name)] = position

    def newest_named(self, name: str) -> SourcePosition | None:
        """Where the log was left that had this name last, compressed or not."""
        return self._newest.get(same_log(name))

    def beginning_with(self, head: bytes) -> list[SourcePosition]:
        """The positions whose sources begin as `head` does, the furthest last."""
        found: list[SourcePosition] = []
        digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
        at = 0
        for head_bytes in sorted(self._by_head):
            if head_bytes > len(head):
                break
            digest.update(head[at:head_bytes])
            at = head_bytes
            found += self._by_head[head_bytes].get(digest.digest(), {}).values()
        return sorted(found, key=lambda position: position.taken_bytes)


def begins_as(head: bytes, position: SourcePosition) -> bool:
    """Whether the beginning of a log is that of the source which was left at a position."""
    beginning = head[: position.head_bytes]
    digest = hashlib.blake2b(beginning, digest_size=DIGEST_BYTES).digest()
    return (len(beginning), digest) == (position.head_bytes, position.head_digest)


class ShorterError(ReadError):
    """A log begins like one that was rated, and holds less than was rated of that."""


class Lines(NamedTuple):
    """Whole lines taken from a source. `content` ends in a line end."""

    content: bytes | memoryview
    lines: int
    first_line: int  # counted from 1; the rest of a line that was begun before keeps its number


NO_ROOM = Lines(b"", 0, 0)
"""There are more lines, but the next one does not fit."""


class Source:
    """A stream that is cut into lines, and knows how much of it was taken.

    is_growing: someone still appends to it, so a last line without an end is not taken yet.
    position: where it stands after the last `take`; None before anything was taken.
    is_known: whether some of it was taken in an earlier run, or under another name.
    Raises: ReadError if it cannot be read, or if its content only begins like that of a known
    source: then none of it can be rated without the danger of rating something twice.
    """

    def __init__(self, stream: Stream, known: KnownSources, *, is_growing: bool = False) -> None:
        self.name = shown(stream.name)
        self._is_growing = is_growing
        self.position: SourcePosition | None = None
        self._blocks = stream.blocks()
        self._pending = b""
        self._at = 0  # where in `_pending` the next line begins
        self._digest = ContentDigest()
        self._taken_bytes = 0
        self._taken_lines = 0
        self._is_in_line = False  # the last line that was taken had no end
        self._failure: ReadError | None = None
        # What came before a failure is taken first; then the failure is raised again.
        with suppress(ReadError):
            while len(self._pending) < HEAD_BYTES and self._read_more():
                pass
        self._head = b""  # of what was taken
        begun = known.beginning_with(self._pending[:HEAD_BYTES])
        self.is_known = bool(begun)
        if begun:
            self._skip_taken(begun)
        elif self._pending.startswith(BYTE_ORDER_MARK):
            self._consume(len(BYTE_ORDER_MARK))

    def take(self, lines_max: int, room_bytes: int, *, is_alone: bool) -> Lines | None:
        """Take the next whole lines, at most so many and so many bytes; None after the last.

        is_alone: take one line also where it does not fit, so that there is progress.
        The last line of a source may lack its end, unless the source is growing: then None may be
        followed by more. Of a line of LINE_BYTES_MAX bytes or more only
        so many are given.
        Raises: ReadError where the stream cannot be read on; the position is then still good.
        """
        while True:
            cut, lines = self._whole_lines(lines_max, room_bytes)
            if not lines and is_alone:
                cut, lines = self._whole_lines(1, LINE_BYTES_MAX)
            if lines:
                return self._taken(self._consume(cut), lines)
            waiting_bytes = len(self._pending) - self._at
            if waiting_bytes >= LINE_BYTES_MAX and is_alone:
                return self._take_long_line()
            if waiting_bytes >= room_bytes and not is_alone:
                return NO_ROOM
            if not self._read_more():
                if waiting_bytes == 0 or self._is_growing:
                    return None
                return self._taken(bytes(self._consume(waiting_bytes)) + b"\n", 1)

    def let_go_of_partial_line(self) -> int:
        """Forget what was read beyond the last line taken; returns where to read on, in bytes.

        A writer that failed in the middle of a line may cut it off and write another one there.
        """
        self._pending, self._at = b"", 0
        return self._taken_bytes

    @property
    def first_lines(self) -> bytes:
        """The whole lines at its beginning, as many as are read so far and FIRST_LINES_BYTES."""
        assert self.position is None
        ahead = self._pending[self._at : self._at + FIRST_LINES_BYTES]
        return ahead[: ahead.rfind(b"\n") + 1]

    @property
    def has_whole_line(self) -> bool:
        """Whether a line end was read beyond the last line taken."""
        return self._pending.find(b"\n", self._at) >= 0

    def _whole_lines(self, lines_max: int, bytes_max: int) -> tuple[int, int]:
        """How many bytes the pending whole lines are, and how many lines."""
        end = min(len(self._pending), self._at + min(bytes_max, LINE_BYTES_MAX))
        pending = np.frombuffer(self._pending, np.uint8)
        cut, lines = cut_lines(pending, self._at, end, lines_max)
        return cut - self._at, lines

    def _take_long_line(self) -> Lines:
        """Take a line that is too long: its beginning is given, the rest is skipped."""
        beginning = bytes(self._consume(LINE_BYTES_MAX))
        while True:
            line_end = self._pending.find(b"\n", self._at) + 1
            self._consume((line_end or len(self._pending)) - self._at)
            if line_end or not self._read_more():
                return self._taken(beginning + b"\n", 1)

    def _read_more(self) -> bool:
        """Read one more block; False if there is none."""
        if self._failure:
            raise self._failure
        try:
            block = next(self._blocks, None)
        except ReadError as failure:
            self._failure = failure
            raise
        if not block:
            return False
        self._pending = self._pending[self._at :] + block
        self._at = 0
        return True

    def _consume(self, byte_count: int) -> memoryview:
        """Step over pending bytes."""
        content = memoryview(self._pending)[self._at : self._at + byte_count]
        if self._taken_bytes < HEAD_BYTES:
            self._head += content[: HEAD_BYTES - self._taken_bytes]
        self._at += byte_count
        self._taken_bytes += byte_count
        self._digest.update(content)
        return content

    def _taken(self, content: bytes | memoryview, lines: int) -> Lines:
        """The lines that were just consumed, with the position after them."""
        first_line = self._taken_lines + (0 if self._is_in_line else 1)
        self._taken_lines = first_line + lines - 1
        self._is_in_line = self._pending[self._at - 1] != LINE_END
        self.position = SourcePosition(
            self.name,
            len(self._head),
            hashlib.blake2b(self._head, digest_size=DIGEST_BYTES).digest(),
            self._taken_bytes,
            self._taken_lines,
            self._digest.digest(),
        )
        return Lines(content, lines, first_line)

    def _skip_taken(self, begun: list[SourcePosition]) -> None:
        """Go on where a known source was left, if the whole of what was taken is the same."""
        taken: SourcePosition | None = None
        for position in begun:
            while self._taken_bytes < position.taken_bytes:
                missing_bytes = position.taken_bytes - self._taken_bytes
                self._consume(min(missing_bytes, len(self._pending) - self._at))
                if self._taken_bytes < position.taken_bytes and not self._read_more():
                    break
            if (self._taken_bytes, self._digest.digest()) == (
                position.taken_bytes,
                position.taken_digest,
            ):
                taken = position
        furthest = begun[-1]
        if taken is None or taken.taken_bytes < self._taken_bytes:
            is_shorter = self._taken_bytes < furthest.taken_bytes
            raise (ShorterError if is_shorter else ReadError)(
                f"it begins like {furthest.name}, of which {furthest.taken_bytes} bytes were rated, "
                f"but it {'is shorter' if is_shorter else 'differs in these bytes'}, so it was cut "
                "off or edited",
                "put what was never rated into a file of its own, and rate that",
            )
        self._taken_lines = taken.taken_lines
        self._is_in_line = self._pending[self._at - 1] != LINE_END
