"""Spec section 2: what was watched, and where it is cut."""

from __future__ import annotations

from dataclasses import replace
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
    reasons,
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
    lines = [view(T, "stopped"), *watch(T, T + 10_000), view(T + 10_001, "stopped")]
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
    assert outcomes(outcome) == {"duplicates": 3}


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


# --- after the close -----------------------------------------------------------------------------

AHEAD_MS = 5 * MINUTE_MS
FORGETFUL = replace(USUAL, repeat_ms=HOUR_MS)
STOP = T + MINUTE_MS
STOPPED = watch(T, STOP)  # a minute, closed with `last` and `seen` at 12:01


def test_a_session_told_again_after_its_stop_is_charged_once(rate: RateLog) -> None:
    told = watch(T, *(T + minute * MINUTE_MS for minute in range(1, 13)))
    outcome = rate([USUAL], told * 4)
    assert watched(outcome) == [(0, 12 * MINUTE_MS, 12 * MINUTE_MS)]
    assert outcomes(outcome) == {"duplicates": 39}


def test_what_comes_after_its_last_record_opens_a_session(rate: RateLog) -> None:
    lines = [*STOPPED, view(STOP), view(STOP + 1), view(STOP + 30_001, "stopped")]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 60_000, 60_000), (60_001, 90_001, 30_000)]
    assert outcomes(outcome) == {"duplicates": 1}


@pytest.mark.parametrize("change", [{"device": "phone"}, {"session": "s2"}, {"account": "bo"}])
def test_another_key_has_not_closed(rate: RateLog, change: dict[str, str]) -> None:
    outcome = rate([USUAL], [*STOPPED, *watch(T, STOP, **change)])
    assert watched(outcome) == [(0, 60_000, 60_000)] * 2
    assert outcomes(outcome) == {}


def test_whatever_else_a_repeat_says_is_not_looked_at(rate: RateLog) -> None:
    lines = [*STOPPED, view(T, "paused", content="c2", kind="vod"), view(T + 1, "stopped")]
    assert outcomes(rate([USUAL], lines)) == {"duplicates": 2}


def test_a_session_that_closed_for_idleness_leaves_the_same(rate: RateLog) -> None:
    later = STOP + IDLE_MS + 1
    lines = [
        view(T, received=T),
        view(STOP, received=STOP),
        view(T + 30_000, received=later),  # it closes, and this was before its last record
        view(STOP, "stopped", received=later),
        view(STOP + 1, received=later),
        view(STOP + 10_001, "stopped", received=later),
    ]
    outcome = rate([USUAL], lines)
    assert watched(outcome) == [(0, 60_000, 60_000), (60_001, 70_001, 10_000)]
    assert outcomes(outcome) == {"duplicates": 2}


@pytest.mark.parametrize("batch", [1, None])
def test_a_close_is_remembered_for_repeat_s_and_five_minutes(
    rate: RateLog, batch: int | None
) -> None:
    known = STOP + HOUR_MS + AHEAD_MS
    lines = [
        *STOPPED,
        view(STOP, "stopped", received=known),  # R - seen is an hour and five minutes
        view(STOP, "stopped", received=known + 1),
    ]
    outcome = rate([FORGETFUL], lines, batch=batch)
    assert outcomes(outcome) == {"duplicates": 1, "orphan_stops": 1}


def test_a_repeat_makes_the_memory_no_longer(rate: RateLog) -> None:
    lines = [
        *STOPPED,
        view(STOP, received=STOP + HOUR_MS),
        view(STOP, "stopped", received=STOP + HOUR_MS + AHEAD_MS + 1),
    ]
    assert outcomes(rate([FORGETFUL], lines)) == {"duplicates": 1, "orphan_stops": 1}


def test_the_memory_lasts_from_the_log_clock_at_the_last_record(rate: RateLog) -> None:
    """The stop of 12:01 arrives at 12:04."""
    lines = [
        view(T),
        view(STOP, "stopped", received=T + 4 * MINUTE_MS),
        view(STOP, "stopped", received=T + 4 * MINUTE_MS + HOUR_MS + AHEAD_MS),
    ]
    assert outcomes(rate([FORGETFUL], lines)) == {"duplicates": 1}


def test_the_last_close_of_a_key_is_the_one_that_counts(rate: RateLog) -> None:
    second = watch(T + 2 * MINUTE_MS, T + 3 * MINUTE_MS)
    repeats = [*STOPPED, *second]
    late = T + 3 * MINUTE_MS + HOUR_MS + AHEAD_MS  # the first is forgotten, if it were asked
    lines = [*STOPPED, *second, *repeats, *(view(T + 1, received=late), view(T, received=late))]
    outcome = rate([FORGETFUL], lines)
    assert watched(outcome) == [(0, 60_000, 60_000), (120_000, 180_000, 60_000)]
    assert outcomes(outcome) == {"duplicates": 6}


