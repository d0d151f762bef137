"""Faults at random moments, under load, until the charges differ: they must not.

Each log gets a topic and a database of its own, two workers, and a number of faults drawn from the
seed: workers killed, stopped in good order, frozen past their session and woken; the broker killed;
the database killed; the wire between workers and database cut. When all of it is rated, everything
that the store holds is compared with what the core makes of the topic's records.

    python tests/torture.py --faults 40 --seed 1
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from services.kafka import Kafka  # noqa: E402
from services.postgres import PostgresServer, fresh_database  # noqa: E402
from services.proxy import CutProxy, through  # noqa: E402
from worker_runs import (  # noqa: E402
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

from tariffs.load import load_books  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

PARTITIONS = 6
WORKERS = 2
FAULT_S = 4.0  # about what one fault and the recovery from it take
READY_S_MAX = 60.0
SESSION_S = 1.5
OPTIONS = ("--session-timeout", str(SESSION_S), "--batch", "200", "--batch-wait", "0.03")


@dataclass(slots=True)
class Tortured:
    """One log under torture: its parts, and the chance that picks on them."""

    scene: WorkerScene
    broker: Kafka
    database: PostgresServer
    wire: CutProxy
    chance: Random

    def start_worker(self) -> None:
        """Start a worker, and leave it a moment to come to work."""
        worker = self.scene.start()
        wait_until(
            lambda: "assigned partitions" in worker.log.read_text() or not worker.is_running,
            READY_S_MAX,
            "a worker joins",
        )
        time.sleep(self.chance.random())

    def running(self) -> list[Any]:
        """The workers that are there; where one gave up, its supervisor would start it again."""
        while sum(worker.is_running for worker in self.scene.workers) < WORKERS:
            self.start_worker()
        return [worker for worker in self.scene.workers if worker.is_running]

    # --- faults ---------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """SIGKILL."""
        self.chance.choice(self.running()).kill()

    def stop_worker(self) -> None:
        """SIGTERM: the other one takes over."""
        self.chance.choice(self.running()).stop()

    def add_worker(self) -> None:
        """A third worker joins, and the partitions are handed out anew."""
        self.running()
        self.start_worker()

    def freeze_worker(self) -> None:
        """SIGSTOP until after its session, then SIGCONT."""
        worker = self.chance.choice(self.running())
        worker.freeze()
        time.sleep(SESSION_S + 2 * self.chance.random())
        worker.thaw()

    def kill_broker(self) -> None:
        """SIGKILL, and a new start on the same data."""
        self.broker.kill()
        self.broker.start()

    def kill_database(self) -> None:
        """SIGKILL, and a new start on the same data."""
        self.database.kill()
        time.sleep(self.chance.random())
        self.database.start()

    def cut_wire(self) -> None:
        """No connection from workers to the database, for a while or a moment."""
        self.wire.cut()
        time.sleep(self.chance.choice([0.01, 1.0]) * self.chance.random())
        self.wire.mend()

    def one_fault(self) -> str:
        """Draw a fault and do it. Returns its name."""
        names = (
            *("kill_worker",) * 5,
            *("stop_worker", "add_worker", "freeze_worker", "kill_broker"),
            *("kill_database", "cut_wire", "cut_wire"),
        )
        name = self.chance.choice(names)
        self.running()
        getattr(self, name)()
        return name


def torture_one_log(
    folder: Path, broker: Kafka, database: PostgresServer, faults: int, seed: int
) -> tuple[Counter[str], str]:
    """Torture one log. Returns its faults by kind and the hash of its charges.

    Raises: AssertionError where anything was lost, doubled or different.
    """
    folder.mkdir()
    chance = Random(seed)
    book, lines = simulated_lines(folder, households=150, seed=seed)
    messages = packed_log(lines, PARTITIONS, chance, sizes=[1, 1, 3, 20])
    topic = make_topic(broker.address, PARTITIONS)
    done: Counter[str] = Counter()
    with fresh_database(database.url()) as url, CutProxy(database.port) as wire:
        scene = WorkerScene(folder, broker.address, topic, through(wire, url), [book], OPTIONS)
        with scene:
            tortured = Tortured(scene, broker, database, wire, chance)
            sending = send(broker.address, topic, messages, seconds=faults * FAULT_S)
            for _ in range(faults):
                name = tortured.one_fault()
                done[name] += 1
                print(f"  {sum(done.values()):>4} {name}", flush=True)
            sending.join()
            tortured.running()
            held = topic_messages(broker.address, topic)
            assert sum(map(len, held.values())) == len(messages), "the producer lost or doubled"
            expected = expected_facts(load_books([str(book)], strict=False), held, messages)
            scene.wait_rated(expected.next_offsets, 120)
            stored = stored_facts(url, PARTITIONS)
            assert stored.differences(expected) == [], stored.differences(expected)
            assert stored.digest() == expected.digest()
            print(
                f"  {stored.counts['records']:,} records, {stored.charges.height:,} charges: "
                f"equal, hash {stored.digest()}",
                flush=True,
            )
            return done, stored.digest()


def report(done: Counter[str], logs: int, seed: int, elapsed_s: float) -> str:
    """The report, as a table in Markdown."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    rows = [f"| {name.replace('_', ' ')} | {count} |" for name, count in sorted(done.items())]
    kills = sum(count for name, count in done.items() if name.startswith("kill"))
    faults = sum(done.values())
    told = f"Commit {commit}, seed {seed}: {faults} faults on {logs} logs, {kills} of them kills"
    told += f", in {elapsed_s:.0f} s. Lost 0, doubled 0, different 0."
    return "\n".join([told, "", "| fault | times |", "|---|---|", *rows])


def main(arguments: Sequence[str] | None = None) -> None:
    """Torture logs until there were so many faults."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=200, help="how many in all (200)")
    parser.add_argument(
        "--faults-a-log", type=int, default=20, help="how many before comparing (20)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    chosen = parser.parse_args(arguments)
    done: Counter[str] = Counter()
    logs = 0
    started_s = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="ratecast-torture-") as folder,
        Kafka(Path(folder) / "broker") as broker,
        PostgresServer(durable=True) as database,
    ):
        while sum(done.values()) < chosen.faults:
            seed = chosen.seed + logs
            print(f"Log {logs + 1}, --seed {seed}", flush=True)
            faults = min(chosen.faults_a_log, chosen.faults - sum(done.values()))
            done += torture_one_log(Path(folder) / str(logs), broker, database, faults, seed)[0]
            logs += 1
    print(report(done, logs, chosen.seed, time.monotonic() - started_s))


if __name__ == "__main__":
    main()
