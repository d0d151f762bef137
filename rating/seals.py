"""Seals on stored state: a chunk whose bytes are not those that were stored is never rated from.

A byte that changed on a disk would otherwise be another balance, or another length of a text, and
nobody would know. A seal ends a chunk: a digest of its name, its number and its bytes.
"""

from __future__ import annotations

from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from rating.chunks import says_version
from rating.upgrades import StateUnreadable

if TYPE_CHECKING:
    from rating.schemas import StateChunk

SEAL_BYTES = 16
LENGTH_BYTES = 8


class StateDamaged(StateUnreadable):
    """A chunk of stored state is not what was stored; the text says which, and what to do."""


def sealed(chunk: StateChunk) -> StateChunk:
    """The chunk as it is stored."""
    return replace(chunk, payload=chunk.payload + _seal(chunk, chunk.payload))


def opened(chunk: StateChunk) -> StateChunk:
    """The chunk as it was before it was sealed. Raises: StateDamaged."""
    payload = chunk.payload[:-SEAL_BYTES]
    if chunk.payload[-SEAL_BYTES:] == _seal(chunk, payload):
        return replace(chunk, payload=payload)
    if _is_unsealed(chunk.payload) and not says_version(chunk.payload):
        return chunk
    raise StateDamaged(
        f"the store's state is damaged: chunk {chunk.name} {chunk.seq} has not the bytes that were "
        "stored; restore the store from a copy"
    )


def _seal(chunk: StateChunk, payload: bytes) -> bytes:
    digest = blake2b(f"{chunk.name}\0{chunk.seq}\0".encode(), digest_size=SEAL_BYTES)
    digest.update(payload)
    return digest.digest()


def _is_unsealed(payload: bytes) -> bool:
    """Whether a chunk is as release 0.1.0 stored them: parts with their lengths, and no seal."""
    at = 0
    while at < len(payload):
        at += LENGTH_BYTES + int.from_bytes(payload[at : at + LENGTH_BYTES], "little")
    return at == len(payload) > 0
