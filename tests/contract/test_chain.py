"""Whatever is edited in a store behind ratecast's back, `verify` says so (docs/adr/0014)."""

from __future__ import annotations

import shutil
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest
import stored
from psycopg.conninfo import conninfo_to_dict
from services.postgres import fresh_database
from stored import NOON_MS

from rating.schemas import Origin, SourcePosition, StateChunk
from sinks.store import OriginChanged, StoredBook, open_store
from sinks.verification import read_heads, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sinks.chain import Head
    from sinks.store import BillingStore

ORIGIN = Origin("cluster-1", "usage")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where an empty store of each kind can be made."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.db'}"
    postgres_url: str = request.getfixturevalue("postgres_url")
    monkeypatch.setenv("PGPASSWORD", str(conninfo_to_dict(postgres_url).get("password", "")))
    return postgres_url


def fill(store: BillingStore) -> None:
    """Some of everything, by three commits of two partitions."""
    store.add_books([stored.BOOK, StoredBook("late", 9, "SEK", "Europe/Stockholm", "f2", "x")])
    first = stored.commit(
        0,
        charges=stored.charges(
            stored.charge(),
            stored.charge(session="s2", total=7),
            stored.charge(session="", type="purchase"),
        ),
        suspense=stored.suspense(
            {"reason": "malformed", "detail": "no type", "source": "a.log:7", "raw": b"\xff{"},
            {"reason": "no_rule", "detail": "x", "account": "anna", "type": "usage"},
        ),
        signals=stored.signals(
            {"type": "balance.exhausted", "account": "bo", "time": 5},
            {"type": "balance.ok", "account": "bo", "time": 6},
        ),
        accounts=stored.accounts(stored.account("anna", 5), stored.account("bo", 7)),
        orders=stored.orders(stored.order("o1"), stored.order("o2", first_play=NOON_MS)),
        counts={"records": 10, "applied": 9},
        state_added=(StateChunk("page", 1, b"p1"), StateChunk("delta", 1, b"d1")),
        sources=[SourcePosition("a.log", 4, b"head", 100, 3, b"taken")],
    )
    store.commit(replace(first, origin=ORIGIN))
    store.commit(
        stored.commit(
            10,
            accounts=stored.accounts(stored.account("anna", 4, plan=None)),
            state_added=(StateChunk("delta", 2, b"d2"),),
            state_dropped=(("delta", 1),),
            charges=stored.charges(stored.charge(session="s3"), stored.charge(session="s4")),
        )
    )
    store.commit(stored.commit(0, partition=3, charges=stored.charges(stored.charge(session="t"))))
    store.replace_open_sessions(stored.sessions(stored.session(), stored.session(device="b")), 5)
    store.set_cursor("topic charges", 3, b"mark")
    store.set_cursor("topic signals", 1)


def edited(store: BillingStore, *statements: str) -> None:
    """Run statements as somebody would who has the database's own tool."""
    if store.url.startswith("sqlite"):
        connection = sqlite3.connect(store.url.removeprefix("sqlite://"))
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, f"nothing was edited: {statement}"
        connection.commit()
        connection.close()
        return
    with psycopg.connect(store.url, options="-c search_path=ratecast") as server:
        for statement in statements:
            assert server.execute(statement).rowcount != 0, f"nothing was edited: {statement}"


