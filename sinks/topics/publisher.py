"""From the store to a topic: nothing is missed, and an account's messages keep their order.

A page of rows is read after the cursor, sent, and only once the broker has all of it is the cursor
moved there. So wherever this is cut short, what follows the cursor is sent again, with the same
ids. That holds for two publishers at a time, too: every cursor that any of them sets has all rows
before it acknowledged, and the worst is a repeat. The claim on the store only spares that work.

Order rests on an idempotent producer, with all replicas' acknowledgement: it has one request under
way to a broker, and one that is tried again is neither doubled nor overtaken.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from aiokafka.errors import KafkaError

from sinks.topics.messages import message_keys, message_values
from sinks.topics.partitions import partitions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import polars as pl
    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder

    from sinks.store import BillingStore, Claim, Kind

log = logging.getLogger(__name__)

TOPICS: tuple[Kind, ...] = ("charges", "signals", "suspense")
PAGE_ROWS = 10_000
# Below what a broker takes by default (1 MiB), above the largest message.
BATCH_BYTES = 640 * 1024
POLL_MS = 50
STANDBY_MS = 1_000  # between two looks at whether the publisher in charge has gone


class PublishError(Exception):
    """A topic cannot be written. The text says why, and how to mend it."""


class PublisherBusy(PublishError):  # noqa: N818 - named for what happened
    """Another publisher writes this topic from this store."""


@dataclass(frozen=True, slots=True)
class Published:
    """What a topic has come to. seq: of the last row sent. last_seq: of the last row there is.

    rows: sent since the last report.
    """

    topic: str
    rows: int
    seq: int
    last_seq: int


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of the store ready to be sent: batches with their partitions, in the order to send."""

    rows: int
    last_seq: int
    batches: tuple[tuple[int, BatchBuilder], ...]