def test_no_session_opens_further_back_than_repeat_s(rate: RateLog) -> None:
    lines = [
        view(T - HOUR_MS, received=T, session="s1"),
        view(T - HOUR_MS - 1, received=T, session="s2"),
        view(T - HOUR_MS - 1, "stopped", received=T, session="s3"),
        view(T - HOUR_MS + 60_000, "stopped", received=T, session="s1"),
    ]
    outcome = rate([FORGETFUL], lines)
    assert reasons(outcome) == ["too_late"]
    assert outcome.suspense[0]["raw"] == lines[1]
    assert watched(outcome) == [(-HOUR_MS, -HOUR_MS + 60_000, 60_000)]
    assert outcomes(outcome) == {"suspended": 1, "orphan_stops": 1}


def test_an_open_session_may_be_told_of_further_back(rate: RateLog) -> None:
    """What was uploaded two hours late goes on where it stopped, by the times of its records."""
    late = T + 2 * HOUR_MS
    patient = replace(FORGETFUL, idle_ms=3 * HOUR_MS)
    lines = [view(T), view(STOP, received=late), view(STOP + 1, "stopped", received=late)]
    assert watched(rate([patient], lines)) == [(0, 60_001, 60_001)]


def test_repeat_s_is_of_the_book_in_force_at_the_records_time(rate: RateLog) -> None:
    later = replace(USUAL, id="b2", effective_from_ms=T + 10 * MINUTE_MS, repeat_ms=MINUTE_MS)
    now = T + 30 * MINUTE_MS
    lines = [
        view(T + 9 * MINUTE_MS, received=now, session="s1"),
        view(T + 29 * MINUTE_MS, received=now, session="s2"),
        view(T + 29 * MINUTE_MS - 1, received=now, session="s3"),
    ]
    outcome = rate([FORGETFUL, later], lines)
    assert [row["raw"] for row in outcome.suspense] == [lines[2]]


def test_a_week_is_the_default(rate: RateLog) -> None:
    week = 7 * DAY_MS
    lines = [*STOPPED, view(STOP, received=STOP + week + AHEAD_MS)]
    assert outcomes(rate([USUAL], lines)) == {"duplicates": 1}
    lines = [*STOPPED, view(STOP, received=STOP + week + AHEAD_MS + 1)]
    assert reasons(rate([USUAL], lines)) == ["too_late"]


def test_nothing_is_remembered_longer_than_a_record_may_be_late(rate: RateLog) -> None:
    """35 days and 5 minutes after the close no record is both on time and before its end."""
    endless = replace(USUAL, repeat_ms=1_000 * DAY_MS)
    last = STOP + 35 * DAY_MS
    lines = [*STOPPED, view(STOP, received=last), view(STOP, received=last + 1)]
    outcome = rate([endless], lines, batch=1)
    assert outcomes(outcome) == {"duplicates": 1, "suspended": 1}
    assert reasons(outcome) == ["too_late"]


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


def test_what_is_before_the_first_book_is_suspended_and_cut_where_it_begins(rate: RateLog) -> None:
    first = a_book(effective_from_ms=at("12:07"))
    second = a_book(id="b2", effective_from_ms=T + HOUR_MS)
    outcome = rate([first, second], watch(T, T + 90 * MINUTE_MS))
    (row,) = outcome.suspense
    said = (row["reason"], row["time"], row["end"], row["watched_ms"], row["plan"], row["book"])
    assert said == ("no_book", T, at("12:07"), 7 * MINUTE_MS, "p", "")
    assert watched(outcome) == [
        (7 * MINUTE_MS, HOUR_MS, 53 * MINUTE_MS),
        (HOUR_MS, 90 * MINUTE_MS, 30 * MINUTE_MS),
    ]
    assert column(outcome.charges, "book") == ["b", "b2"]


def test_what_is_before_the_first_book_gathers_by_the_hour(rate: RateLog) -> None:
    outcome = rate([a_book(effective_from_ms=T + DAY_MS)], watch(T, T + 2 * HOUR_MS))
    assert column(outcome.suspense, "watched_ms") == [HOUR_MS, HOUR_MS]
    assert outcome.charges == []


def test_before_the_first_book_a_session_has_its_timeouts_and_its_default_plan(
    rate: RateLog,
) -> None:
    first = replace(USUAL, effective_from_ms=T + HOUR_MS)
    lines = [*watch(T, T + BEAT_MS), *watch(T, T + BEAT_MS + 1, session="s2")]
    assert column(rate([first], lines).suspense, "watched_ms") == [BEAT_MS]
    nobody = replace(first, default_plan=None)
    assert reasons(rate([nobody], [view(T)])) == ["unknown_account"]


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
