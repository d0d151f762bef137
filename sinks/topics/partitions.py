"""Which partition a key belongs to, for many keys at once: Kafka's default partitioner.

Source: murmur2 with the seed and the sign bit of Kafka's own clients, so that a key sent by any of
them and by ratecast meets in one partition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SEED = np.uint32(0x9747B28C)
MIX = np.uint32(0x5BD1E995)
MIX_SHIFT = np.uint32(24)
POSITIVE = np.uint32(0x7FFFFFFF)
WORD_BYTES = 4


def partitions_of(keys: Sequence[bytes], partitions: int) -> NDArray[np.int64]:
    """Give each key's partition, of 0 to partitions - 1."""
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    found = np.empty(len(keys), np.int64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        alike = np.frombuffer(b"".join(keys[row] for row in rows.tolist()), np.uint8)
        found[rows] = _murmur2(alike.reshape(len(rows), int(length))) & POSITIVE
    return found % partitions


def _murmur2(keys: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Hash the rows of a matrix: keys of one length. Products wrap at 32 bits, as is meant."""
    count, length = keys.shape
    whole = length - length % WORD_BYTES
    words = np.ascontiguousarray(keys[:, :whole]).view("<u4").reshape(count, whole // WORD_BYTES)
    hashed = np.full(count, SEED ^ np.uint32(length), np.uint32)
    for column in range(words.shape[1]):
        word = words[:, column] * MIX
        word ^= word >> MIX_SHIFT
        hashed *= MIX
        hashed ^= word * MIX
    if whole < length:
        for place in range(length - whole):
            hashed ^= keys[:, whole + place].astype(np.uint32) << np.uint32(8 * place)
        hashed *= MIX
    hashed ^= hashed >> np.uint32(13)
    hashed *= MIX
    hashed ^= hashed >> np.uint32(15)
    return hashed
