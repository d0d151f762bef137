"""Rows as people read them: money in decimals of its currency, times on the clock of its book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sinks.store import StoredBook

MICROS = 1_000_000
MICRO_DECIMALS = 6
DECIMALS = 2  # of money whose currency is not known
MONEY = {"gross", "discount", "capped", "net", "tax", "total", "unfunded", "balance"}
TIMES = {"start", "end", "slot", "time", "first_play", "last", "seen"}


@dataclass(frozen=True, slots=True)
class Reader:
    """By what rows are made readable: the store's books, and the decimals of their currencies."""

    books: Sequence[StoredBook]
    decimals: Mapping[str, int]


def readable(rows: pl.DataFrame, reader: Reader) -> pl.DataFrame:
    """Write money and times as texts, each in the place of its column.

    Money has the decimals of its currency, and more where it is finer. Times are local to the row's
    book, or to all books where they share a zone, else UTC; they end with their offset.
    """
    books = reader.books
    zones = sorted({book.timezone for book in books})
    moneys = [name for name in rows.columns if name in MONEY]
    times = [name for name in rows.columns if name in TIMES]
    rows = rows.with_columns(_currency(rows, books).alias("_currency"))
    if len(zones) > 1 and "book" in rows.columns:
        zone_of = {book.id: book.timezone for book in books}
        zone = pl.col("book").replace_strict(zone_of, default="UTC", return_dtype=pl.String)
    else:
        zone = pl.lit(zones[0] if len(zones) == 1 else "UTC")
    return (
        rows.with_columns(_zone=zone)
        .with_columns(
            *(_decimal(rows, name, reader.decimals) for name in moneys),
            *(_local(name, [*zones, "UTC"]) for name in times),
        )
        .drop("_currency", "_zone")
    )


def _currency(rows: pl.DataFrame, books: Sequence[StoredBook]) -> pl.Series:
    """Give each row's currency: its own, or its book's."""
    if "currency" in rows.columns:
        return rows["currency"]
    if "book" not in rows.columns:
        return pl.Series([None], dtype=pl.String).new_from_index(0, rows.height)
    of_book = {book.id: book.currency for book in books}
    return rows["book"].replace_strict(of_book, default=None, return_dtype=pl.String)


def _decimal(rows: pl.DataFrame, name: str, decimals_of: Mapping[str, int]) -> pl.Expr:
    """Write micro-units as an exact decimal, with no more zeros at its end than its currency has."""
    micros = pl.col(name)
    sign = pl.when(micros < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    whole = (micros.abs() // MICROS).cast(pl.String)
    parts = (micros.abs() % MICROS).cast(pl.String).str.zfill(MICRO_DECIMALS)
    shown = pl.lit(None, pl.String)
    currencies = rows["_currency"].unique().to_list()
    by_currency = {currency: decimals_of.get(currency, DECIMALS) for currency in currencies}
    for decimals in set(by_currency.values()):
        alike = [currency for currency in currencies if by_currency[currency] == decimals]
        kept = parts.str.slice(0, decimals) + parts.str.slice(decimals).str.strip_chars_end("0")
        point = pl.when(kept.str.len_bytes() > 0).then(pl.lit(".")).otherwise(pl.lit(""))
        is_alike = pl.col("_currency").is_in(alike, nulls_equal=True)
        shown = pl.when(is_alike).then(pl.concat_str(sign, whole, point, kept)).otherwise(shown)
    return shown.alias(name)


def _local(name: str, zones: Sequence[str]) -> pl.Expr:
    """Write UTC milliseconds as 2026-03-06T21:00:00.000+01:00 in the row's zone."""
    utc = pl.col(name).cast(pl.Datetime("ms", "UTC"))
    shown = pl.lit(None, pl.String)
    for zone in zones:
        local = utc.dt.convert_time_zone(zone).dt.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z")
        shown = pl.when(pl.col("_zone") == zone).then(local).otherwise(shown)
    return shown.alias(name)
