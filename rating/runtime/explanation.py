"""How one charge came about: its amounts, and the counters that it moved, step by step.

Source: spec section 4 for the steps; rating/steps.py for what is kept of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from rating.runtime.figures import columns, money, watched
from rating.runtime.standing import EPOCH
from rating.schemas import CHARGES
from rating.steps import STEPS, parse_steps
from sinks.refs import with_refs
from sinks.store import StoreError
from tariffs.errors import printable
from tariffs.load import load_text
from tariffs.model import tax_percent_micros
from tariffs.money import format_percent
from tariffs.show import rule_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rating.steps import Step
    from sinks.store import BillingStore
    from tariffs.model import Book

IN_MONEY = {"discount", "cap", "balance"}  # these steps' counters are micro-units, others are ms


@dataclass(frozen=True, slots=True)
class Explanation:
    """A charge with the evidence for it. book: the version that it was priced by."""

    charge: Mapping[str, Any]
    book: Book
    steps: Sequence[Step]


def explain_charge(store: BillingStore, charge_id: str) -> Explanation:
    """Read a charge and its evidence. Raises: StoreError, also where there is no such charge."""
    found = store.charge(charge_id)
    if found.is_empty():
        raise StoreError(
            f"{store.url}: there is no charge {charge_id}; `ratecast export charges` lists them"
        )
    charge = with_refs(found).row(0, named=True)
    text = next(book.text for book in store.books() if book.id == charge["book"])
    return Explanation(charge, load_text(text, store.url), parse_steps(charge["steps"]))


def as_json(explanation: Explanation) -> dict[str, Any]:
    """For a program: the charge as `ratecast export` gives it, and its steps."""
    fields = ("step", "id", "per", "period", "before", "after", "moved")
    return {
        "charge": {name: explanation.charge[name] for name in (*CHARGES, "ref")},
        "segment": explanation.charge["segment"],
        "region": explanation.charge["region"],
        "steps": [dict(zip(fields, step, strict=True)) for step in explanation.steps],
    }


def as_text(explanation: Explanation) -> str:
    """For a person."""
    explanation = replace(explanation, charge=_shown(explanation.charge))
    charge = explanation.charge
    head = [
        ("what", _what(charge)),
        ("when", _when(explanation)),
        ("priced by", f"book {charge['book']}, plan {charge['plan']}, {_rule(charge['rule'])}"),
        *(("", line) for line in _price(explanation)),
    ]
    return "\n".join(
        [
            f"Charge {charge['charge_id']}: {money(charge['total'])} {charge['currency']}",
            "",
            *(f"  {name:<11}{text}" for name, text in head),
            "",
            *_steps(explanation),
        ]
    )


def _shown(charge: Mapping[str, Any]) -> dict[str, Any]:
    """A charge whose texts a terminal shows as they are, since they come from others."""
    return {
        name: printable(value) if isinstance(value, str) else value
        for name, value in charge.items()
    }


def _what(charge: Mapping[str, Any]) -> str:
    """Who did what."""
    quality = f", {charge['quality']}" if charge["quality"] else ""
    if charge["type"] != "usage":
        order = f", order {charge['ref']}" if charge["ref"] else ""
        return f"{charge['type']} by account {charge['account']} ({charge['kind']}{quality}){order}"
    return (
        f"account {charge['account']} watched {charge['content']} ({charge['kind']}{quality}) "
        f"on {charge['device']}, session {charge['session']}"
    )


def _when(explanation: Explanation) -> str:
    """In the book's local time; a charge lies within one hour, so only its start has a date."""
    charge = explanation.charge
    zone = ZoneInfo(explanation.book.timezone)
    start = (EPOCH + timedelta(milliseconds=charge["start"])).astimezone(zone)
    end = (EPOCH + timedelta(milliseconds=charge["end"])).astimezone(zone)
    until = f" to {end:%H:%M:%S}" if charge["end"] > charge["start"] else ""
    return f"{start:%A %Y-%m-%d %H:%M:%S}{until} ({explanation.book.timezone})"


def _rule(rule: str) -> str:
    kind, colon, name = rule.partition(":")
    if not colon:
        return f"rule {rule}"
    return f"included in package {name}" if kind == "package" else f"offer {name}"


def _price(explanation: Explanation) -> list[str]:
    """The rule's price as the book's price list says it; nothing where no rule priced it."""
    charge = explanation.charge
    rules = (
        rule
        for plan in explanation.book.plans
        if plan.id == charge["plan"]
        for rule in plan.rules
        if rule.id == charge["rule"]
    )
    return [line for rule in rules for line in rule_lines(rule) if line]


def _steps(explanation: Explanation) -> list[str]:
    """One row a step: what it came to, and the counters that it moved."""
    charge = explanation.charge
    moved = {
        step: "; ".join(_counter(*kept) for kept in explanation.steps if kept[0] == step)
        for step in STEPS
    }
    rows = [
        ("watched", watched(charge["watched_ms"]), ""),
        ("billed", watched(charge["billed_ms"]), moved["measure"]),
        ("free", watched(charge["free_ms"]), moved["allow"]),
        ("gross", money(charge["gross"]), moved["price"]),
        ("discount", money(-charge["discount"]), moved["discount"]),
        ("capped", money(-charge["capped"]), moved["cap"]),
        ("net", money(charge["net"]), ""),
        ("tax", money(charge["tax"]), _tax(explanation) if charge["gross"] else ""),
        ("total", money(charge["total"]), ""),
        ("unfunded", money(-charge["unfunded"]), ""),
        ("paid", money(charge["paid"]), moved["balance"]),
    ]
    shown = [row for row in rows if row[0] == "total" or row[1] not in ("0 s", "0.00") or row[2]]
    figures = columns([row[:2] for row in shown], indent="  ")
    return [
        f"{line}   {counters}".rstrip()
        for line, (_, _, counters) in zip(figures, shown, strict=True)
    ]


def _tax(explanation: Explanation) -> str:
    """The rate, and whom it is for."""
    region = explanation.charge["region"]
    percent = format_percent(tax_percent_micros(explanation.book, region))
    how = "included in net" if explanation.book.prices_include_tax else "on top of net"
    return f"{percent} %, {how}, for {f'region {region}' if region else 'no region'}"


def _counter(
    step: str, name: str, per: str, period: str, before: int, after: int, moved: int
) -> str:
    """One counter's way: "premium-hours, month 2026-03: 1 h to 1 h 25 min"."""
    del moved
    amount = money if step in IN_MONEY else watched
    if step == "balance":
        return f"balance: {amount(before)} to {amount(after)}"
    scope = "this viewing" if per == "segment" else f"{per} {period}"
    return f"{name}, {scope}: {amount(before)} to {amount(after)}"
