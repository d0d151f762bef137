"""What one batch needs besides the state, and what it leaves for the caller to gather.

Nothing here survives a restart: the matches are worked out again, and the lists are emptied after
every batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import jit
from rating.state import MATCHES, SCRATCH_AT
from rating.tables import (
    CAPACITY,
    EMPTY,
    HIGH,
    LIVE,
    NONE,
    ROWS,
    TABLE_PLACES,
    Table,
    index_of,
    make_index_room,
)
from tariffs.blocks import Block, carray, pointer
from tariffs.matching import MATCH

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Why a usage record is suspended (spec sections 1, 4, 5).
REASONS = (
    "",
    "malformed",
    "clock_ahead",
    "too_late",
    "unknown_account",
    "unknown_plan",
    "unknown_package",
    "currency_mismatch",
    "unknown_offer",
    "unknown_order",
    "no_book",
    "clock_leap",
    "too_late",
    "balance_out_of_bounds",
)
(
    _,
    MALFORMED_RECORD,
    CLOCK_AHEAD,
    TOO_LATE,
    UNKNOWN_ACCOUNT,
    UNKNOWN_PLAN,
    UNKNOWN_PACKAGE,
    CURRENCY_MISMATCH,
    UNKNOWN_OFFER,
    UNKNOWN_ORDER,
    NO_BOOK,
    CLOCK_LEAP,
    TOO_LATE_TO_OPEN,
    BALANCE_OUT_OF_BOUNDS,
) = range(len(REASONS))

SIGNAL_TYPES = (
    "balance.exhausted",
    "balance.restored",
    "order.accepted",
    "order.declined",
    "order.cancelled",
    "order.cancel_rejected",
)
(
    BALANCE_EXHAUSTED,
    BALANCE_RESTORED,
    ORDER_ACCEPTED,
    ORDER_DECLINED,
    ORDER_CANCELLED,
    ORDER_CANCEL_REJECTED,
) = range(len(SIGNAL_TYPES))
SIGNAL_REASONS = (
    "",
    "not_on_sale",
    "insufficient_balance",
    "started",
    "played",
    "not_cancellable",
)
(
    NO_REASON,
    NOT_ON_SALE,
    INSUFFICIENT_BALANCE,
    STARTED,
    PLAYED,
    NOT_CANCELLABLE,
) = range(len(SIGNAL_REASONS))

ENDED = np.dtype([("line", "<i4"), ("session", "<i4"), ("content", "<i4"), ("segment_ms", "<i8")])
SUSPENDED = np.dtype([("event", "<i8"), ("reason", "u1")])
SIGNAL = np.dtype(
    [("type", "u1"), ("reason", "u1"), ("account", "<i4"), ("order", "<i4"), ("time_ms", "<i8")]
)
POSTING = np.dtype([("refund", "u1"), ("order", "<i4"), ("time_ms", "<i8")])

# The lists, each with an address, a capacity and a length, from these places of the block on:
LISTS = {
    "ended": ENDED,  # lines to become charges or suspense
    "closed": np.dtype(np.int32),  # session slots to free once their lines are gathered
    "opened": np.dtype(np.int32),  # session slots that the expiry buckets do not know yet
    "born": np.dtype(np.int32),  # counter slots that the expiry buckets do not know yet
    "suspended": SUSPENDED,
    "signals": SIGNAL,
    "postings": POSTING,
    "candidates": np.dtype(np.int32),  # the matches' rules
}
LIST_PLACES = 3
(
    ENDED_AT,
    CLOSED_AT,
    OPENED_AT,
    BORN_AT,
    SUSPENDED_AT,
    SIGNALS_AT,
    POSTINGS_AT,
    CANDIDATES_AT,
) = range(SCRATCH_AT, SCRATCH_AT + LIST_PLACES * len(LISTS), LIST_PLACES)
LENGTH = 2  # behind a list's address and capacity
ENDED_LEN = ENDED_AT + LENGTH
CLOSED_LEN = CLOSED_AT + LENGTH
OPENED_LEN = OPENED_AT + LENGTH
BORN_LEN = BORN_AT + LENGTH
SUSPENDED_LEN = SUSPENDED_AT + LENGTH
SIGNALS_LEN = SIGNALS_AT + LENGTH
POSTINGS_LEN = POSTINGS_AT + LENGTH
CANDIDATES_LEN = CANDIDATES_AT + LENGTH
(
    NEEDED_DAY,  # the UTC day that the calendar lacks
    HORIZON_MS,  # no piece can begin before it any more
    LAST_DAY,  # the last day found in the calendar, to look it up once
    ACCOUNT_SLOTS,  # by place in the window, see batch.find_slots
    _,
    SESSION_SLOTS,
    _,
    SESSION_HASHES,
    _,
    NOTED_MONEY,  # the money that a step was noted for last, or NONE
    NOTED_STEP,  # and that step; see lines.note_step
    AHEAD,  # by place in the window, see rating/ahead.py
    _,
    READ_AHEAD,  # what was read there, added up
) = range(CANDIDATES_LEN + 1, CANDIDATES_LEN + 15)

MATCHES_MAX = 1 << 15
CANDIDATES_A_MATCH_MAX = 8  # on average, where the room is sized


class Scratch:
    """The lists of a state's block, as the uncompiled code sees them."""

    def __init__(self, block: Block, rules_max: int, window: int) -> None:
        self.block = block
        self._at = dict(
            zip(LISTS, range(SCRATCH_AT, SCRATCH_AT + 3 * len(LISTS), LIST_PLACES), strict=True)
        )
        Table(block, MATCHES, MATCH, MATCHES_MAX)
        make_index_room(block, MATCHES, MATCHES_MAX)
        for name, dtype in LISTS.items():
            self.block.bind(self._at[name], np.empty(0, dtype))
        candidates = max(MATCHES_MAX * CANDIDATES_A_MATCH_MAX, 4 * rules_max)
        self.make_room("candidates", candidates)
        block.places[NOTED_MONEY] = NONE
        for place in (ACCOUNT_SLOTS, SESSION_SLOTS, SESSION_HASHES, AHEAD):
            block.bind(place, np.empty(window, np.int64))

    def make_room(self, name: str, capacity: int) -> None:
        """A list with at least this capacity; what it holds is kept."""
        old = self.block.array(self._at[name])
        if len(old) < capacity:
            longer = np.empty(capacity, LISTS[name])
            used = int(self.block.places[self._at[name] + LENGTH])
            longer[:used] = old[:used]
            self.block.bind(self._at[name], longer)

    def taken(self, name: str) -> NDArray[Any]:
        """What a list holds."""
        at = self._at[name]
        items: NDArray[Any] = self.block.array(at)[: int(self.block.places[at + LENGTH])]
        return items

    def empty(self, *names: str) -> None:
        """Forget what lists hold."""
        for name in names:
            self.block.places[self._at[name] + LENGTH] = 0


