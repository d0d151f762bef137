"""A Faust agent with a table, killed at random moments on a real Kafka: what is lost and doubled.

It is the program that a tutorial would have one write: count each key's events in a table, and send
a result for each event. docs/adr/0006-faust-is-the-shell.md has what came of it.

    python tests/experiments/faust_agent_kills.py at_least_once
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

PARTITIONS = 4
EVENTS = 4000
EVENTS_A_SECOND = 200
KEYS = 10
KILLS = 5
SETTLED_S = 30.0  # without anything new: then nothing more will come


def run_agent(address: str, guarantee: str, folder: str) -> None:
    """The worker that is killed."""
    import faust

    app = faust.App(
        "counter",
        broker=f"kafka://{address}",
        processing_guarantee=guarantee,
        web_enabled=False,
        autodiscover=False,
        datadir=folder,
        store="memory://",
        topic_partitions=PARTITIONS,
        topic_replication_factor=1,
        broker_session_timeout=6,
        broker_heartbeat_interval=1,
    )
    events = app.topic("events", value_type=bytes, value_serializer="raw", partitions=PARTITIONS)
    results = app.topic("results", value_serializer="raw", partitions=PARTITIONS)
    counts: Any = app.Table("counts", default=int, partitions=PARTITIONS)

    @app.agent(events)
    async def count(stream: Any) -> None:
        async for key, value in stream.items():
            counts[key.decode()] += 1  # the codec of table keys wants text
            await results.send(key=key, value=value)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    faust.Worker(app, loop=loop, loglevel="WARN", quiet=True).execute_from_commandline()


def produce(address: str) -> None:
    """Send numbered events, slowly."""
    from kafka import KafkaProducer

    producer = KafkaProducer(bootstrap_servers=address, acks="all")
    for number in range(EVENTS):
        producer.send("events", str(number).encode(), f"k{number % KEYS}".encode())
        time.sleep(1 / EVENTS_A_SECOND)
    producer.flush()
    producer.close()


def results_of(address: str) -> Counter[int]:
    """What is committed in the topic of results, by event."""
    from kafka import KafkaConsumer, TopicPartition

    reader = KafkaConsumer(bootstrap_servers=address, isolation_level="read_committed")
    places = [TopicPartition("results", number) for number in range(PARTITIONS)]
    reader.assign(places)
    reader.seek_to_beginning(*places)
    found: Counter[int] = Counter()
    quiet_s = time.monotonic() + 3
    while time.monotonic() < quiet_s:
        for messages in reader.poll(500).values():
            found.update(int(message.value) for message in messages)
            quiet_s = time.monotonic() + 3
    reader.close()
    return found


def main(guarantee: str) -> None:
    """Kill the agent at random moments, wait until it has caught up, and count."""
    from kafka import KafkaAdminClient
    from services.kafka import Kafka

    chance = Random(1)
    with tempfile.TemporaryDirectory() as folder, Kafka(Path(folder) / "broker") as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        shape = {"num_partitions": PARTITIONS, "replication_factor": 1}
        admin.create_topics({"events": shape, "results": shape}, wait_for_metadata=True)
        admin.close()
        sending = threading.Thread(target=produce, args=(broker.address,))

        def start() -> subprocess.Popen[bytes]:
            command = [sys.executable, __file__, "agent", broker.address, guarantee, folder]
            with Path(folder, "agent.log").open("ab") as log:
                return subprocess.Popen(command, stdout=log, stderr=log)

        agent = start()
        time.sleep(8)
        sending.start()
        for _ in range(KILLS):
            time.sleep(2 + 2 * chance.random())
            agent.kill()
            agent.wait()
            agent = start()
            time.sleep(8)  # until the group has noticed and the table is read
        sending.join()
        before = -1
        while (now := results_of(broker.address)).total() != before:
            before = now.total()
            time.sleep(SETTLED_S)
        assert agent.poll() is None, Path(folder, "agent.log").read_text()[-3000:]
        agent.kill()
        if "AGENT_LOG" in os.environ:
            Path(os.environ["AGENT_LOG"]).write_text(Path(folder, "agent.log").read_text())
        lost = EVENTS - len(now)
        doubled = now.total() - len(now)
        print(f"{guarantee}: {KILLS} kills, {EVENTS} events: lost {lost}, doubled {doubled}")


if __name__ == "__main__":
    if sys.argv[1] == "agent":
        run_agent(*sys.argv[2:])
    else:
        main(sys.argv[1])
    os._exit(0)
