"""Arrow IPC messages: columns of every type with extremes in them, and streams with bytes spoilt.

Whatever is in a table, each of its rows is read as the exact reader reads it as JSON. Whatever bytes
a message has, it comes to rows, each of which is sound or malformed.
"""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from extremes import KINDS, OPTIONAL, SOUND, SUSPENDED, TEXT_VALUES, TIME_MS_MAX, TIME_MS_MIN
from readers import record_values, row_values

from ingest.json_exact import read_line
from ingest.kafka.messages import Message, decode_messages
from rating.schemas import MALFORMED

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

INT64 = (0, 1, -1, 28, 10**15, 10**15 + 1, -(10**15), 2**63 - 1, -(2**63), 1_772_812_800_000)
TIMES = (TIME_MS_MIN - 1, TIME_MS_MIN, TIME_MS_MAX, TIME_MS_MAX + 1, 1_772_812_800_000, -(2**62))
TEXTS = (
    "",
    "a",
    "a" * 512,
    "a" * 513,
    "é" * 128,
    "\U0001f4fa" * 129,
    "\x00",
    "view",
    "10.5",
    "1e9",
)
FLOATS = (0.0, -0.0, 1.5, 1e308, 5e-324, float("nan"), float("inf"), -float("inf"), 1e15, 1e22)
DECIMALS = (Decimal("1.500"), Decimal("-0.000"), Decimal(10**15), Decimal("0.001"))
ZONES = ("UTC", "+01:00", "Europe/Stockholm", "-23:59", "+99:99", "No/Where", "")


def texts(random: Random, rows: int) -> pa.Array:
    kind = random.choice([pa.string(), pa.large_string(), pa.string_view()])
    return pa.array([random.choice(TEXTS) for _ in range(rows)], kind)


def integers(random: Random, rows: int) -> pa.Array:
    kind = random.choice(["int8", "int32", "int64", "uint8", "uint64"])
    info = np.iinfo(kind)
    fitting = [value for value in (*INT64, *TIMES, 2**64 - 1) if info.min <= value <= info.max]
    return pa.array([random.choice(fitting) for _ in range(rows)], kind)


def floats(random: Random, rows: int) -> pa.Array:
    kind = random.choice([pa.float32(), pa.float64()])
    return pa.array([random.choice(FLOATS) for _ in range(rows)], kind)


def decimals(random: Random, rows: int) -> pa.Array:
    kind = random.choice([pa.decimal128(38, 3), pa.decimal256(60, 10)])
    return pa.array([random.choice(DECIMALS) for _ in range(rows)], kind)


def instants(random: Random, rows: int) -> pa.Array:
    zone = random.choice([None, *ZONES])
    kind = pa.timestamp(random.choice(["s", "ms", "us", "ns"]), zone or None)
    ticks = [random.choice((*INT64, *TIMES)) for _ in range(rows)]
    return pa.array(ticks, pa.int64()).cast(kind)


def spans(random: Random, rows: int) -> pa.Array:
    kind, wide = random.choice(
        [
            (pa.duration("s"), pa.int64()),
            (pa.duration("us"), pa.int64()),
            (pa.date32(), pa.int32()),
            (pa.date64(), pa.int64()),
            (pa.time32("s"), pa.int32()),
            (pa.time64("ns"), pa.int64()),
        ]
    )
    most = 2**31 - 1 if wide == pa.int32() else 2**63 - 1
    ticks = [random.choice((0, 1, 86_399, most, -most)) for _ in range(rows)]
    array = pa.array(ticks, wide)
    return pa.Array.from_buffers(kind, rows, array.buffers())


def others(random: Random, rows: int) -> pa.Array:
    values: list[Any] = random.choice(
        [
            [True] * rows,
            [None] * rows,
            [b"\xff\x00"] * rows,
            [["a", "b"]] * rows,
            [{"a": 1, "b": {"c": None}}] * rows,
            [[[[[1]]]]] * rows,
        ]
    )
    return pa.array(values)


