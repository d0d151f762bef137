"""How fast a worker rates from Kafka into PostgreSQL, and how soon a charge is there.

Goals: half the bytes a second of a consumer that only reads the same topic, and 250,000 records a
second, with a thousand records a message; ten times what the worker of a Faust tutorial reaches
with one record a message, a hundred times with packed ones; a charge and a signal within a second
at half of top speed.

    python benchmarks/worker.py           # 8,000 households, then a million open sessions
    python benchmarks/worker.py --smoke   # half a minute; for tests

Broker, database, workers and this program share the machine's cores. Records are of 250 bytes.
Checked: the stored charges are those of the core over what the topic holds.
"""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_right
from collections.abc import Mapping  # noqa: TC003 - a field's type
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import crowd
import numpy as np
import psycopg
from kafka import KafkaConsumer, TopicPartition
from report import Report, charges_digest, options, publish
from services.kafka import Kafka
from services.postgres import PostgresServer, fresh_database
from usage_topic import (
    Outgoing,
    Sent,
    crowd_lines,
    fill,
    make_topics,
    pace,
    packed,
    padded,
    with_probes,
)
from worker_runs import WorkerScene, wait_until

from ingest.json_lines import decode_lines
from ingest.simulator import Simulation
from rating.rater import Rater
from sinks.store import open_store
from tariffs.load import load_books

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SEED = 7
PARTITIONS = 4
BASELINES = Path(__file__).with_name("worker_baselines.py")
WATCH_EVERY_S = 0.01
OPTIONS = ("--session-timeout", "3", "--json")
PUBLISHED = ("charges", "signals", "suspense")
EVERYTHING = 10**9
SHARES = (0.1, 0.5, 0.9)
PROBED_SHARE = 0.5
WAIT_S_MAX = 300.0


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured.

    single: records sent one a message; tutorial: those for Faust. packed: records a message.
    paced_s: how long each share of top speed lasts at most. sessions: open at a restart.
    """

    households: int
    hours: float
    packed: int
    single: int
    tutorial: int
    paced_s: float
    probe_every: int
    sessions: int


FULL = Size(8_000, 5.0, 1_000, 600_000, 40_000, 10.0, 5, 1_000_000)
SMOKE = Size(60, 1.0, 50, 2_000, 300, 1.0, 5, 2_000)


@dataclass(frozen=True, slots=True)
class Place:
    """Where everything runs: a folder, a broker, a server, and the book's file."""

    folder: Path
    kafka: str
    postgres: str
    book: Path


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that was filled. records: of each message, by partition."""

    name: str
    records: Mapping[int, Sequence[int]]

    @property
    def ends(self) -> dict[int, int]:
        """The offset behind each partition's last message."""
        return {number: len(each) for number, each in self.records.items()}

    def records_before(self, offsets: Mapping[int, int]) -> int:
        """The records of all messages before some offsets."""
        return sum(sum(each[: offsets.get(number, 0)]) for number, each in self.records.items())


@dataclass(frozen=True, slots=True)
class Rated:
    """What came of a topic. records_a_second: without the start of the workers."""

    records_a_second: float
    digest: str
    charges: int
    charge_bytes: float


# --- workers and what the store says of them ------------------------------------------------------


@contextmanager
def scene_on(place: Place, topic: str, book: Path | None = None) -> Iterator[WorkerScene]:
    """Workers on a topic with a fresh database."""
    with ExitStack() as stack:
        store = stack.enter_context(fresh_database(place.postgres))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=place.folder)))
        books = (book or place.book,)
        yield stack.enter_context(WorkerScene(folder, place.kafka, topic, store, books, OPTIONS))


