"""Workers of the last release and of this one on a real Kafka and PostgreSQL, one after the other.

docs/production.md says how to roll: the old ones stop before the new ones start. And it says what
becomes of whoever lets them share a group all the same: the old one refuses what the new one wrote.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
from kafka import KafkaProducer
from releases import RELEASES, LastRelease
from test_upgrades import facts, rate_partition
from worker_runs import Worker, WorkerScene, make_topic, wait_until

from rating.chunks import pack, unpack
from rating.seals import opened, sealed
from rating.state import STATE_VERSION
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]  # an old release is compiled once
LAST = RELEASES[-1]
COMPILED_S_MAX = 800.0
RATED_S_MAX = 240.0


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> LastRelease:
    """The last release, its programs compiled: a worker that does so leaves its group meanwhile."""
    folder = tmp_path_factory.mktemp("old")
    LAST.put_sqlite(folder)
    command, environment = LAST.program()
    books = [word for book in LAST.book_files for word in ("--tariffs", str(book))]
    subprocess.run(
        [*command, "rate", *books, "--store", "new.db", "usage.ndjson"],
        cwd=folder,
        env=environment,
        check=True,
        capture_output=True,
        timeout=COMPILED_S_MAX,
    )
    return LAST


class Roll(WorkerScene):
    """The last release's database, and its topic made anew, to be sent on step by step."""

    def __init__(self, folder: Path, kafka: str, store: str) -> None:
        LAST.put_postgres(store)
        self.messages = LAST.topics()["usage"]
        topic = make_topic(kafka, len(self.messages))
        super().__init__(folder, kafka, topic, store, LAST.book_files)
        self._sent = dict.fromkeys(self.messages, 0)

    def send_up_to(self, share: float) -> dict[int, int]:
        """Send all messages up to a share of them. Returns where the partitions end then."""
        producer = KafkaProducer(bootstrap_servers=self.kafka, acks="all")
        for number, messages in self.messages.items():
            end = round(len(messages) * share)
            for key, value in messages[self._sent[number] : end]:
                producer.send(self.topic, value, key, partition=number)
            self._sent[number] = end
        producer.flush()
        producer.close()
        return dict(self._sent)

    def start_old(self, release: LastRelease) -> Worker:
        """Start a worker of the last release."""
        return self.start(program=release.program())

    def wait_rated_by_old(self, ends: dict[int, int]) -> None:
        """Wait until partitions are rated up to these offsets, in a store of the old schema."""
        statement = "SELECT partition, next_offset FROM ratecast.partitions"

        def is_rated() -> bool:
            with psycopg.connect(self.store) as connection:
                return dict(connection.execute(statement).fetchall()) == ends

        wait_until(is_rated, RATED_S_MAX, f"rated up to {ends}; the workers said:\n{self.said()}")

    def prepare(self) -> None:
        """Bring the schema up to date, as `ratecast prepare` does."""
        open_store(self.store).close()

    def check(self) -> None:
        """Compare what all workers came to with a store that was always new."""
        with (
            open_store(self.store, create=False) as rolled,
            open_store(str(self.folder / "fresh.db")) as fresh,
        ):
            for number, messages in self.messages.items():
                rate_partition(LAST, fresh, number, [value for _, value in messages])
            assert facts(rolled) == facts(fresh)


@pytest.fixture
def roll(kafka_address: str, postgres_url: str, tmp_path: Path) -> Iterator[Roll]:
    """A store and a topic of the last release, without workers."""
    scene = Roll(tmp_path, kafka_address, postgres_url)
    try:
        yield scene
    finally:
        scene.__exit__()


def test_old_workers_stop_and_new_ones_go_on(old: LastRelease, roll: Roll) -> None:
    ends = roll.send_up_to(0.8)
    first, second = roll.start_old(old), roll.start_old(old)
    roll.wait_rated_by_old(ends)
    assert (first.stop(), second.stop()) == (0, 0)
    roll.prepare()
    ends = roll.send_up_to(1)
    first, second = roll.start(), roll.start()
    roll.wait_rated(ends, RATED_S_MAX)
    assert (first.stop(), second.stop()) == (0, 0)
    roll.check()


def test_an_old_worker_that_is_left_running_ends_and_does_no_harm(
    old: LastRelease, roll: Roll
) -> None:
    """It does not look at the schema again, but the functions that it commits by are gone."""
    ends = roll.send_up_to(0.7)
    before = roll.start_old(old)
    roll.wait_rated_by_old(ends)
    roll.prepare()
    roll.send_up_to(0.85)
    wait_until(lambda: before.ended_itself, RATED_S_MAX, f"the old one ends:\n{roll.said()}")
    assert "commit_batch" in before.log.read_text()
    ends = roll.send_up_to(1)
    roll.start()
    roll.wait_rated(ends, RATED_S_MAX)
    roll.check()


def test_a_worker_refuses_the_state_of_a_newer_release(roll: Roll) -> None:
    with open_store(roll.store) as store:
        stored = store.load(0)
    assert stored is not None
    chunk = max(stored.state, key=lambda each: each.seq)
    newer = pack(unpack(opened(chunk).payload).parts, STATE_VERSION + 1, "9.8.7")
    newer = sealed(replace(chunk, payload=newer)).payload
    with psycopg.connect(roll.store) as connection:
        connection.execute(
            "UPDATE ratecast.state SET payload = %s WHERE (partition, name, seq) = (0, %s, %s)",
            (newer, chunk.name, chunk.seq),
        )
    worker = roll.start()
    assert worker.process.wait(RATED_S_MAX) == 1
    said = worker.log.read_text()
    assert "Start ratecast 9.8.7 or a newer one" in worker.last_line()
    assert "Traceback" not in said
