"""The memory of closed sessions: what it knows, when it forgets, and what it takes."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from core_adapter import batch_of
from scenes import DAY_MS, HOUR_MS, MINUTE_MS, a_book, at, view, watch

from rating.rater import Rater
from rating.repeats import (
    MOVED,
    MOVES,
    OLD_INDEX,
    PAGE,
    REPEAT,
    REPEATS,
    Repeats,
    key_mark,
    remember,
    was_watched,
)
from rating.state import BLOCK_SIZE
from rating.tables import INDEX_SIZE, TABLE_PLACES
from tariffs.blocks import Block

if TYPE_CHECKING:
    from rating.schemas import BatchResult, StateChunk

T = at("12:00")
EVER_MS = -(2**62)
BYTES_MAX = 32  # a closed session, in memory and stored


def resident_bytes(table: Repeats) -> int:
    """Rows that were ever used, and the index."""
    entries = table.block.places[REPEATS * TABLE_PLACES + INDEX_SIZE]
    return table.high * REPEAT.itemsize + 4 * int(entries)


def reloaded(table: Repeats, before_ms: int = EVER_MS) -> Repeats:
    """The same rows in another table, as a restart has them."""
    other = Repeats(Block(BLOCK_SIZE))
    other.load(table.rows[: table.high].copy())
    other.restore(before_ms)
    return other


def test_it_knows_what_a_dictionary_knows() -> None:
    """Random closes, some of them of known keys, with saves, restarts and pages given back."""
    random = Random(5)
    table, known, now = Repeats(Block(BLOCK_SIZE)), {}, T
    kept_ms = 4 * HOUR_MS
    for _ in range(400):
        closes = random.choice((1, 7, 90, 300))
        table.make_room(closes)
        for _ in range(closes):
            now += random.choice((0, 0, 1, 999, 4_000))
            key = (random.randrange(3), random.randrange(-9_000, 9_000))
            last = now - random.choice((-5 * MINUTE_MS, 0, 1, DAY_MS, 80 * DAY_MS))
            remember(table.block.places, *key, now, last)
            known[key] = (now, last)
        assert len(table.touched) == closes
        table.forget(now - kept_ms, table.settle())
        if random.random() < 0.05:
            table = reloaded(table, now - kept_ms)
        for key in random.sample(sorted(known), min(len(known), 30)):
            seen, last = known[key]
            for since, time in ((seen, last), (seen + 1, last), (seen, last + 1)):
                if since >= now - kept_ms and time >= now - 35 * DAY_MS:
                    watched = was_watched(table.block.places, *key, time, since)
                    assert watched == (seen >= since and time <= last)
    assert was_watched(table.block.places, 7, 1, T, EVER_MS) == 0
    assert resident_bytes(table) < 2 * BYTES_MAX * table.live + PAGE * REPEAT.itemsize


def test_a_later_close_wins_after_a_restart_too() -> None:
    table = Repeats(Block(BLOCK_SIZE))
    table.make_room(3)
    remember(table.block.places, 1, 17, T, T - 100)
    table.settle()
    older = table.rows.copy()
    remember(table.block.places, 1, 17, T, T)  # at the same R
    table.settle()
    both = table.rows.copy()
    both["live"][: len(older)] |= older["live"]  # as two stored pages of different age have them
    loaded = Repeats(Block(BLOCK_SIZE))
    loaded.load(both[: table.high])
    loaded.restore(EVER_MS)
    assert loaded.live == 1
    assert was_watched(loaded.block.places, 1, 17, T, EVER_MS)


def test_a_closed_session_takes_at_most_32_bytes() -> None:
    table, random = Repeats(Block(BLOCK_SIZE)), np.random.default_rng(1)
    for number in range(60):
        marks = random.integers(-(2**63), 2**63, 5 * PAGE, np.int64)
        table.make_room(len(marks))
        for mark in marks.tolist():
            remember(table.block.places, 1, mark, T + number, T)
        table.settle()
        assert resident_bytes(table) / table.live <= BYTES_MAX


def test_a_batch_moves_no_more_of_the_index_than_in_proportion_to_itself() -> None:
    """While the index grows, every key is known, and keys close again, in either index."""
    table, known = Repeats(Block(BLOCK_SIZE)), {}
    moving = 0
    for number in range(900):
        table.make_room(100)
        for each in range(100):
            mark = number * 100 + each if each % 10 else (number * 37 + each) % (number * 100 + 1)
            remember(table.block.places, 1, mark, T + number, T + number)
            known[mark] = T + number
        before = int(table.block.places[MOVED])
        table.settle()
        if table.block.places[OLD_INDEX + 1]:
            moving += 1
            assert int(table.block.places[MOVED]) - before <= MOVES * 100 + PAGE
            for mark, seen in list(known.items())[:: max(1, len(known) // 200)]:
                assert was_watched(table.block.places, 1, mark, seen, seen)
                assert not was_watched(table.block.places, 1, mark, seen, seen + 1)
            assert not was_watched(table.block.places, 1, -1 - number, T, EVER_MS)
    assert table.live == len(known)
    assert moving > 20


def test_what_is_too_old_is_given_back_and_taken_again() -> None:
    """A day's sessions again and again: the table does not grow with the days."""
    table = Repeats(Block(BLOCK_SIZE))
    for day in range(12):
        for mark in range(20 * PAGE):
            if mark % PAGE == 0:
                table.make_room(PAGE)
            remember(table.block.places, 1, day << 32 | mark, T + day * DAY_MS + mark, T)
        rows = table.settle()
        for _ in range(20):
            table.forget(T + (day - 1) * DAY_MS, rows)
    assert table.high <= 3 * 20 * PAGE
    assert table.live <= 2 * 20 * PAGE


