"""Arrow tables of native records to USAGE rows, column by column.

Views, of which a log is full, are taken over by column where every value is what a view may hold.
Any other row is written as JSON and read by the exact reader, which has the last word as it has on
JSON lines. Source: spec section 1.
"""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingest.json_exact import MalformedError, Number, rate_of, read_line
from ingest.json_lines import check_size, write_row
from rating.schemas import (
    ACCOUNT_CHARACTERS_MAX,
    HAS_PLAYHEAD,
    HAS_RECEIVED,
    MALFORMED,
    PLAYHEAD_MS_MAX,
    STATES,
    TEXT_BYTES_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    USAGE,
    VIEW,
    SuspendedBefore,
    UsageBatch,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

VIEW_TEXTS = {
    "account": "account",
    "device": "device",
    "key": "session",
    "subject": "content",
    "kind": "kind",
    "quality": "quality",
}
"""For each text of a USAGE row, the column that a view has it in."""

VIEW_FIELDS = {*VIEW_TEXTS.values(), "type", "time", "received", "state", "playhead_ms", "rate"}
PLAIN = (
    pa.types.is_boolean,
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_decimal,
    pa.types.is_large_string,
    pa.types.is_null,
)
"""The types of columns that a field of a usage record may have, once times are numbers or texts."""

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
TICKS_OF_MS = {"ms": 1, "us": 1_000, "ns": 1_000_000}


class UnreadableTable(ValueError):  # noqa: N818 - named for what happened
    """A message is no sound Arrow IPC stream; the message says why."""


def read_table(value: bytes) -> pa.Table:
    """Read an Arrow IPC stream whole, and check it. Raises: UnreadableTable."""
    try:
        table = pa.ipc.open_stream(value).read_all()
        table.validate(full=True)
        for field in table.schema:
            _check_names(field)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        first_line = str(error).partition("\n")[0]
        raise UnreadableTable(
            f"the message begins like an Arrow IPC stream but cannot be read: {first_line}"
        ) from error
    return table


def _check_names(field: pa.Field) -> None:
    """See that the names of a field, of its parts and of their zones are UTF-8. Raises: ValueError."""
    kind = field.type
    field.name  # noqa: B018 - it is decoded when it is asked for, as is a zone
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_timestamp(kind):
        kind.tz  # noqa: B018
    for number in range(kind.num_fields):
        _check_names(kind.field(number))


def decode_table(tables: Sequence[pa.Table], locate: Callable[[int], str]) -> UsageBatch:
    """Decode tables of one schema, one after another: a row for each row, in their order.

    locate: says where a row stood. Raises: ValueError if there are more bytes than a row can
    point to.
    """
    rows = _Rows(pa.concat_tables(tables))
    columns = _Columns(rows.plain)
    events = np.zeros(rows.count, USAGE)
    certain = (
        np.zeros(rows.count, np.bool_)
        if rows.rare.keys() & VIEW_FIELDS
        else _take_views(columns, events)
    )
    check_size(columns.text_bytes)
    text = np.concatenate([np.empty(0, np.uint8), *columns.texts_taken])
    uncertain = np.flatnonzero(~certain)
    events[uncertain] = np.zeros((), USAGE)
    exact = _read_exactly(rows, uncertain, events, len(text))
    check_size(len(text) + len(exact.text))
    lengths = events["raw_len"]

    def raw_of(row: int) -> bytes:
        if lengths[row]:
            at = int(events["raw_at"][row])
            return bytes(batch.text[at : at + int(lengths[row])])
        return row_as_json(rows.fields(np.array([row]))[0])

    batch = UsageBatch(
        events,
        np.concatenate([text, np.frombuffer(bytes(exact.text), np.uint8)]),
        exact.malformed,
        locate,
        exact.suspended_before,
        raw_of,
    )
    return batch


# --- columns -----------------------------------------------------------------------------------


class _Rows:
    """The rows of a table, whatever types its columns have; of twin columns the last counts.

    plain: the columns of the types in PLAIN. rare: of any other type, each value as Python has it.
    """

    def __init__(self, table: pa.Table) -> None:
        self.count = table.num_rows
        self._names = list(dict.fromkeys(table.column_names))
        columns = dict(zip(table.column_names, map(_plain_column, table.columns), strict=True))
        self.rare = {
            name: [_value(scalar) for scalar in column]
            for name, column in columns.items()
            if not _is_plain(column.type)
        }
        plain = {name: column for name, column in columns.items() if name not in self.rare}
        self.plain = (pa.table(plain) if plain else table.select([])).combine_chunks()

    def fields(self, numbers: NDArray[np.int64]) -> list[dict[str, Any]]:
        """What some rows hold, by the names of the columns in their order."""
        taken = {name: _values(column.take(numbers)) for name, column in self._plain_columns()}
        taken |= {
            name: [values[number] for number in numbers.tolist()]
            for name, values in self.rare.items()
        }
        return [{name: taken[name][place] for name in self._names} for place in range(len(numbers))]

    def _plain_columns(self) -> Iterator[tuple[str, pa.ChunkedArray]]:
        return zip(self.plain.column_names, self.plain.columns, strict=True)


def _is_plain(kind: pa.DataType) -> bool:
    return any(is_one(kind) for is_one in PLAIN)


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column with times of every form as ms, and dictionaries unfolded, where that can be done."""
    kind = column.type
    try:
        if pa.types.is_dictionary(kind):
            return _plain_column(pc.cast(column, kind.value_type))
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            return _milliseconds(column, kind.unit)
        if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
            return pc.cast(column, pa.large_string())
        if pa.types.is_string(kind) or kind == pa.string_view():
            return pc.cast(column, pa.large_string())
    except pa.ArrowException:
        return column  # and then it is a rare one
    return column


def _values(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column as Python has them; a decimal's scale may be one that nobody can write."""
    try:
        return list(column.to_pylist())
    except (ArithmeticError, ValueError):
        return [_value(scalar) for scalar in column]


def _value(scalar: Any) -> Any:
    """A value as Python has it, or a text that says that Python has none.

    Of such columns nothing is known: a zone may be none that there is, a day may lie in no year.
    """
    try:
        return scalar.as_py()
    except Exception:  # noqa: BLE001 - as many kinds as there are types
        return f"a {scalar.type} that cannot be read"


def _milliseconds(column: pa.ChunkedArray, unit: str) -> pa.ChunkedArray:
    """Instants as ms since the epoch, without what is finer."""
    ticks = pc.cast(column, pa.int64())
    if unit == "s":
        # A time too far off to be one in ms is as wrong as the furthest that can be.
        within = pc.and_(pc.less(ticks, 2**53), pc.greater(ticks, -(2**53)))
        return pc.if_else(within, pc.multiply(pc.if_else(within, ticks, 0), 1000), 2**63 - 1)
    arrays = []
    for chunk in ticks.chunks:
        floored = np.asarray(pc.fill_null(chunk, 0)) // TICKS_OF_MS[unit]
        arrays.append(pa.array(floored, pa.int64(), mask=np.asarray(chunk.is_null())))
    return pa.chunked_array(arrays, pa.int64())


class _Text(NamedTuple):
    """A column of texts as ranges of its bytes."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]  # 0 where null
    is_absent: Mask
    content: NDArray[np.uint8]


class _Number(NamedTuple):
    """A column of int64."""

    values: NDArray[np.int64]  # 0 where null
    is_absent: Mask


class _Columns:
    """The columns of one table, read as what a view has in them.

    texts_taken: the bytes that rows point into, one array after another; text_bytes: of them all.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self.rows = table.num_rows
        self.texts_taken: list[NDArray[np.uint8]] = []
        self.text_bytes = 0

    def array(self, name: str) -> pa.Array:
        """A column; all null where there is none of that name."""
        if name not in self._table.column_names:
            return pa.nulls(self.rows)
        column = self._table.column(name)
        return (
            column.chunk(0)
            if column.num_chunks == 1
            else pc.cast(column, column.type).combine_chunks()
        )

    def text(self, name: str) -> _Text | None:
        """A column of texts; None where it holds anything else."""
        array = self.array(name)
        if pa.types.is_null(array.type):
            array = pc.cast(array, pa.large_string())
        if not pa.types.is_large_string(array.type):
            return None
        _, offsets, content = array.buffers()
        ends = (
            np.frombuffer(offsets, np.int64)[array.offset :][: self.rows + 1]
            if self.rows
            else np.zeros(1, np.int64)
        )
        is_absent = np.asarray(array.is_null())
        return _Text(
            ends[:-1],
            np.where(is_absent, 0, np.diff(ends)),
            is_absent,
            np.frombuffer(content, np.uint8) if content else np.empty(0, np.uint8),
        )

    def number(self, name: str) -> _Number | None:
        """A column of integers; None where it holds anything else."""
        array = self.array(name)
        if not (pa.types.is_integer(array.type) or pa.types.is_null(array.type)):
            return None
        try:
            array = pc.cast(array, pa.int64())
        except pa.ArrowInvalid:
            return None
        is_absent = np.asarray(array.is_null())
        return _Number(np.asarray(pc.fill_null(array, 0)), is_absent)

    def take_text(self, text: _Text, rows: NDArray[np.void], name: str) -> None:
        """Let rows point to a column's texts."""
        # What does not fit is found out by check_size, before anybody reads a row.
        starts = np.where(text.lengths > 0, text.starts + self.text_bytes, 0)
        rows[f"{name}_at"] = starts.astype(np.uint32)
        rows[f"{name}_len"] = text.lengths
        self.texts_taken.append(text.content)
        self.text_bytes += len(text.content)


def _take_views(columns: _Columns, events: NDArray[np.void]) -> Mask:
    """Write every view that is certain to be sound. Returns which rows those are."""
    none: Mask = np.zeros(columns.rows, np.bool_)
    certain = _is_word(columns, "type", "view")
    for name, column in VIEW_TEXTS.items():
        text = columns.text(column)
        if text is None:
            return none
        if name != "quality":
            certain &= text.lengths > 0
        # So many bytes of an account are no more characters; any other goes to the exact reader.
        length_max = ACCOUNT_CHARACTERS_MAX if name == "account" else TEXT_BYTES_MAX
        certain &= text.lengths <= length_max
        columns.take_text(text, events, name)
    times, received = columns.number("time"), columns.number("received")
    playhead = columns.number("playhead_ms")
    if times is None or received is None or playhead is None:
        return none
    received_ms = np.where(received.is_absent, times.values, received.values)
    certain &= ~times.is_absent & _within(times.values, TIME_MS_MIN, TIME_MS_MAX)
    certain &= _within(received_ms, TIME_MS_MIN, TIME_MS_MAX)
    certain &= _within(playhead.values, -PLAYHEAD_MS_MAX, PLAYHEAD_MS_MAX)
    states = _states(columns)
    rates, has_rate = _rates(columns)
    events["type"] = VIEW
    events["bill_day"] = 1
    events["time_ms"] = times.values
    events["received_ms"] = received_ms
    events["playhead_ms"] = playhead.values
    events["flags"] = np.where(playhead.is_absent, 0, HAS_PLAYHEAD)
    events["flags"] |= np.where(received.is_absent, 0, HAS_RECEIVED).astype(np.uint8)
    events["state"] = states
    events["rate_milli"] = rates
    return certain & (states > 0) & has_rate


def _within(values: NDArray[np.int64], least: int, most: int) -> Mask:
    return (values >= least) & (values <= most)


def _is_word(columns: _Columns, name: str, word: str) -> Mask:
    """Which rows have the word in a column."""
    array = columns.array(name)
    if not pa.types.is_large_string(array.type):
        return np.zeros(columns.rows, np.bool_)
    return np.array(pc.fill_null(pc.equal(array, word), False))


def _states(columns: _Columns) -> NDArray[np.uint8]:
    """The places of the states in STATES; 0 where there is none such."""
    array = columns.array("state")
    if not pa.types.is_large_string(array.type):
        return np.zeros(columns.rows, np.uint8)
    words = pa.array(STATES[1:], pa.large_string())
    places = pc.index_in(array, words, skip_nulls=True)
    return (np.asarray(pc.fill_null(places, -1)) + 1).astype(np.uint8)


def _rates(columns: _Columns) -> tuple[NDArray[np.int32], Mask]:
    """Playback rates in thousandths, 1000 where absent; and which rows have one that is sound."""
    array = columns.array("rate")
    if pa.types.is_null(array.type):
        return np.full(columns.rows, 1000, np.int32), np.ones(columns.rows, np.bool_)
    if pa.types.is_nested(array.type):
        return np.zeros(columns.rows, np.int32), np.zeros(columns.rows, np.bool_)
    folded = array.dictionary_encode()  # there are few of them, read one by one
    known = [_rate_milli(value) for value in folded.dictionary.to_pylist()]
    milli = np.array([*(rate or 0 for rate in known), 1000], np.int32)
    is_sound = np.array([*(rate is not None for rate in known), True])
    places = np.asarray(pc.fill_null(folded.indices, len(known)))
    return milli[places], is_sound[places]


def _rate_milli(value: Any) -> int | None:
    """One rate in thousandths; None for the exact reader to say why not."""
    text = _number_text(value)
    if text is None:
        return None
    try:
        return rate_of({"rate": Number(text)})
    except MalformedError:
        return None


# --- rows --------------------------------------------------------------------------------------


class _Exact(NamedTuple):
    """What the exact reader made of some rows."""

    text: bytearray
    malformed: dict[int, str]
    suspended_before: dict[int, SuspendedBefore]


def _read_exactly(
    rows: _Rows, numbers: NDArray[np.int64], events: NDArray[np.void], text_at: int
) -> _Exact:
    """Write rows as JSON, and let the exact reader write their USAGE rows.

    text_at: where the text that it adds will begin.
    """
    exact = _Exact(bytearray(), {}, {})
    for number, fields in zip(numbers.tolist(), rows.fields(numbers), strict=True):
        line = row_as_json(fields)
        at = text_at + len(exact.text)
        exact.text.extend(line)
        usage = read_line(line)
        if usage.type == MALFORMED:
            exact.malformed[number] = usage.malformed
            if usage.suspended_before:
                exact.suspended_before[number] = usage.suspended_before
        write_row(usage, events, number, exact.text, text_at, (line, at))
        events["raw_at"][number] = at
        events["raw_len"][number] = len(line)
    return exact


def row_as_json(fields: dict[str, Any]) -> bytes:
    """A row as one line of JSON: what is null is left out, and a rate in text is a number."""
    parts = [
        f"{json.dumps(name)}:{_json_value(name, value)}"
        for name, value in fields.items()
        if value is not None
    ]
    return ("{" + ",".join(parts) + "}").encode("utf-8")


def _json_value(name: str, value: Any) -> str:
    if name == "rate" and (text := _number_text(value)) is not None:
        return text
    if isinstance(value, float) and not math.isfinite(value):
        value = str(value)
    return json.dumps(value, ensure_ascii=False, default=_foreign)


def _foreign(value: Any) -> Any:
    """What JSON has no form for, as a text; it is no field of a native record."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal | date | datetime | time | timedelta):
        return str(value)
    return repr(value)


def _number_text(value: Any) -> str | None:
    """A number as JSON writes it; None where it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) and value.is_finite() else str(value)
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    return value if isinstance(value, str) and NUMBER.fullmatch(value) else None
