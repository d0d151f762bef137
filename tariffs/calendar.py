"""Local time: what date, hour, week and month an instant falls on in a book's time zone.

A calendar, which stands in the block of the compiled books, holds, for each time zone in use and each UTC day in use, the zone's offset in each of
the day's 96 quarters of an hour, so that compiled code finds the local time of a piece by one
look-up. Days are added when they are first needed. Offsets are read at a quarter's start; time
zones have changed on quarter hours since 1972.
Source: spec sections 2 (quarters), 3 (bands) and 4 (day, week, month).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from tariffs.blocks import carray, pointer
from tariffs.jit import int64, jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tariffs.blocks import Block

QUARTER_MS = 900_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
QUARTERS_A_DAY = 96
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

SEGMENT, DAY, WEEK, MONTH, CONTENT = range(5)
PERIODS = ("segment", "day", "week", "month", "content")


# A calendar's places, from CALENDAR_AT of a block:
FIRST_DAY = 0
ZONES = 1
PAGE_OF = 2  # address: a UTC day's page, from FIRST_DAY on, or -1
OFFSETS_MS = 4  # address: [page, zone, quarter of the UTC day]
CALENDAR_PLACES = 6


def offset_ms_at(zone: ZoneInfo, time_ms: int) -> int:
    """What to add to UTC for local time."""
    offset = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(zone).utcoffset()
    assert offset is not None
    return offset // timedelta(milliseconds=1)


def _day_offsets(zone: ZoneInfo, day: int) -> list[int]:
    """A UTC day's 96 offsets; three looks suffice where they agree."""
    start_ms = day * DAY_MS
    first = offset_ms_at(zone, start_ms)
    if (
        first
        == offset_ms_at(zone, start_ms + 12 * HOUR_MS)
        == offset_ms_at(zone, start_ms + DAY_MS)
    ):
        return [first] * QUARTERS_A_DAY
    return [
        offset_ms_at(zone, start_ms + quarter * QUARTER_MS) for quarter in range(QUARTERS_A_DAY)
    ]


class Calendar:
    """The calendar of a block, as the uncompiled code sees it. It begins without days."""

    def __init__(self, block: Block, at: int, zones: Sequence[str]) -> None:
        self._block = block
        self._at = at
        self._zones = [ZoneInfo(zone) for zone in zones]
        block.places[at + ZONES] = len(zones)
        block.bind(at + PAGE_OF, np.empty(0, np.int32))
        block.bind(at + OFFSETS_MS, np.empty(0, np.int32))

    def add(self, day: int) -> None:
        """Look up one more UTC day (days since the epoch)."""
        block, at = self._block, self._at
        pages: NDArray[np.int32] = block.array(at + PAGE_OF)
        first = int(block.places[at + FIRST_DAY]) if len(pages) else day
        from_day, past_day = min(first, day), max(first + len(pages), day + 1)
        page_of = np.full(past_day - from_day, -1, np.int32)
        page_of[first - from_day :][: len(pages)] = pages
        offsets: NDArray[np.int32] = block.array(at + OFFSETS_MS)
        page_of[day - from_day] = len(offsets) // (len(self._zones) * QUARTERS_A_DAY)
        new = np.array([_day_offsets(zone, day) for zone in self._zones], np.int32)
        block.places[at + FIRST_DAY] = from_day
        block.bind(at + PAGE_OF, page_of)
        block.bind(at + OFFSETS_MS, np.concatenate([offsets, new.ravel()]))

    def local_days(
        self, zones: NDArray[np.int64], times_ms: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """The local date (days since the epoch) of each instant in its zone."""
        if len(times_ms) == 0:
            return np.empty(0, np.int64)
        days = times_ms // DAY_MS
        for day in np.unique(days).tolist():
            if not has_day(self._block.places, self._at, day):
                self.add(day)
        pages = self._block.array(self._at + PAGE_OF)
        page = pages[days - int(self._block.places[self._at + FIRST_DAY])].astype(np.int64)
        quarter = (times_ms - days * DAY_MS) // QUARTER_MS
        offsets = self._block.array(self._at + OFFSETS_MS)
        offset = offsets[(page * len(self._zones) + zones) * QUARTERS_A_DAY + quarter]
        local: NDArray[np.int64] = (times_ms + offset) // DAY_MS
        return local


@jit
def has_day(b: Any, at: int, day: int) -> bool:
    """Whether the calendar at a place of a block holds a UTC day."""
    pages = carray(pointer(b[at + PAGE_OF]), b[at + PAGE_OF + 1], np.int32)
    number = day - b[at + FIRST_DAY]
    return bool(0 <= number < len(pages) and pages[number] >= 0)


@jit
def local_ms(b: Any, at: int, zone: int, time_ms: int) -> int:
    """Local wall-clock time, as milliseconds since 1970-01-01 00:00 local. The day is there."""
    pages = carray(pointer(b[at + PAGE_OF]), b[at + PAGE_OF + 1], np.int32)
    offsets = carray(pointer(b[at + OFFSETS_MS]), b[at + OFFSETS_MS + 1], np.int32)
    day = time_ms // DAY_MS
    page = int64(pages[day - b[at + FIRST_DAY]])
    quarter = (time_ms - day * DAY_MS) // QUARTER_MS
    return int64(time_ms + offsets[(page * b[at + ZONES] + zone) * QUARTERS_A_DAY + quarter])


@jit
def month_of_day(day: int) -> int:
    """The month of a date (days since the epoch) as year * 12 + month - 1."""
    shifted = day + 719_468  # days since 0000-03-01, so that leap days end a year
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year_of_era = (
        day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    return (era * 400 + year_of_era) * 12 + month_from_march + 2


@jit
def period_of(per: int, local_day: int, bill_day: int) -> int:
    """The day, ISO week (its Monday) or month that a local date falls in (section 4)."""
    if per == DAY:
        return local_day
    if per == WEEK:
        return local_day - (local_day + 3) % 7
    return month_of_day(local_day - (bill_day - 1))


def period_text(per: int, period: int) -> str:
    """A period as a person writes it: 2026-03-06, 2026-W10, 2026-03."""
    if per == MONTH:
        return f"{period // 12:04d}-{period % 12 + 1:02d}"
    date = (EPOCH + timedelta(days=period)).date()
    if per == WEEK:
        year, week, _ = date.isocalendar()
        return f"{year:04d}-W{week:02d}"
    return date.isoformat()


def period_past_day(per: int, period: int) -> int:
    """A local date (days since the epoch) by which a period has surely ended for any bill day."""
    if per == DAY:
        return period + 1
    if per == WEEK:
        return period + 7
    year, month = divmod(period + 1, 12)
    first_of_next = datetime(year, month + 1, 1, tzinfo=UTC)
    return (first_of_next - EPOCH).days + 28
