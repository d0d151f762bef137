"""Lines as bytes: where they end, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.words import HIGH_BITS, ONES, Word, byte_at, inlined, jit, signed, word_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

LINE_END = 0x0A

LINE_BYTES_MAX = 16 * 2**20
"""A line of this many bytes or more is malformed, whatever it holds; readers keep only so many."""

PADDING = 16
"""Line ends after the last line of bytes to decode, so that a scan needs to look for no end."""

STRIDE = 248  # bytes counted at a time: whole words, and few enough for a count in one byte
LINE_ENDS = ONES * Word(LINE_END)
LOWER_BITS = ~HIGH_BITS


@inlined
def count_stride(raw: Bytes, at: int) -> int:
    """How many line ends the STRIDE bytes from `at` on hold."""
    counts = Word(0)  # eight counts, one in each byte
    for k in range(at, at + STRIDE, 8):
        bits = word_at(raw, k) ^ LINE_ENDS
        # The upper bit of a byte stays clear only where all its bits are.
        counts += (~(((bits & LOWER_BITS) + LOWER_BITS) | bits) & HIGH_BITS) >> Word(7)
    return signed((counts * ONES) >> Word(56))


@jit
def count_lines(raw: Bytes, at: int, end: int) -> int:
    """How many line ends a range holds."""
    count = 0
    while at + STRIDE <= end:
        count += count_stride(raw, at)
        at += STRIDE
    for k in range(at, end):
        count += byte_at(raw, k) == LINE_END
    return count


@jit
def cut_lines(raw: Bytes, at: int, end: int, lines_max: int) -> tuple[int, int]:
    """Where the whole lines of a range end, at most `lines_max` of them, and how many they are."""
    while end > at and byte_at(raw, end - 1) != LINE_END:
        end -= 1
    lines = 0
    while at + STRIDE <= end:
        more = count_stride(raw, at)
        if lines + more >= lines_max:
            break
        lines += more
        at += STRIDE
    for k in range(at, end):
        if byte_at(raw, k) == LINE_END:
            lines += 1
            if lines == lines_max:
                return k + 1, lines
    return end, lines
