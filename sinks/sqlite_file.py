"""An SQLite file as a billing store: knowing one, making one, and saying what went wrong with it."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Literal

from sinks import migrations
from sinks.store import (
    NotAStore,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APPLICATION_ID = 0x72617465  # "rate"; SQLite keeps it in the file's first page.
SQLITE_MIN = (3, 37, 0)  # STRICT tables; databases out of memory came one earlier.
PAGE_BYTES = 8192
CACHE_KIB = 65_536
BUSY_TIMEOUT_S = 10.0
# The log is folded into the file at this size rather than after every commit: 64 MiB.
CHECKPOINT_PAGES = 8192

Mode = Literal["ro", "rw", "rwc"]


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences; a broken constraint is left to the caller.

    Raises: StoreError.
    """
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        if not hasattr(error, "sqlite_errorcode"):  # The module's own: a mistake in this program.
            raise
        raise _store_error(path, error) from error


def _store_error(path: Path, error: sqlite3.Error) -> StoreError:
    """Say what an SQLite error means to whoever runs ratecast."""
    code = error.sqlite_errorcode & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(
            f"{path}: another program is writing to this store; try again once it is done"
        )
    if code == sqlite3.SQLITE_FULL:
        return StoreFull(
            f"{path}: there is no room left to write to; nothing of this batch was stored. "
            "Make room and start again: it goes on where it stopped"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreReadOnly(
            f"{path}: the store may only be read; allow writing to the file and its folder"
        )
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreReadOnly(
            f"{path}: the store cannot be opened; check that its folder exists, and that it and "
            "the file may be written"
        )
    if code == sqlite3.SQLITE_NOTADB:
        return NotAStore(f"{path}: this file is not a ratecast store; name another file")
    if code == sqlite3.SQLITE_CORRUPT:
        return NotAStore(f"{path}: the store is damaged ({error}); restore it from a copy")
    return StoreError(f"{path}: the store failed: {error} ({error.sqlite_errorname})")


def connect(path: Path, mode: Mode, *, immutable: bool = False) -> sqlite3.Connection:
    """Open a connection that begins no transaction by itself. Raises: sqlite3.Error."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}{'&immutable=1' if immutable else ''}",
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        check_same_thread=False,  # SqliteStore lets one thread at a time use a connection.
    )
    with _closed_on_error(connection):
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute("PRAGMA application_id").fetchone()  # Reads the file's head.
    return connection


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Leave no file open behind an error."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a store for reading. Raises: StoreError."""
    if not path.is_file():
        raise StoreMissing(f"{path}: there is no store here; name one that `rate` has written")
    with explained(path):
        try:
            connection = connect(path, "ro")
        except sqlite3.OperationalError:
            # SQLite wants a lock file beside the store even to read it. Where the folder forbids
            # that, no other program can be writing either, and it does without.
            if path.with_name(f"{path.name}-wal").exists():
                raise
            connection = connect(path, "ro", immutable=True)
        with _closed_on_error(connection):
            version = _schema_version(connection, path)
            if version == 0:
                raise NotAStore(f"{path}: this file is empty; name a store that `rate` has written")
            migrations.check_current(
                "sqlite", str(path), version, "`ratecast rate` brings it up to date"
            )
    return connection


def open_writer(path: Path) -> sqlite3.Connection:
    """Open a store for writing, making or migrating it as needed. Raises: StoreError."""
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old for a billing store; "
            f"use a Python built with {'.'.join(map(str, SQLITE_MIN))} or newer"
        )
    if path.is_dir():
        raise NotAStore(f"{path}: this is a folder; name a file in it")
    if not path.parent.is_dir():
        raise StoreMissing(f"{path}: the folder {path.parent} does not exist; make it first")
    with explained(path):
        connection = connect(path, "rwc")
        with _closed_on_error(connection):
            if _schema_version(connection, path) == 0:
                connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")  # A commit survives a power failure.
            connection.execute("PRAGMA secure_delete = FAST")  # Dropped state needs no zeroing.
            connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            _migrate(connection, path)
    return connection


def _schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Give the schema's version, 0 for an empty file. Raises: NotAStore, StoreNewer."""
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id == 0 and tables == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise NotAStore(f"{path}: this database is not a ratecast store; name another file")
    migrations.check_known("sqlite", str(path), version)
    return int(version)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date in one transaction, which also shows that writing is allowed."""

    def run(script: str) -> None:
        for statement in _statements(script):
            connection.execute(statement)

    def record(version: int) -> None:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {version}")

    connection.execute("BEGIN IMMEDIATE")
    try:
        migrations.migrate("sqlite", _schema_version(connection, path), run, record)
        connection.execute("COMMIT")
    except BaseException:
        rolled_back(connection)
        raise


def _statements(script: str) -> Iterator[str]:
    """Cut a script at its statements' ends, since a transaction takes them one by one."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        if sqlite3.complete_statement("\n".join(lines)):
            yield "\n".join(lines)
            lines = []


def rolled_back(connection: sqlite3.Connection) -> None:
    """Undo the open transaction. Some errors have undone it already."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
