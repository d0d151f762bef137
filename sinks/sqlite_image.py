"""A frame as an SQLite database in memory: what `COPY` is to PostgreSQL.

Binding 31 values a row through Python costs more than SQLite's own work, and does it with the
interpreter's lock held. So a frame's columns are written as the pages of a small database image,
the image is attached, and one `INSERT ... SELECT` moves all rows with the lock released. Measured:
docs/store.md. The format is https://www.sqlite.org/fileformat2.html: a schema page that SQLite
itself made, one table b-tree root, and leaves of 64 KiB.
"""

from __future__ import annotations

import sqlite3
from functools import cache

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from rating.jit import jit

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

PAGE_BYTES = 65_536
PAYLOAD_BYTES_MAX = PAGE_BYTES - 35  # A longer row would need overflow pages.
ROWS_MAX = 2**28 - 1  # A row id then is a varint of at most four bytes,
LEAVES_MAX = 6_500  # and so many leaves fit under one root.
COLUMNS_MAX = 40  # The length of a row's header then fits in one byte.

INTEGER, TEXT, BLOB = 0, 1, 2
TABLE = "rows"


def encode_image(frame: pl.DataFrame) -> bytes | None:
    """Write a frame as a database with one table `rows`, columns c0, c1, ... and row ids from 1.

    Columns: Int64, Int32, Boolean, Date (days) as integers, String as text, Binary as blobs; null
    is NULL.
    Returns: the database, or None where a row is too long for a page or the frame too large for
    one root; such a frame goes in row by row.
    """
    if not 0 < frame.height <= ROWS_MAX:
        return None
    kinds, values, sizes, text = _columns(frame)
    payloads = np.empty(frame.height, dtype=np.int64)
    leaves = _measure(kinds, values, sizes, payloads)
    if leaves < 0 or leaves > LEAVES_MAX:
        return None
    empty = _empty_image(frame.width)
    pages = 2 if leaves == 1 else 2 + leaves
    image = np.zeros(pages * PAGE_BYTES, dtype=np.uint8)
    image[: len(empty)] = np.frombuffer(empty, dtype=np.uint8)
    image[PAGE_BYTES : 2 * PAGE_BYTES] = 0
    image[28:32] = np.frombuffer(pages.to_bytes(4, "big"), dtype=np.uint8)
    _write_pages(kinds, values, sizes, text, payloads, image, leaves)
    return image.tobytes()


@cache
def _empty_image(columns: int) -> bytes:
    """Two pages as SQLite writes them: the schema and the table's empty root."""
    assert columns <= COLUMNS_MAX
    connection = sqlite3.connect(":memory:")
    names = ", ".join(f"c{index}" for index in range(columns))
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
    connection.execute(f"CREATE TABLE {TABLE} ({names})")
    image = connection.serialize()
    connection.close()
    assert len(image) == 2 * PAGE_BYTES
    return image


def _columns(frame: pl.DataFrame) -> tuple[Bytes, Ints, Ints, Bytes]:
    """Give kind by column; value, or place in the text, and length (-1: null) by column and row."""
    kinds = np.zeros(frame.width, dtype=np.uint8)
    values = np.zeros((frame.width, frame.height), dtype=np.int64)
    sizes = np.zeros((frame.width, frame.height), dtype=np.int64)
    texts: list[Bytes] = []
    taken_bytes = 0
    for index, column in enumerate(frame.rechunk().iter_columns()):
        if column.dtype in (pl.String, pl.Binary):
            kinds[index] = TEXT if column.dtype == pl.String else BLOB
            ends, text = _text_of(column)
            values[index] = ends[:-1] + taken_bytes
            sizes[index] = np.diff(ends)
            texts.append(text)
            taken_bytes += len(text)
        else:
            values[index] = column.to_physical().cast(pl.Int64).fill_null(0).to_numpy()
        if column.null_count():
            sizes[index][column.is_null().to_numpy()] = -1
    return kinds, values, sizes, np.concatenate([np.zeros(0, dtype=np.uint8), *texts])


def _text_of(column: pl.Series) -> tuple[Ints, Bytes]:
    """Give a text column's n + 1 offsets, and the bytes that they point into."""
    array = column.to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    offsets = np.frombuffer(array.buffers()[1], dtype=np.int64)[array.offset :][: len(array) + 1]
    text = array.buffers()[2]
    if text is None:
        return offsets - offsets[0], np.zeros(0, dtype=np.uint8)
    return offsets - offsets[0], np.frombuffer(text, dtype=np.uint8)[offsets[0] : offsets[-1]]


@jit
def _serial_type(kind: int, value: int, size: int) -> int:
    """SQLite's code for a value's type and length."""
    if size < 0:
        return 0
    if kind != INTEGER:
        return (13 if kind == TEXT else 12) + 2 * size
    if value == 0 or value == 1:  # noqa: PLR1714 - numba has no sets
        return 8 + value
    if -(2**7) <= value < 2**7:
        return 1
    if -(2**15) <= value < 2**15:
        return 2
    if -(2**23) <= value < 2**23:
        return 3
    if -(2**31) <= value < 2**31:
        return 4
    if -(2**47) <= value < 2**47:
        return 5
    return 6


