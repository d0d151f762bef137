"""Columns of texts as the bytes that they stand in, for compiled code, and back.

A column of Arrow is its bytes one after another, and where each text begins; compiled code reads it
there, and says where in the bytes it has found what.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from ingest.words import byte_at, jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]
    Truths = NDArray[np.bool_]


class Texts(NamedTuple):
    """Texts one after another in `raw`, which is never written to.

    offsets: where each begins, and where the last ends. is_present: False where there is none,
    which is another thing than an empty one.
    """

    raw: Bytes
    offsets: Ints
    is_present: Truths

    def at(self, row: int) -> bytes:
        """One of them."""
        return self.raw[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def column(self) -> pl.Series:
        """All of them as a column of Binary."""
        parts = (self.offsets, self.raw)
        return pl.Series(arrow_column(pa.large_binary(), self.is_present, *parts))


def texts_of(column: pl.Series) -> Texts:
    """The bytes of a column of Binary, or of String or what can be written as one."""
    if column.dtype not in (pl.String, pl.Binary):  # as one without any text is
        column = column.cast(pl.String)
    is_present = column.is_not_null().to_numpy()
    nothing = "" if column.dtype == pl.String else b""
    whole = column.fill_null(nothing) if column.null_count() else column
    arrow = whole.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, offsets, raw = arrow.buffers()
    starts = from_buffer(offsets, np.dtype(np.int64))
    return Texts(
        from_buffer(raw, np.dtype(np.uint8)),
        starts[arrow.offset : arrow.offset + len(column) + 1],
        is_present,
    )


def from_buffer(buffer: Any, kind: np.dtype[Any]) -> NDArray[Any]:
    """What stands in a buffer of Arrow; never without a value, since one is looked at by all."""
    if buffer is None or buffer.size < kind.itemsize:
        return read_only(np.zeros(1, kind))
    return np.frombuffer(buffer, kind)


def read_only(values: NDArray[Any]) -> NDArray[Any]:
    """An array that nothing writes to; compiled code exists once for each kind of array."""
    values.flags.writeable = False
    return values


def text_column(raw: Bytes, starts: Ints, sizes: Ints) -> Any:
    """A column of Arrow of the texts in ranges of bytes that are ASCII.

    sizes: one more than a range's bytes; 0 where there is none.
    """
    is_present = sizes > 0
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes - is_present, out=offsets[1:])
    gathered = np.empty(offsets[-1], np.uint8)
    gather(raw, starts, sizes, gathered)
    return arrow_column(pa.large_string(), is_present, offsets, gathered)


def arrow_column(
    kind: Any, is_present: Truths, *buffers: NDArray[Any], children: list[Any] | None = None
) -> Any:
    """A column of Arrow of what stands in buffers; null where nothing is present."""
    present = np.packbits(is_present, bitorder="little")
    parts = [pa.py_buffer(part) for part in (present, *buffers)]
    return pa.Array.from_buffers(kind, len(is_present), parts, children=children)


@jit
def gather(raw: Bytes, starts: Ints, sizes: Ints, gathered: Bytes) -> None:
    """Copy ranges of bytes one behind another."""
    to = 0
    for row in range(len(starts)):
        for i in range(starts[row], starts[row] + sizes[row] - 1):
            gathered[to] = byte_at(raw, i)
            to += 1
