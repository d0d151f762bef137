"""Many records at once, to columns: a compiled scanner, and the exact reader where it is not sure.

    read = read_columns(pl.Series(['cid="c1",d=4000', 'cid="c2",d="4000"']), ("cid", "d"))
    read.frame["d"].to_list()  # [4000, 4000]
    read.exact[1].notes        # of the second record, which an exact reader had to decide on

It needs the compiler and Polars, so the rest of the codec, which may be used alone, imports it
nowhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.cmcd.keys import KEYS, TABLE, Key, Kind
from ingest.cmcd.reading import read_record, text_of
from ingest.cmcd.records import Record, Rejected
from ingest.cmcd.scan import (
    NONE,
    SAID_VERSION,
    count_items,
    read_integers,
    read_texts,
    scan_records,
)
from ingest.text_columns import Texts, arrow_column, text_column, texts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]
    Truths = NDArray[np.bool_]

BLANK = b" \t\r\n"
THOUSAND = 1000
INT64_MAX = 2**63 - 1

ITEM = pa.struct({"value": pa.int64(), "of": pa.large_string()})
TYPES: dict[Kind, Any] = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "decimal": pa.int64(),
    "string": pa.large_string(),
    "token": pa.large_string(),
    "integers": pa.large_list(ITEM),
    "strings": pa.large_list(pa.large_string()),
}
"""What a column holds, by the kind of its key in version 2. Decimals are thousandths, cut off. An
item of a list of integers says of which object type it is; null where the record does not."""


class Columns(NamedTuple):
    """What was read of many records.

    frame: one row a record, one column a key; null where a record lacks the key or is none, and
    where a number is beyond Int64. exact: by row, what the exact reader said of each record that
    the scanner left to it, with its notes.
    """

    frame: pl.DataFrame
    exact: Mapping[int, Record | Rejected]


def read_columns(
    texts: pl.Series | Texts,
    keys: Sequence[str],
    read: Callable[[int], Record] | None = None,
) -> Columns:
    """Read records to columns of the keys that are asked for, each as `read_record` would.

    What stands in other keys is not looked at, but that the whole is a record. One value in place
    of a list, as version 1 has it, is a list of one. A row that is null stays so.
    read: reads the record of a row exactly, or raises Rejected; without it, `read_record`.
    Raises: ValueError for a key that the standard does not have, or without any.
    """
    if not keys:
        raise ValueError("no keys of CMCD were asked for")
    if strange := [key for key in keys if key not in KEYS]:
        raise ValueError(f"no keys of CMCD: {', '.join(strange)}")
    given = texts if isinstance(texts, Texts) else texts_of(texts)
    frame, is_sure = scan(given, keys)
    exact: dict[int, Record | Rejected] = {}
    for row in np.flatnonzero(given.is_present & ~is_sure).tolist():
        try:
            exact[row] = read(row) if read else read_record(text_of(given.at(row).strip(BLANK)))
        except Rejected as rejected:
            exact[row] = rejected
    return Columns(with_exact(frame, exact), exact)


def scan(texts: Texts, keys: Sequence[str]) -> tuple[pl.DataFrame, Truths]:
    """What the scanner reads, and of which records it was sure."""
    rows = len(texts.is_present)
    places = np.array([keys.index(k.name) if k.name in keys else NONE for k in TABLE], np.int64)
    starts, sizes = np.zeros((2, len(keys), rows), np.int64)
    is_sure = np.empty(rows, np.bool_)
    known = np.zeros(SAID_VERSION + 1, np.int64)
    ever = scan_records(texts.raw, texts.offsets, places, known, starts, sizes, is_sure)
    columns = {}
    for n, name in enumerate(keys):
        key = KEYS[name]
        if ever >> TABLE.index(key) & 1:
            columns[name] = column_of(key, texts.raw, starts[n], sizes[n])
        else:  # as most are, where all keys are asked for
            columns[name] = pa.nulls(rows, TYPES[key.kind])
    frame = pl.from_arrow(pa.table(columns))
    assert isinstance(frame, pl.DataFrame)
    return frame, is_sure


def column_of(key: Key, raw: Bytes, starts: Ints, sizes: Ints) -> Any:
    """The column of Arrow of one key, from what the scanner has found."""
    is_present = sizes > 0
    kind = TYPES[key.kind]
    if key.kind in ("string", "token"):
        return text_column(raw, starts, sizes)
    if key.kind == "boolean":
        return arrow_column(kind, is_present, np.packbits(starts > 0, bitorder="little"))
    if key.kind in ("integer", "decimal"):
        return arrow_column(kind, is_present, starts)
    counts = np.zeros(len(sizes) + 1, np.int64)
    count_items(raw, starts, sizes, key.kind == "strings", counts[1:])
    offsets = np.cumsum(counts)
    items = items_of(key.kind, raw, starts, sizes, int(offsets[-1]))
    return arrow_column(kind, is_present, offsets, children=[items])


def items_of(kind: Kind, raw: Bytes, starts: Ints, sizes: Ints, count: int) -> Any:
    """The column of Arrow of all items of lists."""
    text_starts, text_sizes, values = np.zeros((3, count), np.int64)
    if kind == "strings":
        read_texts(raw, starts, sizes, text_starts, text_sizes)
        return text_column(raw, text_starts, text_sizes)
    read_integers(raw, starts, sizes, values, text_starts, text_sizes)
    types = text_column(raw, text_starts, text_sizes)
    return pa.StructArray.from_arrays([pa.array(values), types], fields=list(ITEM))


# --- what the exact reader has read ---------------------------------------------------------------


def with_exact(frame: pl.DataFrame, exact: Mapping[int, Record | Rejected]) -> pl.DataFrame:
    """A frame with what the exact reader said of some of its rows."""
    if not exact:
        return frame
    found = pl.DataFrame(
        [row_of(record, frame.columns) for record in exact.values()], schema=frame.schema
    )
    places = np.arange(len(frame))
    places[list(exact)] = len(frame) + np.arange(len(exact))
    return pl.concat([frame, found])[places]


def row_of(record: Record | Rejected, keys: Sequence[str]) -> dict[str, Any]:
    """A record as a row."""
    values: Mapping[str, Any] = {} if isinstance(record, Rejected) else record.values
    return {key: cell_of(KEYS[key].kind, values[key]) if key in values else None for key in keys}


def cell_of(kind: Kind, value: Any) -> Any:
    """A value as it stands in the column of its kind."""
    if isinstance(value, tuple):
        return [listed(kind, item.value, item.parameters) for item in value]
    if kind in ("integers", "strings"):
        return [listed(kind, value, ())]
    if kind == "decimal":
        return within(int(value * THOUSAND))
    if kind == "integer":
        return within(value)
    return value if isinstance(value, bool) else str(value)


def listed(kind: Kind, value: Any, parameters: Any) -> Any:
    """An item of a list as it stands in its column."""
    if kind == "strings":
        return str(value)
    named = parameters[0][0] if parameters and parameters[0][1] is True else None
    return {"value": within(value), "of": named}


def within(value: Any) -> int | None:
    """A number, unless it is beyond Int64; the tolerant reader takes 20 digits."""
    return value if -INT64_MAX <= value <= INT64_MAX else None
