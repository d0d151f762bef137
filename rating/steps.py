"""The counters that a charge moved, kept with it as JSON so that the charge can be explained.

Form: a list of steps in the order of spec section 4, each
[step, id, per, period, before, after, moved]; quantities in ms, money in micro-units. `moved` is
this charge's own part: `after - before` is more where other viewing moved the counter in between.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rating.state import PRICE
from rating.tables import NONE
from tariffs.calendar import CONTENT, PERIODS, SEGMENT, period_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rating.state import State

STEPS = ("measure", "allow", "price", "discount", "cap", "balance")
assert STEPS[PRICE] == "price"

Step = tuple[str, str, str, str, int, int, int]


def line_steps(state: State, money: int, text_of: Callable[[int], str]) -> str:
    """A priced line's steps as JSON. money: its slot; text_of: the text of a name."""
    rows = state.steps.rows
    found: list[tuple[int, Step]] = []
    slot = int(state.moneys.rows[money]["next"])
    while slot != NONE:
        _live, step, per, slot, name, period, before, after, moved = rows[slot].item()
        if per == SEGMENT:
            when = ""
        elif per == CONTENT:
            when = text_of(period)
        else:
            when = period_text(per, period)
        row = (STEPS[step], text_of(name), PERIODS[per], when, before, after, moved)
        found.append((step, row))
    found.sort(key=lambda item: item[0])
    return json.dumps([row for _, row in found], separators=(",", ":"), ensure_ascii=False)


def parse_steps(text: str) -> Sequence[Step]:
    """The steps of a charge, from the JSON kept with it."""
    return [tuple(row) for row in json.loads(text)] if text else []
