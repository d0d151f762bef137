"""A real Apache Kafka for tests: one node on free ports, its data in a temporary folder.

Its jars come from Maven once and stay in the user's cache folder. RATECAST_TEST_KAFKA names a broker
to use instead.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from patience import PATIENCE_S
from services.keeper import die_with_parent, keep, run_pid

from tariffs.jit import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

POM = Path(__file__).with_name("kafka-pom.xml")
JAVA_PACKAGE = "openjdk-17-jre-headless"
JAVA_MIN = 17
START_S_MAX = PATIENCE_S
STARTED = b"Kafka Server started"
BROKER_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}{listeners}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}{advertised}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT{protocols}
log.dirs={folder}/log
auto.create.topics.enable=false
num.partitions=4
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=2
background.threads=2
log.cleaner.dedupe.buffer.size=16777216
log.cleaner.backoff.ms=500
log.index.size.max.bytes=1048576
log.retention.check.interval.ms=1000
message.max.bytes=8388608
replica.fetch.max.bytes=8388608
"""
LOG_PROPERTIES = """\
status=ERROR
rootLogger.level=WARN
rootLogger.appenderRefs=console
rootLogger.appenderRef.console.ref=CONSOLE
appender.console.type=Console
appender.console.name=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d %p %m (%c{1})%n
logger.server.name=kafka.server.KafkaRaftServer
logger.server.level=INFO
"""


class ServiceMissing(Exception):  # noqa: N818
    """A server that tests need cannot be had; the text says in one line how to mend it."""


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time through."""
    with path.open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def found_java() -> str:
    """The program `java`. Raises: ServiceMissing."""
    java = shutil.which("java")
    if java is None:
        raise ServiceMissing(f"Kafka needs Java: install Debian's package {JAVA_PACKAGE}")
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA_MIN:
        raise ServiceMissing(
            f"Kafka needs Java {JAVA_MIN} or newer and {java} is not: "
            f"install Debian's package {JAVA_PACKAGE}"
        )
    return java


def kafka_jars() -> Path:
    """The folder of the broker's jars, fetched where they are not there. Raises: ServiceMissing."""
    digest = hashlib.blake2b(POM.read_bytes(), digest_size=6).hexdigest()
    jars = cache_folder() / f"kafka-{digest}"
    with locked(jars.with_suffix(".lock")):
        if not jars.is_dir():
            fetch_jars(jars)
    return jars


def fetch_jars(jars: Path) -> None:
    """Let Maven fetch the jars; the folder is there only once it is whole."""
    maven = shutil.which("mvn")
    if maven is None:
        raise ServiceMissing("Kafka's jars come from Maven: install Debian's package maven")
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        done = subprocess.run(
            [
                *(maven, "-B", "-q", "-f", str(POM), "dependency:copy-dependencies"),
                *("-DincludeScope=runtime", f"-DoutputDirectory={folder}/jars"),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            mistakes = [line for line in done.stdout.splitlines() if "ERROR" in line]
            said = mistakes[0] if mistakes else "no reason given"
            raise ServiceMissing(f"Maven (Debian's package maven) got no Kafka jars: {said}")
        Path(folder, "jars").rename(jars)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@dataclass(frozen=True, slots=True)
class Listener:
    """Another way into a broker.

    port: where it listens. said_port, said_host: where clients are told that it is, such as a
    proxy's. protocol: as Kafka names it, such as SASL_SSL.
    """

    name: str
    port: int
    said_port: int
    said_host: str = "127.0.0.1"
    protocol: str = "PLAINTEXT"


class Kafka:
    """One broker of a test's own, which may be killed and started again on the same data.

    folder: a new one, for all that it writes. settings: of server.properties, beside the usual.
    listeners: beside the plain one of `address`. users: SCRAM credentials that it begins with.
    As a context it is started and stopped.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        listeners: Sequence[Listener] = (),
        users: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self._java, self._jars = found_java(), kafka_jars()
        self._broker: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        port, controller = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        lines = [f"{name}={setting}\n" for name, setting in (settings or {}).items()]
        properties = BROKER_PROPERTIES.format(
            folder=folder,
            port=port,
            controller=controller,
            listeners="".join(f",{each.name}://127.0.0.1:{each.port}" for each in listeners),
            advertised="".join(
                f",{each.name}://{each.said_host}:{each.said_port}" for each in listeners
            ),
            protocols="".join(f",{each.name}:{each.protocol}" for each in listeners),
        )
        (folder / "server.properties").write_text(properties + "".join(lines))
        (folder / "log4j2.properties").write_text(LOG_PROPERTIES)
        self._format(users)

    def _format(self, users: Sequence[str]) -> None:
        """Give the data folder the id of a new cluster, and its first users."""
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # With an equals sign, since an id may begin with a hyphen.
        tool = ("kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config")
        command = [*self._run_java(), *tool, f"{self.folder}/server.properties"]
        command += [part for user in users for part in ("--add-scram", user)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def _run_java(self) -> list[str]:
        return [
            *(self._java, "-Xms256m", "-Xmx768m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            f"-Dlog4j2.configurationFile=file:{self.folder}/log4j2.properties",
            *("-cp", f"{self._jars}/*"),
        ]

    @property
    def command(self) -> list[str]:
        """What runs the broker."""
        return [*self._run_java(), "kafka.Kafka", f"{self.folder}/server.properties"]

    @property
    def log(self) -> Path:
        """What the broker says."""
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        """The running broker's process id."""
        assert self._broker is not None
        return self._broker.pid

    def start(self) -> None:
        """Start it, and wait until it serves."""
        begins_at = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._broker = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - it only calls the kernel
            )
        self.wait_started(begins_at, self._broker)

    def wait_started(self, begins_at: int, process: subprocess.Popen[bytes] | None = None) -> None:
        """Wait for the broker's word, which comes after `begins_at` in its log."""
        give_up_s = time.monotonic() + START_S_MAX
        while STARTED not in self.log.read_bytes()[begins_at:]:
            is_over = process is not None and process.poll() is not None
            if is_over or time.monotonic() > give_up_s:
                said = self.log.read_text(errors="replace")[-2000:]
                raise AssertionError(f"Kafka did not start in {START_S_MAX} s:\n{said}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would end its process."""
        assert self._broker is not None
        self._broker.kill()
        self._broker.wait()

    def stop(self) -> None:
        """End it in good order, or after a while in any."""
        if self._broker is None:
            return
        self._broker.send_signal(signal.SIGTERM)
        try:
            self._broker.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def shared_kafka(run_folder: Path) -> str:
    """The address of the test run's broker, which is started for the first who asks.

    run_folder: one folder for all workers of the run. Raises: ServiceMissing.
    """
    if named := os.environ.get("RATECAST_TEST_KAFKA"):
        return named
    written = run_folder / "kafka-address"
    with locked(run_folder / "kafka.lock"):
        if not written.exists():
            # A folder of its own, since pytest keeps those of past runs, and a log may be large.
            broker = Kafka(Path(tempfile.mkdtemp(prefix="ratecast-kafka-")) / "broker")
            keep(broker.folder.parent, broker.command, broker.log, run_pid())
            broker.wait_started(0)
            written.write_text(broker.address)
    return written.read_text()


if __name__ == "__main__":
    # A broker to try things with: it prints its address and runs until Ctrl-C.
    with tempfile.TemporaryDirectory() as chosen, Kafka(Path(chosen) / "broker") as running:
        print(running.address, flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            sys.exit(0)
