"""The end of a topic, read backwards: its last messages, up to so many bytes of them.

Messages have no set size, so each partition is read from a few messages before its end, and then
from twice as many before those, until there is enough.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from ingest.gateway.errors import KafkaLogError

if TYPE_CHECKING:
    from collections.abc import Mapping

FIRST_STEP = 64  # messages
POLL_MS = 500
WAIT_S = 30.0  # for all of it: a gateway that starts late is worse than one that knows less


async def last_values(
    client_options: Mapping[str, Any], topic: str, partition_count: int, bytes_max: int
) -> list[bytes]:
    """The values of the last messages of each partition, in the order of the partition.

    bytes_max: about, of all partitions together. Raises: KafkaLogError.
    """
    consumer = AIOKafkaConsumer(**client_options, enable_auto_commit=False)
    try:
        await consumer.start()
        async with asyncio.timeout(WAIT_S):
            found: list[bytes] = []
            for number in range(partition_count):
                partition = TopicPartition(topic, number)
                found += await _last_of(consumer, partition, bytes_max // partition_count)
            return found
    except (KafkaError, OSError) as error:
        raise KafkaLogError(
            f"{client_options['bootstrap_servers']}: the end of topic {topic} cannot be read "
            f"({error}); let the gateway's user read it"
        ) from error
    finally:
        await consumer.stop()


async def _last_of(consumer: Any, partition: TopicPartition, bytes_max: int) -> list[bytes]:
    consumer.assign([partition])
    (begin,) = (await consumer.beginning_offsets([partition])).values()
    (until,) = (await consumer.end_offsets([partition])).values()
    values: list[bytes] = []
    step, size_bytes = FIRST_STEP, 0
    while until > begin and size_bytes < bytes_max:
        start = max(begin, until - step)
        part = await _between(consumer, partition, start, until)
        values = part + values
        size_bytes += sum(map(len, part))
        until, step = start, 2 * step
    return values


async def _between(consumer: Any, partition: TopicPartition, start: int, until: int) -> list[bytes]:
    """The values from one offset to before another."""
    consumer.seek(partition, start)
    values: list[bytes] = []
    at = start
    while at < until:
        batch = await consumer.getmany(partition, timeout_ms=POLL_MS)
        values += [
            message.value
            for message in batch.get(partition, [])
            if message.offset < until and message.value is not None
        ]
        # Offsets have gaps where transactions ended; the position passes over them.
        at = await consumer.position(partition)
    return values
