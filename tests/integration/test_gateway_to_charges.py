"""From a player's report to a charge: gateway, log, `ratecast rate --follow`; and Kafka as the log."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import time
import uuid
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
from aiokafka.partitioner import murmur2
from kafka import KafkaConsumer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.structs import TopicPartition
from services.gateway import COMMAND, ROOT, RunningGateway, environment

if TYPE_CHECKING:
    from pathlib import Path

BOOK = ROOT / "tests" / "golden" / "nordic" / "nordic-2026-01.toml"
PARTITIONS = 3


def wait_until(true: Any, within_s: float = 90) -> None:
    ends_s = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < ends_s, "waited too long"
        time.sleep(0.1)


def records_rated(store: Path) -> int:
    """How many records the store has come to; it is being written meanwhile."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as opened:
            (offset,) = opened.execute("SELECT next_offset FROM partitions").fetchone()
            return int(offset)
    except (sqlite3.Error, TypeError):
        return 0


def report_viewing(
    running: RunningGateway, token: dict[str, Any], content: str, start_ms: int
) -> None:
    """Send what a player reports of 90 seconds watched to their end."""
    common = f'cid="{content}",sid="{token["session"]}",st=l,v=2'
    lines = [
        f"e=ps,pt={30_000 * number},{common},sn={number},sta={state},ts={start_ms + 30_000 * number}"
        for number, state in enumerate("pppe")
    ]
    with httpx.Client(base_url=running.url) as player:
        headers = {"Content-Type": "application/cmcd"}
        answer = player.post(token["report_path"], content="\n".join(lines), headers=headers)
        assert answer.status_code == 204


def test_a_players_viewing_is_charged_while_it_goes_on(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path)
    rating = subprocess.Popen(
        [
            *(*COMMAND, "rate", "--tariffs", str(BOOK), "--store", str(tmp_path / "bills.db")),
            *("--follow", "--json", str(running.log_folder)),
        ],
        env=environment(),
        stdout=subprocess.PIPE,
    )
    now_ms = int(time.time() * 1000)
    start_ms = now_ms - 90_000
    with running.client() as client:
        opened = {"account": "ann", "plan": "payg", "time": start_ms - 1000, "region": "SE"}
        assert client.post("/v1/accounts", json=opened).status_code == 202
        token = client.post("/v1/tokens", json={"account": "ann", "device": "tv"}).json()
    report_viewing(running, token, "sport-hd", start_ms)
    wait_until(lambda: records_rated(tmp_path / "bills.db") == 5)
    rating.send_signal(signal.SIGTERM)
    summary = json.loads(rating.communicate(timeout=60)[0])
    assert rating.returncode == 0
    assert running.stop() == 0
    assert summary["counts"]["watched_ms"] == 90_000
    assert summary["counts"]["applied"] == 5
    assert summary["suspense"] == {}
    assert summary["sessions_open"] == 0
    assert summary["charges"]["usage"] >= 1
    assert all(law["holds"] for law in summary["laws"])


MINUTES = """
[book]
id = "minutes"
currency = "EUR"
timezone = "UTC"
default_plan = "p"
[[plans]]
id = "p"
mode = "postpaid"
[[plans.rules]]
id = "r"
price = { model = "per_unit", amount = "1.00", unit = "minute" }
"""