# --- views for compiled functions ---------------------------------------------------------------


@jit
def ended(s: Any) -> Any:
    """The list `ended`."""
    return carray(pointer(s[ENDED_AT]), s[ENDED_AT + 1], ENDED)


@jit
def closed(s: Any) -> Any:
    """The list `closed`."""
    return carray(pointer(s[CLOSED_AT]), s[CLOSED_AT + 1], np.int32)


@jit
def opened(s: Any) -> Any:
    """The list `opened`."""
    return carray(pointer(s[OPENED_AT]), s[OPENED_AT + 1], np.int32)


@jit
def born(s: Any) -> Any:
    """The list `born`."""
    return carray(pointer(s[BORN_AT]), s[BORN_AT + 1], np.int32)


@jit
def suspended(s: Any) -> Any:
    """The list `suspended`."""
    return carray(pointer(s[SUSPENDED_AT]), s[SUSPENDED_AT + 1], SUSPENDED)


@jit
def signals(s: Any) -> Any:
    """The list `signals`."""
    return carray(pointer(s[SIGNALS_AT]), s[SIGNALS_AT + 1], SIGNAL)


@jit
def postings(s: Any) -> Any:
    """The list `postings`."""
    return carray(pointer(s[POSTINGS_AT]), s[POSTINGS_AT + 1], POSTING)


@jit
def candidates(s: Any) -> Any:
    """The list `candidates`."""
    return carray(pointer(s[CANDIDATES_AT]), s[CANDIDATES_AT + 1], np.int32)


@jit
def account_slots(s: Any) -> Any:
    """The list `account_slots`."""
    return carray(pointer(s[ACCOUNT_SLOTS]), s[ACCOUNT_SLOTS + 1], np.int64)


@jit
def session_slots(s: Any) -> Any:
    """The list `session_slots`."""
    return carray(pointer(s[SESSION_SLOTS]), s[SESSION_SLOTS + 1], np.int64)


@jit
def session_hashes(s: Any) -> Any:
    """The list `session_hashes`."""
    return carray(pointer(s[SESSION_HASHES]), s[SESSION_HASHES + 1], np.int64)


@jit
def ahead(s: Any) -> Any:
    """The list `ahead`."""
    return carray(pointer(s[AHEAD]), s[AHEAD + 1], np.int64)


@jit
def matches(s: Any) -> Any:
    """Rows of the matches."""
    base = MATCHES * TABLE_PLACES
    return carray(pointer(s[base + ROWS]), s[base + CAPACITY], MATCH)


@jit
def forget_matches(s: Any) -> None:
    """Empty the matches; they are worked out again as they are needed."""
    index_of(s, MATCHES)[:] = EMPTY
    base = MATCHES * TABLE_PLACES
    s[base + HIGH] = 0
    s[base + LIVE] = 0
    s[CANDIDATES_LEN] = 0
