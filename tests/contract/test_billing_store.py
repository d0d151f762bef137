"""What every billing store promises, whatever it is made of (sinks.store.BillingStore)."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import polars as pl
import pytest
import stored
from patience import PATIENCE_S
from polars.testing import assert_frame_equal
from psycopg.conninfo import conninfo_to_dict
from stored import HOUR_MS, NOON_MS

from rating.schemas import SourcePosition, StateChunk
from sinks.store import (
    BookChanged,
    Cursor,
    OffsetMoved,
    Position,
    StoredBook,
    StoreError,
    StoreMissing,
    StoreReadOnly,
    open_store,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where an empty store of each kind can be made."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path / 'store.db'}"
    postgres_url: str = request.getfixturevalue("postgres_url")
    # A store's own URL leaves the password out.
    monkeypatch.setenv("PGPASSWORD", str(conninfo_to_dict(postgres_url).get("password", "")))
    return postgres_url


@pytest.fixture
def store(url: str) -> Iterator[BillingStore]:
    with open_store(url) as opened:
        yield opened


def read_all(store: BillingStore, kind: str) -> pl.DataFrame:
    return getattr(store, f"{kind}_after")(0, 10**9).drop("seq")


# --- claims and positions --------------------------------------------------------------------------


def test_a_piece_of_work_is_done_by_one_at_a_time(store: BillingStore) -> None:
    held = store.claim("publish-charges")
    assert held is not None
    assert held.held()
    assert store.claim("publish-charges") is None
    other = store.claim("publish-signals")
    assert other is not None
    with open_store(store.url) as again:
        assert again.claim("publish-charges") is None
        held.release()
        assert not held.held()
        taken = again.claim("publish-charges")
        assert taken is not None
        taken.release()
    other.release()


def test_a_claim_ends_with_the_program_that_made_it(store: BillingStore) -> None:
    script = (
        "import sys, time; from sinks.store import open_store;"
        "claim = open_store(sys.argv[1]).claim('work'); print(claim is not None, flush=True);"
        "time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, store.url], stdout=subprocess.PIPE)
    assert other.stdout is not None
    assert other.stdout.readline() == b"True\n"
    assert store.claim("work") is None
    other.send_signal(signal.SIGKILL)
    other.wait()
    give_up_s = time.monotonic() + PATIENCE_S
    while (claim := store.claim("work")) is None:
        assert time.monotonic() < give_up_s
        time.sleep(0.05)
    claim.release()


def test_positions_say_how_far_each_partition_is(store: BillingStore) -> None:
    assert store.positions() == {}
    store.commit(stored.commit(0, 7, partition=2))
    store.commit(stored.commit(0, 3, partition=0, clock_ms=None))
    assert store.positions() == {0: Position(3, None), 2: Position(7, NOON_MS)}


# --- opening --------------------------------------------------------------------------------------


def test_a_store_that_is_not_there_is_not_made_for_a_reader(url: str) -> None:
    with pytest.raises(StoreMissing, match="no store here"):
        open_store(url, create=False)


def test_a_reader_reads_and_does_not_write(url: str) -> None:
    with open_store(url) as writer:
        writer.commit(stored.commit(charges=stored.charges(stored.charge())))
    with open_store(url, create=False) as reader:
        assert reader.last_seq("charges") == 1
        for write in (
            lambda: reader.commit(stored.commit(10)),
            lambda: reader.add_books([stored.BOOK]),
            lambda: reader.set_cursor("topic", 1),
            lambda: reader.replace_open_sessions(stored.sessions(), NOON_MS),
        ):
            with pytest.raises(StoreReadOnly, match="reading only"):
                write()


def test_a_store_keeps_its_name_and_its_url_opens_it_again(store: BillingStore) -> None:
    with open_store(store.url, create=False) as again:
        assert again.store_id == store.store_id
        assert len(store.store_id) == 32


# --- commits --------------------------------------------------------------------------------------


def test_everything_of_a_commit_is_read_back_as_it_was(store: BillingStore) -> None:
    charges = stored.charges(stored.charge(), stored.charge(session="s2", device="", unfunded=7))
    suspense = stored.suspense(
        {"reason": "malformed", "detail": "no type", "source": "a.log:7", "raw": b"\xff{\x00"},
        {
            "reason": "no_rule",
            "detail": "no rule",
            "account": "anna",
            "type": "usage",
            "time": NOON_MS,
            "end": NOON_MS + 5,
            "watched_ms": 5,
            "content": "game",
        },
    )
    signals = stored.signals(
        {
            "type": "order.declined",
            "account": "bo",
            "time": 5,
            "order": "o",
            "reason": "not_on_sale",
        },
        {"type": "balance.exhausted", "account": "bo", "time": 6},
    )
    accounts = stored.accounts(stored.account("anna", 5), stored.account("åsa", plan=None))
    orders = stored.orders(stored.order("o1"), stored.order("o2", first_play=NOON_MS))
    store.commit(
        stored.commit(
            charges=charges, suspense=suspense, signals=signals, accounts=accounts, orders=orders
        )
    )
    assert_frame_equal(read_all(store, "charges"), charges)
    assert_frame_equal(read_all(store, "suspense"), suspense)
    assert_frame_equal(read_all(store, "signals"), signals)
    assert_frame_equal(pl.concat(store.accounts()), accounts)
    assert_frame_equal(pl.concat(store.orders()), orders)


def test_a_large_commit_is_read_back_as_it_was(store: BillingStore) -> None:
    charges = stored.many_charges(5_000)
    accounts = stored.accounts(
        *(stored.account(f"a-{n:05d}", n, exhausted=n % 2 == 0) for n in range(3_000))
    )
    store.commit(stored.commit(charges=charges, accounts=accounts))
    assert_frame_equal(read_all(store, "charges"), charges)
    assert_frame_equal(pl.concat(store.accounts(rows=700)), accounts)


def test_a_large_commit_may_hold_texts_of_any_length(store: BillingStore) -> None:
    charges = pl.concat(
        [stored.charges(stored.charge(session="long" * 100_000)), stored.many_charges(2_500)]
    )
    store.commit(stored.commit(charges=charges))
    assert_frame_equal(read_all(store, "charges"), charges)


def test_numbers_ascend_over_commits(store: BillingStore) -> None:
    for offset in (0, 10, 20):
        rows = [stored.charge(session=f"{offset}-{n}") for n in range(3)]
        store.commit(stored.commit(offset, charges=stored.charges(*rows)))
    assert store.charges_after(0, 100)["seq"].to_list() == list(range(1, 10))
    assert store.last_seq("charges") == 9
    assert store.last_seq("suspense") == 0


def test_a_partition_is_loaded_as_its_last_commit_left_it(store: BillingStore) -> None:
    assert store.load(0) is None
    position = SourcePosition("a.log", 4, b"head", 100, 3, b"taken")
    store.commit(
        stored.commit(
            counts={"records": 10, "applied": 9},
            clock_ms=None,
            sessions_open=2,
            state_added=(StateChunk("page", 2, b"p2"), StateChunk("delta", 1, b"d1")),
            sources=[position],
        )
    )
    store.commit(stored.commit(0, partition=7, state_added=(StateChunk("delta", 1, b"other"),)))
    loaded = store.load(0)
    assert loaded is not None
    assert (loaded.next_offset, loaded.clock_ms, loaded.sessions_open) == (10, None, 2)
    assert loaded.counts == {"records": 10, "applied": 9}
    assert loaded.state == (StateChunk("delta", 1, b"d1"), StateChunk("page", 2, b"p2"))
    assert loaded.sources == (position,)
    store.commit(
        stored.commit(
            10, 25, state_added=(StateChunk("delta", 2, b"d2"),), state_dropped=(("delta", 1),)
        )
    )
    loaded = store.load(0)
    assert loaded is not None
    assert (loaded.next_offset, loaded.clock_ms) == (25, NOON_MS)
    assert loaded.state == (StateChunk("delta", 2, b"d2"), StateChunk("page", 2, b"p2"))
    other = store.load(7)
    assert other is not None
    assert other.state == (StateChunk("delta", 1, b"other"),)


def test_a_source_moves_on_and_other_content_under_its_name_does_not_hide_it(
    store: BillingStore,
) -> None:
    old = SourcePosition("tv.log", 4, b"old", 100, 3, b"old100")
    store.commit(stored.commit(0, sources=[old]))
    new = SourcePosition("tv.log", 4, b"new", 50, 2, b"new50")
    store.commit(stored.commit(10, sources=[new]))
    further = SourcePosition("tv.log", 4, b"old", 200, 6, b"old200")
    store.commit(stored.commit(20, sources=[further]))
    loaded = store.load(0)
    assert loaded is not None
    assert loaded.sources == (new, further)


def test_a_commit_on_another_offset_changes_nothing(store: BillingStore) -> None:
    store.commit(stored.commit(0, 10))
    late = stored.commit(
        0,
        20,
        charges=stored.charges(stored.charge()),
        accounts=stored.accounts(stored.account("bo", 5)),
        state_added=(StateChunk("delta", 1, b"x"),),
    )
    with pytest.raises(OffsetMoved, match="stands at offset 10, but this batch goes on from 0"):
        store.commit(late)
    with pytest.raises(OffsetMoved, match="partition 3 stands at offset 0"):
        store.commit(stored.commit(5, partition=3))
    loaded = store.load(0)
    assert loaded is not None
    assert (loaded.next_offset, loaded.state) == (10, ())
    assert store.load(3) is None
    assert store.last_seq("charges") == 0
    assert list(store.accounts()) == []


def test_of_two_workers_with_one_partition_only_the_first_commits(url: str) -> None:
    with open_store(url) as first, open_store(url) as second:
        first.commit(stored.commit(0, charges=stored.charges(stored.charge())))
        with pytest.raises(OffsetMoved):
            second.commit(stored.commit(0, charges=stored.charges(stored.charge(session="s9"))))
        second.commit(stored.commit(10, charges=stored.charges(stored.charge(session="s2"))))
        assert first.last_seq("charges") == 2


def bought(**given: Any) -> dict[str, Any]:
    """A purchase of 5.00 from a prepaid balance."""
    return stored.charge(type="purchase", watched_ms=0, session="", paid=5_000_000, **given)


def held(store: BillingStore) -> list[tuple[Any, ...]]:
    """What was held back because its id is taken: type, account, watched time, id."""
    rows = read_all(store, "suspense").filter(reason="charge_id_taken").to_dicts()
    return [
        (row["type"], row["account"], row["watched_ms"], json.loads(row["raw"])["charge_id"])
        for row in rows
    ]


def test_a_purchase_is_never_stored_twice_even_with_another_time(store: BillingStore) -> None:
    first = bought()
    later = {**first, **dict.fromkeys(("start", "slot"), NOON_MS + HOUR_MS)}
    store.commit(stored.commit(0, charges=stored.charges(first)))
    other = stored.charge(account="bo")
    result = store.commit(stored.commit(10, charges=stored.charges(later, other)))
    assert result.charges["account"].to_list() == ["bo"]
    assert held(store) == [("purchase", "anna", None, first["charge_id"])]
    assert first["charge_id"] in read_all(store, "suspense")["detail"][0]
    assert read_all(store, "charges")["account"].to_list() == ["anna", "bo"]  # others are stored
    position = store.positions()[0]
    assert position.next_offset == 20  # and the partition goes on
    refund = bought(charge_id=first["charge_id"], start=NOON_MS + 90 * 24 * HOUR_MS)
    store.commit(stored.commit(20, charges=stored.charges(refund | {"type": "refund"})))
    assert [row[0] for row in held(store)] == ["purchase", "refund"]


def test_a_batch_that_has_an_id_twice_stores_it_once(store: BillingStore) -> None:
    twice, usage = bought(), stored.charge()
    again = usage | {"watched_ms": 70, "total": 1}
    store.commit(stored.commit(charges=stored.charges(usage, twice, again, twice)))
    charges = read_all(store, "charges")
    assert sorted(charges["type"]) == ["purchase", "usage"]
    assert charges.filter(type="usage")["watched_ms"].to_list() == [600_000]  # the first
    assert sorted(held(store)) == [
        ("purchase", "anna", None, twice["charge_id"]),
        ("usage", "anna", 70, usage["charge_id"]),
    ]


@pytest.mark.parametrize("rows", [1, 6_000])
def test_viewing_whose_id_is_taken_is_suspended(store: BillingStore, rows: int) -> None:
    """In small batches, which go in row by row, and in large ones."""
    first = stored.many_charges(rows, seed=1)
    store.commit(stored.commit(0, charges=first))
    repeated = pl.concat([stored.many_charges(rows, seed=2), first.sample(1, seed=3)])
    store.commit(stored.commit(10, charges=repeated))
    assert store.last_seq("charges") == 2 * rows
    ((type_, _, watched_ms, charge_id),) = held(store)
    kept = first.filter(charge_id=charge_id)
    assert (type_, watched_ms) == ("usage", kept["watched_ms"][0])


def test_what_was_held_back_is_found_by_the_laws(store: BillingStore) -> None:
    first, usage = bought(), stored.charge(paid=7)
    account = stored.account("anna", 1, topups=10_000_015, paid=14, purchases=10_000_000)
    store.commit(stored.commit(0, charges=stored.charges(first, usage)))
    store.commit(
        stored.commit(
            10,
            charges=stored.charges(first, usage),
            accounts=stored.accounts(account),
            counts={"records": 4, "applied": 4, "watched_ms": 1_200_000},
        )
    )
    laws = store.laws()
    assert (laws.charges, laws.records_suspended) == (2, 0)
    assert laws.charged_ms + laws.suspended_ms == 1_200_000
    assert (laws.paid_open_micros, laws.balances_wrong, laws.orders_wrong) == (0, 0, 0)


def test_sums_of_a_store_may_pass_64_bits(store: BillingStore) -> None:
    """12 x 10^12 units, which is large in euro and not in IRR."""
    amounts = {"gross": 6 * 10**17, "tax": -1, "paid": 6 * 10**17, "unfunded": 1}
    rows = [stored.charge(session=f"s{n}", **amounts) for n in range(20)]
    paid = [stored.account(f"a{n}", 0, topups=10**18, paid=10**18) for n in range(12)]
    store.commit(stored.commit(charges=stored.charges(*rows), accounts=stored.accounts(*paid)))
    (sums,) = store.summary().charges.to_dicts()
    assert (sums["gross"], sums["total"]) == (12 * 10**18, 12 * 10**18)
    assert (sums["tax"], sums["unfunded"], sums["charges"]) == (-20, 20, 20)
    assert store.laws().paid_open_micros == 0


def test_accounts_and_orders_are_kept_as_they_last_were(store: BillingStore) -> None:
    store.commit(
        stored.commit(
            0,
            accounts=stored.accounts(stored.account("anna", 1), stored.account("bo", 2)),
            orders=stored.orders(stored.order("o1"), stored.order("o1", account="bo")),
        )
    )
    bo, cancelled = stored.account("bo", 9), stored.order("o1", status="cancelled")
    store.commit(stored.commit(10, accounts=stored.accounts(bo), orders=stored.orders(cancelled)))
    assert pl.concat(store.accounts()).rows() == [
        tuple(stored.account("anna", 1).values()),
        tuple(bo.values()),
    ]
    assert pl.concat(store.orders(rows=1))["status"].to_list() == ["cancelled", "active"]


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import stored
from sinks.store import open_store

store = open_store(sys.argv[1])
store.commit(stored.commit(0, charges=stored.many_charges(3000)))
print("committed", flush=True)
offset = 10
while True:
    store.commit(stored.commit(offset, charges=stored.many_charges(300, seed=offset)))
    offset += 10
"""


