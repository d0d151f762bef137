"""The topic `usage` to the billing store: partitions as the group assigns them, each in its loop.

A partition's loop fetches messages, decodes and rates them in a thread, and commits the batch in
another while the next one is fetched and rated. What is in memory is bounded: a loop asks for
messages only when it has room for them, and the client fetches no more than one answer ahead.

The store says where a partition goes on. Whatever the group believes meanwhile, two workers on one
partition can do no harm: the second to commit finds that the offset has moved, and loads again.
Source: architecture decisions 1, 2 and 7; docs/adr/0006-faust-is-the-shell.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from ingest.adapters.doors import message_lines
from ingest.kafka.messages import Message, count_records, decode_messages
from rating.laws import LawBroken
from rating.runtime.partition import Partition
from sinks.store import OffsetMoved, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from aiokafka import ConsumerRecord

    from ingest.adapters.doors import Door
    from rating.runtime.kafka_access import KafkaAccess
    from rating.runtime.probes import Health
    from rating.runtime.worker_events import WorkerEvents
    from rating.schemas import Commit
    from sinks.store import BillingStore
    from tariffs.model import Book

T = TypeVar("T")

LOG = logging.getLogger("ratecast.worker")
FETCH_BYTES = 8 * 2**20  # of one partition, in one answer of the broker
FETCH_WAIT_MS = 100  # how long the broker waits for more where there is nothing
POLL_MS = 200
BUSY_POLL_MS = 20  # while a batch waits for the commit of the one before
PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 5.0
LEAVE_S_MAX = 20.0  # well below max_poll_interval_ms, after which the group goes on without us
HINT_EVERY_S = 5.0
STOP_S_MAX = 5.0
SIGN_EVERY_S = 1.0


class ConsumptionError(Exception):
    """The topic cannot be rated on. The text says what, where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class ConsumptionOptions:
    """How a worker consumes.

    group: whose members share the partitions. instance: a name of this worker that it keeps over
    restarts, so that it gets its partitions back at once; None for none.
    batch_records, batch_bytes, batch_wait_s: a batch is closed by whichever it comes to first.
    session_timeout_s: the group takes a silent worker for dead after so long.
    store_patience_s: how long a store that cannot be reached is tried again.
    from_oldest: begin a partition that the store does not know at the oldest message there is, also
    where the broker has deleted older ones. door: how messages are understood that do not say what
    they are; None: as usage records.
    """

    topic: str = "usage"
    group: str = "ratecast"
    instance: str | None = None
    batch_records: int = 50_000
    batch_bytes: int = 16 * 2**20
    batch_wait_s: float = 0.2
    session_timeout_s: float = 10.0
    store_patience_s: float = 60.0
    from_oldest: bool = False
    door: Door | None = None


