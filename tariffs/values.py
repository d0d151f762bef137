"""What a key of a book may hold: each function takes a TOML value and gives what the model keeps.

All raise UnfitError with what is wrong, as the end of a sentence that begins with the key's name.
Source: spec sections 3 and 5.
"""

from __future__ import annotations

import difflib
import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from tariffs import currencies, money, zones
from tariffs.errors import UnfitError, UnknownNameError, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 1440
NAMES_SHOWN_MAX = 8
LIKENESS_MIN = 0.65  # Below, suggestions become arbitrary.
COMPARED_CHARACTERS_MAX = 200  # Looking for the nearest name is quadratic in the length.
COMPARED_NAMES_MAX = 1_000  # More would take longer than reading the book.
TEXT_BYTES_MAX = 512  # As of the texts in usage records, which they have to equal (section 1).
INSTANT_MS_MIN = -62_135_510_400_000  # 0001-01-02; a day inside what a calendar can hold
INSTANT_MS_MAX = 253_402_128_000_000  # 9999-12-30
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2})")
_ROUND_MAX = 10**18  # Integers beyond are described, not printed: Python refuses very long ones.
_CHARGE_PREFIXES = ("package:", "offer:")


def describe(value: Any) -> str:
    """Put a TOML value in a few words, for a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {quote(value)}"
    if isinstance(value, int):
        return f"the whole number {value}" if abs(value) <= _ROUND_MAX else "a huge number"
    if isinstance(value, Decimal):
        return f"the float {_number_text(value)}"
    if isinstance(value, datetime):
        return "a date and time" if value.tzinfo else "a date and time without a zone"
    return {date: "a date", time: "a time of day", list: "a list"}.get(type(value), "a table")


def _number_text(value: int | Decimal) -> str:
    if isinstance(value, Decimal) and value.is_nan():
        return "nan"
    if not -_ROUND_MAX <= value <= _ROUND_MAX:
        return "…"
    digits = str(value)
    return digits if len(digits) <= 30 else digits[:30] + "…"


def near_to(word: str, names: Collection[str]) -> str | None:
    """Find the known name nearest to a word, if any is near; case does not count."""
    folded = {known.casefold(): known for known in islice(names, COMPARED_NAMES_MAX)}
    word = word.casefold()[:COMPARED_CHARACTERS_MAX]
    near = difflib.get_close_matches(word, folded, 1, LIKENESS_MIN)
    return folded[near[0]] if near else None


def nearest(word: str, names: Collection[str]) -> str:
    """Say what to do about an unknown word: take the nearest known one, or see what there is."""
    near = near_to(word, names)
    if near is not None:
        return f"did you mean {quote(near)}?"
    return listing(names)


def listing(names: Collection[str]) -> str:
    """Say which names there are, the first of them where there are many."""
    if not names:
        return "there is none in the book"
    shown = [quote(known) for known in islice(names, NAMES_SHOWN_MAX)]
    more = f" and {len(names) - NAMES_SHOWN_MAX} more" if len(names) > NAMES_SHOWN_MAX else ""
    return f"use one of {', '.join(shown)}{more}"


def text(value: Any) -> str:
    """Take a text of at most 512 bytes without control characters; the empty one too."""
    if not isinstance(value, str):
        raise UnfitError(f"is {describe(value)}, not a text", 'write it in quotes: "…"')
    size = len(value.encode())
    if size > TEXT_BYTES_MAX:
        raise UnfitError(
            f"{quote(value)} has {size} bytes of UTF-8", f"use at most {TEXT_BYTES_MAX}"
        )
    if _CONTROL.search(value):
        raise UnfitError(f"{quote(value)} has a control character", "take it out")
    return value


def name(value: Any) -> str:
    """Take a text that is not empty."""
    if not text(value):
        raise UnfitError("is empty", "give it a name")
    return str(value)


def rule_id(value: Any) -> str:
    """Take a name that no charge for a package or an offer can bear."""
    named = name(value)
    if named.startswith(_CHARGE_PREFIXES):
        raise UnfitError(
            f"{quote(named)} looks like the charge line of a package or an offer",
            f'let no rule\'s id begin with "{_CHARGE_PREFIXES[0]}" or "{_CHARGE_PREFIXES[1]}"',
        )
    return named


def flag(value: Any) -> bool:
    """Take true or false."""
    if not isinstance(value, bool):
        raise UnfitError(f"is {describe(value)}", "write true or false, without quotes")
    return value


def choice(*words: str) -> Callable[[Any], Any]:
    """One of a few words; as Any, since the model's types name them one by one."""

    def parse(value: Any) -> str:
        if text(value) not in words:
            raise UnknownNameError(f"{quote(value)} is no word for this", value, words)
        return str(value)

    return parse


