"""What is special about the billing store in PostgreSQL; what every store does is in contract/."""

from __future__ import annotations

import fcntl
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import polars as pl
import psycopg
import pytest
import stored
from patience import PATIENCE_S
from polars.testing import assert_frame_equal
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from services.postgres import PostgresServer, fresh_database
from services.proxy import CutProxy, through
from stored import HOUR_MS, NOON_MS

from rating.schemas import SourcePosition, StateChunk
from sinks import migrations, postgres, postgres_server
from sinks.export import Style, export
from sinks.postgres_copy import decode_csv, encode_csv, rated_text, stored_text
from sinks.postgres_server import shown_url
from sinks.store import (
    Cursor,
    NotAStore,
    OffsetMoved,
    StoreBusy,
    StoredBook,
    StoreError,
    StoreFull,
    StoreMissing,
    StoreNewer,
    StoreOutdated,
    StoreReadOnly,
    StoreUnreachable,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore

SCHEMA = Path(postgres.__file__).parent / "schema"
DAY_MS = 24 * HOUR_MS


@pytest.fixture
def store(postgres_url: str) -> Iterator[BillingStore]:
    with open_store(postgres_url) as opened:
        yield opened


def run_sql(url: str, *statements: str) -> list[tuple[object, ...]]:
    """Run statements as the database's owner; gives the rows of the last one."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


# --- texts and bytes ------------------------------------------------------------------------------

STRANGE = ("\x00", "\x01", "\x01\x01", "\x00\x01\x02", "a\x00b", "\r", "\\.", '"', "\\N", "\\x00")
STRANGE += ("", " ", "\n", "é\u2028", "\U0001f4fa", "\x02", ",", "\x7f", "NULL", "a\x01")


def test_texts_are_stored_and_read_without_loss_and_sort_as_before() -> None:
    assert [rated_text(stored_text(text)) for text in STRANGE] == list(STRANGE)
    assert sorted(STRANGE, key=stored_text) == sorted(STRANGE)
    assert all("\x00" not in stored_text(text) for text in STRANGE)


def test_a_frame_survives_csv() -> None:
    frame = pl.DataFrame({"a": [*STRANGE, None], "n": [*range(len(STRANGE)), None]})
    assert_frame_equal(decode_csv(encode_csv(frame), frame.schema), frame)
    assert decode_csv(b"", frame.schema).schema == frame.schema


def test_any_character_and_any_byte_come_back(store: BillingStore) -> None:
    """U+0000 too, which PostgreSQL's texts do not know."""
    texts = ("account", "device", "session", "content", "kind", "quality", "plan", "rule", "region")
    charges = stored.charges(
        *(stored.charge(**dict.fromkeys(texts, text or "x")) for text in STRANGE)
    ).sort("slot", "account", "start", "charge_id")
    raws = [b"", b"\x00", b"\xff\xfe\x00\\", bytes(range(256)), None]
    suspense = stored.suspense(
        *({"reason": "malformed", "detail": "\x00", "raw": raw} for raw in raws),
        *({"reason": "no_rule", "detail": text, "account": text} for text in STRANGE),
    )
    accounts = stored.accounts(
        *(stored.account(text) for text in sorted({text or "x" for text in STRANGE}))
    )
    orders = stored.orders(stored.order("o\x00\x01", account="\x00"))
    signals = stored.signals({"type": "t", "account": "\x01\x00", "time": 1, "order": "\x00"})
    position = SourcePosition("tv\x00.log", 1, b"\x00", 2, 3, b"\xff")
    chunk = StateChunk("page\x00", 1, b"\x00\xff\\")
    store.commit(
        stored.commit(
            charges=charges,
            suspense=suspense,
            accounts=accounts,
            orders=orders,
            signals=signals,
            state_added=(chunk,),
            sources=[position],
        )
    )
    assert_frame_equal(store.charges_after(0, 99).drop("seq"), charges)
    assert_frame_equal(store.suspense_after(0, 99).drop("seq"), suspense)
    assert_frame_equal(store.signals_after(0, 99).drop("seq"), signals)
    assert_frame_equal(pl.concat(store.accounts(rows=3)), accounts)
    assert_frame_equal(pl.concat(store.orders()), orders)
    assert store.charges_of_account("a\x00b").height == 1
    loaded = store.load(0)
    assert loaded is not None
    assert (loaded.state, loaded.sources) == ((chunk,), (position,))
    store.set_cursor("topic\x00", 1, b"\x00\xff")
    assert store.cursor("topic\x00") == Cursor(1, b"\x00\xff")
    book = StoredBook("b\x01", 0, "SEK", "UTC", "f", "text\x00")
    store.add_books([book])
    assert store.books() == [book]


def test_accounts_come_in_the_order_of_their_bytes(store: BillingStore, postgres_url: str) -> None:
    """Whatever the database's language: not every build of PostgreSQL has one to try it with."""
    names = ["Z", "a", "b", "É", "ä", "z\u0301", "𝄞"]
    store.commit(stored.commit(accounts=stored.accounts(*map(stored.account, names))))
    assert [row for page in store.accounts(rows=2) for row in page["account"]] == sorted(names)
    by_language = run_sql(
        postgres_url,
        "SELECT attrelid::regclass::text, attname FROM pg_attribute JOIN pg_class"
        " ON pg_class.oid = attrelid AND relkind = 'i'"
        " AND relnamespace = 'ratecast'::regnamespace"
        " WHERE attcollation NOT IN (0, (SELECT oid FROM pg_collation WHERE collname = 'C'))",
    )
    assert by_language == []


# --- months ---------------------------------------------------------------------------------------


def test_every_month_of_charges_is_a_table_of_its_own(
    store: BillingStore, postgres_url: str
) -> None:
    starts = [NOON_MS, NOON_MS + 40 * DAY_MS, -62_135_510_400_000, 253_402_128_000_000 - HOUR_MS]
    charges = stored.charges(
        *(stored.charge(start=start, session=str(start)) for start in starts)
    ).sort("slot")
    store.commit(stored.commit(charges=charges))
    tables = run_sql(
        postgres_url,
        "SELECT DISTINCT tableoid::regclass::text FROM ratecast.charges ORDER BY 1",
    )
    assert [name for (name,) in tables] == [
        "ratecast.charges_2026_03",
        "ratecast.charges_2026_04",
        "ratecast.charges_before_2000",
        "ratecast.charges_from_2100",
    ]
    assert_frame_equal(store.charges_after(0, 99).drop("seq"), charges)
    assert store.charges_of_account("anna").height == 4


def test_the_next_month_is_there_before_it_is_needed(
    store: BillingStore, postgres_url: str
) -> None:
    store.commit(stored.commit(charges=stored.charges(stored.charge())))
    found = run_sql(postgres_url, "SELECT to_regclass('ratecast.charges_2026_04') IS NOT NULL")
    assert found == [(True,)]


def test_a_month_that_was_taken_out_ends_no_reading(store: BillingStore, postgres_url: str) -> None:
    for number in range(6):
        start = NOON_MS + (40 * DAY_MS if number in (3, 5) else 0)
        row = stored.charge(start=start, session=str(number))
        store.commit(stored.commit(10 * number, charges=stored.charges(row)))
    run_sql(postgres_url, "ALTER TABLE ratecast.charges DETACH PARTITION ratecast.charges_2026_03")
    assert store.charges_after(0, 1)["seq"].to_list() == [4]
    assert store.charges_after(4, 1)["seq"].to_list() == [6]
    assert store.charges_after(6, 1).is_empty()
    assert store.charges_after(0, 9, upto_seq=3).is_empty()
    run_sql(postgres_url, "ALTER TABLE ratecast.charges DETACH PARTITION ratecast.charges_2026_04")
    written = BytesIO()
    assert export(store, "charges", Style("ndjson"), written) == 0


def test_a_new_month_waits_for_no_reader(store: BillingStore, postgres_url: str) -> None:
    """A backup may read for hours over the end of a month."""
    with psycopg.connect(postgres_url) as backup:
        backup.execute("SELECT count(*) FROM ratecast.charges")
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
        backup.execute("SELECT count(*) FROM ratecast.charges")


def test_an_order_is_charged_once_whatever_the_month(store: BillingStore) -> None:
    first = stored.charge(type="purchase", charge_id=str(uuid4()))
    later = {**first, "start": NOON_MS + 60 * DAY_MS, "slot": NOON_MS + 60 * DAY_MS}
    store.commit(stored.commit(0, charges=stored.charges(first)))
    twice = stored.charge(type="refund", charge_id=str(uuid4()))
    store.commit(stored.commit(10, charges=stored.charges(later, twice, twice)))
    assert store.last_seq("charges") == 2
    suspense = store.suspense_after(0, 9)
    assert suspense["type"].to_list() == ["purchase", "refund"]


# --- several at once ------------------------------------------------------------------------------


def test_of_many_that_start_at_once_one_makes_the_store(postgres_url: str) -> None:
    start = threading.Barrier(6)

    def begin(partition: int) -> str:
        start.wait()
        with open_store(postgres_url) as store:
            row = stored.charge(session=str(partition))
            store.commit(stored.commit(partition=partition, charges=stored.charges(row)))
            return store.store_id

    with ThreadPoolExecutor(6) as workers:
        assert len(set(workers.map(begin, range(6)))) == 1
    with open_store(postgres_url, create=False) as store:
        assert store.last_seq("charges") == 6


def test_a_cursor_misses_nothing_of_several_writers(postgres_url: str) -> None:
    """And every number is given once, without gaps."""
    open_store(postgres_url).close()
    done = threading.Event()

    def write(partition: int) -> None:
        with open_store(postgres_url) as store:
            for offset in range(0, 300, 10):
                rows = [stored.charge(session=f"{partition}-{offset}-{n}") for n in range(3)]
                signal = {"type": "t", "account": str(partition), "time": offset}
                store.commit(
                    stored.commit(
                        offset,
                        partition=partition,
                        charges=stored.charges(*rows),
                        signals=stored.signals(signal),
                    )
                )

    def read() -> list[pl.DataFrame]:
        pages, seq = [], 0
        with open_store(postgres_url, create=False) as store:
            while True:
                last = done.is_set()
                page = store.charges_after(seq, 7)
                if page.is_empty():
                    if last:
                        return pages
                    continue
                pages.append(page)
                seq = page["seq"][-1]

    with ThreadPoolExecutor(4) as threads:
        reader = threads.submit(read)
        for writer in [threads.submit(write, partition) for partition in range(3)]:
            writer.result()
        done.set()
        charges = pl.concat(reader.result())
    assert charges["seq"].to_list() == list(range(1, 271))
    assert charges["charge_id"].n_unique() == 270


def test_a_worker_frozen_within_a_commit_holds_up_nobody(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next owner of its partition commits the same batch meanwhile; once awake, it changes nothing."""
    frozen, woken = threading.Event(), threading.Event()
    finish = postgres._finish

    def finish_late(*given: object) -> object:
        if threading.current_thread() is not threading.main_thread():
            frozen.set()
            assert woken.wait(PATIENCE_S)
        return finish(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(postgres, "_finish", finish_late)
    commit = stored.commit(
        charges=stored.charges(
            stored.charge(), stored.charge(type="purchase", charge_id=str(uuid4()))
        ),
        accounts=stored.accounts(stored.account("anna", 5)),
        orders=stored.orders(stored.order("o1")),
        state_added=(StateChunk("delta", 1, b"d"),),
    )
    with (
        open_store(postgres_url) as first,
        open_store(postgres_url) as second,
        ThreadPoolExecutor(1) as thread,
    ):
        late = thread.submit(first.commit, commit)
        assert frozen.wait(PATIENCE_S)
        second.commit(commit)
        second.commit(stored.commit(10, charges=stored.charges(stored.charge(session="s2"))))
        woken.set()
        with pytest.raises(OffsetMoved, match="stands at offset 20, but this batch goes on from 0"):
            late.result()
        assert second.last_seq("charges") == 3
        assert second.charges_after(0, 9).height == 3


def test_a_store_waits_ten_seconds_and_no_longer(
    store: BillingStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_server, "LOCK_TIMEOUT_MS", 50)
    store.commit(stored.commit())
    with psycopg.connect(postgres_url) as other, open_store(postgres_url) as hasty:
        other.execute("SELECT * FROM ratecast.partitions FOR UPDATE")
        with pytest.raises(StoreBusy, match="lock timeout"):
            hasty.commit(stored.commit(10))
        other.rollback()
        hasty.commit(stored.commit(10))


# --- for people -----------------------------------------------------------------------------------


def test_views_show_instants_and_exact_decimals(store: BillingStore, postgres_url: str) -> None:
    store.commit(
        stored.commit(
            charges=stored.charges(
                stored.charge(gross=1_234_567, unfunded=1, start=NOON_MS + 1),
                stored.charge(gross=-7, session="s2", start=-62_135_510_400_000 + 1),
            ),
            suspense=stored.suspense(
                {"reason": "malformed", "detail": "d", "time": NOON_MS, "raw": "å".encode()},
                {"reason": "malformed", "detail": "d", "raw": b"\xffa\x00"},
            ),
            accounts=stored.accounts(stored.account("anna", -5)),
        )
    )
    rows = run_sql(
        postgres_url,
        "SET timezone = 'UTC'",
        "SELECT seq, gross, owed, start_at::text FROM ratecast.charges_readable ORDER BY seq",
    )
    assert rows == [
        (1, Decimal("-0.000007"), Decimal("-0.000007"), "0001-01-02 00:00:00.001+00"),
        (2, Decimal("1.234567"), Decimal("1.234566"), "2026-03-06 11:00:00.001+00"),
    ]
    types = (
        "SELECT pg_typeof(start_at)::text, pg_typeof(gross)::text FROM ratecast.charges_readable"
    )
    assert set(run_sql(postgres_url, types)) == {("timestamp with time zone", "numeric")}
    raws = run_sql(postgres_url, "SELECT raw FROM ratecast.suspense_readable ORDER BY seq")
    assert raws == [("å",), (r"\377a\000",)]
    balances = run_sql(postgres_url, "SELECT account, balance FROM ratecast.balances")
    assert balances == [("anna", Decimal("-0.000005"))]


def test_both_stores_show_the_same_columns(postgres_url: str, tmp_path: Path) -> None:
    import sqlite3

    open_store(postgres_url).close()
    open_store(str(tmp_path / "store.db")).close()
    for view in ("charges_readable", "suspense_readable", "signals_readable", "balances"):
        with psycopg.connect(postgres_url) as server:
            here = server.execute(f"SELECT * FROM ratecast.{view}").description
        there = sqlite3.connect(tmp_path / "store.db").execute(f"SELECT * FROM {view}").description
        assert [column.name for column in here or ()] == [name for name, *_ in there]


# --- who may do what ------------------------------------------------------------------------------


@pytest.fixture
def one_at_a_time(run_folder: Path) -> Iterator[None]:
    """Roles belong to the whole server, which parallel tests share."""
    with (run_folder / "roles.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def users(postgres_url: str, one_at_a_time: None) -> Iterator[dict[str, str]]:
    """URLs of users with the roles of grants-postgres.sql, in a store that the owner made."""
    open_store(postgres_url).close()
    grants = (SCHEMA / "grants-postgres.sql").read_text()
    run_sql(postgres_url, grants, grants)  # twice, as after an upgrade
    suffix = uuid4().hex[:8]
    names = {role: f"{role}_{suffix}" for role in ("writer", "reader", "nobody")}
    for role, name in names.items():
        run_sql(postgres_url, f"CREATE ROLE {name} LOGIN PASSWORD 'secret'")
        if role != "nobody":
            run_sql(postgres_url, f"GRANT ratecast_{role} TO {name}")
    host = conninfo_to_dict(postgres_url)
    yield {
        role: f"postgresql://{name}:secret@{host['host']}:{host['port']}/{host['dbname']}"
        for role, name in names.items()
    }
    for name in names.values():
        run_sql(postgres_url, f"DROP OWNED BY {name}", f"DROP ROLE {name}")


def test_a_writer_commits_and_can_change_no_fact(users: dict[str, str]) -> None:
    order = stored.charge(type="purchase", charge_id=str(uuid4()))
    with open_store(users["writer"]) as store:
        for offset in (0, 10):
            store.commit(
                stored.commit(
                    offset,
                    charges=stored.charges(stored.charge(), *([] if offset else [order])),
                    suspense=stored.suspense({"reason": "malformed", "detail": "d"}),
                    signals=stored.signals({"type": "t", "account": "a", "time": 1}),
                    accounts=stored.accounts(stored.account("anna", offset)),
                    orders=stored.orders(stored.order("o1")),
                    state_added=(StateChunk("delta", offset, b"d"),),
                    state_dropped=(("delta", offset - 10),),
                    sources=[SourcePosition("a.log", 1, b"h", offset, 1, b"t")],
                )
            )
        store.add_books([stored.BOOK])
        store.set_cursor("topic", 1)
        store.set_cursor("topic", 2)
        store.replace_open_sessions(stored.sessions(), NOON_MS)
        assert store.summary().accounts == 1
    for forbidden in (
        "UPDATE ratecast.charges SET total = 0",
        "DELETE FROM ratecast.charges",
        "DELETE FROM ratecast.suspense",
        "UPDATE ratecast.charges_2026_03 SET total = 0",
        "UPDATE ratecast.books SET text = ''",
        "DELETE FROM ratecast.accounts",
        "DROP TABLE ratecast.signals",
        "CREATE TABLE ratecast.mine (n int)",
        "UPDATE ratecast.store SET version = 9",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            run_sql(users["writer"], forbidden)


def test_a_reader_reads_all_and_writes_nothing(users: dict[str, str]) -> None:
    with open_store(users["writer"]) as writer:
        writer.commit(stored.commit(charges=stored.charges(stored.charge())))
    with open_store(users["reader"], create=False) as store:
        assert store.charges_after(0, 9).height == 1
        assert store.charges_of_account("anna").height == 1
        assert store.summary().partitions == store.laws().charges == 1
    assert len(run_sql(users["reader"], "SELECT * FROM ratecast.charges_readable")) == 1
    with pytest.raises(StoreReadOnly, match="may only read the store"):
        open_store(users["reader"])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        run_sql(users["reader"], "SELECT ratecast.make_month('2027-01-01')")


def test_others_are_kept_out_with_a_sentence(users: dict[str, str], postgres_server: str) -> None:
    for create in (True, False):
        with pytest.raises(StoreReadOnly, match=r"may not read the store; grants-postgres\.sql"):
            open_store(users["nobody"], create=create)
    with fresh_database(postgres_server) as url:
        there = conninfo_to_dict(url)["dbname"]
        elsewhere = re.sub(r"/[^/]*$", f"/{there}", users["writer"])
        with pytest.raises(StoreReadOnly, match="permission denied for database"):
            open_store(elsewhere)


# --- when it refuses ------------------------------------------------------------------------------


def test_what_is_wrong_with_a_server_is_said_without_the_password(
    postgres_url: str, postgres_server: str
) -> None:
    host = conninfo_to_dict(postgres_server)["host"]
    port = conninfo_to_dict(postgres_server)["port"]
    refused = {
        f"postgresql://tester:secret@{host}:{port}/billing": "refuses the connection.*password",
        f"postgresql://tester:s%zz@{host}/billing": "is no URL of a PostgreSQL database",
        f"postgresql://tester:se/cret@{host}/billing": "is no URL of a PostgreSQL|not answer",
        f"postgresql://tester@{host}/x?password=secret&nonsense=1": "is no URL of a PostgreSQL",
    }
    for url, sentence in refused.items():
        with pytest.raises(StoreError, match=sentence) as failed:
            open_store(url, create=False)
        assert "secret" not in str(failed.value)
        assert "zz" not in str(failed.value)
    missing = re.sub(r"/[^/]*$", "/no_such_database", postgres_server)
    with pytest.raises(StoreError, match=r'refuses the connection.*"no_such_database" does not'):
        open_store(missing)


def test_a_server_that_ends_in_the_first_words_of_tls_may_come_back() -> None:
    """What libpq says of it tells of SSL, as what it says of a wrong certificate does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with suppress(OSError):  # where libpq does not try once more
                for _ in range(2):
                    near, _ = listening.accept()
                    with near:
                        near.recv(8)
                        near.sendall(b"S")
                        near.recv(65_536)

        threading.Thread(target=answer, daemon=True).start()
        url = f"postgresql://tester@127.0.0.1:{listening.getsockname()[1]}/x?sslmode=require"
        with pytest.raises(StoreUnreachable, match=r"does not answer.*SSL"):
            open_store(url)


def test_a_server_that_is_away_may_come_back() -> None:
    with pytest.raises(StoreUnreachable, match=r"does not answer.*is it running") as failed:
        open_store("postgresql://tester:secret@127.0.0.1:1/billing")
    assert failed.value.transient
    assert "secret" not in str(failed.value)


def test_a_database_without_a_store_is_no_store_to_read(postgres_url: str) -> None:
    with pytest.raises(StoreMissing, match="there is no store here"):
        open_store(postgres_url, create=False)


def test_a_schema_of_that_name_by_others_is_left_alone(postgres_url: str) -> None:
    run_sql(postgres_url, "CREATE SCHEMA ratecast", "CREATE TABLE ratecast.store (mine int)")
    for create in (True, False):
        with pytest.raises(NotAStore, match="is not a ratecast store"):
            open_store(postgres_url, create=create)


def test_a_newer_store_is_left_to_a_newer_ratecast(postgres_url: str) -> None:
    open_store(postgres_url).close()
    run_sql(postgres_url, "UPDATE ratecast.store SET version = 99")
    for create in (True, False):
        with pytest.raises(StoreNewer, match=r"schema version 99.*knows up to \d+;"):
            open_store(postgres_url, create=create)


def test_an_older_store_is_migrated_by_a_writer_and_not_by_a_reader(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(postgres_url) as store:
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
    scripts = [*migrations.scripts("postgres"), "ALTER TABLE ratecast.charges ADD COLUMN more text"]
    monkeypatch.setattr(migrations, "scripts", lambda _engine: scripts)
    said = f"schema version {len(scripts) - 1}, and this ratecast reads version {len(scripts)}"
    with pytest.raises(StoreOutdated, match=said):
        open_store(postgres_url, create=False)
    open_store(postgres_url).close()
    assert run_sql(postgres_url, "SELECT more FROM ratecast.charges") == [(None,)]
    with open_store(postgres_url, create=False) as store:
        assert store.last_seq("charges") == 1


def test_a_migration_that_fails_leaves_nothing_behind(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = [*migrations.scripts("postgres"), "SELECT 1 / 0"]
    monkeypatch.setattr(migrations, "scripts", lambda _engine: scripts)
    with pytest.raises(StoreError, match="division by zero"):
        open_store(postgres_url)
    monkeypatch.undo()
    with pytest.raises(StoreMissing):
        open_store(postgres_url, create=False)


def test_a_full_disk_keeps_nothing_of_the_batch(store: BillingStore, postgres_url: str) -> None:
    """The server raises its own error for it, at the last table of the commit."""
    run_sql(
        postgres_url,
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER full_disk BEFORE INSERT ON ratecast.spans"
        " FOR EACH ROW EXECUTE FUNCTION full_disk()",
    )
    commit = stored.commit(
        charges=stored.charges(stored.charge()), accounts=stored.accounts(stored.account("a", 1))
    )
    with pytest.raises(StoreFull, match=r"disk is full.*nothing of this batch was stored"):
        store.commit(commit)
    assert store.load(0) is None
    assert list(store.accounts()) == []
    run_sql(postgres_url, "DROP TRIGGER full_disk ON ratecast.spans")
    store.commit(commit)
    assert store.last_seq("charges") == 1


@pytest.mark.parametrize("limit_bytes", [0, 400_000])
def test_writes_that_the_system_refuses_are_a_full_disk(limit_bytes: int) -> None:
    # The server ends at a refused write of its log; for once that must not come first.
    patient = {"wal_writer_delay": "10s", "wal_writer_flush_after": "0"}
    with (
        PostgresServer(durable=True, settings=patient) as server,
        open_store(server.url()) as store,
    ):
        store.commit(stored.commit(charges=stored.charges(stored.charge())))
        server.limit_files(limit_bytes)
        with pytest.raises(StoreFull, match="disk is full"):
            store.commit(stored.commit(10, charges=stored.many_charges(3_000)))
        server.limit_files(None)
        server.wait_serving()
        store.commit(stored.commit(10, charges=stored.many_charges(3_000)))
        assert store.last_seq("charges") == 3_001


HASTY = "connect_timeout=2&tcp_user_timeout=2000&keepalives_idle=1&keepalives_interval=1"


def test_a_claim_that_the_network_swallowed_is_free_once_the_server_notices(
    postgres_url: str,
) -> None:
    port = int(conninfo_to_dict(postgres_url)["port"])
    with (
        open_store(postgres_url) as store,
        CutProxy(port) as wire,
        open_store(f"{through(wire, postgres_url)}?{HASTY}") as far,
    ):
        claim = far.claim("publish")
        assert claim is not None
        assert store.claim("publish") is None
        wire.swallow()
        give_up_s = time.monotonic() + PATIENCE_S
        while (taken := store.claim("publish")) is None:
            assert time.monotonic() < give_up_s, "the server still waits for who is gone"
            time.sleep(0.1)
        with pytest.raises(StoreUnreachable, match=r"connection to the server broke|not answer"):
            claim.held()
        wire.mend()
        assert far.last_seq("charges") == 0
        assert not claim.held()
        taken.release()


def test_a_server_that_may_only_be_read_is_named(postgres_url: str) -> None:
    name = conninfo_to_dict(postgres_url)["dbname"]
    open_store(postgres_url).close()
    run_sql(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    with pytest.raises(StoreReadOnly, match="may only"):
        open_store(postgres_url)
    with open_store(postgres_url, create=False) as store:
        assert store.last_seq("charges") == 0


def test_a_connection_that_was_cut_is_made_again(store: BillingStore, postgres_url: str) -> None:
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    for offset in (0, 10):
        run_sql(postgres_url, cut)
        row = stored.charge(session=str(offset))
        store.commit(stored.commit(offset, charges=stored.charges(row)))
    run_sql(postgres_url, cut)
    assert store.last_seq("charges") == 2


def test_a_connection_that_is_cut_within_a_commit_is_said_to_be(
    store: BillingStore, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish = postgres._finish

    def finish_cut_off(*given: object) -> object:
        run_sql(
            postgres_url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state LIKE 'idle in%'"
            " AND datname = current_database()",
        )
        return finish(*given)  # type: ignore[arg-type]

    commit = stored.commit(charges=stored.charges(stored.charge()))
    monkeypatch.setattr(postgres, "_finish", finish_cut_off)
    with pytest.raises(StoreUnreachable, match="the connection to the server broke"):
        store.commit(commit)
    monkeypatch.undo()
    assert store.load(0) is None
    store.commit(commit)
    assert store.last_seq("charges") == 1


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:p@h:1/d", "postgresql://u@h:1/d"),
        ("postgres://u:p%40@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d?user=u&password=p", "postgresql://u@h/d"),
        ("postgresql:///d?host=/run/pg&sslpassword=p", "postgresql:///d?host=/run/pg"),
        (
            "postgresql://u:p@h1:1,h2:2/d?sslmode=verify-full&passfile=/run/pgpass",
            "postgresql://u@/d?host=h1,h2&port=1,2&passfile=/run/pgpass&sslmode=verify-full",
        ),
        ("postgresql://u@[::1]:5/d", "postgresql://u@[::1]:5/d"),
        ("postgresql://u:p%zz@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p@ss@h:x:y/d?password=p%zz", "postgresql://u@h:x:y/d?password=..."),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    if "%zz" not in url:
        without = {
            name: value for name, value in conninfo_to_dict(url).items() if "password" not in name
        }
        assert conninfo_to_dict(shown) == without


def test_a_password_may_stand_in_a_file(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD", raising=False)
    secret = tmp_path / "pgpass"
    secret.write_text(f"*:*:*:*:{conninfo_to_dict(postgres_url)['password']}\n")
    secret.chmod(0o600)
    with_file = f"{shown_url(postgres_url)}?passfile={secret}"
    with open_store(with_file) as store, open_store(store.url, create=False) as again:
        assert store.url == with_file
        assert again.store_id == store.store_id


def test_settings_of_the_url_go_before_ours(postgres_url: str) -> None:
    url = f"{postgres_url}?application_name=worker-7&connect_timeout=3"
    with open_store(url):
        named = run_sql(
            postgres_url,
            "SELECT DISTINCT application_name FROM pg_stat_activity"
            " WHERE pid <> pg_backend_pid() AND datname = current_database()",
        )
    assert named == [("worker-7",)]
    assert make_conninfo(url)
