"""Logs that grow: only whole lines are taken, each once, whatever the writer does meanwhile."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zstandard

from ingest.follow import OPEN_MAX, FollowReader
from ingest.lines import PADDING
from ingest.new_logs import ALL_NEW_LOGS, NewLogs

if TYPE_CHECKING:
    from ingest.files import LogChunk
    from rating.schemas import SourcePosition

PATIENCE_S = 10


class Reading:
    """A reader of a folder, asked pass by pass; `positions` are those of the last chunks."""

    def __init__(self, folder: Path, positions: tuple[SourcePosition, ...] = ()) -> None:
        self.stop = Event()
        self.reader = FollowReader(
            [str(folder)], positions, records_max=1000, stop=self.stop, new_logs=NewLogs()
        )
        self.positions: dict[tuple[str, bytes], SourcePosition] = {}  # as a store keeps them
        self._keep(positions)

    def once(self) -> bytes:
        """What one pass takes."""
        return b"".join(self._content(chunk) for chunk in self.reader._pass())

    def _content(self, chunk: LogChunk) -> bytes:
        self._keep(chunk.sources)
        return np.asarray(chunk.raw).tobytes()[:-PADDING]

    def _keep(self, positions: tuple[SourcePosition, ...]) -> None:
        for position in positions:
            self.positions.pop((position.name, position.head_digest), None)
            self.positions[position.name, position.head_digest] = position


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


# --- rotation ------------------------------------------------------------------------------------


class Rotated:
    """A log that is rotated under a reader that may be started anew at any point."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "events.ndjson"
        self.reading = Reading(folder)

    def start_again(self) -> None:
        """As after a crash: what is known is what was stored."""
        self.reading = Reading(self.folder, tuple(self.reading.positions.values()))

    def said(self) -> list[str]:
        return [str(each) for each in self.reading.reader.unreadable]


ROTATED_NAMES = ("events.ndjson.1", "events-1.ndjson", "events.ndjson-20260105", "events.1.ndjson")


@pytest.mark.parametrize("rotated_name", ROTATED_NAMES)
@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_renamed_log_is_read_to_its_end_and_then_the_new_one(
    tmp_path: Path, rotated_name: str, is_restarted: bool
) -> None:
    rotated = Rotated(tmp_path)
    append(rotated.log, b"a1\na2\n")
    assert rotated.reading.once() == b"a1\na2\n"
    rotated.log.rename(tmp_path / rotated_name)
    append(tmp_path / rotated_name, b"a3\n")  # by a writer that has not opened the new one yet
    append(rotated.log, b"b1\n")
    if is_restarted:
        rotated.start_again()
    assert rotated.reading.once() == b"a3\nb1\n"
    append(tmp_path / rotated_name, b"a4\n")
    append(rotated.log, b"b2\n")
    assert rotated.reading.once() == b"a4\nb2\n"
    rotated.start_again()
    assert rotated.reading.once() == b""
    assert rotated.said() == []


def test_a_log_may_be_rotated_again_and_again(tmp_path: Path) -> None:
    rotated = Rotated(tmp_path)
    for number in range(12):
        append(rotated.log, b"line %d\n" % number)
        if number % 3:
            assert rotated.reading.once() == b"line %d\n" % number
        for older in range(number, 0, -1):
            old = tmp_path / f"events.ndjson.{older}"
            if old.exists():
                old.rename(tmp_path / f"events.ndjson.{older + 1}")
        rotated.log.rename(tmp_path / "events.ndjson.1")
        if number % 3 == 0:
            assert rotated.reading.once() == b"line %d\n" % number
        if number % 4 == 0:
            rotated.start_again()
    assert rotated.reading.once() == b""
    assert rotated.said() == []


