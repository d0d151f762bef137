"""Logs that no run has met before: what is asked of them before anything of them is taken.

A log is known by its content. So a log that was rated and then edited looks like a new one, and
would be rated again; its name gives it away. A file that is no usage log at all would leave a
suspense row for each of its lines; its first lines give that away.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.log_names import COMPRESSED_SUFFIXES, may_recur, same_log, series
from ingest.sources import HEAD_BYTES, begins_as
from ingest.streams import ReadError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ingest.sources import KnownSources, Source
    from rating.schemas import SourcePosition


@dataclass(frozen=True, slots=True)
class NewLogs:
    """Which new logs are taken.

    reused_names: also those that have the name of an earlier log. why_no_log: takes a log's name
    and its first lines; says why they are no usage log, or "" where they may be one.
    """

    reused_names: bool = False
    why_no_log: Callable[[str, bytes], str] | None = None

    def check(self, source: Source, name: str, known: KnownSources, names: Collection[str]) -> None:
        """Raise ReadError if a source must not be taken. name: its file; names: all that are read."""
        if source.is_known:
            return
        if not self.reused_names:
            check_name(source.name, name, known, names)
        self.check_content(source)

    def check_content(self, source: Source) -> None:
        """Raise ReadError if a new source is no usage log."""
        why = self.why_no_log(source.name, source.first_lines) if self.why_no_log else ""
        if why:
            raise ReadError(why, "name a usage log, or take it as it is with --accept-malformed")


ALL_NEW_LOGS = NewLogs(reused_names=True)


def check_name(source_name: str, name: str, known: KnownSources, names: Collection[str]) -> None:
    """Raise ReadError if a new log has the name of one that was taken, and that one is not in sight.

    Standard input and pipes have names that say nothing.
    """
    before = known.newest_named(source_name)
    if before is None or not Path(name).is_file() or was_rotated(before, name, names):
        return
    raise ReadError(
        f"of a log of this name {before.taken_bytes} bytes were rated before, and this one begins "
        "differently: it was edited, and would be rated twice, or it is another log",
        "put what was never rated into a file with a new name; where names come again for new logs, "
        "say --reused-names",
    )


def was_rotated(before: SourcePosition, name: str, names: Collection[str]) -> bool:
    """Whether a log that had a name before is now found under a name that rotation gives."""
    return may_recur(name) and any(
        begins_as(head_of(other), before)
        for other in names
        if other != name and series(other) == series(name) and Path(other).is_file()
    )


def head_of(name: str) -> bytes:
    """The first HEAD_BYTES of a log's decompressed content; less where it cannot be read."""
    head = b""
    try:
        stream = Stream(name)
    except OSError:
        return head
    try:
        for block in stream.blocks():
            head += block
            if len(head) >= HEAD_BYTES:
                break
    except ReadError:
        pass
    finally:
        stream.close()
    return head[:HEAD_BYTES]


def is_being_compressed(name: str, names: Collection[str]) -> bool:
    """Whether the plain file is still there, which a compressor removes once it is done."""
    return name.endswith(COMPRESSED_SUFFIXES) and any(
        other != name and same_log(other) == same_log(name) for other in names
    )