# Of each: a name, the statements, and those for PostgreSQL where its tables are others.
EDITS: dict[str, tuple[tuple[str, ...], tuple[str, ...] | None]] = {
    "a charge's total": (("UPDATE charges SET total = total - 1 WHERE session = 's2'",), None),
    "what a charge was for": (("UPDATE charges SET account = 'eve' WHERE session = 's3'",), None),
    "how a charge came about": (("UPDATE charges SET steps = '[9]' WHERE session = 't'",), None),
    "two charges' totals swapped with their accounts": (
        (
            (
                "UPDATE charges SET session = CASE session WHEN 's3' THEN 's4' ELSE 's3' END"
                " WHERE session IN ('s3', 's4')"
            ),
        ),
        None,
    ),
    "a charge deleted": (("DELETE FROM charges WHERE session = 's2'",), None),
    "the last charge deleted": (("DELETE FROM charges WHERE session = 't'",), None),
    "a charge inserted": (
        (
            "CREATE TEMP TABLE one AS SELECT * FROM charges WHERE session = 't'",
            "UPDATE one SET seq = 99, session = 'u', charge_id = x'00112233445566778899aabbccddeeff'",
            "INSERT INTO charges SELECT * FROM one",
        ),
        (
            "CREATE TEMP TABLE one AS SELECT * FROM charges WHERE session = 't'",
            "UPDATE one SET batch = 99, session = 'u', charge_id = gen_random_uuid()",
            "INSERT INTO charges SELECT * FROM one",
        ),
    ),
    "a charge inserted below all numbers": (
        (
            "CREATE TEMP TABLE one AS SELECT * FROM charges WHERE session = 't'",
            "UPDATE one SET seq = -5, session = 'u', charge_id = x'00112233445566778899aabbccddeeff'",
            "INSERT INTO charges SELECT * FROM one",
        ),
        (
            "CREATE TEMP TABLE one AS SELECT * FROM charges WHERE session = 't'",
            "UPDATE one SET line = 2, session = 'u', charge_id = gen_random_uuid()",
            "INSERT INTO charges SELECT * FROM one",
        ),
    ),
    "two charges' numbers swapped": (
        (
            "UPDATE charges SET seq = -1 WHERE seq = 4",
            "UPDATE charges SET seq = 4 WHERE seq = 5",
            "UPDATE charges SET seq = 5 WHERE seq = -1",
        ),
        ("UPDATE charges SET line = 3 - line WHERE session IN ('s3', 's4')",),
    ),
    "two commits' numbers swapped": (
        (
            "UPDATE charges SET seq = -1 WHERE seq = 6",
            "UPDATE charges SET seq = 6 WHERE seq = 5",
            "UPDATE charges SET seq = 5 WHERE seq = -1",
        ),
        (
            "UPDATE spans SET upto = upto + 100 WHERE kind = 'charges'",
            (
                "UPDATE spans SET upto = CASE upto WHEN 105 THEN 6 WHEN 106 THEN 4 ELSE 3 END"
                " WHERE kind = 'charges'"
            ),
        ),
    ),
    "the reason of a suspense row": (
        ("UPDATE suspense SET reason = 'too_late' WHERE reason = 'malformed'",),
        None,
    ),
    "a suspense row deleted": (("DELETE FROM suspense WHERE reason = 'no_rule'",), None),
    "the bytes of a suspended record": (
        ("UPDATE suspense SET raw = x'00' WHERE raw IS NOT NULL",),
        (r"UPDATE suspense SET raw = '\x00' WHERE raw IS NOT NULL",),
    ),
    "a null made an empty text": (
        ("UPDATE suspense SET content = '' WHERE content IS NULL",),
        None,
    ),
    "a signal's time": (("UPDATE signals SET time = 7 WHERE time = 6",), None),
    "a signal deleted": (("DELETE FROM signals WHERE time = 6",), None),
    "a balance": (("UPDATE accounts SET balance = 99, topups = 99 WHERE account = 'bo'",), None),
    "a balance as it was before": (
        ("UPDATE accounts SET balance = 5, topups = 5, plan = 'payg' WHERE account = 'anna'",),
        None,
    ),
    "an account deleted": (("DELETE FROM accounts WHERE account = 'bo'",), None),
    "an account inserted": (
        (
            (
                "INSERT INTO accounts SELECT 'eve', plan, region, bill_day, packages, currency, balance,"
                " exhausted, topups, paid, purchases, refunds FROM accounts WHERE account = 'bo'"
            ),
        ),
        None,
    ),
    "two accounts swapped": (
        (
            "UPDATE accounts SET account = 'x' WHERE account = 'anna'",
            "UPDATE accounts SET account = 'anna' WHERE account = 'bo'",
            "UPDATE accounts SET account = 'bo' WHERE account = 'x'",
        ),
        None,
    ),
    "an order's status": (("UPDATE orders SET status = 'cancelled'",), None),
    "an order's first play": (("UPDATE orders SET first_play = NULL",), None),
    "an order deleted": (("""DELETE FROM orders WHERE "order" = 'o2'""",), None),
    "a book's text": (("UPDATE books SET text = 'free' WHERE id = 'late'",), None),
    "a book deleted": (("DELETE FROM books WHERE id = 'late'",), None),
    "a partition's offset": (("UPDATE partitions SET next_offset = 0 WHERE partition = 3",), None),
    "a partition's counts": (
        ("""UPDATE partitions SET counts = '{"records": 0, "applied": 1}' WHERE partition = 0""",),
        None,
    ),
    "a partition's clock": (("UPDATE partitions SET clock_ms = 5 WHERE partition = 0",), None),
    "a partition deleted": (("DELETE FROM partitions WHERE partition = 3",), None),
    "the bytes of state": (
        ("UPDATE state SET payload = x'00' WHERE name = 'page'",),
        (r"UPDATE state SET payload = '\x00' WHERE name = 'page'",),
    ),
    "state deleted": (("DELETE FROM state WHERE name = 'delta'",), None),
    "state inserted": (
        ("INSERT INTO state VALUES (0, 'delta', 9, x'00')",),
        (r"INSERT INTO state VALUES (0, 'delta', 9, 1, '\x00')",),
    ),
    "state of a partition that there is not": (
        ("INSERT INTO state VALUES (8, 'delta', 9, x'00')",),
        (r"INSERT INTO state VALUES (8, 'delta', 9, 1, '\x00')",),
    ),
    "two chunks of state swapped": (
        (
            "UPDATE state SET name = 'x' WHERE name = 'page'",
            "UPDATE state SET name = 'page', seq = 1 WHERE name = 'delta'",
            "UPDATE state SET name = 'delta', seq = 2 WHERE name = 'x'",
        ),
        None,
    ),
    "how far a log was read": (("UPDATE sources SET taken_bytes = 50",), None),
    "a log's position deleted": (("DELETE FROM sources",), None),
    "an open session": (("UPDATE open_sessions SET watched_ms = 9 WHERE device = 'b'",), None),
    "an open session deleted": (("DELETE FROM open_sessions WHERE device = 'b'",), None),
    "a cursor": (("UPDATE projections SET seq = 0 WHERE name = 'topic charges'",), None),
    "a cursor without its checksum": (("UPDATE projections SET digest = NULL",), None),
    "the store's id": (("UPDATE store SET id = 'other'",), None),
    "the topic rated from": (("UPDATE origin SET topic = 'other'",), None),
    "the topic forgotten": (("DELETE FROM origin",), None),
    "a link's rows": (("UPDATE chain SET charges_rows = 2 WHERE partition = 3",), None),
    "what a link says was changed": (
        ("UPDATE chain SET changes = x'' WHERE partition = 0 AND number = 2",),
        (r"UPDATE chain SET changes = '\x' WHERE partition = 0 AND number = 2",),
    ),
    "a link deleted": (("DELETE FROM chain WHERE partition = 0 AND number = 1",), None),
    "the last link deleted": (("DELETE FROM chain WHERE partition = 3",), None),
    "a chain inserted": (
        (
            (
                "INSERT INTO chain SELECT 9, 1, 0, 0, 0, 0, 0, 0, facts, changes, digest FROM chain"
                " LIMIT 1"
            ),
        ),
        None,
    ),
    "two links swapped": (
        (
            "UPDATE chain SET number = 9 WHERE partition = 0 AND number = 1",
            "UPDATE chain SET number = 1 WHERE partition = 0 AND number = 2",
            "UPDATE chain SET number = 2 WHERE partition = 0 AND number = 9",
        ),
        None,
    ),
}
POSTGRES_EDITS = {
    "an id of a purchase deleted": ("DELETE FROM charged_once",),
    "an id of a purchase inserted": ("INSERT INTO charged_once VALUES (gen_random_uuid())",),
    "a span of numbers inserted": ("INSERT INTO spans VALUES ('signals', 1, 1, 77, NULL, NULL)",),
    "a span of numbers deleted": ("DELETE FROM spans WHERE kind = 'signals'",),
}


