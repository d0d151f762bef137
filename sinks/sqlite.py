"""The billing store in one SQLite file. Schema: sinks/schema; for people: docs/store.md."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import polars as pl

from rating.schemas import ACCOUNTS, ORDERS, SIGNALS, SUSPENSE, Origin, SourcePosition, StateChunk
from sinks import chain
from sinks.chain import BEFORE_FIRST, KINDS, Head, Link
from sinks.chained import LINK_COLUMNS, ChainedStore, Cursors
from sinks.pages import EVER_MS, NEVER_MS, SEQ, STORED_CHARGES, STORED_SESSIONS
from sinks.sqlite_claim import FileClaim
from sinks.sqlite_file import explained, open_reader, open_writer, rolled_back
from sinks.sqlite_queries import (
    ADVANCE,
    BEGIN_PARTITION,
    CHARGES_BY_TYPE,
    HEADS,
    IDS_TAKEN,
    LAWS,
    OF_ACCOUNT,
    ORPHANS,
    PAID,
    SIGNALS_BY_TYPE,
    STORED_ALREADY,
    SUSPENSE_BY_REASON,
    Totals,
    joined,
)
from sinks.store import (
    BookChanged,
    Cursor,
    Kind,
    LawInputs,
    OffsetMoved,
    OriginChanged,
    Position,
    StoredBook,
    StoredPartition,
    StoreReadOnly,
    Summary,
    origin_changed,
)
from sinks.taken_ids import IdsTaken, hold_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rating.schemas import BatchResult, Commit

# Fewer rows than these are sooner bound one by one than written as a database image.
IMAGE_ROWS_MIN = 2_000
KEYED = {"accounts", "orders"}  # Tables of what is so now; the others only grow.


def to_stored(frame: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Give a frame's columns as the tables hold them: integers, texts and blobs."""
    changes: list[pl.Expr] = []
    for name, dtype in schema.items():
        if name == "charge_id":
            changes.append(pl.col(name).str.replace_all("-", "", literal=True).str.decode("hex"))
        elif dtype in (pl.Date, pl.Boolean):
            changes.append(pl.col(name).to_physical().cast(pl.Int64))
    stored = frame.select(schema.names()).cast(schema).with_columns(changes)
    if "charge_id" in schema:
        assert (stored["charge_id"].bin.size() == 16).all(), "a charge_id is a UUID"
    return stored


def from_stored(rows: Sequence[tuple[Any, ...]], schema: pl.Schema) -> pl.DataFrame:
    """Give rows as the tables hold them in the types of their schema."""
    stored: dict[str, Any] = dict(schema)
    changes: list[pl.Expr] = []
    for name, dtype in schema.items():
        if name == "charge_id":
            stored[name] = pl.Binary
            digits = pl.col(name).bin.encode("hex").str
            parts = [
                digits.slice(at, size) for at, size in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))
            ]
            changes.append(pl.concat_str(parts, separator="-").alias(name))
        elif dtype in (pl.Date, pl.Boolean):
            stored[name] = pl.Int32
            changes.append(pl.col(name).cast(dtype))
    return pl.DataFrame(rows, schema=stored, orient="row").with_columns(changes)


def names_of(schema: Mapping[str, Any]) -> str:
    """List columns for a statement; `end` and `order` are words of SQL and need their quotes."""
    return ", ".join(f'"{name}"' for name in schema)


@dataclass(frozen=True, slots=True)
class Insertion:
    """Rows on their way into a table: as an image to attach, or one by one where that is None.

    It can run once.
    """

    table: str
    statement: str
    image: bytes | None
    rows: Iterable[tuple[Any, ...]]

    def attach(self, connection: sqlite3.Connection) -> None:
        """Make the image ready to select from, which must happen before the transaction."""
        if self.image is None:
            return
        attached = {name for _, name, _ in connection.execute("PRAGMA database_list")}
        if f"new_{self.table}" not in attached:
            connection.execute(f"ATTACH ':memory:' AS new_{self.table}")
        connection.deserialize(self.image, name=f"new_{self.table}")

    def run(self, connection: sqlite3.Connection) -> None:
        """Insert the rows within the open transaction."""
        if self.image is None:
            connection.executemany(self.statement, self.rows)
        else:
            connection.execute(self.statement)


