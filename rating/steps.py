"""The counters that a charge moved, kept with it as JSON so that the charge can be explained.

Form: a list of steps in the order of spec section 4, each
[step, id, per, period, before, after, moved]; quantities in ms, money in micro-units. `moved` is
this charge's own part: `after - before` is more where other viewing moved the counter in between.

What comes before the numbers, the head, is the same in the steps of many charges: it is written
once for each batch, and compiled code writes the rest.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from rating.jit import int64, jit
from rating.state import PRICE, moneys, steps
from rating.tables import NONE, hash_numbers
from tariffs.calendar import CONTENT, PERIODS, SEGMENT, period_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from rating.state import State

STEPS = ("measure", "allow", "price", "discount", "cap", "balance")
assert STEPS[PRICE] == "price"

NUMBERS_BYTES_MAX = 3 * 20 + 5  # three numbers with what stands between and behind them
OPEN, CLOSE, COMMA, MINUS, ZERO = b"[],-0"

Step = tuple[str, str, str, str, int, int, int]


def lines_steps(state: State, money: NDArray[np.int64], text_of: Callable[[int], str]) -> pl.Series:
    """Each line's steps as JSON; empty for a line without money.

    money: the lines' slots, or NONE. text_of: the text of a name.
    """
    found = np.empty(count_steps(state.places, money), np.int64)
    past = np.empty(len(money), np.int64)
    list_steps(state.places, money, found, past)
    head_of, firsts = np.empty_like(found), np.empty_like(found)
    index = np.full(1 << (2 * len(found) + 1).bit_length(), NONE, np.int64)
    heads = number_heads(state.places, found, index, firsts, head_of)
    texts = [_head(row, text_of) for row in state.steps.rows[firsts[:heads]].tolist()]
    head_ends = np.cumsum([0, *map(len, texts)], dtype=np.int64)
    room = int(np.diff(head_ends)[head_of].sum()) + NUMBERS_BYTES_MAX * len(found) + 2 * len(money)
    written, ends = np.empty(room, np.uint8), np.zeros(len(money) + 1, np.int64)
    head_data = np.frombuffer(b"".join(texts), np.uint8)
    write_steps(state.places, money, found, past, head_of, head_data, head_ends, written, ends)
    array = pa.LargeStringArray.from_buffers(len(money), pa.py_buffer(ends), pa.py_buffer(written))
    return pl.Series(array, dtype=pl.String)


def _head(row: tuple[Any, ...], text_of: Callable[[int], str]) -> bytes:
    """A step's JSON up to its numbers."""
    _live, step, per, _next, name, period, *_ = row
    if per == SEGMENT:
        when = ""
    elif per == CONTENT:
        when = text_of(period)
    else:
        when = period_text(per, period)
    texts = [STEPS[step], text_of(name), PERIODS[per], when]
    whole = json.dumps(texts, separators=(",", ":"), ensure_ascii=False)
    return whole.removesuffix("]").encode() + b","


@jit
def count_steps(s: Any, money: Any) -> int:
    """How many steps the lines have."""
    count = int64(0)
    for line in range(len(money)):
        slot = int64(NONE) if money[line] == NONE else int64(moneys(s)[money[line]].next)
        while slot != NONE:
            count += 1
            slot = int64(steps(s)[slot].next)
    return count


@jit
def list_steps(s: Any, money: Any, found: Any, past: Any) -> None:
    """List each line's steps in the order of section 4. past: where each line's end in the list."""
    count = int64(0)
    for line in range(len(money)):
        first = count
        slot = int64(NONE) if money[line] == NONE else int64(moneys(s)[money[line]].next)
        while slot != NONE:
            place = count
            while place > first and steps(s)[found[place - 1]].step > steps(s)[slot].step:
                found[place] = found[place - 1]
                place -= 1
            found[place] = slot
            count += 1
            slot = int64(steps(s)[slot].next)
        past[line] = count


@jit
def number_heads(s: Any, found: Any, index: Any, firsts: Any, head_of: Any) -> int:
    """Number the steps' different heads; returns how many there are.

    index: all NONE, twice as long as the list. firsts: the first step with each head.
    """
    heads = int64(0)
    mask = len(index) - 1
    for number in range(len(found)):
        row = steps(s)[found[number]]
        kind = int64(row.step) * 8 + int64(row.per)
        place = hash_numbers(int64(row.name), kind, int64(row.period), 0) & mask
        while index[place] != NONE:
            same = steps(s)[firsts[index[place]]]
            if (
                same.step == row.step
                and same.per == row.per
                and same.name == row.name
                and same.period == row.period
            ):
                break
            place = (place + 1) & mask
        if index[place] == NONE:
            index[place] = heads
            firsts[heads] = found[number]
            heads += 1
        head_of[number] = index[place]
    return heads


@jit
def put_number(written: Any, at: int, value: int) -> int:
    """Write a number in decimal; returns the place after it."""
    if value < 0:
        written[at] = MINUS
        at += 1
        value = -value
    digits, rest = int64(1), value // 10
    while rest > 0:
        digits += 1
        rest //= 10
    for digit in range(digits):
        written[at + digits - 1 - digit] = ZERO + value % 10
        value //= 10
    return at + digits


@jit
def write_steps(
    s: Any,
    money: Any,
    found: Any,
    past: Any,
    head_of: Any,
    head_data: Any,
    head_ends: Any,
    written: Any,
    ends: Any,
) -> None:
    """Write each line's JSON, and where it ends."""
    at, number = int64(0), int64(0)
    for line in range(len(money)):
        if money[line] != NONE:
            written[at] = OPEN
            at += 1
            first = number
            while number < past[line]:
                if number > first:
                    written[at] = COMMA
                    at += 1
                for place in range(head_ends[head_of[number]], head_ends[head_of[number] + 1]):
                    written[at] = head_data[place]
                    at += 1
                row = steps(s)[found[number]]
                at = put_number(written, at, int64(row.before))
                written[at] = COMMA
                at = put_number(written, at + 1, int64(row.after))
                written[at] = COMMA
                at = put_number(written, at + 1, int64(row.moved))
                written[at] = CLOSE
                at += 1
                number += 1
            written[at] = CLOSE
            at += 1
        ends[line + 1] = at


def parse_steps(text: str) -> Sequence[Step]:
    """The steps of a charge, from the JSON kept with it."""
    return [tuple(row) for row in json.loads(text)] if text else []
