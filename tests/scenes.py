"""Short ways to write a book and a log, for tests whose figures are worked out by hand.

Unless a test says otherwise it is Monday 2 March 2026 in UTC, Anna watches `c1` on her television,
and a heartbeat may be a day apart, so that two lines make a piece of any length.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tariffs.model import Book, Offer, Plan, Price, Rule, Tier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from outcome import Outcome

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
PERCENT = 1_000_000  # one percent in the model's millionths


def at(clock: str, day: str = "2026-03-02") -> int:
    """UTC ms of "18:00", "18:00:30" or "18:00:30.500"."""
    instant = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=UTC)
    return round(instant.timestamp() * 1000)


def micros(amount: str) -> int:
    """Micro-units of an amount written with a point."""
    units, _, decimals = amount.partition(".")
    return int(units + decimals.ljust(6, "0"))


# --- the log -------------------------------------------------------------------------------------


def line(type_: str, time: int | str, account: str = "anna", **fields: Any) -> bytes:
    """One usage record as JSON; a field of None is left out."""
    usage = {"type": type_, "time": time, "account": account} | fields
    kept = {name: value for name, value in usage.items() if value is not None}
    return json.dumps(kept, ensure_ascii=False).encode()


def view(time: int | str, state: str = "playing", **changes: Any) -> bytes:
    """A view of channel c1 in hd on Anna's television, but for the changes."""
    usual = {"device": "tv", "session": "s1", "content": "c1", "kind": "channel", "quality": "hd"}
    return line("view", time, **(usual | {"state": state} | changes))


def watch(start: int, *until: int, **changes: Any) -> list[bytes]:
    """Playing from start by way of each time to the last, where it stops."""
    playing = [view(time, **changes) for time in (start, *until[:-1])]
    return [*playing, view(until[-1], "stopped", **changes)]


def opened(time: int, plan: str = "p", **changes: Any) -> bytes:
    return line("account.open", time, plan=plan, **changes)


def topped_up(time: int, amount: str, id_: str = "t1", **changes: Any) -> bytes:
    return line("balance.topup", time, amount=amount, id=id_, **changes)


def purchased(time: int, offer: str = "o", id_: str = "o1", **changes: Any) -> bytes:
    return line("order.purchase", time, offer=offer, id=id_, **changes)


def cancelled(time: int, order: str = "o1", id_: str = "x1", **changes: Any) -> bytes:
    return line("order.cancel", time, order=order, id=id_, **changes)


# --- the book ------------------------------------------------------------------------------------


def per_hour(amount: str) -> Price:
    return Price("per_unit", amount_micros=micros(amount), unit_ms=HOUR_MS)


def tiers(model: Any, *steps: tuple[float | None, str, str]) -> Price:
    """A graduated or volume price an hour. steps: (up to hours, amount, flat)."""
    made = (
        Tier(None if hours is None else round(hours * HOUR_MS), micros(amount), micros(flat))
        for hours, amount, flat in steps
    )
    return Price(model, unit_ms=HOUR_MS, tiers=tuple(made))


def a_rule(price: Price | None = None, id_: str = "r", **changes: Any) -> Rule:
    """A rule that any piece matches, at 6.00 an hour."""
    rule = Rule(id_, price or per_hour("6.00"))
    return replace(rule, **({"counter": id_} | changes))


def a_plan(*rules: Rule, **changes: Any) -> Plan:
    """A postpaid plan `p`, of one rule at 6.00 an hour if none is given."""
    return replace(Plan("p", "postpaid", rules=rules or (a_rule(),)), **changes)


def a_book(*plans: Plan, **changes: Any) -> Book:
    """A book `b` in SEK and UTC without tax, whose default plan is `p`."""
    book = Book("b", "SEK", "UTC", default_plan="p", plans=plans or (a_plan(),))
    return replace(book, **({"heartbeat_timeout_ms": DAY_MS, "idle_ms": DAY_MS} | changes))


def an_offer(kind: Any = "est", **changes: Any) -> Offer:
    """Offer `o`: content c1 at 50.00 in every quality."""
    return replace(Offer("o", kind, ((None, micros("50")),), content=("c1",)), **changes)


# --- what came of it -----------------------------------------------------------------------------


def column(rows: Iterable[dict[str, Any]], name: str) -> list[Any]:
    """One column of the rows, by account and time."""

    def place(row: dict[str, Any]) -> tuple[str, int]:
        return row["account"], row["start"] if "start" in row else row["time"]

    return [row[name] for row in sorted(rows, key=place)]


def only_charge(outcome: Outcome) -> dict[str, Any]:
    """The one charge there is."""
    assert len(outcome.charges) == 1, outcome.charges
    return outcome.charges[0]


def reasons(outcome: Outcome) -> list[str]:
    """Why there is suspense, sorted."""
    return sorted(row["reason"] for row in outcome.suspense)


def signal_types(outcome: Outcome, account: str = "anna") -> list[str]:
    """An account's signals in the order they were given."""
    return [signal["type"] for signal in outcome.signals if signal["account"] == account]
