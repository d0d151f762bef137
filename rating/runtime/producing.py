"""A usage log from files to its topic: records packed by partition, in the order of the log."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from aiokafka.errors import KafkaError

from ingest.adapters.doors import read_lines
from rating.runtime.progress import Progress
from rating.runtime.publishing import opened_producer
from sinks.topics.partitions import partitions_of
from sinks.topics.publisher import PublishError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiokafka import AIOKafkaProducer
    from aiokafka.producer.message_accumulator import BatchBuilder

    from ingest.adapters.doors import Door
    from ingest.files import LogChunk, LogReader
    from rating.runtime.kafka_access import KafkaAccess
    from rating.schemas import UsageBatch

CHUNK_RECORDS = 100_000
MESSAGE_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent and acknowledged."""

    records: int
    messages: int


@dataclass(frozen=True, slots=True)
class Message:
    """Records of one partition. key: the account of the first; None where it could not be read."""

    partition: int
    key: bytes | None
    value: bytes


async def produce_log(
    reader: LogReader,
    access: KafkaAccess,
    topic: str,
    pack: int,
    *,
    per_second: int | None,
    progress: Callable[[Progress], None],
    door: Door | None = None,
) -> Sent:
    """Send every record of a log; return once the broker has them all.

    door: how the log's lines are understood; None: they are usage records.
    pack: most records a message. per_second: most records a second.
    Raises: PublishError, KafkaAccessError, LogError.
    """
    records = messages = 0
    started_s = time.monotonic()
    chunks = iter(reader)
    async with opened_producer(access, [topic]) as producer:
        while (chunk := await asyncio.to_thread(next, chunks, None)) is not None:
            partitions = len(await producer.partitions_for(topic))
            batch, packed = await asyncio.to_thread(_packed, chunk, partitions, pack, door)
            await _send(producer, topic, packed)
            records, messages = records + len(batch.events), messages + len(packed)
            progress(Progress(reader.bytes_read, reader.bytes_total or None, records))
            if per_second:
                await asyncio.sleep(started_s + records / per_second - time.monotonic())
    return Sent(records, messages)


def _packed(
    chunk: LogChunk, partitions: int, pack: int, door: Door | None
) -> tuple[UsageBatch, list[Message]]:
    batch = read_lines(chunk.raw, chunk.locate, door)
    return batch, list(messages_of(batch, partitions, pack))


def messages_of(batch: UsageBatch, partitions: int, pack: int) -> Iterator[Message]:
    """Pack the records of a batch by the partition of their account.

    A record whose account could not be read goes where an empty key would.
    """
    text, events = batch.text.tobytes(), batch.events
    accounts = _texts(text, events["account_at"], events["account_len"])
    lines = _texts(text, events["raw_at"], events["raw_len"])
    where = partitions_of(accounts, partitions)
    order = np.argsort(where, kind="stable").tolist()
    for partition, rows in groupby(order, key=where.__getitem__):
        for together in _within(list(rows), lines, pack):
            value = b"\n".join(lines[row] for row in together)
            yield Message(int(partition), accounts[together[0]] or None, value)


def _texts(text: bytes, starts: np.ndarray, lengths: np.ndarray) -> list[bytes]:
    ends = starts.astype(np.int64) + lengths
    return [text[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]


def _within(rows: list[int], lines: list[bytes], pack: int) -> Iterator[list[int]]:
    """Cut rows into messages of at most `pack` records and, where that can be, MESSAGE_BYTES."""
    together: list[int] = []
    size = 0
    for row in rows:
        if together and (len(together) == pack or size + len(lines[row]) > MESSAGE_BYTES):
            yield together
            together, size = [], 0
        together.append(row)
        size += len(lines[row]) + 1
    if together:
        yield together


async def _send(producer: AIOKafkaProducer, topic: str, messages: list[Message]) -> None:
    """Send messages and wait until the broker has them. Raises: PublishError."""
    batches: list[tuple[int, BatchBuilder]] = []
    for message in messages:
        fields = {"timestamp": None, "key": message.key, "value": message.value}
        if batches and batches[-1][0] == message.partition and batches[-1][1].append(**fields):
            continue
        batches.append((message.partition, producer.create_batch()))
        batches[-1][1].append(**fields)
    try:
        waiting = [
            await producer.send_batch(batch, topic, partition=partition)
            for partition, batch in batches
        ]
        await asyncio.gather(*waiting)
    except KafkaError as error:
        raise PublishError(
            f"topic {topic}: the broker did not take records: {error or type(error).__name__}; "
            "what was sent before is there, so begin again with what follows it"
        ) from error
