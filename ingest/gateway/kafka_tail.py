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
    from collections.abc import Mapping, Sequence

    Values = dict[TopicPartition, list[bytes]]

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
            places = [TopicPartition(topic, number) for number in range(partition_count)]
            found = await _last_of(consumer, places, bytes_max // partition_count)
            return [value for place in places for value in found[place]]
    except (KafkaError, OSError) as error:
        raise KafkaLogError(
            f"{client_options['bootstrap_servers']}: the end of topic {topic} cannot be read "
            f"({error}); let the gateway's user read it"
        ) from error
    finally:
        await consumer.stop()


async def _last_of(consumer: Any, places: Sequence[TopicPartition], bytes_max: int) -> Values:
    """The last values of each partition, at most about so many bytes of each."""
    consumer.assign(places)
    begins = await consumer.beginning_offsets(places)
    until = await consumer.end_offsets(places)
    values: Values = {place: [] for place in places}
    step = FIRST_STEP
    while wanted := [
        place
        for place in places
        if until[place] > begins[place] and sum(map(len, values[place])) < bytes_max
    ]:
        starts = {place: max(begins[place], until[place] - step) for place in wanted}
        before = await _between(consumer, starts, until)
        values |= {place: before[place] + values[place] for place in wanted}
        until |= starts
        step *= 2
    return values


async def _between(
    consumer: Any, starts: Mapping[TopicPartition, int], until: Mapping[TopicPartition, int]
) -> Values:
    """The values of each partition from one offset to before another."""
    consumer.assign(list(starts))
    for place, start in starts.items():
        consumer.seek(place, start)
    values: Values = {place: [] for place in starts}
    waiting = set(starts)
    while waiting:
        found = await consumer.getmany(*waiting, timeout_ms=POLL_MS)
        for place, messages in found.items():
            values[place] += [
                message.value
                for message in messages
                if message.offset < until[place] and message.value is not None
            ]
        # Offsets have gaps where transactions ended; the position passes over them.
        waiting = {place for place in waiting if await consumer.position(place) < until[place]}
    return values
