"""Slot tables, hash indexes and text: where the core keeps its state.

A table is an array of rows; a row keeps its slot for as long as it lives, and freed slots are used
again. An index finds the slot of a key in a constant number of probes, however many rows there
are. Rows changed since the last save are listed as touched, so saving costs what a batch changed
(architecture decision 4).

All of it is bound to one block (tariffs/blocks.py), `s` in compiled functions; a table is known by
its number there. Compiled functions never grow a table: they see that room is short, and the
caller grows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import int64, jit
from tariffs.blocks import carray, pointer

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tariffs.blocks import Block

# A table's places, from its number times TABLE_PLACES:
ROWS = 0  # address; every row type begins with a byte `live`, 0 on a free slot
CAPACITY = 1
FREE = 2  # address of the stack of freed slots
DIRTY = 4  # address of the flags: 1 where the row changed since the last save
TOUCHED = 6  # address of the list of slots with the flag
INDEX = 8  # address; entries are hash << 32 | slot, or EMPTY
INDEX_SIZE = 9
ROW_BYTES = 10
HIGH = 11  # slots ever used
FREE_LEN = 12
TOUCHED_LEN = 13
LIVE = 14  # rows alive
TABLE_PLACES = 16

# An arena's places, from its own first place:
TEXT = 0  # address
TEXT_CAPACITY = 1
USED = 2  # bytes used
GARBAGE = 3  # of those, bytes whose row is gone
ARENA_PLACES = 4

GROWTH = 1.5
EMPTY = -1
SLOT_MASK = 0xFFFFFFFF
NONE = -1


def unfielded(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """A row type without fields, in which rows are copied whole: otherwise field by field."""
    return np.dtype((np.void, dtype.itemsize))


def lengthened(rows: NDArray[np.void], length: int) -> NDArray[np.void]:
    """Rows with free ones behind them."""
    longer = np.zeros(length, rows.dtype)
    longer.view(unfielded(rows.dtype))[: len(rows)] = rows.view(unfielded(rows.dtype))
    return longer


class Table:
    """One table of a block, as the uncompiled code sees it."""

    def __init__(self, block: Block, number: int, dtype: np.dtype[np.void], capacity: int) -> None:
        self.block = block
        self.base = number * TABLE_PLACES
        self.dtype = dtype
        block.places[self.base + ROW_BYTES] = dtype.itemsize
        self._bind(np.zeros(capacity, dtype))

    def _bind(self, rows: NDArray[np.void]) -> None:
        """Bind rows, and the lists beside them; what the lists held is copied."""
        capacity = len(rows)
        assert capacity < 2**31, "one partition's rows pass 31 bits; use more partitions"
        self.block.bind(self.base + ROWS, rows)
        for place, dtype in ((FREE, np.int32), (DIRTY, np.uint8), (TOUCHED, np.int32)):
            longer = np.zeros(capacity, dtype)
            if self.high:
                old = self.block.array(self.base + place)
                longer[: len(old)] = old
            self.block.bind(self.base + place, longer)

    @property
    def rows(self) -> NDArray[np.void]:
        """All rows, free ones too."""
        rows: NDArray[np.void] = self.block.array(self.base + ROWS)
        return rows

    def copies(self, slots: NDArray[Any]) -> NDArray[np.void]:
        """The rows of some slots, copied."""
        return self.rows.view(unfielded(self.dtype))[slots].view(self.dtype)

    @property
    def high(self) -> int:
        """Slots ever used: rows beyond are untouched."""
        return int(self.block.places[self.base + HIGH])

    @property
    def live(self) -> int:
        """Rows alive."""
        return int(self.block.places[self.base + LIVE])

    @property
    def touched(self) -> NDArray[np.int32]:
        """The slots changed since the last save."""
        slots: NDArray[np.int32] = self.block.array(self.base + TOUCHED)
        return slots[: int(self.block.places[self.base + TOUCHED_LEN])]

    def live_slots(self) -> NDArray[np.int32]:
        """The slots of all rows alive; costs what the table holds."""
        return np.flatnonzero(self.rows["live"][: self.high] == 1).astype(np.int32)

    def make_room(self, more: int) -> None:
        """Grow until `more` rows can be taken."""
        free = int(self.block.places[self.base + FREE_LEN])
        if len(self.rows) - self.high + free < more:
            longer = max(int(len(self.rows) * GROWTH), self.high + more)
            self._bind(lengthened(self.rows[: self.high], longer))

    def load(self, rows: NDArray[np.void]) -> None:
        """Take over rows by slot, as they were saved."""
        self.block.places[self.base + HIGH] = 0
        self._bind(lengthened(rows, max(len(self.rows), len(rows) + 256)))
        self.block.places[self.base + HIGH] = len(rows)
        recount(self.block.places, self.base // TABLE_PLACES)


def make_index_room(block: Block, number: int, more: int) -> None:
    """Grow a table's index until `more` entries fit at two thirds of its size."""
    base = number * TABLE_PLACES
    rows = int(block.places[base + LIVE]) + more
    size = int(block.places[base + INDEX_SIZE])
    if rows * 3 <= size * 2 and size > 0:
        return
    larger = np.full(1 << max(6, (rows * 3 // 2).bit_length()), EMPTY, np.int64)
    if size:
        fill_index(larger, block.array(base + INDEX))
    block.bind(base + INDEX, larger)


class Arena:
    """Bytes of texts, one behind the other."""

    def __init__(self, block: Block, base: int, capacity: int) -> None:
        self.block = block
        self.base = base
        block.bind(base, np.empty(capacity, np.uint8))

    @property
    def data(self) -> NDArray[np.uint8]:
        """The bytes."""
        data: NDArray[np.uint8] = self.block.array(self.base)
        return data

    @property
    def used(self) -> int:
        """Bytes used."""
        return int(self.block.places[self.base + USED])

    def make_room(self, more: int) -> None:
        """Grow until `more` bytes can be appended."""
        needed = self.used + more
        assert needed < 2**32, "one partition's texts pass 4 GiB; use more partitions"
        if needed > len(self.data):
            longer = np.empty(max(int(len(self.data) * GROWTH), needed), np.uint8)
            longer[: self.used] = self.data[: self.used]
            self.block.bind(self.base, longer)


@jit
def free_rows(s: Any, table: int) -> int:
    """How many rows can still be taken."""
    base = table * TABLE_PLACES
    return int64(s[base + CAPACITY] - s[base + HIGH] + s[base + FREE_LEN])


@jit
def is_short(s: Any, table: int, rows: int) -> bool:
    """Whether a table or its index lacks room for so many rows."""
    base = table * TABLE_PLACES
    return free_rows(s, table) < rows or (s[base + LIVE] + rows) * 3 > s[base + INDEX_SIZE] * 2


@jit
def dirty_flags(s: Any, table: int) -> Any:
    """The flags of the rows that changed since the last save."""
    base = table * TABLE_PLACES
    return carray(pointer(s[base + DIRTY]), s[base + CAPACITY], np.uint8)


@jit
def touch(s: Any, table: int, slot: int) -> None:
    """Note that a row changes, so that the next save holds it."""
    base = table * TABLE_PLACES
    dirty = dirty_flags(s, table)
    if dirty[slot] == 0:
        dirty[slot] = 1
        touched = carray(pointer(s[base + TOUCHED]), s[base + CAPACITY], np.int32)
        touched[s[base + TOUCHED_LEN]] = slot
        s[base + TOUCHED_LEN] += 1


@jit
def set_live(s: Any, table: int, slot: int, live: int) -> None:
    """Write a row's first byte."""
    base = table * TABLE_PLACES
    row_bytes = s[base + ROW_BYTES]
    flags = carray(pointer(s[base + ROWS]), s[base + CAPACITY] * row_bytes, np.uint8)
    flags[slot * row_bytes] = live


@jit
def take(s: Any, table: int) -> int:
    """A free slot, now alive and touched. Its other fields hold what its last row left."""
    base = table * TABLE_PLACES
    if s[base + FREE_LEN] > 0:
        s[base + FREE_LEN] -= 1
        free = carray(pointer(s[base + FREE]), s[base + CAPACITY], np.int32)
        slot = int64(free[s[base + FREE_LEN]])
    else:
        slot = s[base + HIGH]
        assert slot < s[base + CAPACITY]  # the caller saw to the room
        s[base + HIGH] += 1
    s[base + LIVE] += 1
    set_live(s, table, slot, 1)
    touch(s, table, slot)
    return slot


@jit
def give(s: Any, table: int, slot: int) -> None:
    """Free a row's slot."""
    base = table * TABLE_PLACES
    set_live(s, table, slot, 0)
    touch(s, table, slot)
    free = carray(pointer(s[base + FREE]), s[base + CAPACITY], np.int32)
    free[s[base + FREE_LEN]] = slot
    s[base + FREE_LEN] += 1
    s[base + LIVE] -= 1


@jit
def clean(s: Any, table: int) -> None:
    """Forget what was touched: it has been saved."""
    base = table * TABLE_PLACES
    dirty = dirty_flags(s, table)
    touched = carray(pointer(s[base + TOUCHED]), s[base + CAPACITY], np.int32)
    for number in range(s[base + TOUCHED_LEN]):
        dirty[touched[number]] = 0
    s[base + TOUCHED_LEN] = 0


@jit
def recount(s: Any, table: int) -> None:
    """Rebuild the free stack and the counts from the rows, after they were loaded."""
    base = table * TABLE_PLACES
    row_bytes = s[base + ROW_BYTES]
    flags = carray(pointer(s[base + ROWS]), s[base + CAPACITY] * row_bytes, np.uint8)
    free = carray(pointer(s[base + FREE]), s[base + CAPACITY], np.int32)
    s[base + FREE_LEN] = 0
    s[base + LIVE] = 0
    s[base + TOUCHED_LEN] = 0
    for slot in range(s[base + HIGH] - 1, -1, -1):
        if flags[slot * row_bytes] == 1:
            s[base + LIVE] += 1
        else:
            free[s[base + FREE_LEN]] = slot
            s[base + FREE_LEN] += 1


# --- texts -------------------------------------------------------------------------------------


@jit
def word_at(data: Any, at: int) -> Any:
    """Eight bytes as one word; the compiler makes one load of it."""
    place = np.uint64(at)  # an unsigned index is never counted from the end
    word = np.uint64(0)
    for byte in range(8):
        word |= np.uint64(data[place + np.uint64(byte)]) << np.uint64(8 * byte)
    return word


@jit
def last_word(data: Any, at: int, length: int) -> Any:
    """The last bytes of a text as one word: eight, or all where there are fewer."""
    if length >= 8:
        return word_at(data, at + length - 8)
    word = np.uint64(0)
    for byte in range(length):
        word |= np.uint64(data[np.uint64(at + byte)]) << np.uint64(8 * byte)
    return word


@jit
def mix_text(seed: int, data: Any, at: int, length: int) -> int:
    """A 64-bit hash of a text. Eight bytes a step."""
    mixed = np.uint64(seed) ^ (np.uint64(length) * np.uint64(0x9E3779B97F4A7C15))
    for step in range(0, length - 8, 8):
        mixed = (mixed ^ word_at(data, at + step)) * np.uint64(0xD6E8FEB86659FD93)
        mixed ^= mixed >> np.uint64(32)
    mixed = (mixed ^ last_word(data, at, length)) * np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(32)
    mixed *= np.uint64(0xD6E8FEB86659FD93)
    mixed ^= mixed >> np.uint64(29)
    return int64(mixed)


@jit
def hash_text(seed: int, data: Any, at: int, length: int) -> int:
    """A 31-bit hash of a text."""
    return mix_text(seed, data, at, length) & 0x7FFFFFFF


@jit
def hash_numbers(a: int, b: int, c: int, d: int) -> int:
    """A 31-bit hash of four integers."""
    factor = np.uint64(0xD6E8FEB86659FD93)
    mixed = np.uint64(a) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(31)
    mixed = (mixed ^ np.uint64(b)) * factor
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed ^ np.uint64(c)) * factor
    mixed ^= mixed >> np.uint64(32)
    mixed = (mixed ^ np.uint64(d)) * factor
    mixed ^= mixed >> np.uint64(29)
    return int64(mixed & np.uint64(0x7FFFFFFF))


@jit
def same_text(left: Any, left_at: int, right: Any, right_at: int, length: int) -> bool:
    """Whether two texts of one length are equal. Eight bytes a step."""
    for step in range(0, length - 8, 8):
        if word_at(left, left_at + step) != word_at(right, right_at + step):
            return False
    return bool(last_word(left, left_at, length) == last_word(right, right_at, length))


@jit
def append_text(s: Any, arena: int, data: Any, at: int, length: int) -> int:
    """Copy a text into an arena; returns where it starts. The caller saw to the room."""
    kept = carray(pointer(s[arena + TEXT]), s[arena + TEXT_CAPACITY], np.uint8)
    start = s[arena + USED]
    assert start + length <= len(kept)
    for step in range(length):
        kept[start + step] = data[at + step]
    s[arena + USED] += length
    return start


# --- indexes: open addressing with linear probes ------------------------------------------------


@jit
def index_of(s: Any, table: int) -> Any:
    """A table's index."""
    base = table * TABLE_PLACES
    return carray(pointer(s[base + INDEX]), s[base + INDEX_SIZE], np.int64)


@jit
def insert(index: Any, hashed: int, slot: int) -> None:
    """Add an entry that the index does not hold."""
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        place = (place + 1) & mask
    index[place] = hashed << 32 | slot


@jit
def remove(index: Any, hashed: int, slot: int) -> None:
    """Remove an entry, moving later ones of its run back so that no probe meets a hole."""
    mask = len(index) - 1
    entry = hashed << 32 | slot
    place = hashed & mask
    while index[place] != entry:
        assert index[place] != EMPTY  # the entry is not there: a search would never end
        place = (place + 1) & mask
    hole = place
    place = (place + 1) & mask
    while index[place] != EMPTY:
        home = (index[place] >> 32) & mask
        if ((place - home) & mask) >= ((place - hole) & mask):
            index[hole] = index[place]
            hole = place
        place = (place + 1) & mask
    index[hole] = EMPTY


@jit
def fill_index(index: Any, old: Any) -> None:
    """Add every entry of another index."""
    for place in range(len(old)):
        if old[place] != EMPTY:
            insert(index, old[place] >> 32, old[place] & SLOT_MASK)
