"""Frames to and from PostgreSQL's COPY, in CSV, without one Python object a value.

An unquoted empty field is null, a quoted one an empty text. PostgreSQL's texts know no U+0000, and
a rated text may hold one (spec section 1: a character like any other). It is written as U+0001
U+0001, and U+0001 as U+0001 U+0002: nothing is lost, no other text looks different, and texts sort
as they did.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from pyarrow import csv

if TYPE_CHECKING:
    from collections.abc import Mapping

ESCAPES = {"\x00": "\x01\x01", "\x01": "\x01\x02"}
BLOCK_BYTES_MIN, BLOCK_BYTES_MAX = 1 << 20, (1 << 31) - 1


def stored_text(text: str) -> str:
    """Write a text as it is stored."""
    return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01")


def rated_text(text: str) -> str:
    """Read a stored text."""
    return text.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01")


def encode_csv(frame: pl.DataFrame) -> bytes:
    """Write a frame's rows for COPY ... FROM STDIN (FORMAT csv)."""
    hexadecimal = [
        pl.format("\\x{}", pl.col(name).bin.encode("hex")).alias(name)
        for name, dtype in frame.schema.items()
        if dtype == pl.Binary
    ]
    prepared = frame.with_columns(hexadecimal) if hexadecimal else frame
    written = _csv(prepared)
    if b"\x00" in written or b"\x01" in written:  # Looked for in one go, since it is rare.
        escaped = pl.col(pl.String).str.replace_many(list(ESCAPES), list(ESCAPES.values()))
        written = _csv(prepared.with_columns(escaped))
    return written


def _csv(frame: pl.DataFrame) -> bytes:
    out = BytesIO()
    frame.write_csv(out, include_header=False)
    return out.getvalue()


def decode_csv(written: bytes, schema: Mapping[str, Any]) -> pl.DataFrame:
    """Read what COPY ... TO STDOUT (FORMAT csv) wrote of columns with this schema.

    Binary columns must have been selected as `encode(column, 'hex')`.
    """
    if not written:
        return pl.DataFrame(schema=schema)
    table = csv.read_csv(
        BytesIO(written),
        # A row must fit into a block, however long its texts are.
        read_options=csv.ReadOptions(
            column_names=list(schema),
            block_size=min(max(BLOCK_BYTES_MIN, len(written) + 1), BLOCK_BYTES_MAX),
            use_threads=False,
        ),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={name: _arrow_type(dtype) for name, dtype in schema.items()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    frame = pl.DataFrame(table)
    changes = [
        pl.col(name).str.decode("hex") for name, dtype in schema.items() if dtype == pl.Binary
    ]
    if b"\x01" in written:
        texts = [name for name, dtype in schema.items() if dtype == pl.String]
        plain = list(ESCAPES)
        changes.append(pl.col(texts).str.replace_many(list(ESCAPES.values()), plain))
    return frame.with_columns(changes)


def _arrow_type(dtype: Any) -> pa.DataType:
    """Give the type that a column is read as."""
    types: dict[Any, pa.DataType] = {
        pl.Int64: pa.int64(),
        pl.Boolean: pa.bool_(),
        pl.Date: pa.date32(),
    }
    return types.get(dtype, pa.large_string())