def insertion(table: str, frame: pl.DataFrame, schema: pl.Schema) -> Insertion:
    """Prepare a frame's rows for a table. A row with the key of a stored one takes its place."""
    stored = to_stored(frame, schema)
    into = f"INSERT OR {'REPLACE' if table in KEYED else 'ABORT'} INTO {table} ({names_of(schema)})"
    image = None
    if stored.height >= IMAGE_ROWS_MIN:
        # Compiled code is loaded only by those who write much.
        from sinks.sqlite_image import TABLE, encode_image  # noqa: PLC0415

        image = encode_image(stored)
    if image is None:
        places = ", ".join("?" * len(schema))
        return Insertion(table, f"{into} VALUES ({places})", None, stored.iter_rows())
    columns = ", ".join(f"c{index}" for index in range(len(schema)))
    source = f"SELECT {columns} FROM new_{table}.{TABLE}"  # noqa: S608 - names of our own
    return Insertion(table, f"{into} {source}", image, ())


class SqliteStore(ChainedStore):
    """A billing store in the file `path`, made if it is missing unless create is False.

    Raises: StoreError. The contract is `sinks.store.BillingStore`.
    """

    SESSION_NUMBER = "rowid"

    def __init__(self, path: str, *, create: bool = True) -> None:
        self._path = Path(path)
        self._writer = open_writer(self._path) if create else None
        # Readers have their own connection, and so never see a transaction that is not committed.
        self._reader = open_reader(self._path)
        self._writer_lock = Lock()
        self._reader_lock = Lock()
        self._in_snapshot = False
        if self._writer is not None:
            self._begin_chain()

    @property
    def url(self) -> str:
        """What `open_store` takes to open it again."""
        return f"sqlite://{self._path.absolute()}"

    @property
    def store_id(self) -> str:
        """The file's own name, drawn when it was made."""
        with self._reading() as connection:
            return str(connection.execute("SELECT id FROM store").fetchone()[0])

    def close(self) -> None:
        """Close the file; its log is folded in where this was the last to use it."""
        with self._reader_lock, self._writer_lock:
            self._reader.close()
            if self._writer is not None:
                self._writer.close()

    def __enter__(self) -> Self:
        """Give the store itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read everything as of one moment for as long as the block runs, by one thread."""
        with self._reading():
            self._in_snapshot = True
            try:
                yield
            finally:
                self._in_snapshot = False

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """Read what is committed, all of it as of one moment."""
        if self._in_snapshot:
            with explained(self._path):
                yield self._reader
            return
        with self._reader_lock, explained(self._path):
            self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                rolled_back(self._reader)

    @contextmanager
    def _writing(self, insertions: Sequence[Insertion] = ()) -> Iterator[sqlite3.Connection]:
        """Run a transaction that can run these insertions: all of it is stored, or nothing."""
        if self._writer is None:
            raise StoreReadOnly(f"{self._path}: the store was opened for reading only")
        connection = self._writer
        with self._writer_lock, explained(self._path):
            for each in insertions:
                each.attach(connection)
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                rolled_back(connection)
                raise

    # --- rating ---------------------------------------------------------------------------------

    def load(self, partition: int) -> StoredPartition | None:
        """Read a partition as its last commit left it; None before the first."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT next_offset, clock_ms, counts, sessions_open"
                " FROM partitions WHERE partition = ?",
                (partition,),
            ).fetchone()
            if found is None:
                return None
            next_offset, clock_ms, counts, sessions_open = found
            chunks = connection.execute(
                "SELECT name, seq, payload FROM state WHERE partition = ? ORDER BY name, seq",
                (partition,),
            )
            state = tuple(StateChunk(*chunk) for chunk in chunks)
            positions = connection.execute(
                "SELECT name, head_bytes, head_digest, taken_bytes, taken_lines, taken_digest"
                " FROM sources WHERE partition = ? ORDER BY rowid",
                (partition,),
            )
            sources = tuple(SourcePosition(*position) for position in positions)
        return StoredPartition(
            partition, next_offset, clock_ms, json.loads(counts), sessions_open, state, sources
        )

    def commit(self, commit: Commit) -> BatchResult:
        """Store all of a batch, or nothing; a charge whose id is stored already is suspended.

        Returns: what was stored. Raises: OffsetMoved, OriginChanged, StoreBusy, StoreFull,
        StoreReadOnly.
        """
        result = commit.result
        while True:
            try:
                self._store(commit, result)
            except IdsTaken:
                result = hold_back(result, self._stored_ids(result.charges))
            else:
                return result

    def _store(self, commit: Commit, result: BatchResult) -> None:
        """Store a batch with what it came to. Raises: IdsTaken, and what `commit` raises."""
        # In the order of their index or key: neighbours share pages, and pages are what is written.
        charges = result.charges.sort("slot", "account", "start", "charge_id")
        insertions = [
            insertion("charges", charges, STORED_CHARGES),
            insertion("suspense", result.suspense, SUSPENSE),
            insertion("signals", result.signals, SIGNALS),
            insertion("accounts", result.accounts.sort("account"), ACCOUNTS),
            insertion("orders", result.orders.sort("account", "order"), ORDERS),
        ]
        facts, changes = chain.facts_of(result, charges), chain.changes_of(commit)
        rows = (charges.height, result.suspense.height, result.signals.height)
        try:
            with self._writing(insertions) as connection:
                _advance(connection, commit)
                if commit.origin is not None:
                    self._note_origin(connection, commit.origin, moves=commit.moves_origin)
                upto = _upto(connection, rows)
                first = _number(connection, "SELECT max(seq) FROM charges") + 1
                for each in insertions:
                    each.run(connection)
                if connection.execute(IDS_TAKEN, (first,)).fetchone()[0]:
                    raise IdsTaken
                _change_state(connection, commit)
                _add_link(connection, Link(commit.partition, 0, upto, rows, facts, changes, b""))
        except sqlite3.IntegrityError as error:
            if "charges." not in str(error):
                raise
            raise IdsTaken from error

    def origin(self) -> Origin | None:
        """Give the topic that the store is rated from; None where no commit told."""
        with self._reading() as connection:
            found = connection.execute("SELECT cluster, topic FROM origin").fetchone()
        return None if found is None else Origin(*found)

    def _note_origin(self, connection: sqlite3.Connection, origin: Origin, *, moves: bool) -> None:
        """Keep the topic of the first commit that tells one. Raises: OriginChanged."""
        kept = connection.execute("SELECT cluster, topic FROM origin").fetchone()
        if kept is None:
            connection.execute("INSERT INTO origin VALUES (?, ?)", (origin.cluster, origin.topic))
        elif moves:
            connection.execute(
                "UPDATE origin SET cluster = ?, topic = ?", (origin.cluster, origin.topic)
            )
        elif kept != (origin.cluster, origin.topic):
            raise OriginChanged(origin_changed(self.url, Origin(*kept), origin))

    def positions(self) -> dict[int, Position]:
        """Give how far each partition was rated, without its state."""
        with self._reading() as connection:
            rows = connection.execute("SELECT partition, next_offset, clock_ms FROM partitions")
            return {partition: Position(*position) for partition, *position in rows}

    def _stored_ids(self, charges: pl.DataFrame) -> set[str]:
        """Find those of some charges' ids that are stored."""
        keys = to_stored(charges, STORED_CHARGES).select("slot", "account", "charge_id")
        with self._reading() as connection:
            return {
                charge_id
                for charge_id, key in zip(charges["charge_id"], keys.iter_rows(), strict=True)
                if connection.execute(STORED_ALREADY, key).fetchone()
            }

    def add_books(self, books: Sequence[StoredBook]) -> None:
        """Keep the books used. Raises: BookChanged."""
        with self._writing() as connection:
            kept = dict(connection.execute("SELECT id, fingerprint FROM books"))
            before = frozenset(kept)
            for book in books:
                if kept.setdefault(book.id, book.fingerprint) != book.fingerprint:
                    raise BookChanged(
                        f"{self._path}: book {book.id!r} is not the one that this store's charges "
                        "were made with; a changed book needs an id of its own"
                    )
            new = [book for book in books if book.id not in before]
            connection.executemany(
                "INSERT INTO books VALUES (?, ?, ?, ?, ?, ?)", [astuple(book) for book in new]
            )
            if new:
                _add_link(connection, Link.of_store([chain.book_change(book) for book in new]))

    def books(self) -> list[StoredBook]:
        """Give the books used, ascending by effective_from_ms."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM books ORDER BY effective_from_ms, id")
            return [StoredBook(*row) for row in rows]

    def replace_open_sessions(
        self, sessions: pl.DataFrame, as_of_ms: int, *, partition: int = 0
    ) -> None:
        """Put a partition's open sessions (SESSIONS) in the place of those written before."""
        stamped = sessions.sort("account", "device", "session").with_columns(
            partition=pl.lit(partition, pl.Int64), as_of_ms=pl.lit(as_of_ms, pl.Int64)
        )
        new = insertion("open_sessions", stamped, STORED_SESSIONS)
        with self._writing([new]) as connection:
            connection.execute("DELETE FROM open_sessions WHERE partition = ?", (partition,))
            new.run(connection)
            change = chain.sessions_change(partition, stamped, STORED_SESSIONS)
            _add_link(connection, Link.of_store([change]))

    # --- the chain ----------------------------------------------------------------------------

    def _begin_chain(self) -> None:
        """Begin the chain of a store that has none: with what there is, and so at an upgrade."""
        with self._reading() as connection:
            if connection.execute("SELECT 1 FROM chain LIMIT 1").fetchone():
                return
        with self._writing() as connection:
            if connection.execute("SELECT 1 FROM chain LIMIT 1").fetchone():
                return
            # Nobody else writes now, so the reader sees what this link vouches for.
            _add_link(connection, self.first_link())
            connection.executemany(
                "UPDATE projections SET digest = ? WHERE name = ?",
                [
                    (chain.cursor_digest(self.store_id, name, seq, payload), name)
                    for name, seq, payload, _ in self._cursors()
                ],
            )

    def heads(self) -> list[Head]:
        """Give the last link of each chain, ascending by partition."""
        with self._reading() as connection:
            return [Head(*row) for row in connection.execute(HEADS)]

    def _link_rows(self, after: tuple[int, int], rows: int) -> list[tuple[Any, ...]]:
        columns = ", ".join(LINK_COLUMNS)
        statement = (
            f"SELECT {columns} FROM chain WHERE (partition, number) > (?, ?)"  # noqa: S608
            " ORDER BY partition, number LIMIT ?"
        )
        with self._reading() as connection:
            return connection.execute(statement, (*after, rows)).fetchall()

    def _cursors(self) -> Cursors:
        with self._reading() as connection:
            return connection.execute(
                "SELECT name, seq, payload, digest FROM projections"
            ).fetchall()

    def row_counts(self) -> tuple[int, int, int]:
        """How many charges, suspense rows and signals there are, numbered or not."""
        with self._reading() as connection:
            charges, suspense, signals = (
                _number(connection, f"SELECT count(*) FROM {kind}")  # noqa: S608
                for kind in KINDS
            )
        return charges, suspense, signals

    def strays(self) -> list[str]:
        """Say what is in the store beside what links vouch for, and should not be as it is."""
        with self._reading() as connection:
            counted = {what: _number(connection, asked) for what, asked in ORPHANS.items()}
        return super().strays() + [f"{what}: {count}" for what, count in counted.items() if count]

    # --- cursors --------------------------------------------------------------------------------

    def last_seq(self, kind: Kind) -> int:
        """Give the highest number that a row of the kind has; 0 where there is none."""
        with self._reading() as connection:
            return _number(connection, f"SELECT max(seq) FROM {kind}")  # noqa: S608

    def _rows_after(
        self, kind: Kind, schema: pl.Schema, seq: int, limit: int, upto_seq: int | None
    ) -> pl.DataFrame:
        return self._select(
            {**SEQ, **schema},
            f"FROM {kind} WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
            (seq, NEVER_MS if upto_seq is None else upto_seq, limit),
        )

    def _select(
        self, schema: Mapping[str, Any], rest: str, values: Sequence[Any] = ()
    ) -> pl.DataFrame:
        """Select a schema's columns; rest: the statement from its FROM on."""
        statement = f"SELECT {names_of(schema)} {rest}"
        with self._reading() as connection:
            rows = connection.execute(statement, values).fetchall()
        return from_stored(rows, pl.Schema(schema))

    def cursor(self, name: str) -> Cursor | None:
        """Read a named cursor; None where it was never set."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT seq, payload FROM projections WHERE name = ?", (name,)
            ).fetchone()
        return None if found is None else Cursor(*found)

    def set_cursor(self, name: str, seq: int, payload: bytes = b"") -> None:
        """Move a named cursor."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO projections VALUES (?, ?, ?, ?)",
                (name, seq, payload, chain.cursor_digest(self.store_id, name, seq, payload)),
            )

    def claim(self, name: str) -> FileClaim | None:
        """Take a named piece of work; None while another has it."""
        return FileClaim.take(self._path.with_name(f"{self._path.name}.{name}.lock"))

    # --- questions ------------------------------------------------------------------------------

    def charge(self, charge_id: str) -> pl.DataFrame:
        """Give the charge with this id; no row where there is none. Reads a whole index."""
        try:
            key = UUID(charge_id).bytes
        except ValueError:
            return from_stored([], pl.Schema({**SEQ, **STORED_CHARGES}))
        return self._select(
            {**SEQ, **STORED_CHARGES},
            "FROM charges WHERE seq = (SELECT seq FROM charges WHERE charge_id = ?)",
            (key,),
        )

    def charges_of_account(
        self, account: str, from_ms: int | None = None, to_ms: int | None = None
    ) -> pl.DataFrame:
        """Give an account's charges whose slots are in [from_ms, to_ms), ascending by start."""
        return self._select(
            {**SEQ, **STORED_CHARGES},
            OF_ACCOUNT,
            (
                EVER_MS if from_ms is None else from_ms,
                NEVER_MS if to_ms is None else to_ms,
                account,
            ),
        )

    def _page(
        self, table: str, schema: pl.Schema, key: Sequence[str], before: Sequence[Any], rows: int
    ) -> pl.DataFrame:
        keys = names_of(dict.fromkeys(key))
        places = ", ".join("?" * len(key))
        rest = f"FROM {table} WHERE ({keys}) > ({places}) ORDER BY {keys} LIMIT {rows}"
        return self._select(schema, rest, before)

    def summary(self) -> Summary:
        """Add up what the store holds. Reads every charge once."""
        with self._reading() as connection:
            return Summary(
                charges=_totals(connection, CHARGES_BY_TYPE),
                suspense=_totals(connection, SUSPENSE_BY_REASON),
                signals=_totals(connection, SIGNALS_BY_TYPE),
                counts=_counts(connection),
                accounts=_number(connection, "SELECT count(*) FROM accounts"),
                orders=_number(connection, "SELECT count(*) FROM orders"),
                sessions_open=_number(connection, "SELECT sum(sessions_open) FROM partitions"),
                partitions=_number(connection, "SELECT count(*) FROM partitions"),
                clock_ms=connection.execute("SELECT min(clock_ms) FROM partitions").fetchone()[0],
            )

    def laws(self) -> LawInputs:
        """Add up what the laws compare. Reads every charge once or twice."""
        with self._reading() as connection:
            sums = {name: _number(connection, statement) for name, statement in LAWS.items()}
            by_accounts, by_charges = (
                joined(*connection.execute(statement).fetchone()) for statement in PAID
            )
            return LawInputs(
                counts=_counts(connection), paid_open_micros=by_accounts - by_charges, **sums
            )


