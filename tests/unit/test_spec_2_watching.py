"""Spec section 2: what was watched, and where it is cut."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenes import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    a_book,
    a_plan,
    a_rule,
    at,
    column,
    line,
    only_charge,
    opened,
    per_hour,
    view,
    watch,
)

from tariffs.model import Discount

if TYPE_CHECKING:
    from conftest import RateLog
    from outcome import Outcome

T = at("12:00")
BEAT_MS = 90 * SECOND_MS
IDLE_MS = 300 * SECOND_MS
USUAL = a_book(heartbeat_timeout_ms=BEAT_MS, idle_ms=IDLE_MS)


def watched(outcome: Outcome) -> list[tuple[int, int, int]]:
    """Start, end and watched time of each charge, counted from noon."""
    rows = sorted(outcome.charges, key=lambda charge: charge["start"])
    return [(row["start"] - T, row["end"] - T, row["watched_ms"]) for row in rows]


def outcomes(outcome: Outcome) -> dict[str, int]:
    """The counts that are not zero, but for those that go without saying."""
    names = ("suspended", "duplicates", "out_of_order", "orphan_stops")
    return {name: outcome.counts[name] for name in names if outcome.counts[name]}


# --- states --------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["starting", "paused", "stalled", "seeking"])
def test_only_playing_accrues(rate: RateLog, state: str) -> None:
    lines = [
        view(T, state),
        view(T + 30_000, "playing"),
        view(T + 50_000, state),
        view(T + 80_000, "stopped"),
    ]
    assert watched(rate([USUAL], lines)) == [(30_000, 50_000, 20_000)]


def test_a_session_that_never_plays_is_no_charge(rate: RateLog) -> None:
    outcome = rate([USUAL], [view(T, "paused"), view(T + 60_000, "stopped")])
    assert outcome.charges == []
    assert outcome.counts["applied"] == 2


def test_heartbeats_gather_in_one_charge_and_a_pause_is_no_break(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + 60_000),
        view(T + 120_000, "paused"),
        view(T + 400_000, "paused"),  # 280 s without playing: longer than a heartbeat, no break.
        view(T + 420_000, "playing"),
        view(T + 450_000, "stopped"),
    ]
    assert watched(rate([USUAL], lines)) == [(0, 450_000, 120_000 + 30_000)]


def test_no_evidence_no_charge(rate: RateLog) -> None:
    outcome = rate([USUAL], [view(T)])
    assert outcome.charges == []
    assert outcome.counts["watched_ms"] == 0


# --- the heartbeat -------------------------------------------------------------------------------


def test_a_gap_of_just_the_heartbeat_timeout_was_watched(rate: RateLog) -> None:
    assert watched(rate([USUAL], watch(T, T + BEAT_MS))) == [(0, BEAT_MS, BEAT_MS)]


def test_a_longer_gap_was_not_and_begins_a_segment(rate: RateLog) -> None:
    lines = watch(T, T + 60_000, T + 60_000 + BEAT_MS + 1, T + 160_000)
    # Watched: 12:00:00 to 12:01:00, and 12:02:30.001 (where the new segment begins) to 12:02:40.
    expected = [(0, 60_000, 60_000), (150_001, 160_000, 9_999)]
    assert watched(rate([USUAL], lines)) == expected


def test_a_gap_while_paused_begins_no_segment(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + 60_000, "paused"),
        view(T + 260_000, "playing"),
        view(T + 270_000, "stopped"),
    ]
    assert watched(rate([USUAL], lines)) == [(0, 270_000, 70_000)]


def test_the_timeouts_are_of_the_book_in_force_at_the_records_time(rate: RateLog) -> None:
    patient = a_book(id="b2", effective_from_ms=T + 200_000, idle_ms=IDLE_MS)  # a day's heartbeat
    lines = [view(T), view(T + 200_000), view(T + 201_000, "stopped")]
    # The 200 s gap ends in the patient book, so it was watched, and is rated by the first book.
    outcome = rate([USUAL, patient], lines)
    assert watched(outcome) == [(0, 200_000, 200_000), (200_000, 201_000, 1_000)]
    assert column(outcome.charges, "book") == ["b", "b2"]
    assert watched(rate([USUAL, patient], [view(T), view(T + 199_999)])) == []


# --- idle sessions -------------------------------------------------------------------------------


def test_idle_is_measured_from_record_to_record_by_the_log_clock(rate: RateLog) -> None:
    lines = [
        view(T, received=T),
        view(T + 10_000, received=T + IDLE_MS),  # R - seen is 300 s: not yet idle.
        view(T + 20_000, "stopped", received=T + 2 * IDLE_MS),
    ]
    assert watched(rate([USUAL], lines)) == [(0, 20_000, 20_000)]


def test_an_idle_session_closes_and_the_record_finds_none(rate: RateLog) -> None:
    lines = [
        view(T, received=T),
        view(T + 10_000, received=T + IDLE_MS + 1),  # Idle by 1 ms: a session begins here.
        view(T + 20_000, received=T + IDLE_MS + 1),
        view(T + 30_000, "stopped", received=T + 2 * IDLE_MS + 2),  # And is idle again.
    ]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(10_000, 20_000, 10_000)]
    assert outcomes(outcome) == {"orphan_stops": 1}


def test_records_of_others_move_the_clock_but_not_what_was_seen(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + IDLE_MS + 1, account="bo"),
        view(T + 10_000, received=T + 10_000),  # seen was T, and R is T + 300.001 s.
        view(T + 20_000, received=T + 20_000),
    ]
    assert watched(rate([USUAL], lines)) == [(10_000, 20_000, 10_000)]


def test_an_out_of_order_record_is_a_sign_of_life(rate: RateLog) -> None:
    lines = [
        view(T, received=T),
        view(T - 1, received=T + IDLE_MS),  # Out of order, but seen becomes R.
        view(T + 30_000, "stopped", received=T + 2 * IDLE_MS),
    ]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 30_000, 30_000)]
    assert outcomes(outcome) == {"out_of_order": 1}


def test_idle_and_heartbeat_are_told_apart(rate: RateLog) -> None:
    """A session closed for idleness has its charge where its evidence ends."""
    lines = [view(T), view(T + 60_000), view(T + 60_000 + IDLE_MS + 1, account="bo")]
    outcome = rate([USUAL], lines, close=False)
    assert watched(outcome) == [(0, 60_000, 60_000)]


# --- order ---------------------------------------------------------------------------------------


def test_a_stop_without_a_session_is_an_orphan(rate: RateLog) -> None:
    lines = [view(T, "stopped"), *watch(T, T + 10_000), view(T + 10_000, "stopped")]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 10_000, 10_000)]
    assert outcomes(outcome) == {"orphan_stops": 2}


def test_an_earlier_record_changes_nothing(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + 60_000),
        view(T + 30_000, "paused"),
        view(T + 30_000, "stopped"),
        view(T + 30_000, content="c2"),
        view(T + 80_000, "stopped"),
    ]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 80_000, 80_000)]
    assert outcomes(outcome) == {"out_of_order": 3}


def test_a_stop_for_another_content_is_out_of_order(rate: RateLog) -> None:
    lines = [view(T), view(T + 60_000, "stopped", content="c2"), view(T + 80_000, "stopped")]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 80_000, 80_000)]
    assert outcomes(outcome) == {"out_of_order": 1}


def test_a_duplicate_adds_nothing(rate: RateLog) -> None:
    once = watch(T, T + 60_000, T + 90_000)
    twice = [usage for usage in once for _ in range(2)]
    outcome = rate([USUAL], twice)
    assert watched(outcome) == [(0, 90_000, 90_000)]
    # The second stop finds no session any more.
    assert outcomes(outcome) == {"duplicates": 2, "orphan_stops": 1}


def test_a_record_at_the_same_instant_still_sets_the_state(rate: RateLog) -> None:
    lines = [view(T, "starting"), view(T, "playing"), view(T + 10_000, "stopped")]
    assert watched(rate([USUAL], lines)) == [(0, 10_000, 10_000)]


def test_sessions_are_told_apart_by_account_device_and_session(rate: RateLog) -> None:
    keys = [
        {"account": account, "device": device, "session": session}
        for account in ("anna", "bo")
        for device in ("tv", "phone")
        for session in ("s1", "s2")
    ]
    lines = [view(T + number, **key) for number, key in enumerate(keys)]
    lines += [view(T + 10_000, "stopped", **key) for key in keys]
    expected = [(number, 10_000, 10_000 - number) for number in range(8)]
    assert watched(rate([USUAL], lines)) == expected


# --- segments ------------------------------------------------------------------------------------


def test_a_zap_ends_the_segment_and_what_came_before_it_was_watched(rate: RateLog) -> None:
    lines = [view(T), view(T + 40_000, content="c2"), view(T + 60_000, "stopped", content="c2")]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 40_000, 40_000), (40_000, 60_000, 20_000)]
    assert column(outcome.charges, "content") == ["c1", "c2"]


def test_zapping_back_begins_another_segment(rate: RateLog) -> None:
    lines = [
        view(T),
        view(T + 10_000, content="c2"),
        view(T + 20_000),
        view(T + 30_000, "stopped"),
    ]
    outcome = rate([USUAL], lines)
    assert column(outcome.charges, "content") == ["c1", "c2", "c1"]
    assert watched(outcome)[2] == (20_000, 30_000, 10_000)


def test_the_interval_is_of_the_quality_and_kind_before(rate: RateLog) -> None:
    lines = [
        view(T, quality="hd"),
        view(T + 40_000, quality="uhd", kind="catchup"),
        view(T + 60_000, "stopped", quality="sd"),
    ]
    outcome = rate([USUAL], lines)
    assert column(outcome.charges, "quality") == ["hd", "uhd"]
    assert column(outcome.charges, "kind") == ["channel", "catchup"]
    assert watched(outcome) == [(0, 40_000, 40_000), (40_000, 60_000, 20_000)]


def test_quality_there_and_back_in_one_hour_is_one_charge(rate: RateLog) -> None:
    lines = [
        view(T, quality="hd"),
        view(T + 10_000, quality="uhd"),
        view(T + 20_000, quality="hd"),
        view(T + 30_000, "stopped"),
    ]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 30_000, 20_000), (10_000, 20_000, 10_000)]


# --- playheads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "expected_ms"),
    [
        # Sixty seconds pass in each; what was watched is at most the advance over the rate.
        ({"playhead_ms": 0}, {"playhead_ms": 60_000}, 60_000),
        ({"playhead_ms": 5_000}, {"playhead_ms": 25_000}, 20_000),
        ({"playhead_ms": 0}, {"playhead_ms": 99_000}, 60_000),  # never more than passed
        ({"playhead_ms": 7}, {"playhead_ms": 7}, 0),  # a picture that stood still
        ({"playhead_ms": 50_000}, {"playhead_ms": 10_000}, 0),  # a jump back is no advance
        ({"playhead_ms": -20_000}, {"playhead_ms": -5_000}, 15_000),
        ({}, {"playhead_ms": 10_000}, 60_000),  # both must carry one
        ({"playhead_ms": 10_000}, {}, 60_000),
        ({"playhead_ms": 0, "rate": 2}, {"playhead_ms": 60_000}, 30_000),
        ({"playhead_ms": 0, "rate": 1.5}, {"playhead_ms": 10_000}, 6_666),  # floor(6666.67)
        ({"playhead_ms": 0, "rate": 0.5}, {"playhead_ms": 20_001}, 40_002),
        ({"playhead_ms": 0, "rate": 0.001}, {"playhead_ms": 3}, 3_000),
        ({"playhead_ms": 0, "rate": 0}, {"playhead_ms": 60_000}, 0),
        ({"playhead_ms": 60_000, "rate": -1}, {"playhead_ms": 0}, 0),
        ({"rate": 0}, {}, 60_000),  # without playheads the rate says nothing
        ({"playhead_ms": 0}, {"playhead_ms": 60_000, "rate": 4}, 60_000),  # the rate before counts
        ({"playhead_ms": 0}, {"playhead_ms": 10, "content": "c2"}, 60_000),  # another content's
    ],
)
def test_the_playhead_cuts_the_interval_short(
    rate: RateLog, before: dict[str, Any], after: dict[str, Any], expected_ms: int
) -> None:
    lines = [view(T, **before), view(T + 60_000, "paused", **after)]
    outcome = rate([USUAL], lines)
    assert outcome.counts["watched_ms"] == expected_ms
    assert watched(outcome) == ([(0, expected_ms, expected_ms)] if expected_ms else [])


def test_the_next_interval_starts_at_the_record_not_where_the_picture_stood(
    rate: RateLog,
) -> None:
    lines = [
        view(T, playhead_ms=0),
        view(T + 60_000, playhead_ms=20_000),  # watched 20 s from 12:00:00
        view(T + 80_000, "stopped", playhead_ms=40_000),  # watched 20 s from 12:01:00
    ]
    assert watched(rate([USUAL], lines)) == [(0, 80_000, 40_000)]


def test_a_playhead_is_compared_with_the_last_applied_record_only(rate: RateLog) -> None:
    lines = [
        view(T, playhead_ms=0),
        view(T - 1, playhead_ms=55_000),  # out of order: its playhead is not kept
        view(T + 30_000),  # carries none, so neither interval is cut
        view(T + 60_000, "stopped", playhead_ms=1),
    ]
    assert watched(rate([USUAL], lines)) == [(0, 60_000, 60_000)]


def test_a_duplicate_may_move_the_playhead(rate: RateLog) -> None:
    lines = [
        view(T, playhead_ms=0),
        view(T, playhead_ms=1_000),
        view(T + 60_000, "stopped", playhead_ms=31_000),
    ]
    assert watched(rate([USUAL], lines)) == [(0, 30_000, 30_000)]


# --- pieces --------------------------------------------------------------------------------------


def test_pieces_are_cut_at_quarters_of_an_hour(rate: RateLog) -> None:
    """A discount from 12:10 is read at each piece's start: 12:05 without, 12:15 with."""
    half = Discount("half", 50_000_000, from_ms=at("12:10"))
    book = a_book(a_plan(a_rule(per_hour("6.00")), discounts=(half,)))
    charge = only_charge(rate([book], watch(at("12:05"), at("12:25"))))
    # 20 min at 6.00 = 2.00; from 12:15 to 12:25 is 10 min = 1.00, half of it off.
    assert (charge["gross"], charge["discount"], charge["net"]) == (2_000_000, 500_000, 1_500_000)