class Watch:
    """Looks at the store's offsets all the time, in a thread. samples: steady time and offsets."""

    def __init__(self, store: str) -> None:
        self.samples: list[tuple[float, dict[int, int]]] = []
        self._store = store
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        with open_store(self._store, create=False) as store:
            while not self._over.wait(WATCH_EVERY_S):
                found = {number: at.next_offset for number, at in store.positions().items()}
                if not self.samples or found != self.samples[-1][1]:
                    self.samples.append((time.monotonic(), found))

    @property
    def offsets(self) -> dict[int, int]:
        """Where the store is."""
        return self.samples[-1][1] if self.samples else {}

    def wait_for(self, ends: Mapping[int, int], scene: WorkerScene) -> None:
        """Wait until the store is there."""

        def is_there() -> bool:
            assert any(worker.is_running for worker in scene.workers), scene.said()
            return all(self.offsets.get(number, 0) >= end for number, end in ends.items())

        wait_until(is_there, WAIT_S_MAX, f"at {ends}; the workers said:\n{scene.said()}")

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()


def said_at(scene: WorkerScene, words: str) -> list[float]:
    """When workers said so, in seconds of the wall clock."""
    lines = [line for worker in scene.workers for line in worker.log.read_text().splitlines()]
    said = [json.loads(line) for line in lines if line.startswith("{")]
    return [
        datetime.fromisoformat(each["time"]).timestamp()
        for each in said
        if re.search(words, each["message"])
    ]


def rate_topic(place: Place, topic: Topic, workers: int = 1, more: Sequence[str] = ()) -> Rated:
    """Rate a filled topic with so many workers. more: options of theirs.

    The time is from the first commit after all have joined, so that starting does not count.
    """
    with scene_on(place, topic.name) as scene, Watch(scene.store) as watch:
        for _ in range(workers):
            scene.start(*more)
        watch.wait_for(topic.ends, scene)
        joined_s = max(said_at(scene, "assigned partitions")) - time.time() + time.monotonic()
        after = [each for each in watch.samples if each[1] and each[0] >= joined_s]
        (begun_s, first), (ended_s, last) = (
            after[0] if len(after) > 1 else (joined_s, {}),
            after[-1],
        )
        with open_store(scene.store, create=False) as store:
            charges = store.charges_after(0, EVERYTHING)
        stored_bytes = charge_bytes(scene.store)
    rated = topic.records_before(last) - topic.records_before(first)
    digest = charges_digest([charges])
    return Rated(rated / (ended_s - begun_s), digest, charges.height, stored_bytes)


def expected(place: Place, messages: Sequence[Outgoing]) -> str:
    """The digest of the charges that the core makes of each partition's messages."""
    books = load_books([str(place.book)])
    logs = [
        b"\n".join(each.value for each in messages if each.partition == number)
        for number in range(PARTITIONS)
    ]
    return charges_digest([Rater(books).rate(decode_lines(raw, str)).charges for raw in logs])


# --- speed ----------------------------------------------------------------------------------------


def bare_consumer(place: Place, topic: Topic) -> float:
    """Records a second of a consumer that only reads."""
    command = [sys.executable, str(BASELINES), "bare", place.kafka, topic.name]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return topic.records_before(topic.ends) / float(json.loads(done.stdout)["seconds"])


def tutorial_worker(place: Place, topic: Topic) -> float:
    """Records a second of the tutorial's worker, without its start: charges that it sent."""
    make_topics(place.kafka, ["tutorial-charges"], PARTITIONS)
    places = [TopicPartition("tutorial-charges", number) for number in range(PARTITIONS)]
    reader = KafkaConsumer(bootstrap_servers=place.kafka)
    log = place.folder / "tutorial.log"
    with log.open("wb") as opened:
        worker = subprocess.Popen(
            [sys.executable, str(BASELINES), "tutorial", place.kafka, topic.name],
            cwd=place.folder,
            stdout=opened,
            stderr=opened,
        )
    samples = [(time.monotonic(), 0)]
    try:
        while not samples[-1][1] or time.monotonic() < samples[-1][0] + 3.0:
            assert worker.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < samples[0][0] + WAIT_S_MAX, log.read_text()[-2000:]
            if (sent := sum(reader.end_offsets(places).values())) > samples[-1][1]:
                samples.append((time.monotonic(), sent))
            time.sleep(0.1)
    finally:
        worker.kill()
        worker.wait()
        reader.close()
    (begun_s, first), (ended_s, last) = samples[1] if len(samples) > 2 else samples[0], samples[-1]
    return (last - first) / (ended_s - begun_s)


