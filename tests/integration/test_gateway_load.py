"""The gateway under more than it can take, and killed: what it said is in the log is in the log."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

import httpx
from services.gateway import RunningGateway

from ingest.gateway.key_file import changed_keys, create_api_key
from ingest.gateway.keys import SCOPES, read_keys
from ingest.gateway.tokens import mint

if TYPE_CHECKING:
    from pathlib import Path

JSON = {"Content-Type": "application/json"}


def view(session: str, number: int) -> dict[str, Any]:
    return {
        "type": "view",
        "time": int(time.time() * 1000),
        "account": f"a{number % 97}",
        "device": "tv",
        "session": session,
        "content": "c",
        "kind": "channel",
        "state": "playing",
        "playhead_ms": number,
    }


def token_of(running: RunningGateway, account: str) -> str:
    signer = read_keys(running.keys).signer()
    assert signer is not None
    return mint(signer, account, "tv", "s1", expires_s=int(time.time()) + 600)


async def keep_sending(
    running: RunningGateway, sender: str, until: asyncio.Event, answered: dict[str, int]
) -> None:
    """Send until told to stop; `answered` gets each session and number that was acknowledged."""
    headers = {"Authorization": f"Bearer {running.key}"}
    number = 0
    async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=10) as client:
        while not until.is_set():
            size = random.choice((1, 3, 30))
            records = [view(sender, number + each) for each in range(size)]
            try:
                answer = await client.post("/v1/events", json=records)
            except httpx.HTTPError:
                return
            if answer.status_code == 202:
                answered[sender] = number + size
            number += size


async def load_then(
    running: RunningGateway, records: int, number: int, senders: int = 8
) -> dict[str, int]:
    """Send from several senders until so many records are acknowledged, then signal the process.

    Returns how many records of each sender were acknowledged.
    """
    answered: dict[str, int] = {}
    until = asyncio.Event()
    tasks = [
        asyncio.create_task(keep_sending(running, f"{records}-{each}", until, answered))
        for each in range(senders)
    ]
    while sum(answered.values()) < records:  # noqa: ASYNC110 - it is told by many senders
        await asyncio.sleep(0.01)
    running.process.send_signal(number)
    if number == signal.SIGTERM:
        await asyncio.sleep(0.3)  # some more come while it stops
        until.set()
    await asyncio.gather(*tasks)
    return answered


def missing(running: RunningGateway, answered: dict[str, int]) -> list[tuple[str, int]]:
    """What was acknowledged and is not in the log."""
    found = {(line["session"], line["playhead_ms"]) for line in running.lines()}
    return [
        (sender, number)
        for sender, count in answered.items()
        for number in range(count)
        if (sender, number) not in found
    ]


def test_whatever_was_acknowledged_survives_kills(tmp_path: Path) -> None:
    answered: dict[str, int] = {}
    for records in (100, 150, 200):
        running = RunningGateway(tmp_path, "--segment", "20000")
        assert running.url, running.said
        answered |= asyncio.run(load_then(running, records, signal.SIGKILL))
        assert running.wait() == -signal.SIGKILL
        assert missing(running, answered) == []
    assert sum(answered.values()) > 300
    # A torn line is cut at the next start, and what follows is a line of its own.
    last = max(running.log_folder.glob("*.ndjson"))
    with last.open("ab") as torn:
        torn.write(b'{"type":"view","account":"half')
    running = RunningGateway(tmp_path)
    with running.client() as client:
        assert client.post("/v1/events", json=view("after", 0)).status_code == 202
    assert running.stop() == 0
    assert b"half" not in last.read_bytes()
    assert missing(running, answered | {"after": 1}) == []
    received = [line["received"] for line in running.lines()]
    assert received == sorted(received)
    assert len(sorted(running.log_folder.glob("*.ndjson"))) > 1


def test_a_graceful_stop_answers_what_was_taken(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path)
    answered = asyncio.run(load_then(running, 100, signal.SIGTERM))
    assert running.wait() == 0
    assert missing(running, answered) == []
    assert "Stopped; what was taken is in the log." in running.said
    assert "Traceback" not in running.said


def test_one_folder_has_one_writer(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path)
    second = RunningGateway(tmp_path)
    assert second.url == ""
    assert second.stop() == 1
    assert "another gateway writes this log" in second.said
    assert "Traceback" not in second.said
    assert running.stop() == 0


def test_a_full_disk_is_said_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses in the same way."""
    limit = 300_000

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    running = RunningGateway(tmp_path, before=fill)
    taken = 0
    with running.client() as client:
        for number in range(0, 5000, 100):
            records = [view("full", number + each) for each in range(100)]
            answer = client.post("/v1/events", json=records)
            if answer.status_code != 202:
                break
            taken = number + 100
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert "harmless" in answer.json()["detail"]
    assert running.stop() == 0
    segment = running.log_folder / "usage-00000001.ndjson"
    assert segment.read_bytes().endswith(b"}\n")
    assert missing(running, {"full": taken}) == []


