"""Small logs from the field, with what they come to worked out by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scenes import (
    MINUTE_MS,
    SECOND_MS,
    a_book,
    a_plan,
    a_rule,
    at,
    column,
    micros,
    only_charge,
    per_hour,
    view,
    watch,
)

from tariffs.model import Band, Price

if TYPE_CHECKING:
    from conftest import RateLog

T = at("08:00")
A_MINUTE = Price("per_unit", micros("1.00"), MINUTE_MS)
USUAL = {"heartbeat_timeout_ms": 90 * SECOND_MS, "idle_ms": 300 * SECOND_MS}
BY_THE_MINUTE = a_book(a_plan(a_rule(A_MINUTE)), **USUAL)
SWAPPED = (0, 2, 1, 3)  # minutes: two heartbeats changed places


def test_a_minute_that_lies_over_a_change_of_price_counts_on_both_sides(rate: RateLog) -> None:
    """Half a minute before 17:00 in Amsterdam and half a minute after, both at 0.60 a minute."""
    every = frozenset(range(7))
    day = Band("day", every, frozenset(), frozenset(), 6 * 60, 17 * 60)
    price = Price("per_unit", micros("0.60"), MINUTE_MS)
    rules = (
        a_rule(price, "before-17", band=("day",), increment_ms=MINUTE_MS),
        a_rule(price, "after-17", increment_ms=MINUTE_MS),
    )
    book = a_book(a_plan(*rules), bands=(day,), timezone="Europe/Amsterdam", **USUAL)
    start = at("15:59:30")
    lines = watch(start, *(start + step * 10 * SECOND_MS for step in range(1, 7)))
    outcome = rate([book], lines)
    assert column(outcome.charges, "rule") == ["before-17", "after-17"]
    assert column(outcome.charges, "watched_ms") == [30_000, 30_000]
    assert column(outcome.charges, "net") == [micros("0.60"), micros("0.60")]


def test_a_whole_log_four_times_is_charged_once(rate: RateLog) -> None:
    book = a_book(a_plan(a_rule(per_hour("0.50"))), **USUAL)
    told = watch(T, T + MINUTE_MS, T + 2 * MINUTE_MS, T + 3 * MINUTE_MS)
    outcome = rate([book], told * 4)
    assert only_charge(outcome)["net"] == 25_000  # 3 min x 0.50 / 60
    assert outcome.counts["duplicates"] == 12


def test_two_heartbeats_that_change_places_leave_one_minute_of_three(rate: RateLog) -> None:
    """08:02 comes 120 s after 08:00, which was not watched; 08:01 is out of order."""
    times = [T + minute * MINUTE_MS for minute in SWAPPED]
    lines = [*(view(time) for time in times[:-1]), view(times[-1], "stopped")]
    outcome = rate([BY_THE_MINUTE], lines)
    assert only_charge(outcome)["net"] == micros("1.00")
    assert outcome.counts["out_of_order"] == 1


def test_the_order_inside_one_upload_is_the_logs(rate: RateLog) -> None:
    """As above with one `received`: records are applied in log order, which a gateway decides."""
    received = T + 3 * MINUTE_MS + 5 * SECOND_MS
    swapped = [T + minute * MINUTE_MS for minute in SWAPPED]
    for times, net in ((swapped, "1.00"), (sorted(swapped), "3.00")):
        lines = [view(time, received=received) for time in times[:-1]]
        lines.append(view(times[-1], "stopped", received=received))
        assert only_charge(rate([BY_THE_MINUTE], lines))["net"] == micros(net)
