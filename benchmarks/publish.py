"""How fast charges reach their topic, and how soon a signal does.

Goals: tens of thousands of charges a second, so that topics are never what is behind; a signal well
within a second of its commit, also while charges are catching up. Baselines, in the same run and of
the same messages: a producer that is handed ready batches and has nothing to read, and the `send`
for each message that a tutorial would have one write. For signals: a bare producer's own way to
the same consumer.

    python benchmarks/publish.py           # 200,000 charges, 200 signals
    python benchmarks/publish.py --smoke   # seconds; for tests

Broker, database and publisher share the machine's cores. The hash is of the charges as a consumer
read them, in the order of seq; both stores must agree.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import stored
from aiokafka import AIOKafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from services.kafka import Kafka
from services.postgres import PostgresServer, fresh_database

from rating.runtime.kafka_access import KafkaAccess
from rating.runtime.publishing import opened_producer, publish_on, publish_once
from sinks.store import open_store
from sinks.topics.messages import message_keys, message_values
from sinks.topics.publisher import TOPICS, cursor_name, pack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from aiokafka import AIOKafkaProducer

    from sinks.store import BillingStore
    from sinks.topics.publisher import Published

PARTITIONS = 4
ROWS_OF_ONE = 20_000  # made one by one, then repeated
ACCOUNTS = 5_000
PAGE_ROWS = 10_000


def ignore(published: Published) -> None:
    """Nobody asks how far it is."""


def fill(store: BillingStore, charges: int) -> None:
    """Commit charges of some thousand accounts."""
    rows = stored.many_charges(min(charges, ROWS_OF_ONE))
    account = pl.lit("account-") + pl.int_range(pl.len()).mod(ACCOUNTS).cast(pl.String)
    rows = rows.with_columns(account=account)
    for number, _ in enumerate(range(0, charges, rows.height)):
        store.commit(stored.commit(10 * number, charges=rows))


def make_topics(address: str, prefix: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(f"{prefix}{topic}", PARTITIONS, 1) for topic in TOPICS])
    admin.close()


@asynccontextmanager
async def consuming(address: str, topic: str, *, from_end: bool) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer of all partitions of a topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=address, fetch_max_wait_ms=100)
    await consumer.start()
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    await (consumer.seek_to_end if from_end else consumer.seek_to_beginning)(*places)
    for place in places:
        await consumer.position(place)
    try:
        yield consumer
    finally:
        await consumer.stop()


# --- charges --------------------------------------------------------------------------------------


async def bare_batches(
    producer: AIOKafkaProducer, topic: str, pages: Sequence[pl.DataFrame]
) -> float:
    """Seconds to send ready batches, with nothing to read and nothing to write."""
    packed = [pack(producer.create_batch, "charges", page, PARTITIONS) for page in pages]
    begun_s = time.perf_counter()
    for batches in packed:
        waiting = [
            await producer.send_batch(batch, topic, partition=partition)
            for partition, batch in batches
        ]
        await asyncio.gather(*waiting)
    return time.perf_counter() - begun_s


async def one_by_one(producer: AIOKafkaProducer, topic: str, page: pl.DataFrame) -> float:
    """Seconds of a `send` for each message of a page."""
    messages = list(zip(message_keys(page), message_values("charges", page), strict=True))
    begun_s = time.perf_counter()
    waiting = [await producer.send(topic, value, key) for key, value in messages]
    await asyncio.gather(*waiting)
    return time.perf_counter() - begun_s


async def baselines(address: str, store: BillingStore) -> tuple[float, float]:
    """Charges a second of the two baselines."""
    last = store.last_seq("charges")
    pages = [store.charges_after(at, PAGE_ROWS) for at in range(0, last, PAGE_ROWS)]
    for prefix in ("bare.", "single."):
        make_topics(address, prefix)
    access = KafkaAccess.read(address)
    async with opened_producer(access, ["bare.charges", "single.charges"]) as producer:
        bare_s = await bare_batches(producer, "bare.charges", pages)
        single_s = await one_by_one(producer, "single.charges", pages[0])
    return last / bare_s, pages[0].height / single_s


async def read_hash(address: str, topic: str, messages: int) -> str:
    """A hash of a topic's charges in the order of seq. Their number must be right."""
    found: list[tuple[int, bytes]] = []
    async with consuming(address, topic, from_end=False) as consumer:
        while len(found) < messages:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                found += [(json.loads(record.value)["seq"], record.value) for record in records]
    found.sort()
    assert [seq for seq, _ in found] == list(range(1, messages + 1)), (
        "a charge is missed or doubled"
    )
    return hashlib.blake2b(b"\n".join(value for _, value in found), digest_size=8).hexdigest()


