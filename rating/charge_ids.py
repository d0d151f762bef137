"""The names of charges as UUIDs.

A batch has one for each of its charges, so SHA-1 is compiled here: calling the library's once for
each name would cost more than the hashing, and hold the interpreter's lock.
Source: spec section 6; RFC 9562 section 5.5 (version 5); FIPS 180-4 section 6.1 (SHA-1).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from rating.jit import int64, jit

if TYPE_CHECKING:
    from collections.abc import Mapping

CHARGE_NAMESPACE = bytes.fromhex("6e1e2545000050008000000000000000")
USAGE_NAME = ("account", "device", "session", "content", "quality", "segment", "plan", "book")
UUID_CHARACTERS = 36
BLOCK_BYTES = 64
WORD = 0xFFFFFFFF
FIRST_STATE = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0)
HEX = np.frombuffer(b"0123456789abcdef", np.uint8)


def charge_id(name: str) -> str:
    """The UUIDv5 of a charge's name (section 6)."""
    digest = hashlib.sha1(CHARGE_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def charge_name(*parts: str) -> str:
    """A charge's name: its parts, escaped so that no two names are alike (section 6)."""
    return "|".join(part.replace("\\", "\\\\").replace("|", "\\|") for part in parts)


def usage_ids(columns: Mapping[str, pl.Series]) -> pl.Series:
    """The ids of usage charges, from their columns."""
    parts = {name: columns[name] for name in (*USAGE_NAME, "rule", "slot")}
    named = pl.concat_str(pl.lit("usage"), *parts, separator="|")
    names = pl.DataFrame(parts).select(name=named)["name"]
    if names.str.count_matches(r"[|\\]").sum() != len(names) * len(parts):
        texts = pl.col(pl.String)
        escaped = texts.str.replace_all("\\", "\\\\", literal=True)
        escaped = escaped.str.replace_all("|", "\\|", literal=True)
        names = pl.DataFrame(parts).with_columns(escaped).select(name=named)["name"]
    return charge_ids(names)


def charge_ids(names: pl.Series) -> pl.Series:
    """The UUIDv5 of each charge's name; as `charge_id`, for many."""
    if names.is_empty():
        return pl.Series(dtype=pl.String)
    array = names.to_arrow(compat_level=pl.CompatLevel.oldest())
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset :][: len(array) + 1]
    data = np.frombuffer(array.buffers()[2], np.uint8)
    longest = int(np.diff(offsets).max())
    message = np.empty(len(CHARGE_NAMESPACE) + longest + 2 * BLOCK_BYTES, np.uint8)
    message[: len(CHARGE_NAMESPACE)] = np.frombuffer(CHARGE_NAMESPACE, np.uint8)
    ids = np.empty(len(names) * UUID_CHARACTERS, np.uint8)
    write_ids(data, offsets, message, ids)
    ends = np.arange(0, len(ids) + 1, UUID_CHARACTERS, dtype=np.int64)
    texts = pa.LargeStringArray.from_buffers(len(names), pa.py_buffer(ends), pa.py_buffer(ids))
    return pl.Series(texts, dtype=pl.String)


@jit
def write_ids(data: Any, offsets: Any, message: Any, ids: Any) -> None:
    """Write each name's UUID as text. message: begins with the namespace; room for the rest."""
    state, schedule = np.empty(5, np.int64), np.empty(80, np.int64)
    for row in range(len(offsets) - 1):
        size = int64(len(CHARGE_NAMESPACE))
        for place in range(offsets[row], offsets[row + 1]):
            message[size] = data[place]
            size += 1
        blocks = pad_message(message, size)
        for number in range(5):
            state[number] = FIRST_STATE[number]
        for block in range(blocks):
            take_block(state, schedule, message, block * BLOCK_BYTES)
        write_id(state, ids, row * UUID_CHARACTERS)


@jit
def pad_message(message: Any, size: int) -> int:
    """End a message as SHA-1 wants it; returns its blocks."""
    blocks = (size + 9 + BLOCK_BYTES - 1) // BLOCK_BYTES
    message[size] = 0x80
    for place in range(size + 1, blocks * BLOCK_BYTES - 8):
        message[place] = 0
    for byte in range(8):
        message[blocks * BLOCK_BYTES - 1 - byte] = (size * 8) >> (8 * byte) & 0xFF
    return blocks


@jit
def take_block(state: Any, schedule: Any, message: Any, at: int) -> None:
    """Take one block of a message into the state. Words are int64, of which 32 bits are used."""
    for step in range(16):
        word = int64(0)
        for byte in range(4):
            word = word << 8 | int64(message[at + 4 * step + byte])
        schedule[step] = word
    for step in range(16, 80):
        word = schedule[step - 3] ^ schedule[step - 8] ^ schedule[step - 14] ^ schedule[step - 16]
        schedule[step] = (word << 1 | word >> 31) & WORD
    a, b, c, d, e = state[0], state[1], state[2], state[3], state[4]
    for step in range(80):
        if step < 20:
            mixed, constant = (b & c) | (~b & d), 0x5A827999
        elif step < 40:
            mixed, constant = b ^ c ^ d, 0x6ED9EBA1
        elif step < 60:
            mixed, constant = (b & c) | (b & d) | (c & d), 0x8F1BBCDC
        else:
            mixed, constant = b ^ c ^ d, 0xCA62C1D6
        following = ((a << 5 | a >> 27) + mixed + e + constant + schedule[step]) & WORD
        e, d, c, b, a = d, c, (b << 30 | b >> 2) & WORD, a, following
    state[0] = (state[0] + a) & WORD
    state[1] = (state[1] + b) & WORD
    state[2] = (state[2] + c) & WORD
    state[3] = (state[3] + d) & WORD
    state[4] = (state[4] + e) & WORD


@jit
def write_id(state: Any, ids: Any, at: int) -> None:
    """Write the first 16 bytes of a digest as a UUID of version 5."""
    for byte in range(16):
        value = (state[byte // 4] >> (24 - 8 * (byte % 4))) & 0xFF
        if byte == 6:
            value = (value & 0x0F) | 0x50
        elif byte == 8:
            value = (value & 0x3F) | 0x80
        if byte in (4, 6, 8, 10):
            ids[at] = 0x2D
            at += 1
        ids[at] = HEX[value >> 4]
        ids[at + 1] = HEX[value & 0x0F]
        at += 2
