"""The checks of the laws, tried by breaking what they guard."""

from __future__ import annotations

from dataclasses import replace

import pytest
from core_adapter import batch_of
from scenes import HOUR_MS, MINUTE_MS, a_book, a_plan, a_rule, opened, topped_up, view

from rating.laws import LawBroken
from rating.rater import Rater
from rating.runtime.audit import audit
from rating.state import APPLIED, ENDED_MS, RATED_MS, WATCHED_MS
from sinks.store import LawInputs

T = 1_772_800_000_000 // HOUR_MS * HOUR_MS
BOOK = a_book(a_plan(a_rule(), mode="prepaid"))
LOG = [
    opened(T, "p"),
    topped_up(T, "50.00"),
    view(T),
    view(T + MINUTE_MS),
    view(T + 2 * MINUTE_MS),
]
LAWFUL = LawInputs(
    counts={"records": 3, "applied": 2, "suspended": 1, "watched_ms": 90},
    sessions_open=0,
    charges=1,
    records_suspended=1,
    charged_ms=80,
    suspended_ms=10,
    paid_open_micros=0,
    balances_wrong=0,
    orders_wrong=0,
)


def a_rater() -> Rater:
    """A rater in the middle of a prepaid session."""
    rater = Rater([BOOK])
    rater.rate(batch_of(LOG))
    rater.check_watched()
    return rater


def next_batch(rater: Rater) -> None:
    rater.rate(batch_of([view(T + 3 * MINUTE_MS)]))


def test_a_record_without_an_outcome_stops_the_run() -> None:
    rater = a_rater()
    rater.state.places[APPLIED] -= 1
    with pytest.raises(LawBroken, match="6 usage records came in, but 5 have an outcome"):
        next_batch(rater)


def test_watched_time_that_is_not_rated_stops_the_run() -> None:
    rater = a_rater()
    rater.state.places[RATED_MS] -= 1
    with pytest.raises(LawBroken, match="180000 ms, but pieces of 179999 ms were rated"):
        next_batch(rater)


def test_watched_time_that_is_nowhere_stops_the_run() -> None:
    rater = a_rater()
    rater.state.places[ENDED_MS] += 7
    with pytest.raises(LawBroken, match="charges and suspense hold 7 ms"):
        rater.check_watched()


def test_an_open_line_that_loses_time_stops_the_run() -> None:
    rater = a_rater()
    lines = rater.state.lines
    lines.rows["watched_ms"][lines.live_slots()[0]] -= 1
    with pytest.raises(LawBroken, match="120000 ms were watched"):
        rater.check_watched()


def test_a_balance_that_is_not_its_movements_stops_the_run() -> None:
    rater = a_rater()
    accounts = rater.state.accounts
    accounts.rows["balance_micros"][accounts.live_slots()[0]] += 1
    with pytest.raises(LawBroken, match="is not top-ups 50000000"):
        next_batch(rater)


def test_time_that_appears_from_nowhere_stops_the_run() -> None:
    rater = a_rater()
    rater.state.places[WATCHED_MS] += 1
    with pytest.raises(LawBroken):
        next_batch(rater)


def test_a_store_that_adds_up_breaks_no_law() -> None:
    assert all(law.holds for law in audit(LAWFUL, 0))


@pytest.mark.parametrize(
    "broken",
    [
        {"counts": {**LAWFUL.counts, "applied": 3}},
        {"records_suspended": 0},
        {"charged_ms": 79},
        {"suspended_ms": 11},
        {"balances_wrong": 1},
        {"orders_wrong": 2},
        {"paid_open_micros": 1},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_each_law_of_the_store_is_seen_to_break(broken: dict[str, object]) -> None:
    laws = audit(replace(LAWFUL, **broken), 0)  # type: ignore[arg-type]
    assert [law.holds for law in laws].count(False) == 1
    assert all(law.detail for law in laws if not law.holds)


def test_the_charges_of_a_batch_hold_what_was_watched() -> None:
    rater = a_rater()
    assert rater.close().charges["watched_ms"].sum() == 2 * MINUTE_MS
