"""The billing store in a PostgreSQL database. Schema: sinks/schema; for people: docs/store.md."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import astuple
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import polars as pl
import psycopg
from psycopg import sql

from rating.schemas import ACCOUNTS, ORDERS, SIGNALS, SUSPENSE, Origin, SourcePosition, StateChunk
from sinks import chain
from sinks.chain import KINDS, Head, Link
from sinks.chained import LINK_COLUMNS, ChainedStore, Cursors
from sinks.pages import EVER_MS, NEVER_MS, SEQ, STORED_CHARGES, STORED_SESSIONS
from sinks.postgres_claim import PostgresClaim
from sinks.postgres_copy import decode_csv, encode_csv, rated_text, stored_text
from sinks.postgres_queries import (
    CHARGES_BY_TYPE,
    FINISH,
    HEADS,
    IDS_TAKEN,
    LAWS,
    NEW_BATCH,
    OF_ACCOUNT,
    ORPHANS,
    SEQ_OF_CHARGE,
    SIGNALS_BY_TYPE,
    SPANS,
    STAGING,
    STORED_ALREADY,
    SUSPENSE_BY_REASON,
)
from sinks.postgres_server import (
    OFFSET_MOVED,
    ORIGIN_CHANGED,
    UNIQUE_VIOLATION,
    open_reader,
    open_writer,
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
from sinks.totals import CHARGE_TOTALS, SIGNAL_TOTALS, SUSPENSE_TOTALS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rating.schemas import BatchResult, Commit

LINE = {"batch": pl.Int64(), "line": pl.Int64()}
MONTHS_MS = (946_684_800_000, 4_102_444_800_000)  # 2000 to 2099; the schema has tables for the rest
STORE_CHAIN_LOCK = "SELECT pg_advisory_xact_lock(hashtext('ratecast'), 3)"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresStore(ChainedStore):
    """A billing store in the database at `url`, made if it is missing unless create is False.

    Raises: StoreError. The contract is `sinks.store.BillingStore`.
    """

    SESSION_NUMBER = "number"

    def __init__(self, url: str, *, create: bool = True) -> None:
        self._url = url
        self._writer = open_writer(url, _make_staging) if create else None
        # Readers have their own connection, and so never see a transaction that is not committed.
        self._reader = open_reader(url)
        self._months: set[date] = set()  # that this store has seen to have a partition
        self._snapshot: psycopg.Connection | None = None
        if self._writer is not None:
            self._begin_chain()

    @property
    def url(self) -> str:
        """What `open_store` takes to open it again, with the password from elsewhere."""
        return self._reader.place

    @property
    def store_id(self) -> str:
        """The store's own name, drawn when it was made."""
        with self._reading() as connection:
            return str(_row(connection, "SELECT id FROM store")[0])

    def close(self) -> None:
        """Close the connections."""
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
        with self._reading() as connection:
            self._snapshot = connection
            try:
                yield
            finally:
                self._snapshot = None

    @contextmanager
    def _reading(self) -> Iterator[psycopg.Connection]:
        """Read what is committed, all of it as of one moment."""
        if self._snapshot is not None:
            yield self._snapshot
            return
        with self._reader.transaction(SNAPSHOT) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[psycopg.Connection]:
        """Run a transaction: all of it is stored, or nothing."""
        if self._writer is None:
            raise StoreReadOnly(f"{self.url}: the store was opened for reading only")
        with self._writer.transaction() as connection:
            yield connection

    # --- rating ---------------------------------------------------------------------------------

    def load(self, partition: int) -> StoredPartition | None:
        """Read a partition as its last commit left it; None before the first."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT next_offset, clock_ms, counts::text, sessions_open"
                " FROM partitions WHERE partition = %s",
                (partition,),
            ).fetchone()
            if found is None:
                return None
            chunks = connection.cursor(binary=True).execute(
                "SELECT name, seq, payload FROM state WHERE partition = %s ORDER BY name, seq",
                (partition,),
            )
            state = tuple(StateChunk(rated_text(name), *rest) for name, *rest in chunks)
            positions = connection.execute(
                "SELECT name, head_bytes, head_digest, taken_bytes, taken_lines, taken_digest"
                " FROM sources WHERE partition = %s ORDER BY turn",
                (partition,),
            )
            sources = tuple(SourcePosition(rated_text(name), *rest) for name, *rest in positions)
        next_offset, clock_ms, counts, sessions_open = found
        return StoredPartition(
            partition, next_offset, clock_ms, json.loads(counts), sessions_open, state, sources
        )

    def commit(self, commit: Commit) -> BatchResult:
        """Store all of a batch, or nothing; a charge whose id is stored already is suspended.

        Returns: what was stored.
        Raises: OffsetMoved, StoreBusy, StoreFull, StoreReadOnly, StoreUnreachable.
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
        """Store a batch with what it came to. Raises: IdsTaken, and what `commit` raises.

        Rows are brought to the server first, where nobody waits for them; `commit_batch` of the
        schema then does all that others may have to wait for.

        Raises: IdsTaken, OffsetMoved, OriginChanged, StoreBusy, StoreFull, StoreReadOnly,
        StoreUnreachable.
        """
        charges = result.charges.sort("slot", "account", "start", "charge_id")
        facts, changes = chain.facts_of(result, charges), chain.changes_of(commit)
        self._make_months(charges)
        try:
            with self._writing() as connection:
                batch, stands_at = _row(connection, NEW_BATCH, (commit.partition,))
                if stands_at != commit.expected_offset:
                    raise _moved(commit, stands_at)
                _copy_lines(connection, "charges", charges, STORED_CHARGES, batch)
                if _ids_taken(connection, charges, batch):
                    raise IdsTaken
                _copy_lines(connection, "suspense", result.suspense, SUSPENSE, batch)
                _copy_lines(connection, "signals", result.signals, SIGNALS, batch)
                _copy(connection, "new_accounts", result.accounts.sort("account"), ACCOUNTS)
                _copy(connection, "new_orders", result.orders.sort("account", "order"), ORDERS)
                _bring_state(connection, commit, batch)
                connection.execute(_finish(commit, result, batch, facts, changes))
        except psycopg.Error as error:
            if error.sqlstate == OFFSET_MOVED:
                raise _moved(commit, int(error.diag.message_detail or 0)) from error
            if error.sqlstate == ORIGIN_CHANGED and commit.origin is not None:
                kept = self.origin() or commit.origin
                raise OriginChanged(origin_changed(self.url, kept, commit.origin)) from error
            if error.sqlstate != UNIQUE_VIOLATION:
                raise
            raise IdsTaken from error  # of another partition's commit, which was quicker

    def _stored_ids(self, charges: pl.DataFrame) -> set[str]:
        """Find those of some charges' ids that are stored."""
        statement = sql.SQL(STORED_ALREADY).format(
            slots=charges["slot"].to_list(),
            accounts=[stored_text(account) for account in charges["account"]],
            ids=charges["charge_id"].to_list(),
        )
        with self._reading() as connection:
            return {charge_id for (charge_id,) in connection.execute(statement)}

    def _make_months(self, charges: pl.DataFrame) -> None:
        """See to it that every month of these charges has its partition, and the one after it."""
        first_ms, end_ms = MONTHS_MS
        slots_ms = [
            at_ms for at_ms in charges["slot"].unique().to_list() if first_ms <= at_ms < end_ms
        ]
        found = {month_of(slot_ms) for slot_ms in slots_ms}
        following = {(month + timedelta(days=31)).replace(day=1) for month in found}
        for new in sorted((found | following) - self._months):
            with self._writing() as connection:
                connection.execute("SELECT make_month(%s)", (new,))
            self._months.add(new)

    def origin(self) -> Origin | None:
        """Give the topic that the store is rated from; None where no commit told."""
        with self._reading() as connection:
            found = connection.execute("SELECT cluster, topic FROM origin").fetchone()
        return None if found is None else Origin(*map(rated_text, found))

    def positions(self) -> dict[int, Position]:
        """Give how far each partition was rated, without its state."""
        with self._reading() as connection:
            rows = connection.execute("SELECT partition, next_offset, clock_ms FROM partitions")
            return {partition: Position(*position) for partition, *position in rows}

    def add_books(self, books: Sequence[StoredBook]) -> None:
        """Keep the books used. Raises: BookChanged."""
        new: list[StoredBook] = []
        with self._writing() as connection:
            for book in books:
                row = [
                    stored_text(part) if isinstance(part, str) else part for part in astuple(book)
                ]
                added = connection.execute(
                    "INSERT INTO books VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING", row
                )
                new += [book] * added.rowcount
                kept = _row(
                    connection,
                    "SELECT fingerprint FROM books WHERE id = %s",
                    (stored_text(book.id),),
                )
                if kept != (book.fingerprint,):
                    raise BookChanged(
                        f"{self.url}: book {book.id!r} is not the one that this store's charges "
                        "were made with; a changed book needs an id of its own"
                    )
            if new:
                _add_link(connection, Link.of_store([chain.book_change(book) for book in new]))

    def books(self) -> list[StoredBook]:
        """Give the books used, ascending by effective_from_ms."""
        with self._reading() as connection:
            rows = connection.execute("SELECT * FROM books ORDER BY effective_from_ms, id")
            return [StoredBook(*map(_rated, row)) for row in rows]

    def replace_open_sessions(
        self, sessions: pl.DataFrame, as_of_ms: int, *, partition: int = 0
    ) -> None:
        """Put a partition's open sessions (SESSIONS) in the place of those written before."""
        stamped = sessions.sort("account", "device", "session").with_columns(
            partition=pl.lit(partition, pl.Int64), as_of_ms=pl.lit(as_of_ms, pl.Int64)
        )
        with self._writing() as connection:
            connection.execute("DELETE FROM open_sessions WHERE partition = %s", (partition,))
            _copy(connection, "open_sessions", stamped, STORED_SESSIONS)
            change = chain.sessions_change(partition, stamped, STORED_SESSIONS)
            _add_link(connection, Link.of_store([change]))

    # --- the chain ----------------------------------------------------------------------------

    def _begin_chain(self) -> None:
        """Begin the chain of a store that has none: with what there is, and so at an upgrade."""
        begun = "SELECT FROM chain LIMIT 1"
        with self._reading() as connection:
            if connection.execute(begun).rowcount:
                return
        with self._writing() as connection:
            connection.execute(STORE_CHAIN_LOCK)
            # Every writer comes by here first, so that none has committed before this link.
            if connection.execute(begun).rowcount:
                return
            _add_link(connection, self.first_link(), is_locked=True)
            for name, seq, payload, _ in self._cursors():
                digest = chain.cursor_digest(self.store_id, name, seq, payload)
                connection.execute(
                    "UPDATE projections SET digest = %b WHERE name = %s",
                    (digest, stored_text(name)),
                )

    def heads(self) -> list[Head]:
        """Give the last link of each chain, ascending by partition."""
        with self._reading() as connection:
            return [Head(*row) for row in connection.execute(HEADS)]

    def _link_rows(self, after: tuple[int, int], rows: int) -> list[tuple[Any, ...]]:
        with self._reading() as connection:
            found = connection.cursor(binary=True).execute(
                sql.SQL(
                    "SELECT {} FROM chain WHERE (partition, number) > (%s::bigint, %s::bigint)"
                    " ORDER BY partition, number LIMIT %s"
                ).format(_columns(LINK_COLUMNS)),
                (*after, rows),
            )
            return found.fetchall()

    def _cursors(self) -> Cursors:
        with self._reading() as connection:
            rows = connection.execute("SELECT name, seq, payload, digest FROM projections")
            return [(rated_text(name), *rest) for name, *rest in rows]

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
            return _last_seq(connection, kind)

    def _rows_after(
        self, kind: Kind, schema: pl.Schema, seq: int, limit: int, upto_seq: int | None
    ) -> pl.DataFrame:
        """Give the rows numbered seq + 1 to seq + limit, or the next ones where those are gone.

        Numbers are given without gaps, but a month of charges may have been taken out.
        """
        with self._reading() as connection:
            end = min(_last_seq(connection, kind), NEVER_MS if upto_seq is None else upto_seq)
            while seq < end:
                upto = min(seq + limit, end)
                rows = _numbered(connection, kind, schema, seq, upto)
                if not rows.is_empty():
                    return rows
                seq = upto
        return pl.DataFrame(schema={**SEQ, **schema})

    def cursor(self, name: str) -> Cursor | None:
        """Read a named cursor; None where it was never set."""
        with self._reading() as connection:
            found = connection.execute(
                "SELECT seq, payload FROM projections WHERE name = %s", (stored_text(name),)
            ).fetchone()
        return None if found is None else Cursor(*found)

    def set_cursor(self, name: str, seq: int, payload: bytes = b"") -> None:
        """Move a named cursor."""
        digest = chain.cursor_digest(self.store_id, name, seq, payload)
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO projections VALUES (%s, %s, %b, %b) ON CONFLICT (name) DO UPDATE"
                " SET seq = excluded.seq, payload = excluded.payload, digest = excluded.digest",
                (stored_text(name), seq, payload, digest),
            )

    def claim(self, name: str) -> PostgresClaim | None:
        """Take a named piece of work; None while another has it."""
        return PostgresClaim.take(self._url, name)

    # --- questions ------------------------------------------------------------------------------

    def charge(self, charge_id: str) -> pl.DataFrame:
        """Give the charge with this id; no row where there is none. Reads a whole index."""
        try:
            key = UUID(charge_id)
        except ValueError:
            return pl.DataFrame(schema={**SEQ, **STORED_CHARGES})
        rest = sql.SQL("FROM charges WHERE charge_id = {} LIMIT 1").format(str(key))
        return self._charges(rest)

    def charges_of_account(
        self, account: str, from_ms: int | None = None, to_ms: int | None = None
    ) -> pl.DataFrame:
        """Give an account's charges whose slots are in [from_ms, to_ms), ascending by start."""
        rest = sql.SQL(OF_ACCOUNT).format(
            from_ms=EVER_MS if from_ms is None else from_ms,
            to_ms=NEVER_MS if to_ms is None else to_ms,
            account=stored_text(account),
        )
        return self._charges(rest)

    def _charges(self, rest: sql.Composable) -> pl.DataFrame:
        with self._reading() as connection:
            return _select(connection, {**SEQ, **STORED_CHARGES}, rest, {"seq": SEQ_OF_CHARGE})

    def _page(
        self, table: str, schema: pl.Schema, key: Sequence[str], before: Sequence[Any], rows: int
    ) -> pl.DataFrame:
        columns = _columns(key)
        last = sql.SQL(", ").join(_stored(part) for part in before)
        rest = sql.SQL("FROM {} WHERE ({}) > ({}) ORDER BY {} LIMIT {}").format(
            sql.Identifier(table), columns, last, columns, rows
        )
        with self._reading() as connection:
            return _select(connection, schema, rest)

    def summary(self) -> Summary:
        """Add up what the store holds. Reads every charge once."""
        with self._reading() as connection:
            return Summary(
                charges=_totals(connection, CHARGE_TOTALS, CHARGES_BY_TYPE),
                suspense=_totals(connection, SUSPENSE_TOTALS, SUSPENSE_BY_REASON),
                signals=_totals(connection, SIGNAL_TOTALS, SIGNALS_BY_TYPE),
                counts=_counts(connection),
                accounts=_number(connection, "SELECT count(*) FROM accounts"),
                orders=_number(connection, "SELECT count(*) FROM orders"),
                sessions_open=_number(connection, LAWS["sessions_open"]),
                partitions=_number(connection, "SELECT count(*) FROM partitions"),
                clock_ms=_row(connection, "SELECT min(clock_ms) FROM partitions")[0],
            )

    def laws(self) -> LawInputs:
        """Add up what the laws compare. Reads every charge once or twice."""
        with self._reading() as connection:
            sums = {name: _number(connection, statement) for name, statement in LAWS.items()}
            return LawInputs(counts=_counts(connection), **sums)


