"""Instants as people write them on a command line."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_ms(text: str, zone: str) -> int:
    """Read a date, which is its first instant in a time zone, or a time with an offset.

    Returns: UTC milliseconds. Raises: ValueError with a sentence.
    """
    try:
        midnight = datetime.combine(date.fromisoformat(text), datetime.min.time())
        instant = midnight.replace(tzinfo=ZoneInfo(zone))
    except ValueError:
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as error:
            raise ValueError(
                f"{text!r} is no time; write 2026-03-01, or 2026-03-01T18:00:00Z"
            ) from error
    if instant.tzinfo is None:
        raise ValueError(f"{text!r} has no zone; end it with Z or an offset such as +01:00")
    try:
        return (instant.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)
    except OverflowError as error:
        raise ValueError(f"{text!r} is at the end of the calendar") from error
