"""Logs in Parquet to the columns of text that `readers` makes of lines.

Where a column's name in the file has underscores in place of the mapping's other signs, it is the
same column: CloudFront writes `cs-uri-stem` so.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import polars as pl
import pyarrow.parquet as pq
from pyarrow import ArrowException

from ingest.cdn.readers import with_absent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.cdn.mapping import CdnMapping

MAGIC = b"PAR1"
ROWS = 100_000  # that are read at once
OTHER_SIGNS = re.compile(r"[^A-Za-z0-9]+")


class ParquetFault(Exception):  # noqa: N818 - told as an error of evidence
    """A file that is no whole Parquet. The text says why."""


def is_parquet(log: Path) -> bool:
    """Whether a log is a Parquet file. Raises: OSError."""
    with log.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def parquet_columns(log: Path, mapping: CdnMapping) -> Iterator[tuple[int, pl.DataFrame]]:
    """Rows of a log, some at once, each with how many rows of it were read so far in thousandths.

    Returns: `number` (of the row in the file, from 1) and the columns of `mapping.wanted()` as text.
    Raises: ParquetFault.
    """
    rows = 0
    try:
        file = pq.ParquetFile(log)
        names = {name: name_in(name, file.schema_arrow.names) for name in mapping.wanted()}
        found = sorted({name for name in names.values() if name is not None})
        rows_total = max(1, file.metadata.num_rows)
        for batch in file.iter_batches(batch_size=ROWS, columns=found):
            read = pl.DataFrame(batch) if found else pl.DataFrame()
            columns = pl.select(pl.int_range(rows + 1, rows + 1 + len(batch)).alias("number"))
            rows += len(batch)
            texts = columns.with_columns(
                (pl.lit(None, pl.String) if own is None else as_text(read[own])).alias(name)
                for name, own in names.items()
            )
            yield 1000 * rows // rows_total, with_absent(texts, mapping)
    except (ArrowException, pl.exceptions.PolarsError) as error:
        raise ParquetFault(f"it cannot be read as Parquet ({error})") from error


def name_in(name: str, names: list[str]) -> str | None:
    """The name of a column in a file; None where it lacks the column."""
    plain = OTHER_SIGNS.sub("_", name).strip("_").lower()
    alike = [own for own in names if OTHER_SIGNS.sub("_", own).strip("_").lower() == plain]
    return name if name in names else next(iter(alike), None)


def as_text(column: pl.Series) -> pl.Series:
    """A column as text; null where it has no such form."""
    if column.dtype == pl.Binary:
        return column.cast(pl.String, strict=False)
    if column.dtype.is_temporal() and column.dtype not in (pl.Date, pl.Time):
        return column.dt.to_string("iso:strict")
    return column.cast(pl.String, strict=False)


def row_bytes(columns: pl.DataFrame, number: int) -> bytes:
    """What a row has in the columns that are read, as JSON."""
    row = columns.filter(pl.col("number") == number).drop("number").row(0, named=True)
    return json.dumps({name: text for name, text in row.items() if text is not None}).encode()
