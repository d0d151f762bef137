"""Charges, signals and suspense from the store to a real Kafka: nothing missed, repeats known."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen
from uuid import uuid4

import pytest
import stored
from click.testing import CliRunner, Result
from jsonschema import Draft202012Validator
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic
from patience import PATIENCE_S
from services.kafka import Kafka
from stored import NOON_MS

from rating.runtime.cli import main
from rating.runtime.kafka_access import KafkaAccess
from rating.runtime.publishing import opened_producer, publish_once
from sinks.store import StoreMissing, open_store
from sinks.topics.publisher import TOPICS, PublishError, TopicPublisher, cursor_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from kafka.consumer.fetcher import ConsumerRecord

    from sinks.store import BillingStore
    from sinks.topics.publisher import Published

ROOT = Path(__file__).parents[2]
PARTITIONS = 4


@pytest.fixture
def prefix(kafka_address: str) -> str:
    """What the names of this test's own topics begin with."""
    drawn = f"t{uuid4().hex[:12]}."
    make_topics(kafka_address, *(f"{drawn}{topic}" for topic in (*TOPICS, "usage")))
    return drawn


@pytest.fixture
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store can be made: in a file, or where a test asks for it in PostgreSQL."""
    if getattr(request, "param", "sqlite") == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return str(tmp_path / "store.db")


@pytest.fixture
def store(store_url: str) -> Iterator[BillingStore]:
    with open_store(store_url) as opened:
        yield opened


each_store = pytest.mark.parametrize("store_url", ["sqlite", "postgresql"], indirect=True)


def make_topics(address: str, *names: str, partitions: int = PARTITIONS) -> None:
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name, partitions, 1) for name in names])
    admin.close()


def read_topic(address: str, topic: str) -> list[ConsumerRecord]:
    """All that a topic holds, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=address, enable_auto_commit=False)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    consumer.assign(places)
    consumer.seek_to_beginning(*places)
    ends = consumer.end_offsets(places)
    found: list[ConsumerRecord] = []
    while any(consumer.position(place) < ends[place] for place in places):
        for records in consumer.poll(timeout_ms=500).values():
            found += records
    consumer.close()
    return sorted(found, key=lambda record: (record.partition, record.offset))


def values_of(records: list[ConsumerRecord]) -> list[dict[str, Any]]:
    return [json.loads(record.value) for record in records]


def fill(store: BillingStore, commits: int = 3, rows: int = 400) -> None:
    for number in range(commits):
        store.commit(
            stored.commit(
                10 * number,
                charges=stored.many_charges(rows, seed=number),
                signals=stored.signals(
                    {"type": "balance.exhausted", "account": f"a{number}", "time": NOON_MS},
                    {
                        "type": "order.declined",
                        "account": "bo",
                        "time": NOON_MS,
                        "order": f"o{number}",
                        "reason": "not_on_sale",
                    },
                ),
                suspense=stored.suspense(
                    {
                        "reason": "malformed",
                        "detail": "the line is not JSON",
                        "source": f"usage/0@{number}",
                        "raw": b"\xff{\x00",
                    },
                    {
                        "reason": "no_rule",
                        "detail": "no rule",
                        "account": "anna",
                        "type": "usage",
                        "time": NOON_MS,
                        "end": NOON_MS + 5,
                        "watched_ms": 5,
                    },
                ),
            )
        )


def ignore(published: Published) -> None:
    """Nobody asks how far it is."""


def publish_all(
    store: BillingStore, address: str, prefix: str, kinds: Sequence[Any] = TOPICS
) -> dict[Any, int]:
    access = KafkaAccess.read(address)
    return asyncio.run(publish_once(store, access, kinds, ignore, prefix=prefix))