def publish_charges(address: str, store: BillingStore, prefix: str) -> tuple[float, str]:
    """Charges a second from a store to its topic, and their hash."""
    make_topics(address, prefix)
    access = KafkaAccess.read(address)
    begun_s = time.perf_counter()
    sent = asyncio.run(publish_once(store, access, ("charges",), ignore, prefix=prefix))
    taken_s = time.perf_counter() - begun_s
    digest = asyncio.run(read_hash(address, f"{prefix}charges", sent["charges"]))
    return sent["charges"] / taken_s, digest


# --- signals --------------------------------------------------------------------------------------


async def bare_latencies(address: str, signals: int) -> list[float]:
    """Seconds from a bare producer's send to the consumer."""
    make_topics(address, "latency.")
    access, found = KafkaAccess.read(address), []
    async with (
        opened_producer(access, ["latency.signals"]) as producer,
        consuming(address, "latency.signals", from_end=True) as consumer,
    ):
        for _ in range(signals):
            begun_s = time.perf_counter()
            await producer.send("latency.signals", b"{}", b"anna")
            await consumer.getone()
            found.append(time.perf_counter() - begun_s)
            await asyncio.sleep(0.01)
    return found


async def signal_latencies(
    address: str, url: str, prefix: str, signals: int, *, busy: bool
) -> list[float]:
    """Seconds from the begin of a signal's commit to the consumer.

    busy: all charges are published again meanwhile.
    """
    found: list[float] = []
    stop = asyncio.Event()
    with open_store(url) as store, open_store(url) as publishers:
        publishers.set_cursor(
            cursor_name(f"{prefix}charges"), 0 if busy else store.last_seq("charges")
        )
        access = KafkaAccess.read(address)
        async with consuming(address, f"{prefix}signals", from_end=True) as consumer:
            publishing = asyncio.create_task(
                publish_on(publishers, access, ("charges", "signals"), ignore, stop, prefix=prefix)
            )
            at = store.positions().get(9)
            offset = at.next_offset if at else 0
            for number in range(signals + 1):
                row = {"type": "balance.exhausted", "account": "anna", "time": number}
                commit = stored.commit(offset, partition=9, signals=stored.signals(row))
                begun_s = time.perf_counter()
                await asyncio.to_thread(store.commit, commit)
                while json.loads((await consumer.getone()).value)["time"] != number:
                    pass
                found.append(time.perf_counter() - begun_s)
                offset = commit.next_offset
                await asyncio.sleep(0.01)
            stop.set()
            await publishing
    return found[1:]  # the first waits for the publisher to begin


def shown(seconds: Sequence[float]) -> str:
    """Percentiles in milliseconds."""
    ordered = sorted(seconds)
    parts = {"p50": 0.5, "p99": 0.99, "most": 1.0}
    figures = {
        name: 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]
        for name, share in parts.items()
    }
    return "  ".join(f"{name} {figure:>7.1f} ms" for name, figure in figures.items())


def run(address: str, urls: dict[str, str], charges: int, signals: int) -> None:
    digests: set[str] = set()
    for name, url in urls.items():
        with open_store(url) as store:
            fill(store, charges)
            if not digests:
                bare, single = asyncio.run(baselines(address, store))
                print(f"ready batches alone    {bare:>10,.0f} charges/s")
                print(f"one send a message     {single:>10,.0f} charges/s")
            rate, digest = publish_charges(address, store, f"{name}.")
            digests.add(digest)
            print(
                f"from {name:<17} {rate:>10,.0f} charges/s  {rate / bare:.2f} of ready batches, "
                f"{rate / single:.1f} times one send a message  {digest}"
            )
    assert len(digests) == 1, "the stores do not publish the same"
    print(f"bare producer           {shown(asyncio.run(bare_latencies(address, signals)))}")
    for busy in (False, True):
        load = "charges behind" if busy else "quiet"
        found = asyncio.run(
            signal_latencies(address, urls["postgresql"], "postgresql.", signals, busy=busy)
        )
        print(f"commit to consumer      {shown(found)}  {load}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--charges", type=int, default=200_000)
    parser.add_argument("--signals", type=int, default=200)
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    asked: Any = parser.parse_args(arguments)
    charges, signals = (2_000, 5) if asked.smoke else (asked.charges, asked.signals)
    print(f"{charges:,} charges, {signals} signals, {PARTITIONS} partitions, one broker")
    with (
        tempfile.TemporaryDirectory() as folder,
        PostgresServer(durable=True) as server,
        fresh_database(server.url()) as database,
        Kafka(Path(folder) / "kafka") as broker,
    ):
        urls = {"sqlite": f"{folder}/store.db", "postgresql": database}
        run(broker.address, urls, charges, signals)


if __name__ == "__main__":
    main()