class Consumption:
    """A worker's part of the topic, for as long as it runs.

    books: all that partitions are rated by. Use: `start`, `run` until it returns or raises, `stop`.
    """

    def __init__(
        self,
        books: Sequence[Book],
        store: BillingStore,
        access: KafkaAccess,
        options: ConsumptionOptions,
        events: WorkerEvents,
        health: Health,
    ) -> None:
        self.books, self.store = tuple(books), store
        self.options, self.events = options, events
        # More at once would take turns on the same cores, and each of them be later.
        self.room_to_rate = asyncio.Semaphore(os.cpu_count() or 1)
        self._access, self._health = access, health
        self._loops: dict[int, PartitionLoop] = {}
        self._over = asyncio.Event()
        self._failure: BaseException | None = None
        self._consumer: AIOKafkaConsumer | None = None

    @property
    def consumer(self) -> AIOKafkaConsumer:
        """The client, once started."""
        assert self._consumer is not None
        return self._consumer

    async def start(self) -> None:
        """Connect and join the group. Raises: ConsumptionError, KafkaAccessError."""
        options = self.options
        session_ms = round(options.session_timeout_s * 1000)
        self._consumer = AIOKafkaConsumer(
            **self._access.client_options(),
            client_id="ratecast",
            group_id=options.group,
            group_instance_id=options.instance,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=session_ms,
            heartbeat_interval_ms=max(100, session_ms // 5),
            max_partition_fetch_bytes=FETCH_BYTES,
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        try:
            await self._consumer.start()
            topics = await self._consumer.topics()
        except (KafkaError, OSError) as error:
            raise ConsumptionError(
                f"no Kafka broker answers at {self._access.addresses} "
                f"({error or type(error).__name__}); check the address, and that it runs"
            ) from error
        if options.topic not in topics:
            raise ConsumptionError(
                f"{self._access.addresses} has no topic {options.topic!r}; make it with "
                f"'ratecast topics create --kafka {self._access.addresses}'"
            )
        self._health.not_ready("the group has not assigned partitions yet")
        self._consumer.subscribe([options.topic], listener=_Listener(self))

    async def run(self) -> None:
        """Rate until stopped. Raises: what any partition failed with."""
        hint_at_s = 0.0
        while not self._over.is_set():
            self._health.alive()
            if time.monotonic() >= hint_at_s:
                await self._give_hint()
                hint_at_s = time.monotonic() + HINT_EVERY_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), SIGN_EVERY_S)
        if self._failure is not None:
            raise self._failure

    async def stop(self) -> None:
        """Finish the batches in hand, and leave the group."""
        self._over.set()
        await self.leave_all()
        if self._consumer is not None:
            if self._failure is None:
                await self._give_hint()
            await _at_most(STOP_S_MAX, self._consumer.stop())

    async def take(self, partitions: Sequence[int]) -> None:
        """Begin with the partitions that the group assigned."""
        await self.leave_all()
        self._loops = {number: PartitionLoop(self, number) for number in sorted(partitions)}
        self.events.rebalanced(len(self._loops))
        LOG.info("assigned partitions %s", sorted(partitions) or "none")
        self._health.ready()

    async def leave_all(self) -> None:
        """Let go of all partitions, each after the batch that it has in hand."""
        loops, self._loops = self._loops, {}
        await asyncio.gather(*(loop.leave() for loop in loops.values()))

    def fail(self, failure: BaseException) -> None:
        """End the run with the first failure."""
        self._failure = self._failure or failure
        self._over.set()

    async def _give_hint(self) -> None:
        """Tell Kafka how far the store is, for its own monitoring; nothing reads it here."""
        offsets = {loop.place: loop.offset_committed for loop in self._loops.values()}
        known = {place: offset for place, offset in offsets.items() if offset is not None}
        if known:
            await _at_most(HINT_EVERY_S, self.consumer.commit(known))


async def _at_most(seconds: float, call: Coroutine[Any, Any, object]) -> None:
    """Await a courtesy to the broker, but no longer than this; whether it goes well is no matter.

    A client may wait for ever for a broker that died, and not even heed that it is cancelled.
    """
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=seconds)
    task.cancel()
    with suppress(asyncio.InvalidStateError, asyncio.CancelledError):
        task.exception()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # it has no types
    """Passes on what the group decides."""

    def __init__(self, consumption: Consumption) -> None:
        self._consumption = consumption

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Let go of everything: all partitions are handed out anew."""
        LOG.info("revoked partitions %s", sorted(place.partition for place in revoked) or "none")
        await self._consumption.leave_all()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Begin with what was assigned."""
        await self._consumption.take([place.partition for place in assigned])


@dataclass(slots=True)
class _Rated:
    """A batch that was rated and waits for its commit."""

    commit: Commit
    step_s: dict[str, float]
    last_timestamp_ms: int


