"""Spec section 4: which of the four cases applies, and each step from watched time to balance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenes import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    PERCENT,
    SECOND_MS,
    a_book,
    a_plan,
    a_rule,
    an_offer,
    at,
    cancelled,
    column,
    line,
    micros,
    only_charge,
    opened,
    per_hour,
    purchased,
    reasons,
    signal_types,
    tiers,
    topped_up,
    view,
    watch,
)

from tariffs.model import Allowance, Cap, Discount, Price, Tier

if TYPE_CHECKING:
    from conftest import RateLog

    from tariffs.model import Rule

T = at("12:00")
PER_SECOND = Price("per_unit", amount_micros=1_000_000, unit_ms=SECOND_MS)  # 1.00 a second

# --- which case applies --------------------------------------------------------------------------


def test_a_plan_that_the_book_lacks_suspends_the_piece(rate: RateLog) -> None:
    later = a_book(id="b2", effective_from_ms=T + 10 * MINUTE_MS)
    first = a_book(a_plan(), a_plan(a_rule(id_="rq"), id="q"))
    outcome = rate([first, later], [opened(T, "q"), *watch(T, T + 30 * MINUTE_MS)])
    assert only_charge(outcome)["watched_ms"] == 10 * MINUTE_MS
    (row,) = outcome.suspense
    assert (row["reason"], row["type"], row["plan"], row["book"]) == (
        "unknown_plan",
        "usage",
        "q",
        "b2",
    )
    assert (row["time"], row["end"]) == (T + 10 * MINUTE_MS, T + 30 * MINUTE_MS)
    assert row["watched_ms"] == 20 * MINUTE_MS


def test_packages_of_the_plan_come_before_those_subscribed_to_in_their_order(
    rate: RateLog,
) -> None:
    packages = (("x", ("c1", "c2")), ("y", ("c1", "c2", "c3")), ("z", ("c2", "c3")))
    book = a_book(a_plan(includes=("z",)), packages=packages)
    lines = [
        line("account.subscribe", T, package="y"),
        line("account.subscribe", T, package="x"),
        line("account.subscribe", T, package="y"),  # again: it keeps its place
        *watch(T, T + MINUTE_MS, content="c1", session="1"),
        *watch(T, T + MINUTE_MS, content="c2", session="2"),
        *watch(T, T + MINUTE_MS, content="c3", session="3"),
        *watch(T, T + MINUTE_MS, content="c4", session="4"),
    ]
    charges = {row["content"]: row["rule"] for row in rate([book], lines).charges}
    assert charges == {"c1": "package:y", "c2": "package:z", "c3": "package:z", "c4": "r"}


def test_a_covered_piece_has_all_amounts_zero_and_moves_no_counter(rate: RateLog) -> None:
    book = a_book(
        a_plan(
            a_rule(tiers("graduated", (1, "6.00", "0"), (None, "1.00", "0")), per="month"),
            includes=("basic",),
        ),
        packages=(("basic", ("c1",)),),
    )
    lines = [
        *watch(T, T + 50 * MINUTE_MS),
        *watch(T + HOUR_MS, T + 2 * HOUR_MS, content="c2", session="s2"),
    ]
    covered, charged = sorted(rate([book], lines).charges, key=lambda row: row["start"])
    amounts = ("billed_ms", "free_ms", "gross", "discount", "capped", "net", "tax", "total")
    assert {covered[name] for name in amounts} == {0}
    assert covered["watched_ms"] == 50 * MINUTE_MS
    assert charged["net"] == micros("6.00")  # the first hour of the month, for all that


def test_an_order_comes_before_the_rules_and_after_the_packages(rate: RateLog) -> None:
    book = a_book(packages=(("extra", ("c1",)),), offers=(an_offer(content=("c1", "c2")),))
    lines = [
        purchased(T),
        line("account.subscribe", T, package="extra"),
        *watch(T, T + MINUTE_MS, content="c1", session="1"),
        *watch(T, T + MINUTE_MS, content="c2", session="2"),
        *watch(T, T + MINUTE_MS, content="c3", session="3"),
    ]
    usage = [row for row in rate([book], lines).charges if row["type"] == "usage"]
    assert {row["content"]: row["rule"] for row in usage} == {
        "c1": "package:extra",
        "c2": "offer:o",
        "c3": "r",
    }


def test_without_a_rule_the_piece_is_suspended(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(kind=("vod",))))
    outcome = rate([book], watch(T, T + MINUTE_MS))
    assert outcome.charges == []
    (row,) = outcome.suspense
    assert (row["reason"], row["account"], row["watched_ms"]) == ("no_rule", "anna", MINUTE_MS)


# --- measure -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "watched_s", "billed_s"),
    [
        ({}, 61.5, 61.5),  # exact unless an increment is given
        ({"increment_ms": 60_000}, 60, 60),
        ({"increment_ms": 60_000}, 60.001, 120),
        ({"increment_ms": 60_000}, 0.001, 60),
        ({"minimum_ms": 120_000}, 1, 120),
        ({"minimum_ms": 120_000}, 121, 121),
        ({"minimum_ms": 100_000, "increment_ms": 60_000}, 10, 100),
        ({"minimum_ms": 100_000, "increment_ms": 60_000}, 61, 120),
        ({"free_below_ms": 10_000}, 9.999, 0),
        ({"free_below_ms": 10_000}, 10, 10),
        ({"free_below_ms": 10_000, "minimum_ms": 30_000}, 9, 0),
        ({"free_below_ms": 10_000, "minimum_ms": 30_000}, 11, 30),
    ],
)
def test_measure(rate: RateLog, rule: dict[str, Any], watched_s: float, billed_s: float) -> None:
    book = a_book(a_plan(a_rule(PER_SECOND, **rule)))
    charge = only_charge(rate([book], watch(T, T + round(watched_s * 1000))))
    assert charge["billed_ms"] == round(billed_s * 1000)
    assert charge["net"] == round(billed_s * 1_000_000)


def test_the_free_beginning_counts_once_the_threshold_is_reached(rate: RateLog) -> None:
    """Cut at 12:00: four seconds in one hour, then six more in the next make it ten."""
    book = a_book(a_plan(a_rule(PER_SECOND, free_below_ms=10_000)))
    start = T - 4_000
    outcome = rate([book], watch(start, T, T + 6_000, T + 8_000))
    assert column(outcome.charges, "watched_ms") == [4_000, 8_000]
    assert column(outcome.charges, "billed_ms") == [0, 12_000]


def test_a_started_increment_goes_on_in_the_next_hour(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(PER_SECOND, increment_ms=60_000)))
    outcome = rate([book], watch(T - 30_000, T + 40_000))
    # 30 s start one minute; 70 s in all are two: 60 and then 60 more.
    assert column(outcome.charges, "billed_ms") == [60_000, 60_000]


def test_each_segment_and_each_rule_is_measured_by_itself(rate: RateLog) -> None:
    rules = [a_rule(PER_SECOND, "hd", quality=("hd",), increment_ms=60_000)]
    rules += [a_rule(PER_SECOND, "uhd", quality=("uhd",), increment_ms=60_000)]
    lines = [
        view(T),
        view(T + 10_000, quality="uhd"),
        view(T + 20_000, quality="hd"),
        view(T + 30_000, content="c2"),  # a new segment
        view(T + 40_000, "stopped", content="c2"),
    ]
    outcome = rate([a_book(a_plan(*rules))], lines)
    # hd: 10 s and 10 s more of the same minute; uhd: 10 s; then hd in the new segment: 10 s.
    assert column(outcome.charges, "rule") == ["hd", "uhd", "hd"]
    assert column(outcome.charges, "watched_ms") == [20_000, 10_000, 10_000]
    assert column(outcome.charges, "billed_ms") == [60_000, 60_000, 60_000]


@pytest.mark.parametrize("per", ["day", "week", "month"])
def test_a_price_of_a_period_is_still_measured_by_the_segment(rate: RateLog, per: Any) -> None:
    rule = a_rule(PER_SECOND, per=per, minimum_ms=60_000)
    lines = [
        *watch(T, T + 10_000, session="1"),
        *watch(T + MINUTE_MS, T + MINUTE_MS + 10_000, session="2"),
    ]
    outcome = rate([a_book(a_plan(rule))], lines)
    assert column(outcome.charges, "billed_ms") == [60_000, 60_000]


def test_per_content_is_measured_over_all_sessions_of_the_account(rate: RateLog) -> None:
    rule = a_rule(PER_SECOND, per="content", increment_ms=60_000)
    lines = [
        *watch(T, T + 40_000, session="1"),
        *watch(T + MINUTE_MS, T + MINUTE_MS + 15_000, session="2", device="phone"),
        *watch(T + 2 * MINUTE_MS, T + 2 * MINUTE_MS + 15_000, session="3"),
        *watch(T + 3 * MINUTE_MS, T + 3 * MINUTE_MS + 15_000, session="4", content="c2"),
        *watch(T + 4 * MINUTE_MS, T + 4 * MINUTE_MS + 15_000, account="bo"),
    ]
    outcome = rate([a_book(a_plan(rule))], lines)
    # 40 s: a minute; 55 s: still that minute; 70 s: the second. c2 and Bo start at nothing.
    assert column(outcome.charges, "billed_ms") == [60_000, 0, 60_000, 60_000, 60_000]


# --- allow ---------------------------------------------------------------------------------------


def test_an_allowance_takes_what_is_left_of_it(rate: RateLog) -> None:
    allowance = Allowance("half-hour", 30 * MINUTE_MS, "day", ("r",))
    book = a_book(a_plan(a_rule(per_hour("6.00")), allowances=(allowance,)))
    lines = [
        *watch(T, T + 20 * MINUTE_MS),
        *watch(T + 20 * MINUTE_MS, T + 50 * MINUTE_MS, session="s2"),
        *watch(T + DAY_MS, T + DAY_MS + 20 * MINUTE_MS, session="s3"),
    ]
    outcome = rate([book], lines)
    minutes = [free // MINUTE_MS for free in column(outcome.charges, "free_ms")]
    assert minutes == [20, 10, 20]
    assert column(outcome.charges, "billed_ms") == [
        20 * MINUTE_MS,
        30 * MINUTE_MS,
        20 * MINUTE_MS,
    ]
    assert column(outcome.charges, "net") == [0, 2_000_000, 0]  # 20 min at 6.00


def test_allowances_in_their_order_and_only_for_the_rules_they_name(rate: RateLog) -> None:
    allowances = (
        Allowance("uhd", 10 * MINUTE_MS, "month", ("uhd",)),
        Allowance("any", 20 * MINUTE_MS, "month"),
    )
    rules = [
        a_rule(per_hour("12.00"), "uhd", quality=("uhd",)),
        a_rule(per_hour("6.00"), "hd"),
    ]
    lines = [
        *watch(T, T + 15 * MINUTE_MS, quality="uhd"),  # 10 from uhd, 5 from any
        *watch(T + 15 * MINUTE_MS, T + 45 * MINUTE_MS, session="s2"),  # 15 left of any
    ]
    outcome = rate([a_book(a_plan(*rules, allowances=allowances))], lines)
    assert column(outcome.charges, "free_ms") == [15 * MINUTE_MS, 15 * MINUTE_MS]
    assert column(outcome.charges, "net") == [0, 1_500_000]


def test_an_allowance_is_shared_by_the_sessions_of_an_account_alone(rate: RateLog) -> None:
    allowance = Allowance("a", 30 * MINUTE_MS, "month")
    book = a_book(a_plan(allowances=(allowance,)))
    lines = [
        view(T, device="tv"),
        view(T, device="phone"),
        view(T, account="bo"),
        view(T + 20 * MINUTE_MS, "stopped", device="tv"),
        view(T + 20 * MINUTE_MS, "stopped", device="phone"),
        view(T + 20 * MINUTE_MS, "stopped", account="bo"),
    ]
    outcome = rate([book], lines)
    free = {(row["account"], row["device"]): row["free_ms"] for row in outcome.charges}
    assert free == {
        ("anna", "tv"): 20 * MINUTE_MS,
        ("anna", "phone"): 10 * MINUTE_MS,
        ("bo", "tv"): 20 * MINUTE_MS,
    }


def test_an_allowance_that_a_later_book_cuts_has_nothing_left(rate: RateLog) -> None:
    def book(minutes: int, **changes: Any) -> Any:
        allowance = Allowance("a", minutes * MINUTE_MS, "month")
        return a_book(a_plan(allowances=(allowance,)), **changes)

    books = [
        book(30),
        book(10, id="b2", effective_from_ms=T + 15 * MINUTE_MS),
        book(40, id="b3", effective_from_ms=T + 30 * MINUTE_MS),
    ]
    outcome = rate(books, watch(T, T + 60 * MINUTE_MS))
    # 15 used of 30; 15 used of 10, nothing left; 15 used of 40, so 25 more.
    assert column(outcome.charges, "free_ms") == [15 * MINUTE_MS, 0, 25 * MINUTE_MS]


# --- price models --------------------------------------------------------------------------------

GRADUATED = tiers("graduated", (1, "6.00", "0.50"), (2, "4.00", "0.25"), (None, "1.00", "0"))
VOLUME = tiers("volume", (1, "6.00", "0.50"), (2, "4.00", "0.25"), (None, "1.00", "0"))
PACKAGE = Price("package", amount_micros=micros("2.50"), size_ms=HOUR_MS // 2)
FLAT = Price("flat", amount_micros=micros("9.00"))


@pytest.mark.parametrize(
    ("price", "minutes", "net"),
    [
        (per_hour("6.00"), 50, "5.00"),
        # Graduated: each part at its tier's amount, and the flat of every tier entered.
        (GRADUATED, 30, "3.50"),  # 0.5 x 6 + 0.50
        (GRADUATED, 60, "6.50"),  # the second tier is not entered yet
        (GRADUATED, 90, "8.75"),  # 6 + 0.5 x 4 + 0.50 + 0.25
        (GRADUATED, 120, "10.75"),
        (GRADUATED, 180, "11.75"),  # 6 + 4 + 1 + 0.75
        # Volume: all of it at the amount of the one tier it is in.
        (VOLUME, 60, "6.50"),
        (VOLUME, 90, "6.25"),  # 1.5 x 4 + 0.25
        (VOLUME, 120, "8.25"),
        (VOLUME, 180, "3.00"),
        # Package: started packages count whole.
        (PACKAGE, 1, "2.50"),
        (PACKAGE, 30, "2.50"),
        (PACKAGE, 31, "5.00"),
        (PACKAGE, 90, "7.50"),
        (FLAT, 1, "9.00"),
        (FLAT, 90, "9.00"),
    ],
)
def test_price_models(rate: RateLog, price: Price, minutes: int, net: str) -> None:
    outcome = rate([a_book(a_plan(a_rule(price)))], watch(T, T + minutes * MINUTE_MS))
    assert sum(column(outcome.charges, "net")) == micros(net)
    assert reasons(outcome) == []


def test_volume_can_give_back_in_a_later_hour(rate: RateLog) -> None:
    outcome = rate([a_book(a_plan(a_rule(VOLUME)))], watch(T, T + 3 * HOUR_MS))
    # P is 6.50 after an hour, 8.25 after two, 3.00 after three.
    assert column(outcome.charges, "gross") == [6_500_000, 1_750_000, -5_250_000]


@pytest.mark.parametrize(
    ("watched_ms", "net"),
    [
        # 0.000001 for 2 s, so 1 s is half a micro-unit, which goes up.
        (999, 0),
        (1_000, 1),
        (2_999, 1),
        (3_000, 2),
    ],
)
def test_halves_go_up(rate: RateLog, watched_ms: int, net: int) -> None:
    price = Price("per_unit", amount_micros=1, unit_ms=2_000)
    charge = only_charge(rate([a_book(a_plan(a_rule(price)))], watch(T, T + watched_ms)))
    assert charge["net"] == net


def test_pieces_add_up_exactly_to_the_whole(rate: RateLog) -> None:
    """A third of a micro-unit a second: one by one each would round to nothing."""
    price = Price("per_unit", amount_micros=1, unit_ms=3_000)
    beats = [T + second * SECOND_MS for second in range(1, 61)]
    charge = only_charge(rate([a_book(a_plan(a_rule(price)))], watch(T, *beats)))
    assert charge["net"] == 20


def test_graduated_is_rounded_once_over_all_its_tiers(rate: RateLog) -> None:
    # 0.4 + 0.4 micro-units: each alone would round to 0, together they are 1.
    step = tiers("graduated", (1 / 3600, "0.001440", "0"), (None, "0.001440", "0"))
    charge = only_charge(rate([a_book(a_plan(a_rule(step)))], watch(T, T + 2_000)))
    assert charge["net"] == 1


# --- the price's counter and its scopes ----------------------------------------------------------

FIRST_MINUTE = Price("flat", amount_micros=micros("1.00"))  # 1.00 once in each period


def charged_times(rate: RateLog, rule: Rule, *starts: int, **changes: Any) -> list[int]:
    """What a minute from each start costs, each in its own session, under a 1.00 flat rule."""
    lines = [opened(starts[0], bill_day=changes.pop("bill_day", None))]
    for number, start in enumerate(starts):
        lines += watch(start, start + MINUTE_MS, session=str(number))
    outcome = rate([a_book(a_plan(rule), **changes)], lines)
    return [net // 1_000_000 for net in column(outcome.charges, "net")]


def test_per_segment(rate: RateLog) -> None:
    rule = a_rule(FIRST_MINUTE)
    assert charged_times(rate, rule, T, T + HOUR_MS, T + DAY_MS) == [1, 1, 1]
    one_segment = rate([a_book(a_plan(rule))], watch(T, T + 3 * HOUR_MS))
    assert column(one_segment.charges, "net") == [1_000_000, 0, 0]


def test_per_day_is_the_local_date(rate: RateLog) -> None:
    rule = a_rule(FIRST_MINUTE, per="day")
    starts = (
        at("17:45"),
        at("18:14"),  # Kathmandu, UTC+5:45: 23:59
        at("18:15"),  # the next day
        at("10:00", "2026-03-03"),
    )
    assert charged_times(rate, rule, *starts, timezone="Asia/Kathmandu") == [1, 0, 1, 0]


def test_per_week_is_the_iso_week(rate: RateLog) -> None:
    rule = a_rule(FIRST_MINUTE, per="week")
    starts = (
        at("12:00", "2026-12-27"),  # Sunday of week 52
        at("12:00", "2026-12-28"),  # Monday of week 53
        at("12:00", "2027-01-03"),  # Sunday of week 53 of 2026
        at("12:00", "2027-01-04"),  # Monday of week 1 of 2027
    )
    assert charged_times(rate, rule, *starts) == [1, 1, 0, 1]


def test_per_month_begins_on_the_bill_day(rate: RateLog) -> None:
    rule = a_rule(FIRST_MINUTE, per="month")
    days = ("2026-01-27", "2026-01-28", "2026-02-27", "2026-02-28", "2026-03-01", "2026-03-28")
    starts = [at("12:00", day) for day in days]
    assert charged_times(rate, rule, *starts) == [1, 0, 1, 0, 1, 0]
    assert charged_times(rate, rule, *starts, bill_day=28) == [1, 1, 0, 1, 0, 1]
    assert charged_times(rate, rule, *starts, bill_day=2) == [1, 0, 1, 0, 0, 1]


def test_per_month_is_local(rate: RateLog) -> None:
    rule = a_rule(FIRST_MINUTE, per="month")
    starts = (
        at("04:59", "2026-03-01"),  # New York, UTC-5: 28 February 23:59
        at("05:00", "2026-03-01"),
        at("03:59", "2026-04-01"),  # UTC-4 by then
        at("04:00", "2026-04-01"),
    )
    assert charged_times(rate, rule, *starts, timezone="America/New_York") == [1, 1, 0, 1]


def test_per_content(rate: RateLog) -> None:
    rule = a_rule(FIRST_MINUTE, per="content")
    lines = [
        *watch(T, T + MINUTE_MS, session="1"),
        *watch(T + HOUR_MS, T + HOUR_MS + MINUTE_MS, session="2", content="c2"),
        *watch(T + 30 * DAY_MS, T + 30 * DAY_MS + MINUTE_MS, session="3"),
        *watch(T + 30 * DAY_MS, T + 30 * DAY_MS + MINUTE_MS, account="bo"),
    ]
    outcome = rate([a_book(a_plan(rule))], lines)
    assert column(outcome.charges, "net") == [1_000_000, 1_000_000, 0, 1_000_000]


def test_rules_that_name_one_counter_share_it(rate: RateLog) -> None:
    by_tier = tiers("graduated", (1, "6.00", "0"), (None, "4.00", "0"))
    by_tier_uhd = tiers("graduated", (1, "12.00", "0"), (None, "8.00", "0"))
    rules = [
        a_rule(by_tier_uhd, "uhd", quality=("uhd",), per="month", counter="hours"),
        a_rule(by_tier, "hd", per="month", counter="hours"),
    ]
    lines = [
        *watch(T, T + 45 * MINUTE_MS, quality="hd"),
        *watch(T + HOUR_MS, T + HOUR_MS + 30 * MINUTE_MS, quality="uhd"),
        *watch(T + 2 * HOUR_MS, T + 2 * HOUR_MS + 30 * MINUTE_MS, quality="hd"),
    ]
    outcome = rate([a_book(a_plan(*rules))], lines)
    # hd: 45 min at 6.00. uhd: 15 min at 12.00 and 15 at 8.00. hd again: past the hour, 4.00.
    assert column(outcome.charges, "net") == [4_500_000, 5_000_000, 2_000_000]


def test_a_counter_may_be_named_after_another_rule(rate: RateLog) -> None:
    rules = [
        a_rule(FIRST_MINUTE, "uhd", quality=("uhd",), per="day", counter="hd"),
        a_rule(FIRST_MINUTE, "hd", per="day"),
    ]
    lines = [
        *watch(T, T + MINUTE_MS),
        *watch(T + HOUR_MS, T + HOUR_MS + MINUTE_MS, quality="uhd"),
    ]
    outcome = rate([a_book(a_plan(*rules))], lines)
    assert column(outcome.charges, "net") == [1_000_000, 0]


# --- discounts and caps --------------------------------------------------------------------------


def test_discounts_one_after_another_each_on_what_is_left(rate: RateLog) -> None:
    discounts = (
        Discount("tenth", 10 * PERCENT),
        Discount("other", 50 * PERCENT, rules=("uhd",)),
        Discount("half", 50 * PERCENT, rules=("r",)),
    )
    book = a_book(a_plan(a_rule(per_hour("6.00")), discounts=discounts))
    charge = only_charge(rate([book], watch(T, T + 30 * MINUTE_MS)))
    # 3.00 - 0.30 = 2.70, and half of that.
    assert (charge["gross"], charge["discount"]) == (3_000_000, 1_650_000)
    assert charge["net"] == 1_350_000


def test_a_discount_holds_from_its_first_instant_to_before_its_last(rate: RateLog) -> None:
    discount = Discount("d", 10 * PERCENT, from_ms=at("12:15"), until_ms=at("12:30"))
    starts = [at("12:15") - 1, at("12:15"), at("12:30") - 1, at("12:30")]
    lines = [
        usage
        for number, start in enumerate(starts)
        for usage in watch(start, start + 1, session=str(number))
    ]
    price = Price("per_unit", amount_micros=micros("1.00"), unit_ms=1)
    book = a_book(a_plan(a_rule(price), discounts=(discount,)))
    assert column(rate([book], lines).charges, "discount") == [0, 100_000, 100_000, 0]


def test_a_discount_is_rounded_over_the_month_and_not_by_the_piece(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(FLAT_ONE), discounts=(Discount("d", 25 * PERCENT),)))
    starts = [T, T + HOUR_MS, T + 2 * HOUR_MS, T + 3 * HOUR_MS, T + 30 * DAY_MS]
    lines = [
        usage
        for number, start in enumerate(starts)
        for usage in watch(start, start + 1_000, session=str(number))
    ]
    # A micro-unit a segment: a quarter of 1, 2, 3, 4 is 0, 1, 1, 1. In April it starts again.
    assert column(rate([book], lines).charges, "discount") == [0, 1, 0, 0, 0]


FLAT_ONE = Price("flat", amount_micros=1)


def test_percent_with_decimals_and_all_of_it(rate: RateLog) -> None:
    for percent_micros, discount in ((12_345_678, 123_457), (100 * PERCENT, 1_000_000)):
        book = a_book(a_plan(a_rule(FIRST_MINUTE), discounts=(Discount("d", percent_micros),)))
        # 12.345678 % of 1,000,000 is 123,456.78.
        assert only_charge(rate([book], watch(T, T + MINUTE_MS)))["discount"] == discount


def test_a_discount_on_a_falling_price_rounds_halves_up_also_below_zero(rate: RateLog) -> None:
    """Volume of the week falls in a new month, whose discount counter then is below zero."""
    rule = a_rule(tiers("volume", (1, "0.000003", "0"), (None, "0", "0")), per="week")
    book = a_book(a_plan(rule, discounts=(Discount("d", 50 * PERCENT),)))
    march, april = at("12:00", "2026-03-31"), at("12:00", "2026-04-01")  # one ISO week
    lines = [*watch(march, march + HOUR_MS), *watch(april, april + HOUR_MS, session="s2")]
    outcome = rate([book], lines)
    # March: 3, half_up(1.5) = 2 off. April: -3, half_up(-1.5) = floor(-1) = -1 off.
    assert column(outcome.charges, "gross") == [3, -3]
    assert column(outcome.charges, "discount") == [2, -1]
    assert column(outcome.charges, "net") == [1, -2]


def test_a_cap_is_the_most_that_its_rules_cost_in_a_period(rate: RateLog) -> None:
    rules = [a_rule(per_hour("6.00"), "hd", quality=("hd",)), a_rule(per_hour("9.00"), "sd")]
    book = a_book(a_plan(*rules, caps=(Cap("c", micros("8.00"), "day", ("hd",)),)))
    lines = [
        *watch(T, T + 2 * HOUR_MS),
        *watch(T + 2 * HOUR_MS, T + 3 * HOUR_MS, session="2", quality="sd"),
        *watch(T + DAY_MS, T + DAY_MS + HOUR_MS, session="3"),
    ]
    outcome = rate([book], lines)
    assert column(outcome.charges, "gross") == [6_000_000, 6_000_000, 9_000_000, 6_000_000]
    assert column(outcome.charges, "capped") == [0, 4_000_000, 0, 0]
    assert column(outcome.charges, "net") == [6_000_000, 2_000_000, 9_000_000, 6_000_000]


def test_caps_one_after_another(rate: RateLog) -> None:
    caps = (Cap("day", micros("4.00"), "day"), Cap("week", micros("5.00"), "week"))
    lines = [
        usage
        for day in range(2)
        for usage in watch(T + day * DAY_MS, T + day * DAY_MS + HOUR_MS, session=str(day))
    ]
    outcome = rate([a_book(a_plan(caps=caps))], lines)
    # Each day 6.00 becomes 4.00; of the second 4.00 the week leaves 1.00.
    assert column(outcome.charges, "capped") == [2_000_000, 5_000_000]
    assert column(outcome.charges, "net") == [4_000_000, 1_000_000]


def test_a_cap_goes_on_counting_above_itself(rate: RateLog) -> None:
    """The counter is of what comes in, so a falling price gives back only below the cap."""
    rule = a_rule(tiers("volume", (2, "6.00", "0"), (None, "3.00", "0")), per="month")
    book = a_book(a_plan(rule, caps=(Cap("c", micros("10.00"), "month"),)))
    outcome = rate([book], watch(T, T + 3 * HOUR_MS))
    # P: 6, 12, then at once 6.50 at 2 h 10 min ... and 9 at three hours; min(10, P): 6, 10, 9.
    assert column(outcome.charges, "gross") == [6_000_000, 6_000_000, -3_000_000]
    assert column(outcome.charges, "net") == [6_000_000, 4_000_000, -1_000_000]
    assert column(outcome.charges, "capped") == [0, 2_000_000, -2_000_000]


# --- tax -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inclusive", "amount", "percent", "tax", "total"),
    [
        (False, "6.00", 25, "1.50", "7.50"),
        (True, "6.00", 25, "1.20", "6.00"),  # 6 x 25 / 125
        (False, "0.000002", 25, "0.000001", "0.000003"),  # half a micro-unit goes up
        (True, "0.000001", 50, "0.000000", "0.000001"),  # a third
        (True, "0.000001", 100, "0.000001", "0.000001"),  # a half
        (False, "6.00", 0, "0.000000", "6.00"),
    ],
)
def test_tax(
    rate: RateLog, inclusive: bool, amount: str, percent: int, tax: str, total: str
) -> None:
    price = Price("flat", amount_micros=micros(amount))
    book = a_book(
        a_plan(a_rule(price)), prices_include_tax=inclusive, tax=(("*", percent * PERCENT),)
    )
    charge = only_charge(rate([book], watch(T, T + MINUTE_MS)))
    assert (charge["net"], charge["tax"], charge["total"]) == (
        micros(amount),
        micros(tax),
        micros(total),
    )


def test_tax_is_rounded_on_the_line_and_not_by_the_piece(rate: RateLog) -> None:
    price = Price("per_unit", amount_micros=1, unit_ms=15 * MINUTE_MS)
    book = a_book(a_plan(a_rule(price)), tax=(("*", 25 * PERCENT),))
    charge = only_charge(rate([book], watch(T, T + HOUR_MS)))
    # Four pieces of one micro-unit each; a quarter of 4 is 1, a quarter of each would be 0.
    assert (charge["net"], charge["tax"], charge["total"]) == (4, 1, 5)


@pytest.mark.parametrize("inclusive", [False, True])
def test_tax_on_a_negative_net_is_rounded_on_its_magnitude(rate: RateLog, inclusive: bool) -> None:
    rule = a_rule(tiers("volume", (1, "0.000002", "0"), (None, "0", "0")))
    percent = 100 if inclusive else 25
    book = a_book(a_plan(rule), prices_include_tax=inclusive, tax=(("*", percent * PERCENT),))
    outcome = rate([book], watch(T, T + 2 * HOUR_MS))
    assert column(outcome.charges, "net") == [2, -2]
    assert column(outcome.charges, "tax") == [1, -1]  # half_up(-0.5) would be 0
    assert column(outcome.charges, "total") == ([2, -2] if inclusive else [3, -3])


@pytest.mark.parametrize(
    ("region", "percent"),
    [("SE-AB", 6), ("SE-AB-01", 6), ("SE-ABC", 25), ("SE", 25), ("NO", 1), ("", 1)],
)
def test_the_longest_region_that_fits_taxes(rate: RateLog, region: str, percent: int) -> None:
    tax = (("*", PERCENT), ("SE", 25 * PERCENT), ("SE-AB", 6 * PERCENT))
    book = a_book(a_plan(a_rule(FIRST_MINUTE)), tax=tax)
    outcome = rate([book], [opened(T, region=region), *watch(T, T + MINUTE_MS)])
    assert only_charge(outcome)["tax"] == percent * 10_000


def test_where_no_region_fits_there_is_no_tax(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(FIRST_MINUTE)), tax=(("SE", 25 * PERCENT),))
    outcome = rate([book], [opened(T, region="NO"), *watch(T, T + MINUTE_MS)])
    assert only_charge(outcome)["tax"] == 0


# --- prepaid -------------------------------------------------------------------------------------


def prepaid_book(*rules: Rule, **changes: Any) -> Any:
    limit = micros(changes.pop("credit_limit", "0"))
    plan = a_plan(*(rules or (a_rule(),)), mode="prepaid", credit_limit_micros=limit)
    return a_book(plan, **changes)


def test_a_prepaid_account_pays_what_it_has(rate: RateLog) -> None:
    outcome = rate([prepaid_book()], [topped_up(T, "2.00"), *watch(T, T + 30 * MINUTE_MS)])
    # Two pieces of 1.50: the first is paid, of the second 0.50, and 1.00 stays unfunded.
    charge = only_charge(outcome)
    assert (charge["total"], charge["unfunded"]) == (3_000_000, 1_000_000)
    assert outcome.balances == {"anna": 0}
    assert signal_types(outcome) == ["balance.exhausted"]


def test_the_credit_limit_lets_the_balance_go_below_zero(rate: RateLog) -> None:
    book = prepaid_book(credit_limit="5.00")
    outcome = rate([book], [topped_up(T, "0.50"), *watch(T, T + HOUR_MS)])
    assert only_charge(outcome)["unfunded"] == 500_000
    assert outcome.balances == {"anna": -5_000_000}


def test_paying_the_last_of_it_exhausts_at_once(rate: RateLog) -> None:
    outcome = rate([prepaid_book()], [topped_up(T, "3.00"), *watch(T, T + 30 * MINUTE_MS)])
    assert only_charge(outcome)["unfunded"] == 0
    assert signal_types(outcome) == ["balance.exhausted"]


def test_one_micro_unit_left_does_not(rate: RateLog) -> None:
    outcome = rate([prepaid_book()], [topped_up(T, "3.000001"), *watch(T, T + 30 * MINUTE_MS)])
    assert outcome.balances == {"anna": 1}
    assert signal_types(outcome) == []


def test_an_account_is_exhausted_once_until_it_is_restored(rate: RateLog) -> None:
    lines = [
        *watch(T, T + HOUR_MS),  # four pieces, none paid
        topped_up(T + HOUR_MS, "0", "t0"),  # nothing: still exhausted
        topped_up(T + HOUR_MS, "1.00", "t1"),
        topped_up(T + HOUR_MS, "1.00", "t2"),  # restored already
        *watch(T + HOUR_MS, T + 2 * HOUR_MS, session="s2"),
    ]
    outcome = rate([prepaid_book()], lines)
    assert signal_types(outcome) == ["balance.exhausted", "balance.restored", "balance.exhausted"]
    assert column(outcome.charges, "unfunded") == [6_000_000, 4_000_000]


def test_restored_is_when_balance_and_credit_limit_are_positive(rate: RateLog) -> None:
    book = a_book(
        a_plan(mode="prepaid", credit_limit_micros=micros("5.00")),
        a_plan(a_rule(id_="rq"), id="q", mode="prepaid"),
    )
    down = watch(T, T + HOUR_MS)  # to -5.00
    up = topped_up(T + HOUR_MS, "0.000001")
    assert signal_types(rate([book], [*down, up])) == ["balance.exhausted", "balance.restored"]
    other_plan = opened(T + HOUR_MS, "q")  # whose limit is 0
    up = topped_up(T + HOUR_MS, "5.00")  # to 0: not positive
    assert signal_types(rate([book], [*down, other_plan, up])) == ["balance.exhausted"]
    more = topped_up(T + HOUR_MS, "0.000001", "t2")
    outcome = rate([book], [*down, other_plan, up, more])
    assert signal_types(outcome) == ["balance.exhausted", "balance.restored"]


def test_free_pieces_never_exhaust(rate: RateLog) -> None:
    book = prepaid_book(a_rule(per_hour("0.00")))
    outcome = rate([book], watch(T, T + HOUR_MS))
    assert signal_types(outcome) == []
    assert only_charge(outcome)["unfunded"] == 0


def test_a_piece_below_zero_gives_back_what_was_paid_and_does_not_restore(rate: RateLog) -> None:
    rule = a_rule(tiers("volume", (1, "6.00", "0"), (None, "1.00", "0")))
    outcome = rate([prepaid_book(rule)], [topped_up(T, "5.00"), *watch(T, T + 2 * HOUR_MS)])
    # The first hour costs 6.00: 5.00 paid, 1.00 unfunded. P is 1.25 after the next quarter: of the
    # 4.75 less, 1.00 was never paid, and 3.75 comes back; then three quarters at 0.25 are paid.
    assert column(outcome.charges, "total") == [6_000_000, -4_000_000]
    assert column(outcome.charges, "unfunded") == [1_000_000, -1_000_000]
    assert outcome.balances == {"anna": 3_000_000}
    assert signal_types(outcome) == ["balance.exhausted"]


FALLING = tiers("volume", (1, "6.00", "0"), (None, "1.00", "0"))


@pytest.mark.parametrize("per", ["segment", "day", "week", "month", "content"])
def test_an_empty_card_is_given_nothing_back(rate: RateLog, per: Any) -> None:
    book = prepaid_book(a_rule(FALLING, per=per))
    outcome = rate([book], watch(T, T + 2 * HOUR_MS))
    # 6.00 unfunded after an hour; P(2 h) is 2.00, and that is still unfunded.
    assert column(outcome.charges, "total") == [6_000_000, -4_000_000]
    assert column(outcome.charges, "unfunded") == [6_000_000, -4_000_000]
    assert outcome.balances == {"anna": 0}


@pytest.mark.parametrize("per", ["segment", "content"])
def test_what_was_paid_is_counted_in_the_scope_of_the_price(rate: RateLog, per: Any) -> None:
    """Half an hour is paid; an hour later in another session half an hour is not."""
    book = prepaid_book(a_rule(FALLING, per=per))
    lines = [
        topped_up(T, "3.00"),
        *watch(T, T + 30 * MINUTE_MS),
        *watch(T + HOUR_MS, T + 90 * MINUTE_MS, session="s2"),  # 3.00 unfunded in either scope
        *watch(T + 2 * HOUR_MS, T + 2 * HOUR_MS + 15 * MINUTE_MS, session="s3"),
    ]
    outcome = rate([book], lines)
    # By the content, P(1.25 h) is 1.25: 4.75 less. T = 1.25, S = 3.00: 1.75 comes back. By the
    # segment the last quarter of an hour costs 1.50, and nothing is there to pay it.
    assert outcome.balances == {"anna": 0 if per == "segment" else micros("1.75")}
    last = column(outcome.charges, "total")[-1]
    assert last == (micros("1.50") if per == "segment" else -micros("4.75"))
    assert column(outcome.charges, "unfunded")[-1] == (
        micros("1.50") if per == "segment" else -micros("3.00")
    )


def test_what_one_counter_left_unfunded_is_not_made_good_by_another(rate: RateLog) -> None:
    rules = (a_rule(per_hour("8.00"), "dear", content=("c1",)), a_rule(FALLING, per="day"))
    lines = [
        *watch(T, T + HOUR_MS),  # 8.00 that nobody paid
        topped_up(T + HOUR_MS, "6.00"),
        *watch(T + HOUR_MS, T + 3 * HOUR_MS, content="c2", session="s2"),
    ]
    outcome = rate([prepaid_book(*rules)], lines)
    # The second rule's first hour is paid with 6.00; P(2 h) is 2.00, so 4.00 comes back.
    assert column(outcome.charges, "unfunded") == [micros("8.00"), 0, 0]
    assert outcome.balances == {"anna": micros("4.00")}


def test_a_volume_price_that_falls_on_an_empty_card_buys_no_film(rate: RateLog) -> None:
    """200 minutes at 1.00, or 0.90 each for more than 200; nothing was ever paid in."""
    price = Price(
        "volume", 0, MINUTE_MS, tiers=(Tier(200 * MINUTE_MS, 1_000_000), Tier(None, 900_000))
    )
    book = prepaid_book(
        a_rule(price, per="month"), offers=(an_offer(content=("m",), prices=((None, 15_000_000),)),)
    )
    end = T + 201 * MINUTE_MS
    lines = [view(T + minute * MINUTE_MS) for minute in range(201)]
    outcome = rate([book], [*lines, view(end, "stopped"), purchased(end)])
    # P(201 min) = 180.90: the last minute lowers what is owed by 19.10.
    assert sum(column(outcome.charges, "total")) == 180_900_000
    assert sum(column(outcome.charges, "unfunded")) == 180_900_000
    assert outcome.balances == {"anna": 0}
    assert signal_types(outcome) == ["balance.exhausted", "order.declined"]


def test_postpaid_moves_no_balance_and_has_nothing_unfunded(rate: RateLog) -> None:
    outcome = rate([a_book()], [topped_up(T, "1.00"), *watch(T, T + HOUR_MS)])
    assert outcome.balances == {"anna": 1_000_000}
    assert only_charge(outcome)["unfunded"] == 0
    assert signal_types(outcome) == []


def test_a_balance_pays_the_tax_too(rate: RateLog) -> None:
    book = prepaid_book(tax=(("*", 25 * PERCENT),))
    outcome = rate([book], [topped_up(T, "10.00"), *watch(T, T + HOUR_MS)])
    assert outcome.balances == {"anna": micros("2.50")}


def test_a_refund_restores(rate: RateLog) -> None:
    offer = an_offer("ppv", starts_ms=T + DAY_MS, ends_ms=T + 2 * DAY_MS, cancel="before_start")
    lines = [topped_up(T, "50.00"), purchased(T), cancelled(T)]
    outcome = rate([prepaid_book(offers=(offer,))], lines)
    assert signal_types(outcome) == [
        "order.accepted",
        "balance.exhausted",
        "order.cancelled",
        "balance.restored",
    ]
    assert outcome.balances == {"anna": micros("50.00")}


def test_the_steps_together(rate: RateLog) -> None:
    """Every step at once, on one line of 50 minutes.

    measure: 50 min watched, increments of 15 min: 60 min billed.
    allow: 10 min free, 50 min left. price: 50 min at 7.20 an hour = 6.00.
    discount: 10 % = 0.60, then 25 % of 5.40 = 1.35; 4.05 left. cap: 4.00, 0.05 capped.
    tax: 4.00 x 25 % = 1.00. prepaid: 5.00 total, 3.00 to pay with.
    """
    plan = a_plan(
        a_rule(per_hour("7.20"), increment_ms=15 * MINUTE_MS, per="month"),
        mode="prepaid",
        allowances=(Allowance("a", 10 * MINUTE_MS, "month"),),
        discounts=(Discount("d1", 10 * PERCENT), Discount("d2", 25 * PERCENT)),
        caps=(Cap("c", micros("4.00"), "month"),),
    )
    book = a_book(plan, tax=(("*", 25 * PERCENT),))
    outcome = rate([book], [topped_up(T, "3.00"), *watch(T, T + 50 * MINUTE_MS)])
    charge = only_charge(outcome)
    assert (charge["watched_ms"], charge["billed_ms"], charge["free_ms"]) == (
        50 * MINUTE_MS,
        60 * MINUTE_MS,
        10 * MINUTE_MS,
    )
    assert (charge["gross"], charge["discount"], charge["capped"]) == (
        micros("6.00"),
        micros("1.95"),
        micros("0.05"),
    )
    assert (charge["net"], charge["tax"], charge["total"]) == (
        micros("4.00"),
        micros("1.00"),
        micros("5.00"),
    )
    assert charge["unfunded"] == micros("2.00")
    assert outcome.balances == {"anna": 0}
