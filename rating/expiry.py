"""When state can go: sessions that fell silent, counters of periods that are over.

A session that was last seen longer ago than any book's `idle_s` can only be closed by whatever
comes next (spec section 2, step 1), so it is closed already at the end of a batch. Sessions wait
in buckets by the minute they were last seen in; a bucket is looked at once, when its time is up,
and a session seen since then moves to its new bucket. Counters wait in buckets by the day on which
no piece can reach their period any more. Work is in proportion to what opens and ends.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import int64, jit
from rating.state import CLOCK_MS, CLOCK_UNSET, sessions
from tariffs.calendar import CONTENT, DAY_MS, period_past_day

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rating.state import State

MINUTE_MS = 60_000
TIME_ZONE_DAYS = 2  # local dates differ from UTC dates by less
NOT_DUE = -(2**31)


class Buckets:
    """Slots waiting for a key (a minute, a day) to pass."""

    def __init__(self) -> None:
        self._slots: dict[int, list[NDArray[np.int32]]] = {}

    def add(self, keys: NDArray[np.int64], slots: NDArray[np.int32]) -> None:
        """Put each slot into the bucket of its key."""
        order = np.argsort(keys, kind="stable")
        keys, slots = keys[order], slots[order]
        for key, part in _runs(keys, slots):
            self._slots.setdefault(key, []).append(part)

    def pop_to(self, past: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Take all buckets with a key below `past`: for each slot its key, and the slots."""
        due = sorted(key for key in self._slots if key < past)
        parts = [(key, part) for key in due for part in self._slots.pop(key)]
        if not parts:
            return np.empty(0, np.int64), np.empty(0, np.int32)
        keys = np.concatenate([np.full(len(part), key, np.int64) for key, part in parts])
        return keys, np.concatenate([part for _, part in parts])


def _runs(
    keys: NDArray[np.int64], slots: NDArray[np.int32]
) -> Iterator[tuple[int, NDArray[np.int32]]]:
    """Stretches of equal keys."""
    if len(keys) == 0:
        return
    edges = [0, *(np.flatnonzero(np.diff(keys)) + 1).tolist(), len(keys)]
    for start, past in pairwise(edges):
        yield int(keys[start]), slots[start:past].copy()


@jit
def mark_due(s: Any, slots: Any, minutes: Any) -> None:
    """Note in each live session which bucket it waits in; -1 minutes for those that are gone."""
    for place in range(len(slots)):
        row = sessions(s)[slots[place]]
        minute = int64(row.seen_ms) // MINUTE_MS
        minutes[place] = minute if row.live == 1 else NOT_DUE
        row.due = minute


@jit
def sort_due(s: Any, minutes: Any, slots: Any, idle_before_ms: int, idle: Any) -> int:
    """Split the slots of due buckets: idle sessions (returned count), and others with their minute.

    A slot whose session is gone, or waits in another bucket since, gets NOT_DUE and is dropped.
    """
    found = 0
    for place in range(len(slots)):
        slot = slots[place]
        row = sessions(s)[slot]
        waits = minutes[place]
        minutes[place] = NOT_DUE
        if row.live == 1 and row.due == waits:
            if row.seen_ms < idle_before_ms:
                # A slot may wait twice in one bucket: for a session that ended, and for one that
                # took its slot within the same minute. It must be closed once.
                row.due = NOT_DUE
                idle[found] = slot
                found += 1
            else:
                minutes[place] = int64(row.seen_ms) // MINUTE_MS
                row.due = minutes[place]
    return found


def clock_of(state: State) -> int | None:
    """The log clock R, or None before the first well-formed record."""
    clock_ms = int(state.places[CLOCK_MS])
    return None if clock_ms == CLOCK_UNSET else clock_ms


def counter_past_days(state: State, slots: NDArray[np.int32]) -> NDArray[np.int64]:
    """For each counter, the local date by which its period has ended. None is of a content."""
    rows = state.counters.rows[slots]
    pairs, places = np.unique(
        rows["period"].astype(np.int64) * 8 + rows["per"], return_inverse=True
    )
    days = [period_past_day(int(pair) & 7, int(pair) >> 3) for pair in pairs]
    return np.array(days, np.int64)[places]


def live_counters(state: State) -> NDArray[np.int32]:
    """The slots of all counters that will expire; costs what the state holds."""
    slots = state.counters.live_slots()
    expiring: NDArray[np.int32] = slots[state.counters.rows["per"][slots] != CONTENT]
    return expiring


def horizon_day(horizon_ms: int) -> int:
    """The local date before which no piece can begin in any time zone."""
    return horizon_ms // DAY_MS - TIME_ZONE_DAYS
