"""The core's state of one partition: what each row holds, and where the compiled code finds it.

Texts that come from a small vocabulary (contents, kinds, plans, rule ids) are numbers in `names`;
each account, session, order and top-up keeps its own text in the arena `texts`. Rows that belong
to another row (the lines of a session, the active orders of an account) hang from it as a list
linked by `next`. NONE ends a list.
Source: spec sections 2, 4, 5, 6; architecture decision 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rating.jit import jit
from rating.repeats import INDEX_ENTRY, REPEAT, REPEATS, Repeats
from rating.schemas import TEXT_BYTES_MAX
from rating.tables import (
    ARENA_PLACES,
    CAPACITY,
    INDEX_SIZE,
    LIVE,
    ROWS,
    TABLE_PLACES,
    TEXT,
    TEXT_CAPACITY,
    Arena,
    Table,
    make_index_room,
)
from tariffs.blocks import Block, carray, pointer
from tariffs.model import EVER_MS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Columns = dict[str, NDArray[Any]]

# Raised once for each release that changes a declaration below: docs/adr/0013-state-has-versions.md.
STATE_VERSION = 2
STATE_RELEASE = "0.2.0"  # the first release that reads this version

UNSET_MS = EVER_MS
HOUR_MS = 3_600_000

NAME = np.dtype([("live", "u1"), ("at", "<u4"), ("len", "<u4")])

ACCOUNT = np.dtype(
    [
        ("live", "u1"),
        ("exhausted", "u1"),
        ("bill_day", "u1"),
        ("out_of_bounds", "u1"),  # 1: no further piece is priced, see pieces.note_bounds
        ("at", "<u4"),
        ("len", "<u2"),
        ("plan", "<i4"),  # NONE: never opened
        ("region", "<i4"),
        ("packages", "<i4"),  # the name of the list, its packages' texts joined by SEPARATOR
        ("orders", "<i4"),  # first of its orders that may still cover something
        ("balance_micros", "<i8"),
        ("topups_micros", "<i8"),
        ("paid_micros", "<i8"),
        ("purchases_micros", "<i8"),
        ("refunds_micros", "<i8"),
    ]
)

SESSION = np.dtype(
    [
        ("live", "u1"),
        ("playing", "u1"),
        ("state", "u1"),
        ("has_playhead", "u1"),
        ("account", "<i4"),
        ("at", "<u4"),  # the device's text, and behind it the session's
        ("device_len", "<u2"),
        ("session_len", "<u2"),
        ("content", "<i4"),
        ("kind", "<i4"),
        ("quality", "<i4"),
        ("rate_milli", "<i4"),
        ("lines", "<i4"),
        ("tallies", "<i4"),
        ("due", "<i4"),  # the bucket that looks at it when idle; see rating/expiry.py
        ("start_ms", "<i8"),
        ("last_ms", "<i8"),
        ("seen_ms", "<i8"),
        ("playhead_ms", "<i8"),
    ]
)

LINE = np.dtype(
    [
        ("live", "u1"),
        ("next", "<i4"),
        ("quality", "<i4"),
        ("kind", "<i4"),
        ("plan", "<i4"),
        ("book", "<i4"),
        ("rule", "<i4"),  # a name, or NO_RULE, UNKNOWN_PLAN, NO_BOOK, OUT_OF_BOUNDS
        ("region", "<i4"),
        ("money", "<i4"),  # NONE on covered and suspended lines
        ("hour", "<i4"),  # hours since the epoch
        ("start_in_hour_ms", "<i4"),
        ("end_in_hour_ms", "<i4"),
        ("watched_ms", "<i4"),
    ]
)
NO_RULE = -2
UNKNOWN_PLAN = -3
NO_BOOK = -4
OUT_OF_BOUNDS = -5

MONEY = np.dtype(
    [
        ("live", "u1"),
        ("prepaid", "u1"),
        ("inclusive", "u1"),
        ("next", "<i4"),  # first of its steps
        ("percent_micros", "<i8"),  # the tax rate when the line began
        ("billed_ms", "<i8"),
        ("free_ms", "<i8"),
        ("gross_micros", "<i8"),
        ("discount_micros", "<i8"),
        ("capped_micros", "<i8"),
        ("paid_micros", "<i8"),
        ("unfunded_micros", "<i8"),
    ]
)

# What a counter counts; also the step of section 4 that moves it. UNFUNDED is what prepaid pieces
# in the scope of a price's counter came to beyond what was paid for them.
MEASURE, ALLOW, PRICE, DISCOUNT, CAP, BALANCE, UNFUNDED = range(7)

STEP = np.dtype(
    [
        ("live", "u1"),
        ("step", "u1"),
        ("per", "u1"),
        ("next", "<i4"),
        ("name", "<i4"),
        ("period", "<i4"),
        ("before", "<i8"),  # the counter as the line's first piece found it
        ("after", "<i8"),  # and as its last piece left it
        ("moved", "<i8"),  # by this line alone; other viewing may have moved it in between
    ]
)

TALLY = np.dtype(  # a counter that lives as long as its segment
    [("live", "u1"), ("step", "u1"), ("next", "<i4"), ("name", "<i4"), ("value", "<i8")]
)

COUNTER = np.dtype(  # a counter of an account and a period, or of an account and a content
    [
        ("live", "u1"),
        ("step", "u1"),
        ("per", "u1"),
        ("account", "<i4"),
        ("name", "<i4"),
        ("period", "<i4"),
        ("value", "<i8"),
    ]
)

ORDER = np.dtype(
    [
        ("live", "u1"),
        ("status", "u1"),
        ("prepaid", "u1"),
        ("account", "<i4"),
        ("at", "<u4"),  # the id's text, and behind it the device's
        ("len", "<u2"),
        ("device_len", "<u2"),
        ("next", "<i4"),  # among the account's active orders
        ("book", "<i4"),
        ("offer", "<i4"),
        ("offer_row", "<i4"),  # of the compiled books; found again at each start
        ("quality", "<i4"),
        ("plan", "<i4"),
        ("region", "<i4"),
        ("time_ms", "<i8"),
        ("price_micros", "<i8"),
        ("tax_micros", "<i8"),
        ("total_micros", "<i8"),
        ("first_play_ms", "<i8"),  # UNSET_MS before a rental's first covered piece
    ]
)
ACTIVE, CANCELLED, DECLINED = range(3)
ORDER_STATUS = ("active", "cancelled", "declined")

TOPUP = np.dtype(  # an id that was seen
    [("live", "u1"), ("account", "<i4"), ("at", "<u4"), ("len", "<u2")]
)

# Tables of the state, by number:
(
    NAMES,
    ACCOUNTS,
    SESSIONS,
    LINES,
    MONEYS,
    STEPS,
    TALLIES,
    COUNTERS,
    ORDERS,
    TOPUPS,
) = range(10)
MATCHES = 11  # a table that is not kept: see rating/scratch.py


class Growth(NamedTuple):
    """How many rows of a table one window of records can take.

    a_record: for each record; a_piece: for each piece; a_step: for each counter that a piece moves.
    """

    a_record: int = 0
    a_piece: int = 0
    a_step: int = 0

    def rows(self, records: int, pieces: int, steps: int) -> int:
        """The rows that so many records, pieces of them and steps of those can take."""
        return self.a_record * records + self.a_piece * pieces + self.a_step * steps


@dataclass(frozen=True, slots=True)
class Declaration:
    """All that is said of a table of the state.

    row: its fields by name and type; the first is `live`.
    growth: what room a window of records needs.
    text: a row's text is so many bytes: the sum of these fields. arena: where the texts lie.
    is_indexed: rows are found by their key.
    derived: fields that are not stored, since they are made again from the others.

    What reads the state of earlier versions (rating/upgrades.py):
    added: what a field holds in rows that were stored before it was there.
    renamed: a field's name now, and before. dropped: fields that were stored once, and are forgotten.
    steps: for a version, what makes the columns of that version of those of the version before.
    """

    row: np.dtype[np.void]
    growth: Growth
    text: tuple[str, ...] = ()
    arena: str = ""
    is_indexed: bool = False
    derived: tuple[str, ...] = ()
    added: Mapping[str, int] = field(default_factory=dict)
    renamed: Mapping[str, str] = field(default_factory=dict)
    dropped: tuple[str, ...] = ()
    steps: Mapping[int, Callable[[Columns], Columns]] = field(default_factory=dict)

    @property
    def stored(self) -> tuple[str, ...]:
        """The fields that are stored."""
        own = {*self.derived, "at"} if self.arena else set(self.derived)
        return tuple(name for name in self.row.names or () if name not in own)


DECLARED = {
    "names": Declaration(NAME, Growth(a_record=4), ("len",), "words", is_indexed=True),
    "accounts": Declaration(
        ACCOUNT,
        Growth(a_record=1),
        ("len",),
        "texts",
        is_indexed=True,
        added={"out_of_bounds": 0},
    ),
    "sessions": Declaration(
        SESSION,
        Growth(a_record=1),
        ("device_len", "session_len"),
        "texts",
        is_indexed=True,
        derived=("due",),
    ),
    "lines": Declaration(LINE, Growth(a_piece=1)),
    "moneys": Declaration(MONEY, Growth(a_piece=1)),
    "steps": Declaration(STEP, Growth(a_piece=3, a_step=1)),
    "tallies": Declaration(TALLY, Growth(a_piece=3)),
    "counters": Declaration(COUNTER, Growth(a_step=1), is_indexed=True),
    "orders": Declaration(
        ORDER,
        Growth(a_record=1),
        ("len", "device_len"),
        "texts",
        is_indexed=True,
        derived=("offer_row",),
    ),
    "topups": Declaration(TOPUP, Growth(a_record=1), ("len",), "texts", is_indexed=True),
    "repeats": Declaration(REPEAT, Growth(a_record=1)),  # number REPEATS; see rating/repeats.py
}
assert tuple(DECLARED)[REPEATS] == "repeats"
# Texts but those of names are of records' own texts, which have at most TEXT_BYTES_MAX
# (rating/rater.py holds it), so 16 bits are enough for their lengths.
assert TEXT_BYTES_MAX < 2**16
DROPPED: tuple[str, ...] = ()  # tables and totals that were stored once, and are forgotten
TABLES = {name: declared.row for name, declared in DECLARED.items()}
TEXT_LENGTHS = {name: declared.text for name, declared in DECLARED.items() if declared.text}
INDEXED = tuple(name for name, declared in DECLARED.items() if declared.is_indexed)

WORDS = (MATCHES + 1) * TABLE_PLACES  # the arena of the names' texts; names are never freed
TEXTS = WORDS + ARENA_PLACES  # the arena of all other texts

TOTALS = (
    "clock_ms",
    "leapt",  # 1 where the last well-formed record was over 35 days past the clock before it
    "records",
    "applied",
    "suspended",
    "duplicates",
    "out_of_order",
    "orphan_stops",
    "watched_ms",  # by sessions
    "rated_ms",  # by pieces: equal to watched_ms, or a law is broken
    "ended_ms",  # of charges and suspense rows
)
TOTALS_AT = TEXTS + ARENA_PLACES
(
    CLOCK_MS,
    LEAPT,
    RECORDS,
    APPLIED,
    SUSPENDED,
    DUPLICATES,
    OUT_OF_ORDER,
    ORPHAN_STOPS,
    WATCHED_MS,
    RATED_MS,
    ENDED_MS,
) = range(TOTALS_AT, TOTALS_AT + len(TOTALS))
CLOCK_UNSET = -(2**62)

SCRATCH_AT = TOTALS_AT + len(TOTALS)  # places from here on belong to rating/scratch.py
BLOCK_SIZE = SCRATCH_AT + 64


class State:
    """One partition's state, bound to a block.

    The tables are attributes by their names in TABLES.
    """

    names: Table
    accounts: Table
    sessions: Table
    lines: Table
    moneys: Table
    steps: Table
    tallies: Table
    counters: Table
    orders: Table
    topups: Table
    repeats: Repeats

    def __init__(self, capacity: int = 1024) -> None:
        self.block = Block(BLOCK_SIZE)
        for number, (name, dtype) in enumerate(TABLES.items()):
            if number == REPEATS:
                self.repeats = Repeats(self.block)
                continue
            setattr(self, name, Table(self.block, number, dtype, capacity))
            if name in INDEXED:
                make_index_room(self.block, number, capacity // 2)
        self.words = Arena(self.block, WORDS, 1 << 14)
        self.texts = Arena(self.block, TEXTS, 1 << 16)
        self.block.places[CLOCK_MS] = CLOCK_UNSET

    @property
    def places(self) -> Any:
        """What compiled functions take as `s`."""
        return self.block.places

    def table(self, name: str) -> Table:
        """A table by its name."""
        table: Table = getattr(self, name)
        return table

    def totals(self) -> dict[str, int]:
        """The partition's sums over its whole life."""
        sums = self.places[TOTALS_AT : TOTALS_AT + len(TOTALS)].tolist()
        return dict(zip(TOTALS, sums, strict=True))

    def make_room(self, rows: dict[str, int], words_bytes: int, texts_bytes: int) -> None:
        """Room for so many more rows of each table, and bytes of text."""
        for number, name in enumerate(TABLES):
            if name in rows:
                self.table(name).make_room(rows[name])
                if name in INDEXED:
                    make_index_room(self.block, number, rows[name])
        self.words.make_room(words_bytes)
        self.texts.make_room(texts_bytes)

    def size_bytes(self) -> int:
        """Bytes in use: of rows and their flags, of indexes and of texts."""
        size = self.words.used + self.texts.used
        size += int(self.places[REPEATS * TABLE_PLACES + INDEX_SIZE]) * INDEX_ENTRY.itemsize
        for number, (name, dtype) in enumerate(TABLES.items()):
            size += int(self.places[number * TABLE_PLACES + LIVE]) * (dtype.itemsize + 1)
            if name in INDEXED:
                size += int(self.places[number * TABLE_PLACES + INDEX_SIZE]) * 8
        return size


