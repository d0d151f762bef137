"""A store of the last release is brought up to date, and its chain begins there."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg
import pytest
import stored
from psycopg.conninfo import conninfo_to_dict

from sinks import migrations
from sinks.sqlite_file import APPLICATION_ID
from sinks.store import StoreOutdated, open_store
from sinks.verification import verify

ROWS = Path(__file__).parents[1] / "vectors" / "stores"
OLDER_ROWS = 4 + 1 + 1  # charges, suspense, signals


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store as version 1 of the schema wrote it."""
    if request.param == "sqlite":
        connection = sqlite3.connect(tmp_path / "store.db")
        connection.executescript(migrations.scripts("sqlite")[0])
        connection.executescript((ROWS / "sqlite-0001.sql").read_text())
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        connection.close()
        return f"sqlite:{tmp_path / 'store.db'}"
    postgres_url: str = request.getfixturevalue("postgres_url")
    with psycopg.connect(postgres_url, options="-c search_path=ratecast") as server:
        server.execute(migrations.scripts("postgres")[0])  # type: ignore[call-overload]
        server.execute((ROWS / "postgres-0001.sql").read_text())  # type: ignore[call-overload]
    monkeypatch.setenv("PGPASSWORD", str(conninfo_to_dict(postgres_url).get("password", "")))
    return postgres_url


def edit(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:"))
        assert connection.execute(statement).rowcount == 1
        connection.commit()
        connection.close()
        return
    with psycopg.connect(url, options="-c search_path=ratecast") as server:
        assert server.execute(statement).rowcount == 1  # type: ignore[call-overload]


def test_its_chain_begins_with_what_it_holds(url: str) -> None:
    with pytest.raises(StoreOutdated, match="has schema version 1"):
        open_store(url, create=False)
    for _ in range(2):
        with open_store(url) as store:
            found = verify(store)
            assert (found.findings, found.rows, found.older) == ((), 0, OLDER_ROWS)
            assert [(head.partition, head.number) for head in found.heads] == [(-1, 1)]
    with open_store(url) as store:
        store.commit(stored.commit(10, charges=stored.charges(stored.charge(session="new"))))
        store.set_cursor("charges", 5)
        found = verify(store)
        assert (found.findings, found.rows, found.older) == ((), 1, OLDER_ROWS)
        loaded = store.load(0)
        assert loaded is not None
        assert (loaded.next_offset, loaded.state[0].payload) == (20, b"d1")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts SET balance = 99 WHERE account = 'bo'",
        "DELETE FROM state",
        "UPDATE sources SET taken_lines = 1",
        "UPDATE partitions SET next_offset = 5 WHERE partition = 3",
        "UPDATE books SET text = 'free'",
        "UPDATE orders SET total = 0",
        "UPDATE open_sessions SET watched_ms = 7",
        "UPDATE projections SET seq = 1",
        "DELETE FROM charges WHERE session = 't'",
    ],
)
def test_what_is_edited_after_it_began_is_seen(url: str, statement: str) -> None:
    with open_store(url) as store:
        edit(url, statement)
        assert verify(store).findings != ()