class TopicPublisher:
    """Publishes one kind of row into one topic.

    producer: started, idempotent, with batches of BATCH_BYTES. One producer may serve several.
    report: called after each page, and now and then while there is nothing to send.
    """

    def __init__(
        self,
        store: BillingStore,
        kind: Kind,
        producer: AIOKafkaProducer,
        report: Callable[[Published], None],
        *,
        prefix: str = "",
        page_rows: int = PAGE_ROWS,
    ) -> None:
        self._store = store
        self._kind = kind
        self._topic = topic_name(kind, prefix)
        self._producer = producer
        self._report = report
        self._page_rows = page_rows

    async def publish(self) -> int:
        """Send what there is now. Returns how many rows.

        Raises: PublisherBusy, PublishError, StoreError.
        """
        claim = await self._claim()
        if claim is None:
            raise PublisherBusy(
                f"topic {self._topic}: another publisher is writing it from {self._store.url}; "
                "let it do so, or stop it first"
            )
        try:
            sent, _ = await self._catch_up(await asyncio.to_thread(self._cursor))
            return sent
        finally:
            await asyncio.to_thread(claim.release)

    async def follow(self, stop: asyncio.Event) -> None:
        """Send what there is and what will be, until told to stop; stand by while another does.

        Raises: PublishError, StoreError.
        """
        standing_by = False
        while not stop.is_set():
            claim = await self._claim()
            if claim is None:
                if not standing_by:
                    log.info("Topic %s: another publisher is at work; standing by", self._topic)
                standing_by = True
                self._report(await asyncio.to_thread(self._standing))
                await _wait(stop, STANDBY_MS)
                continue
            standing_by = False
            try:
                await self._follow(claim, stop)
            finally:
                await asyncio.to_thread(claim.release)

    async def _claim(self) -> Claim | None:
        return await asyncio.to_thread(self._store.claim, f"publish-{self._topic}")

    async def _follow(self, claim: Claim, stop: asyncio.Event) -> None:
        """Send on for as long as the claim holds."""
        seq = await asyncio.to_thread(self._cursor)
        log.info("Topic %s: publishing what follows row %d", self._topic, seq)
        idle_ms = 0
        while not stop.is_set():
            sent, seq = await self._catch_up(seq, stop)
            if sent:
                continue
            if idle_ms >= STANDBY_MS:
                idle_ms = 0
                self._report(Published(self._topic, 0, seq, seq))
                if not await asyncio.to_thread(claim.held):
                    return
            await _wait(stop, POLL_MS)
            idle_ms += POLL_MS

    def _standing(self) -> Published:
        """How far whoever publishes has come."""
        return Published(self._topic, 0, self._cursor(), self._store.last_seq(self._kind))

    def _cursor(self) -> int:
        cursor = self._store.cursor(cursor_name(self._topic))
        return cursor.seq if cursor else 0

    async def _catch_up(self, seq: int, stop: asyncio.Event | None = None) -> tuple[int, int]:
        """Send page after page until there is none, reading each while the one before is sent.

        Returns: how many rows, and the number of the last.
        """
        sent = 0
        page = await self._read(seq)
        while page is not None and not (stop and stop.is_set()):
            following = asyncio.create_task(self._read(page.last_seq))
            try:
                await self._send(page)
            except BaseException:
                following.cancel()
                raise
            sent, seq = sent + page.rows, page.last_seq
            page = await following
        return sent, seq

    async def _read(self, after: int) -> Page | None:
        partitions = await self._producer.partitions_for(self._topic)
        return await asyncio.to_thread(self._page, after, len(partitions))

    def _page(self, after: int, partitions: int) -> Page | None:
        """Read the rows after a number and pack them by partition; None where there are none."""
        rows = self._rows_after(after)
        if rows.is_empty():
            return None
        batches = pack(self._producer.create_batch, self._kind, rows, partitions)
        return Page(rows.height, int(rows["seq"][-1]), tuple(batches))

    def _rows_after(self, after: int) -> pl.DataFrame:
        match self._kind:
            case "charges":
                return self._store.charges_after(after, self._page_rows)
            case "signals":
                return self._store.signals_after(after, self._page_rows)
            case "suspense":
                return self._store.suspense_after(after, self._page_rows)

    async def _send(self, page: Page) -> None:
        """Send a page, wait until the broker has all of it, and then move the cursor."""
        try:
            waiting = [
                await self._producer.send_batch(batch, self._topic, partition=partition)
                for partition, batch in page.batches
            ]
            await asyncio.gather(*waiting)
        except KafkaError as error:
            raise PublishError(
                f"topic {self._topic}: the broker did not take messages: {error or type(error).__name__}; "
                "what it did not acknowledge is sent again at the next start"
            ) from error
        await asyncio.to_thread(self._store.set_cursor, cursor_name(self._topic), page.last_seq)
        last_seq = await asyncio.to_thread(self._store.last_seq, self._kind)
        self._report(Published(self._topic, page.rows, page.last_seq, last_seq))


def topic_name(kind: Kind, prefix: str = "") -> str:
    """Name the topic of a kind of row. prefix: for several operators on one Kafka."""
    return f"{prefix}{kind}"


def cursor_name(topic: str) -> str:
    """Name the store's cursor of a topic."""
    return f"topic:{topic}"


def pack(
    new_batch: Callable[[], BatchBuilder], kind: Kind, rows: pl.DataFrame, partitions: int
) -> list[tuple[int, BatchBuilder]]:
    """Pack rows into as few batches as hold them, each of one partition, in the order of seq."""
    values, keys = message_values(kind, rows), message_keys(rows)
    where = partitions_of([key or b"" for key in keys], partitions)
    batches: list[tuple[int, BatchBuilder]] = []
    order = np.argsort(where, kind="stable")
    for partition, numbers in groupby(order.tolist(), key=where.__getitem__):
        batch = new_batch()
        batches.append((int(partition), batch))
        for number in numbers:
            if batch.append(timestamp=None, key=keys[number], value=values[number]) is None:
                batch = new_batch()
                batches.append((int(partition), batch))
                taken = batch.append(timestamp=None, key=keys[number], value=values[number])
                assert taken is not None, "an empty batch takes any one message"
    return batches


async def _wait(stop: asyncio.Event, wait_ms: int) -> None:
    """Sleep, but no longer than until told to stop."""
    try:
        await asyncio.wait_for(stop.wait(), wait_ms / 1000)
    except TimeoutError:
        return
