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
from collections import deque
from concurrent import futures
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
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
from rating.runtime.first_batch import (
    JUDGED_RECORDS_MIN,
    malformed_rows,
    nearly_all_malformed,
)
from rating.runtime.partition import Partition
from rating.runtime.store_waits import STORE, StoreWaits
from rating.schemas import Origin
from sinks.store import OffsetMoved, StoreError, origin_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from aiokafka import ConsumerRecord

    from ingest.adapters.doors import Door
    from rating.runtime.kafka_access import KafkaAccess
    from rating.runtime.probes import Health
    from rating.runtime.worker_events import WorkerEvents
    from rating.schemas import Commit, UsageBatch
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
THREADS_MAX = 64  # each partition rates in one while it commits in another
SIGN_EVERY_S = 1.0
LAG_EVERY_S = 5.0
# The client leaves its group for good where nothing is fetched for so long; a store that is down must
# not bring that about, so it is always longer than a worker waits for its store.
IDLE_S_MIN = 300.0
REBALANCE_S_MAX = 60.0  # how long the group waits for a member that finishes its batches
UNASSIGNED_S_MAX = 120.0  # longer than any rebalance takes
STILL_S_MAX = 60.0  # of a call to the store, beyond the patience with it
RATING_S_MAX = 600.0  # the first batch may compile the core, on a machine that is busy with others
PROBE = -1  # who asks whether the store answers while nothing is rated


class ConsumptionError(Exception):
    """The topic cannot be rated on. The text says what, where, and how to mend it."""


class StoodStill(ConsumptionError):  # noqa: N818 - named for what happened
    """Something never came back. Its thread cannot be ended, so the process must be."""