def filled(place: Place, messages: Sequence[Outgoing], name: str) -> Topic:
    """A new topic with these messages."""
    name = f"{name}-{uuid4().hex[:8]}"
    make_topics(place.kafka, [name], PARTITIONS)
    return Topic(name, fill(place.kafka, name, messages))


def checked(report: Report, name: str, rated: Rated, digest: str) -> float:
    """See that charges are the core's. Returns: records a second."""
    report.check(f"{name}: {rated.charges:,} charges", rated.digest, holds=rated.digest == digest)
    return rated.records_a_second


def measure_packed(
    report: Report, place: Place, messages: Sequence[Outgoing]
) -> tuple[float, float]:
    """Many records a message. Returns: records a second of one worker; of one that publishes."""
    topic, digest = filled(place, messages, "packed"), expected(place, messages)
    report.add("packed: bare consumer", bare_consumer(place, topic), "records/s")
    one = rate_topic(place, topic)
    top = checked(report, "packed, one worker", one, digest)
    aim = "0.5, and 250,000 records/s"
    report.add("packed: worker", top, "records/s", baseline="packed: bare consumer", aim=aim)
    record_bytes = sum(len(each.value) for each in messages) / topic.records_before(topic.ends)
    report.add("packed: worker, bytes", top * record_bytes / 1e6, "MB/s")
    both = checked(report, "packed, two workers", rate_topic(place, topic, workers=2), digest)
    report.add("packed: two workers", both, "records/s", baseline="packed: worker")
    report.add("a charge in PostgreSQL, with indexes", one.charge_bytes, "bytes")
    prefix = f"top-{uuid4().hex[:8]}."
    make_topics(place.kafka, [f"{prefix}{name}" for name in PUBLISHED], PARTITIONS)
    publishing = rate_topic(place, topic, more=("--publish", "--prefix", prefix))
    publishes = checked(report, "packed, one worker that publishes", publishing, digest)
    name = "packed: worker that also publishes"
    report.add(name, publishes, "records/s", baseline="packed: worker")
    return top, publishes


def measure_single(
    report: Report, place: Place, messages: Sequence[Outgoing], tutorial: int
) -> None:
    """One record a message."""
    topic, digest = filled(place, messages, "single"), expected(place, messages)
    report.add("single: bare consumer", bare_consumer(place, topic), "records/s")
    single = checked(report, "single, one worker", rate_topic(place, topic), digest)
    report.add("single: worker", single, "records/s", baseline="single: bare consumer")
    few = filled(place, messages[:tutorial], "tutorial")
    name = "single: worker of a Faust tutorial"
    report.add(name, tutorial_worker(place, few), "records/s")
    report.add("single: worker, once more", single, "records/s", baseline=name, aim="10")


# --- how soon -------------------------------------------------------------------------------------


def committed_s(watch: Watch, sent: Sequence[Sent]) -> list[float]:
    """From when each message was due until its charges were committed."""
    found = []
    for number in range(PARTITIONS):
        times_s = [at_s for at_s, _ in watch.samples]
        offsets = [each.get(number, 0) for _, each in watch.samples]
        found += [
            times_s[bisect_right(offsets, each.offset)] - each.due_s
            for each in sent
            if each.message.partition == number
        ]
    return found