def test_what_was_committed_survives_a_kill_and_nothing_else_does(url: str) -> None:
    tests = Path(__file__).parents[1]
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, url, str(tests)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tests.parent,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "committed\n"
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    with open_store(url) as store:
        loaded = store.load(0)
        assert loaded is not None
        commits = loaded.next_offset // 10
        assert store.last_seq("charges") == 3_000 + 300 * (commits - 1)
        assert_frame_equal(store.charges_after(0, 3_000).drop("seq"), stored.many_charges(3_000))


def test_one_thread_reads_only_what_another_has_committed(store: BillingStore) -> None:
    stop = threading.Event()
    seen: list[int] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(store.last_seq("charges"))

    reader = threading.Thread(target=read)
    reader.start()
    for offset in range(0, 100, 10):
        store.commit(stored.commit(offset, charges=stored.many_charges(100, seed=offset)))
    stop.set()
    reader.join()
    assert seen == sorted(seen)
    assert all(number % 100 == 0 for number in seen)


def test_threads_commit_partitions_side_by_side(store: BillingStore) -> None:
    """And one whose offset has moved is refused without harm to the others."""

    def commit_all(partition: int) -> None:
        for offset in range(0, 100, 10):
            charges = stored.many_charges(20, seed=1_000 * partition + offset)
            store.commit(stored.commit(offset, partition=partition, charges=charges))
            with pytest.raises(OffsetMoved):
                store.commit(stored.commit(offset, partition=partition, charges=charges))

    with ThreadPoolExecutor(12) as threads:
        for done in [threads.submit(commit_all, partition) for partition in range(12)]:
            done.result()
    assert {number: at.next_offset for number, at in store.positions().items()} == dict.fromkeys(
        range(12), 100
    )
    charges = store.charges_after(0, 10**9)
    assert charges["seq"].to_list() == list(range(1, 12 * 10 * 20 + 1))