class PartitionLoop:
    """One assigned partition: fetch, rate, commit, until the group takes it away.

    offset_committed: the next offset by the last commit; None before the partition was loaded.
    """

    def __init__(self, consumption: Consumption, number: int) -> None:
        self.place = TopicPartition(consumption.options.topic, number)
        self.offset_committed: int | None = None
        self._consumption = consumption
        self._options = consumption.options
        self._consumer = consumption.consumer
        self._leaving = asyncio.Event()
        self._fetching: asyncio.Future[dict[TopicPartition, list[ConsumerRecord]]] | None = None
        self._task = asyncio.create_task(self._run())

    async def leave(self) -> None:
        """End after the batch in hand; where that takes too long, drop it: the store decides."""
        self._leaving.set()
        if self._fetching is not None:
            self._fetching.cancel()
        _, late = await asyncio.wait([self._task], timeout=LEAVE_S_MAX)
        if late:
            LOG.warning("partition %d: dropped the batch in hand", self.place.partition)
            self._task.cancel()
        self._consumption.events.left(self.place.partition)

    async def _run(self) -> None:
        """Rate until told to leave; a failure ends the whole worker."""
        try:
            while not self._leaving.is_set():
                try:
                    await self._rate_on()
                except OffsetMoved as moved:
                    LOG.warning("partition %d: loading it anew: %s", self.place.partition, moved)
                    self._consumption.events.commit_failed(moved)
                    # If the group took it away, it says so before this pause is over.
                    await self._pause(self._options.session_timeout_s / 2)
        except Exception as failure:  # noqa: BLE001 - raised again by Consumption.run
            if isinstance(failure, StoreError) and failure.transient and self._leaving.is_set():
                LOG.warning("partition %d: dropped a batch: %s", self.place.partition, failure)
                return
            if isinstance(failure, LawBroken):
                self._consumption.events.law_broken()
            self._consumption.fail(failure)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than the partition is ours."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._leaving.wait(), seconds)

    async def _rate_on(self) -> None:
        """Load the partition and rate its messages, one batch in commit while the next is rated."""
        partition = await self._load()
        committing: asyncio.Task[None] | None = None
        try:
            while not self._leaving.is_set():
                messages = await self._gather(partition, committing)
                if not messages or self._leaving.is_set():
                    continue
                async with self._consumption.room_to_rate:
                    rated = await asyncio.to_thread(self._rate, partition, messages)
                if committing is not None:
                    await committing
                committing = asyncio.create_task(self._commit(partition, rated))
        finally:
            if committing is not None:
                await committing

    async def _load(self) -> Partition:
        """Take the partition up where the store has it, and seek there."""
        started_s = time.monotonic()
        number = self.place.partition
        books, store = self._consumption.books, self._consumption.store
        partition = await self._patiently(lambda: Partition.load(number, books, store))
        self._seek(partition.next_offset)
        self.offset_committed = partition.next_offset
        LOG.info(
            "partition %d: goes on at offset %d with %d open sessions, loaded in %.2f s",
            number,
            partition.next_offset,
            partition.sessions_open,
            time.monotonic() - started_s,
        )
        return partition

    def _seek(self, offset: int) -> None:
        # It is not ours to seek any more where the group is taking it away at this moment.
        with suppress(IllegalStateError):
            self._consumer.seek(self.place, offset)

    # --- fetch ----------------------------------------------------------------------------------

    async def _gather(
        self, partition: Partition, committing: asyncio.Task[None] | None
    ) -> list[ConsumerRecord]:
        """The messages of the next batch; none where there are none for a while.

        While the last batch is in commit, this one stays open beyond its time as long as there is
        room: it could only wait, and a store that is behind gets fewer and larger batches.
        """
        gathered: list[ConsumerRecord] = []
        records = size = 0
        close_at_s = time.monotonic() + POLL_MS / 1000
        while records < self._options.batch_records and size < self._options.batch_bytes:
            wait_s = close_at_s - time.monotonic()
            if committing is not None and committing.done():
                committing.result()  # raises what the commit failed with
                committing = None
            if wait_s <= 0 and committing is not None:
                wait_s = BUSY_POLL_MS / 1000
            if self._leaving.is_set() or (wait_s <= 0 and gathered):
                break
            messages = await self._fetch(
                partition, max(0, round(wait_s * 1000)), self._options.batch_records - records
            )
            if not messages and not gathered:
                break
            if messages and not gathered:
                close_at_s = time.monotonic() + self._options.batch_wait_s
            gathered += messages
            records += sum(count_records(message.value) for message in messages)
            size += sum(len(message.value or b"") for message in messages)
        return gathered

    async def _fetch(
        self, partition: Partition, wait_ms: int, messages_max: int
    ) -> list[ConsumerRecord]:
        """Messages that the client has, waiting a while for some. Raises: ConsumptionError."""
        self._fetching = asyncio.ensure_future(
            self._consumer.getmany(self.place, timeout_ms=wait_ms, max_records=messages_max)
        )
        try:
            found = await self._fetching
        except asyncio.CancelledError:
            if not self._leaving.is_set():
                raise
            return []
        except NoOffsetForPartitionError:
            return []  # Kafka has no hint for us; the store's offset is sought already
        except OffsetOutOfRangeError:
            await self._answer_out_of_range(partition)
            return []
        except KafkaError as error:
            if not error.retriable:
                raise ConsumptionError(f"{self.place.topic} cannot be read: {error}") from error
            LOG.warning("partition %d: fetching again: %s", self.place.partition, error)
            await self._pause(PAUSE_S_MIN)
            return []
        finally:
            self._fetching = None
        return found.get(self.place, [])

    async def _answer_out_of_range(self, partition: Partition) -> None:
        """The broker has not what the store needs next. Raises: ConsumptionError."""
        place, offset = self.place, partition.next_offset
        oldest = (await self._consumer.beginning_offsets([place]))[place]
        end = (await self._consumer.end_offsets([place]))[place]
        where = f"{place.topic}/{place.partition}"
        if oldest <= offset <= end:
            self._seek(offset)
            return
        if offset > end:
            raise ConsumptionError(
                f"{where} ends at offset {end}, but the store has rated it up to {offset}: this is "
                "not the log that the store was made from (was the topic deleted and made again?); "
                "name the right broker, topic and store, or begin with a new store"
            )
        if partition.is_new and self._options.from_oldest:
            LOG.warning("%s: begins at %d, the oldest offset there is", where, oldest)
            self._seek(oldest)
            return
        mend = (
            "to begin with what is left, start the worker with --from-oldest"
            if partition.is_new
            else "restore them from a copy of the topic; what was never rated cannot be charged"
        )
        raise ConsumptionError(
            f"{where} begins at offset {oldest}, but the store needs {offset} next: the broker has "
            f"deleted {oldest - offset} messages that were never rated; {mend}"
        )

    # --- rate and commit ------------------------------------------------------------------------

    def _rate(self, partition: Partition, messages: Sequence[ConsumerRecord]) -> _Rated:
        """Decode and rate, in a thread: both leave the interpreter to the event loop."""
        started_s = time.perf_counter()
        batch = decode_messages(
            f"{self.place.topic}/{self.place.partition}",
            [
                Message(
                    message.offset,
                    message_lines(message.headers, message.value, message.key, self._options.door),
                )
                for message in messages
            ],
        )
        decoded_s = time.perf_counter()
        commit = partition.rate(batch, messages[-1].offset + 1)
        rated_s = time.perf_counter()
        step_s = {"decode": decoded_s - started_s, "rate": rated_s - decoded_s}
        return _Rated(commit, step_s, messages[-1].timestamp)

    async def _commit(self, partition: Partition, rated: _Rated) -> None:
        """Commit a batch, and tell. Raises: StoreError."""
        started_s = time.perf_counter()
        counts_before = partition.counts
        await self._patiently(lambda: partition.commit(rated.commit))
        rated.step_s["commit"] = time.perf_counter() - started_s
        number, commit, events = partition.number, rated.commit, self._consumption.events
        self.offset_committed = commit.next_offset
        events.committed(number, commit.result, counts_before, rated.step_s)
        behind = max(0, (self._consumer.highwater(self.place) or 0) - commit.next_offset)
        age_s = time.time() - rated.last_timestamp_ms / 1000 if behind else 0.0
        events.lagging(number, behind, age_s)

    async def _patiently(self, call: Callable[[], T]) -> T:
        """Call in a thread, again and again while the store cannot be reached. Raises: StoreError."""
        give_up_s = time.monotonic() + self._options.store_patience_s
        pause_s = PAUSE_S_MIN
        while True:
            try:
                return await asyncio.to_thread(call)
            except StoreError as error:
                self._consumption.events.commit_failed(error)
                if not error.transient or time.monotonic() > give_up_s or self._leaving.is_set():
                    raise
                LOG.warning("partition %d: trying again: %s", self.place.partition, error)
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
