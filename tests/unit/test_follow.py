"""Logs that grow: only whole lines are taken, each once, whatever the writer does meanwhile."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import zstandard

from ingest.follow import FollowReader
from ingest.lines import PADDING

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.files import LogChunk
    from rating.schemas import SourcePosition

PATIENCE_S = 10


class Reading:
    """A reader of a folder, asked pass by pass; `positions` are those of the last chunks."""

    def __init__(self, folder: Path, positions: tuple[SourcePosition, ...] = ()) -> None:
        self.stop = Event()
        self.reader = FollowReader([str(folder)], positions, records_max=1000, stop=self.stop)
        self.positions: dict[str, SourcePosition] = {each.name: each for each in positions}

    def once(self) -> bytes:
        """What one pass takes."""
        return b"".join(self._content(chunk) for chunk in self.reader._pass())

    def _content(self, chunk: LogChunk) -> bytes:
        self.positions |= {each.name: each for each in chunk.sources}
        return np.asarray(chunk.raw).tobytes()[:-PADDING]


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as opened:
        opened.write(content)


def test_a_line_is_taken_once_it_has_its_end(tmp_path: Path) -> None:
    log = tmp_path / "usage-1.ndjson"
    reading = Reading(tmp_path)
    assert reading.once() == b""
    append(log, b"one\ntw")
    assert reading.once() == b"one\n"
    assert reading.once() == b""
    append(log, b"o\nthree\n")
    assert reading.once() == b"two\nthree\n"
    append(log, b"four")
    assert reading.once() == b""


def test_a_partial_line_may_be_cut_off_and_written_anew(tmp_path: Path) -> None:
    """As a gateway does with what a crash or a full disk tore."""
    log = tmp_path / "usage-1.ndjson"
    reading = Reading(tmp_path)
    append(log, b"one\ntorn")
    assert reading.once() == b"one\n"
    with log.open("r+b") as opened:
        opened.truncate(4)
    assert reading.once() == b""
    append(log, b"good\n")
    assert reading.once() == b"good\n"
    assert reading.reader.unreadable == []


def test_segments_are_taken_in_the_order_of_their_names(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    for number in range(1, 5):
        append(tmp_path / f"usage-{number}.ndjson", b"a%d\nb%d\n" % (number, number))
        if number == 2:
            assert reading.once() == b"a1\nb1\na2\nb2\n"
    append(tmp_path / "usage-2.ndjson", b"c2\n")
    assert reading.once() == b"c2\na3\nb3\na4\nb4\n"
    assert len(reading.reader._open) == 1  # only the newest stays open


def test_the_next_run_goes_on_from_its_positions(tmp_path: Path) -> None:
    log = tmp_path / "usage-1.ndjson"
    reading = Reading(tmp_path)
    for number in range(2000):  # so that the beginning, by which a log is known, grows meanwhile
        append(log, b"line %d\n" % number)
        if number % 500 == 10:
            reading.once()
            again = Reading(tmp_path, tuple(reading.positions.values()))
            assert again.once() == b""
    assert reading.once().endswith(b"line 1999\n")
    log.rename(tmp_path / "renamed.ndjson")
    again = Reading(tmp_path, tuple(reading.positions.values()))
    assert again.once() == b""
    assert again.reader.taken_before == [str(tmp_path / "renamed.ndjson")]


def test_a_segment_may_be_compressed_once_it_was_taken(tmp_path: Path) -> None:
    log = tmp_path / "usage-1.ndjson"
    append(log, b"line\n" * 2000)
    reading = Reading(tmp_path)
    assert reading.once() == b"line\n" * 1000 + b"line\n" * 1000
    (tmp_path / "usage-1.ndjson.zst").write_bytes(
        zstandard.ZstdCompressor().compress(log.read_bytes())
    )
    log.unlink()
    append(tmp_path / "usage-2.ndjson", b"next\n")
    assert reading.once() == b"next\n"


def test_a_log_that_lost_what_was_rated_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    log = tmp_path / "usage-1.ndjson"
    append(log, b"one\ntwo\n")
    reading = Reading(tmp_path)
    reading.once()
    with log.open("r+b") as opened:
        opened.truncate(4)
    append(tmp_path / "usage-2.ndjson", b"next\n")
    assert reading.once() == b"next\n"
    (unreadable,) = reading.reader.unreadable
    assert "it was cut off" in str(unreadable)
    assert unreadable.at_byte == 8


def test_what_is_there_when_it_is_told_to_stop_is_still_read(tmp_path: Path) -> None:
    append(tmp_path / "usage-1.ndjson", b"one\n")
    reading = Reading(tmp_path)
    reading.stop.set()
    assert sum(chunk.lines for chunk in reading.reader) == 1


def test_a_folder_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    """Since a gateway that starts at the same moment makes it."""
    reading = Reading(tmp_path / "usage")
    assert reading.once() == b""
    (tmp_path / "usage").mkdir()
    append(tmp_path / "usage" / "usage-1.ndjson", b"one\n")
    assert reading.once() == b"one\n"
    assert reading.reader.unreadable == []
