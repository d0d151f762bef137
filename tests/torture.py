"""Faults at random moments, under load, until the charges differ: they must not.

Each log gets a topic, a database server and workers of its own, and a number of faults drawn from the
seed: workers killed, stopped in good order, frozen past their session and woken; the broker killed;
the database killed, and its disk filled; the wires from workers to database and broker cut, or
swallowing what is sent. When all of it is rated, everything that the store holds is compared with
what the core makes of the topic's records.

    python tests/torture.py --faults 40 --seed 1
    python tests/torture.py --kills 200
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from services.kafka import Kafka, Listener, free_ports  # noqa: E402
from services.postgres import PostgresServer, fresh_database  # noqa: E402
from services.proxy import CutProxy, through  # noqa: E402
from services.small_disk import MountRefused, SmallDisk, in_own_namespace  # noqa: E402
from worker_runs import (  # noqa: E402
    Facts,
    Worker,
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

    from worker_runs import Packed

PARTITIONS = 6
WORKERS = 3
FAULT_S_MAX = 6.0  # records are sent for about so long a fault; the rest follows at once
READY_S_MAX = 60.0
RATED_S_MAX = 180.0
SESSION_S = 1.5
OPTIONS = ("--session-timeout", str(SESSION_S), "--batch", "200", "--batch-wait", "0.03")
# Both ends of a dead connection give up after two seconds, so that some holes are longer than that.
IMPATIENT = "connect_timeout=2&tcp_user_timeout=2000&keepalives_idle=1&keepalives_interval=1"
DISK_BYTES = 192 * 2**20
ON_SMALL_DISK = {"max_wal_size": "16MB", "min_wal_size": "2MB"}
FAULTS = {
    "kill_worker": 8,
    "stop_worker": 1,
    "add_worker": 1,
    "freeze_worker": 1,
    "kill_broker": 1,
    "kill_database": 2,
    "cut_wire": 1,
    "swallow_to_database": 2,
    "swallow_to_broker": 1,
    "fill_disk": 2,
}


@dataclass(slots=True)
class Tortured:
    """One log under torture: its parts, and the chance that picks on them."""

    scene: WorkerScene
    broker: Kafka
    broker_wire: CutProxy
    database: PostgresServer
    wire: CutProxy
    chance: Random
    gave_up: list[Worker] = field(default_factory=list)

    def keep_running(self) -> None:
        """Start workers, as a supervisor would, until there are as many as there should be."""
        for worker in self.scene.workers:
            if not worker.is_running and worker.ended_itself and worker not in self.gave_up:
                self.gave_up.append(worker)
                print(f"       a worker gave up: {worker.last_line()}", flush=True)
        while sum(worker.is_running for worker in self.scene.workers) < WORKERS:
            self.scene.start()

    def worker(self) -> Worker:
        """One that is at work, at a random moment of it."""

        def at_work() -> list[Worker]:
            self.keep_running()
            return [worker for worker in self.scene.workers if worker.is_at_work]

        wait_until(lambda: bool(at_work()), READY_S_MAX, "a worker is at work")
        time.sleep(self.chance.random())
        return self.chance.choice(at_work() or self.scene.workers)

    # --- faults ---------------------------------------------------------------------------------

    def kill_worker(self) -> None:
        """SIGKILL."""
        self.worker().kill()

    def stop_worker(self) -> None:
        """SIGTERM: the others take over."""
        self.worker().stop()

    def add_worker(self) -> None:
        """One more joins, and the partitions are handed out anew."""
        self.worker()
        added = self.scene.start()
        wait_until(lambda: added.is_at_work or not added.is_running, READY_S_MAX, "it joins")

    def freeze_worker(self) -> None:
        """SIGSTOP until after its session, then SIGCONT."""
        worker = self.worker()
        worker.freeze()
        time.sleep(SESSION_S + 2 * self.chance.random())
        worker.thaw()

    def kill_broker(self) -> None:
        """SIGKILL, and a new start on the same data."""
        self.worker()
        self.broker.kill()
        self.broker.start()

    def kill_database(self) -> None:
        """SIGKILL, and a new start on the same data."""
        self.worker()
        self.database.kill()
        time.sleep(self.chance.random())
        self.database.start()

    def fill_disk(self) -> None:
        """No byte is left for the database for a while; its supervisor starts it when it ends."""
        disk = self.database.disk
        assert disk is not None
        self.worker()
        disk.fill()
        self.database.keep_running(1 + 2 * self.chance.random())
        disk.clear()
        self.database.wait_serving()

    def cut_wire(self) -> None:
        """No connection from workers to the database, for a while or a moment."""
        self.worker()
        self.wire.cut()
        time.sleep(self.chance.choice([0.01, 1.0]) * self.chance.random())
        self.wire.mend()

    def swallow_to_database(self) -> None:
        """Workers and database hear nothing of each other, for longer than they wait or not."""
        self._swallow(self.wire)

    def swallow_to_broker(self) -> None:
        """Workers and broker hear nothing of each other."""
        self._swallow(self.broker_wire)

    def _swallow(self, wire: CutProxy) -> None:
        """Swallow, and then pass on what is sent again, or break what is left of connections."""
        self.worker()
        wire.swallow()
        time.sleep(self.chance.choice([1.0, 4.0]) * (0.5 + self.chance.random()))
        if self.chance.random() < 0.5:
            wire.cut()
        wire.mend()

    def one_fault(self) -> str:
        """Draw a fault and do it. Returns its name."""
        kinds = {
            name: weight
            for name, weight in FAULTS.items()
            if name != "fill_disk" or self.database.disk is not None
        }
        (name,) = self.chance.choices(list(kinds), list(kinds.values()))
        getattr(self, name)()
        return name


@dataclass(slots=True)
class Torture:
    """What was done so far, and with what. disk_bytes: None where nothing may be mounted."""

    folder: Path
    broker: Kafka
    broker_wire: CutProxy
    seed: int
    disk_bytes: int | None
    done: Counter[str] = field(default_factory=Counter)
    logs: int = 0
    gave_up: int = 0
    started_s: float = field(default_factory=time.monotonic)

    @property
    def kills(self) -> int:
        """How many processes were killed."""
        return sum(count for name, count in self.done.items() if name.startswith("kill"))

    @property
    def elapsed_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self.started_s

    def torture_log(self, faults: int) -> None:
        """Torture one log. Raises: AssertionError where anything was lost, doubled or different."""
        self.logs += 1
        folder, seed = self.folder / str(self.logs), self.seed + self.logs - 1
        folder.mkdir()
        # Every other database is on a disk that keeps what it flushes, and so works as in earnest.
        disk_bytes = self.disk_bytes if self.logs % 2 else None
        where = "memory that can be filled" if disk_bytes else "the machine's disk"
        print(f"Log {self.logs}, --seed {seed}, the database in {where}", flush=True)
        chance = Random(seed)
        book, lines = simulated_lines(folder, households=150, seed=seed)
        messages = packed_log(lines, PARTITIONS, chance, sizes=[1, 1, 3, 20])
        topic = make_topic(self.broker.address, PARTITIONS)
        settings = ON_SMALL_DISK if disk_bytes else {}
        with ExitStack() as parts:
            database = parts.enter_context(
                PostgresServer(durable=True, settings=settings, disk_bytes=disk_bytes)
            )
            url = parts.enter_context(fresh_database(database.url()))
            wire = parts.enter_context(CutProxy(database.port))
            near = f"{through(wire, url)}?{IMPATIENT}"
            kafka = f"127.0.0.1:{self.broker_wire.port}"
            scene = parts.enter_context(WorkerScene(folder, kafka, topic, near, [book], OPTIONS))
            tortured = Tortured(scene, self.broker, self.broker_wire, database, wire, chance)
            self._do_faults(tortured, messages, faults)
            held = topic_messages(self.broker.address, topic)
            assert sum(map(len, held.values())) == len(messages), "the producer lost or doubled"
            expected = expected_facts(load_books([str(book)], strict=False), held, messages)
            scene.wait_rated(expected.next_offsets, RATED_S_MAX)
            self._compare(stored_facts(url, PARTITIONS), expected)
            self.gave_up += len(tortured.gave_up)

    def _do_faults(self, tortured: Tortured, messages: Sequence[Packed], faults: int) -> None:
        """Send messages, and do faults meanwhile; then all are sent, and workers are there."""
        hurry = threading.Event()
        topic, seconds = tortured.scene.topic, faults * FAULT_S_MAX
        sending = send(self.broker.address, topic, messages, seconds, hurry)
        for number in range(1, faults + 1):
            name = tortured.one_fault()
            self.done[name] += 1
            print(
                f"  {number:>3} of {faults}  {named(name):<20} "
                f"{self.kills:>4} kills, {self.elapsed_s:>5.0f} s",
                flush=True,
            )
        hurry.set()
        sending.join()
        tortured.keep_running()

    def _compare(self, stored: Facts, expected: Facts) -> None:
        """Everything in the store against what the core alone makes of the topic."""
        assert stored.differences(expected) == [], stored.differences(expected)
        assert stored.digest() == expected.digest()
        print(
            f"  {stored.counts['records']:,} records, {stored.charges.height:,} charges: "
            f"equal, hash {stored.digest()}",
            flush=True,
        )

    def report(self) -> str:
        """The report, as a table in Markdown."""
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
        rows = [f"| {named(name)} | {count} |" for name, count in self.done.most_common()]
        told = (
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, commit "
            f"{commit}, seed {self.seed}: {self.done.total()} faults on {self.logs} logs, "
            f"{self.kills} of them kills, in {self.elapsed_s:.0f} s. "
            f"Lost 0, doubled 0, different 0. Workers that gave up by themselves, as they may: "
            f"{self.gave_up}."
        )
        return "\n".join([told, "", "| fault | times |", "|---|---|", *rows])


def named(fault: str) -> str:
    """A kind of fault in words."""
    return fault.replace("_", " ")


def disk_bytes_here(folder: Path) -> int | None:
    """The size of a disk to fill; None, with a line that says so, where none can be mounted."""
    try:
        with SmallDisk(folder, DISK_BYTES):
            return DISK_BYTES
    except MountRefused as refused:
        print(f"Without 'fill disk': this machine mounts nothing for us ({refused.strerror})")
        return None


def main(arguments: Sequence[str] | None = None) -> None:
    """Torture logs until there were so many faults, or kills."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--faults", type=int, default=200, help="how many in all (200)")
    parser.add_argument("--kills", type=int, help="go on until so many of them were kills")
    parser.add_argument(
        "--faults-a-log", type=int, default=30, help="how many before comparing (30)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of all that is drawn (1)")
    chosen = parser.parse_args(arguments)
    in_own_namespace()
    with ExitStack() as parts:
        folder = Path(parts.enter_context(tempfile.TemporaryDirectory(prefix="ratecast-torture-")))
        mounted = folder / "disk"
        mounted.mkdir()
        (port,) = free_ports(1)
        wire = parts.enter_context(CutProxy(port))
        listener = Listener("WIRE", port, wire.port)
        broker = parts.enter_context(Kafka(folder / "broker", listeners=[listener]))
        torture = Torture(folder, broker, wire, chosen.seed, disk_bytes_here(mounted))
        if chosen.kills is not None:
            while torture.kills < chosen.kills:
                torture.torture_log(chosen.faults_a_log)
        else:
            while (left := chosen.faults - torture.done.total()) > 0:
                torture.torture_log(min(chosen.faults_a_log, left))
        print(f"\n{torture.report()}")


if __name__ == "__main__":
    main()
