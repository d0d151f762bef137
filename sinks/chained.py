"""What every store does with its hash chain (sinks/chain.py), over the questions each asks its own way."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import polars as pl

from sinks import chain
from sinks.chain import KINDS, STORE_CHAIN, UNKNOWN_FACTS, Head, Link
from sinks.pages import STORED_SESSIONS, PagedStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from rating.schemas import Origin
    from sinks.store import Kind, Position, StoredBook, StoredPartition

Cursors = list[tuple[str, int, bytes, bytes | None]]  # name, seq, payload, digest
LINK_COLUMNS = (
    *("partition", "number", "charges_upto", "charges_rows", "suspense_upto", "suspense_rows"),
    *("signals_upto", "signals_rows", "facts", "changes", "digest"),
)


class ChainedStore(PagedStore):
    """The chain of a billing store."""

    @property
    @abstractmethod
    def store_id(self) -> str:
        """The store's own name."""

    @abstractmethod
    def origin(self) -> Origin | None:
        """The topic that the store is rated from."""

    @abstractmethod
    def load(self, partition: int) -> StoredPartition | None:
        """Read a partition."""

    @abstractmethod
    def positions(self) -> Mapping[int, Position]:
        """Give how far each partition was rated."""

    @abstractmethod
    def books(self) -> list[StoredBook]:
        """Give the books used."""

    @abstractmethod
    def last_seq(self, kind: Kind) -> int:
        """Give the highest number of a kind."""

    @abstractmethod
    def row_counts(self) -> tuple[int, int, int]:
        """How many charges, suspense rows and signals there are."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[None]:
        """Read everything as of one moment."""

    @abstractmethod
    def _cursors(self) -> Cursors:
        """Read all cursors."""

    @abstractmethod
    def _link_rows(self, after: tuple[int, int], rows: int) -> Sequence[tuple[object, ...]]:
        """Give the next links as rows of LINK_COLUMNS, ascending by partition and number."""

    def links(self, rows: int = 10_000) -> Iterator[Link]:
        """Give all links, ascending by partition and number."""
        after = (STORE_CHAIN - 1, 0)
        while found := self._link_rows(after, rows):
            for partition, number, *numbers, facts, changes, digest in found:
                upto, counts = tuple(numbers[::2]), tuple(numbers[1::2])
                yield Link(partition, number, upto, counts, facts, changes, digest)  # type: ignore[arg-type]
                after = (partition, number)  # type: ignore[assignment]

    def first_link(self) -> Link:
        """The link that a chain begins with: all rows that there are when it does.

        What charges, suspense and signals there are then, it does not vouch for.
        """
        counts = self.row_counts()
        upto = tuple(self.last_seq(kind) for kind in KINDS)
        changes = chain.pack_changes((key, row) for key, row, _ in self.changes())
        return Link(STORE_CHAIN, 1, upto, counts, UNKNOWN_FACTS, changes, b"")  # type: ignore[arg-type]

    def changes(self) -> Iterator[tuple[bytes, bytes, str]]:
        """Give each row that a link may vouch for: its key, its digest, and how to name it."""
        yield (*chain.store_change(self.store_id), "the store's own id")
        if (origin := self.origin()) is not None:
            yield (*chain.origin_change(origin.cluster, origin.topic), "the topic rated from")
        for book in self.books():
            yield (*chain.book_change(book), f"book {book.id!r}")
        for number in sorted(self.positions()):
            stored = self.load(number)
            assert stored is not None, "a partition is never taken out"
            yield from _partition_changes(stored)
        for page in self.accounts():
            names = page["account"].to_list()
            for change, name in zip(chain.account_changes(page), names, strict=True):
                yield (*change, f"account {name!r}")
        for page in self.orders():
            named = page.select("account", "order").iter_rows()
            for change, (account, order) in zip(chain.order_changes(page), named, strict=True):
                yield (*change, f"order {order!r} of account {account!r}")
        yield from self._session_changes()

    def _session_changes(self) -> Iterator[tuple[bytes, bytes, str]]:
        number = self.SESSION_NUMBER
        schema = pl.Schema({number: pl.Int64(), **STORED_SESSIONS})
        pages = list(self._pages("open_sessions", schema, (number,), (-(2**62),), 50_000))
        if not pages:
            return
        for (partition,), rows in pl.concat(pages).group_by("partition", maintain_order=True):
            change = chain.sessions_change(int(str(partition)), rows, STORED_SESSIONS)
            yield (*change, f"the open sessions of partition {partition}")

    def strays(self) -> list[str]:
        """Say what is in the store beside what links vouch for, and should not be as it is."""
        store_id = self.store_id
        return [
            f"cursor {name!r}: was not moved there by ratecast"
            for name, seq, payload, digest in self._cursors()
            if digest != chain.cursor_digest(store_id, name, seq, payload)
        ]


def _partition_changes(stored: StoredPartition) -> Iterator[tuple[bytes, bytes, str]]:
    partition = stored.partition
    change = chain.partition_change(
        partition, stored.next_offset, stored.clock_ms, stored.counts, stored.sessions_open
    )
    yield (*change, f"partition {partition}: its offset, clock or counts")
    for chunk in stored.state:
        told = f"partition {partition}: state {chunk.name!r} {chunk.seq}"
        yield (*chain.state_change(partition, chunk), told)
    for source in stored.sources:
        yield (*chain.source_change(partition, source), f"source {source.name!r}")


def heads_of(rows: Sequence[tuple[int, int, bytes]]) -> list[Head]:
    """Heads from rows."""
    return [Head(*row) for row in rows]
