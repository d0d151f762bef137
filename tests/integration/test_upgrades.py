"""Stores and topics of earlier releases: this one goes on from them as if it had always been there."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
from dataclasses import replace
from itertools import count
from threading import Event
from typing import TYPE_CHECKING, Any

import polars as pl
import psycopg
import pytest
from releases import RELEASES, LastRelease
from worker_runs import RATECAST, ROOT

from ingest.json_lines import decode_lines
from ingest.kafka.messages import Message, decode_messages
from rating.chunks import pack, unpack
from rating.rater import Rater
from rating.runtime.books import books_in_force
from rating.runtime.embedded import Following, rate_files
from rating.runtime.partition import Partition
from rating.runtime.standing import standing_of
from rating.seals import opened, sealed
from rating.state import DECLARED, STATE_VERSION
from sinks import migrations
from sinks.store import open_store
from sinks.topics.messages import message_keys, message_values

if TYPE_CHECKING:
    from pathlib import Path

    from rating.schemas import StateChunk
    from sinks.store import BillingStore

BATCH = 40
CHARGE = (
    *("charge_id", "type", "account", "session", "content", "plan", "book", "rule", "start", "end"),
    *("watched_ms", "billed_ms", "free_ms", "gross", "discount", "capped", "net", "tax", "total"),
    *("unfunded", "currency"),
)
MONEY = ("account", "balance", "topups", "paid", "purchases", "refunds")
ORDER = ("account", "order", "offer", "status", "total", "first_play")
SIGNAL = ("type", "account", "time", "order")
SUSPENDED = ("reason", "account", "time")


@pytest.fixture(params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> LastRelease:
    """Each release whose stores this one reads."""
    made: LastRelease = request.param
    return made


def facts(store: BillingStore) -> dict[str, Any]:
    """What a store came to: ids, amounts, balances, and which laws hold."""
    frames = {
        "charges": (store.charges_after(0, 10**9), CHARGE),
        "signals": (store.signals_after(0, 10**9), SIGNAL),
        "suspense": (store.suspense_after(0, 10**9), SUSPENDED),
        "accounts": (pl.concat(list(store.accounts())), MONEY),
        "orders": (pl.concat(list(store.orders())), ORDER),
    }
    rows = {
        name: sorted(frame.select(columns).rows(), key=repr)
        for name, (frame, columns) in frames.items()
    }
    standing = standing_of(store)
    laws = {law.name: law.holds for law in standing.laws}
    assert all(laws.values()), laws
    return {**rows, "counts": standing.holds.counts}


def rate_log(release: LastRelease, store: BillingStore, **more: Any) -> None:
    """Rate what the store has not rated yet of `usage.ndjson` in the current folder."""
    options = {"close": True, "batch_records": BATCH, "progress": lambda _: None, **more}
    rate_files(release.books(), store, ["usage.ndjson"], **options)


def versions(chunks: tuple[StateChunk, ...]) -> list[int]:
    """The versions of the state that chunks are of."""
    return sorted({unpack(opened(chunk).payload).version for chunk in chunks})


# --- the store ----------------------------------------------------------------------------------


def test_a_store_is_rated_on_as_if_it_had_always_been_new(
    release: LastRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = release.put_sqlite(tmp_path)
    with open_store(str(path)) as upgraded, open_store("fresh.db") as fresh:
        before = facts(upgraded)
        rate_log(release, upgraded)
        rate_log(release, fresh)
        assert facts(upgraded) == facts(fresh)
        assert len(facts(fresh)["charges"]) > len(before["charges"]) > 0
        # Nothing was rewritten at once: what was not replaced is as it was.
        stored = upgraded.load(0)
        assert stored is not None
        assert versions(stored.state)[-1] == STATE_VERSION


def test_a_store_is_followed_on(
    release: LastRelease, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    stop = Event()
    records = release.log().count(b"\n")
    with open_store(str(release.put_sqlite(tmp_path))) as upgraded, open_store("fresh.db") as fresh:

        def refreshed() -> None:
            if standing_of(upgraded).holds.counts["records"] == records:
                stop.set()

        following = Following(stop, lambda source: pytest.fail(str(source)), refreshed)
        rate_log(release, upgraded, follow=following)
        rate_log(release, fresh)
        assert facts(upgraded) == facts(fresh)


def test_the_schema_of_a_store_is_brought_to_the_newest(
    release: LastRelease, tmp_path: Path, postgres_url: str
) -> None:
    release.put_postgres(postgres_url)
    with psycopg.connect(postgres_url) as connection:
        (version,) = connection.execute("SELECT version FROM ratecast.store").fetchone() or (0,)
    assert 1 <= version <= len(migrations.scripts("postgres"))
    for url in (str(release.put_sqlite(tmp_path)), postgres_url):
        with open_store(url) as store:
            before = facts(store)
        with open_store(url, create=False) as store:  # a reader takes no other than the newest
            assert facts(store) == before


def test_the_fixtures_have_rows_in_every_table_of_their_state(
    release: LastRelease, tmp_path: Path
) -> None:
    with open_store(str(release.put_sqlite(tmp_path))) as store:
        stored = store.load(0)
    assert stored is not None
    assert {chunk.name.partition(":")[0] for chunk in stored.state} > {"delta"}, "pages, too"
    found = [unpack(chunk.payload) for chunk in stored.state]
    rows = {part.name for chunk in found for part in chunk.parts if len(part.slots)}
    if found[0].version == STATE_VERSION:
        assert rows == set(DECLARED)
    assert len(rows) >= 10


# --- kills --------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [7, 150])
def test_a_rater_that_is_killed_after_every_batch_of_an_upgrade_loses_nothing(
    release: LastRelease, tmp_path: Path, batch: int
) -> None:
    """Old and new pages and deltas lie beside each other at every one of its starts."""
    books = release.books()
    with open_store(str(release.put_sqlite(tmp_path))) as store:
        stored = store.load(0)
    assert stored is not None
    chunks = {(chunk.name, chunk.seq): chunk for chunk in stored.state}
    lines = release.log().splitlines()[stored.counts["records"] :]
    kept, met = Rater(books, stored.state), set()
    for first in range(0, len(lines), batch):
        raw = b"\n".join(lines[first : first + batch]) + b"\n"
        expected = kept.rate(decode_lines(raw, str))
        killed = Rater(books, chunks.values())
        killed.rate(decode_lines(raw, str))  # and nothing of it was committed
        result = Rater(books, chunks.values()).rate(decode_lines(raw, str))
        for name in ("charges", "suspense", "signals", "accounts", "orders"):
            ours, theirs = (
                sorted(getattr(each, name).rows(), key=repr) for each in (result, expected)
            )
            assert ours == theirs, name
        chunks |= {(chunk.name, chunk.seq): chunk for chunk in result.state_added}
        for key in result.state_dropped:
            chunks.pop(key)
        met.add(tuple(versions(tuple(chunks.values()))))
    old = unpack(stored.state[0].payload).version
    if old < STATE_VERSION:
        assert (old, STATE_VERSION) in met, "versions were never mixed"


# --- topics -------------------------------------------------------------------------------------


def test_a_database_is_rated_on_from_its_topic(
    release: LastRelease, tmp_path: Path, postgres_url: str
) -> None:
    release.put_postgres(postgres_url)
    usage = release.topics()["usage"]
    fresh_url = str(tmp_path / "fresh.db")
    with open_store(postgres_url) as upgraded, open_store(fresh_url) as fresh:
        for number, messages in usage.items():
            for store in (upgraded, fresh):
                rate_partition(release, store, number, [value for _, value in messages])
        assert facts(upgraded) == facts(fresh)


def rate_partition(
    release: LastRelease, store: BillingStore, number: int, values: list[bytes | None]
) -> None:
    """Rate what a store has not rated of a partition, in batches of a few messages."""
    partition = Partition.load(number, books_in_force(release.books(), store), store)
    for first in count(partition.next_offset, 25):
        batch = [Message(at, values[at]) for at in range(first, min(first + 25, len(values)))]
        if not batch:
            break
        decoded = decode_messages(f"usage/{number}", batch)
        partition.commit(partition.rate(decoded, batch[-1].offset + 1))


def test_what_was_published_is_what_would_be_published_now(
    release: LastRelease, postgres_url: str
) -> None:
    """A consumer that drops what it knows by id must know it again."""
    release.put_postgres(postgres_url)
    topics = release.topics()
    with open_store(postgres_url) as store:
        rows = {
            "charges": store.charges_after(0, 10**9),
            "signals": store.signals_after(0, 10**9),
            "suspense": store.suspense_after(0, 10**9),
        }
    for kind, frame in rows.items():
        now = {
            message["id"]: (key, message)
            for key, value in zip(message_keys(frame), message_values(kind, frame), strict=True)
            for message in [json.loads(value)]
        }
        then = [pair for messages in topics[kind].values() for pair in messages]
        assert len(then) == len(now) > 0
        for key, value in then:
            message = json.loads(value or b"")
            key_now, message_now = now[message["id"]]
            assert key_now == key
            if kind == "signals":  # what one leaves out was null in 0.1.0
                message |= {name: message[name] or "" for name in ("order", "reason")}
            assert {**message_now, **message} == message_now


# --- a newer release's state ----------------------------------------------------------------------


def make_newer(path: Path) -> None:
    """Let a store's state look as a release of the future leaves it."""
    with open_store(str(path)) as store:
        stored = store.load(0)
    assert stored is not None
    last = max(stored.state, key=lambda chunk: chunk.seq)
    newer = pack(unpack(opened(last).payload).parts, STATE_VERSION + 1, "9.8.7")
    payload = sealed(replace(last, payload=newer)).payload
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE state SET payload = ? WHERE (name, seq) = (?, ?)",
            (payload, last.name, last.seq),
        )
    connection.close()


def test_rate_refuses_the_state_of_a_newer_release(tmp_path: Path) -> None:
    release = RELEASES[-1]
    path = release.put_sqlite(tmp_path)
    make_newer(path)
    books = [word for book in release.book_files for word in ("--tariffs", str(book))]
    ran = subprocess.run(
        [*RATECAST, "rate", *books, "--store", str(path), "usage.ndjson"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stderr
    (said,) = [line for line in ran.stderr.splitlines() if line.startswith("Error:")]
    assert "ratecast 9.8.7 and newer releases read" in said
    assert "Start ratecast 9.8.7 or a newer one" in said
    assert "Traceback" not in ran.stderr
    with open_store(str(path)) as store:
        assert len(store.charges_after(0, 10**9)) == len(facts(store)["charges"])