def test_frequent_starts_fill_a_page_before_they_take_another() -> None:
    table = Repeats(Block(BLOCK_SIZE))
    for number in range(PAGE):
        table.make_room(1)
        remember(table.block.places, 1, number, T, T)
        table.settle()
        table = reloaded(table)
    assert table.live == PAGE
    assert table.high <= 2 * PAGE


@pytest.mark.parametrize(
    ("first", "second"),
    [((b"ab", b"c"), (b"a", b"bc")), ((b"", b"x"), (b"x", b"")), ((b"tv", b"1"), (b"tv", b"2"))],
)
def test_device_and_session_are_told_apart(
    first: tuple[bytes, bytes], second: tuple[bytes, bytes]
) -> None:
    def mark(device: bytes, session: bytes) -> int:
        text = np.frombuffer(device + session + b"\n" * 8, np.uint8)
        return key_mark(text, 0, len(device), len(device), len(session))

    assert mark(*first) != mark(*second)
    assert mark(*first) == mark(*first)


# --- in a rater ----------------------------------------------------------------------------------


class Stored:
    """A rater's chunks, kept as a store keeps them."""

    def __init__(self) -> None:
        self.chunks: dict[tuple[str, int], StateChunk] = {}

    def keep(self, result: BatchResult) -> BatchResult:
        self.chunks.update({(chunk.name, chunk.seq): chunk for chunk in result.state_added})
        for key in result.state_dropped:
            del self.chunks[key]
        return result


def test_closing_a_run_is_remembered_by_the_next() -> None:
    stored, book = Stored(), a_book()
    rater = Rater([book])
    stored.keep(rater.rate(batch_of([view(T), view(T + MINUTE_MS)])))
    assert len(stored.keep(rater.close()).charges) == 1
    again = Rater([book], stored.chunks.values())
    told = [view(T), view(T + MINUTE_MS), *watch(T + MINUTE_MS + 1, T + 2 * MINUTE_MS)]
    result = again.rate(batch_of(told))
    assert result.counts["duplicates"] == 2
    assert result.charges["watched_ms"].to_list() == [MINUTE_MS - 1]


def test_what_is_stored_of_a_closed_session_is_as_little() -> None:
    stored, rater = Stored(), Rater([a_book()])
    sessions = 6_000
    for first in range(0, sessions, 500):
        lines = [
            usage
            for number in range(first, first + 500)
            for usage in watch(T + number, T + number + 1, session=f"{number:x}", device="d" * 40)
        ]
        stored.keep(rater.rate(batch_of(lines)))
    empty = Rater([a_book()]).rate(batch_of([]))
    rows = [chunk for chunk in stored.chunks.values() if chunk.name.startswith("repeats:")]
    kept = sum(len(chunk.payload) for chunk in rows) - len(empty.state_added[0].payload) * len(rows)
    assert rater.state.repeats.live == sessions
    assert rows
    assert kept / (len(rows) * 4096) <= BYTES_MAX


def test_an_old_close_costs_nothing_once_the_clock_is_past_it() -> None:
    book = a_book(repeat_ms=HOUR_MS)
    rater = Rater([book])
    lines = [
        usage
        for number in range(3 * PAGE)
        for usage in watch(T, T + MINUTE_MS, session=str(number))
    ]
    rater.rate(batch_of(lines))
    assert rater.state.repeats.live == 3 * PAGE
    for hour in range(2, 8):
        rater.rate(batch_of([view(T + hour * HOUR_MS)]))
    assert rater.state.repeats.live < PAGE