def month_of(time_ms: int) -> date:
    """Give the first day of an instant's month in UTC."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).date().replace(day=1)


# --- a commit's steps -----------------------------------------------------------------------------


def _make_staging(connection: psycopg.Connection) -> None:
    """Make the session's tables in which a commit's changes wait."""
    connection.execute(STAGING)


def _copy_lines(
    connection: psycopg.Connection, table: str, rows: pl.DataFrame, schema: pl.Schema, batch: int
) -> None:
    """Bring a batch's rows, which are numbered in its last step."""
    if rows.is_empty():
        return
    lines = {
        "batch": pl.Series([batch], dtype=pl.Int64).new_from_index(0, rows.height),
        "line": pl.Series(range(1, rows.height + 1), dtype=pl.Int64),
    }
    _copy(connection, table, rows.with_columns(**lines), pl.Schema({**LINE, **schema}))


def _copy(
    connection: psycopg.Connection, table: str, rows: pl.DataFrame, schema: pl.Schema
) -> None:
    """Bring rows into a table."""
    if rows.is_empty():
        return
    ordered = rows.select(schema.names())
    written = encode_csv(ordered if ordered.schema == schema else ordered.cast(schema))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        sql.Identifier(table), _columns(schema)
    )
    with connection.cursor().copy(statement) as copy:
        copy.write(written)


