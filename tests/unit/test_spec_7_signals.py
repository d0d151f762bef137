"""Spec section 7: each signal has account, time and what it is about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scenes import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    a_book,
    a_plan,
    an_offer,
    at,
    cancelled,
    micros,
    purchased,
    topped_up,
    view,
    watch,
)

if TYPE_CHECKING:
    from conftest import RateLog

T = at("12:00")
BOOK = a_book(
    a_plan(mode="prepaid"),
    offers=(
        an_offer("ppv", starts_ms=T + HOUR_MS, ends_ms=T + DAY_MS, cancel="before_start"),
        an_offer(id="late", sale_from_ms=T + DAY_MS),
    ),
)


def signals(rate: RateLog, lines: list[bytes]) -> list[tuple[Any, ...]]:
    """Type, account, minutes after noon and order of each signal, in the order they were given."""
    return [
        (row["type"], row["account"], (row["time"] - T) / MINUTE_MS, row["order"])
        for row in rate([BOOK], lines).signals
    ]


def test_orders_signal_at_their_own_time(rate: RateLog) -> None:
    lines = [
        topped_up(T, "51.00"),
        purchased(T + MINUTE_MS),
        purchased(T + 2 * MINUTE_MS, "late", "o2"),
        purchased(T + 3 * MINUTE_MS, "o", "o3"),
        cancelled(T + 4 * MINUTE_MS),
        cancelled(T + 5 * MINUTE_MS),  # a duplicate: no signal
        purchased(T + 6 * MINUTE_MS, "o", "o4"),
        cancelled(T + HOUR_MS, "o4"),
    ]
    assert signals(rate, lines) == [
        ("order.accepted", "anna", 1, "o1"),
        ("order.declined", "anna", 2, "o2"),
        ("order.declined", "anna", 3, "o3"),
        ("order.cancelled", "anna", 4, "o1"),
        ("order.accepted", "anna", 6, "o4"),
        ("order.cancel_rejected", "anna", 60, "o4"),
    ]


def test_a_declined_order_says_why(rate: RateLog) -> None:
    lines = [purchased(T, "late", "o1"), purchased(T, "o", "o2")]
    declined = [(row["order"], row["reason"]) for row in rate([BOOK], lines).signals]
    assert declined == [("o1", "not_on_sale"), ("o2", "insufficient_balance")]


def test_balance_signals_are_about_the_account(rate: RateLog) -> None:
    lines = [
        topped_up(T, "1.00"),  # 10 minutes at 6.00 an hour
        view(T),
        view(T + 12 * MINUTE_MS),
        topped_up(T + 13 * MINUTE_MS, "50.30", "t2"),
        view(T + 14 * MINUTE_MS, "stopped"),
        purchased(T + 15 * MINUTE_MS),
        cancelled(T + 16 * MINUTE_MS),
    ]
    # The heartbeat of 12:12 proves what the balance cannot pay; its time is the signal's. From
    # 12:12 to 12:14 is 0.20 of the 50.30, so the purchase of 50.00 leaves 0.10.
    assert signals(rate, lines) == [
        ("balance.exhausted", "anna", 12, ""),
        ("balance.restored", "anna", 13, ""),
        ("order.accepted", "anna", 15, "o1"),
        ("order.cancelled", "anna", 16, "o1"),
    ]
    assert rate([BOOK], lines).balances == {"anna": micros("50.10")}


def test_each_account_has_its_own(rate: RateLog) -> None:
    lines = [
        *watch(T, T + MINUTE_MS, account="anna"),
        *watch(T, T + MINUTE_MS, account="bo"),
        topped_up(T + MINUTE_MS, "1.00", account="bo"),
    ]
    assert signals(rate, lines) == [
        ("balance.exhausted", "anna", 1, ""),
        ("balance.exhausted", "bo", 1, ""),
        ("balance.restored", "bo", 1, ""),
    ]
