"""Rows of the store as messages: one JSON object each, with the account as its key.

Fields are named as in the store. Money is integer micro-units, times are integer UTC milliseconds;
what a charge leaves to be paid is there once more as an exact decimal, `owed`. Schemas:
docs/schemas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from rating.schemas import CHARGES, SIGNALS, SUSPENSE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sinks.store import Kind

MICROS = 1_000_000
DECIMALS = 6
# A message that no broker would take must not hold up all those behind it.
RAW_BYTES_MAX = 256 * 1024

FIELDS: Mapping[Kind, tuple[str, ...]] = {
    "charges": (
        *("id", "seq", *CHARGES, "owed"),
        *("paid", "region", "segment", "local_date"),
    ),
    "suspense": ("id", "seq", *SUSPENSE, "raw_bytes"),
    "signals": ("id", "seq", *SIGNALS),
}


def message_values(kind: Kind, rows: pl.DataFrame) -> list[bytes]:
    """Give a value for each row, in their order.

    A repeat carries the same `id`: of a charge its charge_id and seq, since late copies of a
    session may make another charge of the same name; of all else its seq.
    """
    changes = [pl.col("seq").cast(pl.String).alias("id")]
    if kind == "charges":
        charge_id = pl.concat_str("charge_id", "seq", separator="-")
        changes = [charge_id.alias("id"), decimal(pl.col("total") - pl.col("unfunded"), "owed")]
    elif kind == "suspense":
        size = pl.col("raw").bin.size()
        raw = pl.when(size <= RAW_BYTES_MAX).then(pl.col("raw"))
        changes += [size.cast(pl.Int64).alias("raw_bytes"), raw.bin.encode("base64").alias("raw")]
    lines = rows.with_columns(changes).select(FIELDS[kind]).write_ndjson()
    values = lines.encode().split(b"\n")
    assert len(values) == rows.height + 1, "JSON lines end a line after each row and nowhere else"
    return values[:-1]


def message_keys(rows: pl.DataFrame) -> list[bytes | None]:
    """Give each row's account, which keeps an account's messages in one partition, in order.

    None where a suspended record did not say whose it was.
    """
    return [None if each is None else each.encode() for each in rows["account"]]


def decimal(micros: pl.Expr, name: str) -> pl.Expr:
    """Write micro-units as a decimal with six places, exactly."""
    size = micros.abs()
    whole = (size // MICROS).cast(pl.String)
    places = (size % MICROS).cast(pl.String).str.zfill(DECIMALS)
    sign = pl.when(micros < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.concat_str(sign, whole, pl.lit("."), places).alias(name)
