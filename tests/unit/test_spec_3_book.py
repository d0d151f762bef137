"""Spec section 3: bands in local time, the conditions of a rule, and which book is in force."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import pytest
from scenes import (
    HOUR_MS,
    MINUTE_MS,
    a_book,
    a_plan,
    a_rule,
    at,
    column,
    line,
    only_charge,
    opened,
    per_hour,
    reasons,
    view,
    watch,
)

from tariffs.model import Band

if TYPE_CHECKING:
    from conftest import RateLog

EVERY_DAY = frozenset(range(7))
WEEKDAYS = frozenset(range(5))
NEVER: frozenset[date] = frozenset()


def a_band(from_minute: int = 0, to_minute: int = 1440, **changes: Any) -> Band:
    fields = {"days": EVERY_DAY, "dates": NEVER, "except_dates": NEVER} | changes
    return Band("band", from_minute=from_minute, to_minute=to_minute, **fields)


def in_band(rate: RateLog, band: Band, start: int, *, timezone: str = "UTC") -> bool:
    """Whether a minute watched from `start` is inside the band."""
    inside, outside = a_rule(id_="inside", band=("band",)), a_rule(id_="outside")
    book = a_book(a_plan(inside, outside), bands=(band,), timezone=timezone)
    charge = only_charge(rate([book], watch(start, start + MINUTE_MS)))
    return bool(charge["rule"] == "inside")


# --- bands ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clock", "inside"),
    [
        ("17:44:59.999", False),
        ("18:00", True),
        ("22:59", True),
        ("23:00", False),
        ("00:00", False),
    ],
)
def test_a_band_holds_from_its_first_minute_to_before_its_last(
    rate: RateLog, clock: str, inside: bool
) -> None:
    assert in_band(rate, a_band(18 * 60, 23 * 60), at(clock)) is inside


def test_a_piece_that_starts_before_the_band_is_cut_at_its_edge(rate: RateLog) -> None:
    inside, outside = a_rule(id_="inside", band=("band",)), a_rule(id_="outside")
    book = a_book(a_plan(inside, outside), bands=(a_band(18 * 60 + 15, 19 * 60),))
    outcome = rate([book], watch(at("18:14"), at("18:16")))
    assert column(outcome.charges, "rule") == ["outside", "inside"]
    assert column(outcome.charges, "watched_ms") == [MINUTE_MS, MINUTE_MS]


@pytest.mark.parametrize(
    ("day", "inside"),
    [
        ("2026-03-01", False),  # Sunday
        ("2026-03-02", True),
        ("2026-03-06", True),
        ("2026-03-07", False),  # Saturday
    ],
)
def test_a_band_is_of_its_days(rate: RateLog, day: str, inside: bool) -> None:
    assert in_band(rate, a_band(days=WEEKDAYS), at("12:00", day)) is inside


@pytest.mark.parametrize(
    ("day", "clock", "inside"),
    [
        ("2026-03-06", "21:45", False),  # Friday
        ("2026-03-06", "22:00", True),
        ("2026-03-07", "01:45", True),  # the night of Friday
        ("2026-03-07", "02:00", False),
        ("2026-03-07", "22:00", False),  # Saturday is no day of it
        ("2026-03-08", "01:45", False),
        ("2026-03-02", "01:45", False),  # the night of Sunday
        ("2026-03-02", "22:00", True),
    ],
)
def test_past_midnight_belongs_to_the_day_it_starts_on(
    rate: RateLog, day: str, clock: str, inside: bool
) -> None:
    band = a_band(22 * 60, 26 * 60, days=WEEKDAYS)
    assert in_band(rate, band, at(clock, day)) is inside


@pytest.mark.parametrize(
    ("day", "clock", "inside"),
    [
        ("2026-03-04", "23:00", False),  # Wednesday is excepted,
        ("2026-03-05", "01:00", False),  # and so is its night,
        ("2026-03-04", "01:00", True),  # which Tuesday's is not.
        ("2026-03-07", "23:00", True),  # Saturday 7 March is named by its date.
        ("2026-03-08", "01:00", True),
        ("2026-03-14", "23:00", False),
        ("2026-03-08", "23:00", False),  # Named and excepted: never on those.
    ],
)
def test_dates_and_except_dates(rate: RateLog, day: str, clock: str, inside: bool) -> None:
    band = a_band(
        22 * 60,
        26 * 60,
        days=WEEKDAYS,
        dates=frozenset({date(2026, 3, 7), date(2026, 3, 8)}),
        except_dates=frozenset({date(2026, 3, 4), date(2026, 3, 8)}),
    )
    assert in_band(rate, band, at(clock, day)) is inside


def test_a_band_of_a_whole_day_from_its_edge(rate: RateLog) -> None:
    monday = a_band(6 * 60, 30 * 60, days=frozenset({0}))  # from 06:00 to 06:00
    clocks = [("2026-03-02", "05:45"), ("2026-03-02", "06:00"), ("2026-03-03", "05:45")]
    assert [in_band(rate, monday, at(clock, day)) for day, clock in clocks] == [False, True, True]


@pytest.mark.parametrize(
    ("timezone", "day", "clock", "inside"),
    [
        # 18:00 to 23:00 by the clock on the wall.
        ("Europe/Stockholm", "2026-03-02", "16:45", False),  # UTC+1: 17:45
        ("Europe/Stockholm", "2026-03-02", "17:00", True),
        ("Europe/Stockholm", "2026-03-30", "16:00", True),  # UTC+2 since 29 March
        ("Europe/Stockholm", "2026-03-30", "15:45", False),
        ("Asia/Kolkata", "2026-03-02", "12:15", False),  # UTC+5:30: 17:45
        ("Asia/Kolkata", "2026-03-02", "12:30", True),
        ("Asia/Kathmandu", "2026-03-02", "12:00", False),  # UTC+5:45: 17:45
        ("Asia/Kathmandu", "2026-03-02", "12:15", True),
        ("America/New_York", "2026-03-02", "22:45", False),  # UTC-5: 17:45
        ("America/New_York", "2026-03-02", "23:00", True),
        ("Australia/Lord_Howe", "2026-04-04", "07:00", True),  # UTC+11: 18:00
        ("Australia/Lord_Howe", "2026-04-05", "07:15", False),  # UTC+10:30: 17:45
        ("Australia/Lord_Howe", "2026-04-05", "07:30", True),
    ],
)
def test_bands_are_local_to_the_book(
    rate: RateLog, timezone: str, day: str, clock: str, inside: bool
) -> None:
    evening = a_band(18 * 60, 23 * 60)
    assert in_band(rate, evening, at(clock, day), timezone=timezone) is inside


def test_an_hour_that_comes_twice_is_in_the_band_twice(rate: RateLog) -> None:
    """Stockholm, 25 October 2026: 02:00 to 03:00 passes at 00:00Z and again at 01:00Z."""
    inside, outside = a_rule(id_="inside", band=("band",)), a_rule(id_="outside")
    book = a_book(a_plan(inside, outside), bands=(a_band(120, 180),), timezone="Europe/Stockholm")
    start = at("23:00", "2026-10-24")
    outcome = rate([book], watch(start, start + 4 * HOUR_MS))
    assert column(outcome.charges, "rule") == ["outside", "inside", "inside", "outside"]


def test_an_hour_that_is_left_out_is_in_no_band(rate: RateLog) -> None:
    """Stockholm, 29 March 2026: 02:00 to 03:00 is left out at 01:00Z."""
    inside, outside = a_rule(id_="inside", band=("band",)), a_rule(id_="outside")
    book = a_book(a_plan(inside, outside), bands=(a_band(120, 180),), timezone="Europe/Stockholm")
    start = at("00:00", "2026-03-29")
    outcome = rate([book], watch(start, start + 2 * HOUR_MS))
    assert column(outcome.charges, "rule") == ["outside", "outside"]


def test_the_half_hour_that_comes_twice_on_lord_howe(rate: RateLog) -> None:
    """5 April 2026: 01:30 to 02:00 passes at 14:30Z and again at 15:00Z."""
    inside, outside = a_rule(id_="inside", band=("band",)), a_rule(id_="outside")
    book = a_book(a_plan(inside, outside), bands=(a_band(90, 120),), timezone="Australia/Lord_Howe")
    start = at("14:00", "2026-04-04")
    outcome = rate([book], watch(start, start + 2 * HOUR_MS))
    by_rule = {(row["rule"], row["slot"] - start): row["watched_ms"] for row in outcome.charges}
    half = HOUR_MS // 2
    assert by_rule == {
        ("outside", 0): half,
        ("inside", 0): half,
        ("inside", HOUR_MS): half,
        ("outside", HOUR_MS): half,
    }


# --- conditions ----------------------------------------------------------------------------------

PACKAGES = (("basic", ("c1", "c2")), ("extra", ("c3",)))


@pytest.mark.parametrize(
    ("conditions", "usage", "region", "matches"),
    [
        ({}, {}, "", True),
        ({"kind": ("channel",)}, {}, "", True),
        ({"kind": ("vod", "channel")}, {}, "", True),
        ({"kind": ("vod",)}, {}, "", False),
        ({"content": ("c1",)}, {}, "", True),
        ({"content": ("c2", "c3")}, {}, "", False),
        ({"package": ("basic",)}, {}, "", True),
        ({"package": ("extra",)}, {}, "", False),
        ({"package": ("extra", "basic")}, {}, "", True),
        ({"package": ("basic",)}, {"content": "c9"}, "", False),
        ({"quality": ("hd",)}, {}, "", True),
        ({"quality": ("hd",)}, {"quality": None}, "", False),
        ({"region": ("SE",)}, {}, "SE", True),
        ({"region": ("SE",)}, {}, "SE-AB", True),
        ({"region": ("SE",)}, {}, "SE-AB-01", True),
        ({"region": ("SE-AB",)}, {}, "SE", False),
        ({"region": ("SE",)}, {}, "SEA", False),
        ({"region": ("SE",)}, {}, "", False),
        ({"region": ("NO", "SE")}, {}, "SE-AB", True),
        ({"kind": ("channel",), "quality": ("uhd",)}, {}, "", False),  # all must hold
        ({"kind": ("channel",), "quality": ("uhd",)}, {"quality": "uhd"}, "", True),
    ],
)
def test_a_rule_matches_when_each_of_its_conditions_holds(
    rate: RateLog, conditions: dict[str, Any], usage: dict[str, Any], region: str, matches: bool
) -> None:
    book = a_book(a_plan(a_rule(id_="asked", **conditions)), packages=PACKAGES)
    noon = at("12:00")
    lines = [opened(noon, region=region), *watch(noon, noon + MINUTE_MS, **usage)]
    outcome = rate([book], lines)
    assert column(outcome.charges, "rule") == (["asked"] if matches else [])
    assert reasons(outcome) == ([] if matches else ["no_rule"])


def test_the_first_rule_that_matches_prices_the_piece(rate: RateLog) -> None:
    rules = [
        a_rule(per_hour("1.00"), "uhd", quality=("uhd",)),
        a_rule(per_hour("2.00"), "any"),
        a_rule(per_hour("3.00"), "hd", quality=("hd",)),
    ]
    charge = only_charge(rate([a_book(a_plan(*rules))], watch(at("12:00"), at("12:30"))))
    assert (charge["rule"], charge["net"]) == ("any", 1_000_000)


# --- books ---------------------------------------------------------------------------------------


def test_a_book_is_in_force_from_its_instant_on(rate: RateLog) -> None:
    noon = at("12:00")
    books = [
        a_book(),
        a_book(a_plan(id="q"), id="b2", effective_from_ms=noon, default_plan="q"),
    ]
    before = rate(books, watch(noon - MINUTE_MS, noon))
    after = rate(books, watch(noon, noon + MINUTE_MS))
    assert only_charge(before)["plan"] == "p"
    assert only_charge(after)["plan"] == "q"


def test_counters_carry_on_into_a_later_book(rate: RateLog) -> None:
    """A rule of the same id goes on where it was: free_below and increment of the new book."""
    change = at("12:10")
    first = a_book(a_plan(a_rule(per_hour("6.00"), increment_ms=30 * MINUTE_MS)))
    second = a_book(
        a_plan(a_rule(per_hour("12.00"), increment_ms=30 * MINUTE_MS)),
        id="b2",
        effective_from_ms=change,
    )
    outcome = rate([first, second], watch(at("12:00"), at("12:40")))
    # First book: 10 min is one started half hour, 3.00. Second: it is still the same half hour
    # until 12:30, then another one begins: P(60 min) - P(30 min) = 12.00 - 6.00.
    assert column(outcome.charges, "billed_ms") == [30 * MINUTE_MS, 30 * MINUTE_MS]
    assert column(outcome.charges, "net") == [3_000_000, 6_000_000]


def test_a_default_plan_is_of_the_book_in_force_at_the_piece(rate: RateLog) -> None:
    noon = at("12:00")
    nobody = a_book(default_plan=None)
    later = a_book(id="b2", effective_from_ms=noon)
    outcome = rate(
        [nobody, later],
        [
            opened(noon - HOUR_MS, account="bo"),
            view(noon - 1, account="anna"),
            view(noon, account="anna"),
            view(noon + MINUTE_MS, "stopped", account="anna"),
        ],
    )
    # The first view is before noon, where nobody may watch unknown; the second opens a session.
    assert reasons(outcome) == ["unknown_account"]
    assert only_charge(outcome)["watched_ms"] == MINUTE_MS


def test_a_package_is_read_in_the_book_in_force_at_the_piece(rate: RateLog) -> None:
    books = [
        a_book(packages=(("extra", ("c1",)),)),
        a_book(id="b2", effective_from_ms=at("12:15"), packages=(("extra", ("c2",)),)),
        a_book(id="b3", effective_from_ms=at("12:30")),
    ]
    lines = [
        line("account.subscribe", at("12:00"), package="extra"),
        *watch(at("12:00"), at("12:45")),
    ]
    outcome = rate(books, lines)
    assert column(outcome.charges, "rule") == ["package:extra", "r", "r"]
    assert column(outcome.charges, "book") == ["b", "b2", "b3"]
