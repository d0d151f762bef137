"""One partition of the log in the hands of one worker: its state, its place, and its commits.

No broker, no clock and no thread is known here, so that a simulation can drive it with a log and a
store of its own. The order of things is the caller's: rate, commit, rate, commit; it may rate the
next batch while the last one is being committed, and commits one after another.
Source: architecture decisions 2 and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, Self

from rating.rater import Rater
from rating.schemas import Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rating.schemas import BatchResult, Origin, StateChunk, UsageBatch
    from sinks.store import StoredPartition
    from tariffs.model import Book


class Rating(Protocol):
    """What rates a partition: the rater, or a smaller one in a simulation."""

    @property
    def sessions_open(self) -> int:
        """How many sessions are open."""
        ...

    def rate(self, batch: UsageBatch) -> BatchResult:
        """Apply a batch."""
        ...


class PartitionStore(Protocol):
    """What a partition needs of a billing store; see sinks/store.py."""

    def load(self, partition: int) -> StoredPartition | None:
        """Read a partition as its last commit left it."""
        ...

    def commit(self, commit: Commit) -> object:
        """Store all of a batch, or nothing."""
        ...


class Partition:
    """A partition as its last commit left it, and what was rated since.

    Once a commit failed for good, or a law was found broken, its state is ahead of the store: it
    must be thrown away, and loaded again by whoever rates the partition next.
    """

    def __init__(
        self,
        number: int,
        books: Sequence[Book],
        store: PartitionStore,
        stored: StoredPartition | None,
        rating: Callable[[Sequence[Book], Iterable[StateChunk]], Rating] = Rater,
    ) -> None:
        self.number = number
        self.is_new = stored is None
        self.next_offset = stored.next_offset if stored else 0
        self.counts = dict(stored.counts) if stored else {}
        self._store = store
        self._rater = rating(books, stored.state if stored else ())

    @classmethod
    def load(
        cls,
        number: int,
        books: Sequence[Book],
        store: PartitionStore,
        rating: Callable[[Sequence[Book], Iterable[StateChunk]], Rating] = Rater,
    ) -> Self:
        """Take a partition up where the store has it. Raises: StoreError."""
        return cls(number, books, store, store.load(number), rating)

    @property
    def sessions_open(self) -> int:
        """How many sessions are open."""
        return self._rater.sessions_open

    def rate(
        self,
        batch: UsageBatch,
        next_offset: int,
        origin: Origin | None = None,
        *,
        moves_origin: bool = False,
    ) -> Commit:
        """Rate the records from `next_offset` up to, but without, the one given.

        origin, moves_origin: as in Commit.
        Returns: what `commit` is to be called with. Raises: LawBroken.
        """
        assert next_offset > self.next_offset, "a batch moves a partition on"
        result = self._rater.rate(batch)
        commit = Commit(
            self.number,
            self.next_offset,
            next_offset,
            result,
            origin=origin,
            moves_origin=moves_origin,
        )
        self.next_offset = next_offset
        return commit

    def commit(self, commit: Commit) -> None:
        """Store a batch, or nothing of it.

        Raises: OffsetMoved where another worker took the partition over, or where this commit was
        stored by an earlier try whose answer was lost; any other StoreError.
        """
        self._store.commit(commit)
        self.is_new = False
        self.counts = dict(commit.result.counts)