@dataclass(frozen=True, slots=True)
class ConsumptionOptions:
    """How a worker consumes.

    group: whose members share the partitions. instance: a name of this worker that it keeps over
    restarts, so that it gets its partitions back at once; None for none.
    batch_records, batch_bytes, batch_wait_s: a batch is closed by whichever it comes to first.
    session_timeout_s: the group takes a silent worker for dead after so long.
    store_patience_s: how long a store that cannot be reached is tried again.
    accept_malformed: rate on although nearly all of what is read first is malformed.
    accept_topic: go on from this topic although the store was rated from another.
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
    accept_malformed: bool = False
    accept_topic: bool = False
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
        self.origin = None if access.cluster is None else Origin(access.cluster, options.topic)
        self.store_waits = StoreWaits()
        self.left_behind = False  # a thread that does not come back
        self._threads = futures.ThreadPoolExecutor(THREADS_MAX, "ratecast")
        self._in_threads: set[futures.Future[Any]] = set()
        self._loops: dict[int, PartitionLoop] = {}
        self._watch = _Watch(options)
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
            rebalance_timeout_ms=round(REBALANCE_S_MAX * 1000),
            max_poll_interval_ms=round((IDLE_S_MIN + options.store_patience_s) * 1000),
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
        await self._check_origin()
        self._health.not_ready("the group has not assigned partitions yet")
        self._consumer.subscribe([options.topic], listener=_Listener(self))

    async def _check_origin(self) -> None:
        """See that the store is rated from this topic, or from none yet. Raises: ConsumptionError."""
        kept = await asyncio.to_thread(self.store.origin)
        if (
            not self.options.accept_topic
            and None not in (kept, self.origin)
            and kept != self.origin
        ):
            assert kept is not None and self.origin is not None  # noqa: PT018 - for the checker
            raise ConsumptionError(origin_changed(self.store.url, kept, self.origin))

    async def run(self) -> None:
        """Rate until stopped. Raises: what any partition failed with; StoodStill; ConsumptionError."""
        beside = [
            asyncio.create_task(self._every(HINT_EVERY_S, self._give_hint)),
            asyncio.create_task(self._every(LAG_EVERY_S, self._tell_lag)),
            asyncio.create_task(self._every(LAG_EVERY_S, self._probe_store)),
        ]
        try:
            while not self._over.is_set():
                self._health.alive()
                self._tell_store()
                if complaint := self._watch.complaint(self._loops):
                    self.fail(complaint)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), SIGN_EVERY_S)
        finally:
            for task in beside:
                task.cancel()
        if self._failure is not None:
            raise self._failure

    async def _every(self, seconds: float, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do something every so often for as long as the worker runs."""
        while not self._over.is_set():
            await call()
            await asyncio.sleep(seconds)

    async def stop(self) -> None:
        """Finish the batches in hand, and leave the group."""
        self._over.set()
        await self.leave_all()
        if self._consumer is not None:
            if self._failure is None:
                await self._give_hint()
            await _at_most(STOP_S_MAX, self._consumer.stop())
        running = tuple(self._in_threads)
        _, late = await asyncio.to_thread(futures.wait, running, STOP_S_MAX)
        self.left_behind = bool(late)

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Call in a thread. It is known for as long as it runs, also where nobody waits for it."""
        running = self._threads.submit(call)
        self._in_threads.add(running)
        running.add_done_callback(self._in_threads.discard)
        return await asyncio.wrap_future(running)

    async def take(self, partitions: Sequence[int]) -> None:
        """Begin with the partitions that the group assigned."""
        await self.leave_all()
        self._loops = {number: PartitionLoop(self, number) for number in sorted(partitions)}
        self._watch.assigned = True
        self.events.rebalanced(len(self._loops))
        LOG.info("assigned partitions %s", sorted(partitions) or "none")
        self._health.ready()

    async def revoked(self) -> None:
        """The group takes all partitions back; it may give some again, or drop this worker."""
        self._watch.assigned = False
        await self.leave_all()
        self.events.revoked()
        self._health.not_ready("the group has taken all partitions back and given none yet")

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

    async def _tell_lag(self) -> None:
        """Ask the broker where the partitions end, whatever becomes of the commits meanwhile."""
        loops = tuple(self._loops.values())
        if loops:
            await _at_most(LAG_EVERY_S, self._ask_ends(loops))
        for loop in loops:
            if self._loops.get(loop.place.partition) is loop:
                loop.tell_lag()

    async def _ask_ends(self, loops: Sequence[PartitionLoop]) -> None:
        """Give each loop its partition's end, and where it stands if only the group knows yet."""
        ends = await self.consumer.end_offsets([loop.place for loop in loops])
        for loop in loops:
            loop.end = ends[loop.place]
            if loop.offset_committed is None:
                loop.offset_hinted = await self.consumer.committed(loop.place) or 0

    async def _probe_store(self) -> None:
        """See whether the store answers, also while there is nothing to commit, and tell its heads."""
        self.store_waits.begin(PROBE)
        try:
            heads = await self.in_thread(self.store.heads)
        except StoreError as error:
            self.store_waits.refused(PROBE, error)
            return
        self.store_waits.end(PROBE)
        for head in heads:
            if head.partition in self._loops:
                self.events.chained(head.partition, head.number, head.digest)

    def _tell_store(self) -> None:
        """Say how long the store has kept whom waiting, to metrics and to readiness."""
        self.events.waiting_for_store(*self.store_waits.longest())
        if complaint := self.store_waits.complaint():
            self._health.not_ready(complaint, STORE)
        else:
            self._health.ready(STORE)


