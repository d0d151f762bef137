"""The SQLite store as a file: what it says when the file is not what it should be."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import stored
from stored import NOON_MS

import sinks.sqlite_file
from sinks import migrations
from sinks.sqlite import SqliteStore
from sinks.sqlite_file import APPLICATION_ID
from sinks.store import (
    NotAStore,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreNewer,
    StoreOutdated,
    StoreReadOnly,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


# --- urls -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{}", "sqlite:{}", "sqlite://{}"])
def test_a_store_is_named_by_path_or_url(path: Path, form: str) -> None:
    with open_store(form.format(path)) as store:
        assert store.url == f"sqlite://{path}"
    assert path.is_file()


def test_a_path_may_be_relative_and_hold_odd_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("sqlite:a b?#%.db").close()
    assert (tmp_path / "a b?#%.db").is_file()
    open_store("C:here.db").close()
    assert (tmp_path / "C:here.db").is_file()


def test_an_sqlite_url_has_no_host() -> None:
    with pytest.raises(StoreError, match="has no host"):
        open_store("sqlite://host/store.db")


# --- files that are no stores ---------------------------------------------------------------------


def test_a_file_that_is_no_database_is_left_alone(path: Path) -> None:
    path.write_text("account,total\n" * 500)
    for create in (True, False):
        with pytest.raises(NotAStore, match="is not a ratecast store"):
            open_store(str(path), create=create)
    assert path.read_text() == "account,total\n" * 500


def test_another_programs_database_is_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE charges (id)")
    connection.close()
    before = path.read_bytes()
    for create in (True, False):
        with pytest.raises(NotAStore, match="is not a ratecast store"):
            open_store(str(path), create=create)
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store_but_is_not_read_as_one(path: Path) -> None:
    path.touch()
    with pytest.raises(NotAStore, match="is empty"):
        open_store(str(path), create=False)
    open_store(str(path)).close()
    open_store(str(path), create=False).close()


def test_a_folder_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(NotAStore, match="this is a folder"):
        open_store(str(tmp_path))
    with pytest.raises(StoreMissing, match="no store here"):
        open_store(str(tmp_path), create=False)


def test_a_store_in_a_folder_that_is_missing_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreMissing, match=r"folder .* does not exist; make it first"):
        open_store(str(tmp_path / "missing" / "store.db"))


def test_a_damaged_store_says_so(path: Path) -> None:
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit(charges=stored.many_charges(3_000)))
    content = bytearray(path.read_bytes())
    content[8192 * 20 : 8192 * 90] = b"\x5a" * (8192 * 70)
    path.write_bytes(content)
    with pytest.raises(NotAStore, match="damaged"), open_store(str(path), create=False) as store:
        store.charges_after(0, 10_000)


# --- versions -------------------------------------------------------------------------------------


def test_a_store_of_a_newer_ratecast_is_refused(path: Path) -> None:
    open_store(str(path)).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    for create in (True, False):
        with pytest.raises(StoreNewer, match="version 99, and this ratecast knows up to"):
            open_store(str(path), create=create)


def test_an_older_store_is_brought_up_to_date_by_a_writer_only(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
    scripts = [
        *migrations.scripts("sqlite"),
        "-- Two statements.\nCREATE TABLE a (b);\nINSERT INTO a\nVALUES (1);",
    ]
    monkeypatch.setattr(migrations, "scripts", lambda _engine: scripts)
    with pytest.raises(StoreOutdated, match="brings it up to date"):
        open_store(str(path), create=False)
    for _ in range(2):
        open_store(str(path)).close()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT b FROM a").fetchall() == [(1,)]
    assert connection.execute("PRAGMA user_version").fetchone() == (len(scripts),)
    connection.close()
    with open_store(str(path), create=False) as store:
        assert store.last_seq("charges") == 1


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(str(path)).close()
    scripts = [
        *migrations.scripts("sqlite"),
        "CREATE TABLE a (b);\nINSERT INTO nowhere VALUES (1);",
    ]
    with monkeypatch.context() as patched, pytest.raises(StoreError, match="nowhere"):
        patched.setattr(migrations, "scripts", lambda _engine: scripts)
        open_store(str(path))
    open_store(str(path), create=False).close()


# --- writers --------------------------------------------------------------------------------------


def test_a_second_writer_is_told_after_waiting(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks.sqlite_file, "BUSY_TIMEOUT_S", 0.05)
    with SqliteStore(str(path)) as store:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another program is writing") as caught:
            store.commit(stored.commit())
        assert caught.value.transient
        with pytest.raises(StoreBusy):
            open_store(str(path))
        other.execute("ROLLBACK")
        store.commit(stored.commit())
        other.close()


def test_readers_are_not_held_up_by_a_writer(path: Path) -> None:
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.execute("DELETE FROM charges")
        assert store.last_seq("charges") == 1
        other.execute("ROLLBACK")
        other.close()


def test_a_full_store_keeps_nothing_of_the_commit_and_goes_on_later(path: Path) -> None:
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
        writer = store._writer
        assert writer is not None
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages + 10}")
        large = stored.commit(10, charges=stored.many_charges(3_000))
        with pytest.raises(StoreFull, match="no room left"):
            store.commit(large)
        assert store.last_seq("charges") == 1
        writer.execute("PRAGMA max_page_count = 1000000")
        store.commit(large)
        assert store.last_seq("charges") == 3_001


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[2])
import stored
from sinks.store import StoreError, open_store

store = open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    store.commit(stored.commit(10, charges=stored.many_charges(3000)))
except StoreError as error:
    print(type(error).__name__, error)
"""