def test_overload_is_refused_before_memory_grows(tmp_path: Path) -> None:
    """Connections that each begin a large body fill what may be in flight, and no more is taken."""
    running = RunningGateway(tmp_path, "--memory-max", str(4 * 2**20), "--requests-max", "64")
    port = int(running.url.rpartition(":")[2])
    before = running.most_memory_bytes()
    body = b"[" + b" " * (6 * 2**20)
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    held = []
    for _ in range(100):
        each = socket.create_connection(("127.0.0.1", port))
        each.setblocking(False)
        held.append(each)
        each.send(head)
        for at in range(0, 2**20, 2**16):
            try:
                each.send(body[at : at + 2**16])
            except BlockingIOError:
                break
    time.sleep(0.5)
    with running.client() as client:
        answer = client.post("/v1/events", json=view("x", 1))
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) >= 1
        assert answer.json()["type"] == "urn:ratecast:problem:overload"
        assert client.get("/healthz").status_code == 200
    assert running.most_memory_bytes() - before < 40 * 2**20
    for each in held:
        each.close()
    time.sleep(0.5)
    with running.client() as client:
        assert client.post("/v1/events", json=view("x", 1)).status_code == 202
    assert running.stop() == 0


def test_an_account_and_a_key_have_their_limits(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path, "--account-limit", "1", "--key-limit", "100")
    with changed_keys(running.keys) as keys:
        slow = create_api_key(keys, "slow", SCOPES, records_per_s=1.0)
    time.sleep(0.7)
    token = token_of(running, "busy")
    records = [view("s", number) for number in range(120)]
    with running.client(token) as client:
        assert client.post("/v1/events", json=records).status_code == 202
        refused = client.post("/v1/events", json=records)
        assert refused.status_code == 429
        assert 10 <= int(refused.headers["retry-after"]) <= 30
    with running.client(token_of(running, "quiet")) as client:
        assert client.post("/v1/events", json=records).status_code == 202
    for key, size in ((slow, 10), (running.key, 1000)):
        many = [view("s", number) for number in range(size)]
        with running.client(key) as client:
            assert client.post("/v1/events", json=many).status_code == 202
            assert client.post("/v1/events", json=many).status_code == 429
    assert running.stop() == 0


def test_nobody_known_can_fill_the_log(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path)
    statuses = []
    with running.client("") as client:
        for number in range(40):
            report = f'e=t,sid="x{number}",ts={number},v=2'
            headers = {"Content-Type": "application/cmcd"}
            statuses.append(client.post("/v1/cmcd", content=report, headers=headers).status_code)
        too_large = client.post("/v1/cmcd", content=bytes(70_000), headers=headers)
    assert 18 <= statuses.count(204) <= 25
    assert set(statuses) == {204, 429}
    assert too_large.status_code in (413, 429)
    assert len(running.lines()) == statuses.count(204)
    assert running.stop() == 0


def test_reports_that_nothing_binds_may_be_refused(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path, "--unbound", "refuse")
    with running.client("") as client:
        headers = {"Content-Type": "application/cmcd"}
        assert client.post("/v1/cmcd", content="e=t", headers=headers).status_code == 401
    assert running.lines() == []
    assert running.stop() == 0


def test_a_clock_that_was_set_back_is_said(tmp_path: Path) -> None:
    (tmp_path / "usage").mkdir()
    line = {"type": "view", "received": int(time.time() * 1000) + 3_600_000}
    (tmp_path / "usage" / "usage-00000007.ndjson").write_text(json.dumps(line) + "\n")
    running = RunningGateway(tmp_path)
    assert running.url == ""
    assert running.stop() == 1
    assert "ahead of this machine's clock" in running.said