def test_a_log_that_is_rotated_out_of_the_folder_is_read_to_its_end(tmp_path: Path) -> None:
    folder, away = tmp_path / "log", tmp_path / "away.ndjson"
    folder.mkdir()
    rotated = Rotated(folder)
    append(rotated.log, b"a1\n")
    assert rotated.reading.once() == b"a1\n"
    rotated.log.rename(away)
    append(away, b"a2\n")
    append(rotated.log, b"b1\n")
    assert rotated.reading.once() == b"a2\nb1\n"
    append(away, b"a3\n")
    assert rotated.reading.once() == b"a3\n"
    assert rotated.said() == []


def test_a_log_that_was_removed_is_read_for_as_long_as_it_is_written(tmp_path: Path) -> None:
    rotated = Rotated(tmp_path)
    with rotated.log.open("ab", buffering=0) as writer:
        writer.write(b"a1\n")
        assert rotated.reading.once() == b"a1\n"
        rotated.log.unlink()
        writer.write(b"a2\n")
        assert rotated.reading.once() == b"a2\n"


def test_a_log_that_was_truncated_and_grew_again_at_once_is_read_from_its_start(
    tmp_path: Path,
) -> None:
    rotated = Rotated(tmp_path)
    append(rotated.log, b"a1\na2\n")
    assert rotated.reading.once() == b"a1\na2\n"
    rotated.log.write_bytes(b"b1\nb2\nb3\n")  # in place, and longer than before
    assert rotated.reading.once() == b""
    assert rotated.reading.once() == b"b1\nb2\nb3\n"
    (said,) = rotated.said()
    assert "cut off and begun anew" in said
    assert "what it held after byte 6 is not rated, what it holds now is" in said
    rotated.start_again()
    assert rotated.reading.once() == b""
    assert rotated.said() == []


def test_a_truncated_log_whose_copy_is_followed_loses_nothing(tmp_path: Path) -> None:
    """As logrotate's copytruncate does it: first the copy, then the truncation."""
    rotated = Rotated(tmp_path)
    append(rotated.log, b"a1\n")
    assert rotated.reading.once() == b"a1\n"
    append(rotated.log, b"a2\n")
    (tmp_path / "events.ndjson.1").write_bytes(rotated.log.read_bytes())
    rotated.log.write_bytes(b"")
    taken = rotated.reading.once()
    append(rotated.log, b"b1\n")
    assert taken + rotated.reading.once() == b"a2\nb1\n"
    assert len(rotated.said()) == 1  # whether the writer came between the two, nobody knows


def test_truncated_while_nobody_followed_it_is_refused_once_and_taken_when_asked(
    tmp_path: Path,
) -> None:
    rotated = Rotated(tmp_path)
    append(rotated.log, b"a1\na2\n")
    rotated.reading.once()
    rotated.log.write_bytes(b"b1\nb2\nb3\n")
    rotated.start_again()
    assert rotated.reading.once() == b""
    (said,) = rotated.said()
    assert "begins differently" in said
    assert "--reused-names" in said
    append(rotated.log, b"b4\n")
    assert rotated.reading.once() == b""
    assert len(rotated.said()) == 1
    rotated.reading.reader._new_logs = ALL_NEW_LOGS
    append(rotated.log, b"b5\n")
    assert rotated.reading.once() == b"b1\nb2\nb3\nb4\nb5\n"


def test_a_segment_of_a_gateway_never_begins_anew(tmp_path: Path) -> None:
    """Its names never come again, so that what begins differently was edited."""
    segment = tmp_path / "usage-00000001.ndjson"
    reading = Reading(tmp_path)
    append(segment, b"anna\nbert\n")
    append(tmp_path / "usage-00000002.ndjson", b"next\n")
    assert reading.once() == b"anna\nbert\nnext\n"
    edited = tmp_path / "edited"
    edited.write_bytes(b"bert\n")
    edited.rename(segment)
    assert reading.once() == b""
    assert "begins differently" in str(reading.reader.unreadable[0])