@pytest.fixture(scope="module")
def filled(
    postgres_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, str]]:
    """A filled store of each kind, to be copied: a file, and the URL of a database."""
    path = tmp_path_factory.mktemp("filled") / "store.db"
    with open_store(str(path)) as store:
        fill(store)
    with fresh_database(postgres_server) as url:
        with open_store(url) as store:
            fill(store)
        yield path, url


@pytest.fixture(params=["sqlite", "postgresql"])
def copied(
    request: pytest.FixtureRequest,
    filled: tuple[Path, str],
    postgres_server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[str]:
    """A copy of a filled store."""
    path, url = filled
    if request.param == "sqlite":
        yield f"sqlite:{shutil.copy(path, tmp_path)}"
        return
    monkeypatch.setenv("PGPASSWORD", str(conninfo_to_dict(url).get("password", "")))
    with fresh_database(postgres_server, template=str(conninfo_to_dict(url)["dbname"])) as copy:
        yield copy


@pytest.mark.parametrize("edit", [*EDITS, *POSTGRES_EDITS])
def test_every_edit_of_a_store_is_seen(copied: str, edit: str) -> None:
    on_sqlite, on_postgres = EDITS.get(edit, ((), POSTGRES_EDITS.get(edit)))
    statements = on_sqlite if copied.startswith("sqlite") else on_postgres or on_sqlite
    if not statements:
        return  # SQLite has no such table
    with open_store(copied, create=False) as store:
        assert verify(store).findings == ()
        edited(store, *statements)
        assert verify(store).findings != ()


# --- heads that were kept -----------------------------------------------------------------------


def heads_of(store: BillingStore) -> list[Head]:
    return read_heads([str(head) for head in store.heads()])


def test_what_was_committed_since_a_head_is_checked_and_the_head_is_found(url: str) -> None:
    with open_store(url) as store:
        fill(store)
        whole = verify(store)
        assert (whole.rows, whole.older) == (6 + 2 + 2, 0)
        assert whole.heads == tuple(store.heads())
        kept = heads_of(store)
        store.commit(stored.commit(20, charges=stored.charges(stored.charge(session="s9"))))
        since = verify(store, kept)
        assert (since.findings, since.rows, since.older) == ((), 1, 10)
        with_a_beginning = read_heads([str(head)[:24] for head in kept])
        assert verify(store, with_a_beginning).findings == ()
        edited(store, "UPDATE charges SET total = 0 WHERE session = 's9'")
        assert verify(store, kept).findings != ()


def rewritten(url: str, change: Callable[[BillingStore], None]) -> str:
    """Another store in the place of the one that was, as somebody would make who may write all."""
    other = f"{url}2" if url.startswith("sqlite") else url
    if other == url:
        with psycopg.connect(url) as server:
            server.execute("DROP SCHEMA ratecast CASCADE")
    with open_store(other) as store:
        change(store)
    return other


def test_a_chain_that_was_written_anew_is_seen_by_a_head_that_was_kept(url: str) -> None:
    with open_store(url) as store:
        fill(store)
        kept = heads_of(store)
    with open_store(rewritten(url, fill)) as other:
        assert verify(other).findings == ()
        assert any("as it was kept" in said for said in verify(other, kept).findings)


def test_a_store_that_was_cut_off_is_seen_by_a_head_that_was_kept(url: str) -> None:
    def less(store: BillingStore) -> None:
        store.commit(stored.commit(0, partition=3))

    with open_store(url) as store:
        fill(store)
        kept = heads_of(store)
    with open_store(rewritten(url, less)) as other:
        said = " ".join(verify(other, kept).findings)
        assert "partition 0 ends before the head that was kept" in said


@pytest.mark.parametrize("text", ["", "0:1", "0:1:abc", "x:1:aabbccddeeff", "0:0:aabbccddeeff"])
def test_what_is_no_head_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="is no head of a chain; write partition:number:digest"):
        read_heads([text])


