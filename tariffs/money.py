"""Money, percentages and quantities: from what a book says to integers, exactly, and back.

Money is micro-units of a currency, a percentage is millionths of a percent, a quantity is
milliseconds. Nothing here is ever a binary float: TOML floats arrive as Decimal.
Source: spec sections 3 and 4.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from fractions import Fraction

from tariffs.errors import UnfitError, quote

MICROS = 1_000_000
DECIMALS_MAX = 6

PRICE_MICROS_MAX = 10**12
"""A rule's amounts: at most a million currency units, and at most that for an hour.

A remainder of less than an hour (3.6e6 ms) times such an amount, doubled for half_up, is
7.2e18 and fits int64.
"""
AMOUNT_MICROS_MAX = 10**15
"""Amounts that no quantity multiplies: caps, credit limits, offers. A thousand million units."""

COUNTER_MICROS_MAX = 4 * 10**17
"""What one counter of an account may come to: 400 thousand million units.

Past it no further piece of the account is priced. One piece moves a counter by little more than
AMOUNT_MICROS_MAX, and tax is at most ten times the net, so whatever is made of it fits int64.
"""
COUNTER_MS_MAX = 10**18
"""The same for a counter of time."""
assert 11 * (COUNTER_MICROS_MAX + 4 * AMOUNT_MICROS_MAX) < 2**63

QUANTITY_MS_MAX = 10**6 * 3_600_000
"""Quantities and spans: a million hours, more than a century.

At the highest hourly price that is 1e18 micro-units, which fits int64.
"""

_DECIMAL = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?")
_DIGITS_MAX = 30  # Far above every bound, and far below where int() refuses.
_EXACT = Context(prec=_DIGITS_MAX + 10)
_FINEST = Decimal("1E-9")  # A nano-hour is 3.6 microseconds: below what can be whole in ms.


def half_up(a: int, b: int) -> int:
    """Round a / b to the nearest integer, halves up; b > 0. Source: spec section 4."""
    return (2 * a + b) // (2 * b)


def parse_money(text: str) -> int:
    """Read the micro-units of a decimal such as "12.50".

    Raises: UnfitError (a ValueError) where it is not a plain decimal of at most 6 decimals.
    """
    found = _DECIMAL.fullmatch(text)
    if found is None:
        raise UnfitError(
            f"{quote(text)} is not a decimal number",
            'write digits with a point for decimals, such as "12.50"',
        )
    whole, decimals = found[1], found[2] or ""
    if len(decimals) > DECIMALS_MAX:
        raise UnfitError(
            f"{quote(text)} has {len(decimals)} decimals",
            f"use at most {DECIMALS_MAX}",
        )
    if len(whole) > _DIGITS_MAX:
        raise UnfitError(f"{quote(text)} is too large", f"use at most {_DIGITS_MAX} digits")
    micros = int(whole + decimals.ljust(DECIMALS_MAX, "0"))
    return -micros if text.startswith("-") else micros


def format_micros(micros: int) -> str:
    """Micro-units as a decimal with two to six decimals: 1_500_000 is "1.50"."""
    whole, rest = divmod(abs(micros), MICROS)
    decimals = f"{rest:06d}".rstrip("0").ljust(2, "0")
    return f"{'-' if micros < 0 else ''}{whole}.{decimals}"


def format_percent(percent_micros: int) -> str:
    """Millionths of a percent as a decimal without needless zeros: 25_500_000 is "25.5"."""
    whole, rest = divmod(abs(percent_micros), MICROS)
    decimals = f"{rest:06d}".rstrip("0")
    return f"{'-' if percent_micros < 0 else ''}{whole}{'.' if decimals else ''}{decimals}"


def scaled(number: int | Decimal, by: int) -> int | None:
    """Multiply `number` by `by` where the product is a whole number, else None.

    Numbers of astronomical size or fineness give None as well; a caller has bounds of its own
    for those that are merely too large.
    """
    if isinstance(number, int):
        return number * by
    if not number.is_finite():
        return None
    if number.is_zero():
        return 0
    if number.adjusted() >= _DIGITS_MAX:
        return None
    cut = number.quantize(_FINEST, context=_EXACT)
    if cut != number:
        return None
    product = Fraction(cut) * by
    return int(product) if product.denominator == 1 else None


def parse_percent(value: str | int | Decimal) -> int:
    """Millionths of a percent, of a quoted decimal or a TOML number of at most 6 decimals.

    Raises: UnfitError where it is not one.
    """
    if isinstance(value, str):
        return parse_money(value)
    micros = scaled(value, MICROS)
    if micros is None:
        raise UnfitError(f"has more than {DECIMALS_MAX} decimals", f"use at most {DECIMALS_MAX}")
    return micros
