"""The hash chain of a billing store: what each commit stored, vouched for by all that follow.

Every commit adds a link to its partition's chain. A link has the digest of what the commit added
(charges, suspense, signals), a digest of each row that it changed elsewhere (accounts, orders, state,
offsets, sources), and the digest of the link before. So whoever keeps the last digest, the head,
somewhere else can later tell whether anything up to there was changed since (docs/adr/0014).

A digest is SHA-256 of values in a canonical form that depends on no store and no library: the same
rows have the same digest in SQLite and in PostgreSQL.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl
import pyarrow as pa

from rating.schemas import ACCOUNTS, ORDERS, SIGNALS, SUSPENSE
from sinks.pages import STORED_CHARGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from rating.schemas import BatchResult, Commit, SourcePosition, StateChunk
    from sinks.store import Kind, StoredBook

DIGEST_BYTES = 32
BEFORE_FIRST = bytes(DIGEST_BYTES)
STORE_CHAIN = -1  # the chain of what belongs to no partition
KINDS: tuple[Kind, ...] = ("charges", "suspense", "signals")
SCHEMAS: dict[Kind, pl.Schema] = {
    "charges": STORED_CHARGES,
    "suspense": SUSPENSE,
    "signals": SIGNALS,
}
UNKNOWN_FACTS = bytes(3 * DIGEST_BYTES)  # of rows that are older than the chain
NUMBERS = struct.Struct(">8q")

KEY_BYTES = ROW_BYTES = 16
GONE = bytes(ROW_BYTES)
TABLES = ("store", "origin", "partition", "source", "state", "account", "order", "book", "sessions")
"""Whose rows change; the first byte of a key is the place in here."""

Change = tuple[bytes, bytes]  # a row's key, and its digest or GONE


@dataclass(frozen=True, slots=True)
class Head:
    """The last link of a chain."""

    partition: int
    number: int
    digest: bytes

    def __str__(self) -> str:
        """As an operator keeps it: partition, number, digest."""
        return f"{self.partition}:{self.number}:{self.digest.hex()}"


@dataclass(frozen=True, slots=True)
class Link:
    """One link, as stored.

    number: 1, 2, ... in its chain. upto: by kind, the number (`seq`) of the last row that it added, 0
    for none. rows: by kind, how many. facts: their digests by kind, one behind the other. changes:
    keys and digests of the rows that it changed.
    """

    partition: int
    number: int
    upto: tuple[int, int, int]
    rows: tuple[int, int, int]
    facts: bytes
    changes: bytes
    digest: bytes

    @classmethod
    def of_store(cls, changes: Iterable[Change]) -> Self:
        """A link for rows that belong to no partition; it is numbered when it is added."""
        nothing = (0, 0, 0)
        return cls(STORE_CHAIN, 0, nothing, nothing, NO_FACTS, pack_changes(changes), b"")

    def expected_digest(self, before: bytes) -> bytes:
        """What its digest must be behind a link with that digest."""
        numbers = [part for pair in zip(self.upto, self.rows, strict=True) for part in pair]
        return link_digest(before, self.partition, self.number, numbers, self.facts, self.changes)


def link_digest(
    before: bytes,
    partition: int,
    number: int,
    numbers: Sequence[int],
    facts: bytes,
    changes: bytes,
) -> bytes:
    """The digest of a link. numbers: upto and rows of charges, of suspense, and of signals.

    The function `add_link` of the PostgreSQL schema computes the same.
    """
    packed = NUMBERS.pack(partition, number, *numbers)
    return hashlib.sha256(before + packed + facts + hashlib.sha256(changes).digest()).digest()


# --- facts ----------------------------------------------------------------------------------------


def facts_of(result: BatchResult, charges: pl.DataFrame) -> bytes:
    """The digests of what a batch adds. charges: in the order in which they are numbered."""
    frames = {"charges": charges, "suspense": result.suspense, "signals": result.signals}
    return b"".join(frame_digest(frames[kind], SCHEMAS[kind]) for kind in KINDS)


def frame_digest(frame: pl.DataFrame, schema: pl.Schema) -> bytes:
    """The digest of rows, column by column: integers as 8 bytes, texts as lengths and bytes."""
    digest = hashlib.sha256(struct.pack("<q", frame.height))
    if frame.is_empty():
        return digest.digest()
    for column in frame.select(schema.names()).rechunk().iter_columns():
        has_nulls = column.null_count() > 0
        digest.update(column.is_null().to_numpy().tobytes() if has_nulls else b"-")
        if column.dtype in (pl.String, pl.Binary):
            lengths, content = _texts_of(column.fill_null(_empty(column)) if has_nulls else column)
            digest.update(lengths.data)
            digest.update(content.data)
        else:
            whole = column if column.dtype == pl.Int64 else column.cast(pl.Int64)
            values = whole.fill_null(0) if has_nulls else whole
            digest.update(np.ascontiguousarray(values.to_numpy(), "<i8").data)
    return digest.digest()


def _empty(column: pl.Series) -> str | bytes:
    return "" if column.dtype == pl.String else b""


def _texts_of(column: pl.Series) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The lengths and the bytes of a column of texts without nulls."""
    array = column.to_arrow(compat_level=pl.CompatLevel.oldest())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    _, offsets, text = array.buffers()
    ends = np.frombuffer(offsets, "<i8")[array.offset :][: len(array) + 1]
    if text is None:
        return np.diff(ends), np.zeros(0, np.uint8)
    return np.diff(ends), np.frombuffer(text, np.uint8)[ends[0] : ends[-1]]


NO_FACTS = b"".join(frame_digest(schema.to_frame(), schema) for schema in SCHEMAS.values())


