"""Slot tables, hash indexes and text: where the core keeps its state.

A table is an array of rows; a row keeps its slot for as long as it lives, and freed slots are used
again. An index finds the slot of a key in a constant number of probes, however many rows there
are. Rows changed since the last save are listed as touched, so saving costs what a batch changed
(architecture decision 4).

Compiled functions never grow a table: they see that room is short, and the caller grows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rating.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

HIGH = 0  # slots ever used
FREE = 1  # entries on the free stack
TOUCHED = 2  # entries in `touched`
LIVE = 3  # rows alive

USED = 0  # arena: bytes used
GARBAGE = 1  # arena: of those, bytes whose row is gone

GROWTH = 1.5
EMPTY = -1
INDEX_LOAD_MAX = 0.66


class Table(NamedTuple):
    """Rows by slot. Every row type has a `live` field, 0 on a slot that is free."""

    rows: Any
    free: NDArray[np.int32]  # a stack of freed slots
    dirty: NDArray[np.uint8]  # 1 where the row changed since the last save
    touched: NDArray[np.int32]  # the slots with dirty = 1
    meta: NDArray[np.int64]


class Arena(NamedTuple):
    """Bytes of texts, one after another."""

    data: NDArray[np.uint8]
    meta: NDArray[np.int64]


def new_table(dtype: np.dtype[np.void], capacity: int) -> Table:
    """An empty table. The arrays are touched, and so take memory, only as they fill."""
    return Table(
        np.zeros(capacity, dtype),
        np.empty(capacity, np.int32),
        np.zeros(capacity, np.uint8),
        np.empty(capacity, np.int32),
        np.zeros(4, np.int64),
    )


def new_arena(capacity: int) -> Arena:
    """An empty arena."""
    return Arena(np.empty(capacity, np.uint8), np.zeros(2, np.int64))


def new_index(capacity: int) -> NDArray[np.int32]:
    """An empty index with room for `capacity` rows at its greatest load."""
    size = 1 << max(4, int(capacity / INDEX_LOAD_MAX)).bit_length()
    return np.full(size, EMPTY, np.int32)


def _longer(array: NDArray[Any], capacity: int) -> NDArray[Any]:
    """A copy with room for `capacity` items; what is beyond the old end is zero."""
    longer = np.zeros(capacity, array.dtype)
    longer[: len(array)] = array
    return longer


def with_room(table: Table, slots: int) -> Table:
    """The table, or a longer copy of it, with at least `slots` free."""
    capacity = len(table.rows)
    if capacity - int(table.meta[HIGH]) + int(table.meta[FREE]) >= slots:
        return table
    capacity = max(int(capacity * GROWTH), int(table.meta[HIGH]) + slots)
    return Table(
        _longer(table.rows, capacity),
        _longer(table.free, capacity),
        _longer(table.dirty, capacity),
        _longer(table.touched, capacity),
        table.meta,
    )


def arena_with_room(arena: Arena, size_bytes: int) -> Arena:
    """The arena, or a longer copy of it, with at least `size_bytes` free."""
    needed = int(arena.meta[USED]) + size_bytes
    if needed <= len(arena.data):
        return arena
    assert needed < 2**32, "one partition's texts pass 4 GiB; use more partitions"
    longer = np.empty(max(int(len(arena.data) * GROWTH), needed), np.uint8)
    longer[: int(arena.meta[USED])] = arena.data[: int(arena.meta[USED])]
    return Arena(longer, arena.meta)


def index_with_room(index: NDArray[np.int32], table: Table, more: int) -> NDArray[np.int32]:
    """The index, or a larger one with the same entries, with room for `more` rows."""
    rows = int(table.meta[LIVE]) + more
    if rows <= len(index) * INDEX_LOAD_MAX:
        return index
    larger = new_index(max(rows, len(index)))
    fill_index(larger, index, table.rows)
    return larger


@jit
def has_room(table: Any, slots: int) -> bool:
    """Whether `slots` rows can be taken."""
    return bool(len(table.rows) - table.meta[HIGH] + table.meta[FREE] >= slots)


@jit
def touch(table: Any, slot: int) -> None:
    """Note that a row changes, so that the next save holds it."""
    if table.dirty[slot] == 0:
        table.dirty[slot] = 1
        table.touched[table.meta[TOUCHED]] = slot
        table.meta[TOUCHED] += 1


@jit
def take(table: Any) -> int:
    """A free slot, now alive and touched. Its other fields hold what its last row left."""
    if table.meta[FREE] > 0:
        table.meta[FREE] -= 1
        slot = np.int64(table.free[table.meta[FREE]])
    else:
        slot = table.meta[HIGH]
        table.meta[HIGH] += 1
    table.meta[LIVE] += 1
    table.rows[slot].live = 1
    touch(table, slot)
    return slot


@jit
def give(table: Any, slot: int) -> None:
    """Free a row's slot."""
    table.rows[slot].live = 0
    touch(table, slot)
    table.free[table.meta[FREE]] = slot
    table.meta[FREE] += 1
    table.meta[LIVE] -= 1


