"""How fast batches are committed to each billing store, and what two writers cost each other.

Goal: that the store is not what a worker waits for. The batches are what the core made of a
simulated evening, 50,000 usage records each. Baseline: the same charges alone, put into CSV before,
copied in one go by PostgreSQL into a table without index and without crash safety (UNLOGGED).

    python benchmarks/stores.py           # 20,000 households, an hour and a half
    python benchmarks/stores.py --smoke   # seconds; for tests

Both stores flush every commit to the disk. All runs in one process beside the server, so that two
cores are shared by two writers and the server. The hash is of the charges as each store gives them
back; the stores must agree.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import polars as pl
import psycopg

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from services.postgres import PostgresServer, fresh_database

from ingest.json_lines import decode_lines
from ingest.simulator import Faults, Simulation
from rating.rater import Rater
from rating.schemas import Commit
from sinks.postgres_copy import encode_csv
from sinks.store import open_store
from tariffs.load import load_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinks.store import BillingStore

SEED = 7
BATCH_RECORDS = 50_000


def commits_of(book: str, lines: Sequence[bytes], partition: int, batch: int) -> list[Commit]:
    """What the core makes of a partition's lines, batch by batch, closed at the end."""
    rater = Rater((load_text(book, "book.toml"),), ())
    commits = []
    for at in range(0, len(lines), batch):
        part = lines[at : at + batch]
        result = rater.rate(decode_lines(b"\n".join(part) + b"\n", str))
        commits.append(Commit(partition, at, at + len(part), result))
    commits.append(Commit(partition, len(lines), len(lines), rater.close()))
    return commits


def commit_all(store: BillingStore, commits: Sequence[Commit]) -> float:
    """Commit them in their order; returns the seconds that it took."""
    begun_s = time.perf_counter()
    for commit in commits:
        store.commit(commit)
    return time.perf_counter() - begun_s


def commit_together(url: str, parts: Sequence[Sequence[Commit]]) -> float:
    """Commit several partitions at once, each by a writer of its own; returns the seconds."""
    stores = [open_store(url) for _ in parts]
    writers = [
        Thread(target=commit_all, args=(store, commits))
        for store, commits in zip(stores, parts, strict=True)
    ]
    begun_s = time.perf_counter()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    taken_s = time.perf_counter() - begun_s
    for store in stores:
        store.close()
    return taken_s


def charges_hash(store: BillingStore) -> str:
    """A hash of all charges in the order of their ids, since writers may commit in any order."""
    charges = store.charges_after(0, store.last_seq("charges")).drop("seq")
    digest = hashlib.blake2b(digest_size=8)
    for row in charges.sort("charge_id", "start").iter_rows():
        digest.update(repr(row).encode())
    return digest.hexdigest()


def bare_copy(url: str, commits: Sequence[Commit]) -> float:
    """Copy the same charges and nothing else; returns the seconds."""
    blocks = [encode_csv(commit.result.charges) for commit in commits]
    names = {pl.String: "text", pl.Int64: "bigint", pl.Date: "date"}
    columns = ", ".join(
        f'"{name}" {names[dtype.base_type()]}'
        for name, dtype in commits[0].result.charges.schema.items()
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE UNLOGGED TABLE bare ({columns})")
        begun_s = time.perf_counter()
        with connection.cursor().copy("COPY bare FROM STDIN (FORMAT csv)") as copy:
            for block in blocks:
                copy.write(block)
        return time.perf_counter() - begun_s


def report(name: str, taken_s: float, commits: int, charges: int, digest: str = "") -> None:
    print(
        f"{name:<24}{charges / taken_s:>10,.0f} charges/s {commits / taken_s:>8,.1f} commits/s "
        f"{taken_s:>7.2f} s  {digest}".rstrip()
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--households", type=int, default=20_000)
    parser.add_argument("--hours", type=float, default=1.5)
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    asked = parser.parse_args(arguments)
    households, hours = (300, 0.5) if asked.smoke else (asked.households, asked.hours)
    batch = 2_000 if asked.smoke else BATCH_RECORDS
    simulation = Simulation(households, hours, SEED, faults=Faults.parse("typical"))
    lines = b"".join(simulation.blocks()).splitlines()
    book = simulation.book()
    whole = commits_of(book, lines, 0, batch)
    halves = [
        commits_of(book, [line for line in lines if is_odd(line) == odd], int(odd), batch)
        for odd in (False, True)
    ]
    charges = sum(commit.result.charges.height for commit in whole)
    changed = sum(commit.result.accounts.height for commit in whole)
    print(
        f"{len(lines):,} records, {len(whole)} commits, {charges:,} charges, "
        f"{changed:,} changed accounts, seed {SEED}"
    )
    found = set()
    with tempfile.TemporaryDirectory() as folder, PostgresServer(durable=True) as server:
        with fresh_database(server.url()) as url:
            report("bare COPY, no commit log", bare_copy(url, whole), 1, charges)
        with open_store(f"{folder}/store.db") as store:
            taken_s = commit_all(store, whole)
            found.add(charges_hash(store))
            report("SQLite", taken_s, len(whole), charges, charges_hash(store))
        with fresh_database(server.url()) as url, open_store(url) as store:
            taken_s = commit_all(store, whole)
            found.add(charges_hash(store))
            report("PostgreSQL", taken_s, len(whole), charges, charges_hash(store))
        with fresh_database(server.url()) as url:
            taken_s = commit_together(url, halves)
            with open_store(url, create=False) as store:
                digest = charges_hash(store)
        found.add(digest)
        both = sum(map(len, halves))
        report("PostgreSQL, two writers", taken_s, both, charges, digest)
    assert len(found) == 1, f"the stores hold different charges: {found}"


def is_odd(line: bytes) -> bool:
    """Whether a usage record belongs to the second partition: by the last digit of its account."""
    _, mark, rest = line.partition(b'"account":"')
    return bool(mark) and rest.partition(b'"')[0][-1:] in b"13579"


if __name__ == "__main__":
    main()
