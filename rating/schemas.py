"""The shapes that cross a border: usage records in, charges out, and what a commit holds.

`ingest` makes `UsageBatch`, the core turns it into `BatchResult`, `sinks` store a `Commit`.
Times are UTC milliseconds since the epoch, money is micro-units, both int64.
Source: spec sections 1, 6, 7; architecture decisions 2 and 4.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

# --- usage records -----------------------------------------------------------------------------

MALFORMED = 0
VIEW = 1
ACCOUNT_OPEN = 2
ACCOUNT_SUBSCRIBE = 3
ACCOUNT_UNSUBSCRIBE = 4
BALANCE_TOPUP = 5
ORDER_PURCHASE = 6
ORDER_CANCEL = 7
RECORD_TYPES = (
    "",
    "view",
    "account.open",
    "account.subscribe",
    "account.unsubscribe",
    "balance.topup",
    "order.purchase",
    "order.cancel",
)

PLAYING = 1
STOPPED = 6
STATES = ("", "playing", "starting", "paused", "stalled", "seeking", "stopped")

# Bits of `flags`: which of the optional fields a record has.
HAS_PLAYHEAD = 1
HAS_RECEIVED = 2
HAS_REGION = 4
HAS_BILL_DAY = 8

ACCOUNT_CHARACTERS_MAX = 128
TEXT_BYTES_MAX = 512  # of UTF-8, in every other text of a record
TIME_MS_MIN = 946_684_800_000  # 2000-01-01T00:00:00Z
TIME_MS_MAX = 7_258_118_399_999  # the last ms before 2200-01-01T00:00:00Z
PLAYHEAD_MS_MAX = 10**15  # magnitude
RATE_MILLI_MAX = 10**9  # magnitude: a million times normal speed
TOPUP_MICROS_MAX = 10**15  # a thousand million currency units
BALANCE_MICROS_MAX = 2 * 10**18
"""What an account's top-ups, and its prepaid purchases, may each come to over its life.

Its balance, and every sum that the law of balances is made of, is then well within 64 bits.
"""
assert 4 * BALANCE_MICROS_MAX < 2**63

TEXT_FIELDS = ("account", "device", "key", "subject", "kind", "quality")

USAGE = np.dtype(
    [
        ("time_ms", "<i8"),
        ("received_ms", "<i8"),  # equal to time_ms where the record has none
        ("playhead_ms", "<i8"),  # view, where flags has HAS_PLAYHEAD
        ("amount_micros", "<i8"),  # balance.topup
        ("rate_milli", "<i4"),  # view: playback rate in thousandths; 1000 where absent
        ("type", "u1"),  # index into RECORD_TYPES; MALFORMED: nothing else but raw is meant
        ("state", "u1"),  # index into STATES
        ("flags", "u1"),
        ("bill_day", "u1"),  # account.open; 1 where absent
        # Each text is a range of UsageBatch.text, length 0 where absent:
        *((f"{name}_{part}", "<u4") for name in TEXT_FIELDS for part in ("at", "len")),
        ("raw_at", "<u4"),  # the record as it came, without its line end
        ("raw_len", "<u4"),
    ]
)
"""One usage record. What the six texts mean depends on the type:

