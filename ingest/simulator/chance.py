"""Chance in integers: the same seed draws the same numbers on any machine and library version.

A stream is a splitmix64 counter kept by whoever draws; a trait is one draw that follows from the
seed, a household's number and a purpose. Distributions are tables of whole numbers,
made once from the standard library's mathematics and read by interpolation, so that no float
decides anything while records are made.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import jit

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WHOLE = 1 << 32  # a draw is a whole number in [0, WHOLE)
QUANTILES = 4096  # points of a quantile table; between them it is read as a straight line
RANK_SLOTS = 1 << 16  # entries of a rank table, one for each value of a draw's upper half

STEP = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)
SHIFT_30 = np.uint64(30)
SHIFT_27 = np.uint64(27)
SHIFT_31 = np.uint64(31)
SHIFT_32 = np.uint64(32)


def scatter(bits: Any) -> Any:
    """Scatter 64 bits: the finishing step of splitmix64."""
    bits = np.uint64(bits)  # compiled functions are handed all integers as signed ones
    bits = (bits ^ (bits >> SHIFT_30)) * FIRST_FACTOR
    bits = (bits ^ (bits >> SHIFT_27)) * SECOND_FACTOR
    return bits ^ (bits >> SHIFT_31)


def spread(drawn: Any, low: Any, high: Any) -> Any:
    """A draw spread evenly over [low, high)."""
    return low + ((drawn * (high - low)) >> 32)


def read(drawn: Any, table: Any) -> Any:
    """A draw read as a quantile of the table's distribution."""
    position = drawn * (len(table) - 1)
    index = position >> 32
    fraction = position & (WHOLE - 1)
    return table[index] + (((table[index + 1] - table[index]) * fraction) >> 32)


# The same for single draws, compiled.
mix = jit(scatter)
between = jit(spread)
quantile = jit(read)


@jit
def draw(device: Any) -> Any:
    """The next draw of a device's life."""
    device.luck += STEP
    return np.int64(mix(device.luck) >> SHIFT_32)


@jit
def mischance(device: Any) -> Any:
    """The next draw of a device's faults; a stream of its own, so that faults change no life."""
    device.mischance += STEP
    return np.int64(mix(device.mischance) >> SHIFT_32)


@jit
def ranked(drawn: Any, table: Any) -> Any:
    """A draw looked up in a rank table."""
    return np.int64(table[drawn >> 16])


def streams(seed: int, households: NDArray[Any], purpose: Any) -> NDArray[np.uint64]:
    """The 64 bits that each household has for a purpose; seed and numbers alone decide them."""
    own = scatter(np.uint64(seed) + STEP * households.astype(np.uint64))
    bits: NDArray[np.uint64] = scatter(own + STEP * np.asarray(purpose, dtype=np.uint64))
    return bits


def traits(seed: int, households: NDArray[Any], purpose: Any) -> NDArray[np.int64]:
    """The draw that each household has for a purpose; always the same one."""
    return (streams(seed, households, purpose) >> SHIFT_32).astype(np.int64)


def share(probability: float) -> int:
    """The threshold that a draw stays below with this probability."""
    return round(probability * WHOLE)


def quantile_table(
    inverse: Callable[[float], float], mean_ms: float, low_ms: int, high_ms: int
) -> NDArray[np.int64]:
    """A distribution as QUANTILES points, scaled to the mean and then kept inside its bounds."""
    raw = [inverse((index + 0.5) / QUANTILES) for index in range(QUANTILES)]
    scale = mean_ms * QUANTILES / math.fsum(raw)
    points = [min(high_ms, max(low_ms, round(value * scale))) for value in raw]
    return np.array(points, dtype=np.int64)


def log_normal(sigma: float) -> Callable[[float], float]:
    """The quantiles of a log-normal distribution with median 1."""
    normal = NormalDist()
    return lambda probability: math.exp(sigma * normal.inv_cdf(probability))


def exponential(probability: float) -> float:
    """The quantiles of the exponential distribution with mean 1."""
    return -math.log1p(-probability)


def zipf_table(count: int, exponent: float, seed: int) -> NDArray[np.uint16]:
    """A rank table over `count` things: the one of rank r comes up in proportion to r^-exponent.

    Which thing has which rank is shuffled by the seed.
    """
    weights = [rank**-exponent for rank in range(1, count + 1)]
    total = math.fsum(weights)
    edges = [round(RANK_SLOTS * math.fsum(weights[: rank + 1]) / total) for rank in range(count)]
    order = list(range(count))
    drawn = traits(seed, np.arange(count), count)
    for place in range(count - 1, 0, -1):
        other = spread(int(drawn[place]), 0, place + 1)
        order[place], order[other] = order[other], order[place]
    sizes = np.diff([0, *edges])
    return np.repeat(np.array(order, dtype=np.uint16), sizes)
