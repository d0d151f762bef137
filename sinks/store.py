"""The billing store: what every kind of store does, how it fails, and how to open one.

A store holds charges, suspense, signals, accounts, orders, the books used, and each partition's
state and next offset. Everything of a batch is committed in one transaction, guarded by the
partition's offset (architecture decision 2); everything else is read from here by cursor
(decision 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import polars as pl

    from rating.schemas import BatchResult, Commit, Origin, SourcePosition, StateChunk
    from sinks.chain import Head, Link

Kind = Literal["charges", "suspense", "signals"]
POSTGRES_SCHEMES = ("postgresql", "postgres")


class StoreError(Exception):
    """The store could not do what was asked. The text says what, where, and how to mend it.

    transient: trying again later may succeed.
    """

    transient: ClassVar[bool] = False


class StoreMissing(StoreError):  # noqa: N818 - named for what happened
    """There is no store where one was to be read."""


class NotAStore(StoreError):  # noqa: N818
    """What is there was not made by ratecast, or is damaged."""


class StoreNewer(StoreError):  # noqa: N818
    """The store has a schema that this version of ratecast does not know."""


class StoreOutdated(StoreError):  # noqa: N818
    """The store has an older schema and was opened for reading only."""


class StoreBusy(StoreError):  # noqa: N818
    """Another writer held the store for longer than this one waits."""

    transient = True


class StoreUnreachable(StoreError):  # noqa: N818
    """The store's server does not answer, or the connection to it broke."""

    transient = True


class StoreFull(StoreError):  # noqa: N818
    """There is no room left for the commit; nothing of it was kept."""

    transient = True


class StoreReadOnly(StoreError):  # noqa: N818
    """The place, or the way in which the store was opened, does not allow writing."""


class OffsetMoved(StoreError):  # noqa: N818
    """The partition's offset is not the one that the commit builds on; nothing was changed."""


class OriginChanged(StoreError):  # noqa: N818
    """The store is rated from another topic. Nothing was changed."""


class BookChanged(StoreError):  # noqa: N818
    """A book has the id of another that charges were made with. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class StoredBook:
    """A tariff book that charges were made with. fingerprint: of what the book means."""

    id: str
    effective_from_ms: int
    currency: str
    timezone: str
    fingerprint: str
    text: str


@dataclass(frozen=True, slots=True)
class StoredPartition:
    """Where a partition stands, and what is needed to go on from there.

    counts, clock_ms, sessions_open: as in the last commit's BatchResult.
    state: in ascending (name, seq). sources: the one last read from comes last. A name may occur
    more than once, where other content was read under it before.
    """

    partition: int
    next_offset: int
    clock_ms: int | None
    counts: Mapping[str, int]
    sessions_open: int
    state: tuple[StateChunk, ...]
    sources: tuple[SourcePosition, ...]


@dataclass(frozen=True, slots=True)
class Position:
    """How far a partition was rated: its next offset, and the log clock there."""

    next_offset: int
    clock_ms: int | None


class Claim(Protocol):
    """The right to do a named piece of work on a store alone; it ends with the program."""

    def held(self) -> bool:
        """Whether it still holds; a connection that was cut ends it."""
        ...

    def release(self) -> None:
        """Leave the work to others."""
        ...


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far something made from the store has come, with whatever it wants to remember."""

    seq: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Summary:
    """What a store holds, added up.

    charges: by currency and type: charges, watched_ms, billed_ms, free_ms, gross, discount, capped,
    net, tax, total, unfunded. suspense: by reason: rows, watched_ms. signals: by type: rows.
    counts: summed over the partitions. clock_ms: the earliest of theirs.
    """

    charges: pl.DataFrame
    suspense: pl.DataFrame
    signals: pl.DataFrame
    counts: Mapping[str, int]
    accounts: int
    orders: int
    sessions_open: int
    partitions: int
    clock_ms: int | None


@dataclass(frozen=True, slots=True)
class LawInputs:
    """What the laws of spec section 8 compare, as the store holds it.

    counts: summed over the partitions. charges, records_suspended: rows stored.
    charged_ms, suspended_ms: watched time of usage charges and of suspended pieces; what counts has
    more of is in open lines.
    paid_open_micros: paid usage of the accounts less that of the charges: what open lines have been
    paid; 0 once no session is open.
    balances_wrong: accounts whose balance is not top-ups - paid - purchases + refunds.
    orders_wrong: accounts whose purchases or refunds are not those of their charges.
    """

    counts: Mapping[str, int]
    sessions_open: int
    charges: int
    records_suspended: int
    charged_ms: int
    suspended_ms: int
    paid_open_micros: int
    balances_wrong: int
    orders_wrong: int


