"""Workers on a real Kafka as processes of their own, and what they should have come to.

What is expected is computed from what the topic holds in the end, read by another client, by the
core alone: the records of each partition, in their order, as lines of one file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

import polars as pl
import pyarrow as pa
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from patience import PATIENCE_S

from ingest.json_lines import decode_lines
from rating.rater import Rater
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from tariffs.model import Book

ROOT = Path(__file__).parents[1]
RATECAST = (sys.executable, "-c", "from rating.runtime.cli import main; main()")
RATED_S_MAX = 60.0
Program = tuple["Sequence[str]", dict[str, str]]
ARROW_FIELDS = {"time": pa.int64(), "received": pa.int64(), "playhead_ms": pa.int64()}


def wait_until(is_so: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for something to become true. Raises: AssertionError after so long."""
    give_up_s = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < give_up_s, f"after {seconds} s still not: {what}"
        time.sleep(0.05)


# --- the log -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Packed:
    """One message: its key, its value, and the lines that the value stands for."""

    key: bytes
    value: bytes
    lines: tuple[bytes, ...]


def account_of(line: bytes) -> bytes:
    """The key of a record."""
    try:
        fields = json.loads(line)
    except ValueError:
        return b""
    account = fields.get("account") if isinstance(fields, dict) else None
    return account.encode() if isinstance(account, str) else b""


def partition_of(key: bytes, partitions: int) -> int:
    """Where Kafka's default partitioner puts a key, by the client's own words."""
    from kafka.partitioner.default import murmur2

    return (murmur2(key) & 0x7FFFFFFF) % partitions


def packed_log(
    lines: Sequence[bytes], partitions: int, chance: Random, sizes: Sequence[int]
) -> list[Packed]:
    """Lines as messages of the sizes drawn, each of one partition, in the order of the log."""
    waiting: list[list[bytes]] = [[] for _ in range(partitions)]
    size_of = [chance.choice(sizes) for _ in range(partitions)]
    messages = []
    for line in lines:
        number = partition_of(account_of(line), partitions)
        waiting[number].append(line)
        if len(waiting[number]) >= size_of[number]:
            messages.append(_pack(waiting[number], chance))
            waiting[number], size_of[number] = [], chance.choice(sizes)
    return messages + [_pack(rest, chance) for rest in waiting if rest]


def _pack(lines: list[bytes], chance: Random) -> Packed:
    key = account_of(lines[0])
    if len(lines) > 1 and chance.random() < 0.3 and (value := _arrow(lines)):
        return Packed(key, value, tuple(lines))
    return Packed(key, b"\n".join(lines), tuple(lines))


def _arrow(lines: list[bytes]) -> bytes | None:
    """An Arrow IPC stream of the lines, where it can hold them all."""
    try:
        records = [json.loads(line) for line in lines]
        names = {name: None for each in records for name in each}
        columns = {
            name: pa.array([each.get(name) for each in records], ARROW_FIELDS.get(name))
            for name in names
        }
    except (ValueError, TypeError, AttributeError, pa.ArrowException):
        return None
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def make_topic(address: str, partitions: int) -> str:
    """A new topic of usage records. Returns its name."""
    name = f"usage-{uuid4().hex[:8]}"
    admin = KafkaAdminClient(bootstrap_servers=address)
    new = {name: {"num_partitions": partitions, "replication_factor": 1}}
    admin.create_topics(new, wait_for_metadata=True)
    admin.close()
    return name


