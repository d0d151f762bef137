"""How many records a second the gateway takes, each answered only once it is on the disk.

Goal: at batches of 100 the log, and not HTTP, is what a record costs. Baseline: the same server with
a route that answers 204 and does nothing. And on Kafka: many records to a message against one
message a record, on a broker that is started for it, or on the one that RATECAST_TEST_KAFKA names.

    python benchmarks/gateway.py           # wrk, 5 s for each size of batch
    python benchmarks/gateway.py --kafka   # on Kafka as well
    python benchmarks/gateway.py --smoke   # seconds, from one Python client; for tests

Server and load share the machine's cores. The hash is of what the log holds after one known
request of each size, without the times.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from ingest.gateway.key_file import changed_keys, create_api_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BATCHES = (1, 10, 100, 1000)
PARTITIONS = 4
CONNECTIONS = 256  # each waits for a sync, so fewer would measure the disk alone
BASELINE = """
import sys
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
import uvicorn
async def nothing(request):
    await request.body()
    return Response(status_code=204)
app = Starlette(routes=[Route("/v1/events", nothing, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False,
            server_header=False, date_header=False, log_level="error")
"""
GATEWAY = "from rating.runtime.cli import main; main()"
WRK = """
wrk.method = "POST"
wrk.headers["Authorization"] = "Bearer {key}"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
"""


class Figures:
    """What a load came to. p50_ms, p99_ms: of a request."""

    def __init__(self, requests_s: float, p50_ms: float, p99_ms: float) -> None:
        self.requests_s = requests_s
        self.p50_ms = p50_ms
        self.p99_ms = p99_ms

    def line(self, what: str, batch: int) -> str:
        """The figures for a person."""
        return (
            f"{what:<28} {batch:>5} records {self.requests_s:>9,.0f} requests/s "
            f"{self.requests_s * batch:>11,.0f} records/s   p50 {self.p50_ms:6.1f} ms   "
            f"p99 {self.p99_ms:6.1f} ms"
        )


def body_of(batch: int) -> bytes:
    """A request of a number of views, of several accounts."""
    views = [
        {
            "type": "view",
            "time": 1_772_827_200_000 + number,
            "account": f"acc-{number % 37}",
            "device": "stb-1",
            "session": f"s-{number}",
            "content": "channel-7",
            "kind": "channel",
            "quality": "hd",
            "state": "playing",
            "playhead_ms": number,
        }
        for number in range(batch)
    ]
    return json.dumps(views).encode()


def started(program: str, *words: str) -> subprocess.Popen[str]:
    """A process of this Python."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], env=environment, stderr=subprocess.PIPE, text=True
    )


def started_gateway(folder: Path, *log: str) -> tuple[subprocess.Popen[str], str]:
    """A gateway without a limit that matters, and its address."""
    words = ("--keys", str(folder / "keys.json"), "--listen", "127.0.0.1:0", "--key-limit", "1e9")
    server = started(GATEWAY, "gateway", *log, *words)
    assert server.stderr is not None
    said = ""
    for line in server.stderr:
        said += line
        if found := re.search(r"Listening on (\S+);", line):
            return server, found[1]
    raise SystemExit(said)


def wrk(url: str, key: str, body: bytes, folder: Path, seconds: float) -> Figures:
    """Load by wrk."""
    (folder / "body").write_bytes(body)
    (folder / "load.lua").write_text(WRK.format(key=key, body=folder / "body"))
    said = subprocess.run(
        [
            "wrk",
            "-t1",
            "--timeout",
            "20s",
            f"-c{CONNECTIONS}",
            f"-d{seconds:g}s",
            "--latency",
            "-s",
            str(folder / "load.lua"),
            f"{url}/v1/events",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    if "Non-2xx" in said:
        raise SystemExit(f"some requests were refused:\n{said}")
    units = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
    latency = {
        share: float(figure) * units[unit]
        for share, figure, unit in re.findall(r"(\d\d)%\s+([\d.]+)(us|ms|s|m)", said)
    }
    (requests_s,) = re.findall(r"Requests/sec:\s+([\d.]+)", said)
    return Figures(float(requests_s), latency["50"], latency["99"])


async def python_load(url: str, key: str, body: bytes, requests: int) -> Figures:
    """A few requests from several connections of one Python client."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    taken_ms: list[float] = []
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:

        async def send(number: int) -> None:
            for _ in range(number):
                begun_s = time.perf_counter()
                answer = await client.post("/v1/events", content=body)
                assert answer.is_success, answer.text
                taken_ms.append(1000 * (time.perf_counter() - begun_s))

        begun_s = time.perf_counter()
        await asyncio.gather(*(send(requests // 4) for _ in range(4)))
        elapsed_s = time.perf_counter() - begun_s
    taken_ms.sort()
    return Figures(
        len(taken_ms) / elapsed_s, taken_ms[len(taken_ms) // 2], taken_ms[-1 - len(taken_ms) // 100]
    )


def load(url: str, key: str, batch: int, folder: Path, asked: argparse.Namespace) -> Figures:
    """One measurement."""
    if asked.smoke:
        return asyncio.run(python_load(url, key, body_of(batch), 20))
    return wrk(url, key, body_of(batch), folder, asked.seconds)


def stopped(server: subprocess.Popen[str]) -> None:
    """End a server in its own way."""
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=60)


def digest_of(folder: Path) -> str:
    """A hash of what the log holds, without `received`."""
    digest = hashlib.blake2b(digest_size=8)
    for segment in sorted(folder.glob("*.ndjson")):
        for line in segment.read_bytes().splitlines():
            digest.update(line.partition(b',"received":')[0])
    return digest.hexdigest()


def measure_baseline(folder: Path, key: str, asked: argparse.Namespace) -> None:
    """The same server, doing nothing."""
    port = 20_000 + os.getpid() % 20_000
    server = started(BASELINE, str(port))
    url = f"http://127.0.0.1:{port}"
    for _ in range(100):
        try:
            httpx.post(f"{url}/v1/events")
            break
        except httpx.ConnectError:
            time.sleep(0.1)
    for batch in BATCHES:
        print(load(url, key, batch, folder, asked).line("204, doing nothing", batch))
    stopped(server)


def measure_folder(folder: Path, key: str, asked: argparse.Namespace) -> None:
    """The gateway on a synced folder; checked by one known request of each size."""
    server, url = started_gateway(folder, "--log", str(folder / "usage"))
    for batch in BATCHES:
        asyncio.run(python_load(url, key, body_of(batch), 4))
    digest = digest_of(folder / "usage")
    for batch in BATCHES:
        print(load(url, key, batch, folder, asked).line("gateway, synced folder", batch))
    figures = figures_at_rest(url)
    stopped(server)
    (lines,) = re.findall(r'gateway_lines_total{type="view"} ([\d.e+]+)', figures)
    (groups,) = re.findall(r"gateway_group_seconds_count ([\d.e+]+)", figures)
    held = sum(each.read_bytes().count(b"\n") for each in (folder / "usage").glob("*.ndjson"))
    assert held == float(lines), "the log does not hold what was counted"
    print(f"{held:,} lines in {float(groups):,.0f} syncs, every one in the log  {digest}")


def figures_at_rest(url: str) -> str:
    """The gateway's figures once it has answered all that the load left behind."""
    while True:
        figures = httpx.get(f"{url}/metrics", timeout=60).text
        if "ratecast_gateway_in_flight_requests 0.0" in figures:
            return figures
        time.sleep(0.1)


@contextmanager
def kafka_address(folder: Path) -> Iterator[str]:
    """A broker, started for this where none is named."""
    if named := os.environ.get("RATECAST_TEST_KAFKA"):
        yield named
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from services.kafka import Kafka  # noqa: PLC0415 - only where it is measured

    with Kafka(folder / "broker") as broker:
        yield broker.address


def measure_kafka(folder: Path, key: str, address: str, asked: argparse.Namespace) -> None:
    """Packing against one message a record; each checked by what the topic then holds."""
    from kafka.admin import KafkaAdminClient, NewTopic  # noqa: PLC0415 - only where it is measured

    admin = KafkaAdminClient(bootstrap_servers=address)
    for what, words in (("Kafka, packed", ()), ("Kafka, one record a message", ("--unpacked",))):
        topic = f"bench-{uuid.uuid4().hex[:8]}"
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        server, url = started_gateway(folder, "--kafka", address, "--topic", topic, *words)
        for batch in BATCHES:
            asyncio.run(python_load(url, key, body_of(batch), 4))
        messages, digest = topic_digest(address, topic)
        known = 4 * sum(BATCHES)
        for batch in BATCHES:
            print(load(url, key, batch, folder, asked).line(what, batch))
        figures_at_rest(url)
        stopped(server)
        print(f"{known:,} known lines in {messages:,} messages, every one in the topic  {digest}")
        admin.delete_topics([topic])
    admin.close()


def topic_digest(address: str, topic: str) -> tuple[int, str]:
    """How many messages a topic has, and a hash of their lines without `received`, in any order."""
    from kafka import KafkaConsumer, TopicPartition  # noqa: PLC0415 - only where it is measured

    reader = KafkaConsumer(bootstrap_servers=address, enable_auto_commit=False)
    partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    reader.assign(partitions)
    reader.seek_to_beginning(*partitions)
    left = {each: end for each, end in reader.end_offsets(partitions).items() if end}
    values: list[bytes] = []
    while left:
        for partition, found in reader.poll(timeout_ms=500).items():
            values += [message.value for message in found]
            if found[-1].offset + 1 >= left.get(partition, 0):
                left.pop(partition, None)
    reader.close()
    lines = sorted(
        line.partition(b',"received":')[0] for value in values for line in value.split(b"\n")
    )
    assert len(lines) == 4 * sum(BATCHES), "the topic does not hold what was answered"
    return len(values), hashlib.blake2b(b"\n".join(lines), digest_size=8).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each measurement")
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    parser.add_argument("--kafka", action="store_true", help="on Kafka as well")
    asked = parser.parse_args(arguments)
    if not asked.smoke and shutil.which("wrk") is None:
        raise SystemExit("this needs the load tool of Debian's package wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory() as named:
        folder = Path(named)
        with changed_keys(folder / "keys.json") as document:
            key = create_api_key(document, "load", ["events"])
        tool = "one Python client" if asked.smoke else f"wrk, {CONNECTIONS} connections"
        print(f"{tool}; the log on {named}")
        measure_baseline(folder, key, asked)
        measure_folder(folder, key, asked)
        if asked.kafka:
            with kafka_address(folder) as address:
                measure_kafka(folder, key, address, asked)


if __name__ == "__main__":
    main()