@jit
def _body_bytes(serial_type: int) -> int:
    """How many bytes a value of this serial type takes in a row's body."""
    if serial_type >= 12:
        return (serial_type - 12) // 2
    if serial_type == 0 or serial_type >= 8:
        return 0
    return serial_type if serial_type <= 4 else 2 * serial_type - 4  # 5: six bytes, 6: eight


@jit
def _varint_bytes(value: int) -> int:
    """Length of a varint below 2^28."""
    if value < 2**7:
        return 1
    if value < 2**14:
        return 2
    return 3 if value < 2**21 else 4


@jit
def _put_varint(image: Bytes, at: int, value: int) -> int:
    """Write a varint, and give the place after it."""
    size = _varint_bytes(value)
    for index in range(size):
        bits = (value >> (7 * (size - 1 - index))) & 0x7F
        image[at + index] = bits | (0x80 if index < size - 1 else 0)
    return at + size


@jit
def _put_int(image: Bytes, at: int, value: int, size: int) -> int:
    """Write a big-endian integer of `size` bytes, and give the place after it."""
    for index in range(size):
        image[at + index] = (value >> (8 * (size - 1 - index))) & 0xFF
    return at + size


@jit
def _measure(kinds: Bytes, values: Ints, sizes: Ints, payloads: Ints) -> int:
    """Fill in each row's payload length, and give the number of leaves; -1: a row is too long."""
    leaves, free = 1, PAGE_BYTES - 8
    for row in range(values.shape[1]):
        payload = 1
        for column in range(len(kinds)):
            serial_type = _serial_type(kinds[column], values[column, row], sizes[column, row])
            payload += _varint_bytes(serial_type) + _body_bytes(serial_type)
            if payload > PAYLOAD_BYTES_MAX:
                return -1
        payloads[row] = payload
        taken = 2 + _varint_bytes(payload) + _varint_bytes(row + 1) + payload
        if taken > free:
            leaves += 1
            free = PAGE_BYTES - 8
        free -= taken
    return leaves


@jit
def _put_row(
    kinds: Bytes, values: Ints, sizes: Ints, text: Bytes, row: int, image: Bytes, at: int
) -> None:
    """Write one row's header and body."""
    start = at
    at += 1
    for column in range(len(kinds)):
        at = _put_varint(
            image, at, _serial_type(kinds[column], values[column, row], sizes[column, row])
        )
    image[start] = at - start
    for column in range(len(kinds)):
        value, size = values[column, row], sizes[column, row]
        if kinds[column] == INTEGER:
            at = _put_int(image, at, value, _body_bytes(_serial_type(INTEGER, value, size)))
        else:
            for index in range(size):
                image[at + index] = text[value + index]
            at += max(size, 0)


@jit
def _put_page_head(image: Bytes, page: int, kind: int, cells: int, content: int) -> None:
    """Write the first eight bytes of a b-tree page. A content start of 65536 is written as 0."""
    image[page] = kind
    _put_int(image, page + 3, cells, 2)
    _put_int(image, page + 5, content & 0xFFFF, 2)


@jit
def _write_pages(
    kinds: Bytes,
    values: Ints,
    sizes: Ints,
    text: Bytes,
    payloads: Ints,
    image: Bytes,
    leaves: int,
) -> None:
    """Write all rows into leaves, and the root above them; a single leaf is the root itself.

    Rows fill a leaf from its end downwards, the places of the rows from its start upwards.
    """
    root, root_content = PAGE_BYTES, PAGE_BYTES
    leaf = 0
    page = PAGE_BYTES if leaves == 1 else 2 * PAGE_BYTES
    cells, content = 0, PAGE_BYTES
    for row in range(values.shape[1]):
        size = _varint_bytes(payloads[row]) + _varint_bytes(row + 1) + payloads[row]
        if content - size < 8 + 2 * (cells + 1):
            _put_page_head(image, page, 0x0D, cells, content)
            root_content -= 4 + _varint_bytes(row)
            _put_int(image, root + 12 + 2 * leaf, root_content, 2)
            _put_varint(image, _put_int(image, root + root_content, leaf + 3, 4), row)
            leaf += 1
            page += PAGE_BYTES
            cells, content = 0, PAGE_BYTES
        content -= size
        _put_int(image, page + 8 + 2 * cells, content, 2)
        cells += 1
        at = _put_varint(image, page + content, payloads[row])
        at = _put_varint(image, at, row + 1)
        _put_row(kinds, values, sizes, text, row, image, at)
    _put_page_head(image, page, 0x0D, cells, content)
    if leaves > 1:
        _put_page_head(image, root, 0x05, leaves - 1, root_content)
        _put_int(image, root + 8, leaf + 3, 4)