def known(noun: str, names: Collection[str]) -> Callable[[Any], str]:
    """Take the name of something that the book has."""
    there_are = dict.fromkeys(names)

    def parse(value: Any) -> str:
        if name(value) not in there_are:
            raise UnknownNameError(
                f"names the {noun} {quote(value)}, which does not exist", value, there_are
            )
        return name(value)

    return parse


def amount(micros_max: int, *, least_micros: int = 0) -> Callable[[Any], int]:
    """Money: a quoted decimal, in micro-units."""

    def parse(value: Any) -> int:
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            raise UnfitError(
                f"is {describe(value)}, but money is a quoted decimal",
                f'put it in quotes: "{_number_text(value)}"',
            )
        if not isinstance(value, str):
            raise UnfitError(
                f"is {describe(value)}, but money is a quoted decimal", 'write "12.50"'
            )
        micros = money.parse_money(value)
        if micros < least_micros:
            raise UnfitError(f"{quote(value)} is negative", "use 0 or more")
        if micros > micros_max:
            raise UnfitError(
                f"{quote(value)} is too large", f"use at most {micros_max // money.MICROS}"
            )
        return micros

    return parse


def percent(whole_max: int) -> Callable[[Any], int]:
    """Take a percentage from 0 to a bound, in millionths of a percent; quoted or a number."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
            raise UnfitError(f"is {describe(value)}, not a percentage", 'write "25" or "25.5"')
        if not isinstance(value, str):
            _check_range(value, whole_max)
        percent_micros = money.parse_percent(value)
        if not 0 <= percent_micros <= whole_max * money.MICROS:
            raise UnfitError(f"{quote(str(value))} is out of range", f"use 0 to {whole_max}")
        return percent_micros

    return parse


def _check_range(value: int | Decimal, most: int) -> None:
    is_number = not (isinstance(value, Decimal) and value.is_nan())
    if not is_number or not 0 <= value <= most:
        raise UnfitError(f"{_number_text(value)} is out of range", f"use 0 to {most}")


def span_ms(unit_ms: int, *, positive: bool = False) -> Callable[[Any], int]:
    """Take a quantity in units of `unit_ms`, as whole milliseconds."""

    def parse(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | Decimal):
            raise UnfitError(f"is {describe(value)}, not a number", "write it without quotes")
        _check_range(value, money.QUANTITY_MS_MAX // unit_ms)
        if positive and value == 0:
            raise UnfitError("is 0", "use more than 0")
        ms = money.scaled(value, unit_ms)
        if ms is None:
            raise UnfitError(
                f"{_number_text(value)} is not a whole number of milliseconds",
                "use fewer decimals or a smaller unit",
            )
        return ms

    return parse


def instant_ms(value: Any) -> int:
    """Take a TOML date and time with zone, as UTC ms since the epoch; finer parts are cut off."""
    if isinstance(value, datetime) and value.tzinfo is not None:
        instant = (value - EPOCH) // timedelta(milliseconds=1)
        if not INSTANT_MS_MIN <= instant <= INSTANT_MS_MAX:
            raise UnfitError("is at the end of the calendar", "leave it out for ever or never")
        return instant
    example = "2026-01-31T18:00:00Z, or with an offset such as +01:00"
    if isinstance(value, datetime):
        raise UnfitError(
            f"{value.isoformat()} has no zone, so it is no certain instant",
            f"write {value.isoformat()}Z for UTC, or end it with an offset such as +01:00",
        )
    if isinstance(value, str):
        raise UnfitError(f"is {describe(value)}", f"write it without quotes: {example}")
    raise UnfitError(f"is {describe(value)}, not a date and time", f"write {example}")


def local_date(value: Any) -> date:
    """Take a TOML date without a time."""
    if isinstance(value, datetime) or not isinstance(value, date):
        raise UnfitError(
            f"is {describe(value)}, not a date", "write 2026-12-25, with no quotes and no time"
        )
    return value


def minute_of_day(value: Any) -> int:
    """Take a time "HH:MM" on a quarter of an hour, up to "24:00", as minutes since midnight."""
    if not isinstance(value, str):
        raise UnfitError(f"is {describe(value)}", 'write a quoted time of day such as "18:00"')
    found = _CLOCK.fullmatch(value)
    minute = int(found[1]) * 60 + int(found[2]) if found else -1
    if not found or int(found[2]) > 59 or minute > DAY_MINUTES:
        raise UnfitError(
            f"{quote(value)} is not a time of day", 'write "HH:MM", from "00:00" to "24:00"'
        )
    if minute % 15:
        raise UnfitError(
            f"{quote(value)} is not on a quarter of an hour",
            "use minutes 00, 15, 30 or 45",
        )
    return minute


def currency(value: Any) -> str:
    """Take an ISO 4217 code of money."""
    return currencies.currency(name(value))


def timezone(value: Any) -> str:
    """Take an IANA time zone."""
    return zones.timezone(name(value))
