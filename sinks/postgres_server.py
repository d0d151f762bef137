"""A PostgreSQL database as a billing store: reaching one, making one, and saying what went wrong."""

from __future__ import annotations

import re
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from importlib import resources
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import psycopg
from psycopg import conninfo

from sinks import migrations
from sinks.store import (
    NotAStore,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreReadOnly,
    StoreUnreachable,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SERVER_MIN = 140_000  # Functions with a body in SQL's own syntax.
SCHEMA = "ratecast"
LOCK_TIMEOUT_MS = 10_000
# A worker that was frozen in the midst of a commit holds nothing that others wait for, but its
# transaction keeps old rows from being cleaned up.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000
# libpq's own defaults notice a cut network after two hours. Each may be set in the URL.
CONNECTION = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
    "application_name": "ratecast",
}
LINKS_MAX = 8  # of each kind, by one store: what one program may take of a server
# As long as we take to notice that the server is gone, it takes to notice that of us: a claim or a
# lock of a connection that a dead network swallowed is free again then, and not after two hours.
ALIKE_ON_SERVER = {
    "tcp_keepalives_idle": "keepalives_idle",
    "tcp_keepalives_interval": "keepalives_interval",
    "tcp_keepalives_count": "keepalives_count",
    "tcp_user_timeout": "tcp_user_timeout",
}
SECRETS = ("password", "sslpassword")

# Asked of the catalogue itself, which shows what another session has just committed; functions such
# as to_regnamespace may answer from what this session remembers.
SCHEMA_FOUND = """
SELECT
    has_schema_privilege(pg_namespace.oid, 'USAGE'),
    (
        SELECT count(*) FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
        WHERE relname = 'store' AND relnamespace = pg_namespace.oid AND attname IN ('id', 'version')
    )
FROM pg_namespace WHERE nspname = 'ratecast'
"""

OFFSET_MOVED = "RC001"  # raised by the schema's commit_batch; its detail is where the store stands
ORIGIN_CHANGED = "RC002"  # likewise; the store is rated from another topic
UNIQUE_VIOLATION = "23505"
# What a server's system says of a disk, a quota or a limit that is used up; only for the first does
# PostgreSQL have an error of its own.
_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
_BUSY = {"55P03", "40001", "40P01", "57014", "53300", "53200"}
# What is said of a connection that will be refused again, and how to mend it; the first that fits.
_REFUSED = {
    "does not match host name": "reach it by a name that its certificate has, or give it another",
    "certificate verify failed": (
        "name the authority that signed its certificate as sslrootcert; if that is right, the "
        "certificate has expired, or this machine's clock is wrong"
    ),
    "root certificate file": "name the file with the authority's certificate as sslrootcert",
    "no encryption": "ask for TLS with sslmode=verify-full and sslrootcert",
    "does not support SSL": "turn its TLS on, or ask for none with sslmode=disable",
    "password": "check the user and the password",
    "no pg_hba.conf entry": "have its pg_hba.conf let this user in from here",
    "does not exist": "make it, or name another",
    "not permitted": "check the user's rights",
    "permission denied": "check the user's rights",
    "authentication": "check how its pg_hba.conf asks this user who it is",
    "certificate": "check sslcert, sslkey and sslrootcert",
    "SSL": "check sslmode, sslcert and sslkey",
}
# A server that ends in the midst of the first words of TLS; it may be back soon.
_BROKEN_OFF = ("SSL SYSCALL", "unexpected eof", "closed unexpectedly", "closed the connection")


def grants() -> str:
    """Give the statements that make the roles of a writer and a reader."""
    return (resources.files("sinks") / "schema" / "grants-postgres.sql").read_text("utf-8")


# --- where it is ----------------------------------------------------------------------------------


def shown_url(url: str) -> str:
    """Give a URL without its secrets, to be shown and to be opened with secrets from elsewhere."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return _masked(url)
    host, port = str(parts.pop("host", "")), str(parts.pop("port", ""))
    user, database = str(parts.pop("user", "")), str(parts.pop("dbname", ""))
    options = {name: value for name, value in parts.items() if name not in SECRETS}
    if re.search(r"[/,]", host + port):  # A socket's folder, or several servers.
        options = {"host": host, "port": port, **options} if port else {"host": host, **options}
        host = port = ""
    server = f"[{host}]" if ":" in host else quote(host)
    name = f"{quote(user, safe='')}@" if user else ""
    shown = f"postgresql://{name}{server}{f':{port}' if port else ''}/{quote(database, safe='')}"
    return f"{shown}?{urlencode(options, safe='/,', quote_via=quote)}" if options else shown


def _masked(url: str) -> str:
    """Take what may be a secret out of a URL that cannot be understood."""
    masked = re.sub(r"(?<=://)([^:@/]*):.*@", r"\1@", url)
    return re.sub(r"(?i)(password=)[^&\s]*", r"\1...", masked)


def _parameters(url: str) -> dict[str, str]:
    """Give what libpq connects with. Raises: StoreError."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # libpq's own sentence may quote a password.
        raise StoreError(
            f"{_masked(url)}: this is no URL of a PostgreSQL database; write "
            "postgresql://user@host:port/database?option=value, and a password's special characters "
            "as %40 for @, %2F for /, %3A for :, %25 for %"
        ) from None
    return CONNECTION | {name: str(value) for name, value in given.items()}


