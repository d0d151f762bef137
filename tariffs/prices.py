"""P(x), tax and percentages: the only places where a quantity becomes money.

Every function is exact in int64. A product that could pass 64 bits is split into whole units and
a remainder first: x * amount / unit = q * amount + r * amount / unit with x = q * unit + r.
Bounds are held by the loader (tariffs/load.py).
Source: spec section 4.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tariffs.jit import int64, jit
from tariffs.model import PERCENT_MICROS_WHOLE

PER_UNIT, GRADUATED, VOLUME, PACKAGE, FLAT = range(5)
MODELS = ("per_unit", "graduated", "volume", "package", "flat")

PRICE = np.dtype(
    [
        ("model", "u1"),
        ("amount_micros", "<i8"),
        ("unit_ms", "<i8"),
        ("size_ms", "<i8"),
        ("tiers_at", "<i4"),
        ("tiers_len", "<i4"),
    ]
)
TIER = np.dtype(
    [
        ("lower_ms", "<i8"),
        ("upper_ms", "<i8"),
        ("amount_micros", "<i8"),
        ("flat_micros", "<i8"),
        # What the tiers below come to, without rounding: whole micros and a rest in 1/unit_ms.
        ("below_micros", "<i8"),
        ("below_rest", "<i8"),
    ]
)


@jit
def half_up(numerator: int, denominator: int) -> int:
    """Round to the nearest whole, halves up (also below zero: -0.5 gives 0)."""
    return (2 * numerator + denominator) // (2 * denominator)


@jit
def times(quantity: int, amount: int, unit: int, rest: int) -> int:
    """half_up((quantity * amount + rest) / unit), with the product split to stay in 64 bits."""
    whole = quantity // unit
    return whole * amount + half_up((quantity - whole * unit) * amount + rest, unit)


@jit
def percent_of(amount_micros: int, percent_micros: int) -> int:
    """half_up(amount x percent / 100)."""
    return times(amount_micros, percent_micros, PERCENT_MICROS_WHOLE, 0)


@jit
def price_micros(price: Any, tiers: Any, quantity_ms: int) -> int:
    """P(x), in micro-units, of a cumulative quantity; 0 at 0."""
    if quantity_ms <= 0:
        return 0
    if price.model == PER_UNIT:
        return times(quantity_ms, price.amount_micros, price.unit_ms, 0)
    if price.model == PACKAGE:
        return -(-quantity_ms // price.size_ms) * price.amount_micros
    if price.model == FLAT:
        return int64(price.amount_micros)
    at = int64(price.tiers_at)
    last = at + int64(price.tiers_len) - 1
    while at < last and quantity_ms > tiers[at].upper_ms:
        at += 1
    tier = tiers[at]
    if price.model == VOLUME:
        return times(quantity_ms, tier.amount_micros, price.unit_ms, 0) + tier.flat_micros
    inside = quantity_ms - tier.lower_ms
    return tier.below_micros + times(inside, tier.amount_micros, price.unit_ms, tier.below_rest)


@jit
def tax_micros(net_micros: int, percent_micros: int, inclusive: bool) -> int:
    """The tax in (inclusive) or on (exclusive) a net amount; rounded on the magnitude."""
    whole = PERCENT_MICROS_WHOLE + percent_micros if inclusive else PERCENT_MICROS_WHOLE
    if net_micros < 0:
        return -times(-net_micros, percent_micros, whole, 0)
    return times(net_micros, percent_micros, whole, 0)


@jit
def billed_ms(watched_ms: int, increment_ms: int, minimum_ms: int, free_below_ms: int) -> int:
    """The measure step: nothing below free_below, then whole increments and the minimum."""
    if watched_ms == 0 or watched_ms < free_below_ms:
        return 0
    return max(minimum_ms, -(-watched_ms // increment_ms) * increment_ms)
