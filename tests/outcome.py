"""What rating a whole log comes to, in a form in which two raters can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CHARGE_COLUMNS = (
    "charge_id",
    "type",
    "account",
    "device",
    "session",
    "content",
    "kind",
    "quality",
    "plan",
    "book",
    "rule",
    "start",
    "end",
    "slot",
    "watched_ms",
    "billed_ms",
    "free_ms",
    "gross",
    "discount",
    "capped",
    "net",
    "tax",
    "total",
    "unfunded",
    "currency",
)
PIECE_COLUMNS = (
    "reason",
    "account",
    "device",
    "session",
    "content",
    "kind",
    "quality",
    "plan",
    "book",
    "time",
    "end",
    "watched_ms",
)
COUNTS = (
    "records",
    "applied",
    "suspended",
    "duplicates",
    "out_of_order",
    "orphan_stops",
    "watched_ms",
)


@dataclass(frozen=True)
class Outcome:
    """Charges, suspense and signals as rows; micro-units by account; how many of what.

    The rows have at least the columns of section 6 (charges), of PIECE_COLUMNS (suspended
    pieces), reason, detail, account, time, type, source and raw (all suspense), and type,
    account, time, order and reason (signals, in the order in which they were given).
    """

    charges: list[dict[str, Any]]
    suspense: list[dict[str, Any]]
    signals: list[dict[str, Any]]
    balances: dict[str, int]
    counts: dict[str, int]


def comparable(outcome: Outcome) -> dict[str, Any]:
    """All that two raters must agree on to the last digit.

    Left out is what the spec leaves to each: the sentences of detail, in which order rows of
    different accounts come, and what else of a malformed record could be read.
    """
    records = [row for row in outcome.suspense if row["raw"] is not None]
    pieces = [row for row in outcome.suspense if row["raw"] is None]
    accounts = sorted({row["account"] for row in outcome.signals})
    return {
        "charges": sorted(_row(charge, CHARGE_COLUMNS) for charge in outcome.charges),
        "pieces": sorted(_row(piece, PIECE_COLUMNS) for piece in pieces),
        "records": [_suspended(row) for row in records],
        "signals": {account: _signals(outcome, account) for account in accounts},
        "balances": {account: micros for account, micros in outcome.balances.items() if micros},
        "counts": {name: outcome.counts[name] for name in COUNTS},
    }


def _row(row: dict[str, Any], columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row[column] for column in columns)


def _suspended(row: dict[str, Any]) -> tuple[Any, ...]:
    said = (row["reason"], row["source"], bytes(row["raw"]).removesuffix(b"\r"))  # a line end
    if row["reason"] == "malformed":
        return said
    return (*said, row["account"], row["time"], row["type"])


def _signals(outcome: Outcome, account: str) -> list[tuple[Any, ...]]:
    return [
        (row["type"], row["time"], row["order"], row["reason"])
        for row in outcome.signals
        if row["account"] == account
    ]
