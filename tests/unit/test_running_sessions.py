"""The list of open sessions, made from the state of the last commits."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

from ingest.json_lines import decode_lines
from rating.runtime.books import books_in_force
from rating.runtime.cli import main
from rating.runtime.partition import Partition
from rating.runtime.running_sessions import CLAIM, SessionsList
from sinks.store import open_store
from tariffs.load import load_books

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore

GOLDEN = Path(__file__).parents[1] / "golden" / "nordic"
BOOKS = load_books([str(GOLDEN / "nordic-2026-01.toml")], strict=False)
LINES = (GOLDEN / "evening.ndjson").read_bytes().splitlines()
PARTS = {0: LINES[:120], 3: LINES[:260]}  # two partitions that were cut off in mid-evening


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BillingStore]:
    with open_store(str(tmp_path / "store.db")) as opened:
        books_in_force(BOOKS, opened)
        yield opened


def rate(store: BillingStore, partition: int, lines: list[bytes]) -> None:
    """Rate lines as a worker would: a commit, and no list."""
    taken = Partition.load(partition, BOOKS, store)
    batch = decode_lines(b"\n".join(lines), str)
    taken.commit(taken.rate(batch, taken.next_offset + 1))


def listed(store: BillingStore) -> pl.DataFrame:
    pages = list(store.open_sessions())
    found = pl.concat(pages) if pages else pl.DataFrame({"account": []})
    return found.sort(found.columns)


def test_it_has_what_a_run_over_the_same_records_leaves(
    store: BillingStore, tmp_path: Path
) -> None:
    log = tmp_path / "log.ndjson"
    log.write_bytes(b"\n".join(PARTS[3]) + b"\n")
    other = str(tmp_path / "other.db")
    book = str(GOLDEN / "nordic-2026-01.toml")
    rated = CliRunner().invoke(main, ["rate", "--tariffs", book, "--store", other, str(log)])
    assert rated.exit_code == 0, rated.output
    rate(store, 3, PARTS[3])
    assert listed(store).is_empty()
    assert SessionsList(store).write() > 0
    with open_store(other, create=False) as embedded:
        assert_frame_equal(listed(store), listed(embedded))


def test_each_partition_is_as_of_its_own_last_commit(store: BillingStore) -> None:
    kept = SessionsList(store)
    assert kept.write() == 0
    for number, lines in PARTS.items():
        rate(store, number, lines[:-20])
    before = kept.write()
    assert before == listed(store).height > 0
    shown = listed(store)
    assert kept.write() == before
    assert_frame_equal(listed(store), shown)
    rate(store, 0, PARTS[0][-20:])
    kept.write()
    clocks = {number: position.clock_ms for number, position in store.positions().items()}
    assert set(listed(store)["as_of_ms"].unique()) == set(clocks.values())


def test_one_of_several_follows_and_another_takes_over(store: BillingStore) -> None:
    rate(store, 0, PARTS[0])
    held = store.claim(CLAIM)
    assert held is not None
    stop, counts = threading.Event(), []

    def report(count: int) -> None:
        counts.append(count)
        stop.set()

    following = threading.Thread(target=SessionsList(store).follow, args=(0.05, report, stop))
    following.start()
    following.join(0.3)
    assert following.is_alive()
    assert counts == []
    held.release()
    following.join(20)
    assert counts == [listed(store).height]


def test_the_command_says_how_many(store: BillingStore) -> None:
    rate(store, 0, PARTS[0])
    told = CliRunner().invoke(main, ["sessions", "--store", store.url, "--json"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout) == {"sessions_open": listed(store).height}
    exported = CliRunner().invoke(main, ["export", "sessions", "--store", store.url])
    assert len(exported.stdout.splitlines()) == listed(store).height


def test_the_command_makes_no_store(tmp_path: Path) -> None:
    missed = CliRunner().invoke(main, ["sessions", "--store", str(tmp_path / "none.db")])
    assert missed.exit_code == 1
    assert not (tmp_path / "none.db").exists()