class BillingStore(Protocol):
    """One contract for every store; tests/contract/test_billing_store.py holds them to it.

    Threads may commit and read at once: what they read is committed. Of one partition they commit
    one batch after the other. Every method may raise a StoreError.
    """

    @property
    def url(self) -> str:
        """What `open_store` takes to open it again; it may be shown, so a password is left out."""
        ...

    @property
    def store_id(self) -> str:
        """Drawn once when the store was made; projections keep it to know their store again."""
        ...

    def close(self) -> None:
        """Let go of it. Everything committed stays."""
        ...

    def __enter__(self) -> Self:
        """Give the store itself."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        ...

    # --- rating ---------------------------------------------------------------------------------

    def load(self, partition: int) -> StoredPartition | None:
        """Read a partition as its last commit left it; None before the first."""
        ...

    def commit(self, commit: Commit) -> BatchResult:
        """Store all of a batch, or nothing.

        A charge whose id is stored already is suspended (sinks/taken_ids.py).
        Returns: what was stored. Raises: OffsetMoved where the partition's next_offset is not
        commit.expected_offset (a partition without commits is at 0); OriginChanged where it is not
        rated from commit.origin; StoreBusy; StoreFull; StoreReadOnly.
        """
        ...

    def origin(self) -> Origin | None:
        """Give the topic that the store is rated from; None where no commit told."""
        ...

    def positions(self) -> Mapping[int, Position]:
        """Give how far each partition was rated, without its state."""
        ...

    def add_books(self, books: Sequence[StoredBook]) -> None:
        """Keep the books used. One kept already is left alone.

        Raises: BookChanged where a book's id is kept with another fingerprint.
        """
        ...

    def books(self) -> list[StoredBook]:
        """Give the books used, ascending by effective_from_ms."""
        ...

    def replace_open_sessions(
        self, sessions: pl.DataFrame, as_of_ms: int, *, partition: int = 0
    ) -> None:
        """Put a partition's open sessions (SESSIONS) in the place of those written before."""
        ...

    # --- cursors --------------------------------------------------------------------------------

    def last_seq(self, kind: Kind) -> int:
        """Give the highest number that a row of the kind has; 0 where there is none."""
        ...

    def charges_after(self, seq: int, limit: int, upto_seq: int | None = None) -> pl.DataFrame:
        """Give the next charges: seq, CHARGES and CHARGE_EVIDENCE, ascending by seq.

        Numbers ascend in the order of commits, so that a reader which has come to a number never
        misses a row; within a commit, by slot, account and start.
        """
        ...

    def suspense_after(self, seq: int, limit: int, upto_seq: int | None = None) -> pl.DataFrame:
        """Give the next suspense rows: seq and SUSPENSE, ascending by seq."""
        ...

    def signals_after(self, seq: int, limit: int, upto_seq: int | None = None) -> pl.DataFrame:
        """Give the next signals: seq and SIGNALS, ascending by seq."""
        ...

    def cursor(self, name: str) -> Cursor | None:
        """Read a named cursor; None where it was never set."""
        ...

    def set_cursor(self, name: str, seq: int, payload: bytes = b"") -> None:
        """Move a named cursor."""
        ...

    def claim(self, name: str) -> Claim | None:
        """Take a named piece of work; None while another program, or another claim, has it.

        It spares double work and no more: whoever was cut off may learn of it late.
        """
        ...

    # --- the chain -----------------------------------------------------------------------------

    def heads(self) -> list[Head]:
        """Give the last link of each chain, ascending by partition; that of the store itself first."""
        ...

    def links(self, rows: int = 10_000) -> Iterator[Link]:
        """Give all links, ascending by partition and number."""
        ...

    def changes(self) -> Iterator[tuple[bytes, bytes, str]]:
        """Give each row that a link may vouch for: its key, its digest, and how to name it."""
        ...

    def strays(self) -> list[str]:
        """Say what is in the store beside what links vouch for, and should not be as it is."""
        ...

    def row_counts(self) -> tuple[int, int, int]:
        """How many charges, suspense rows and signals there are, numbered or not."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """Read everything as of one moment for as long as the block runs, by one thread."""
        ...

    # --- questions ------------------------------------------------------------------------------

    def charge(self, charge_id: str) -> pl.DataFrame:
        """Give the charge with this id, as `charges_after` does; no row where there is none."""
        ...

    def charges_of_account(
        self, account: str, from_ms: int | None = None, to_ms: int | None = None
    ) -> pl.DataFrame:
        """Give an account's charges whose slots are in [from_ms, to_ms), ascending by start."""
        ...

    def accounts(self, rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Give all accounts (ACCOUNTS) in pages, ascending by account."""
        ...

    def orders(self, rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Give all orders (ORDERS) in pages, ascending by account and order."""
        ...

    def open_sessions(self, rows: int = 50_000) -> Iterator[pl.DataFrame]:
        """Give the open sessions (as_of_ms and SESSIONS) in pages, as last written."""
        ...

    def summary(self) -> Summary:
        """Add up what the store holds. Reads every charge once."""
        ...

    def laws(self) -> LawInputs:
        """Add up what the laws compare. Reads every charge once or twice."""
        ...


def origin_changed(url: str, kept: Origin, given: Origin) -> str:
    """What to say where a store is to be rated from another topic than it is."""
    other = "cluster" if kept.topic == given.topic else "topic"
    return (
        f"{url}: this store is rated from topic {kept.topic} of cluster {kept.cluster}, and this is "
        f"topic {given.topic} of cluster {given.cluster}; name the right {other}, or another store; "
        "where this topic holds the same messages, start the worker once with --accept-topic"
    )


def open_store(url: str, *, create: bool = True) -> BillingStore:
    """Open the billing store at a URL, making it where it is missing.

    url: "sqlite:///path/to/file.db", "sqlite:path", or just a path; "postgresql://host/database"
    with whatever libpq understands.
    create: False opens for reading only, and the store must be there.
    Raises: StoreError.
    """
    # A store's own library is imported only where that store is used.
    scheme, separator, rest = url.partition(":")
    if separator and scheme in POSTGRES_SCHEMES:
        from sinks.postgres import PostgresStore  # noqa: PLC0415

        return PostgresStore(url, create=create)
    from sinks.sqlite import SqliteStore  # noqa: PLC0415

    if not separator or "/" in scheme or len(scheme) == 1:  # "C:\\store.db" is a path, too
        return SqliteStore(url, create=create)
    if scheme != "sqlite":
        raise StoreError(
            f"{scheme}: there is no store of kind {scheme!r}; give a path, sqlite:///path/to/file.db "
            "or postgresql://host/database"
        )
    if rest.startswith("//") and not rest.startswith("///"):
        raise StoreError(f"{url}: an SQLite store is a file and has no host; write sqlite:///path")
    return SqliteStore(rest.removeprefix("//"), create=create)
