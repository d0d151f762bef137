"""Saving and loading state: what changed with every batch, a page of the rest now and then.

A batch saves the rows that it touched as columns (rating/chunks.py), the chunk "delta" with the
batch's number. Beside it, pages (ranges of slots of one table) are saved whole, one after the
other, as many bytes of pages as of deltas. Once every page is newer than a delta, the delta is
dropped. So a save costs what its batch changed, nothing ever stops to write the whole state, and
what is stored stays within a small multiple of the state. Small deltas, as a quiet log gives by the
thousand, are merged into one from time to time, so that a start has few to read. Loading applies all chunks in the order
of their numbers; whatever is in a page already holds the deltas before it.
Chunks of this version of the state and of earlier ones lie beside each other: what is loaded is
upgraded (rating/upgrades.py), and what is saved is of this version.
Source: architecture decisions 2, 4 and 9.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from rating.chunks import TOTALS_NAME, Part, damaged, pack, unpack
from rating.jit import int64, jit
from rating.names import reindex
from rating.schemas import StateChunk
from rating.state import DECLARED, INDEXED, TABLES, TOTALS, TOTALS_AT, State
from rating.tables import append_text, clean, lengthened, make_index_room, unfielded
from rating.upgrades import known_totals, upgraded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from rating.state import Columns
    from rating.tables import Arena

DELTA = "delta"
PAGE_ROWS = 4096
PAGE_COST_MIN_BYTES = 1 << 15  # so that a small state is not saved whole with every batch
PAGE_COMPRESSION = 3  # a page takes about so much less than its rows
SMALL_DELTA_BYTES = 1 << 16
SMALL_DELTAS_MAX = 64  # then they become one
BLOCK_ROWS = 4096  # of which rows and columns fit the processor's cache


@jit
def _gather_text(data: Any, at: Any, lengths: Any, gathered: Any, offsets: Any) -> None:
    """Copy ranges of an arena one behind the other."""
    end = int64(0)
    for number in range(len(at)):
        start = int64(at[number])
        for step in range(lengths[number]):
            gathered[end + step] = data[start + step]
        end += lengths[number]
        offsets[number + 1] = end


def _gathered(
    data: NDArray[np.uint8], at: NDArray[Any], lengths: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Ranges of an arena: where each begins and the last one ends, and their bytes."""
    gathered = np.empty(int(lengths.sum()), np.uint8)
    offsets = np.zeros(len(at) + 1, np.int64)
    _gather_text(data, at, lengths, gathered, offsets)
    return offsets, gathered


def gather_text(data: NDArray[np.uint8], at: NDArray[Any], lengths: NDArray[np.int64]) -> pa.Array:
    """Ranges of an arena as an Arrow array of strings."""
    offsets, gathered = _gathered(data, at, lengths)
    return pa.LargeStringArray.from_buffers(len(at), pa.py_buffer(offsets), pa.py_buffer(gathered))


def _text_lengths(name: str, rows: Columns | NDArray[np.void]) -> NDArray[np.int64]:
    """How long each row's text is; 0 for freed rows, whose text may be gone."""
    total = np.zeros(len(rows["live"]), np.int64)
    for field in DECLARED[name].text:
        total += rows[field]
    return np.where(rows["live"] == 1, total, 0)


def _part(state: State, name: str, slots: NDArray[np.int32]) -> Part:
    """Rows of a table as columns, with their slots and texts."""
    declared = DECLARED[name]
    rows = state.table(name).copies(slots)
    columns = {field: np.ascontiguousarray(rows[field]) for field in declared.stored}
    if not declared.arena:
        return Part(name, columns, slots)
    arena: Arena = getattr(state, declared.arena)
    lengths = _text_lengths(name, columns)
    return Part(name, columns, slots, _gathered(arena.data, rows["at"], lengths))


def _pack(state: State, slots_of: dict[str, NDArray[np.int32]]) -> bytes:
    """The totals and rows of some tables as one chunk's bytes."""
    totals = {name: np.array([value], np.int64) for name, value in state.totals().items()}
    return pack(
        [
            Part(TOTALS_NAME, totals, np.empty(0, np.int32)),
            *(_part(state, name, slots) for name, slots in slots_of.items() if len(slots)),
        ]
    )