def _advance(connection: sqlite3.Connection, commit: Commit) -> None:
    """Move a partition's offset from where the batch began. Raises: OffsetMoved."""
    result = commit.result
    row = {
        "partition": commit.partition,
        "expected_offset": commit.expected_offset,
        "next_offset": commit.next_offset,
        "clock_ms": result.clock_ms,
        "counts": json.dumps(dict(result.counts)),
        "sessions_open": result.sessions_open,
    }
    moved = connection.execute(ADVANCE, row).rowcount
    if moved:
        return
    found = connection.execute(
        "SELECT next_offset FROM partitions WHERE partition = ?", (commit.partition,)
    ).fetchone()
    if found is None and commit.expected_offset == 0:
        connection.execute(BEGIN_PARTITION, row)
        return
    raise OffsetMoved(
        f"partition {commit.partition} stands at offset {found[0] if found else 0}, but this batch "
        f"goes on from {commit.expected_offset}: another worker has taken the partition over. "
        "Start again, and it goes on from where the store stands"
    )


def _change_state(connection: sqlite3.Connection, commit: Commit) -> None:
    """Drop and add chunks of state, and note how far the sources were read."""
    partition, result = commit.partition, commit.result
    connection.executemany(
        "DELETE FROM state WHERE partition = ? AND name = ? AND seq = ?",
        [(partition, *key) for key in result.state_dropped],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?)",
        [(partition, *astuple(chunk)) for chunk in result.state_added],
    )
    connection.executemany(
        "INSERT OR REPLACE INTO sources VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(partition, *astuple(source)) for source in commit.sources],
    )


