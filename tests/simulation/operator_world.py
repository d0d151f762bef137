"""A whole operator in one thread: log, store and workers, with faults drawn from one seed.

The log, the store and the rater here are small; `rating.runtime.partition.Partition`, which keeps
the order of rating and committing, is the real one. A step of a world is one thing that one worker
does, or one thing that happens to it. After the steps with faults come quiet ones, in which all
must be rated to the end. Then the auditor counts.

Planted bugs (`Bug`) are what a careless worker or store would do; the tests see that the auditor
catches each.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum, auto
from random import Random
from typing import TYPE_CHECKING, Any

import polars as pl

from rating.runtime.partition import Partition
from rating.schemas import (
    ACCOUNTS,
    CHARGE_EVIDENCE,
    CHARGES,
    ORDERS,
    SIGNALS,
    SUSPENSE,
    BatchResult,
    Commit,
    StateChunk,
)
from sinks.store import OffsetMoved, StoreBusy, StoredPartition, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rating.runtime.partition import Rating

EMPTY = {
    "charges": pl.DataFrame(schema={**CHARGES, **CHARGE_EVIDENCE}),
    "suspense": pl.DataFrame(schema=SUSPENSE),
    "signals": pl.DataFrame(schema=SIGNALS),
    "accounts": pl.DataFrame(schema=ACCOUNTS),
    "orders": pl.DataFrame(schema=ORDERS),
}
PARTITIONS = 2
WORKERS = 3
RECORDS_MAX = 40


class Bug(Enum):
    """What may be planted in a world."""

    NONE = auto()
    ACKNOWLEDGED_FIRST = auto()  # the offset is stored before the charges
    NO_COMPARE_AND_SET = auto()  # the store takes whatever comes
    STATE_KEPT = auto()  # a worker rates a batch again with the state that a failed commit left


@dataclass(frozen=True)
class Charged(BatchResult):
    """A batch's result with its charges as plain names, which are quick to make."""

    names: tuple[str, ...] = ()


class SmallRater:
    """Charges each record by how many its account had before, so that order and state matter."""

    def __init__(self, _books: Any, chunks: Iterable[StateChunk]) -> None:
        self.seen: Counter[str] = Counter()
        for chunk in chunks:
            self.seen.update(json.loads(chunk.payload))

    @property
    def sessions_open(self) -> int:
        return len(self.seen)

    def rate(self, batch: Any) -> Charged:
        names = []
        for account, record in batch:
            self.seen[account] += 1
            names.append(f"{record}: number {self.seen[account]} of {account}")
        state = StateChunk("state", 1, json.dumps(self.seen).encode())
        return Charged(
            **EMPTY,
            counts={"records": self.seen.total()},
            clock_ms=None,
            sessions_open=self.sessions_open,
            state_added=(state,),
            names=tuple(names),
        )


@dataclass
class Store:
    """A billing store in memory: each commit is whole, or is not there."""

    bug: Bug
    offsets: Counter[int] = field(default_factory=Counter)
    states: dict[int, tuple[StateChunk, ...]] = field(default_factory=dict)
    charges: list[str] = field(default_factory=list)

    def load(self, partition: int) -> StoredPartition | None:
        if partition not in self.states:
            return None
        state, offset = self.states[partition], self.offsets[partition]
        return StoredPartition(partition, offset, None, {}, 0, state, ())

    def commit(self, commit: Commit) -> None:
        stands_at = self.offsets[commit.partition]
        if stands_at != commit.expected_offset and self.bug is not Bug.NO_COMPARE_AND_SET:
            raise OffsetMoved(f"at {stands_at}, not at {commit.expected_offset}")
        assert isinstance(commit.result, Charged)
        self.offsets[commit.partition] = commit.next_offset
        self.states[commit.partition] = commit.result.state_added
        self.charges += commit.result.names


class Faulty:
    """A worker's way to the store: what it sends may not arrive, nor the answer."""

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self, partition: int) -> StoredPartition | None:
        self._world.may_fail("load")
        return self._world.store.load(partition)

    def commit(self, commit: Commit) -> None:
        world = self._world
        if world.bug is Bug.ACKNOWLEDGED_FIRST:
            world.store.offsets[commit.partition] = commit.next_offset
            world.store.states.setdefault(commit.partition, ())
            world.may_fail("between")
            world.store.offsets[commit.partition] = commit.expected_offset
        world.may_fail("request")
        world.store.commit(commit)
        world.may_fail("answer")


