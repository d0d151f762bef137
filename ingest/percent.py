"""Percent-encoding taken off whole columns, compiled: of texts, or of one argument of queries.

What is decoded is bytes: whether they are the text of anything is for the reader of them to say.
Source: RFC 3986 section 2.1; the URL standard's application/x-www-form-urlencoded, for the plus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ingest.text_columns import Texts, read_only
from ingest.words import byte_at, inlined, jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]
    Truths = NDArray[np.bool_]

PERCENT, PLUS, SPACE, AMPERSAND, EQUALS = 0x25, 0x2B, 0x20, 0x26, 0x3D
NO_DIGIT = -1
HEX = np.full(256, NO_DIGIT, np.int64)
for _digit in "0123456789abcdefABCDEF":
    HEX[ord(_digit)] = int(_digit, 16)


def decoded_texts(texts: Texts, times: int) -> Texts:
    """Texts with percent-encoding taken off, so often."""
    raw = np.empty(max(1, len(texts.raw)), np.uint8)
    offsets = np.zeros(len(texts.offsets), np.int64)
    decode_rows(texts.raw, texts.offsets, times, raw, offsets)
    return Texts(read_only(raw), read_only(offsets), texts.is_present)


def decoded_arguments(queries: Texts, name: bytes, times: int) -> Texts:
    """The argument of a name in each query that is percent-encoded so often, with a last plus.

    The last encoding is that of the argument itself, so its ampersands do not end it, and its
    pluses are spaces. Where several have the name, it is the first; none where none has.
    """
    raw = np.empty(max(1, len(queries.raw)), np.uint8)
    offsets = np.zeros(len(queries.offsets), np.int64)
    is_present = np.zeros(len(queries.is_present), np.bool_)
    word = read_only(np.frombuffer(name + b"=", np.uint8).copy())
    take_arguments(queries.raw, queries.offsets, word, times - 1, raw, offsets, is_present)
    return Texts(read_only(raw), read_only(offsets), is_present)


@inlined
def decode(raw: Bytes, i: int, end: int, to: Bytes, at: int, is_form: bool) -> int:
    """Decode a range of bytes to others, which may be the same if they are not ahead.

    is_form: a plus is a space. Returns: where they end.
    """
    while i < end:
        byte = byte_at(raw, i)
        i += 1
        if byte == PERCENT and i + 1 < end:
            high, low = HEX[byte_at(raw, i)], HEX[byte_at(raw, i + 1)]
            if high >= 0 and low >= 0:
                byte = high * 16 + low
                i += 2
        elif byte == PLUS and is_form:
            byte = SPACE
        to[at] = byte
        at += 1
    return at


@inlined
def decode_often(raw: Bytes, i: int, end: int, times: int, to: Bytes, at: int) -> int:
    """Decode so often, or copy; returns where the decoded bytes end."""
    if times == 0:
        for j in range(i, end):
            to[at + j - i] = byte_at(raw, j)
        return at + end - i
    after = decode(raw, i, end, to, at, False)
    for _ in range(times - 1):
        after = decode(to, at, after, to, at, False)
    return after


@jit
def decode_rows(raw: Bytes, offsets: Ints, times: int, to: Bytes, to_offsets: Ints) -> None:
    """Decode texts that stand one after another."""
    at = 0
    for row in range(len(offsets) - 1):
        at = decode_often(raw, offsets[row], offsets[row + 1], times, to, at)
        to_offsets[row + 1] = at


@inlined
def begins_with(raw: Bytes, i: int, end: int, word: Bytes) -> bool:
    """Whether a word stands at a position."""
    if end - i < len(word):
        return False
    k = 0
    while k < len(word) and byte_at(raw, i + k) == byte_at(word, k):
        k += 1
    return k == len(word)


@inlined
def next_argument(raw: Bytes, i: int, end: int) -> int:
    """Where the argument ends that stands at a position."""
    while i < end and byte_at(raw, i) != AMPERSAND:
        i += 1
    return i


@jit
def take_arguments(
    raw: Bytes,
    offsets: Ints,
    word: Bytes,
    times: int,
    to: Bytes,
    to_offsets: Ints,
    is_present: Truths,
) -> None:
    """Find one argument of each query, which is decoded so often before, and decode it once more.

    word: its name and the equals sign.
    """
    at = 0
    for row in range(len(offsets) - 1):
        end = decode_often(raw, offsets[row], offsets[row + 1], times, to, at)
        i = at
        while i < end:
            after = next_argument(to, i, end)
            if begins_with(to, i, after, word):
                at = decode(to, i + len(word), after, to, at, True)
                is_present[row] = True
                break
            i = after + 1
        to_offsets[row + 1] = at