def test_pieces_are_cut_where_another_book_comes_into_force(rate: RateLog) -> None:
    change = at("12:07:30.001")
    later = a_book(a_plan(a_rule(per_hour("7.20"))), id="b2", effective_from_ms=change)
    outcome = rate([a_book(), later], watch(T, at("12:10")))
    assert column(outcome.charges, "book") == ["b", "b2"]
    assert watched(outcome) == [(0, 450_001, 450_001), (450_001, 600_000, 149_999)]
    # 450,001 ms x 6,000,000 / 3,600,000 = 750,001.67; 149,999 x 7.2 / 3.6 = 299,998.
    assert column(outcome.charges, "net") == [750_002, 299_998]


def test_the_first_book_rates_what_is_before_any(rate: RateLog) -> None:
    first = a_book(effective_from_ms=T + HOUR_MS)
    second = a_book(id="b2", effective_from_ms=T + 2 * HOUR_MS)
    outcome = rate([first, second], watch(T, T + 3 * HOUR_MS))
    assert column(outcome.charges, "book") == ["b", "b", "b2"]


def test_coming_into_force_is_no_cut_where_the_book_stays_the_same(rate: RateLog) -> None:
    """The first book rates what is before it too, so its own start is no change of book."""
    tenth = Discount("tenth", 10_000_000, from_ms=at("12:07"))
    book = a_book(
        a_plan(a_rule(per_hour("6.00")), discounts=(tenth,)), effective_from_ms=at("12:07")
    )
    charge = only_charge(rate([book], watch(T, at("12:14"))))
    assert (charge["gross"], charge["discount"]) == (1_400_000, 0)


