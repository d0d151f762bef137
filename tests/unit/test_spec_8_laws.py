"""Spec section 8: the laws, on one log that ends in each of the five ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scenes import (
    HOUR_MS,
    MINUTE_MS,
    a_book,
    a_plan,
    a_rule,
    an_offer,
    at,
    cancelled,
    micros,
    opened,
    purchased,
    topped_up,
    view,
    watch,
)

if TYPE_CHECKING:
    from conftest import RateLog
    from outcome import Outcome

T = at("12:00")
BOOK = a_book(
    a_plan(a_rule(kind=("channel",)), mode="prepaid"),
    a_plan(a_rule(id_="rq"), id="q"),
    offers=(an_offer("rental", content=("film",), cancel="before_play"),),
    heartbeat_timeout_ms=20 * MINUTE_MS,
    idle_ms=30 * MINUTE_MS,
)
LOG = [
    topped_up(T, "55.00"),
    topped_up(T, "55.00"),  # duplicate
    purchased(T),
    view(T),
    view(T + 10 * MINUTE_MS),  # 1.00
    view(T + 10 * MINUTE_MS),  # duplicate
    view(T + 5 * MINUTE_MS, received=T + 10 * MINUTE_MS),  # out of order
    b"nonsense",  # suspended
    view(T + 20 * MINUTE_MS, kind="game"),  # 1.00
    view(T + 30 * MINUTE_MS, "stopped", kind="game"),  # 10 minutes that no rule prices
    view(T + 30 * MINUTE_MS, "stopped", session="s9"),  # orphan stop
    cancelled(T + 31 * MINUTE_MS),
    opened(T + 32 * MINUTE_MS, "q", account="bo"),
    *watch(T + 33 * MINUTE_MS, T + 45 * MINUTE_MS, account="bo"),
    view(T + 46 * MINUTE_MS, account="bo"),
    view(T + 50 * MINUTE_MS, account="bo"),  # still open at the end: 4 minutes
]


def charged(outcome: Outcome) -> list[tuple[Any, ...]]:
    names = ("charge_id", "start", "end", "watched_ms", "net", "tax", "total", "unfunded")
    return sorted(tuple(row[name] for name in names) for row in outcome.charges)


def test_every_record_ends_in_one_way(rate: RateLog) -> None:
    counts = rate([BOOK], LOG).counts
    expected = {
        "records": 17,
        "applied": 12,
        "suspended": 1,
        "duplicates": 2,
        "out_of_order": 1,
        "orphan_stops": 1,
    }
    assert {name: counts[name] for name in expected} == expected


def test_watched_time_is_charged_or_in_suspense(rate: RateLog) -> None:
    outcome = rate([BOOK], LOG)
    # Anna 20 minutes charged and 10 suspended, Bo 12 and 4.
    assert sum(row["watched_ms"] for row in outcome.charges) == 36 * MINUTE_MS
    assert sum(row["watched_ms"] or 0 for row in outcome.suspense) == 10 * MINUTE_MS
    assert outcome.counts["watched_ms"] == 46 * MINUTE_MS


def test_the_balance_is_what_went_in_less_what_was_paid(rate: RateLog) -> None:
    # 55.00 - 2.00 of usage - 50.00 + 50.00; Bo is postpaid.
    assert rate([BOOK], LOG).balances == {"anna": micros("53.00"), "bo": 0}


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 16])
def test_any_batching_gives_the_same_charges(rate: RateLog, batch: int) -> None:
    whole, parts = rate([BOOK], LOG), rate([BOOK], LOG, batch=batch)
    assert charged(parts) == charged(whole)
    assert parts.balances == whole.balances
    assert parts.counts == whole.counts


def test_an_open_session_is_charged_whether_or_not_it_is_closed_first(rate: RateLog) -> None:
    later = [view(T + 2 * HOUR_MS, account="cia")]  # by now Bo's session is idle
    closed = rate([BOOK], [*LOG, *later], close=False)
    assert charged(closed) == charged(rate([BOOK], LOG))