class Signals:
    """Reads the topic of signals. seen_s: when an account's balance was told to be exhausted."""

    def __init__(self, address: str, topic: str) -> None:
        self.seen_s: dict[str, float] = {}
        self._reader = KafkaConsumer(bootstrap_servers=address, fetch_max_wait_ms=100)
        places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self._reader.assign(places)
        self._reader.seek_to_beginning(*places)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        while not self._over.is_set():
            for messages in self._reader.poll(200).values():
                for message in messages:
                    told = json.loads(message.value)
                    if told["type"] == "balance.exhausted":
                        self.seen_s.setdefault(told["account"], time.monotonic())

    def __enter__(self) -> Self:
        """Begin to read."""
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End the thread."""
        self._over.set()
        self._thread.join()
        self._reader.close()


def add_latencies(
    report: Report, name: str, seconds: Sequence[float], percents: Sequence[int], aim: str = ""
) -> None:
    """Percentiles in milliseconds; 100 is the most."""
    for percent in percents:
        figure = 1000 * float(np.percentile(seconds, percent))
        which = "max" if percent == 100 else f"p{percent}"
        report.add(f"{name}, {which}", figure, "ms", aim=aim if percent == 99 else "")


def parts_of(messages: Sequence[Outgoing], top: float, paced_s: float) -> list[list[Outgoing]]:
    """The log in parts that last equally long at the shares of top speed, with one to warm up."""
    total = sum(each.records for each in messages)
    lasting_s = min(paced_s, 0.9 * total / (top * sum(SHARES)))
    waiting, parts = list(messages), []
    for share in (total / 20 / top / lasting_s, *SHARES):
        count = max(1, round(len(messages) * share * top * lasting_s / total))
        parts.append(waiting[:count])
        waiting = waiting[count:]
    return parts


def measure_latency(
    report: Report, place: Place, messages: Sequence[Outgoing], top: float, size: Size
) -> None:
    """One worker that also publishes, fed at shares of its top speed."""
    prefix = f"latency-{uuid4().hex[:8]}."
    usage, told = f"{prefix}usage", f"{prefix}signals"
    make_topics(place.kafka, [usage, *(f"{prefix}{name}" for name in PUBLISHED)], PARTITIONS)
    with (
        scene_on(place, usage) as scene,
        Watch(scene.store) as watch,
        Signals(place.kafka, told) as signals,
    ):
        scene.start("--publish", "--prefix", prefix)
        warm_up, *parts = parts_of(messages, top, size.paced_s)
        _feed(place, usage, warm_up, SHARES[0] * top, scene, watch)
        for share, part in zip(SHARES, parts, strict=True):
            if share != PROBED_SHARE:
                sent = _feed(place, usage, part, share * top, scene, watch)
            else:
                probed = list(with_probes(part, PARTITIONS, size.probe_every))
                sent = _feed(place, usage, probed, share * top, scene, watch)
                told_s = signal_latencies(signals, sent)
                report.check("signals", f"{len(told_s)} of {len(told_s)} balances told")
            aim = "under 1,000" if share == PROBED_SHARE else ""
            name = f"produced to committed at {share:.0%} of top speed"
            add_latencies(report, name, committed_s(watch, sent), (50, 99), aim)
        aim = "under 1,000"
        name = f"produced to signal at {PROBED_SHARE:.0%} of top speed"
        add_latencies(report, name, told_s, (50, 90, 99, 100), aim)


def _feed(
    place: Place,
    topic: str,
    messages: Sequence[Outgoing],
    records_a_second: float,
    scene: WorkerScene,
    watch: Watch,
) -> list[Sent]:
    """Send at a steady rate, and wait until all of it is committed."""
    sent = pace(place.kafka, topic, messages, records_a_second)
    watch.wait_for({each.message.partition: each.offset + 1 for each in sent}, scene)
    return sent


def signal_latencies(signals: Signals, sent: Sequence[Sent]) -> list[float]:
    """From when each probe was due until a consumer had its signal."""
    due_s = {each.message.probe: each.due_s for each in sent if each.message.probe}
    wait_until(lambda: due_s.keys() <= signals.seen_s.keys(), WAIT_S_MAX, "a signal for each probe")
    return [signals.seen_s[account] - due for account, due in due_s.items()]


# --- many open sessions ---------------------------------------------------------------------------


def resident_bytes(pid: int) -> int:
    """The memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def rebalance_s(scene: WorkerScene, begun_s: float) -> float:
    """Wait for a rebalance. Returns: from when partitions were taken away until all went on."""

    def loaded() -> list[float]:
        return [at_s for at_s in said_at(scene, "goes on at offset") if at_s >= begun_s]

    wait_until(lambda: len(loaded()) >= PARTITIONS, WAIT_S_MAX, f"rebalanced; {scene.said()}")
    revoked = [at_s for at_s in said_at(scene, r"revoked partitions \[") if at_s >= begun_s]
    return max(loaded()) - min(revoked)


