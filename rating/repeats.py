"""Sessions that closed, remembered so that a record that comes again is known as a duplicate.

A closed session leaves one row: its account, a 64-bit mark of its device and its own text, and its
last `seen` and `last`. Rows are written once, in the order in which sessions close, onto pages of
slots. When the youngest row of a page is too old to matter, the whole page is given back, so that
nothing is searched and nothing is kept for each row but the row and its entry in an index of
four-byte slots. A session that closes again under the same key gets a new row in place of its old.

An index that is nearly full is followed by a larger one, into which some of the rows move with each
batch. Until all have moved, a key that the new index does not lead to is looked for in
the old one, which nobody changes any more: an entry there counts as long as its row has the key.

What is stored of the state are rows and nothing else. A row that was given back may still stand in
a stored page: loading drops it by its age, and of two rows of one key keeps the younger.
Source: spec section 2, step 2; docs/adr/0012-closed-sessions.md.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import int64, jit
from rating.tables import (
    FREE,
    FREE_LEN,
    HIGH,
    INDEX,
    INDEX_SIZE,
    LIVE,
    NONE,
    ROW_BYTES,
    ROWS,
    TABLE_PLACES,
    TOUCHED,
    Table,
    hash_numbers,
    lengthened,
    mix_text,
)
from tariffs.blocks import carray, pointer
from tariffs.calendar import DAY_MS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tariffs.blocks import Block

REPEATS = 10  # the table's number
BASE = REPEATS * TABLE_PLACES

MINUTE_MS = 60_000
CLOCK_AHEAD_MS = 5 * MINUTE_MS  # no record's time is further past R
TOO_LATE_MS = 35 * DAY_MS  # nor further behind it
LAG_MS_MAX = TOO_LATE_MS + 1

REPEAT = np.dtype(
    [
        ("live", "u1"),
        ("account", "<i4"),
        ("mark", "<i8"),
        ("seen_minute", "<i4"),
        ("seen_in_minute_ms", "<u2"),
        ("lag_ms", "<u4"),  # seen - last + CLOCK_AHEAD_MS, with `last` at most LAG_MS_MAX ago
    ]
)
PAGE = 1024  # slots that are taken and given back together
SLOT_COLUMN = np.arange(PAGE, dtype=np.int32)

INDEX_ENTRY = np.dtype(np.uint32)  # a slot plus 1
VACANT = 0
ENTRIES_MIN = 64

# At a table's places for free slots stand the slots to come, in the order in which they are taken;
# at FREE_LEN how many of them were.
COMING = BASE + FREE
TAKEN = BASE + FREE_LEN
# And at those of its touched rows the index that is being followed, if any.
OLD_INDEX = BASE + TOUCHED
MOVED = BASE + TABLE_PLACES - 1  # the slots below this have moved to the new index
MOVES = 16  # rows that move for each one written: all have, long before the new index is full


class Repeats(Table):
    """The table of closed sessions, as the uncompiled code sees it.

    Call `make_room` before compiled code closes sessions, and `settle` once the state is saved.
    """

    def __init__(self, block: Block) -> None:
        self.block = block
        self.base = BASE
        self.dtype = REPEAT
        block.places[BASE + ROW_BYTES] = REPEAT.itemsize
        block.bind(BASE + ROWS, np.zeros(PAGE, REPEAT))
        block.bind(BASE + INDEX, np.zeros(ENTRIES_MIN, INDEX_ENTRY))
        block.bind(OLD_INDEX, np.empty(0, INDEX_ENTRY))
        block.bind(COMING, np.empty(0, np.int32))
        self._taken: list[NDArray[np.int32]] = []  # since the last save
        self._filling: deque[tuple[int, int]] = deque()  # page, and slots of it to come
        self._filled: deque[tuple[int, int]] = deque()  # its youngest row's minute, and the page
        self._empty: list[int] = []

    @property
    def touched(self) -> NDArray[np.int32]:
        """The slots written since the last save."""
        return np.concatenate([*self._taken, self._coming[: self._taken_now]])

    @property
    def _coming(self) -> NDArray[np.int32]:
        slots: NDArray[np.int32] = self.block.array(COMING)
        return slots

    @property
    def _taken_now(self) -> int:
        return int(self.block.places[TAKEN])

    def make_room(self, more: int) -> None:
        """Grow until `more` sessions can be remembered."""
        if len(self._coming) - self._taken_now < more:
            self._set_aside()
            parts = [self._coming]
            for _ in range(-(-(more - len(self._coming)) // PAGE)):
                page = self._empty.pop() if self._empty else self._new_page()
                self._filling.append((page, PAGE))
                parts.append(page * PAGE + SLOT_COLUMN)
            self.block.bind(COMING, np.concatenate(parts))
        entries = self.live + more
        if entries * 4 > int(self.block.places[BASE + INDEX_SIZE]) * 3:
            self._move(self.high)  # a few, or this batch brought as many as there were
            self.block.bind(OLD_INDEX, self.block.array(BASE + INDEX))
            self.block.bind(BASE + INDEX, np.zeros(entries * 5 // 3, INDEX_ENTRY))
            self.block.places[MOVED] = 0

    def _move(self, rows: int) -> None:
        """Let the next so many rows move to the new index, if an old one is being followed."""
        places = self.block.places
        if places[OLD_INDEX + 1] and move_rows(places, rows):
            self.block.bind(OLD_INDEX, np.empty(0, INDEX_ENTRY))

    def _set_aside(self) -> None:
        """Take the slots that were used off the list of those to come."""
        if taken := self._taken_now:
            self._taken.append(self._coming[:taken])
            self.block.bind(COMING, self._coming[taken:])
            self.block.places[TAKEN] = 0

    def _new_page(self) -> int:
        """A page behind all others."""
        high = self.high
        if high + PAGE > len(self.rows):
            longer = lengthened(self.rows[:high], max(high + PAGE, high * 3 // 2))
            self.block.bind(BASE + ROWS, longer)
        self.block.places[BASE + HIGH] = high + PAGE
        return high // PAGE

    def settle(self) -> int:
        """What was written has been saved. Returns how many rows that were."""
        self._set_aside()
        written = taken = sum(map(len, self._taken))
        self._taken = []
        while self._filling and taken >= self._filling[0][1]:
            page, slots = self._filling.popleft()
            taken -= slots
            self._filled.append((self._youngest_minute(page), page))
        if taken:
            page, slots = self._filling[0]
            self._filling[0] = (page, slots - taken)
        self._move(MOVES * written + PAGE)
        return written

    def _youngest_minute(self, page: int) -> int:
        rows = self.rows[page * PAGE : (page + 1) * PAGE]
        return int(rows["seen_minute"][rows["live"] == 1].max(initial=-(2**31)))

    def forget(self, before_ms: int, rows: int) -> None:
        """Give pages back whose rows were all last seen before an instant.

        rows: how many were written meanwhile; the work is in proportion to it.
        """
        for _ in range(2 * rows // PAGE + 2):
            if not self._filled or self._filled[0][0] >= before_ms // MINUTE_MS:
                break
            _, page = self._filled.popleft()
            forget_rows(self.block.places, page * PAGE, (page + 1) * PAGE)
            self._empty.append(page)

    def load(self, rows: NDArray[np.void]) -> None:
        """Take over rows by slot, as they were saved; `restore` must follow."""
        high = -(-len(rows) // PAGE) * PAGE
        self.block.bind(BASE + ROWS, lengthened(rows, max(high, PAGE)))
        self.block.places[BASE + HIGH] = high
        self.block.places[BASE + LIVE] = int(np.count_nonzero(rows["live"]))

    def restore(self, before_ms: int) -> None:
        """Index loaded rows, without those last seen before an instant, and sort their pages."""
        self.block.bind(BASE + INDEX, np.zeros(max(ENTRIES_MIN, self.live * 5 // 3), INDEX_ENTRY))
        index_rows(self.block.places, before_ms)
        live = self.rows["live"][: self.high].reshape(-1, PAGE)
        filled, coming = [], [self._coming]
        for page, rows in enumerate(live.sum(1, dtype=np.int64).tolist()):
            if rows == 0:
                self._empty.append(page)
            elif rows > PAGE // 2:
                filled.append((self._youngest_minute(page), page))
            else:  # filled up first, so that frequent starts leave no half-empty pages behind
                self._filling.append((page, PAGE - rows))
                coming.append(page * PAGE + SLOT_COLUMN[live[page] == 0])
        self._filled.extend(sorted(filled))
        self.block.bind(COMING, np.concatenate(coming))


# --- compiled ------------------------------------------------------------------------------------


@jit
def repeats(s: Any) -> Any:
    """Rows of closed sessions."""
    return carray(pointer(s[BASE + ROWS]), s[BASE + ROWS + 1], REPEAT)


@jit
def repeat_index(s: Any) -> Any:
    """Their index: open addressing with linear probes, in a table of any size."""
    return carray(pointer(s[BASE + INDEX]), s[BASE + INDEX_SIZE], np.uint32)


@jit
def repeats_short(s: Any, more: int) -> bool:
    """Whether fewer than `more` sessions can be remembered before room must be made."""
    return bool(
        s[COMING + 1] - s[TAKEN] < more or (s[BASE + LIVE] + more) * 4 > s[BASE + INDEX_SIZE] * 3
    )


@jit
def key_mark(text: Any, device_at: int, device_len: int, key_at: int, key_len: int) -> int:
    """The mark of a session's device and its own text."""
    return mix_text(mix_text(1, text, device_at, device_len), text, key_at, key_len)


