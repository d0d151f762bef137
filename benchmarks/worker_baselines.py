"""What a worker is measured against, each as a process of its own.

No benchmark by itself: `worker.py` runs it.

    worker_baselines.py bare ADDRESS TOPIC      # only reads a topic, then says how long it took
    worker_baselines.py tutorial ADDRESS TOPIC  # rates as a tutorial of Faust would, until ended

The tutorial's worker knows one price and no faults; it may lose and double charges when it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

import faust
import uvloop
from aiokafka import AIOKafkaConsumer

CENTS_AN_HOUR = 60
HOUR_MS = 3_600_000


async def read_topic(address: str, topic: str) -> dict[str, float]:
    """Read a topic from begin to end with nothing else to do."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=address,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=8 << 20,
        fetch_max_wait_ms=100,
    )
    await consumer.start()
    ends = await consumer.end_offsets(consumer.assignment())
    left = sum(ends.values())
    messages = size = 0
    begun_s = time.perf_counter()
    while left > 0:
        for found in (await consumer.getmany(timeout_ms=1000)).values():
            messages += len(found)
            left -= len(found)
            for message in found:
                size += len(message.value)
    taken_s = time.perf_counter() - begun_s
    await consumer.stop()
    return {"seconds": taken_s, "messages": messages, "bytes": size}


def run_tutorial(address: str, topic: str) -> None:
    """An agent, a table with a key a session, and a charge sent per event."""
    app = faust.App(
        "tutorial",
        broker=f"kafka://{address}",
        web_enabled=False,
        autodiscover=False,
        store="memory://",
        topic_partitions=4,
        topic_replication_factor=1,
    )
    usage = app.topic(topic, value_serializer="json")
    charges = app.topic("tutorial-charges", value_serializer="json")
    last_ms: Any = app.Table("last_ms", default=int)

    @app.agent(usage)
    async def rate(stream: Any) -> None:
        async for record in stream:
            if record["type"] != "view":
                continue
            session, now_ms = record["session"], record["time"]
            watched_ms = now_ms - (last_ms[session] or now_ms)
            last_ms[session] = now_ms
            cents = watched_ms * CENTS_AN_HOUR // HOUR_MS
            charge = {"account": record["account"], "session": session, "cents": cents}
            await charges.send(key=record["account"], value=charge)

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    faust.Worker(app, loop=loop, loglevel="WARN", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    if sys.argv[1] == "tutorial":
        run_tutorial(*sys.argv[2:])
    else:
        uvloop.install()
        print(json.dumps(asyncio.run(read_topic(*sys.argv[2:]))))
        sys.stdout.flush()
    os._exit(0)