class Saver:
    """Says how the stored state changes with each batch.

    chunks: the names and numbers of what is stored already.
    """

    def __init__(self, chunks: Sequence[tuple[str, int]] = ()) -> None:
        self._deltas = [seq for name, seq in chunks if name == DELTA]
        self._pages = {name: seq for name, seq in chunks if name != DELTA}
        self._seq = max((seq for _, seq in chunks), default=0)
        self._credit_bytes = 0
        self._next: tuple[int, int] = (0, 0)  # table number and page to write next
        self._small: list[int] = []  # the small deltas since they were last merged
        self._small_slots: dict[str, list[NDArray[np.int32]]] = {name: [] for name in TABLES}

    def save(self, state: State) -> tuple[tuple[StateChunk, ...], tuple[tuple[str, int], ...]]:
        """Chunks to add and (name, number) of chunks to drop; the state counts as saved."""
        self._seq += 1
        touched = {name: np.sort(state.table(name).touched) for name in TABLES}
        delta = _pack(state, touched)
        dropped: list[tuple[str, int]] = []
        self._deltas.append(self._seq)
        if len(delta) < SMALL_DELTA_BYTES:
            delta, dropped = self._merged(state, touched, delta)
        added = [StateChunk(DELTA, self._seq, delta)]
        self._credit_bytes += len(delta)
        for page in self._due_pages(state):
            chunk = self._page(state, *page)
            if chunk.name in self._pages:
                dropped.append((chunk.name, self._pages[chunk.name]))
            self._pages[chunk.name] = self._seq
            added.append(chunk)
        dropped += self._pages_past(state)
        dropped += [(DELTA, seq) for seq in self._superseded(state)]
        for number in range(len(TABLES)):
            clean(state.places, number)
        return tuple(added), tuple(dropped)

    def _merged(
        self, state: State, touched: dict[str, NDArray[np.int32]], delta: bytes
    ) -> tuple[bytes, list[tuple[str, int]]]:
        """A small delta; or one in place of many that were stored, with all their rows as of now."""
        self._small.append(self._seq)
        for name, slots in touched.items():
            self._small_slots[name].append(slots)
        if len(self._small) < SMALL_DELTAS_MAX:
            return delta, []
        merged = {name: np.unique(np.concatenate(each)) for name, each in self._small_slots.items()}
        replaced = (set(self._small) & set(self._deltas)) - {self._seq}
        self._deltas = [seq for seq in self._deltas if seq not in replaced]
        self._small = []
        self._small_slots = {name: [] for name in TABLES}
        return _pack(state, merged), [(DELTA, seq) for seq in sorted(replaced)]

    def _due_pages(self, state: State) -> Iterable[tuple[str, int]]:
        """The pages whose turn it is, for the bytes that deltas have earned."""
        names = list(TABLES)
        for _ in range(10_000):
            table, page = self._next
            name = names[table]
            if page * PAGE_ROWS >= state.table(name).high:
                self._next = ((table + 1) % len(names), 0)
                if self._next == (0, 0):
                    return
                continue
            rows = min(PAGE_ROWS, state.table(name).high)
            cost = max(PAGE_COST_MIN_BYTES, rows * TABLES[name].itemsize // PAGE_COMPRESSION)
            if self._credit_bytes < cost:
                return
            self._credit_bytes -= cost
            self._next = (table, page + 1)
            yield name, page

    def _page(self, state: State, name: str, page: int) -> StateChunk:
        """A range of a table's slots, saved whole."""
        high = state.table(name).high
        slots = np.arange(page * PAGE_ROWS, min(high, (page + 1) * PAGE_ROWS), dtype=np.int32)
        return StateChunk(f"{name}:{page}", self._seq, _pack(state, {name: slots}))

    def _pages_past(self, state: State) -> list[tuple[str, int]]:
        """Stored pages beyond the last row of their table; they are forgotten here too.

        A table that was loaded ends with its last live row. What lies beyond is dead by now, but
        only deltas say so, and those are not kept for a page that is never written again.
        """
        past = [
            (name, seq)
            for name, seq in self._pages.items()
            if int(name.partition(":")[2]) * PAGE_ROWS >= state.table(name.partition(":")[0]).high
        ]
        for name, _ in past:
            del self._pages[name]
        return past

    def _superseded(self, state: State) -> list[int]:
        """The deltas older than every page; they are forgotten here too."""
        oldest = self._seq
        for name in TABLES:
            pages = -(-state.table(name).high // PAGE_ROWS)
            for page in range(pages):
                oldest = min(oldest, self._pages.get(f"{name}:{page}", 0))
                if oldest == 0:
                    return []
        past = [seq for seq in self._deltas if seq <= oldest and seq != self._seq]
        self._deltas = [seq for seq in self._deltas if seq not in past]
        return past


def load_state(chunks: Iterable[StateChunk]) -> State:
    """The state that a partition's chunks hold, of whatever version each is.

    Raises: StateUnreadable.
    """
    loaded = {name: _Loading(name) for name in TABLES}
    totals: dict[str, int] = {}
    for chunk in sorted(chunks, key=lambda chunk: chunk.seq):
        version, parts = unpack(chunk.payload)
        for part in parts:
            if part.name == TOTALS_NAME:
                found = {field: int(values[0]) for field, values in part.columns.items()}
                totals = known_totals(found, version)
            elif (columns := upgraded(part.name, part.columns, version)) is not None:
                loaded[part.name].apply(part, columns)
    return _assemble(loaded, totals)


class _Loading:
    """A table being filled from chunks: rows by slot, and where each row's text lies."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = np.zeros(0, TABLES[name])
        self.text_of = np.full(0, -1, np.int64)
        self.texts: list[NDArray[np.uint8]] = []
        self.text_bytes = 0

    def apply(self, part: Part, columns: Columns) -> None:
        """Take rows over those that were in their slots. Raises: StateUnreadable."""
        slots = part.slots
        high = int(slots.max(initial=-1)) + 1
        if high > len(self.rows):
            self.rows = lengthened(self.rows, max(high, int(len(self.rows) * 1.5)))
            text_of = np.full(len(self.rows), -1, np.int64)
            text_of[: len(self.text_of)] = self.text_of
            self.text_of = text_of
        _put(self.rows, slots, columns)
        if DECLARED[self.name].arena:
            offsets, texts = part.text or (np.zeros(1, np.int64), np.empty(0, np.uint8))
            if not np.array_equal(np.diff(offsets), _text_lengths(self.name, columns)):
                raise damaged(f"texts of table {self.name} have not the lengths that it says")
            self.text_of[slots] = self.text_bytes + offsets[:-1] - offsets[0]
            self.texts.append(texts[offsets[0] : offsets[-1]].copy())
            self.text_bytes += int(offsets[-1] - offsets[0])


def _put(rows: NDArray[np.void], slots: NDArray[np.int32], columns: Columns) -> None:
    """Write columns as rows into their slots, block by block; what is not stored stays 0."""
    in_order = len(slots) > 0 and bool((np.diff(slots) == 1).all())  # as in a page
    block = np.zeros(0 if in_order else min(BLOCK_ROWS, len(slots)), rows.dtype)
    whole = unfielded(rows.dtype)
    for first in range(0, len(slots), BLOCK_ROWS):
        part = slots[first : first + BLOCK_ROWS]
        target = rows[part[0] : part[-1] + 1] if in_order else block[: len(part)]
        for field, values in columns.items():
            target[field] = values[first : first + BLOCK_ROWS]
        if not in_order:
            rows.view(whole)[part] = target.view(whole)


@jit
def _place_text(s: Any, arena: int, data: Any, text_of: Any, lengths: Any, at: Any) -> None:
    """Append each row's text to the arena, and note where."""
    for slot in range(len(lengths)):
        if lengths[slot] > 0:
            at[slot] = append_text(s, arena, data, text_of[slot], lengths[slot])


def _assemble(loaded: dict[str, _Loading], totals: dict[str, int]) -> State:
    """Tables, indexes and arenas from loaded rows."""
    state = State()
    for number, (name, loading) in enumerate(loaded.items()):
        table = state.table(name)
        live = np.flatnonzero(loading.rows["live"] == 1)
        high = int(live[-1]) + 1 if len(live) else 0
        rows = loading.rows[:high]
        if DECLARED[name].arena:
            lengths = _text_lengths(name, rows)
            arena: Arena = getattr(state, DECLARED[name].arena)
            arena.make_room(int(lengths.sum()))
            data = np.concatenate(loading.texts) if loading.texts else np.empty(0, np.uint8)
            at = np.zeros(high, np.int64)
            _place_text(state.places, arena.base, data, loading.text_of[:high], lengths, at)
            rows["at"] = at
        table.load(rows)
        if name in INDEXED:
            make_index_room(state.block, number, 256)
            reindex(state.places, number)
    for place, field in enumerate(TOTALS):
        state.places[TOTALS_AT + place] = totals.get(field, int(state.places[TOTALS_AT + place]))
    return state