@jit
def clean(table: Any) -> None:
    """Forget what was touched: it has been saved."""
    for number in range(table.meta[TOUCHED]):
        table.dirty[table.touched[number]] = 0
    table.meta[TOUCHED] = 0


# --- texts -------------------------------------------------------------------------------------


@jit
def hash_text(seed: int, data: Any, at: int, length: int) -> int:
    """A 32-bit hash of a text, as int64. Eight bytes a step."""
    mixed = np.uint64(seed) ^ (np.uint64(length) * np.uint64(0x9E3779B97F4A7C15))
    position = np.uint64(at)
    end = np.uint64(at + length)
    while position + np.uint64(8) <= end:
        word = np.uint64(0)
        for byte in range(8):
            word |= np.uint64(data[position + np.uint64(byte)]) << np.uint64(8 * byte)
        mixed = (mixed ^ word) * np.uint64(0xD6E8FEB86659FD93)
        mixed ^= mixed >> np.uint64(32)
        position += np.uint64(8)
    word = np.uint64(0)
    shift = np.uint64(0)
    while position < end:
        word |= np.uint64(data[position]) << shift
        shift += np.uint64(8)
        position += np.uint64(1)
    mixed = (mixed ^ word) * np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(29)
    return np.int64(mixed & np.uint64(0xFFFFFFFF))


@jit
def hash_numbers(a: int, b: int, c: int, d: int) -> int:
    """A 32-bit hash of four integers, as int64."""
    factor = np.uint64(0xD6E8FEB86659FD93)
    mixed = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    mixed = (mixed ^ np.uint64(b)) * factor
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed ^ np.uint64(c)) * factor
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed ^ np.uint64(d)) * factor
    mixed ^= mixed >> np.uint64(29)
    return np.int64(mixed & np.uint64(0xFFFFFFFF))


@jit
def same_text(left: Any, left_at: int, right: Any, right_at: int, length: int) -> bool:
    """Whether two texts of one length are equal."""
    a = np.uint64(left_at)
    b = np.uint64(right_at)
    for step in range(length):
        if left[a + np.uint64(step)] != right[b + np.uint64(step)]:
            return False
    return True


@jit
def append_text(arena: Any, data: Any, at: int, length: int) -> int:
    """Copy a text into the arena; returns where it starts. The caller saw to the room."""
    start = arena.meta[USED]
    for step in range(length):
        arena.data[start + step] = data[at + step]
    arena.meta[USED] += length
    return start


# --- indexes: open addressing with linear probes over rows that have a `hash` field -------------


@jit
def index_insert(index: Any, rows: Any, slot: int) -> None:
    """Add a row that the index does not hold."""
    mask = len(index) - 1
    place = np.int64(rows[slot].hash) & mask
    while index[place] != EMPTY:
        place = (place + 1) & mask
    index[place] = slot


@jit
def index_remove(index: Any, rows: Any, slot: int) -> None:
    """Remove a row, moving later ones of its run back so that no probe meets a hole."""
    mask = len(index) - 1
    place = np.int64(rows[slot].hash) & mask
    while index[place] != slot:
        place = (place + 1) & mask
    hole = place
    place = (place + 1) & mask
    while index[place] != EMPTY:
        home = np.int64(rows[index[place]].hash) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            index[hole] = index[place]
            hole = place
        place = (place + 1) & mask
    index[hole] = EMPTY


@jit
def fill_index(index: Any, old: Any, rows: Any) -> None:
    """Add every row of another index."""
    for place in range(len(old)):
        if old[place] != EMPTY:
            index_insert(index, rows, np.int64(old[place]))


@jit
def index_rows(index: Any, table: Any) -> None:
    """Add every live row of a table."""
    for slot in range(table.meta[HIGH]):
        if table.rows[slot].live == 1:
            index_insert(index, table.rows, slot)


@jit
def recount(table: Any) -> None:
    """Rebuild the free stack and the counts from the rows, after they were loaded."""
    table.meta[FREE] = 0
    table.meta[LIVE] = 0
    table.meta[TOUCHED] = 0
    for slot in range(table.meta[HIGH] - 1, -1, -1):
        if table.rows[slot].live == 1:
            table.meta[LIVE] += 1
        else:
            table.free[table.meta[FREE]] = slot
            table.meta[FREE] += 1
