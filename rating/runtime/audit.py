"""The laws of spec section 8, checked on what a billing store holds.

The rater checks them with every batch before it is committed; this is the second look, at what
really arrived in the store.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rating.runtime.summary import Law
from rating.schemas import OUTCOMES

if TYPE_CHECKING:
    from sinks.store import LawInputs

RECORDS = "every usage record has exactly one outcome"
SUSPENSE = "every suspended record is kept"
WATCHED = "all watched time is in charges, open lines or suspense"
BALANCES = "each balance is top-ups - paid usage - purchases + refunds"
ORDERS = "each purchase and refund is a charge"
PAID = "all paid usage is in charges or open lines"


def audit(inputs: LawInputs, open_ms: int | None) -> tuple[Law, ...]:
    """Every law, and whether it holds.

    open_ms: watched time of the open lines; None where the store's list of open sessions is older
    than its last commit, so that only a bound can be checked.
    """
    counts = inputs.counts
    return (
        _equal(RECORDS, "records", counts.get("records", 0), _outcomes(inputs), "outcomes"),
        _equal(SUSPENSE, "suspended", counts.get("suspended", 0), inputs.records_suspended, "kept"),
        _watched(inputs, open_ms),
        _none(BALANCES, inputs.balances_wrong, "accounts have another balance"),
        _none(ORDERS, inputs.orders_wrong, "accounts have other purchases or refunds"),
        _none(PAID, 0 if inputs.sessions_open else inputs.paid_open_micros, "micro-units differ"),
    )


def _outcomes(inputs: LawInputs) -> int:
    return sum(inputs.counts.get(name, 0) for name in OUTCOMES)


def _watched(inputs: LawInputs, open_ms: int | None) -> Law:
    """Watched time; without `open_ms`, what is in no charge must still be possible."""
    watched_ms = inputs.counts.get("watched_ms", 0)
    ended_ms = inputs.charged_ms + inputs.suspended_ms
    if open_ms is not None or not inputs.sessions_open:
        found_ms = ended_ms + (open_ms or 0)
        return _equal(WATCHED, "ms watched", watched_ms, found_ms, "ms found")
    if ended_ms <= watched_ms:
        return Law(WATCHED, holds=True)
    return _equal(WATCHED, "ms watched", watched_ms, ended_ms, "ms found")


def _equal(name: str, left: str, left_count: int, right_count: int, right: str) -> Law:
    if left_count == right_count:
        return Law(name, holds=True)
    return Law(name, holds=False, detail=f"{left_count:,} {left}, but {right_count:,} {right}")


def _none(name: str, wrong: int, what: str) -> Law:
    return Law(name, wrong == 0, "" if wrong == 0 else f"{wrong:,} {what}")