def send(
    address: str,
    topic: str,
    messages: Sequence[Packed],
    seconds: float = 0.0,
    hurry: threading.Event | None = None,
) -> threading.Thread:
    """Send messages in their order, spread over a time. Returns the thread that does so.

    hurry: once it is set, the rest is sent at once.
    """
    hurried = hurry or threading.Event()

    def run() -> None:
        # Retried for as long as a test kills the broker, without doubling or reordering.
        producer = KafkaProducer(
            bootstrap_servers=address,
            acks="all",
            enable_idempotence=True,
            delivery_timeout_ms=120_000,
            request_timeout_ms=5_000,
            linger_ms=5,
        )
        started_s = time.monotonic()
        for number, message in enumerate(messages):
            ahead_s = started_s + seconds * number / len(messages) - time.monotonic()
            if ahead_s > 0.01 and not hurried.is_set():
                producer.flush()
                hurried.wait(ahead_s)
            producer.send(topic, message.value, message.key)
        producer.flush()
        producer.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def topic_messages(address: str, topic: str) -> dict[int, list[tuple[int, bytes | None]]]:
    """All that a topic holds: offsets and values by partition."""
    reader = KafkaConsumer(bootstrap_servers=address, fetch_max_wait_ms=100)
    places = [TopicPartition(topic, number) for number in reader.partitions_for_topic(topic)]
    ends = reader.end_offsets(places)
    reader.assign(places)
    for place in places:
        reader.seek(place, 0)
    found: dict[int, list[tuple[int, bytes | None]]] = {place.partition: [] for place in places}
    while any(reader.position(place) < ends[place] for place in places):
        for place, messages in reader.poll(500).items():
            found[place.partition] += [(each.offset, each.value) for each in messages]
    reader.close()
    return found


# --- what it comes to ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Facts:
    """What a log came to, in an order that does not depend on when it was committed."""

    charges: pl.DataFrame
    suspense: pl.DataFrame
    signals: pl.DataFrame
    accounts: pl.DataFrame
    orders: pl.DataFrame
    counts: dict[str, int]
    next_offsets: dict[int, int]

    def differences(self, other: Facts) -> list[str]:
        """Which parts are not equal."""
        frames = ("charges", "suspense", "signals", "accounts", "orders")
        found = [
            f"{name}: {getattr(self, name).height} rows and {getattr(other, name).height}"
            for name in frames
            if not getattr(self, name).equals(getattr(other, name))
        ]
        return found + [
            f"{name}: {getattr(self, name)} and {getattr(other, name)}"
            for name in ("counts", "next_offsets")
            if getattr(self, name) != getattr(other, name)
        ]

    def digest(self) -> str:
        """A hash of the charges as CSV, sorted: what an export would hold."""
        return hashlib.blake2b(self.charges.write_csv().encode(), digest_size=16).hexdigest()


def _sorted(frames: Sequence[pl.DataFrame], *dropped: str) -> pl.DataFrame:
    frame = pl.concat(frames).drop(*dropped, strict=False)
    return frame.sort(frame.columns, nulls_last=True)


