"""Usage logs on their way into Kafka: lines of one size, packed by partition, at once or paced.

No benchmark by itself: `worker.py` imports it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np
from aiokafka import AIOKafkaProducer
from crowd import BEAT_MS, CHANNELS, START_MS
from kafka import KafkaAdminClient
from worker_runs import partition_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

EVENT_BYTES = 250
PADDING_BYTES_MIN = len(',"note":""')
BATCH_BYTES = 900_000  # below what a broker takes by default
REQUEST_BYTES = 4 << 20
ACCOUNT = re.compile(rb'"account":"([^"]*)"')
RECEIVED = re.compile(rb'"received":(\d+)')
SETTLED_MS = 1000


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message before it is sent. probe: the account whose balance it exhausts, if it does."""

    partition: int
    key: bytes
    value: bytes
    records: int
    probe: str = ""


def padded(line: bytes) -> bytes:
    """A record of about EVENT_BYTES: a shorter one gets a field that rating does not know."""
    missing = EVENT_BYTES - len(line) - PADDING_BYTES_MIN
    return line[:-1] + b',"note":"' + b"x" * missing + b'"}' if missing > 0 else line


@cache
def partition_for(account: bytes, partitions: int) -> int:
    """Where the default partitioner puts an account."""
    return partition_of(account, partitions)


def account_of(line: bytes) -> bytes:
    """The key of a simulated record."""
    found = ACCOUNT.search(line)
    assert found is not None
    return found[1]


def packed(lines: Iterable[bytes], partitions: int, records: int) -> Iterator[Outgoing]:
    """Messages of so many records, each of one partition, in the order of the log."""
    waiting: defaultdict[int, list[bytes]] = defaultdict(list)
    for line in lines:
        number = partition_for(account_of(line), partitions)
        waiting[number].append(line)
        if len(waiting[number]) == records:
            yield _message(number, waiting.pop(number))
    for number, rest in waiting.items():
        yield _message(number, rest)


def _message(partition: int, lines: Sequence[bytes]) -> Outgoing:
    return Outgoing(partition, account_of(lines[0]), b"\n".join(lines), len(lines))


def crowd_lines(viewers: int, sessions_an_account: int, beats: Sequence[int]) -> Iterator[bytes]:
    """Every viewer's heartbeat in each of some minutes; all sessions stay open."""
    accounts = viewers // sessions_an_account
    for beat in beats:
        time_ms = START_MS + beat * BEAT_MS
        for viewer in range(viewers):
            yield (
                f'{{"type":"view","time":{time_ms},"received":{time_ms},'
                f'"account":"acct-{viewer % accounts:08}","device":"stb-{viewer:08}-1",'
                f'"session":"s-{viewer:08}-1","content":"ch-{viewer % CHANNELS:03}",'
                '"kind":"channel","quality":"hd","state":"playing"}'
            ).encode()


def with_probes(messages: Sequence[Outgoing], partitions: int, every: int) -> Iterator[Outgoing]:
    """After every so many messages, one whose last record exhausts an account's balance."""
    for number, message in enumerate(messages):
        yield message
        if number % every == every - 1:
            account = f"probe-{number:06}"
            partition = partition_for(account.encode(), partitions)
            received_ms = _last_received_ms(messages[: number + 1], partition)
            if received_ms is not None:
                yield _probe(account, partition, received_ms)


def _last_received_ms(messages: Sequence[Outgoing], partition: int) -> int | None:
    """The clock of a partition once the messages are rated; None where it has none yet."""
    last = next((each for each in reversed(messages) if each.partition == partition), None)
    return int(RECEIVED.findall(last.value)[-1]) if last else None


def _probe(account: str, partition: int, received_ms: int) -> Outgoing:
    """An account that may watch for a few seconds, and watches for a minute."""
    watched = {"device": "stb-probe", "session": f"s-{account}", "content": "ch-104"}
    watched |= {"kind": "channel", "quality": "hd", "state": "playing"}
    topup = {"id": f"t-{account}", "amount": "0.01", "currency": "EUR"}
    records = [
        (120_000, {"type": "account.open", "plan": "payg", "region": "FI", "bill_day": 1}),
        (110_000, {"type": "balance.topup", **topup}),
        (60_000, {"type": "view", **watched}),
        (0, {"type": "view", **watched}),
    ]
    lines = [
        padded(
            json.dumps(
                {"time": received_ms - ago_ms, "received": received_ms, "account": account, **more},
                separators=(",", ":"),
            ).encode()
        )
        for ago_ms, more in records
    ]
    return Outgoing(partition, account.encode(), b"\n".join(lines), len(lines), account)


# --- into Kafka -----------------------------------------------------------------------------------


def make_topics(address: str, names: Iterable[str], partitions: int) -> None:
    """New topics without copies."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    shape = {"num_partitions": partitions, "replication_factor": 1}
    admin.create_topics(dict.fromkeys(names, shape), wait_for_metadata=True)
    admin.close()


async def _filled(address: str, topic: str, messages: Iterable[Outgoing]) -> dict[int, list[int]]:
    producer = AIOKafkaProducer(
        bootstrap_servers=address, max_batch_size=BATCH_BYTES, max_request_size=REQUEST_BYTES
    )
    await producer.start()
    batches, records, sent = {}, defaultdict(list), []
    for message in messages:
        number = message.partition
        records[number].append(message.records)
        batch = batches.setdefault(number, producer.create_batch())
        if batch.append(key=message.key, value=message.value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, topic, partition=number))
            batches[number] = batch = producer.create_batch()
            batch.append(key=message.key, value=message.value, timestamp=None)
    for number, batch in batches.items():
        sent.append(await producer.send_batch(batch, topic, partition=number))
    await asyncio.gather(*sent)
    await producer.stop()
    return records


def fill(address: str, topic: str, messages: Iterable[Outgoing]) -> dict[int, list[int]]:
    """Send all as fast as it goes. Returns the records of each message, by partition."""
    return asyncio.run(_filled(address, topic, messages))


@dataclass(frozen=True, slots=True)
class Sent:
    """When a message was due to be sent, by the steady clock, and where it is in the log."""

    message: Outgoing
    due_s: float
    offset: int


async def _paced(
    address: str, topic: str, messages: Sequence[Outgoing], records_a_second: float
) -> list[Sent]:
    producer = AIOKafkaProducer(
        bootstrap_servers=address, acks="all", max_request_size=REQUEST_BYTES
    )
    await producer.start()
    begun_s = time.monotonic() + SETTLED_MS / 1000
    due_s = begun_s + np.cumsum([each.records for each in messages]) / records_a_second
    waiting = []
    for message, due in zip(messages, due_s.tolist(), strict=True):
        if (early_s := due - time.monotonic()) > 0:
            await asyncio.sleep(early_s)
        waiting.append(
            await producer.send(topic, message.value, message.key, partition=message.partition)
        )
    acknowledged = await asyncio.gather(*waiting)
    await producer.stop()
    return [
        Sent(message, due, place.offset)
        for message, due, place in zip(messages, due_s.tolist(), acknowledged, strict=True)
    ]


def pace(
    address: str, topic: str, messages: Sequence[Outgoing], records_a_second: float
) -> list[Sent]:
    """Send at a steady rate. A message that goes late counts from when it was due."""
    return asyncio.run(_paced(address, topic, messages, records_a_second))