def test_a_commit_of_the_same_rows_has_the_same_digests_in_every_store(
    tmp_path: Path, postgres_url: str
) -> None:
    told = []
    for url in (f"sqlite:{tmp_path / 'store.db'}", postgres_url):
        with open_store(url) as store:
            store.commit(
                stored.commit(
                    charges=stored.many_charges(500),
                    suspense=stored.suspense(
                        {"reason": "malformed", "detail": "\x00\x01å", "raw": b"\x00"}
                    ),
                )
            )
            told += [
                (link.upto, link.rows, link.facts, link.changes, link.digest)
                for link in store.links()
                if link.partition == 0
            ]
            assert verify(store).findings == ()
    assert told[0] == told[1]


# --- the topic rated from -------------------------------------------------------------------------


def test_a_store_knows_its_topic_from_the_first_commit_that_tells(url: str) -> None:
    def commit_from(origin: Origin | None, offset: int) -> None:
        store.commit(replace(stored.commit(offset), origin=origin))

    with open_store(url) as store:
        commit_from(None, 0)
        assert store.origin() is None
        commit_from(ORIGIN, 10)
        commit_from(ORIGIN, 20)
        commit_from(None, 30)
        assert store.origin() == ORIGIN
        for other, word in ((Origin("cluster-2", "usage"), "cluster"), (Origin("c", "x"), "topic")):
            with pytest.raises(OriginChanged, match=f"name the right {word}, or another store"):
                commit_from(other, 40)
        assert store.positions()[0].next_offset == 40
        assert verify(store).findings == ()