def test_the_older_of_two_logs_is_never_overtaken(tmp_path: Path) -> None:
    """A writer that goes on to the next log between two looks must not be read out of order."""
    first, second = tmp_path / "usage-1.ndjson", tmp_path / "usage-2.ndjson"
    append(first, b"a1\n")
    append(second, b"b1\n")
    reading = Reading(tmp_path)
    reader = reading.reader
    notice_names = reader._notice_names

    def write_meanwhile(found: object) -> None:
        append(first, b"a2\n")
        append(second, b"b2\n")
        notice_names(found)  # type: ignore[arg-type]

    reader._notice_names = write_meanwhile  # type: ignore[method-assign]
    assert reading.once() == b"a1\nb1\n"
    reader._notice_names = notice_names  # type: ignore[method-assign]
    assert reading.once() == b"a2\nb2\n"


def test_a_log_that_is_being_compressed_is_no_damaged_one(tmp_path: Path) -> None:
    log, compressed = tmp_path / "usage-1.ndjson", tmp_path / "usage-1.ndjson.gz"
    lines = b"".join(b"line %d\n" % number for number in range(3000))
    append(log, lines)
    reading = Reading(tmp_path)
    assert reading.once() == lines
    whole = gzip.compress(lines)
    for end in (0, 10, len(whole) // 2, len(whole) - 1):
        compressed.write_bytes(whole[:end])
        assert reading.once() == b""
    compressed.write_bytes(whole)
    log.unlink()
    assert reading.once() == b""
    assert reading.reader.unreadable == []
    append(tmp_path / "usage-2.ndjson", b"next\n")
    assert reading.once() == b"next\n"


def test_a_copy_that_is_being_made_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "events.ndjson"
    lines = b"".join(b"line %d\n" % number for number in range(3000))
    append(log, lines)
    reading = Reading(tmp_path)
    assert reading.once() == lines
    copy = tmp_path / "events.ndjson.1"
    append(copy, lines[:8192])
    assert reading.once() == b""
    append(copy, lines[8192:] + b"more\n")
    assert reading.once() == b"more\n"
    assert reading.reader.unreadable == []


def test_many_series_do_not_use_up_the_open_files(tmp_path: Path) -> None:
    reading = Reading(tmp_path)
    letters = "abcdefghij"
    logs = [tmp_path / f"{one}{two}.ndjson" for one in letters for two in letters]
    for turn in range(2):
        for log in logs:
            append(log, b"%s %d\n" % (log.stem.encode(), turn))
        assert len(reading.once().splitlines()) == len(logs)
    assert len(reading.reader._open) <= OPEN_MAX


@pytest.mark.parametrize("seed", range(20))
def test_no_line_is_lost_or_taken_twice_whatever_is_rotated_when(tmp_path: Path, seed: int) -> None:
    """Lines, rotations by renaming, compressions and restarts in any order."""
    chance = random.Random(seed)
    rotated = Rotated(tmp_path)
    written: list[bytes] = []
    taken = b""
    writer = rotated.log.open("ab", buffering=0)
    rotations = 0
    for _ in range(120):
        step = chance.choice(
            ["write"] * 6 + ["read"] * 3 + ["rotate", "open", "compress", "restart"]
        )
        if step == "write":
            written.append(b"line %d %s\n" % (len(written), b"x" * chance.randrange(300)))
            writer.write(written[-1])
        elif step == "read":
            taken += rotated.reading.once()
        elif step == "restart":
            rotated.start_again()
        elif step == "rotate" and rotated.log.exists():
            rotations += 1
            rotated.log.rename(tmp_path / f"events-{rotations:03}.ndjson")
        elif step == "open":
            writer.close()
            writer = rotated.log.open("ab", buffering=0)
        elif step == "compress" and rotations > 1:
            old = tmp_path / f"events-{chance.randrange(1, rotations):03}.ndjson"
            if old.exists() and old.stat().st_ino != os.fstat(writer.fileno()).st_ino:
                with gzip.open(f"{old}.part", "wb") as part:
                    part.write(old.read_bytes())
                Path(f"{old}.part").rename(f"{old}.gz")
                old.unlink()
    writer.close()
    taken += rotated.reading.once() + rotated.reading.once()
    assert sorted(taken.splitlines()) == sorted(b"".join(written).splitlines())
    assert rotated.said() == []
