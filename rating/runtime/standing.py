"""How a billing store stands: what it holds, said to a person or a program."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from rating.runtime.audit import audit
from rating.runtime.figures import columns, count, money, watched
from rating.runtime.summary import (
    counted,
    law_lines,
    laws_json,
    outcomes,
    revenue,
    revenue_json,
)

if TYPE_CHECKING:
    from rating.runtime.summary import Law
    from sinks.chain import Head
    from sinks.store import BillingStore, StoredBook, Summary

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a store holds. balances: by currency: accounts, exhausted, micro-units."""

    store: str
    books: tuple[StoredBook, ...]
    holds: Summary
    balances: dict[str, tuple[int, int, int]]
    laws: tuple[Law, ...]
    heads: tuple[Head, ...]


def standing_of(store: BillingStore) -> Standing:
    """Read how a store stands. Raises: StoreError."""
    holds = store.summary()
    return Standing(
        store.url,
        tuple(store.books()),
        holds,
        _balances(store),
        audit(store.laws(), _open_ms(store, holds)),
        tuple(store.heads()),
    )


def as_text(standing: Standing) -> str:
    """For a person."""
    holds = standing.holds
    rows = [
        *outcomes(holds.counts),
        *counted("charges", _sums(holds.charges, "type", "charges")),
        *revenue(*_revenue(holds)),
        *counted("suspense", _sums(holds.suspense, "reason", "rows")),
        *counted("signals", _sums(holds.signals, "type", "rows")),
        ("accounts", count(holds.accounts)),
        ("orders", count(holds.orders)),
        *_balance_rows(standing),
        ("watched", watched(holds.counts.get("watched_ms", 0))),
        ("sessions open", count(holds.sessions_open)),
    ]
    books = [
        (f"  {book.id}", f"{book.currency}, {book.timezone}, {_since(book.effective_from_ms)}")
        for book in standing.books
    ]
    return "\n".join(
        [
            f"{standing.store}, by the log clock at {instant(holds.clock_ms)}",
            "",
            "Books",
            *(f"{name}  {terms}" for name, terms in books),
            "",
            *columns(rows, indent="  "),
            "",
            "Laws",
            *law_lines(standing.laws),
            "",
            "Heads of the chain; keep them elsewhere, for `ratecast verify --from`",
            *(f"  {head}" for head in standing.heads),
        ]
    )


def as_json(standing: Standing) -> dict[str, Any]:
    """For a program: counts, micro-units and UTC milliseconds as integers."""
    holds = standing.holds
    return {
        "store": standing.store,
        "clock": holds.clock_ms,
        "books": [
            {
                "id": book.id,
                "currency": book.currency,
                "timezone": book.timezone,
                "effective_from": book.effective_from_ms,
                "fingerprint": book.fingerprint,
            }
            for book in standing.books
        ],
        "counts": dict(holds.counts),
        "revenue": revenue_json(*_revenue(holds)),
        "charges": holds.charges.to_dicts(),
        "suspense": holds.suspense.to_dicts(),
        "signals": holds.signals.to_dicts(),
        "accounts": holds.accounts,
        "orders": holds.orders,
        "balances": [
            {"currency": currency, "accounts": accounts, "exhausted": exhausted, "balance": micros}
            for currency, (accounts, exhausted, micros) in standing.balances.items()
        ],
        "sessions_open": holds.sessions_open,
        "laws": laws_json(standing.laws),
        "heads": [str(head) for head in standing.heads],
    }


def instant(time_ms: int | None) -> str:
    """2026-03-06 21:00:00 UTC."""
    if time_ms is None:
        return "no time yet"
    return f"{EPOCH + timedelta(milliseconds=time_ms):%Y-%m-%d %H:%M:%S} UTC"


def _since(time_ms: int) -> str:
    try:
        return f"from {instant(time_ms)}"
    except OverflowError:
        return "from ever"


def _sums(frame: pl.DataFrame, key: str, column: str) -> dict[str, int]:
    """Sums of a column by a key."""
    return dict(frame.group_by(key).agg(pl.col(column).sum()).iter_rows())


def _revenue(holds: Summary) -> tuple[Counter[str], Counter[str]]:
    """Total and unfunded of all charges, by currency."""
    total, unfunded = Counter[str](), Counter[str]()
    for row in holds.charges.iter_rows(named=True):
        total[row["currency"]] += row["total"]
        unfunded[row["currency"]] += row["unfunded"]
    return total, unfunded


def _balance_rows(standing: Standing) -> list[tuple[str, str]]:
    rows = []
    for currency, (accounts, exhausted, micros) in standing.balances.items():
        rows.append((f"prepaid balances, {currency}", money(micros)))
        rows.append(("  accounts", count(accounts)))
        rows.append(("  exhausted", count(exhausted)))
    return rows


def _balances(store: BillingStore) -> dict[str, tuple[int, int, int]]:
    """Accounts with prepaid money or in want of it, how many want it, and the sum, by currency."""
    found: dict[str, tuple[int, int, int]] = {}
    for page in store.accounts():
        used = page.filter((pl.col("topups") != 0) | (pl.col("balance") != 0) | pl.col("exhausted"))
        sums = used.group_by("currency").agg(
            pl.len(),
            pl.col("exhausted").sum().cast(pl.Int64),
            pl.col("balance").cast(pl.Int128).sum(),
        )
        for currency, *amounts in sums.iter_rows():
            before = found.get(currency, (0, 0, 0))
            accounts, exhausted, micros = (
                old + new for old, new in zip(before, amounts, strict=True)
            )
            found[currency] = (accounts, exhausted, micros)
    return found


def _open_ms(store: BillingStore, holds: Summary) -> int | None:
    """Watched time of the open lines; None where the list of open sessions is not up to date."""
    open_ms = sessions = 0
    as_of: set[int] = set()
    for page in store.open_sessions():
        open_ms += int(page["watched_ms"].sum())
        sessions += page.height
        as_of |= set(page["as_of_ms"].unique())
    fresh = sessions == holds.sessions_open and as_of <= {holds.clock_ms}
    return open_ms if fresh else None