def state_bytes(store: str) -> int:
    """The state of all partitions as it is stored."""
    with psycopg.connect(store) as connection:
        found = connection.execute("SELECT sum(length(payload)) FROM ratecast.state").fetchone()
    assert found is not None
    return int(found[0])


def measure_restart(report: Report, place: Place, sessions: int, packed_records: int) -> None:
    """A worker is stopped and started again; then a second one comes and goes."""
    book = place.folder / "crowd.toml"
    book.write_text(crowd.BOOK)
    lines = crowd_lines(sessions, 5, range(2))
    topic = filled(place, list(packed(lines, PARTITIONS, packed_records)), "sessions")
    beat = list(packed(crowd_lines(sessions // 100, 5, [2]), PARTITIONS, packed_records))
    with scene_on(place, topic.name, book) as scene, Watch(scene.store) as watch:
        first = scene.start()
        watch.wait_for(topic.ends, scene)
        report.add("open sessions: worker", resident_bytes(first.process.pid) / 1e6, "MB")
        stored = state_bytes(scene.store) / sessions
        report.add("open sessions: stored state, each", stored, "bytes")
        assert first.stop() == 0, scene.said()
        records = fill(place.kafka, topic.name, beat)
        ends = {number: end + len(records.get(number, ())) for number, end in topic.ends.items()}
        begun_s = time.monotonic()
        scene.start()
        watch.wait_for(ends, scene)
        report.add("restart: to the first commits", time.monotonic() - begun_s, "s", aim="under 5")
        begun_s = time.time()
        second = scene.start()
        report.add("a worker joins: nothing rated for", rebalance_s(scene, begun_s), "s")
        begun_s = time.time()
        assert second.stop() == 0, scene.said()
        report.add("a worker leaves: nothing rated for", rebalance_s(scene, begun_s), "s")


def charge_bytes(store: str) -> float:
    """What a charge takes in PostgreSQL, with its indexes."""
    with psycopg.connect(store) as connection:
        found = connection.execute(
            "SELECT sum(pg_total_relation_size(relid)) + pg_total_relation_size('ratecast.charged_once'),"
            " (SELECT count(*) FROM ratecast.charges) FROM pg_partition_tree('ratecast.charges')"
        ).fetchone()
    assert found is not None
    return float(found[0]) / max(1, found[1])


# --- all ------------------------------------------------------------------------------------------


@contextmanager
def services(folder: Path) -> Iterator[tuple[str, str]]:
    """The addresses of a broker and of a database server: those named, or new ones."""
    with ExitStack() as stack:
        kafka = os.environ.get("RATECAST_TEST_KAFKA")
        kafka = kafka or stack.enter_context(Kafka(folder / "broker")).address
        postgres = os.environ.get("RATECAST_TEST_POSTGRES")
        postgres = postgres or stack.enter_context(PostgresServer(durable=True)).url()
        yield kafka, postgres


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure speed, latency and restarts."""
    asked = options(__doc__).parse_args(arguments)
    size = SMOKE if asked.smoke else FULL
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # new topics take a moment
    simulation = Simulation(size.households, size.hours, SEED)
    lines = [padded(line) for line in b"".join(simulation.blocks()).splitlines()]
    workload = f"{size.households:,} households, {len(lines):,} records, {PARTITIONS} partitions"
    report = Report("worker", f"{workload}, seed {SEED}, all on the same cores")
    with tempfile.TemporaryDirectory() as named, services(Path(named)) as (kafka, postgres):
        folder = Path(named)
        place = Place(folder, kafka, postgres, folder / "book.toml")
        place.book.write_text(simulation.book())
        messages = list(packed(lines, PARTITIONS, size.packed))
        top, publishes = measure_packed(report, place, messages)
        few = list(packed(lines[: size.single], PARTITIONS, 1))
        measure_single(report, place, few, size.tutorial)
        baseline = "single: worker of a Faust tutorial"
        report.add("packed: worker, once more", top, "records/s", baseline=baseline, aim="100")
        measure_latency(report, place, messages, publishes, size)
        measure_restart(report, place, size.sessions, size.packed)
    publish(report, asked)


if __name__ == "__main__":
    main()