# --- books ----------------------------------------------------------------------------------------


def test_books_are_kept_and_come_back_in_the_order_of_their_time(store: BillingStore) -> None:
    later = StoredBook("b-2", 2_000, "EUR", "Asia/Kolkata", "f2", "later")
    first = StoredBook("b-1", -(2**62), "EUR", "Asia/Kolkata", "f1", "first")
    store.add_books([later, first])
    store.add_books([first])
    assert store.books() == [first, later]


def test_a_book_changed_under_its_id_is_refused(store: BillingStore) -> None:
    store.add_books([stored.BOOK])
    changed = StoredBook("nordic", 0, "SEK", "Europe/Stockholm", "f2", "dearer")
    new = StoredBook("nordic-2", 5, "SEK", "Europe/Stockholm", "f3", "new")
    with pytest.raises(BookChanged, match=r"'nordic'.*needs an id of its own"):
        store.add_books([new, changed])
    assert store.books() == [stored.BOOK]


# --- cursors --------------------------------------------------------------------------------------


def test_a_cursor_gives_every_row_once_in_pages(store: BillingStore) -> None:
    charges = stored.many_charges(250)
    store.commit(stored.commit(0, charges=charges))
    pages, seq = [], 0
    while not (page := store.charges_after(seq, 100)).is_empty():
        pages.append(page)
        seq = page["seq"][-1]
    assert [page.height for page in pages] == [100, 100, 50]
    assert_frame_equal(pl.concat(pages).drop("seq"), charges)
    assert store.charges_after(10, 100, upto_seq=12)["seq"].to_list() == [11, 12]


