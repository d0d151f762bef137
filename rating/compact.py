"""Taking back the text of sessions that are gone.

Once half of the arena is garbage the live texts are copied together, so the work is at most in
proportion to what was freed since the last time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import jit
from rating.state import TEXT_LENGTHS, TEXTS
from rating.tables import GARBAGE, USED

if TYPE_CHECKING:
    from rating.state import State

GARBAGE_MIN_BYTES = 1 << 20


@jit
def _copy_texts(old: Any, new: Any, used: int, live: Any, at: Any, lengths: Any) -> int:
    """Move the live rows' texts; returns the bytes used after it."""
    for slot in range(len(lengths)):
        if live[slot] == 1:
            for step in range(lengths[slot]):
                new[used + step] = old[at[slot] + step]
            at[slot] = used
            used += lengths[slot]
    return used


def compact_texts(state: State) -> None:
    """Copy the live texts together if half of them belong to nobody."""
    places = state.places
    used, garbage = int(places[TEXTS + USED]), int(places[TEXTS + GARBAGE])
    if garbage < GARBAGE_MIN_BYTES or garbage * 2 < used:
        return
    texts = np.empty(max(1 << 16, int((used - garbage) * 1.5)), np.uint8)
    used = 0
    for name, fields in TEXT_LENGTHS.items():
        if name == "names":
            continue
        table = state.table(name)
        rows = table.rows[: table.high]
        lengths = np.zeros(len(rows), np.int64)
        for field in fields:
            lengths += rows[field]
        at = rows["at"].astype(np.int64)
        used = _copy_texts(state.texts.data, texts, used, rows["live"].copy(), at, lengths)
        rows["at"] = at
    state.block.bind(TEXTS, texts)
    places[TEXTS + USED] = used
    places[TEXTS + GARBAGE] = 0
