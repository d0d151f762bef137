"""The counters that prices, allowances, discounts and caps move.

Each step of section 4 takes a counter from c0 to c1 and passes on f(c1) - f(c0). Counters of a
segment hang from their session; those of a period or a content are found by a hash of their key.
"""

from __future__ import annotations

from typing import Any

from rating.jit import int64, jit
from rating.names import counter_hash
from rating.scratch import BORN_LEN, born
from rating.state import COUNTERS, TALLIES, counters, sessions, tallies
from rating.tables import (
    EMPTY,
    NONE,
    SLOT_MASK,
    give,
    hash_numbers,
    index_of,
    insert,
    remove,
    take,
)
from tariffs.calendar import CONTENT


@jit
def find_tally(s: Any, session: int, step: int, name: int) -> int:
    """A counter of the session's segment, or NONE."""
    slot = int64(sessions(s)[session].tallies)
    while slot != NONE:
        row = tallies(s)[slot]
        if row.step == step and row.name == name:
            return slot
        slot = int64(row.next)
    return int64(NONE)


@jit
def tally_of(s: Any, session: int, step: int, name: int) -> int:
    """A counter of the session's segment, at zero where it is new."""
    slot = find_tally(s, session, step, name)
    if slot != NONE:
        return slot
    owner = sessions(s)[session]
    slot = take(s, TALLIES)
    row = tallies(s)[slot]
    row.step = step
    row.next = owner.tallies
    row.name = name
    row.value = 0
    owner.tallies = slot
    return slot


@jit
def find_counter(s: Any, account: int, step: int, name: int, per: int, period: int) -> int:
    """A counter of an account and a period (or a content), or NONE."""
    index = index_of(s, COUNTERS)
    hashed = hash_numbers(account, name, step * 8 + per, period)
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        if index[place] >> 32 == hashed:
            slot = index[place] & SLOT_MASK
            row = counters(s)[slot]
            if (
                row.account == account
                and row.name == name
                and row.period == period
                and row.step == step
                and row.per == per
            ):
                return slot
        place = (place + 1) & mask
    return int64(NONE)


@jit
def counter_of(s: Any, account: int, step: int, name: int, per: int, period: int) -> int:
    """A counter of an account and a period (or a content), at zero where it is new."""
    slot = find_counter(s, account, step, name, per, period)
    if slot != NONE:
        return slot
    slot = take(s, COUNTERS)
    row = counters(s)[slot]
    row.step = step
    row.per = per
    row.account = account
    row.name = name
    row.period = period
    row.value = 0
    insert(index_of(s, COUNTERS), counter_hash(row), slot)
    if per != CONTENT:
        born(s)[s[BORN_LEN]] = slot
        s[BORN_LEN] += 1
    return slot


@jit
def drop_counters(s: Any, slots: Any) -> None:
    """Free counters of periods that can no longer change."""
    for place in range(len(slots)):
        slot = int64(slots[place])
        remove(index_of(s, COUNTERS), counter_hash(counters(s)[slot]), slot)
        give(s, COUNTERS, slot)