| type                   | account | device | key     | subject | kind | quality  |
|------------------------|---------|--------|---------|---------|------|----------|
| view                   | account | device | session | content | kind | quality  |
| account.open           | account |        |         | plan    |      | region   |
| account.(un)subscribe  | account |        |         | package |      |          |
| balance.topup          | account |        | id      |         |      | currency |
| order.purchase         | account | device | id      | offer   |      | quality  |
| order.cancel           | account |        | id      | order   |      |          |
"""


@dataclass(frozen=True, slots=True)
class SuspendedBefore:
    """What was suspended before it reached the log: its own reason, and the bytes as they came."""

    reason: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """Usage records in log order.

    events: USAGE rows. text: UTF-8 bytes that the rows' ranges point into, under 4 GiB.
    malformed: for each row of type MALFORMED, a sentence saying what is wrong.
    suspended_before: for those rows of type MALFORMED that only pass on what was suspended before.
    locate: says where a row stood ("file:line", "topic/partition@offset").
    raw_of: gives a record as it came, where rows have no range of `text` for that.
    """

    events: NDArray[np.void]
    text: NDArray[np.uint8]
    malformed: Mapping[int, str]
    locate: Callable[[int], str]
    suspended_before: Mapping[int, SuspendedBefore] = field(default_factory=dict)
    raw_of: Callable[[int], bytes] | None = None

    def raw(self, row: int) -> bytes:
        """Give a record as it came, without its line end."""
        if self.raw_of is not None:
            return self.raw_of(row)
        at = int(self.events["raw_at"][row])
        return bytes(self.text[at : at + int(self.events["raw_len"][row])])


# --- what comes out ----------------------------------------------------------------------------

CHARGES = pl.Schema(
    {
        "charge_id": pl.String,
        "type": pl.String,
        "account": pl.String,
        "device": pl.String,
        "session": pl.String,
        "content": pl.String,
        "kind": pl.String,
        "quality": pl.String,
        "plan": pl.String,
        "book": pl.String,
        "rule": pl.String,
        "start": pl.Int64,
        "end": pl.Int64,
        "slot": pl.Int64,
        "watched_ms": pl.Int64,
        "billed_ms": pl.Int64,
        "free_ms": pl.Int64,
        "gross": pl.Int64,
        "discount": pl.Int64,
        "capped": pl.Int64,
        "net": pl.Int64,
        "tax": pl.Int64,
        "total": pl.Int64,
        "unfunded": pl.Int64,
        "currency": pl.String,
    }
)
"""Spec section 6, in its order. A text that a charge has no value for is empty, never null."""

CHARGE_EVIDENCE = pl.Schema(
    {
        "segment": pl.Int64,  # the segment's start; a purchase's or refund's own time
        "region": pl.String,  # the account's region when the line began: what it was taxed by
        "paid": pl.Int64,  # debited from (refund: negative, given back to) a prepaid balance
        "local_date": pl.Date,  # of `start`, in the book's time zone
        "steps": pl.String,  # JSON: each counter before and after, for `explain`; see rating/steps.py
    }
)
"""Kept with every charge beside the columns of CHARGES."""

SUSPENSE = pl.Schema(
    {
        "reason": pl.String,
        "detail": pl.String,
        "account": pl.String,  # null where it could not be read
        "time": pl.Int64,  # the record's, or the first piece's t0; null where it could not be read
        "type": pl.String,  # a record type, or "usage" for pieces
        "device": pl.String,
        "session": pl.String,
        "content": pl.String,
        "kind": pl.String,
        "quality": pl.String,
        "plan": pl.String,
        "book": pl.String,
        "end": pl.Int64,  # pieces only
        "watched_ms": pl.Int64,  # pieces only
        "source": pl.String,  # where a record stood; null for pieces
        "raw": pl.Binary,  # the record as it came; null for pieces
    }
)

SIGNALS = pl.Schema(
    {
        "type": pl.String,
        "account": pl.String,
        "time": pl.Int64,
        "order": pl.String,  # "" for balance signals
        "reason": pl.String,  # "" but for order.declined and order.cancel_rejected
    }
)

ACCOUNTS = pl.Schema(
    {
        "account": pl.String,
        "plan": pl.String,  # null: no record yet but suspended ones
        "region": pl.String,
        "bill_day": pl.Int64,
        "packages": pl.String,  # subscribed to, in that order, as a JSON array
        "currency": pl.String,
        "balance": pl.Int64,
        "exhausted": pl.Boolean,
        "topups": pl.Int64,  # sums over the account's life, for the law of balances
        "paid": pl.Int64,
        "purchases": pl.Int64,
        "refunds": pl.Int64,
    }
)

ORDERS = pl.Schema(
    {
        "account": pl.String,
        "order": pl.String,
        "offer": pl.String,
        "kind": pl.String,
        "quality": pl.String,
        "book": pl.String,
        "time": pl.Int64,
        "total": pl.Int64,
        "status": pl.String,  # active, cancelled, declined
        "first_play": pl.Int64,  # t0 of a rental's first covered piece; null before
    }
)

SESSIONS = pl.Schema(
    {
        "account": pl.String,
        "device": pl.String,
        "session": pl.String,
        "content": pl.String,
        "kind": pl.String,
        "quality": pl.String,
        "playing": pl.Boolean,
        "start": pl.Int64,
        "last": pl.Int64,
        "seen": pl.Int64,
        "watched_ms": pl.Int64,  # of its open lines
    }
)

OUTCOMES = ("applied", "suspended", "duplicates", "out_of_order", "orphan_stops")
"""Every record ends as exactly one of these (section 8)."""


@dataclass(frozen=True, slots=True)
class StateChunk:
    """A part of a partition's state as stored: opaque bytes under (name, seq)."""

    name: str
    seq: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one batch, or closing, came to. Frames follow the schemas above.

    accounts, orders: only those that changed. counts: sums over the partition's whole life:
    "records", each of OUTCOMES, "watched_ms", "charges". clock_ms: R.
    state_added, state_dropped: how the stored state changes; see rating/snapshot.py.
    """

    charges: pl.DataFrame  # CHARGES and CHARGE_EVIDENCE
    suspense: pl.DataFrame
    signals: pl.DataFrame
    accounts: pl.DataFrame
    orders: pl.DataFrame
    counts: Mapping[str, int]
    clock_ms: int | None
    sessions_open: int
    state_added: tuple[StateChunk, ...] = ()
    state_dropped: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SourcePosition:
    """How far a file (or standard input) has been rated.

    name: path as given, or "-". taken_bytes, taken_lines: consumed from its decompressed start.
    head_digest: BLAKE2b of its first head_bytes. taken_digest: of its first taken_bytes; together
    they recognise the same content under another name, or other content under the same name.
    """

    name: str
    head_bytes: int
    head_digest: bytes
    taken_bytes: int
    taken_lines: int
    taken_digest: bytes


@dataclass(frozen=True, slots=True)
class Origin:
    """The topic that a store is rated from. cluster: Kafka's own id of it."""

    cluster: str
    topic: str


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction of the billing store: all of it, or nothing.

    origin: where the batch came from, where that is a topic; a store keeps the first it is told, and
    refuses another one unless moves_origin says that it holds the same messages.
    expected_offset must be the partition's stored next_offset, or the commit fails and changes
    nothing (architecture decision 2). The offset counts records for files, and is Kafka's for
    topics.
    """

    partition: int
    expected_offset: int
    next_offset: int
    result: BatchResult
    sources: tuple[SourcePosition, ...] = field(default=())
    origin: Origin | None = None
    moves_origin: bool = False