def ratecast(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


# --- nothing missed -------------------------------------------------------------------------------


@each_store
def test_every_row_is_a_message_as_its_schema_says(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    fill(store)
    assert publish_all(store, kafka_address, prefix) == {
        "charges": 1200,
        "signals": 6,
        "suspense": 6,
    }
    for kind in TOPICS:
        records = read_topic(kafka_address, prefix + kind)
        schema = json.loads((ROOT / "docs" / "schemas" / f"{kind}.json").read_text())
        check = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for record, value in zip(records, values_of(records), strict=True):
            check.validate(value)
            assert record.key == (value["account"].encode() if value["account"] else None)
        seqs = sorted(value["seq"] for value in values_of(records))
        assert seqs == list(range(1, store.last_seq(kind) + 1))


def test_a_message_holds_what_the_store_holds(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    fill(store, commits=1)
    publish_all(store, kafka_address, prefix)
    rows = {row["seq"]: row for row in store.charges_after(0, 10**6).to_dicts()}
    for value in values_of(read_topic(kafka_address, f"{prefix}charges")):
        row = rows[value["seq"]]
        whole, _, places = value["owed"].partition(".")
        assert int(whole + places) == row["total"] - row["unfunded"]
        assert value["id"] == f"{row['charge_id']}-{row['seq']}"
        assert value["local_date"] == row["local_date"].isoformat()
        same = value.keys() - {"id", "owed", "local_date"}
        assert {name: value[name] for name in same} == {name: row[name] for name in same}
    (malformed, _) = values_of(read_topic(kafka_address, f"{prefix}suspense"))[:2]
    assert malformed["raw"] is None or base64.b64decode(malformed["raw"]) == b"\xff{\x00"


def test_an_account_keeps_one_partition_and_its_order(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    fill(store)
    publish_all(store, kafka_address, prefix)
    where: dict[bytes, int] = {}
    last: dict[bytes, int] = {}
    for record in read_topic(kafka_address, f"{prefix}charges"):
        assert where.setdefault(record.key, record.partition) == record.partition
        seq = json.loads(record.value)["seq"]
        assert last.get(record.key, 0) < seq
        last[record.key] = seq
    assert len(set(where.values())) == PARTITIONS


def test_a_second_run_sends_what_is_new(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    fill(store, commits=1)
    publish_all(store, kafka_address, prefix)
    store.commit(stored.commit(10, charges=stored.many_charges(5, seed=9)))
    sent = publish_all(store, kafka_address, prefix)
    assert sent == {"charges": 5, "signals": 0, "suspense": 0}
    assert len(read_topic(kafka_address, f"{prefix}charges")) == 405


def test_a_repeat_after_a_crash_carries_the_same_id(
    store: BillingStore, kafka_address: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broker acknowledged, and the publisher died before it moved the cursor.

    One topic alone: the first of several that died would take the others along before the broker
    has their messages.
    """
    fill(store, commits=1)

    def dies(*given: Any) -> None:
        raise SystemError

    monkeypatch.setattr(type(store), "set_cursor", dies)
    with pytest.raises(SystemError):
        publish_all(store, kafka_address, prefix, ["charges"])
    monkeypatch.undo()
    publish_all(store, kafka_address, prefix, ["charges"])
    records = read_topic(kafka_address, f"{prefix}charges")
    by_id: dict[str, set[bytes]] = {}
    for record in records:
        by_id.setdefault(json.loads(record.value)["id"], set()).add(record.value)
    assert len(by_id) == 400
    assert len(records) == 800
    assert all(len(values) == 1 for values in by_id.values())


def test_two_publishers_without_a_claim_may_repeat_and_miss_nothing(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    """A claim can be lost unnoticed; what then goes on must do no harm."""
    fill(store, commits=5)

    class Granted:
        def held(self) -> bool:
            return True

        def release(self) -> None:
            pass

    class Careless:
        """A store that lets everyone in."""

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        def claim(self, _: str) -> Granted:
            return Granted()

    async def both() -> list[int]:
        access, topic = KafkaAccess.read(kafka_address), f"{prefix}charges"
        async with opened_producer(access, [topic]) as one, opened_producer(access, [topic]) as two:
            publishers = [
                TopicPublisher(
                    Careless(), "charges", producer, ignore, prefix=prefix, page_rows=rows
                )
                for producer, rows in ((one, 70), (two, 110))
            ]
            return await asyncio.gather(*(publisher.publish() for publisher in publishers))

    assert sum(asyncio.run(both())) >= 2000
    first_seen: dict[int, list[int]] = {}
    for record in read_topic(kafka_address, f"{prefix}charges"):
        seq, seen = json.loads(record.value)["seq"], first_seen.setdefault(record.partition, [])
        if seq not in seen:
            seen.append(seq)
    assert sorted(seq for seen in first_seen.values() for seq in seen) == list(range(1, 2001))
    assert all(seen == sorted(seen) for seen in first_seen.values())


# --- one publisher --------------------------------------------------------------------------------


@each_store
def test_a_second_publisher_is_told_of_the_first(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    fill(store, commits=1)
    claim = store.claim(f"publish-{prefix}charges")
    assert claim is not None
    with pytest.raises(PublishError, match="another publisher is writing it"):
        publish_all(store, kafka_address, prefix)
    claim.release()
    publish_all(store, kafka_address, prefix)


@contextmanager
def following(
    store_url: str, address: str, prefix: str, *more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """`ratecast publish --follow` as a process."""
    words = ("publish", "--follow", "--store", store_url, "--kafka", address, "--prefix", prefix)
    process = running(*words, *more)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for_cursor(store: BillingStore, topic: str, seq: int, seconds: float = PATIENCE_S) -> None:
    give_up_s = time.monotonic() + seconds
    while (cursor := store.cursor(cursor_name(topic))) is None or cursor.seq < seq:
        assert time.monotonic() < give_up_s, f"{topic} is at {cursor}, not at {seq}"
        time.sleep(0.02)


@each_store
def test_following_publishers_killed_at_random_miss_nothing_and_hand_over(
    store: BillingStore, store_url: str, kafka_address: str, prefix: str
) -> None:
    topic = f"{prefix}charges"
    with following(store_url, kafka_address, prefix) as one:
        store.commit(stored.commit(0, charges=stored.many_charges(300, seed=0)))
        wait_for_cursor(store, topic, 1)
        with following(store_url, kafka_address, prefix) as two:
            store.commit(stored.commit(10, charges=stored.many_charges(3000, seed=1)))
            time.sleep(0.15)
            one.kill()
            store.commit(stored.commit(20, charges=stored.many_charges(300, seed=2)))
            wait_for_cursor(store, topic, 3600)
            two.send_signal(signal.SIGTERM)
            assert two.wait(PATIENCE_S) == 0
    seen = {value["seq"] for value in values_of(read_topic(kafka_address, topic))}
    assert seen == set(range(1, 3601))


def test_a_signal_reaches_its_topic_at_once(
    store: BillingStore, kafka_address: str, prefix: str
) -> None:
    """Generous, for a busy machine; benchmarks measure it."""
    with following(store.url, kafka_address, prefix, "signals"):
        for number in range(3):
            signals = stored.signals({"type": "balance.exhausted", "account": "a", "time": NOON_MS})
            store.commit(stored.commit(10 * number, signals=signals))
            wait_for_cursor(store, f"{prefix}signals", number + 1)
    assert len(read_topic(kafka_address, f"{prefix}signals")) == 3


# --- the commands ---------------------------------------------------------------------------------


def test_missing_topics_and_brokers_are_said(store: BillingStore, kafka_address: str) -> None:
    fill(store, commits=1)
    missing = ratecast("publish", "--store", store.url, "--kafka", kafka_address, "--prefix", "no.")
    assert missing.exit_code == 1
    assert "has no topic no.charges" in missing.stderr
    silent = ratecast("publish", "--store", store.url, "--kafka", "127.0.0.1:1", "charges")
    assert silent.exit_code == 1
    assert "no Kafka broker answers at 127.0.0.1:1" in silent.stderr
    nowhere = ratecast("publish", "--store", store.url)
    assert nowhere.exit_code == 2


def test_a_broker_that_advertises_an_address_out_of_reach_is_said(tmp_path: Path) -> None:
    """As Kafka in a container often does. Its clients would try again for ever."""
    out_of_reach = {"advertised.listeners": "PLAINTEXT://127.0.0.1:1"}
    log = tmp_path / "log.ndjson"
    log.write_text("{}\n")
    with Kafka(tmp_path / "kafka", out_of_reach) as broker:
        said = ratecast("produce", "--kafka", broker.address, str(log))
    assert said.exit_code == 1
    assert "advertised.listeners" in said.stderr


def test_a_log_is_produced_packed_by_partition_and_status_shows_the_lag(
    tmp_path: Path, kafka_address: str, prefix: str
) -> None:
    log = tmp_path / "log.ndjson"
    assert ratecast("simulate", "--households", 40, "--hours", 0.2, "--out", log).exit_code == 0
    lines = log.read_bytes().splitlines()
    topic, store_url = f"{prefix}usage", str(tmp_path / "store.db")
    sent = ratecast(
        "produce", "--kafka", kafka_address, "--topic", topic, "--pack", 50, "--json", log
    )
    assert sent.exit_code == 0, sent.output
    records = read_topic(kafka_address, topic)
    assert json.loads(sent.stdout) == {"records": len(lines), "messages": len(records)}
    packed = [line for record in records for line in record.value.split(b"\n")]
    assert sorted(packed) == sorted(lines)
    place: dict[str, int] = {}
    by_account: dict[str, list[bytes]] = {}
    for record in records:
        assert len(record.value.split(b"\n")) <= 50
        for line in record.value.split(b"\n"):
            account = json.loads(line)["account"]
            assert place.setdefault(account, record.partition) == record.partition
            by_account.setdefault(account, []).append(line)
    for line in lines:  # an account's records keep their order
        assert by_account[json.loads(line)["account"]].pop(0) == line

    with open_store(store_url) as store:
        store.commit(stored.commit(0, 2, partition=1))
    status = ratecast(
        "status", "--store", store_url, "--kafka", kafka_address, "--topic", topic, "--json"
    )
    assert status.exit_code == 0, status.output
    lag = json.loads(status.stdout)["lag"]["partitions"]
    ends = [sum(record.partition == number for record in records) for number in range(PARTITIONS)]
    assert [each["end"] for each in lag] == ends
    assert [each["lag"] for each in lag] == [ends[0], ends[1] - 2, ends[2], ends[3]]
    shown = ratecast("status", "--store", store_url, "--kafka", kafka_address, "--topic", topic)
    assert "nothing yet" in shown.stdout


def test_what_cannot_be_read_is_produced_too(
    tmp_path: Path, kafka_address: str, prefix: str
) -> None:
    topic, path = f"{prefix}usage", tmp_path / "log.ndjson"
    log = b'{"type":\n\xff\xfe\n\n{"account":"anna"}\n'
    path.write_bytes(log)
    sent = ratecast("produce", "--kafka", kafka_address, "--topic", topic, path)
    assert sent.exit_code == 0, sent.output
    packed = [
        line for record in read_topic(kafka_address, topic) for line in record.value.split(b"\n")
    ]
    assert sorted(packed) == sorted(line for line in log.split(b"\n") if line)


# --- what kills -----------------------------------------------------------------------------------


def test_a_broker_killed_in_the_midst_costs_nothing(tmp_path: Path, store: BillingStore) -> None:
    with Kafka(tmp_path / "kafka") as broker:
        make_topics(broker.address, *TOPICS)
        with following(store.url, broker.address, "") as publisher:
            store.commit(stored.commit(0, charges=stored.many_charges(200, seed=0)))
            wait_for_cursor(store, "charges", 200)
            broker.kill()
            for number in range(1, 4):
                charges = stored.many_charges(1000, seed=number)
                store.commit(stored.commit(10 * number, charges=charges))
            time.sleep(0.3)
            broker.start()
            wait_for_cursor(store, "charges", 3200)
            assert publisher.poll() is None
        seqs = [value["seq"] for value in values_of(read_topic(broker.address, "charges"))]
    assert sorted(seqs) == list(range(1, 3201))


# --- beside a worker ------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.mark.slow
def test_workers_publish_what_they_rate(
    tmp_path: Path, postgres_url: str, kafka_address: str, prefix: str
) -> None:
    log, book, topic = tmp_path / "log.ndjson", tmp_path / "book.toml", f"{prefix}usage"
    simulated = ratecast(
        *("simulate", "--households", 100, "--hours", 1, "--out", log, "--tariffs-out", book)
    )
    assert simulated.exit_code == 0
    assert ratecast("produce", "--kafka", kafka_address, "--topic", topic, log).exit_code == 0
    port = free_port()
    words = [
        *("worker", "--tariffs", str(book), "--kafka", kafka_address, "--store", postgres_url),
        *("--topic", topic, "--group", topic, "--publish", "--prefix", prefix),
    ]
    workers = [running(*words, "--metrics", f"127.0.0.1:{port}"), running(*words)]
    try:
        records = len(log.read_bytes().splitlines())
        give_up_s = time.monotonic() + PATIENCE_S
        with open_store_when_there(postgres_url, give_up_s) as store:
            while store.summary().counts.get("records", 0) < records:
                assert time.monotonic() < give_up_s
                assert all(worker.poll() is None for worker in workers)
                time.sleep(0.2)
            for kind in TOPICS:
                if store.last_seq(kind):
                    wait_for_cursor(store, prefix + kind, store.last_seq(kind))
                sent = values_of(read_topic(kafka_address, prefix + kind))
                assert sorted(value["seq"] for value in sent) == [
                    *range(1, store.last_seq(kind) + 1)
                ]
        # Told once a second where there is nothing to send, or another worker sends it.
        caught_up = f'ratecast_publish_lag_rows{{topic="{prefix}charges"}} 0.0'
        while caught_up not in figures_at(port):
            assert time.monotonic() < give_up_s
            time.sleep(0.2)
        for worker in workers:
            worker.send_signal(signal.SIGTERM)
        assert [worker.wait(PATIENCE_S) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def figures_at(port: int) -> str:
    """What a worker tells Prometheus."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as answered:
        return str(answered.read().decode())


def running(*words: str) -> subprocess.Popen[bytes]:
    script = "from rating.runtime.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", script, *words], cwd=ROOT)


def open_store_when_there(url: str, give_up_s: float) -> BillingStore:
    """The store that a worker makes."""
    while True:
        try:
            return open_store(url, create=False)
        except StoreMissing:
            assert time.monotonic() < give_up_s
            time.sleep(0.1)
