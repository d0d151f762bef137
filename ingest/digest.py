"""Recognising content: a digest of the first n bytes of a stream, for any n that one stops at.

Every byte of every log goes through it, on each run again, so it has to cost next to nothing beside
decoding, where a cryptographic digest would cost as much. Four 64-bit lanes take the words of the
content in turn, 32 bytes at a time, and BLAKE2b seals the lanes, the bytes that are left over and
the length. A lane's step can be undone, so contents that differ in one word never meet; those that
differ in more meet by a chance of 2^-64. It tells logs apart, and is no defence against a forger.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from ingest.words import Word, inlined, jit, word_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIGEST_BYTES = 16
STRIP_BYTES = 32
FACTOR = Word(0x9E3779B97F4A7C15)  # odd, so that multiplying loses nothing
FIRST_LANES = np.array([1, 2, 3, 4], np.uint64) * FACTOR


class ContentDigest:
    """A digest that grows with its content; the same however the content is cut into updates."""

    def __init__(self) -> None:
        self._lanes = FIRST_LANES.copy()
        self._rest = b""  # of the last strip, which is not full yet
        self._length = 0

    def update(self, content: bytes | memoryview) -> None:
        """Add the bytes that follow."""
        self._length += len(content)
        missing = STRIP_BYTES - len(self._rest)
        if len(content) < missing:
            self._rest += bytes(content)
            return
        if self._rest:
            add_strips(self._lanes, np.frombuffer(self._rest + content[:missing], np.uint8))
            content = content[missing:]
        add_strips(self._lanes, np.frombuffer(content, np.uint8))
        self._rest = bytes(content[len(content) - len(content) % STRIP_BYTES :])

    def digest(self) -> bytes:
        """The digest of the bytes added so far."""
        sealed = hashlib.blake2b(self._lanes.tobytes(), digest_size=DIGEST_BYTES)
        sealed.update(self._rest + self._length.to_bytes(8, "little"))
        return sealed.digest()


@inlined
def step(lane: Word, word: Word) -> Word:
    """Take one word into a lane."""
    mixed = lane ^ word
    return ((mixed << Word(29)) | (mixed >> Word(35))) * FACTOR


@jit
def add_strips(lanes: NDArray[np.uint64], content: NDArray[np.uint8]) -> None:
    """Take every whole strip of the content into the lanes."""
    first, second, third, fourth = lanes[0], lanes[1], lanes[2], lanes[3]
    for i in range(0, len(content) - STRIP_BYTES + 1, STRIP_BYTES):
        first = step(first, word_at(content, i))
        second = step(second, word_at(content, i + 8))
        third = step(third, word_at(content, i + 16))
        fourth = step(fourth, word_at(content, i + 24))
    lanes[0], lanes[1], lanes[2], lanes[3] = first, second, third, fourth