def test_a_day_long_interval_is_one_charge_an_hour(rate: RateLog) -> None:
    outcome = rate([a_book()], watch(T, T + DAY_MS))
    assert len(outcome.charges) == 24
    assert sum(column(outcome.charges, "net")) == 24 * 6_000_000


def test_plan_region_and_packages_are_as_at_this_place_in_the_log(rate: RateLog) -> None:
    """The account changes at 12:30 by its time, but the log says it after the heartbeat of 12:40."""
    book = a_book(a_plan(), a_plan(a_rule(per_hour("1.00"), "r2"), id="q"))
    lines = [
        view(T),
        view(at("12:40")),
        opened(at("12:30"), "q", received=at("12:40")),
        view(at("12:50"), "stopped"),
    ]
    outcome = rate([book], lines)
    assert column(outcome.charges, "plan") == ["p", "q"]
    assert watched(outcome) == [(0, 2_400_000, 2_400_000), (2_400_000, 3_000_000, 600_000)]


def test_a_package_taken_between_two_heartbeats_covers_the_whole_interval(rate: RateLog) -> None:
    book = a_book(packages=(("extra", ("c1",)),))
    lines = [
        view(T),
        line("account.subscribe", T + MINUTE_MS, package="extra"),
        view(T + 2 * MINUTE_MS, "stopped"),
    ]
    outcome = rate([book], lines)
    assert only_charge(outcome)["rule"] == "package:extra"
    assert watched(outcome) == [(0, 120_000, 120_000)]