@jit
def home_of(account: int, mark: int, size: int) -> int:
    """The place in an index of this size where a key is looked for first."""
    return hash_numbers(account, mark, 0, 0) * size >> 31


@jit
def next_place(place: int, size: int) -> int:
    """The place after it."""
    return place + 1 if place + 1 < size else int64(0)


@jit
def find_entry(s: Any, account: int, mark: int) -> int:
    """The place of a key in the index, or that where it would be entered."""
    index = repeat_index(s)
    place = home_of(account, mark, len(index))
    while index[place] != VACANT:
        row = repeats(s)[int64(index[place]) - 1]
        if row.mark == mark and row.account == account:
            break
        place = next_place(place, len(index))
    return place


@jit
def find_old(s: Any, account: int, mark: int) -> int:
    """The slot of a key's row by the index that is being followed, or NONE."""
    size = s[OLD_INDEX + 1]
    if size == 0:
        return int64(NONE)
    old = carray(pointer(s[OLD_INDEX]), size, np.uint32)
    place = home_of(account, mark, size)
    while old[place] != VACANT:
        row = repeats(s)[int64(old[place]) - 1]
        if row.live == 1 and row.mark == mark and row.account == account:
            return int64(old[place]) - 1
        place = next_place(place, size)
    return int64(NONE)


