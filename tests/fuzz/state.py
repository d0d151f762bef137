"""Stored state with bytes changed, cut off or mixed up: it is refused, or is what it was."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from core_adapter import batch_of
from worlds import random_world

from rating.rater import Rater
from rating.seals import StateDamaged

if TYPE_CHECKING:
    from random import Random

    from rating.schemas import StateChunk
    from tariffs.model import Book

WORLDS = 6


@cache
def stored_state(seed: int) -> tuple[tuple[Book, ...], list[StateChunk]]:
    """A world's books, and the state that half of its log leaves, in several batches."""
    world = random_world(seed)
    lines = list(world.lines)
    rater = Rater(world.books)
    chunks: dict[tuple[str, int], StateChunk] = {}
    half = len(lines) // 2
    for first in range(0, half, 1 + half // 3):
        result = rater.rate(batch_of(lines[first : min(half, first + 1 + half // 3)], first))
        chunks |= {(chunk.name, chunk.seq): chunk for chunk in result.state_added}
        for key in result.state_dropped:
            del chunks[key]
    return tuple(world.books), list(chunks.values())


def spoilt(random: Random, payload: bytes) -> bytes:
    """Some bytes changed, or some cut off, or some more."""
    changed = bytearray(payload)
    for _ in range(random.randint(1, 4)):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    length = random.choice((len(payload), len(payload), random.randrange(len(payload))))
    more = random.choice((b"", b"", b"\0", payload[:40]))
    return bytes(changed[:length]) + more


def fuzz(random: Random) -> None:
    """One chunk spoilt, or two that change places."""
    books, chunks = stored_state(random.randrange(WORLDS))
    number = random.randrange(len(chunks))
    damaged = list(chunks)
    if random.random() < 0.2:
        other = random.randrange(len(chunks))
        damaged[number] = replace(chunks[number], payload=chunks[other].payload)
        damaged[other] = replace(chunks[other], payload=chunks[number].payload)
    else:
        payload = spoilt(random, chunks[number].payload)
        damaged[number] = replace(chunks[number], payload=payload)
    try:
        Rater(books, damaged)
    except StateDamaged as error:
        assert "restore the store from a copy" in str(error)
    else:
        assert damaged == chunks, f"chunk {chunks[number].name} was spoilt, and taken"