def test_an_empty_page_has_its_columns(store: BillingStore) -> None:
    assert store.charges_after(0, 10).schema == {"seq": pl.Int64, **stored.charges().schema}
    assert store.suspense_after(0, 10).schema == {"seq": pl.Int64, **stored.suspense().schema}
    assert store.signals_after(0, 10).schema == {"seq": pl.Int64, **stored.signals().schema}


def test_named_cursors_remember_where_a_projection_stands(store: BillingStore) -> None:
    assert store.cursor("topic") is None
    store.set_cursor("topic", 5)
    store.set_cursor("other", 9, b"payload")
    store.set_cursor("topic", 6)
    assert store.cursor("topic") == Cursor(6, b"")
    assert store.cursor("other") == Cursor(9, b"payload")


# --- questions ------------------------------------------------------------------------------------


def test_a_charge_is_found_by_its_id(store: BillingStore) -> None:
    charges = stored.many_charges(20)
    store.commit(stored.commit(0, charges=charges))
    assert_frame_equal(store.charge(charges["charge_id"][7]).drop("seq"), charges[7:8])
    assert store.charge(str(uuid4())).is_empty()
    assert store.charge("no such id").is_empty()


def test_an_accounts_charges_are_found_by_slot(store: BillingStore) -> None:
    charges = stored.many_charges(2_000)
    name = charges["account"][0]
    store.commit(stored.commit(0, charges=charges))
    theirs = charges.with_row_index("seq", 1).filter(pl.col("account") == name)
    theirs = theirs.sort("start", "seq").drop("seq")
    assert_frame_equal(store.charges_of_account(name).drop("seq"), theirs)
    from_ms, to_ms = theirs["slot"][1], theirs["slot"][-1]
    some = theirs.filter(pl.col("slot").is_between(from_ms, to_ms, closed="left"))
    assert 0 < some.height < theirs.height
    assert_frame_equal(store.charges_of_account(name, from_ms, to_ms).drop("seq"), some)
    assert store.charges_of_account(name, to_ms, from_ms).is_empty()
    assert store.charges_of_account("nobody").is_empty()