@jit
def find_repeat(s: Any, account: int, mark: int) -> int:
    """The slot of a key's row, or NONE."""
    entry = int64(repeat_index(s)[find_entry(s, account, mark)])
    return find_old(s, account, mark) if entry == VACANT else entry - 1


@jit
def was_watched(s: Any, account: int, mark: int, time_ms: int, since_ms: int) -> bool:
    """Whether a session of this key closed, seen at `since` or later, and not before `time`."""
    slot = find_repeat(s, account, mark)
    if slot == NONE:
        return False
    row = repeats(s)[slot]
    seen_ms = seen_of(row)
    return bool(seen_ms >= since_ms and time_ms <= seen_ms - int64(row.lag_ms) + CLOCK_AHEAD_MS)


@jit
def seen_of(row: Any) -> int:
    """R at the session's last record."""
    return int64(row.seen_minute) * MINUTE_MS + int64(row.seen_in_minute_ms)


@jit
def remember(s: Any, account: int, mark: int, seen_ms: int, last_ms: int) -> None:
    """Write down a session that closes, in place of an earlier one of its key.

    A `last` more than 35 days before `seen` is as good as any other that far: no record is late
    enough to be compared with it.
    """
    slots = carray(pointer(s[COMING]), s[COMING + 1], np.int32)
    earlier = find_old(s, account, mark)
    if earlier != NONE:
        drop_row(s, earlier)
    slot = int64(slots[s[TAKEN]])
    s[TAKEN] += 1
    row = repeats(s)[slot]
    row.live = 1
    row.account = account
    row.mark = mark
    row.seen_minute = seen_ms // MINUTE_MS
    row.seen_in_minute_ms = seen_ms % MINUTE_MS
    row.lag_ms = min(seen_ms - last_ms, int64(LAG_MS_MAX)) + CLOCK_AHEAD_MS
    enter(s, slot)
    s[BASE + LIVE] += 1


