"""Prepaid money: what a debit takes, and the signals when it runs out or comes back.

Source: spec section 4 (prepaid) and section 7.
"""

from __future__ import annotations

from typing import Any

from rating.jit import int64, jit
from rating.scratch import (
    BALANCE_EXHAUSTED,
    BALANCE_RESTORED,
    NO_REASON,
    SIGNALS_LEN,
    signals,
)
from rating.state import ACCOUNTS, accounts
from rating.tables import NONE, touch
from tariffs.compiled import plans
from tariffs.matching import plan_row


@jit
def give_signal(s: Any, kind: int, reason: int, account: int, order: int, time_ms: int) -> None:
    """Leave a signal for the middleware. `order` is an order's slot, or NONE."""
    signal = signals(s)[s[SIGNALS_LEN]]
    signal.type = kind
    signal.reason = reason
    signal.account = account
    signal.order = order
    signal.time_ms = time_ms
    s[SIGNALS_LEN] += 1


@jit
def exhaust(s: Any, account: int, time_ms: int) -> None:
    """The money ran out: one signal, until it is restored."""
    row = accounts(s)[account]
    if row.exhausted == 0:
        row.exhausted = 1
        give_signal(s, BALANCE_EXHAUSTED, NO_REASON, account, NONE, time_ms)


@jit
def debit_usage(
    s: Any, account: int, total_micros: int, unfunded_micros: int, credit_micros: int, time_ms: int
) -> int:
    """Take what a piece costs as far as money is there; returns what was paid.

    unfunded_micros: of the pieces before it in the scope of the price's counter. A total below
    zero lowers that first, and only the rest is paid back: no more than was paid.
    """
    if total_micros == 0:
        return int64(0)
    row = accounts(s)[account]
    touch(s, ACCOUNTS, account)
    room = int64(row.balance_micros) + credit_micros
    if total_micros > 0:
        paid = min(total_micros, max(int64(0), room))
    else:
        paid = min(int64(0), total_micros + unfunded_micros)
    row.balance_micros -= paid
    row.paid_micros += paid
    if total_micros > 0 and (paid < total_micros or room - paid <= 0):
        exhaust(s, account, time_ms)
    return paid


@jit
def credit_limit(s: Any, b: Any, book: int, account: int) -> int:
    """The credit limit of the account's plan in a book; 0 where the book lacks the plan."""
    found = plan_row(b, book, int64(accounts(s)[account].plan))
    return int64(0) if found == NONE else int64(plans(b)[found].credit_limit_micros)


@jit
def credit(s: Any, account: int, amount_micros: int, limit_micros: int, time_ms: int) -> None:
    """Add a top-up or a refund to the balance; signals when there is money again."""
    row = accounts(s)[account]
    touch(s, ACCOUNTS, account)
    row.balance_micros += amount_micros
    if row.exhausted == 1 and row.balance_micros + limit_micros > 0:
        row.exhausted = 0
        give_signal(s, BALANCE_RESTORED, NO_REASON, account, NONE, time_ms)