def rarities(random: Random, rows: int) -> pa.Array:
    """Types that no sender of usage records has a use for."""
    kinds: list[pa.DataType] = [
        *(pa.binary_view(), pa.list_(pa.string_view()), pa.large_binary(), pa.binary(0)),
        *(pa.float16(), pa.month_day_nano_interval(), pa.list_(pa.int8(), 2), pa.dense_union([])),
        *(pa.map_(pa.string(), pa.timestamp("us", "No/Where")), pa.struct([])),
        *(pa.list_view(pa.int64()), pa.dictionary(pa.int8(), pa.date32())),
        pa.run_end_encoded(pa.int32(), pa.string()),
    ]
    kind = random.choice(kinds)
    if pa.types.is_run_end_encoded(kind):
        return pa.RunEndEncodedArray.from_arrays([rows], ["a"], kind) if rows else pa.nulls(0)
    if pa.types.is_union(kind):
        tags, places = pa.array([0] * rows, pa.int8()), pa.array(range(rows), pa.int32())
        return pa.UnionArray.from_dense(tags, places, [pa.array(["a"] * rows)])
    return pa.nulls(rows, kind) if random.random() < 0.5 else one_of(kind, rows)


def one_of(kind: pa.DataType, rows: int) -> pa.Array:
    """The same value of a rare type in every row."""
    if pa.types.is_dictionary(kind):
        days = pa.Array.from_buffers(pa.date32(), 1, pa.array([2**31 - 1], pa.int32()).buffers())
        return pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int8()), days)
    values: dict[str, Any] = {"halffloat": np.float16(1.5), "month_day_nano_interval": (1, 2, 3)}
    nested = ["a"] if "string" in str(kind) and not pa.types.is_map(kind) else [1, 2]
    value = values.get(str(kind), [("a", 2**62)] if pa.types.is_map(kind) else nested)
    if pa.types.is_struct(kind):
        value = {}
    if "binary" in str(kind):
        value = b""
    return pa.array([value] * rows, kind)


def nested_instants(random: Random, rows: int) -> pa.Array:
    return pa.StructArray.from_arrays(
        [instants(random, rows), spans(random, rows)], names=["at", "for"]
    )


COLUMNS: tuple[Callable[[Random, int], pa.Array], ...] = (
    *(texts, texts, integers, integers, floats, decimals, instants, spans, others),
    *(nested_instants, rarities),
)


def sound(random: Random, name: str, kind: str, rows: int) -> pa.Array:
    """A column as a sender would write it."""
    if name == "type":
        return pa.array([kind] * rows)
    if name in ("time", "received"):
        return pa.array([1_772_812_800_000 + row for row in range(rows)], pa.int64())
    if name in ("playhead_ms", "bill_day", "quantity"):
        return pa.array([random.randint(1, 28) for _ in range(rows)], pa.int64())
    if name == "rate":
        return pa.array([random.choice(["1", "1.25", "-0.5"]) for _ in range(rows)])
    values = SUSPENDED.get(name) or SOUND.get(name) or TEXT_VALUES
    return pa.array([random.choice(values).decode()[1:-1] for _ in range(rows)])


def some_null(random: Random, array: pa.Array) -> pa.Array:
    places = [None if random.random() < 0.3 else place for place in range(len(array))]
    return array.take(pa.array(places, pa.int64()))


def usage_table(random: Random) -> pa.Table:
    """A table of one kind of record, nearly all of it sound."""
    rows = random.choice((0, 1, 2, 5))
    kind = random.choice(["view", "view", "view", *KINDS])
    columns = {}
    for name in ("type", "time", "received", "account", *KINDS[kind]):
        if name in OPTIONAL and random.random() < 0.4:
            continue
        is_odd = random.random() < 0.15
        column = random.choice(COLUMNS)(random, rows) if is_odd else sound(random, name, kind, rows)
        if not is_odd and random.random() < 0.1:
            column = some_null(random, column)
        columns[name] = column
    names = list(columns)
    if random.random() < 0.1:  # a column that comes twice
        names.append(random.choice(names))
    return pa.Table.from_arrays([columns[name] for name in names], names=names)


def stream_of(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def fuzz(random: Random) -> None:
    """Some tables in messages; some of them spoilt afterwards."""
    streams = [stream_of(usage_table(random)) for _ in range(random.randint(1, 3))]
    if random.random() < 0.4:
        for number, stream in enumerate(streams):
            spoilt = bytearray(stream)
            for _ in range(random.randint(1, 4)):
                spoilt[random.randrange(len(spoilt))] = random.randrange(256)
            streams[number] = bytes(
                spoilt[: random.choice((len(spoilt), random.randrange(len(spoilt))))]
            )
    batch = decode_messages("usage/0", [Message(n, each) for n, each in enumerate(streams)])
    for row in range(len(batch.events)):
        assert (batch.events["type"][row] == MALFORMED) == (row in batch.malformed)
        assert batch.locate(row).startswith("usage/0@")
        values, raw = row_values(batch, row), batch.raw(row)
        if raw.startswith(b"{"):
            assert values == record_values(read_line(raw)), raw