@jit
def enter(s: Any, slot: int) -> None:
    """Let the index lead from a row's key to it; the row that it led to is dead."""
    row = repeats(s)[slot]
    index = repeat_index(s)
    place = find_entry(s, int64(row.account), int64(row.mark))
    if index[place] != VACANT:
        repeats(s)[int64(index[place]) - 1].live = 0
        s[BASE + LIVE] -= 1
    index[place] = slot + 1


@jit
def index_rows(s: Any, before_ms: int) -> None:
    """Fill an empty index. Rows last seen before an instant die, and the elder of two of one key."""
    index = repeat_index(s)
    for slot in range(s[BASE + HIGH]):
        row = repeats(s)[slot]
        if row.live == 0:
            continue
        if seen_of(row) < before_ms:
            row.live = 0
            s[BASE + LIVE] -= 1
            continue
        other = int64(index[find_entry(s, int64(row.account), int64(row.mark))])
        if other == VACANT or not is_younger(repeats(s)[other - 1], row):
            enter(s, slot)
        else:
            row.live = 0
            s[BASE + LIVE] -= 1


@jit
def is_younger(row: Any, other: Any) -> bool:
    """Whether a row's session closed after another of the same key."""
    if seen_of(row) != seen_of(other):
        return bool(seen_of(row) > seen_of(other))
    return bool(row.lag_ms < other.lag_ms)


@jit
def forget_rows(s: Any, first: int, past: int) -> None:
    """Take a range of rows out of the index; their slots may be taken again."""
    for slot in range(first, past):
        if repeats(s)[slot].live == 1:
            drop_row(s, slot)


@jit
def drop_row(s: Any, slot: int) -> None:
    """Let a live row die, and take it out of the new index if it has come there."""
    row = repeats(s)[slot]
    row.live = 0
    s[BASE + LIVE] -= 1
    index = repeat_index(s)
    place = place_of(s, index, slot)
    if index[place] != VACANT:
        close_gap(s, index, place)


@jit
def place_of(s: Any, index: Any, slot: int) -> int:
    """The place of a row's entry in an index, or that where it would be entered."""
    row = repeats(s)[slot]
    place = home_of(int64(row.account), int64(row.mark), len(index))
    while index[place] != VACANT and int64(index[place]) != slot + 1:
        place = next_place(place, len(index))
    return place


@jit
def move_rows(s: Any, rows: int) -> bool:
    """Enter the next so many rows into the new index. Returns whether that were all."""
    index = repeat_index(s)
    past = min(s[MOVED] + rows, s[BASE + HIGH])
    for slot in range(s[MOVED], past):
        if repeats(s)[slot].live == 1:
            index[place_of(s, index, slot)] = slot + 1
    s[MOVED] = past
    return bool(past == s[BASE + HIGH])


@jit
def close_gap(s: Any, index: Any, gap: int) -> None:
    """Remove an entry, moving later ones of its run back so that no probe meets a hole."""
    size = len(index)
    place = next_place(gap, size)
    while index[place] != VACANT:
        row = repeats(s)[int64(index[place]) - 1]
        home = home_of(int64(row.account), int64(row.mark), size)
        if (place - home) % size >= (place - gap) % size:
            index[gap] = index[place]
            gap = place
        place = next_place(place, size)
    index[gap] = VACANT
