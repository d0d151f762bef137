"""What audience counters come to, hour by hour: the least and the most, and never anything else."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.audience import counted_hours, counter_deltas, covered_hours
from ingest.adapters.bulk_data import COUNTERS

AT_MS = 1_767_268_800_000  # 2026-01-01 12:00 UTC
HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def counter(minute: float, channel: str, seconds: int, **given: Any) -> dict[str, Any]:
    return {
        "device": "box",
        "account": "anna",
        "service": "STBService.1",
        "channel": channel,
        "collected": AT_MS + round(minute * MINUTE_MS),
        "reset": "2026-01-01T00:00:00Z",
        "duration_s": seconds,
    } | given


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=COUNTERS)


def bounds(*rows: dict[str, Any]) -> list[tuple[str, int, int, int]]:
    """Channel, hours after AT_MS, least and most seconds."""
    found = counted_hours(frame(*rows))
    return [
        (row["channel"], (row["hour"] - AT_MS) // HOUR_MS, row["least_ms"] // 1000, row["most_ms"] // 1000)
        for row in found.to_dicts()
    ]  # fmt: skip


def test_reports_on_the_hour_say_it_to_the_second() -> None:
    assert bounds(counter(0, "a", 100), counter(30, "a", 400), counter(60, "a", 1000)) == [
        ("a", 0, 900, 900)
    ]


def test_a_report_across_the_hour_leaves_open_on_which_side_it_was_watched() -> None:
    found = bounds(
        counter(-5, "a", 0), counter(5, "a", 120), counter(55, "a", 1320), counter(65, "a", 1800)
    )
    # Of the first ten minutes two were watched, and eight of the last ten.
    assert found == [("a", 0, 1200 + 180, 120 + 1200 + 300)]


def test_a_box_that_reports_once_a_day_says_next_to_nothing_of_an_hour() -> None:
    found = bounds(counter(-600, "a", 0), counter(840, "a", 7200))
    assert set(found) == {("a", hour, 0, 3600) for hour in range(-10, 14)}


def test_an_hour_that_reports_do_not_lie_around_is_left_out() -> None:
    assert bounds(counter(1, "a", 0), counter(59, "a", 60)) == []
    assert bounds(counter(-60 * 24 * 8, "a", 0), counter(0, "a", 60)) == []


def test_a_channel_that_was_not_there_before_began_at_nought() -> None:
    found = bounds(counter(0, "a", 5), counter(60, "a", 5), counter(60, "b", 600))
    assert found == [("a", 0, 0, 0), ("b", 0, 600, 600)]


def test_what_was_watched_before_a_reset_may_have_been_anything() -> None:
    reset = {"reset": "2026-01-01T12:20:00Z"}
    assert bounds(counter(0, "a", 50), counter(60, "a", 600, **reset)) == [("a", 0, 600, 3600)]


def test_who_is_bound_to_nobody_and_what_has_no_time_is_left_out() -> None:
    nobody = {"account": None}
    assert bounds(counter(0, "a", 0, **nobody), counter(60, "a", 9, **nobody)) == []
    timeless = counter(30, "a", 5) | {"collected": None}
    assert bounds(counter(0, "a", 0), timeless, counter(60, "a", 9)) == [("a", 0, 9, 9)]


def test_no_counters_come_to_nothing() -> None:
    assert len(counted_hours(frame())) == len(covered_hours(frame())) == 0
    assert len(counter_deltas(frame())) == 0


MINUTES = st.integers(0, 400)


@given(
    st.lists(st.tuples(MINUTES, st.integers(1, 90)), max_size=6),
    st.lists(st.integers(-60, 500), min_size=2, max_size=30, unique=True),
)
def test_the_truth_lies_between(viewings: list[tuple[int, int]], reports: list[int]) -> None:
    """Whenever a box watches and whenever it reports: to the minute, so that the counter is exact."""
    on = {minute + n for minute, length in viewings for n in range(length)}
    rows = [counter(at, "a", 60 * sum(1 for minute in on if minute < at)) for at in reports]
    found = {(row[1], row[2], row[3]) for row in bounds(*rows)}
    whole = {
        hour
        for hour in range(-1, 9)
        if min(reports) <= hour * 60 and hour * 60 + 60 <= max(reports)
    }
    assert {hour for hour, _, _ in found} == whole
    for hour, least_s, most_s in found:
        truth_s = 60 * len(on & set(range(hour * 60, hour * 60 + 60)))
        assert least_s <= truth_s <= most_s
