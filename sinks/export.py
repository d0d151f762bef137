"""Charges and what belongs to them as CSV or JSON lines, page by page.

Times are integer milliseconds since the epoch, UTC; money is integer micro-units. For people both
can be written readably instead (sinks/readable.py).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Literal, get_args

import polars as pl

from rating.schemas import CHARGES, ORDERS, SESSIONS, SIGNALS, SUSPENSE
from sinks.readable import Reader, readable
from sinks.refs import with_refs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sinks.store import BillingStore

What = Literal["charges", "suspense", "signals", "balances", "sessions", "orders"]
Format = Literal["csv", "ndjson"]

PAGE_ROWS = 50_000
HOUR_MS = 3_600_000

COLUMNS: dict[What, tuple[str, ...]] = {
    "charges": (*CHARGES, "ref"),
    "suspense": tuple(SUSPENSE),
    "signals": tuple(SIGNALS),
    "balances": ("account", "currency", "balance"),
    "sessions": tuple(SESSIONS),
    "orders": tuple(ORDERS),
}
HAPPENED: dict[What, str] = {
    "charges": "start",
    "suspense": "time",
    "signals": "time",
    "sessions": "start",
    "orders": "time",
}
"""The column that a span of time selects by; balances are of now."""

# Control characters, and those that turn the direction of what stands around them.
UNSEEN = r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]"
FORMULA = r"^[=+\-@\t\r]"  # What spreadsheets calculate, and what they skip before looking.
_UNSEEN = re.compile(UNSEEN)
_C1_IN_JSON = re.compile(rb"\x7f|\xc2[\x80-\x9f]")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows are wanted; None: all. from_ms inclusive, to_ms exclusive. rule: charges only."""

    account: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    rule: str | None = None


@dataclass(frozen=True, slots=True)
class Style:
    """How rows are written.

    reader: by which money and times are made readable; None: they stay integers. formulas: left as
    they are, also where a spreadsheet would calculate them.
    """

    file_format: Format
    reader: Reader | None = None
    formulas: bool = True


def export(
    store: BillingStore,
    what: What,
    style: Style,
    out: IO[bytes],
    selection: Selection | None = None,
) -> int:
    r"""Write the rows of a kind to a binary stream, in the order of the store.

    CSV begins with a line of column names; a null and an empty text are both empty there, and
    control characters are written as \n or \x1b, so that a row is a line. JSON lines hold every
    text exactly. Raw bytes that are not UTF-8 are written as \xff.
    Returns: how many rows were written. Raises: StoreError; OSError where `out` refuses.
    """
    assert what in get_args(What)
    selection = selection or Selection()
    columns = COLUMNS[what]
    if style.file_format == "csv":
        out.write(f"{','.join(columns)}\n".encode())
    written = 0
    for page in _pages(store, what, selection):
        rows = _selected(page, what, selection)
        if what == "charges":
            rows = with_refs(rows)
        rows = rows.select(columns)
        if "raw" in columns:
            rows = rows.with_columns(_as_text(rows["raw"]))
        texts = [name for name, dtype in rows.schema.items() if dtype == pl.String]
        if style.reader is not None:
            rows = readable(rows, style.reader)
        out.write(_csv(rows, texts, style) if style.file_format == "csv" else _json_lines(rows))
        written += rows.height
    return written


def _pages(store: BillingStore, what: What, selection: Selection) -> Iterator[pl.DataFrame]:
    """Give a kind's rows in pages, at least those that are wanted."""
    match what:
        case "charges":
            if selection.account is not None:
                return iter([_charges_of(store, selection.account, selection)])
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


def _charges_of(store: BillingStore, account: str, selection: Selection) -> pl.DataFrame:
    """Give an account's charges by its index; a charge starts within an hour of its slot."""
    from_ms = None if selection.from_ms is None else selection.from_ms - HOUR_MS
    return store.charges_of_account(account, from_ms, selection.to_ms).sort("seq")


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


def _selected(page: pl.DataFrame, what: What, selection: Selection) -> pl.DataFrame:
    """Keep the rows that are wanted."""
    if selection.account is not None:
        page = page.filter(pl.col("account") == selection.account)
    if selection.from_ms is not None:
        page = page.filter(pl.col(HAPPENED[what]) >= selection.from_ms)
    if selection.to_ms is not None:
        page = page.filter(pl.col(HAPPENED[what]) < selection.to_ms)
    if selection.rule is not None:
        page = page.filter(pl.col("rule") == selection.rule)
    return page


def _as_text(raw: pl.Series) -> pl.Series:
    r"""Give bytes as text, those that are not UTF-8 as \xff."""
    texts = [None if each is None else each.decode("utf-8", "backslashreplace") for each in raw]
    return pl.Series(raw.name, texts, dtype=pl.String)


def _csv(rows: pl.DataFrame, texts: list[str], style: Style) -> bytes:
    """Write rows as CSV. texts: the columns whose cells come from others, and may hold anything."""
    changed = [_escaped(rows[name]) for name in texts]
    rows = rows.with_columns(changed)
    if not style.formulas:
        rows = rows.with_columns(_no_formula(name) for name in texts)
    # Without this, an empty text would be written as two quotes.
    written: str = rows.with_columns(pl.col(pl.String).replace("", None)).write_csv(
        include_header=False
    )
    return written.encode()


def _no_formula(name: str) -> pl.Expr:
    """Put ' before a text that a spreadsheet would calculate, which it then takes as a text."""
    text = pl.col(name)
    return pl.when(text.str.contains(FORMULA)).then("'" + text).otherwise(text).alias(name)


def _escaped(texts: pl.Series) -> pl.Series:
    r"""Write characters that are not seen as \n, \x1b or \u202e."""
    if not texts.str.contains(UNSEEN).any():
        return texts
    shown = [
        None if text is None else _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
        for text in texts
    ]
    return pl.Series(texts.name, shown, dtype=pl.String)


def _json_lines(rows: pl.DataFrame) -> bytes:
    """Write rows as JSON lines; a terminal would obey DEL and C1 characters, which JSON lets be."""
    written: str = rows.write_ndjson()
    return _C1_IN_JSON.sub(lambda found: b"\\u00%02x" % found[0][-1], written.encode())