class Worker:
    """What one process does with the partitions that it believes to have."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.partitions: dict[int, Partition] = {}
        self.rated: dict[int, Commit] = {}  # rated, and not committed yet
        self.assigned: set[int] = set()
        self.frozen = False

    def crash(self) -> None:
        """Lose all that is in memory; what it had assigned comes back when it starts again."""
        self.partitions, self.rated, self.frozen = {}, {}, False

    def step(self) -> None:
        """Load, rate or commit one thing, as the loop of a partition does in turn."""
        if self.frozen or not self.assigned:
            return
        number = self._world.random.choice(sorted(self.assigned))
        try:
            if number not in self.partitions:
                rater: type[Rating] = SmallRater
                self.partitions[number] = Partition.load(number, (), self._world.way, rater)
            elif number in self.rated:
                self._commit(number)
            else:
                self._rate(number)
        except OffsetMoved:
            self._let_go(number)
        except StoreBusy:
            pass  # the same again, later
        except StoreError:
            if self._world.bug is not Bug.STATE_KEPT:
                self._let_go(number)
            elif (rated := self.rated.pop(number, None)) is not None:
                self.partitions[number].next_offset = rated.expected_offset

    def _let_go(self, number: int) -> None:
        self.partitions.pop(number, None)
        self.rated.pop(number, None)

    def _rate(self, number: int) -> None:
        partition, log = self.partitions[number], self._world.logs[number]
        batch = log[partition.next_offset :][: self._world.random.randint(1, 6)]
        if batch:
            next_offset = partition.next_offset + len(batch)
            self.rated[number] = partition.rate(batch, next_offset)  # type: ignore[arg-type]

    def _commit(self, number: int) -> None:
        self.partitions[number].commit(self.rated[number])
        del self.rated[number]

    def revoked(self) -> None:
        """Let go of everything, as a rebalance asks; a frozen worker does not hear it."""
        if not self.frozen:
            self.partitions, self.rated, self.assigned = {}, {}, set()


class World:
    """One run of an operator, made from its seed alone."""

    def __init__(self, seed: int, bug: Bug = Bug.NONE) -> None:
        self.random = random = Random(seed)
        self.bug = bug
        self.logs = [
            [
                (f"a{random.randint(1, 4)}-{number}", f"{number}/{offset}")
                for offset in range(length)
            ]
            for number in range(PARTITIONS)
            for length in [random.randint(1, RECORDS_MAX)]
        ]
        self.store = Store(bug)
        self.way = Faulty(self)
        self.workers = [Worker(self) for _ in range(WORKERS)]
        self.rates = {
            fault: random.choice((0.0, 0.05, 0.3))
            for fault in ("load", "request", "answer", "between", "crash", "freeze", "rebalance")
        }

    def may_fail(self, fault: str) -> None:
        """Raise one of a store's errors, at the world's own rate of this fault."""
        if self.random.random() < self.rates[fault]:
            raise self.random.choice((StoreBusy, StoreError))(fault)

    def happens(self, fault: str) -> bool:
        return self.random.random() < self.rates[fault]

    def rebalance(self) -> None:
        """Hand the partitions to the workers that answer; a frozen one keeps its old belief."""
        awake = [worker for worker in self.workers if not worker.frozen] or self.workers[:1]
        for worker in awake:
            worker.revoked()
        for number in range(PARTITIONS):
            self.random.choice(awake).assigned.add(number)

    def run(self) -> None:
        """Steps with faults, then quiet ones until everything is rated."""
        self.rebalance()
        for _ in range(self.random.randint(20, 150)):
            worker = self.random.choice(self.workers)
            if self.happens("crash"):
                worker.crash()
            if self.happens("freeze"):
                worker.frozen = not worker.frozen
            if self.happens("rebalance"):
                self.rebalance()
            worker.step()
        self.rates = dict.fromkeys(self.rates, 0.0)
        for worker in self.workers:
            worker.frozen = False  # wakes with its old belief, and may commit what it had in hand
        for _ in range(12 * RECORDS_MAX):
            self.random.choice(self.workers).step()
        self.rebalance()
        for _ in range(12 * RECORDS_MAX):
            self.random.choice(self.workers).step()

    def wrong(self) -> list[str]:
        """What the auditor finds: charges that are missing, too many or different."""
        due: Counter[str] = Counter()
        for log in self.logs:
            due.update(SmallRater((), ()).rate(log).names)
        found = Counter(self.store.charges)
        return [
            *(f"missing: {name}" for name in (due - found)),
            *(f"too many: {name}" for name in (found - due)),
            *(
                f"partition {number} stands at {self.store.offsets[number]} of {len(log)}"
                for number, log in enumerate(self.logs)
                if self.store.offsets[number] != len(log)
            ),
        ]
