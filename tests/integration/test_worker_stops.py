"""A worker whose store, group or loop stands still says so, rings the right alert, and ends or goes on.

The limits are shortened in the worker's process, so that what takes minutes shows in seconds.
"""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Thread
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psycopg
import pytest
import worker_runs
import yaml
from prometheus_client.parser import text_string_to_metric_families
from services.kafka import free_ports
from services.postgres import PostgresServer, fresh_database
from services.prometheus import failed_rule_tests
from services.small_disk import SmallDisk
from worker_runs import (
    WorkerScene,
    expected_facts,
    make_topic,
    packed_log,
    send,
    simulated_lines,
    stored_facts,
    topic_messages,
    wait_until,
)

from tariffs.load import load_books

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker_runs import Packed

ALERTS = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
PARTITIONS = 2
SCRAPE_EVERY_S = 5
RINGS_WITHIN_S = 120
STORE_REFUSES = "RatecastStoreRefuses"


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    """A simulated evening: its book, and its lines."""
    return simulated_lines(tmp_path_factory.mktemp("evening"), households=40, seed=7)


def shortened(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """Have workers that are started from now on run with other constants of `consumption`."""
    changes = "".join(f"consumption.{name} = {limit}; " for name, limit in limits.items())
    script = f"from rating.runtime import cli, consumption; {changes}cli.main()"
    monkeypatch.setattr(worker_runs, "RATECAST", (*worker_runs.RATECAST[:2], script))


@contextmanager
def postgres_scene(
    kafka: str, folder: Path, evening: tuple[Path, list[bytes]]
) -> Iterator[tuple[WorkerScene, PostgresServer, list[Packed]]]:
    """A topic with half an evening, a database server of its own, and no worker."""
    topic = make_topic(kafka, PARTITIONS)
    messages = packed_log(evening[1], PARTITIONS, Random(2), sizes=[1, 1, 20])
    send(kafka, topic, messages[: len(messages) // 2]).join()
    with (
        PostgresServer() as database,
        fresh_database(database.url()) as url,
        WorkerScene(folder, kafka, topic, url, [evening[0]]) as scene,
    ):
        yield scene, database, messages


def check_charges(scene: WorkerScene, messages: list[Packed]) -> None:
    """Wait for the workers to come to the end, and compare what they came to."""
    books = load_books([str(book) for book in scene.books], strict=False)
    expected = expected_facts(books, topic_messages(scene.kafka, scene.topic), messages)
    scene.wait_rated(expected.next_offsets)
    assert stored_facts(scene.store, PARTITIONS).differences(expected) == []


def freeze_sessions(database: PostgresServer) -> list[int]:
    """Stop the server's processes that serve a client, so that no call is ever answered."""
    with psycopg.connect(database.url()) as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = 'ratecast'"
        ).fetchall()
    for (pid,) in rows:
        os.kill(pid, signal.SIGSTOP)
    return [pid for (pid,) in rows]


def thaw(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


# --- it goes on, or it ends -------------------------------------------------------------------------


def test_a_lock_longer_than_the_group_waits_freezes_no_worker(
    kafka_address: str,
    tmp_path: Path,
    evening: tuple[Path, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lock on the state, met while partitions are loaded, where calls once waited without end.

    The client left its group meanwhile, and the worker stood there for ever after.
    """
    shortened(monkeypatch, IDLE_S_MIN=15)
    with postgres_scene(kafka_address, tmp_path, evening) as (scene, _, messages):
        scene.start()
        wait_until(lambda: scene.records() > 0, 240, "commits")
        scene.workers[0].stop()
        with psycopg.connect(scene.store) as connection:
            connection.execute("LOCK TABLE ratecast.state IN ACCESS EXCLUSIVE MODE")
            port = free_ports(1)[0]
            worker = scene.start("--metrics", f"127.0.0.1:{port}", "--store-patience", "3")
            wait_until(lambda: not worker.is_running, 180, "it ends")
            assert worker.process.returncode == 1
            assert "server is busy" in worker.last_line()
            waiting = scene.start("--metrics", f"127.0.0.1:{port}", "--store-patience", "60")
            wait_until(lambda: "the store refuses: " in asked(port, "/readyz"), 60, "it says so")
            assert waiting.is_running
            connection.rollback()
        wait_until(lambda: asked(port, "/readyz") == "ok\n", 30, "it is ready again")
        send(kafka_address, scene.topic, messages[len(messages) // 2 :]).join()
        check_charges(scene, messages)
        assert waiting.stop() == 0


def test_a_worker_whose_call_never_comes_back_ends(
    kafka_address: str,
    tmp_path: Path,
    evening: tuple[Path, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shortened(monkeypatch, STILL_S_MAX=30, LEAVE_S_MAX=1)
    with postgres_scene(kafka_address, tmp_path, evening) as (scene, database, messages):
        worker = scene.start("--store-patience", "1")
        wait_until(lambda: scene.records() > 0, 240, "commits")
        frozen = freeze_sessions(database)
        send(kafka_address, scene.topic, messages[len(messages) // 2 :]).join()
        wait_until(lambda: not worker.is_running, 180, "it ends")
        thaw(frozen)
        assert worker.process.returncode == 1
        assert re.match(
            r"Error: partition \d has stood still for \d+ s in a call to the store, which never "
            "came back; start the worker again",
            worker.last_line(),
        )
        assert scene.start().is_running
        check_charges(scene, messages)


def test_a_worker_that_its_group_dropped_says_so_and_ends(
    kafka_address: str,
    tmp_path: Path,
    evening: tuple[Path, list[bytes]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a lock of 345 s came to: idle for too long, out of the group, and never back in it."""
    limits = {"IDLE_S_MIN": 30, "UNASSIGNED_S_MAX": 30, "STILL_S_MAX": 1000, "LEAVE_S_MAX": 1}
    shortened(monkeypatch, **limits)
    with postgres_scene(kafka_address, tmp_path, evening) as (scene, database, messages):
        worker = scene.start("--store-patience", "1")
        wait_until(lambda: scene.records() > 0, 240, "commits")
        frozen = freeze_sessions(database)
        # More than a batch, so that the next one waits for the commit and nothing is fetched.
        send(kafka_address, scene.topic, messages[len(messages) // 2 :]).join()
        wait_until(lambda: not worker.is_running, 180, "it ends")
        thaw(frozen)
        assert worker.process.returncode == 1
        assert "and so has dropped it; start it again" in worker.last_line()
        scene.start()
        check_charges(scene, messages)


# --- and the right alert rings ------------------------------------------------------------------------


def asked(port: int, path: str) -> str:
    """What a worker answers; "" where none does."""
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answered:
            return str(answered.read().decode())
    except HTTPError as error:
        return error.read().decode()
    except (URLError, OSError):
        return ""


@dataclass
class Scraped:
    """A worker's metrics as Prometheus would have them: each series, one value a scrape."""

    port: int
    looks: int = 0
    series: dict[str, list[str]] = field(default_factory=dict)

    def scrape(self) -> None:
        """Look once."""
        text = asked(self.port, "/metrics")
        found = {'up{job="ratecast",instance="worker-0"}': "1" if text else "0"}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name.startswith("ratecast_"):
                    labels = {**sample.labels, "job": "ratecast", "instance": "worker-0"}
                    said = ",".join(f'{name}="{value}"' for name, value in labels.items())
                    found[f"{sample.name}{{{said}}}"] = f"{sample.value:.3f}"
        for name in found.keys() | self.series.keys():
            before = self.series.setdefault(name, ["_"] * self.looks)
            gone = "stale" if before and before[-1] not in ("_", "stale") else "_"
            before.append(found.get(name, gone))
        self.looks += 1

    def store_waiting_s(self) -> float:
        """What the gauge of the alert said last."""
        values = [
            float(values[-1])
            for name, values in self.series.items()
            if name.startswith("ratecast_store_waiting_seconds")
            and values[-1] not in ("_", "stale")
        ]
        return max(values, default=0.0)


@dataclass
class Stop:
    """One worker whose store is going to stop."""

    scene: WorkerScene
    messages: list[Packed]
    port: int = field(default_factory=lambda: free_ports(1)[0])

    def begin(self) -> None:
        """Have it rate half the evening."""
        self.scene.start("--metrics", f"127.0.0.1:{self.port}")
        wait_until(lambda: self.scene.records() > 0, 240, "commits")

    def watch(self) -> tuple[Scraped, int]:
        """Scrape as Prometheus does until the gauge is past the alert's bound.

        Returns: what was scraped, and the look that was the first after the stop.
        """
        scraped = Scraped(self.port)
        scraped.scrape()
        wait_until(lambda: "the store" in asked(self.port, "/readyz"), 60, "it is not ready")
        for _ in range(RINGS_WITHIN_S // SCRAPE_EVERY_S):
            if scraped.store_waiting_s() > 30:
                break
            time.sleep(SCRAPE_EVERY_S)
            scraped.scrape()
        return scraped, 1


def expected_alert(name: str, labels: dict[str, str], summary: str) -> dict[str, object]:
    """How promtool wants to be told what rings."""
    runbook = f"docs/operations.md#{name.lower()}"
    return {
        "exp_labels": {"severity": "page", **labels},
        "exp_annotations": {"summary": summary, "runbook": runbook},
    }


def wrong_alerts(
    folder: Path, scraped: Scraped, stopped_look: int, rings: str, alert: dict[str, object]
) -> str:
    """What promtool says unless this alert, quiet before the stop, rings within two minutes of it."""
    before_s = (stopped_look - 1) * SCRAPE_EVERY_S
    after_s = min((scraped.looks - 1) * SCRAPE_EVERY_S + 15, before_s + RINGS_WITHIN_S)
    rules = [
        rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
    ]
    checks: list[dict[str, object]] = [
        {"eval_time": f"{before_s}s", "alertname": rule["alert"]} for rule in rules
    ]
    checks.append({"eval_time": f"{after_s}s", "alertname": rings, "exp_alerts": [alert]})
    document = {
        "rule_files": [str(ALERTS)],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": f"{SCRAPE_EVERY_S}s",
                "input_series": [
                    {"series": name, "values": " ".join(values)}
                    for name, values in scraped.series.items()
                ],
                "alert_rule_test": checks,
            }
        ],
    }
    path = folder / f"{rings}.yaml"
    path.write_text(yaml.safe_dump(document))
    return failed_rule_tests(path)


@contextmanager
def three_stops(
    kafka: str, folder: Path, evening: tuple[Path, list[bytes]]
) -> Iterator[dict[str, Stop]]:
    """A worker each on a store that another program locks, whose disk is full, and that is down."""
    with ExitStack() as parts:

        def stop(name: str, store: str) -> Stop:
            (folder / name).mkdir(exist_ok=True)
            topic = make_topic(kafka, PARTITIONS)
            messages = packed_log(evening[1], PARTITIONS, Random(2), sizes=[20])
            send(kafka, topic, messages[: len(messages) // 2]).join()
            made = WorkerScene(folder / name, kafka, topic, store, [evening[0]])
            return Stop(parts.enter_context(made), messages)

        disk_folder = folder / "disk"
        disk_folder.mkdir()
        disk = parts.enter_context(SmallDisk(disk_folder, 64 * 2**20))
        database = parts.enter_context(PostgresServer())
        url = parts.enter_context(fresh_database(database.url()))
        stops = {
            "StoreBusy": stop("locked", str(folder / "locked.db")),
            "StoreFull": stop("full", str(disk_folder / "store.db")),
            "StoreUnreachable": stop("down", url),
        }
        for each in stops.values():
            each.begin()
        locker = parts.enter_context(sqlite3.connect(folder / "locked.db", isolation_level=None))
        locker.execute("BEGIN IMMEDIATE")
        disk.fill()
        database.kill()
        for each in stops.values():
            send(kafka, each.scene.topic, each.messages[len(each.messages) // 2 :]).join()
        yield stops
        locker.execute("ROLLBACK")
        disk.clear()
        database.start()
        for each in stops.values():
            each.scene.start()
            check_charges(each.scene, each.messages)


def test_a_store_that_is_locked_full_or_down_rings_within_two_minutes(
    kafka_address: str, tmp_path: Path, evening: tuple[Path, list[bytes]]
) -> None:
    """All three at a time, each scraped from a real worker; the real alerts say what rings."""
    found: dict[str, tuple[Scraped, int]] = {}
    with three_stops(kafka_address, tmp_path, evening) as stops:
        watching = [
            Thread(target=lambda name=name, stop=stop: found.update({name: stop.watch()}))
            for name, stop in stops.items()
        ]
        for thread in watching:
            thread.start()
        for thread in watching:
            thread.join()
    assert found.keys() == stops.keys()
    for error, (scraped, stopped_look) in found.items():
        summary = f"The billing store keeps a worker waiting: {error}"
        alert = expected_alert(STORE_REFUSES, {"error": error}, summary)
        assert wrong_alerts(tmp_path, scraped, stopped_look, STORE_REFUSES, alert) == ""