def _bring_state(connection: psycopg.Connection, commit: Commit, batch: int) -> None:
    """Bring the chunks of state to add, the names of those to drop, and how far sources were read."""
    partition, result = commit.partition, commit.result
    added = [
        (partition, stored_text(chunk.name), chunk.seq, batch, chunk.payload)
        for chunk in result.state_added
    ]
    dropped = [(partition, stored_text(name), seq) for name, seq in result.state_dropped]
    old = {*dropped, *(key[:3] for key in added)}
    sources = [
        (partition, stored_text(name), *rest, turn)
        for turn, (name, *rest) in enumerate(map(astuple, commit.sources))
    ]
    with connection.cursor() as cursor:
        if added:
            with cursor.copy("COPY state FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int8", "text", "int8", "int8", "bytea"])
                for row in added:
                    copy.write_row(row)
        if old:
            cursor.executemany("INSERT INTO old_state VALUES (%s, %s, %s)", sorted(old))
        if sources:
            places = ", ".join(["%s"] * 8)
            cursor.executemany(f"INSERT INTO new_sources VALUES ({places})", sources)  # noqa: S608


def _ids_taken(connection: psycopg.Connection, charges: pl.DataFrame, batch: int) -> bool:
    """Whether one of a batch's charges, which are there already, has the id of another one."""
    if charges.is_empty():
        return False
    slots = charges["slot"]
    cursor = connection.execute(
        sql.SQL(IDS_TAKEN).format(batch=batch, slot_min=slots.min(), slot_max=slots.max())
    )
    while cursor.description is None:
        assert cursor.nextset(), "the statement has a result"
    row = cursor.fetchone()
    assert row is not None
    return bool(row[0])


