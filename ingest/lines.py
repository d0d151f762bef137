"""Lines as bytes: where they end, and how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ingest.words import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]

LINE_END = 0x0A

LINE_BYTES_MAX = 16 * 2**20
"""A line of this many bytes or more is malformed, whatever it holds; readers keep only so many."""

PADDING = 16
"""Line ends after the last line of bytes to decode, so that a scan needs to look for no end."""

STRIDE = 192  # bytes counted at a time: a multiple of what a vector holds, and less than 256


@jit
def count_lines(raw: Bytes, at: int, end: int) -> int:
    """How many line ends a range holds."""
    count = 0
    while at + STRIDE <= end:
        count += count_stride(raw, at)
        at += STRIDE
    for k in range(at, end):
        count += raw[k] == LINE_END
    return count


@jit
def count_stride(raw: Bytes, at: int) -> int:
    """How many line ends the STRIDE bytes from `at` on hold; in bytes, which fit a vector best."""
    count = np.uint8(0)
    for k in range(STRIDE):
        count = np.uint8(count + np.uint8(raw[at + k] == LINE_END))
    return int(count)


@jit
def cut_lines(raw: Bytes, at: int, end: int, lines_max: int) -> tuple[int, int]:
    """Where the whole lines of a range end, at most `lines_max` of them, and how many they are."""
    while end > at and raw[end - 1] != LINE_END:
        end -= 1
    lines = 0
    while at + STRIDE <= end:
        more = count_stride(raw, at)
        if lines + more >= lines_max:
            break
        lines += more
        at += STRIDE
    for k in range(at, end):
        if raw[k] == LINE_END:
            lines += 1
            if lines == lines_max:
                return k + 1, lines
    return end, lines
