"""Reading ahead: what a window's records will touch, before they are applied.

With millions of sessions open nothing of a session is in the processor's caches, and applying a
record follows one address to the next: session, line, money, steps, counters. Each would be waited
for alone. Read first, in loops without dependence from one record to the next, many are waited for
at once. Nothing is decided here.
Source: architecture decision 4.
"""

from __future__ import annotations

from typing import Any

from rating.jit import int64, jit
from rating.scratch import READ_AHEAD, ahead, session_slots
from rating.state import (
    COUNTERS,
    LINES,
    MONEYS,
    SESSIONS,
    STEPS,
    TALLIES,
    counters,
    lines,
    moneys,
    sessions,
    steps,
    tallies,
)
from rating.tables import (
    EMPTY,
    LIVE,
    NONE,
    SLOT_MASK,
    TABLE_PLACES,
    dirty_flags,
    hash_numbers,
    index_of,
)
from tariffs.calendar import SEGMENT

SESSIONS_MIN = 100_000  # so many open sessions no longer fit into a core's caches
STEPS_AHEAD = 4


@jit
def is_crowded(s: Any) -> bool:
    """Whether reading ahead pays."""
    return bool(s[SESSIONS * TABLE_PLACES + LIVE] >= SESSIONS_MIN)


@jit
def read_ahead(s: Any, records: int) -> None:
    """Read what the sessions of a window's records lead to."""
    found = int64(0)  # kept, since the compiler would leave out what nobody uses
    for number in range(records):
        session = session_slots(s)[number]
        ahead(s)[number] = NONE
        if session != NONE:
            row = sessions(s)[session]
            ahead(s)[number] = row.lines
            found += dirty_flags(s, SESSIONS)[session]
            if row.tallies != NONE:
                found += tallies(s)[row.tallies].value + dirty_flags(s, TALLIES)[row.tallies]
    for number in range(records):
        line = ahead(s)[number]
        if line != NONE:
            ahead(s)[number] = lines(s)[line].money
            found += dirty_flags(s, LINES)[line]
    for number in range(records):
        money = ahead(s)[number]
        if money != NONE:
            ahead(s)[number] = moneys(s)[money].next
            found += dirty_flags(s, MONEYS)[money]
    for _ in range(STEPS_AHEAD):
        for number in range(records):
            step = ahead(s)[number]
            if step != NONE:
                account = int64(sessions(s)[session_slots(s)[number]].account)
                found += read_counter(s, account, steps(s)[step]) + dirty_flags(s, STEPS)[step]
                ahead(s)[number] = steps(s)[step].next
    s[READ_AHEAD] = found


@jit
def read_counter(s: Any, account: int, step: Any) -> int:
    """Read the counter that a step moves, if it stands where its hash says."""
    if step.per == SEGMENT:
        return int64(0)
    index = index_of(s, COUNTERS)
    kind = int64(step.step) * 8 + int64(step.per)
    hashed = hash_numbers(account, int64(step.name), kind, int64(step.period))
    entry = index[hashed & (len(index) - 1)]
    if entry == EMPTY:
        return int64(0)
    slot = entry & SLOT_MASK
    return int64(counters(s)[slot].value) + int64(dirty_flags(s, COUNTERS)[slot])