def test_open_sessions_are_those_last_written_of_each_partition(store: BillingStore) -> None:
    store.replace_open_sessions(
        stored.sessions(stored.session(), stored.session(session="gone")), 10
    )
    store.replace_open_sessions(stored.sessions(stored.session(account="bo")), 15, partition=1)
    store.replace_open_sessions(stored.sessions(stored.session(playing=False)), 20)
    found = pl.concat(store.open_sessions()).sort("account")
    assert found["as_of_ms"].to_list() == [20, 15]
    assert found["account"].to_list() == ["anna", "bo"]
    assert found["playing"].to_list() == [False, True]


def fill(store: BillingStore) -> None:
    """Two partitions: a purchase, its refund, and a piece of usage half of which was paid."""
    prepaid = stored.account("bo", 7_500_000, topups=10_000_000, paid=2_500_000)
    buyer = stored.account("cia", 4, topups=4, purchases=99, refunds=99)
    store.commit(
        stored.commit(
            counts={"records": 10, "suspended": 2},
            clock_ms=NOON_MS,
            sessions_open=1,
            charges=stored.charges(
                stored.charge(account="bo", unfunded=2_500_000, paid=2_500_000),
                stored.charge(account="cia", session="p", type="purchase", paid=99, watched_ms=0),
                stored.charge(account="cia", session="r", type="refund", paid=-99, watched_ms=0),
                stored.charge(session="e", currency="EUR", gross=3, tax=0),
            ),
            suspense=stored.suspense(
                {"reason": "malformed", "detail": "d"},
                {"reason": "malformed", "detail": "d"},
                {"reason": "no_rule", "detail": "d", "type": "usage", "watched_ms": 70},
            ),
            signals=stored.signals({"type": "balance.exhausted", "account": "bo", "time": 6}),
            accounts=stored.accounts(prepaid, buyer),
            orders=stored.orders(stored.order("o1", account="cia", status="cancelled")),
        )
    )
    store.commit(stored.commit(partition=1, counts={"records": 5}, clock_ms=NOON_MS - 1))


