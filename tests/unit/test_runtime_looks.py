"""What a terminal shows: figures, charts, progress."""

from __future__ import annotations

import io

import pytest

from rating.runtime.chart import stacked_bars
from rating.runtime.figures import columns, money, money_rounded, watched
from rating.runtime.progress import Progress, shown_progress

UNIT = 1_000_000


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (0, "0.00"),
        (1_733_333, "1.733333"),
        (1_234_500_000, "1,234.50"),
        (-500_000, "-0.50"),
        (-1_234_000_000_001, "-1,234,000.000001"),
    ],
)
def test_money_is_exact(micros: int, text: str) -> None:
    assert money(micros) == text


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (4_999, "0.00"),
        (5_000, "0.01"),
        (-5_000, "-0.01"),
        (-4_999, "0.00"),
        (1_234_567_890_000, "1,234,567.89"),
    ],
)
def test_rounded_money_has_two_decimals(micros: int, text: str) -> None:
    assert money_rounded(micros) == text


@pytest.mark.parametrize(
    ("watched_ms", "text"),
    [
        (0, "0 s"),
        (1, "0.001 s"),
        (59_000, "59 s"),
        (60_000, "1 min"),
        (5_430_500, "1 h 30 min 30.500 s"),
        (3_600_000 * 1_234, "1,234 h"),
    ],
)
def test_spans_read_like_spans(watched_ms: int, text: str) -> None:
    assert watched(watched_ms) == text


def test_columns_stand_in_line() -> None:
    assert columns([("a", "1"), ("long name", "1,000"), ("b",)], indent="  ") == [
        "  a              1",
        "  long name  1,000",
        "  b",
    ]


def test_bars_are_as_long_as_their_amounts() -> None:
    rows = {
        "18:00": {"film": 20 * UNIT, "sport": 20 * UNIT},
        "19:00": {"film": 10 * UNIT},
        "20:00": {},
    }
    assert stacked_bars(rows, width=8) == [
        "18:00  ████▓▓▓▓  40.00",
        "19:00  ██        10.00",
        "20:00             0.00",
        "",
        "  █ film   30.00",
        "  ▓ sport  20.00",
    ]


def test_the_smallest_series_share_a_fill() -> None:
    amounts = {name: (9 - place) * UNIT for place, name in enumerate("abcdefg")}
    lines = stacked_bars({"18:00": amounts}, width=42)
    assert (
        lines[0]
        == "18:00  " + "█" * 9 + "▓" * 8 + "▒" * 7 + "░" * 6 + "▞" * 5 + "·" * 7 + "  42.00"
    )
    assert lines[-1] == "  · everything else  7.00"


def test_what_is_below_zero_draws_nothing() -> None:
    assert stacked_bars({"18:00": {"refunds": -UNIT}}, width=4) == ["18:00        -1.00"]


def test_no_rows_are_no_chart() -> None:
    assert stacked_bars({}) == []


def test_progress_is_a_line_each_time_it_is_due() -> None:
    stream = io.StringIO()
    with shown_progress("Rating", stream, every_s=0.0) as progress:
        progress(Progress(50, 200, 1_234_567, charges=89))
    line = stream.getvalue()
    assert line.startswith("Rating: 25 %, 1,234,567 records, ")
    assert line.endswith(" a second, 89 charges\n")


def test_short_runs_show_no_progress() -> None:
    stream = io.StringIO()
    with shown_progress("Rating", stream, every_s=3600.0) as progress:
        progress(Progress(1, None, 1))
    assert stream.getvalue() == ""
