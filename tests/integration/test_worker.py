"""`ratecast worker` on a real Kafka: whatever happens to it, the charges are those of the log."""

from __future__ import annotations

import re
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from kafka import KafkaAdminClient, TopicPartition
from patience import PATIENCE_S
from services.kafka import Kafka
from services.postgres import PostgresServer, fresh_database
from services.proxy import CutProxy, through
from worker_runs import (
    Packed,
    WorkerScene,
    expected_facts,
    make_topic,
    packed_log,
    records_in,
    send,
    simulated_lines,
    stored_facts,
    topic_messages,
    wait_until,
)

from sinks.store import open_store
from tariffs.load import load_books

if TYPE_CHECKING:
    from collections.abc import Iterator

GOLDEN = Path(__file__).parents[1] / "golden" / "nordic"
PARTITIONS = 4


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A simulated evening of some ten thousand records: its book, and its lines."""
    return simulated_lines(tmp_path_factory.mktemp("evening"), households=80, seed=7)


@pytest.fixture
def scene(
    kafka_address: str, tmp_path: Path, evening: tuple[Path, list[bytes]]
) -> Iterator[WorkerScene]:
    """A new topic and a new store, without workers."""
    store = str(tmp_path / "store.db")
    topic = make_topic(kafka_address, PARTITIONS)
    with WorkerScene(tmp_path, kafka_address, topic, store, [evening[0]]) as made:
        yield made


def check_charges(scene: WorkerScene, messages: list[Packed]) -> None:
    """Wait for the workers to come to the end, and compare what they came to."""
    held = topic_messages(scene.kafka, scene.topic)
    expected = expected_facts(
        load_books([str(book) for book in scene.books], strict=False), held, messages
    )
    scene.wait_rated(expected.next_offsets)
    assert stored_facts(scene.store, PARTITIONS).differences(expected) == []


def test_the_nordic_evening_by_one_worker(kafka_address: str, tmp_path: Path) -> None:
    book = GOLDEN / "nordic-2026-01.toml"
    lines = (GOLDEN / "evening.ndjson").read_bytes().splitlines()
    topic = make_topic(kafka_address, PARTITIONS)
    messages = packed_log(lines, PARTITIONS, Random(1), sizes=[1])
    send(kafka_address, topic, messages).join()
    with WorkerScene(tmp_path, kafka_address, topic, str(tmp_path / "s.db"), [book]) as scene:
        worker = scene.start()
        check_charges(scene, messages)
        assert worker.stop() == 0
        assert list(tmp_path.glob("*")) != []
        assert not list(tmp_path.glob("ratecast-data"))


def test_two_workers_share_a_log_of_all_kinds_of_messages(
    scene: WorkerScene, evening: tuple[Path, list[bytes]]
) -> None:
    messages = packed_log(evening[1], PARTITIONS, Random(2), sizes=[1, 1, 20, 200])
    sending = send(scene.kafka, scene.topic, messages)
    first, second = scene.start(), scene.start("--json")
    sending.join()
    check_charges(scene, messages)
    assert (first.stop(), second.stop()) == (0, 0)
    assert '"level": "info"' in second.log.read_text()


# --- faults -------------------------------------------------------------------------------------


def test_workers_killed_at_random_moments(
    scene: WorkerScene, evening: tuple[Path, list[bytes]]
) -> None:
    chance = Random(3)
    messages = packed_log(evening[1], PARTITIONS, chance, sizes=[1, 1, 5])
    sending = send(scene.kafka, scene.topic, messages, seconds=9)
    kills = 0
    while sending.is_alive():
        worker = scene.start()
        # From its first partition on, or else all would die while they start.
        wait_until(lambda worker=worker: "goes on at" in worker.log.read_text(), 20, "a partition")
        time.sleep(chance.random() * 0.8)
        worker.kill()
        kills += 1
    assert kills > 1
    scene.start()
    sending.join()
    check_charges(scene, messages)


def test_a_worker_joins_and_leaves(scene: WorkerScene, evening: tuple[Path, list[bytes]]) -> None:
    messages = packed_log(evening[1], PARTITIONS, Random(4), sizes=[1, 1, 5])
    sending = send(scene.kafka, scene.topic, messages, seconds=5)
    first = scene.start()
    wait_until(lambda: scene.records() > 0, 20, "commits")
    second = scene.start()
    wait_until(lambda: "goes on at" in second.log.read_text(), 20, "the second has partitions")
    time.sleep(0.5)
    assert first.stop() == 0
    sending.join()
    check_charges(scene, messages)
    assert second.stop() == 0


def test_a_worker_that_wakes_after_its_session_changes_nothing(
    kafka_address: str, postgres_url: str, tmp_path: Path, evening: tuple[Path, list[bytes]]
) -> None:
    """On PostgreSQL: whoever is frozen while it writes to an SQLite file keeps it locked."""
    topic = make_topic(kafka_address, PARTITIONS)
    with WorkerScene(tmp_path, kafka_address, topic, postgres_url, [evening[0]]) as scene:
        freeze_and_wake(scene, packed_log(evening[1], PARTITIONS, Random(5), sizes=[1, 1, 5]))


def freeze_and_wake(scene: WorkerScene, messages: list[Packed]) -> None:
    """Freeze a worker until another has gone on in its place; then let it go on."""
    sending = send(scene.kafka, scene.topic, messages, seconds=4)
    zombie = scene.start()
    wait_until(lambda: scene.records() > 0, 20, "commits")
    zombie.freeze()
    successor = scene.start()
    wait_until(lambda: "goes on at" in successor.log.read_text(), 20, "the successor took over")
    before = scene.records()
    wait_until(lambda: scene.records() > before, 20, "commits of the successor")
    zombie.thaw()
    sending.join()
    check_charges(scene, messages)
    assert (zombie.stop(), successor.stop()) == (0, 0)


def test_the_broker_is_killed(tmp_path: Path, evening: tuple[Path, list[bytes]]) -> None:
    messages = packed_log(evening[1], PARTITIONS, Random(6), sizes=[1, 1, 5])
    with Kafka(tmp_path / "broker") as broker:
        topic = make_topic(broker.address, PARTITIONS)
        store = str(tmp_path / "store.db")
        with WorkerScene(tmp_path, broker.address, topic, store, [evening[0]]) as scene:
            sending = send(broker.address, topic, messages, seconds=4)
            scene.start()
            wait_until(lambda: scene.records() > 0, 20, "commits")
            broker.kill()
            broker.start()
            sending.join()
            check_charges(scene, messages)
            assert scene.workers[0].stop() == 0


def test_the_database_is_killed_and_the_wire_to_it_cut(
    kafka_address: str, tmp_path: Path, evening: tuple[Path, list[bytes]]
) -> None:
    messages = packed_log(evening[1], PARTITIONS, Random(10), sizes=[1, 1, 5])
    topic = make_topic(kafka_address, PARTITIONS)
    with (
        PostgresServer(durable=True) as database,
        fresh_database(database.url()) as url,
        CutProxy(database.port) as wire,
        WorkerScene(tmp_path, kafka_address, topic, through(wire, url), [evening[0]]) as scene,
    ):
        sending = send(kafka_address, topic, messages, seconds=5)
        scene.start()
        wait_until(lambda: scene.records() > 0, 20, "commits")
        database.kill()
        database.start()
        for _ in range(5):
            wire.cut()
            time.sleep(0.02)
            wire.mend()
            time.sleep(0.3)
        sending.join()
        check_charges(scene, messages)
        assert scene.workers[0].stop() == 0


def test_the_database_gets_no_byte_onto_its_disk(
    kafka_address: str, tmp_path: Path, evening: tuple[Path, list[bytes]]
) -> None:
    """The system refuses every write of the server, which ends and is started again meanwhile."""
    messages = packed_log(evening[1], PARTITIONS, Random(11), sizes=[1, 1, 5])
    topic = make_topic(kafka_address, PARTITIONS)
    with (
        PostgresServer(durable=True) as database,
        fresh_database(database.url()) as url,
        WorkerScene(tmp_path, kafka_address, topic, url, [evening[0]]) as scene,
    ):
        send(kafka_address, topic, messages[:1000])
        worker = scene.start()
        wait_until(lambda: scene.records() > 0, 20, "commits")
        database.limit_files(0)
        sending = send(kafka_address, topic, messages[1000:], seconds=2)

        def is_refused() -> bool:
            database.keep_running(0.1)
            return "trying again" in worker.log.read_text()

        wait_until(is_refused, 20, "a commit is refused")
        database.keep_running(2)
        database.limit_files(None)
        database.wait_serving()
        sending.join()
        check_charges(scene, messages)
        assert worker.stop() == 0


IMPATIENT = "connect_timeout=1&tcp_user_timeout=1000&keepalives_idle=1&keepalives_interval=1"


def test_the_network_swallows_what_worker_and_database_say(
    kafka_address: str, postgres_url: str, tmp_path: Path, evening: tuple[Path, list[bytes]]
) -> None:
    """Two holes: one that connections live through, and one that is longer than their patience."""
    messages = packed_log(evening[1], PARTITIONS, Random(12), sizes=[1, 1, 5])
    topic = make_topic(kafka_address, PARTITIONS)
    port = urlsplit(postgres_url).port
    assert port is not None
    with CutProxy(port) as wire:
        store = f"{through(wire, postgres_url)}?{IMPATIENT}"
        with WorkerScene(tmp_path, kafka_address, topic, store, [evening[0]]) as scene:
            send(kafka_address, topic, messages[:1000])
            worker = scene.start()
            wait_until(lambda: scene.records() > 0, 20, "commits")
            for hole_s, part in ((0.5, messages[1000:2000]), (3.0, messages[2000:])):
                wire.swallow()
                sending = send(kafka_address, topic, part, seconds=1)
                time.sleep(hole_s)
                before = records_in(postgres_url)
                wire.mend()
                wait_until(
                    lambda before=before: records_in(postgres_url) > before, 20, "it goes on"
                )
                sending.join()
            assert "trying again" in worker.log.read_text()
            check_charges(scene, messages)
            assert worker.stop() == 0


# --- what a worker refuses ----------------------------------------------------------------------


def ended(scene: WorkerScene, *options: str) -> tuple[int, str]:
    """The exit code of a worker that cannot go on, and what it said last."""
    worker = scene.start(*options)
    code = worker.process.wait(PATIENCE_S)
    return code, worker.log.read_text().splitlines()[-1]


def test_a_topic_that_is_not_there(scene: WorkerScene) -> None:
    code, said = ended(scene, "--topic", "nowhere")
    assert code == 1
    assert "has no topic 'nowhere'; make it with 'ratecast topics create" in said


def test_no_broker(scene: WorkerScene) -> None:
    code, said = ended(scene, "--kafka", "127.0.0.1:1")
    assert code == 1
    assert said.startswith("Error: no Kafka broker answers at 127.0.0.1:1")


def test_messages_deleted_before_they_were_rated(
    scene: WorkerScene, evening: tuple[Path, list[bytes]]
) -> None:
    messages = packed_log(evening[1][:400], PARTITIONS, Random(8), sizes=[1])
    send(scene.kafka, scene.topic, messages).join()
    held = topic_messages(scene.kafka, scene.topic)
    admin = KafkaAdminClient(bootstrap_servers=scene.kafka)
    admin.delete_records({TopicPartition(scene.topic, 1): 5})
    admin.close()
    code, said = ended(scene)
    assert code == 1
    assert f"{scene.topic}/1 begins at offset 5, but the store needs 0 next" in said
    assert "--from-oldest" in said
    scene.start("--from-oldest")
    held[1] = held[1][5:]
    books = load_books([str(book) for book in scene.books], strict=False)
    expected = expected_facts(books, held, messages)
    scene.wait_rated(expected.next_offsets)
    assert stored_facts(scene.store, PARTITIONS).differences(expected) == []


def test_a_log_that_is_shorter_than_the_store_knows(
    scene: WorkerScene, evening: tuple[Path, list[bytes]]
) -> None:
    messages = packed_log(evening[1][:200], PARTITIONS, Random(9), sizes=[1])
    send(scene.kafka, scene.topic, messages).join()
    worker = scene.start()
    check_charges(scene, messages)
    worker.stop()
    other = make_topic(scene.kafka, PARTITIONS)
    code, said = ended(scene, "--topic", other, "--group", other, "--accept-topic")
    assert code == 1
    assert f"{other}/" in said
    assert "not the log that the store was made from" in said


def test_a_store_is_rated_from_its_own_topic_alone(
    scene: WorkerScene, evening: tuple[Path, list[bytes]]
) -> None:
    """A topic that holds the same messages, such as a mirror, is accepted where that is said."""
    messages = packed_log(evening[1][:400], PARTITIONS, Random(10), sizes=[1])
    send(scene.kafka, scene.topic, messages[:200]).join()
    worker = scene.start()
    wait_until(lambda: scene.records() == 200, 60, "commits")
    worker.stop()
    mirror = make_topic(scene.kafka, PARTITIONS)
    send(scene.kafka, mirror, messages).join()
    code, said = ended(scene, "--topic", mirror, "--group", mirror)
    assert code == 1
    assert f"this store is rated from topic {scene.topic} of cluster " in said
    assert f"and this is topic {mirror} of cluster " in said
    scene.topic = mirror
    accepting = scene.start("--accept-topic")
    check_charges(scene, messages)
    accepting.stop()
    later = scene.start()
    wait_until(lambda: later.is_at_work, 60, "it works")
    assert later.stop() == 0


def test_a_topic_of_something_else_leaves_no_row(
    scene: WorkerScene, evening: tuple[Path, list[bytes]]
) -> None:
    other = make_topic(scene.kafka, PARTITIONS)
    lines = [b'{"level": "info", "said": "%d"}' % number for number in range(4_000)]
    send(scene.kafka, other, packed_log(lines, PARTITIONS, Random(11), sizes=[1, 20])).join()
    code, said = ended(scene, "--topic", other, "--group", other)
    assert code == 1
    assert re.search(
        r"of the first [\d,]+ records of usage-\w+/\d are malformed \(usage-\w+/\d@\S+: .+\), so this is "
        "hardly a topic of usage records; nothing of this batch was stored",
        said,
    )
    with open_store(scene.store, create=False) as store:
        assert (store.last_seq("suspense"), store.positions(), store.origin()) == (0, {}, None)
    messages = packed_log(evening[1][:200], PARTITIONS, Random(9), sizes=[1])
    send(scene.kafka, scene.topic, messages).join()
    assert scene.start().is_running
    check_charges(scene, messages)


def test_a_topic_that_is_nearly_all_malformed_is_rated_where_that_is_accepted(
    scene: WorkerScene,
) -> None:
    lines = [b"no usage %d" % number for number in range(200)]
    send(scene.kafka, scene.topic, packed_log(lines, PARTITIONS, Random(11), sizes=[1])).join()
    scene.start("--accept-malformed")
    wait_until(lambda: scene.records() == 200, 60, "commits")
