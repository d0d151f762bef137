"""Charges and what belongs to them as CSV or JSON lines, page by page.

Times are integer milliseconds since the epoch, UTC; money is integer micro-units.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Literal, get_args

import polars as pl

from rating.schemas import CHARGES, ORDERS, SESSIONS, SIGNALS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinks.store import BillingStore

What = Literal["charges", "suspense", "signals", "balances", "sessions", "orders"]
Format = Literal["csv", "ndjson"]

PAGE_ROWS = 50_000

COLUMNS: dict[What, tuple[str, ...]] = {
    "charges": tuple(CHARGES),
    "suspense": ("reason", "account", "time", "type", "watched_ms", "source", "raw"),
    "signals": tuple(SIGNALS),
    "balances": ("account", "currency", "balance"),
    "sessions": tuple(SESSIONS),
    "orders": tuple(ORDERS),
}


def export(store: BillingStore, what: What, file_format: Format, out: IO[bytes]) -> int:
    r"""Write all rows of a kind to a binary stream, in the order of the store.

    CSV begins with a line of column names; a null and an empty text are both empty there. Raw bytes
    that are not UTF-8 are written as \xff.
    Returns: how many rows were written. Raises: StoreError; OSError where `out` refuses.
    """
    assert what in get_args(What)
    columns = COLUMNS[what]
    if file_format == "csv":
        out.write(f"{','.join(columns)}\n".encode())
    written = 0
    for page in _pages(store, what):
        rows = page.select(columns)
        if "raw" in columns:
            rows = rows.with_columns(_readable(rows["raw"]))
        if file_format == "csv":
            texts = pl.col(pl.String)
            # Without this, an empty text would be written as two quotes.
            rows.with_columns(texts.replace("", None)).write_csv(out, include_header=False)
        else:
            rows.write_ndjson(out)
        written += rows.height
    return written


def _pages(store: BillingStore, what: What) -> Iterator[pl.DataFrame]:
    """Give a kind's rows in pages."""
    match what:
        case "charges":
            return _by_seq(store.charges_after, store.last_seq("charges"))
        case "suspense":
            return _by_seq(store.suspense_after, store.last_seq("suspense"))
        case "signals":
            return _by_seq(store.signals_after, store.last_seq("signals"))
        case "balances":
            return store.accounts(PAGE_ROWS)
        case "sessions":
            return store.open_sessions(PAGE_ROWS)
        case "orders":
            return store.orders(PAGE_ROWS)


def _by_seq(
    rows_after: Callable[[int, int, int], pl.DataFrame], upto_seq: int
) -> Iterator[pl.DataFrame]:
    """Read by cursor, up to where the store stood at the start."""
    seq = 0
    while seq < upto_seq:
        page = rows_after(seq, PAGE_ROWS, upto_seq)
        if page.is_empty():  # the last rows are gone, with a month that was taken out
            return
        yield page
        seq = page["seq"][-1]


def _readable(raw: pl.Series) -> pl.Series:
    r"""Give bytes as text, those that are not UTF-8 as \xff."""
    texts = [None if each is None else each.decode("utf-8", "backslashreplace") for each in raw]
    return pl.Series(raw.name, texts, dtype=pl.String)