# --- what went wrong ------------------------------------------------------------------------------


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn PostgreSQL's errors into sentences; those that a commit answers itself are left to it.

    place: the database's URL without secrets. Raises: StoreError.
    """
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate in (UNIQUE_VIOLATION, OFFSET_MOVED, ORIGIN_CHANGED):
            raise
        raise _store_error(place, error) from error


def _store_error(place: str, error: psycopg.Error) -> StoreError:
    """Say what an error of PostgreSQL means to whoever runs ratecast."""
    state = error.sqlstate or ""
    said = (error.diag.message_primary or str(error)).strip()
    if state in _BUSY:
        return StoreBusy(f"{place}: the server is busy: {said}; try again")
    if state == "53100" or any(text in said for text in _FULL):
        return StoreFull(
            f"{place}: the server's disk is full ({said}); nothing of this batch was stored. "
            "Make room, and start again what has ended: it goes on where it stopped"
        )
    if state == "42501":
        return StoreReadOnly(
            f"{place}: this user may not do that: {said}; grants-postgres.sql has the rights of a "
            "writer and a reader"
        )
    if state in ("25006", "0A000") and "read-only" in said:
        return StoreReadOnly(
            f"{place}: the server may only be read: {said}; name the primary server"
        )
    if state.startswith("XX"):
        return NotAStore(f"{place}: the database is damaged ({said}); restore it from a copy")
    if state.startswith(("08", "57P", "25P03")) or isinstance(error, psycopg.OperationalError):
        return StoreUnreachable(
            f"{place}: the connection to the server broke: {said}. What was committed is stored, "
            "and nothing else; start again, and it goes on from there"
        )
    return StoreError(f"{place}: the store failed: {said} ({state or type(error).__name__})")


def _no_connection(place: str, error: psycopg.Error) -> StoreError:
    """Say why there is no connection. Only its text tells; an unknown one may mend itself."""
    said = str(error).strip().removeprefix("connection failed: ").splitlines()
    text = said[0] if said else type(error).__name__
    mends = [mend for word, mend in _REFUSED.items() if word in text]
    if mends and not any(word in text for word in _BROKEN_OFF):
        return StoreError(f"{place}: the server refuses the connection: {text}; {mends[0]}")
    return StoreUnreachable(f"{place}: the server does not answer: {text}; is it running?")


# --- connections ----------------------------------------------------------------------------------


class Link:
    """One connection, opened when it is needed and again after it broke.

    settings: of the session. prepare: what to do with a new connection first. One thread at a time
    uses it. Raises: StoreError.
    """

    def __init__(
        self,
        url: str,
        settings: Mapping[str, str],
        prepare: Callable[[psycopg.Connection], None] | None = None,
    ) -> None:
        self.place = shown_url(url)
        self._parameters = _parameters(url)
        alike = {name: self._parameters[ours] for name, ours in ALIKE_ON_SERVER.items()}
        self._settings = {"search_path": SCHEMA, "timezone": "UTC", **alike, **settings}
        self._prepare = prepare
        self._connection: psycopg.Connection | None = None
        self._lock = Lock()

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[psycopg.Connection]:
        """Run a transaction: committed at the end unless it was already, undone by an error."""
        with self._lock, explained(self.place):
            connection = self._begun(begin)
            try:
                yield connection
                if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                    connection.execute("COMMIT")
            except BaseException:
                self._undo(connection)
                raise

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _begun(self, begin: str) -> psycopg.Connection:
        """Begin a transaction, on a new connection where the old one turns out to be dead."""
        if self._connection is not None:
            try:
                self._connection.execute(begin)
            except psycopg.OperationalError:
                self._connection.close()
            else:
                return self._connection
        self._connection = self._connected()
        self._connection.execute(begin)
        return self._connection

    def _connected(self) -> psycopg.Connection:
        parameters = {**self._parameters, "client_encoding": "utf8"}
        try:
            connection = psycopg.connect(**parameters, autocommit=True, prepare_threshold=None)  # type: ignore[arg-type]
        except psycopg.Error as error:
            raise _no_connection(self.place, error) from error
        try:
            calls = ", ".join(["set_config(%s, %s, false)"] * len(self._settings))
            values = [part for setting in self._settings.items() for part in setting]
            connection.execute(f"SELECT {calls}", values)
            if self._prepare is not None:
                self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _undo(self, connection: psycopg.Connection) -> None:
        """Undo the open transaction; a connection that cannot do that is given up."""
        with suppress(psycopg.Error):
            connection.execute("ROLLBACK")
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
            self._connection = None


class Links:
    """Connections that are alike: as many as threads use at once, but no more than LINKS_MAX.

    new: makes one, which opens it when it is needed. Raises: StoreError.
    """

    def __init__(self, new: Callable[[], Link]) -> None:
        self._new = new
        first = new()
        self.place = first.place
        self._idle = deque([first])  # whose ends are taken and given by one thread at a time
        self._room = BoundedSemaphore(LINKS_MAX)
        self._closed = False

    @contextmanager
    def transaction(self, begin: str = "BEGIN") -> Iterator[psycopg.Connection]:
        """Run a transaction as `Link.transaction` does, on the connection last used if it is free."""
        with self._room:
            try:
                link = self._idle.pop()
            except IndexError:
                link = self._new()
            try:
                with link.transaction(begin) as connection:
                    yield connection
            finally:
                self._idle.append(link)
                if self._closed:
                    self.close()

    def close(self) -> None:
        """Let go of the connections; of those in use, once they are not."""
        self._closed = True
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


def open_reader(url: str) -> Links:
    """Open a store for reading. Raises: StoreError."""
    settings = {"default_transaction_read_only": "on", "lock_timeout": str(LOCK_TIMEOUT_MS)}
    links = Links(partial(Link, url, settings))
    with _closed_on_error(links), links.transaction() as connection:
        version = _schema_version(connection, links.place)
        if version is None:
            raise StoreMissing(
                f"{links.place}: there is no store here; name a database that `rate` has written to"
            )
        migrations.check_current(
            "postgres", links.place, version, "`ratecast prepare` as its owner brings it up to date"
        )
    return links


def open_writer(url: str, prepare: Callable[[psycopg.Connection], None]) -> Links:
    """Open a store for writing, making or migrating it as needed. Raises: StoreError."""
    _migrate(url)
    settings = {
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
    }
    links = Links(partial(Link, url, settings, prepare))
    with _closed_on_error(links), links.transaction():
        pass
    return links


@contextmanager
def _closed_on_error(link: Link | Links) -> Iterator[None]:
    """Leave no connection open behind an error."""
    try:
        yield
    except BaseException:
        link.close()
        raise


def _migrate(url: str) -> None:
    """Bring the schema up to date in one transaction, and see that this user may write."""
    link = Link(url, {"lock_timeout": str(LOCK_TIMEOUT_MS)})
    with _closed_on_error(link), link.transaction() as connection:
        version = _schema_version(connection, link.place)
        if version is None or version < len(migrations.scripts("postgres")):
            # Of several that start at once, one does it and the others see it done.
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('ratecast'), 0)")
            migrations.migrate(
                "postgres",
                _schema_version(connection, link.place) or 0,
                connection.execute,
                lambda newest: connection.execute(
                    "UPDATE ratecast.store SET version = %s", (newest,)
                ),
            )
        may = connection.execute(
            "SELECT has_table_privilege('ratecast.projections', 'UPDATE'),"
            " current_setting('transaction_read_only')"
        ).fetchone()
    link.close()
    if may != (True, "off"):
        raise StoreReadOnly(
            f"{link.place}: this user may only read the store; use one that has the role "
            "ratecast_writer, and the primary server"
        )


def _schema_version(connection: psycopg.Connection, place: str) -> int | None:
    """Give the schema's version, None where there is no store. Raises: NotAStore, StoreNewer."""
    if connection.info.server_version < SERVER_MIN:
        raise StoreError(
            f"{place}: PostgreSQL {connection.info.server_version // 10_000} is too old for a "
            f"billing store; use {SERVER_MIN // 10_000} or newer"
        )
    found = connection.execute(SCHEMA_FOUND).fetchone()
    if found is None:
        return None
    usable, columns = found
    if not usable:
        raise StoreReadOnly(
            f"{place}: this user may not read the store; grants-postgres.sql has the rights of a "
            "writer and a reader"
        )
    if columns != 2:
        raise NotAStore(
            f"{place}: the schema 'ratecast' in this database is not a ratecast store; name another"
        )
    row = connection.execute("SELECT version FROM ratecast.store").fetchone()
    if row is None:
        raise NotAStore(f"{place}: the store's own row is gone; restore it from a copy")
    migrations.check_known("postgres", place, row[0])
    return int(row[0])