def test_a_disk_that_refuses_to_take_more_is_said_in_one_sentence(path: Path) -> None:
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
    tests = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path), str(tests)],
        capture_output=True,
        text=True,
        cwd=tests.parent,
        check=True,
    )
    assert run.stdout.startswith("StoreError") or run.stdout.startswith("StoreFull")
    assert str(path) in run.stdout
    with open_store(str(path), create=False) as store:
        assert store.last_seq("charges") == 1


# --- places that may only be read -----------------------------------------------------------------


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A store in a folder that nobody may write to, seen by a user who is not root."""
    folder = Path(tempfile.mkdtemp())
    with SqliteStore(str(folder / "store.db")) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
    (folder / "store.db").chmod(0o444)
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_may_only_be_read_holds_a_store_to_read(closed_folder: Path) -> None:
    with open_store(str(closed_folder / "store.db"), create=False) as store:
        assert store.last_seq("charges") == 1
        assert store.summary().charges["total"].sum() == 5_000_000


def test_writing_into_a_folder_that_may_only_be_read_is_refused(closed_folder: Path) -> None:
    for name in ("store.db", "new.db"):
        with pytest.raises(StoreReadOnly, match=r"may (only be read|be written)"):
            open_store(str(closed_folder / name))


# --- what people see with the sqlite3 shell -------------------------------------------------------


def test_the_views_show_times_dates_and_decimals(path: Path) -> None:
    row = stored.charge(start=NOON_MS + 123, gross=-1_234_567, unfunded=5, watched_ms=1_000)
    raw = {"reason": "malformed", "detail": "d", "time": 1, "raw": "é{".encode()}
    with SqliteStore(str(path)) as store:
        store.commit(
            stored.commit(
                charges=stored.charges(row),
                suspense=stored.suspense(raw),
                signals=stored.signals({"type": "order.accepted", "account": "a", "time": 0}),
                accounts=stored.accounts(stored.account("anna", -50_000)),
            )
        )
    connection = sqlite3.connect(path)
    connection.row_factory = sqlite3.Row
    charge = dict(connection.execute("SELECT * FROM charges_readable").fetchone())
    assert charge["charge_id"] == row["charge_id"]
    assert charge["start_at"] == "2026-03-06T11:00:00.123Z"
    assert charge["end_at"] == "2026-03-06T11:00:01.123Z"
    assert charge["slot_at"] == "2026-03-06T11:00:00.000Z"
    assert charge["local_date"] == "2026-03-06"
    assert (charge["gross"], charge["total"], charge["tax"]) == (
        "-1.234567",
        "-1.234567",
        "1.000000",
    )
    assert (charge["owed"], charge["owed_micros"]) == ("-1.234572", -1_234_572)
    suspended = dict(connection.execute("SELECT * FROM suspense_readable").fetchone())
    assert (suspended["time_at"], suspended["raw"]) == ("1970-01-01T00:00:00.001Z", "é{")
    signal = dict(connection.execute("SELECT * FROM signals_readable").fetchone())
    assert signal["time_at"] == "1970-01-01T00:00:00.000Z"
    balance = dict(connection.execute("SELECT * FROM balances").fetchone())
    assert (balance["balance"], balance["balance_micros"]) == ("-0.050000", -50_000)
    assert connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    connection.close()


def test_an_empty_batch_makes_no_rows(path: Path) -> None:
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit())
        assert store.load(0) is not None
        assert [store.last_seq(kind) for kind in ("charges", "suspense", "signals")] == [0, 0, 0]


def test_the_question_of_the_page_is_answered_with_its_decimals(path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text("utf-8")
    (question,) = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    with SqliteStore(str(path)) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge(gross=1_250_000))))
    connection = sqlite3.connect(path)
    assert connection.execute(question).fetchall() == [("SEK", 1.25, 1)]
    connection.close()


def test_the_page_for_people_names_every_table_view_and_column(path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "store.md").read_text("utf-8")
    internal = {"partitions", "sources", "state", "projections", "store", "chain", "origin"}
    open_store(str(path)).close()
    connection = sqlite3.connect(path)
    names = connection.execute("SELECT name, type FROM sqlite_schema WHERE type <> 'index'")
    missing = []
    for name, kind in names.fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        of_people = kind == "table" and name not in internal
        wanted = [name, *(columns if of_people else [])]
        missing += [f"{name}.{each}" for each in wanted if f"`{each}`" not in page]
    connection.close()
    assert [each for each in missing if not each.endswith(".seq")] == []
