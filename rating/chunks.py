"""One chunk of stored state as bytes: tables as named, typed columns, and the version they are of.

Version 2 and later: eight bytes of length and an Arrow schema without columns, the head, whose
metadata say the state's version and the first release that reads it; then one Arrow stream for the
totals and one for each table, its name in its metadata. Many rows are compressed column by column. A
few would cost less than their columns' names, so their streams are compressed together as one; the
eight bytes before the streams say how long they are then, and else 0.

Version 1 (release 0.1.0) had neither head nor columns, but rows packed as in memory, with their
layout beside them. It reads a head as a table of another layout, and refuses it.
"""

from __future__ import annotations

import ast
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from rating.state import STATE_RELEASE, STATE_VERSION
from rating.upgrades import StateUnreadable, check_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from rating.state import Columns

TOTALS_NAME = "totals"
TOGETHER_MAX_BYTES = 1 << 20
LENGTH_BYTES = 8
EXPANSION_MAX = 256  # of LZ4: one byte says at most 255 more of the same
CODEC = "lz4"
BY_COLUMN = pa.ipc.IpcWriteOptions(compression=CODEC)
PLAIN = pa.ipc.IpcWriteOptions()


class Part(NamedTuple):
    """Rows of one table, or the totals as one row.

    slots: of the rows; none for totals. text: where each row's text begins and the last one ends,
    and the texts; None where the table has none.
    """

    name: str
    columns: Columns
    slots: NDArray[np.int32]
    text: tuple[NDArray[np.int64], NDArray[np.uint8]] | None = None


class Chunk(NamedTuple):
    """What one chunk holds, and the version of the state that it is of."""

    version: int
    parts: Iterable[Part]


def pack(
    parts: Iterable[Part], version: int = STATE_VERSION, release: str = STATE_RELEASE
) -> bytes:
    """Some parts as one chunk. release: the first that reads the version."""
    parts = list(parts)
    size = sum(column.nbytes for part in parts for column in part.columns.values())
    together = size <= TOGETHER_MAX_BYTES
    tables = pa.BufferOutputStream()
    for part in parts:
        batch = _batch(part)
        with pa.ipc.new_stream(
            tables, batch.schema, options=PLAIN if together else BY_COLUMN
        ) as out:
            out.write_batch(batch)
    body = tables.getvalue()
    size = len(body) if together else 0
    if together:
        body = pa.Codec(CODEC).compress(body)
    return b"".join((_head(version, release), _length(size), memoryview(body)))


@cache
def _head(version: int, release: str) -> bytes:
    """What stands before the tables."""
    metadata = {
        "version": str(version),
        "release": release,
        # The two things that release 0.1.0 looks at. Its sentence begins "the stored state's table".
        "table": f"of state version {version}, which needs ratecast {release} or newer,",
        "dtype": "",
    }
    stream = pa.BufferOutputStream()
    pa.ipc.new_stream(stream, pa.schema([], metadata)).close()
    head = stream.getvalue().to_pybytes()
    return _length(len(head)) + head


def _length(size: int) -> bytes:
    return size.to_bytes(LENGTH_BYTES, "little")


def _batch(part: Part) -> pa.RecordBatch:
    """A part as an Arrow batch that knows its table's name."""
    arrays = [_array(column) for column in part.columns.values()]
    if part.name != TOTALS_NAME:
        arrays.append(_array(part.slots))
    if part.text is not None:
        offsets, texts = part.text
        arrays.append(
            pa.LargeBinaryArray.from_buffers(
                pa.large_binary(),
                len(part.slots),
                [None, pa.py_buffer(offsets), pa.py_buffer(texts)],
            )
        )
    types = tuple((name, column.dtype.str) for name, column in part.columns.items())
    return pa.RecordBatch.from_arrays(
        arrays, schema=_schema(part.name, types, has_text=part.text is not None)
    )


def _array(values: NDArray[Any]) -> pa.Array:
    """A column without copying it."""
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)]
    )


@cache
def _schema(name: str, types: tuple[tuple[str, str], ...], *, has_text: bool) -> pa.Schema:
    """The columns of a table, its rows' slots and texts."""
    fields = [pa.field(field, pa.from_numpy_dtype(np.dtype(dtype))) for field, dtype in types]
    if name != TOTALS_NAME:
        fields.append(pa.field("slot", pa.int32()))
    if has_text:
        fields.append(pa.field("text", pa.large_binary()))
    return pa.schema(fields, {"table": name})