# --- rows that change -----------------------------------------------------------------------------


def packed(*parts: str | bytes | int | None) -> bytes:
    """Values one behind the other, so that no other values look the same: netstrings, ~ for null."""
    out = bytearray()
    for part in parts:
        if part is None:
            out += b"~"
            continue
        body = part.encode() if isinstance(part, str) else part
        body = str(body).encode() if isinstance(body, int) else body
        out += str(len(body)).encode() + b":" + body
    return bytes(out)


def key_of(table: str, *parts: str | bytes | int) -> bytes:
    """The key of a row: its table, and a digest of what names it there."""
    named = hashlib.sha256(packed(*parts)).digest()[: KEY_BYTES - 1]
    return bytes([TABLES.index(table)]) + named


def row_of(*parts: str | bytes | int | None) -> bytes:
    """The digest of a row."""
    return hashlib.sha256(packed(*parts)).digest()[:ROW_BYTES]


def table_of(key: bytes) -> str:
    """Which table a key is of."""
    return TABLES[key[0]]


def changes_of(commit: Commit) -> bytes:
    """All rows that a commit changes, packed."""
    result, partition = commit.result, commit.partition
    changes: list[Change] = [
        (key_of("state", partition, *key), GONE) for key in result.state_dropped
    ]
    changes += [state_change(partition, chunk) for chunk in result.state_added]
    changes += [source_change(partition, source) for source in commit.sources]
    changes.append(
        partition_change(
            partition, commit.next_offset, result.clock_ms, result.counts, result.sessions_open
        )
    )
    if commit.origin is not None:
        changes.append(origin_change(commit.origin.cluster, commit.origin.topic))
    changes += account_changes(result.accounts)
    changes += order_changes(result.orders)
    return pack_changes(changes)


def state_change(partition: int, chunk: StateChunk) -> Change:
    """A chunk of state."""
    return key_of("state", partition, chunk.name, chunk.seq), row_of(chunk.payload)


def source_change(partition: int, source: SourcePosition) -> Change:
    """How far a source was read."""
    key = key_of("source", partition, source.name, source.head_digest)
    told = (source.head_bytes, source.taken_bytes, source.taken_lines, source.taken_digest)
    return key, row_of(*told)


def partition_change(
    partition: int,
    next_offset: int,
    clock_ms: int | None,
    counts: Mapping[str, int],
    sessions_open: int,
) -> Change:
    """Where a partition stands."""
    counted = json.dumps(dict(counts), sort_keys=True)
    return key_of("partition", partition), row_of(next_offset, clock_ms, counted, sessions_open)


def origin_change(cluster: str, topic: str) -> Change:
    """The topic that the store is rated from."""
    return key_of("origin"), row_of(cluster, topic)


def store_change(store_id: str) -> Change:
    """The store's own name."""
    return key_of("store"), row_of(store_id)


def book_change(book: StoredBook) -> Change:
    """A tariff book."""
    told = (book.effective_from_ms, book.currency, book.timezone, book.fingerprint, book.text)
    return key_of("book", book.id), row_of(*told)


def sessions_change(partition: int, stamped: pl.DataFrame, schema: pl.Schema) -> Change:
    """A partition's list of open sessions."""
    digest = frame_digest(stamped, schema)[:ROW_BYTES]
    return key_of("sessions", partition), GONE if stamped.is_empty() else digest


def account_changes(rows: pl.DataFrame) -> list[Change]:
    """Accounts."""
    return _row_changes("account", rows, ("account",), ACCOUNTS)


def order_changes(rows: pl.DataFrame) -> list[Change]:
    """Orders."""
    return _row_changes("order", rows, ("account", "order"), ORDERS)


def _row_changes(
    table: str, rows: pl.DataFrame, key: Sequence[str], schema: pl.Schema
) -> list[Change]:
    """The rows of a frame; all but the hashing is done by columns, into the form of `packed`."""
    if rows.is_empty():
        return []
    first = bytes([TABLES.index(table)])
    texts = rows.select(
        pl.concat_str([_netstring(name, schema) for name in key]).alias("key"),
        pl.concat_str([_netstring(name, schema) for name in schema]).alias("row"),
    ).cast(pl.Binary)
    sha256 = hashlib.sha256
    keys, whole = texts["key"].to_list(), texts["row"].to_list()
    return [
        (first + sha256(key).digest()[: KEY_BYTES - 1], sha256(row).digest()[:ROW_BYTES])
        for key, row in zip(keys, whole, strict=True)
    ]


def _netstring(name: str, schema: pl.Schema) -> pl.Expr:
    column = pl.col(name)
    text = column if schema[name] == pl.String else column.cast(pl.Int64).cast(pl.String)
    size = text.str.len_bytes().cast(pl.String)
    return pl.when(column.is_null()).then(pl.lit("~")).otherwise(size + pl.lit(":") + text)


def pack_changes(changes: Iterable[Change]) -> bytes:
    """Changes one behind the other."""
    return b"".join(part for change in changes for part in change)


def unpack_changes(changes: bytes) -> Iterator[Change]:
    """What `pack_changes` was given."""
    size = KEY_BYTES + ROW_BYTES
    for at in range(0, len(changes), size):
        yield changes[at : at + KEY_BYTES], changes[at + KEY_BYTES : at + size]


# --- cursors --------------------------------------------------------------------------------------


def cursor_digest(store_id: str, name: str, seq: int, payload: bytes) -> bytes:
    """A checksum that a cursor carries itself: it moves too often for a link of its own."""
    return hashlib.sha256(packed("cursor", store_id, name, seq, payload)).digest()
