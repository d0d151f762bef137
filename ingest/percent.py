"""Percent-encoding taken off whole columns, compiled: of texts, or of one argument of queries.

What is decoded is bytes: whether they are the text of anything is for the reader of them to say.
Source: RFC 3986 section 2.1; the URL standard's application/x-www-form-urlencoded, for the plus.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingest.text_columns import Texts, read_only
from ingest.words import byte_at, inlined, jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]
    Truths = NDArray[np.bool_]

PERCENT, PLUS, SPACE, AMPERSAND, SEMICOLON, QUESTION, SLASH = (
    0x25,
    0x2B,
    0x20,
    0x26,
    0x3B,
    0x3F,
    0x2F,
)
NO_DIGIT = -1
NOWHERE = -1
HEX = np.full(256, NO_DIGIT, np.int64)
for _digit in "0123456789abcdefABCDEF":
    HEX[ord(_digit)] = int(_digit, 16)


def decoded_texts(texts: Texts, times: int) -> Texts:
    """Texts with percent-encoding taken off, so often."""
    raw = np.empty(max(1, len(texts.raw)), np.uint8)
    offsets = np.zeros(len(texts.offsets), np.int64)
    decode_rows(texts.raw, texts.offsets, times, raw, offsets)
    return Texts(read_only(raw), read_only(offsets), texts.is_present)


class Arguments(NamedTuple):
    """What was found of an argument in queries. counts: how many each query has of it."""

    texts: Texts
    counts: Ints


def decoded_arguments(queries: Texts, names: Sequence[bytes], times: int) -> Arguments:
    """The argument of some names in each query that is percent-encoded so often, with a last plus.

    The last encoding is that of the argument itself, so its ampersands do not end it, and its
    pluses are spaces. Where several have one of the names, in any case, it is the last; none where
    none has. A mark "//.../" before the value is left out.
    """
    raw = np.empty(max(1, len(queries.raw)), np.uint8)
    offsets = np.zeros(len(queries.offsets), np.int64)
    counts = np.zeros(len(queries.is_present), np.int64)
    words = [name.lower() + b"=" for name in names]
    word_ends = read_only(np.cumsum([len(word) for word in words]))
    word_bytes = read_only(np.frombuffer(b"".join(words), np.uint8).copy())
    parts = (queries.raw, queries.offsets, word_bytes, word_ends, times - 1)
    take_arguments(*parts, raw, offsets, counts)
    return Arguments(Texts(read_only(raw), read_only(offsets), counts > 0), counts)


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
def lower(byte: int) -> int:
    """A letter of ASCII as a small one."""
    return byte + 0x20 if 0x41 <= byte <= 0x5A else byte


@inlined
def after_word(raw: Bytes, i: int, end: int, words: Bytes, word_ends: Ints) -> int:
    """Where the word ends that stands at a position, in any case; NOWHERE if none does."""
    begin = 0
    for word in range(len(word_ends)):
        size = word_ends[word] - begin
        k = 0
        while k < size and i + k < end and lower(byte_at(raw, i + k)) == byte_at(words, begin + k):
            k += 1
        if k == size:
            return i + k
        begin = word_ends[word]
    return NOWHERE


@inlined
def next_argument(raw: Bytes, i: int, end: int) -> int:
    """Where the argument ends that stands at a position."""
    while i < end and byte_at(raw, i) != AMPERSAND:
        i += 1
    return i


@inlined
def parts_arguments(byte: int) -> bool:
    """Whether an argument may begin behind a byte."""
    return byte in (AMPERSAND, SEMICOLON, QUESTION)


@inlined
def without_mark(raw: Bytes, i: int, end: int) -> int:
    """Where a text ends once its mark is taken off and the rest has moved to its begin."""
    if end - i < 2 or byte_at(raw, i) != SLASH or byte_at(raw, i + 1) != SLASH:
        return end
    after = i + 2
    while after < end and byte_at(raw, after) != SLASH:
        after += 1
    if after == end:
        return end
    for j in range(after + 1, end):
        raw[i + j - after - 1] = byte_at(raw, j)
    return i + end - after - 1


@jit
def take_arguments(
    raw: Bytes,
    offsets: Ints,
    words: Bytes,
    word_ends: Ints,
    times: int,
    to: Bytes,
    to_offsets: Ints,
    counts: Ints,
) -> None:
    """Find one argument of each query, which is decoded so often before, and decode it once more.

    words: its names, each with an equals sign, one after another. counts: takes how many there are.
    """
    at = 0
    for row in range(len(offsets) - 1):
        end = decode_often(raw, offsets[row], offsets[row + 1], times, to, at)
        i, begin, after = at, NOWHERE, NOWHERE
        while i < end:
            found = NOWHERE
            if i == at or parts_arguments(byte_at(to, i - 1)):
                found = after_word(to, i, end, words, word_ends)
            if found == NOWHERE:
                i += 1
            else:
                begin, after = found, next_argument(to, found, end)
                counts[row] += 1
                i = after
        if begin != NOWHERE:
            at = without_mark(to, at, decode(to, begin, after, to, at, True))
        to_offsets[row + 1] = at