def _upto(connection: sqlite3.Connection, rows: tuple[int, int, int]) -> tuple[int, int, int]:
    """The number of the last row that this commit is going to add, by kind; 0 for none."""
    charges, suspense, signals = (
        _number(connection, f"SELECT max(seq) FROM {kind}") + count if count else 0  # noqa: S608
        for kind, count in zip(KINDS, rows, strict=True)
    )
    return charges, suspense, signals


def _add_link(connection: sqlite3.Connection, link: Link) -> None:
    """Add a link to its chain; its number and its digest follow from the one before."""
    number, before = connection.execute(
        "SELECT number, digest FROM chain WHERE partition = ? ORDER BY number DESC LIMIT 1",
        (link.partition,),
    ).fetchone() or (0, BEFORE_FIRST)
    numbered = replace(link, number=number + 1)
    pairs = [part for pair in zip(link.upto, link.rows, strict=True) for part in pair]
    connection.execute(
        f"INSERT INTO chain ({', '.join(LINK_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
        (
            *(link.partition, number + 1, *pairs, link.facts, link.changes),
            numbered.expected_digest(before),
        ),
    )


def _totals(connection: sqlite3.Connection, totals: Totals) -> pl.DataFrame:
    """Run a grouped sum."""
    narrow = len(totals.schema) - totals.wide
    rows = [
        (*row[:narrow], *map(joined, row[narrow::2], row[narrow + 1 :: 2]))
        for row in connection.execute(totals.statement)
    ]
    return pl.DataFrame(rows, schema=totals.schema, orient="row")


def _number(connection: sqlite3.Connection, statement: str) -> int:
    """Give the one number that a statement asks for; 0 for a sum or maximum of no rows."""
    return int(connection.execute(statement).fetchone()[0] or 0)


def _counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Sum the partitions' counts."""
    total: Counter[str] = Counter()
    for (counts,) in connection.execute("SELECT counts FROM partitions"):
        total.update(json.loads(counts))
    return dict(total)