def _add_link(connection: psycopg.Connection, link: Link, *, is_locked: bool = False) -> None:
    """Add a link to the chain of the store itself, to which one at a time may add."""
    if not is_locked:
        connection.execute(STORE_CHAIN_LOCK)
    pairs = [part for pair in zip(link.upto, link.rows, strict=True) for part in pair]
    connection.execute(
        "SELECT add_link(%s, %s, %s, %s, %s, %s, %s, %b, %b)",
        (link.partition, *pairs, link.facts, link.changes),
    )


def _finish(
    commit: Commit, result: BatchResult, batch: int, facts: bytes, changes: bytes
) -> sql.Composed:
    """Write the last message of a commit."""
    slots = result.charges["slot"]
    return sql.SQL(FINISH).format(
        batch=batch,
        partition=commit.partition,
        expected_offset=commit.expected_offset,
        next_offset=commit.next_offset,
        clock_ms=result.clock_ms,
        counts=json.dumps(dict(result.counts)),
        sessions_open=result.sessions_open,
        charges=result.charges.height,
        slot_min=slots.min(),
        slot_max=slots.max(),
        charged_once=int((result.charges["type"] != "usage").sum()),
        suspense=result.suspense.height,
        signals=result.signals.height,
        facts=facts,
        changes=changes,
        cluster=None if commit.origin is None else stored_text(commit.origin.cluster),
        topic=None if commit.origin is None else stored_text(commit.origin.topic),
        moves_origin=commit.moves_origin,
    )


