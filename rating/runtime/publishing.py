"""The publisher's process: topics and Parquet kept up with the store, once or until stopped."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from sinks.parquet import write_parquet
from sinks.topics.publisher import BATCH_BYTES, PublishError, TopicPublisher, topic_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rating.runtime.kafka_access import KafkaAccess
    from sinks.store import BillingStore, Kind
    from sinks.topics.publisher import Published

PARQUET_EVERY_S = 60.0  # a file is written anew each time it grows


@asynccontextmanager
async def opened_producer(
    access: KafkaAccess, topics: Sequence[str]
) -> AsyncIterator[AIOKafkaProducer]:
    """Connect a producer that neither doubles nor reorders, and see that the topics are there.

    Raises: PublishError, KafkaAccessError.
    """
    producer = AIOKafkaProducer(
        **access.client_options(),
        client_id="ratecast",
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES,
        max_request_size=2 * BATCH_BYTES,
    )
    try:
        try:
            await producer.start()
            known = (await producer.client.fetch_all_metadata()).topics()
        except (KafkaError, OSError) as error:
            raise PublishError(
                f"no Kafka broker answers at {access.addresses} ({error or type(error).__name__}); "
                "check the address, and that it runs"
            ) from error
        if missing := sorted(set(topics) - known):
            raise PublishError(
                f"{access.addresses} has no topic {' and no topic '.join(missing)}; make them with "
                f"'ratecast topics create --kafka {access.addresses}'"
            )
        yield producer
    finally:
        await producer.stop()


async def publish_once(
    store: BillingStore,
    access: KafkaAccess,
    kinds: Sequence[Kind],
    report: Callable[[Published], None],
    *,
    prefix: str = "",
) -> dict[Kind, int]:
    """Bring topics up to where the store stands. Returns how many messages each took.

    Raises: PublishError, StoreError, KafkaAccessError.
    """
    async with opened_producer(access, [topic_name(kind, prefix) for kind in kinds]) as producer:
        publishers = [
            TopicPublisher(store, kind, producer, report, prefix=prefix) for kind in kinds
        ]
        sent = await asyncio.gather(*(publisher.publish() for publisher in publishers))
    return dict(zip(kinds, sent, strict=True))


async def publish_on(
    store: BillingStore,
    access: KafkaAccess,
    kinds: Sequence[Kind],
    report: Callable[[Published], None],
    stop: asyncio.Event,
    *,
    prefix: str = "",
) -> None:
    """Keep topics up with the store until told to stop. A worker runs it beside its rating.

    Where another program publishes them already, it stands by and takes over once that is gone.
    Raises: PublishError, StoreError, KafkaAccessError. What was not acknowledged is then sent by
    whoever comes next.
    """
    async with opened_producer(access, [topic_name(kind, prefix) for kind in kinds]) as producer:
        publishers = [
            TopicPublisher(store, kind, producer, report, prefix=prefix) for kind in kinds
        ]
        following = [asyncio.create_task(publisher.follow(stop)) for publisher in publishers]
        await all_or_none(following)


async def write_parquet_on(
    store: BillingStore, folder: str, stop: asyncio.Event, every_s: float = PARQUET_EVERY_S
) -> None:
    """Keep a Parquet dataset up with the store until told to stop.

    Raises: ParquetError, StoreError.
    """
    while True:
        await asyncio.to_thread(write_parquet, store, folder)
        try:
            await asyncio.wait_for(stop.wait(), every_s)
        except TimeoutError:
            continue
        await asyncio.to_thread(write_parquet, store, folder)
        return


async def all_or_none(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for tasks; where one fails, end the others and raise what it failed with."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
