"""Lines: where the pieces of a segment gather, one for each quality, plan, book, rule and hour.

Source: spec section 6.
"""

from __future__ import annotations

from typing import Any

from rating.jit import int64, jit
from rating.scratch import ENDED_LEN, NOTED_MONEY, NOTED_STEP, ended
from rating.state import (
    ENDED_MS,
    HOUR_MS,
    LINES,
    MONEYS,
    STEPS,
    TALLIES,
    lines,
    moneys,
    sessions,
    steps,
    tallies,
)
from rating.tables import NONE, give, take, touch


@jit
def end_lines(s: Any, session: int) -> None:
    """End every open line of a session; the caller of the batch makes charges of them."""
    row = sessions(s)[session]
    line = int64(row.lines)
    while line != NONE:
        end = ended(s)[s[ENDED_LEN]]
        end.line = line
        end.session = session
        end.content = row.content
        end.segment_ms = row.start_ms
        s[ENDED_LEN] += 1
        s[ENDED_MS] += lines(s)[line].watched_ms
        line = int64(lines(s)[line].next)
    row.lines = NONE


@jit
def end_segment(s: Any, session: int) -> None:
    """End the open lines and the segment's own counters."""
    end_lines(s, session)
    row = sessions(s)[session]
    tally = int64(row.tallies)
    while tally != NONE:
        following = int64(tallies(s)[tally].next)
        give(s, TALLIES, tally)
        tally = following
    row.tallies = NONE


@jit
def line_for(s: Any, session: int, t0_ms: int, plan: int, book: int, rule: int, region: int) -> int:
    """The open line of a piece, begun where there is none. Lines of earlier hours end first."""
    hour = t0_ms // HOUR_MS
    row = sessions(s)[session]
    line = int64(row.lines)
    if line != NONE and lines(s)[line].hour != hour:
        end_lines(s, session)
        line = int64(NONE)
    while line != NONE:
        open_line = lines(s)[line]
        if (
            open_line.rule == rule
            and open_line.quality == row.quality
            and open_line.plan == plan
            and open_line.book == book
        ):
            return line
        line = int64(open_line.next)
    line = take(s, LINES)
    begun = lines(s)[line]
    begun.next = row.lines
    row.lines = line
    begun.quality = row.quality
    begun.kind = row.kind
    begun.plan = plan
    begun.book = book
    begun.rule = rule
    begun.region = region
    begun.money = NONE
    begun.hour = hour
    begun.start_in_hour_ms = t0_ms - hour * HOUR_MS
    begun.watched_ms = 0
    return line


@jit
def add_piece(s: Any, line: int, t0_ms: int, t1_ms: int) -> None:
    """Gather a piece's time into its line."""
    row = lines(s)[line]
    row.end_in_hour_ms = t1_ms - int64(row.hour) * HOUR_MS
    row.watched_ms += t1_ms - t0_ms
    touch(s, LINES, line)


@jit
def money_of(s: Any, line: int, prepaid: int, inclusive: int, percent_micros: int) -> int:
    """The amounts of a priced line, at zero where its first piece asks."""
    row = lines(s)[line]
    if row.money == NONE:
        money = take(s, MONEYS)
        row.money = money
        s[NOTED_MONEY] = NONE  # the slot may have been another line's
        begun = moneys(s)[money]
        begun.prepaid = prepaid
        begun.inclusive = inclusive
        begun.next = NONE
        begun.percent_micros = percent_micros
        begun.billed_ms = 0
        begun.free_ms = 0
        begun.gross_micros = 0
        begun.discount_micros = 0
        begun.capped_micros = 0
        begun.paid_micros = 0
        begun.unfunded_micros = 0
    touch(s, MONEYS, int64(row.money))
    return int64(row.money)


@jit
def is_step(row: Any, step: int, name: int, per: int, period: int) -> bool:
    """Whether a step is that of a counter."""
    return bool(row.step == step and row.name == name and row.per == per and row.period == period)


@jit
def note_step(
    s: Any, money: int, step: int, name: int, per: int, period: int, before: int, after: int
) -> None:
    """Keep what a line found and left in a counter, so that the charge can be explained.

    A line's pieces nearly always move the same counters in the same order, so the step behind the
    one that was noted last is looked at first.
    """
    first, last = int64(moneys(s)[money].next), int64(NONE)
    slot = first
    if s[NOTED_MONEY] == money and steps(s)[s[NOTED_STEP]].next != NONE:
        slot = int64(steps(s)[s[NOTED_STEP]].next)
    if slot != NONE and not is_step(steps(s)[slot], step, name, per, period):
        slot = first
        while slot != NONE and not is_step(steps(s)[slot], step, name, per, period):
            last = slot
            slot = int64(steps(s)[slot].next)
    s[NOTED_MONEY] = money
    if slot != NONE:
        row = steps(s)[slot]
        row.after = after
        row.moved += after - before
        touch(s, STEPS, slot)
        s[NOTED_STEP] = slot
        return
    slot = take(s, STEPS)
    row = steps(s)[slot]
    row.step = step
    row.per = per
    row.next = NONE
    row.name = name
    row.period = period
    row.before = before
    row.after = after
    row.moved = after - before
    s[NOTED_STEP] = slot
    if last == NONE:
        moneys(s)[money].next = slot
    else:
        steps(s)[last].next = slot
        touch(s, STEPS, last)


@jit
def release_lines(s: Any) -> None:
    """Free the lines that ended, once they are gathered."""
    for place in range(s[ENDED_LEN]):
        line = int64(ended(s)[place].line)
        money = int64(lines(s)[line].money)
        if money != NONE:
            step = int64(moneys(s)[money].next)
            while step != NONE:
                following = int64(steps(s)[step].next)
                give(s, STEPS, step)
                step = following
            give(s, MONEYS, money)
        give(s, LINES, line)
    s[ENDED_LEN] = 0