def test_two_heartbeats_that_changed_places_in_an_upload_are_both_charged(tmp_path: Path) -> None:
    """Logged as they came, two minutes of three would be out of order, and free."""
    running = RunningGateway(tmp_path)
    began_ms = int(time.time() * 1000) - 200_000
    said = {"type": "view", "account": "a", "device": "d", "session": "s", "content": "c"}
    views = [
        {**said, "kind": "channel", "time": began_ms + 60_000 * minute, "state": state}
        for minute, state in ((0, "playing"), (2, "playing"), (1, "playing"), (3, "stopped"))
    ]
    with running.client() as client:
        assert client.post("/v1/events", json=views).status_code == 202
    assert running.stop() == 0
    (tmp_path / "book.toml").write_text(MINUTES)
    done = subprocess.run(
        [
            *(*COMMAND, "rate", "--tariffs", str(tmp_path / "book.toml"), "--json", "--close"),
            *("--store", str(tmp_path / "bills.db"), str(running.log_folder)),
        ],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.returncode == 0
    with closing(sqlite3.connect(tmp_path / "bills.db")) as store:
        assert store.execute("SELECT sum(total) FROM charges").fetchone() == (3_000_000,)


def test_a_players_viewing_is_charged_by_a_worker_on_kafka(
    tmp_path: Path, kafka_address: str
) -> None:
    topic = f"usage-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    admin.close()
    running = RunningGateway(tmp_path, log=("--kafka", kafka_address, "--topic", topic))
    store = tmp_path / "bills.db"
    worker = subprocess.Popen(
        [
            *(*COMMAND, "worker", "--tariffs", str(BOOK), "--store", str(store)),
            *("--kafka", kafka_address, "--topic", topic, "--group", topic),
        ],
        env=environment(),
    )
    start_ms = int(time.time() * 1000) - 90_000
    with running.client() as client:
        token = client.post("/v1/tokens", json={"account": "ann", "device": "tv"}).json()
    report_viewing(running, token, "tv4", start_ms)
    wait_until(lambda: watched_ms(store) == 90_000)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(60) == 0
    assert running.stop() == 0


def watched_ms(store: Path) -> int:
    """The watched time of all charges in a store that is being written meanwhile."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as opened:
            (watched,) = opened.execute("SELECT sum(watched_ms) FROM charges").fetchone()
            return int(watched or 0)
    except sqlite3.Error:
        return 0


def partition_of(account: str) -> int:
    return int((murmur2(account.encode()) & 0x7FFFFFFF) % PARTITIONS)


def in_topic(address: str, topic: str) -> list[tuple[int, dict[str, Any]]]:
    """Partition and content of every record in the topic, and that messages hold many."""
    consumer = KafkaConsumer(bootstrap_servers=address, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    left = {each: end for each, end in consumer.end_offsets(partitions).items() if end}
    found = []
    while left:
        for partition, messages in consumer.poll(timeout_ms=500).items():
            for message in messages:
                found += [
                    (partition.partition, json.loads(line)) for line in message.value.split(b"\n")
                ]
                if message.offset + 1 >= left.get(partition, 0):
                    left.pop(partition, None)
    consumer.close()
    return found


async def send_until_killed(running: RunningGateway) -> set[int]:
    """Send batches from several senders, kill the gateway, and tell what it acknowledged.

    However slow the machine is, it has acknowledged some hundreds by then.
    """
    acknowledged: set[int] = set()
    enough = asyncio.Event()
    headers = {"Authorization": f"Bearer {running.key}"}

    async def send(first: int) -> None:
        async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=20) as client:
            for at in range(first, first + 100_000, 20):
                records = [
                    {
                        "type": "view",
                        "time": int(time.time() * 1000),
                        "account": f"a{n % 50}",
                        "device": "d",
                        "session": "s",
                        "content": "c",
                        "kind": "channel",
                        "state": "playing",
                        "playhead_ms": n,
                    }
                    for n in range(at, at + 20)
                ]
                try:
                    answer = await client.post("/v1/events", json=records)
                except httpx.HTTPError:
                    return
                if answer.status_code == 202:
                    acknowledged.update(range(at, at + 20))
                    if len(acknowledged) > 200:
                        enough.set()

    senders = [asyncio.create_task(send(number * 1_000_000)) for number in range(6)]
    await asyncio.sleep(1.5)
    await asyncio.wait_for(enough.wait(), 60)
    running.process.send_signal(signal.SIGKILL)
    await asyncio.gather(*senders)
    return acknowledged


def test_kafka_has_whatever_was_acknowledged(tmp_path: Path, kafka_address: str) -> None:
    topic = f"usage-{uuid.uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    admin.close()
    running = RunningGateway(tmp_path, log=("--kafka", kafka_address, "--topic", topic))
    assert running.url, running.said
    acknowledged = asyncio.run(send_until_killed(running))
    assert running.wait() == -signal.SIGKILL
    found = in_topic(kafka_address, topic)
    assert len(acknowledged) > 200
    assert acknowledged <= {record["playhead_ms"] for _, record in found}
    assert all(partition == partition_of(record["account"]) for partition, record in found)
    for number in range(PARTITIONS):
        received = [record["received"] for partition, record in found if partition == number]
        assert received == sorted(received)


def test_a_topic_that_is_not_there_is_said(tmp_path: Path, kafka_address: str) -> None:
    running = RunningGateway(tmp_path, log=("--kafka", kafka_address, "--topic", "no-such"))
    assert running.url == ""
    assert running.stop() == 1
    assert "has no topic no-such" in running.said
    assert "Traceback" not in running.said