def _suspense(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Suspended records, apart from how they are put.

    Where a line was malformed, a message of it may say so in other words; and the fields of a record
    that came in Arrow are in the order of its columns.
    """
    rows = pl.concat(frames)
    worded = pl.when(pl.col("reason") != "malformed").then("detail").alias("detail")
    raw = pl.Series("raw", [_ordered(each) for each in rows["raw"]], pl.Binary)
    return _sorted([rows.with_columns(worded, raw)], "seq", "source")


def _ordered(raw: bytes | None) -> bytes | None:
    """A record with its fields in the order of their names; anything else as it is."""
    try:
        return json.dumps(json.loads(raw or b""), sort_keys=True).encode()
    except ValueError:
        return raw


def expected_facts(
    books: Sequence[Book],
    held: dict[int, list[tuple[int, bytes | None]]],
    messages: Sequence[Packed],
) -> Facts:
    """Rate each partition's records as lines of one file, by the core alone."""
    lines_of = {message.value: message.lines for message in messages}
    results = []
    counts: dict[str, int] = {}
    for number in sorted(held):
        lines = [line for _, value in held[number] for line in lines_of[value or b""]]
        result = Rater(books).rate(decode_lines(b"\n".join(lines), str))
        results.append(result)
        for name, count in result.counts.items():
            counts[name] = counts.get(name, 0) + count
    return Facts(
        _sorted([each.charges for each in results]),
        _suspense([each.suspense for each in results]),
        _sorted([each.signals for each in results]),
        _sorted([each.accounts for each in results]),
        _sorted([each.orders for each in results]),
        counts,
        {number: held[number][-1][0] + 1 for number in held if held[number]},
    )


def stored_facts(url: str, partitions: int) -> Facts:
    """What the store holds."""
    with open_store(url, create=False) as store:
        everything = 10**9
        return Facts(
            _sorted([store.charges_after(0, everything)], "seq"),
            _suspense([store.suspense_after(0, everything)]),
            _sorted([store.signals_after(0, everything)], "seq"),
            _sorted(list(store.accounts())),
            _sorted(list(store.orders())),
            dict(store.summary().counts),
            next_offsets(url, partitions),
        )


def next_offsets(url: str, partitions: int) -> dict[int, int]:
    """How far each partition is rated in the store."""
    with open_store(url, create=False) as store:
        found = ((number, store.load(number)) for number in range(partitions))
        return {number: stored.next_offset for number, stored in found if stored}


def records_in(url: str) -> int:
    """How many records the store holds the outcome of."""
    with open_store(url, create=False) as store:
        return store.summary().counts.get("records", 0)


# --- workers -------------------------------------------------------------------------------------


@dataclass
class Worker:
    """A worker's process. log: what it said on standard error, all of its starts together."""

    process: subprocess.Popen[bytes]
    log: Path

    def kill(self) -> None:
        """Kill it, as the kernel does when memory is short."""
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        """Stop it in the middle of whatever it does."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self.process.send_signal(signal.SIGCONT)

    def stop(self) -> int:
        """End it in good order. Returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    @property
    def ended_itself(self) -> bool:
        """Whether it ended of its own, with an error."""
        return (self.process.poll() or 0) > 0

    def last_line(self) -> str:
        """What it said last."""
        return (self.log.read_text().splitlines() or ["nothing"])[-1]

    @property
    def is_at_work(self) -> bool:
        """Whether it runs, and has taken up a partition since it was started."""
        return self.is_running and "goes on at" in self.log.read_text()

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None


@dataclass
class WorkerScene:
    """One topic, one store, and workers on them. options: of the command, beside those."""

    folder: Path
    kafka: str
    topic: str
    store: str
    books: Sequence[Path]
    options: Sequence[str] = ("--session-timeout", "1.5", "--batch", "300", "--batch-wait", "0.05")
    workers: list[Worker] = field(default_factory=list)

    def start(self, *more: str, program: Program | None = None) -> Worker:
        """Start a worker. program: another release's command, and its environment."""
        log = self.folder / f"worker-{len(self.workers)}.log"
        ratecast, environment = program or (RATECAST, os.environ | {"PYTHONPATH": str(ROOT)})
        command = [*ratecast, "worker", "--kafka", self.kafka]
        command += ["--topic", self.topic, "--group", self.topic, "--store", self.store]
        for book in self.books:
            command += ["--tariffs", str(book)]
        with log.open("ab") as opened:
            process = subprocess.Popen(
                [*command, *self.options, *more],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=opened,
                stderr=opened,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def wait_rated(self, ends: dict[int, int], seconds: float = RATED_S_MAX) -> None:
        """Wait until the store has every partition up to its end."""

        def is_rated() -> bool:
            assert any(worker.is_running for worker in self.workers), self.said()
            return next_offsets(self.store, max(ends) + 1) == ends

        wait_until(is_rated, seconds, f"rated up to {ends}; the workers said:\n{self.said()}")

    def records(self) -> int:
        """How many records the store holds the outcome of."""
        return records_in(self.store)

    def said(self) -> str:
        """What the workers said last."""
        return "\n".join(worker.log.read_text()[-1500:] for worker in self.workers)

    def __enter__(self) -> Self:
        open_store(self.store).close()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for worker in self.workers:
            if worker.is_running:
                worker.thaw()
                worker.kill()


def simulated_lines(folder: Path, households: int, seed: int) -> tuple[Path, list[bytes]]:
    """A simulated evening with faults: the file of its book, and its lines."""
    book, log = folder / "book.toml", folder / "log.ndjson"
    subprocess.run(
        [
            *(*RATECAST, "simulate"),
            *("--households", str(households), "--hours", "1.5", "--seed", str(seed)),
            *("--faults", "typical", "--out", str(log), "--tariffs-out", str(book)),
        ],
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
    )
    return book, log.read_bytes().splitlines()