def _moved(commit: Commit, stands_at: int) -> OffsetMoved:
    return OffsetMoved(
        f"partition {commit.partition} stands at offset {stands_at}, but this batch goes on from "
        f"{commit.expected_offset}: another worker has taken the partition over. Start again, and "
        "it goes on from where the store stands"
    )


def _stored(value: Any) -> Any:
    return stored_text(value) if isinstance(value, str) else value


# --- reading --------------------------------------------------------------------------------------


def _rated(value: Any) -> Any:
    return rated_text(value) if isinstance(value, str) else value


def _columns(names: Sequence[str] | Mapping[str, Any]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _select(
    connection: psycopg.Connection,
    schema: Mapping[str, Any],
    rest: sql.Composable,
    expressions: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """Select a schema's columns; rest: the statement from its FROM on."""
    computed = {name: sql.SQL(text) for name, text in (expressions or {}).items()}
    selected = [
        computed.get(name)
        or sql.SQL("encode({}, 'hex')" if dtype == pl.Binary else "{}").format(sql.Identifier(name))
        for name, dtype in schema.items()
    ]
    statement = sql.SQL("COPY (SELECT {} {}) TO STDOUT (FORMAT csv)").format(
        sql.SQL(", ").join(selected), rest
    )
    with connection.cursor().copy(statement) as copy:
        written = b"".join(copy)
    return decode_csv(written, schema)


def _numbered(
    connection: psycopg.Connection, kind: Kind, schema: pl.Schema, seq: int, upto: int
) -> pl.DataFrame:
    """Give the rows with numbers in (seq, upto]."""
    spans = connection.execute(SPANS, (kind, seq, upto)).fetchall()
    rows = _select(connection, {**LINE, **schema}, _of_spans(kind, spans, seq, upto))
    before = pl.col("batch").replace_strict(
        [span[0] for span in spans], [span[1] for span in spans], return_dtype=pl.Int64
    )
    numbered = rows.with_columns(seq=before + pl.col("line"))
    return numbered.select("seq", *schema.names()).sort("seq")


def _of_spans(kind: Kind, spans: Sequence[Any], seq: int, upto: int) -> sql.Composed:
    """Name the rows of batches, of the first and last of them only those within (seq, upto].

    spans: batch, before, upto, slot_min, slot_max.
    """
    first, last = spans[0], spans[-1]
    where = sql.SQL(
        "FROM {} WHERE batch = ANY ({}) AND (batch <> {} OR line > {})"
        " AND (batch <> {} OR line <= {})"
    ).format(
        sql.Identifier(kind),
        [span[0] for span in spans],
        first[0],
        seq - first[1],
        last[0],
        upto - last[1],
    )
    if kind != "charges":
        return where
    slots = sql.SQL(" AND slot BETWEEN {} AND {}").format(
        min(span[3] for span in spans), max(span[4] for span in spans)
    )
    return where + slots


def _row(connection: psycopg.Connection, statement: str, values: Sequence[Any] = ()) -> Any:
    """Give the one row that a statement asks for."""
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return row


def _last_seq(connection: psycopg.Connection, kind: Kind) -> int:
    found = connection.execute(
        "SELECT upto FROM spans WHERE kind = %s ORDER BY upto DESC LIMIT 1", (kind,)
    ).fetchone()
    return int(found[0]) if found else 0


def _totals(connection: psycopg.Connection, schema: pl.Schema, statement: str) -> pl.DataFrame:
    """Run a grouped sum."""
    rows = [
        [part if isinstance(part, str) else int(part) for part in row]
        for row in connection.execute(statement)
    ]
    return pl.DataFrame(rows, schema=schema, orient="row")


def _number(connection: psycopg.Connection, statement: str) -> int:
    """Give the one number that a statement asks for; 0 for a sum or maximum of no rows."""
    return int(_row(connection, statement)[0] or 0)


def _counts(connection: psycopg.Connection) -> dict[str, int]:
    """Sum the partitions' counts."""
    total: Counter[str] = Counter()
    for (counts,) in connection.execute("SELECT counts::text FROM partitions"):
        total.update(json.loads(counts))
    return dict(total)