class _Watch:
    """Sees whether the worker still gets on: whether the group has it, and whether each loop moves.

    It counts looks, of which there is one a second, and not the time: a process that was frozen has
    not looked, and must not take its own sleep for theirs.
    """

    def __init__(self, options: ConsumptionOptions) -> None:
        self.assigned = False
        self._group = options.group
        self._calling_looks_max = options.store_patience_s + STILL_S_MAX
        self._looks_max = options.session_timeout_s + RATING_S_MAX
        self._unassigned_looks = 0
        self._seen: dict[PartitionLoop, tuple[tuple[int, int], int]] = {}

    def complaint(self, loops: Mapping[int, PartitionLoop]) -> ConsumptionError | None:
        """Look once. Returns what the worker must end with, if anything."""
        self._unassigned_looks = 0 if self.assigned else self._unassigned_looks + 1
        if self._unassigned_looks > UNASSIGNED_S_MAX:
            return ConsumptionError(
                f"group {self._group!r} has given this worker no partitions for "
                f"{UNASSIGNED_S_MAX:.0f} s and so has dropped it; start it again, as a supervisor does"
            )
        before, self._seen = self._seen, {}
        for number, loop in loops.items():
            sign, looks = before.get(loop, (None, 0))
            looks = looks + 1 if sign == loop.sign else 0
            self._seen[loop] = loop.sign, looks
            if looks > (self._calling_looks_max if loop.is_calling else self._looks_max):
                return StoodStill(
                    f"partition {number} has stood still for {looks} s in {loop.doing}, which never "
                    "came back; start the worker again, as a supervisor does, and see what holds it"
                )
        return None


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
        await self._consumption.revoked()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Begin with what was assigned."""
        await self._consumption.take([place.partition for place in assigned])


@dataclass(slots=True)
class _Rated:
    """A batch that was rated and waits for its commit."""

    commit: Commit
    step_s: dict[str, float]


class PartitionLoop:
    """One assigned partition: fetch, rate, commit, until the group takes it away.

    offset_committed: the next offset by the last commit; None before the partition was loaded.
    offset_hinted: what the group believes that to be. end: the partition's, as the broker said last.
    """

    def __init__(self, consumption: Consumption, number: int) -> None:
        self.place = TopicPartition(consumption.options.topic, number)
        self.offset_committed: int | None = None
        self.offset_hinted = 0
        self.end = 0
        self._behind_since_s: tuple[int, float] | None = None  # that offset, and when it was seen
        self._in_hand_ms: deque[int] = deque()  # the first message of each batch not committed yet
        self._moves = self._answers = self._calls = 0
        self._is_judging = True
        self._records_seen = self._malformed_seen = 0
        self._first_malformed = ""
        self._consumption = consumption
        self._options = consumption.options
        self._consumer = consumption.consumer
        self._leaving = asyncio.Event()
        self._fetching: asyncio.Future[dict[TopicPartition, list[ConsumerRecord]]] | None = None
        self._task = asyncio.create_task(self._run())

    @property
    def sign(self) -> tuple[int, int]:
        """Changes as long as the loop gets on; while it calls the store, only with its answers."""
        return (0 if self._calls else self._moves), self._answers

    @property
    def is_calling(self) -> bool:
        """Whether it waits for the store."""
        return self._calls > 0

    @property
    def doing(self) -> str:
        """What it is at."""
        return "a call to the store" if self.is_calling else "fetching or rating"

    def tell_lag(self) -> None:
        """Say how far the store is behind the end that the broker gave last."""
        offset = self.offset_hinted if self.offset_committed is None else self.offset_committed
        behind = max(0, self.end - offset)
        now_s, age_s = time.time(), 0.0
        if not behind:
            self._behind_since_s = None
        elif self._in_hand_ms:
            age_s = now_s - self._in_hand_ms[0] / 1000
        else:
            # Of messages that were not fetched yet nothing is known but since when they wait.
            seen_at, since_s = self._behind_since_s or (-1, 0.0)
            self._behind_since_s = (offset, since_s if seen_at == offset else now_s)
            age_s = now_s - self._behind_since_s[1]
        self._consumption.events.lagging(self.place.partition, behind, age_s)

    async def leave(self) -> None:
        """End after the batch in hand; where that takes too long, drop it: the store decides."""
        self._leaving.set()
        if self._fetching is not None:
            self._fetching.cancel()
        _, late = await asyncio.wait([self._task], timeout=LEAVE_S_MAX)
        if late:
            LOG.warning("partition %d: dropped the batch in hand", self.place.partition)
            self._task.cancel()
        self._consumption.store_waits.end(self.place.partition)
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
        self._in_hand_ms.clear()
        partition = await self._load()
        committing: asyncio.Task[None] | None = None
        try:
            while not self._leaving.is_set():
                messages = await self._gather(partition, committing)
                self._moves += 1
                if not messages or self._leaving.is_set():
                    continue
                self._in_hand_ms.append(messages[0].timestamp)
                async with self._consumption.room_to_rate:
                    rated = await self._consumption.in_thread(
                        partial(self._rate, partition, messages)
                    )
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
        stored = await self._patiently(lambda: store.load(number))
        partition = await self._consumption.in_thread(
            partial(Partition, number, books, store, stored)
        )
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
        self._judge(partition, batch)
        origin, moves = self._consumption.origin, self._options.accept_topic
        commit = partition.rate(batch, messages[-1].offset + 1, origin, moves_origin=moves)
        rated_s = time.perf_counter()
        step_s = {"decode": decoded_s - started_s, "rate": rated_s - decoded_s}
        return _Rated(commit, step_s)

    def _judge(self, partition: Partition, batch: UsageBatch) -> None:
        """See that what a partition begins with is usage at all. Raises: ConsumptionError."""
        if not self._is_judging or self._options.accept_malformed:
            return
        self._is_judging = partition.is_new or self._records_seen > 0
        self._records_seen += len(batch.events)
        own = malformed_rows(batch, self._options.door)
        self._malformed_seen += len(own)
        if not self._is_judging:
            return
        if own and not self._first_malformed:
            first = min(own)
            self._first_malformed = f"{batch.locate(first)}: {batch.malformed[first].rstrip('.')}"
        if nearly_all_malformed(self._records_seen, self._malformed_seen):
            raise ConsumptionError(
                f"{self._malformed_seen:,} of the first {self._records_seen:,} records of "
                f"{self.place.topic}/{self.place.partition} are malformed ({self._first_malformed}), "
                "so this is hardly a topic of usage records; nothing of this batch was stored. Name "
                "the right topic, or start the worker with --accept-malformed"
            )
        self._is_judging = self._records_seen < JUDGED_RECORDS_MIN

    async def _commit(self, partition: Partition, rated: _Rated) -> None:
        """Commit a batch, and tell. Raises: StoreError."""
        started_s = time.perf_counter()
        counts_before = partition.counts
        await self._patiently(lambda: partition.commit(rated.commit))
        rated.step_s["commit"] = time.perf_counter() - started_s
        number, commit, events = partition.number, rated.commit, self._consumption.events
        self.offset_committed = commit.next_offset
        self._in_hand_ms.popleft()
        events.committed(number, commit.result, counts_before, rated.step_s)
        self.end = max(self.end, self._consumer.highwater(self.place) or 0)
        self.tell_lag()

    async def _patiently(self, call: Callable[[], T]) -> T:
        """Call in a thread, again and again while the store cannot be reached. Raises: StoreError."""
        number, waits = self.place.partition, self._consumption.store_waits
        give_up_s = time.monotonic() + self._options.store_patience_s
        pause_s = PAUSE_S_MIN
        waits.begin(number)
        self._calls += 1
        try:
            while True:
                try:
                    return await self._consumption.in_thread(call)
                except StoreError as error:
                    self._answers += 1
                    self._consumption.events.commit_failed(error)
                    if (
                        not error.transient
                        or time.monotonic() > give_up_s
                        or self._leaving.is_set()
                    ):
                        raise
                    waits.refused(number, error)
                    LOG.warning("partition %d: trying again: %s", number, error)
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        finally:
            self._answers += 1
            self._calls -= 1
            waits.end(number)