def unpack(payload: bytes) -> Chunk:
    """What a chunk holds. Raises: StateUnreadable."""
    try:
        head, at = _taken(payload, 0)
        with pa.ipc.open_stream(head) as stream:
            said = stream.schema.metadata
        if b"version" not in said:
            return Chunk(1, list(_packed_rows(payload)))
        version = int(said[b"version"])
        check_version(version, said[b"release"].decode())
        size = int.from_bytes(payload[at : at + LENGTH_BYTES], "little")
        tables = pa.py_buffer(memoryview(payload)[at + LENGTH_BYTES :])
        if size:
            tables = pa.Codec(CODEC).decompress(tables, _bounded(size, len(tables)))
        return Chunk(version, list(_tables(pa.BufferReader(tables))))
    except (pa.ArrowException, OSError, KeyError, ValueError, SyntaxError) as error:
        raise damaged(str(error)) from error


def says_version(payload: bytes) -> bool:
    """Whether a chunk says its version, as all but those of release 0.1.0 do."""
    try:
        with pa.ipc.open_stream(_taken(payload, 0)[0]) as stream:
            return b"version" in (stream.schema.metadata or {})
    except (pa.ArrowException, OSError):
        return False


def _taken(payload: bytes, at: int) -> tuple[memoryview, int]:
    """What stands at a place behind its length, and the place behind it."""
    first = at + LENGTH_BYTES
    past = first + int.from_bytes(payload[at:first], "little")
    return memoryview(payload)[first:past], past


def _bounded(size: int, compressed: int) -> int:
    """A length that a damaged chunk may only have said. Raises: ValueError."""
    if size > compressed * EXPANSION_MAX:
        raise ValueError(f"{compressed} bytes cannot be {size}")
    return size


def _tables(body: pa.BufferReader) -> Iterator[Part]:
    """The tables of a chunk, one Arrow stream after the other."""
    while body.tell() < body.size():
        with pa.ipc.open_stream(body) as stream:
            name = stream.schema.metadata[b"table"].decode()
            for batch in stream:
                batch.validate()
                names = [each for each in batch.schema.names if each not in ("slot", "text")]
                columns = {each: _values(batch[each]) for each in names}
                yield _part(name, columns, batch)


def _packed_rows(payload: bytes) -> Iterator[Part]:
    """The tables of a chunk of version 1: a length and an Arrow stream each, of packed rows."""
    at = 0
    while at < len(payload):
        is_first = at == 0
        body, at = _taken(payload, at)
        with pa.ipc.open_stream(body) as stream:
            name = stream.schema.metadata[b"table"].decode()
            if is_first and name != TOTALS_NAME:
                raise ValueError("it does not begin with totals")
            for batch in stream:
                batch.validate()
                if name == TOTALS_NAME:
                    columns = {each: _values(batch[each]) for each in batch.schema.names}
                else:
                    layout = ast.literal_eval(stream.schema.metadata[b"dtype"].decode())
                    rows = np.frombuffer(batch["row"].buffers()[1], np.dtype(layout))
                    rows = rows[batch["row"].offset :][: len(batch)]
                    names = rows.dtype.names or ()
                    columns = {field: np.ascontiguousarray(rows[field]) for field in names}
                yield _part(name, columns, batch)


def _values(column: pa.Array) -> NDArray[Any]:
    """A column's numbers. Raises: ValueError where one is missing."""
    return column.to_numpy(zero_copy_only=True)


def _part(name: str, columns: Columns, batch: pa.RecordBatch) -> Part:
    """A table's columns with the slots and texts of its rows. Raises: StateUnreadable."""
    if name == TOTALS_NAME:
        return Part(name, columns, np.empty(0, np.int32))
    slots = _values(batch["slot"])
    if len(slots) and int(slots.min()) < 0:
        raise damaged(f"table {name} has a row without a place")
    if "text" not in batch.schema.names:
        return Part(name, columns, slots)
    column = batch["text"]
    _, starts, texts = column.buffers()
    offsets = np.frombuffer(starts, np.int64)[column.offset :][: len(slots) + 1]
    data = np.frombuffer(texts, np.uint8) if texts is not None else np.empty(0, np.uint8)
    if (np.diff(offsets) < 0).any() or offsets[0] < 0 or offsets[-1] > len(data):
        raise damaged(f"table {name} has a text that is not there")
    return Part(name, columns, slots, (offsets, data))


def damaged(why: str) -> StateUnreadable:
    """What to raise where bytes are not what was stored."""
    return StateUnreadable(f"the store's state is damaged ({why}); restore the store from a copy")