def test_a_summary_adds_up_what_is_stored(store: BillingStore) -> None:
    fill(store)
    summary = store.summary()
    assert summary.charges.select("currency", "type", "charges", "watched_ms", "total").rows() == [
        ("EUR", "usage", 1, 600_000, 3),
        ("SEK", "purchase", 1, 0, 5_000_000),
        ("SEK", "refund", 1, 0, 5_000_000),
        ("SEK", "usage", 1, 600_000, 5_000_000),
    ]
    assert summary.charges["unfunded"].sum() == 2_500_000
    assert summary.suspense.rows() == [("malformed", 2, 0), ("no_rule", 1, 70)]
    assert summary.signals.rows() == [("balance.exhausted", 1)]
    assert summary.counts == {"records": 15, "suspended": 2}
    assert (summary.accounts, summary.orders, summary.partitions) == (2, 1, 2)
    assert (summary.sessions_open, summary.clock_ms) == (1, NOON_MS - 1)


def test_the_laws_compare_charges_with_accounts(store: BillingStore) -> None:
    fill(store)
    laws = store.laws()
    assert laws.counts == {"records": 15, "suspended": 2}
    assert (laws.charges, laws.records_suspended, laws.sessions_open) == (4, 2, 1)
    assert (laws.charged_ms, laws.suspended_ms) == (1_200_000, 70)
    assert (laws.paid_open_micros, laws.balances_wrong, laws.orders_wrong) == (0, 0, 0)
    wrong = stored.accounts(
        stored.account("bo", 1, topups=10, paid=2_500_004), stored.account("dan", 5, purchases=5)
    )
    store.commit(stored.commit(10, accounts=wrong))
    laws = store.laws()
    assert (laws.paid_open_micros, laws.balances_wrong, laws.orders_wrong) == (4, 2, 1)


def test_an_empty_store_has_nothing_to_add_up(store: BillingStore) -> None:
    summary, laws = store.summary(), store.laws()
    assert summary.charges.is_empty()
    assert (summary.counts, summary.clock_ms, summary.sessions_open) == ({}, None, 0)
    assert (laws.charges, laws.charged_ms, laws.paid_open_micros) == (0, 0, 0)


def test_other_kinds_of_store_are_named_in_the_error() -> None:
    with pytest.raises(StoreError, match="no store of kind 'mysql'"):
        open_store("mysql://host/db")