# --- views for compiled functions ---------------------------------------------------------------


@jit
def names(s: Any) -> Any:
    """Rows of names."""
    base = NAMES * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], NAME)


@jit
def accounts(s: Any) -> Any:
    """Rows of accounts."""
    base = ACCOUNTS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], ACCOUNT)


@jit
def sessions(s: Any) -> Any:
    """Rows of sessions."""
    base = SESSIONS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], SESSION)


@jit
def lines(s: Any) -> Any:
    """Rows of lines."""
    base = LINES * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], LINE)


@jit
def moneys(s: Any) -> Any:
    """Rows of moneys."""
    base = MONEYS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], MONEY)


@jit
def steps(s: Any) -> Any:
    """Rows of steps."""
    base = STEPS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], STEP)


@jit
def tallies(s: Any) -> Any:
    """Rows of tallies."""
    base = TALLIES * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], TALLY)


@jit
def counters(s: Any) -> Any:
    """Rows of counters."""
    base = COUNTERS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], COUNTER)


@jit
def orders(s: Any) -> Any:
    """Rows of orders."""
    base = ORDERS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], ORDER)


@jit
def topups(s: Any) -> Any:
    """Rows of topups."""
    base = TOPUPS * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], TOPUP)


@jit
def words(s: Any) -> Any:
    """Bytes of the arena words."""
    return carray(pointer(s[WORDS + TEXT]), s[WORDS + TEXT_CAPACITY], np.uint8)


@jit
def texts(s: Any) -> Any:
    """Bytes of the arena texts."""
    return carray(pointer(s[TEXTS + TEXT]), s[TEXTS + TEXT_CAPACITY], np.uint8)
