"""Eight bytes at a time: the loads that compiled scanners are made of.

A load takes its eight bytes from any position, the first of them lowest, and checks no bounds: the
caller's bytes go on for at least seven past the position.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from rating.jit import locked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

P = ParamSpec("P")
R = TypeVar("R")

assert sys.byteorder == "little"  # the first byte in memory is the lowest of a word

Word = np.uint64

ONES = Word(0x0101010101010101)
HIGH_BITS = Word(0x8080808080808080)
ZEROS = Word(0x3030303030303030)  # eight characters "0"
OVER_NINE = Word(0x7676767676767676)  # lifts every byte above 9 to 128 or more
PAIRS = Word(0x000000FF000000FF)


# Counting references to arrays is atomic, and every small function would do it: half of a scan's
# time. Without it a function may use the arrays that it is given, but make none.
OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "_nrt": False}


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function that makes no arrays; otherwise as `rating.jit` does."""
    return cast("Callable[P, R]", locked(numba.njit(**OPTIONS)(function)))


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `jit`, but compiled into each caller; for small functions on the path of every byte."""
    return cast("Callable[P, R]", locked(numba.njit(forceinline=True, **OPTIONS)(function)))


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    start = context.make_array(array_type)(context, builder, array).data
    return builder.gep(start, [index])


def _byte_at(_: Any, array: Any, __: Any) -> tuple[Any, Callable[..., Any]]:
    def load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte = builder.load(_pointer(context, builder, signature.args[0], *arguments))
        return builder.zext(byte, context.get_value_type(types.int64))

    return types.int64(array, types.int64), load


def _word_at(_: Any, array: Any, __: Any) -> tuple[Any, Callable[..., Any]]:
    def load(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], *arguments)
        word_pointer = context.get_value_type(types.uint64).as_pointer()
        return builder.load(builder.bitcast(pointer, word_pointer), align=1)

    return types.uint64(array, types.int64), load


def _first_marked(_: Any, __: Any) -> tuple[Any, Callable[..., Any]]:
    def count(context: Any, builder: Any, _: Any, arguments: Any) -> Any:
        zero_counts = context.get_constant(types.boolean, 0)  # the zeros of 0 are 64
        zeros = builder.cttz(arguments[0], zero_counts)
        return builder.lshr(zeros, context.get_constant(types.int64, 3))

    return types.int64(types.uint64), count


byte_at = cast("Callable[[Bytes, int], int]", intrinsic(_byte_at))
"""The byte at a position."""

word_at = cast("Callable[[Bytes, int], Word]", intrinsic(_word_at))
"""The eight bytes from a position on."""

first_marked = cast("Callable[[Word], int]", intrinsic(_first_marked))
"""The index of the lowest byte of a word that is not zero; 8 where all are."""


@inlined
def signed(word: Word) -> int:
    """A word as a count; the sum of a signed and an unsigned integer would be a float."""
    return np.int64(word)  # type: ignore[return-value]


@inlined
def not_digits(word: Word) -> Word:
    """A word whose lowest byte that is not zero stands where `word` holds the first non-digit."""
    bits = word ^ ZEROS
    return ((bits + OVER_NINE) | bits) & HIGH_BITS


@inlined
def number_of(word: Word, digits: int) -> int:
    """The value of a word's first `digits` bytes, 1 to 8 of them, which are digits."""
    # The digits move to the upper end, with zeros before them; then neighbours are added up in
    # pairs, fours and eights.
    word = (word ^ ZEROS) << Word(8 * (8 - digits))
    word = word * Word(10) + (word >> Word(8))
    low = (word & PAIRS) * Word(100 + (1_000_000 << 32))
    high = ((word >> Word(16)) & PAIRS) * Word(1 + (10_000 << 32))
    return signed((low + high) >> Word(32))


@inlined
def same_bytes(left: Bytes, i: int, right: Bytes, k: int, length: int) -> bool:
    """Whether two ranges of `length` bytes are equal; both may be read 7 bytes past their end."""
    while length >= 8:
        if word_at(left, i) != word_at(right, k):
            return False
        i += 8
        k += 8
        length -= 8
    if length == 0:
        return True
    return bool((word_at(left, i) ^ word_at(right, k)) << Word(8 * (8 - length)) == Word(0))
