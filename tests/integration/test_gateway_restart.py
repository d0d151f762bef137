"""A gateway that starts anew knows what the one before it knew, from the end of the log."""

from __future__ import annotations

import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from services.gateway import RunningGateway

from ingest.gateway.keys import read_keys
from ingest.gateway.tokens import mint

if TYPE_CHECKING:
    from pathlib import Path

CMCD = {"Content-Type": "application/cmcd"}
HOUR_MS = 3_600_000


def token_of(running: RunningGateway, account: str, expires_in_s: int = 600) -> str:
    signer = read_keys(running.keys).signer()
    assert signer is not None
    ends_s = int(time.time()) + expires_in_s
    more = {"kind": "vod"}
    return mint(
        signer, account, "tv", "s1", expires_s=ends_s, issued_s=ends_s - 6 * 3600, more=more
    )


def session(began_ms: int) -> list[str]:
    said = [("ps", 0, "p"), ("t", 30, "p"), ("ps", 45, "q")]
    return [
        f'cid="c",e={event},sid="s1",sn={sn},sta={sta},ts={began_ms + at * 1000},v=2'
        for sn, (event, at, sta) in enumerate(said)
    ]


def post(running: RunningGateway, token: str, *lines: str) -> int:
    with running.client("") as client:
        answer = client.post(f"/v1/cmcd/{token}", content="\n".join(lines), headers=CMCD)
    return answer.status_code


def views(lines: list[dict[str, Any]], account: str) -> list[dict[str, Any]]:
    return [line for line in lines if line.get("account") == account]


def test_a_session_is_taken_up_where_the_killed_gateway_left_it(tmp_path: Path) -> None:
    """What was sent twice, a clock that is wrong, and reports that are late after the token's end."""
    running = RunningGateway(tmp_path, "--segment", "300")  # its end is in many segments
    now_ms = int(time.time() * 1000)
    whole = session(now_ms - 50_000)
    wrong = session(now_ms - 46_000 + 3 * HOUR_MS)
    late = session(now_ms)[0].replace("sn=0", "sn=5")
    token = token_of(running, "repeats")
    assert post(running, token, *whole) == 204
    assert post(running, token_of(running, "wrong"), *wrong[:2]) == 204
    assert post(running, token_of(running, "late"), late) == 204
    assert running.stop(signal.SIGKILL) == -9

    running = RunningGateway(tmp_path)
    assert post(running, token, *whole) == 204
    assert [line["sn"] for line in views(running.lines(), "repeats")] == [0, 1, 2]
    assert post(running, token_of(running, "wrong"), wrong[2]) == 204
    times = [line["time"] for line in views(running.lines(), "wrong")]
    assert [at - times[0] for at in times] == [0, 30_000, 45_000]
    # Its clock is known to be right, so what comes after the token's end is late, and not of now.
    ended = token_of(running, "late", expires_in_s=-60)
    assert post(running, ended, session(now_ms - 300_000)[0].replace("sn=0", "sn=4")) == 410
    assert [line.get("time", 0) - now_ms for line in views(running.lines(), "late")] == [
        0,
        -300_000,
    ]
    assert [line["type"] for line in views(running.lines(), "late")] == ["view", "view"]
    assert running.stop() == 0
    assert "sessions were recalled" in running.said


def events(account: str) -> list[dict[str, Any]]:
    now_ms = int(time.time() * 1000)
    said = {"type": "view", "account": account, "device": "tv", "session": "s1", "content": "c"}
    return [
        {**said, "kind": "vod", "time": now_ms + at_ms, "state": state}
        for at_ms, state in ((-60_000, "playing"), (-30_000, "playing"), (0, "stopped"))
    ]


def test_a_back_ends_session_that_is_sent_again_whole_is_watched_once(tmp_path: Path) -> None:
    """At once, afterwards, and after a crash between the log and the answer."""
    running = RunningGateway(tmp_path)
    batch = [each for number in range(20) for each in events(f"acc-{number}")]
    with running.client() as client, ThreadPoolExecutor(4) as threads:
        sent = [threads.submit(client.post, "/v1/events", json=batch) for _ in range(4)]
        assert [each.result().json() for each in sent] == [{"accepted": 60, "suspended": 0}] * 4
    assert running.stop(signal.SIGKILL) == -9
    running = RunningGateway(tmp_path)
    with running.client() as client:
        assert client.post("/v1/events", json=batch).status_code == 202
        assert client.post("/v1/events", json=events("new")).status_code == 202
    assert len(running.lines()) == 63
    assert running.stop() == 0


async def made_topic(address: str, topic: str) -> None:
    from aiokafka.admin import AIOKafkaAdminClient, NewTopic

    admin = AIOKafkaAdminClient(bootstrap_servers=address)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 3, 1)])
    await admin.close()


@pytest.mark.timeout(180)
def test_on_kafka_too(tmp_path: Path, kafka_address: str) -> None:
    import asyncio

    topic = f"usage-{time.time_ns()}"
    asyncio.run(made_topic(kafka_address, topic))
    log = ("--kafka", kafka_address, "--topic", topic)
    running = RunningGateway(tmp_path, log=log)
    assert running.url, running.said
    whole = session(int(time.time() * 1000) - 50_000)
    accounts = [f"acc-{number}" for number in range(8)]
    tokens = {account: token_of(running, account) for account in accounts}
    for token in tokens.values():
        assert post(running, token, *whole) == 204
    assert running.stop(signal.SIGKILL) == -9
    running = RunningGateway(tmp_path, log=log)
    assert running.url, running.said
    for token in tokens.values():
        assert post(running, token, *whole) == 204
    assert running.stop() == 0
    found = [json.loads(line) for line in asyncio.run(all_lines(kafka_address, topic))]
    assert {account: len(views(found, account)) for account in accounts} == dict.fromkeys(
        accounts, 3
    )


async def all_lines(address: str, topic: str) -> list[bytes]:
    from ingest.gateway.kafka_tail import last_values

    values = await last_values({"bootstrap_servers": address}, topic, 3, 2**30)
    return [line for value in values for line in value.split(b"\n")]


@pytest.mark.timeout(180)
def test_the_end_of_a_topic_is_read_backwards(kafka_address: str) -> None:
    import asyncio

    from aiokafka import AIOKafkaProducer

    from ingest.gateway.kafka_tail import last_values

    async def run() -> tuple[list[bytes], list[bytes]]:
        topic = f"tail-{time.time_ns()}"
        await made_topic(kafka_address, topic)
        producer = AIOKafkaProducer(bootstrap_servers=kafka_address, linger_ms=20)
        await producer.start()
        for number in range(500):
            await producer.send(topic, b"%0100d" % number, partition=1)
        await producer.flush()
        await producer.stop()
        options = {"bootstrap_servers": kafka_address}
        few = await last_values(options, topic, 3, 3 * 10_000)
        return few, await last_values(options, topic, 3, 2**30)

    few, every = asyncio.run(run())
    assert [int(value) for value in every] == list(range(500))
    assert 100 <= len(few) < 500
    assert few == every[-len(few) :]
