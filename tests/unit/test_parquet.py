"""The Parquet dataset: every row once, typed, in few files, through crashes and beside readers."""

from __future__ import annotations

import fcntl
import json
import shutil
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pyarrow.parquet as pq
import pytest
import stored
from polars.testing import assert_frame_equal
from stored import HOUR_MS, NOON_MS

from rating.schemas import CHARGES
from sinks import parquet
from sinks.parquet import AMOUNTS, ParquetError, ParquetSummary, decimals, write_parquet
from sinks.store import StoredBook, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BillingStore]:
    with open_store(str(tmp_path / "store.db")) as opened:
        opened.add_books([stored.BOOK])
        yield opened


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "dataset"


def add(store: BillingStore, charges: pl.DataFrame) -> None:
    """Commit charges behind what the store has."""
    loaded = store.load(0)
    store.commit(stored.commit(loaded.next_offset if loaded else 0, charges=charges))


def held_seqs(folder: Path, kind: str = "charges") -> list[int]:
    """Every seq that a reader of the dataset finds."""
    files = str(folder / kind / "**" / "*.parquet")
    return [row[0] for row in duckdb.sql(f"SELECT seq FROM '{files}' ORDER BY seq").fetchall()]


def assert_all_once(store: BillingStore, folder: Path) -> None:
    assert held_seqs(folder) == list(range(1, store.last_seq("charges") + 1))


# --- what is written ------------------------------------------------------------------------------


def test_charges_are_as_the_store_has_them(store: BillingStore, folder: Path) -> None:
    add(store, stored.many_charges(500))
    summary = write_parquet(store, folder)
    dates = store.charges_after(0, 500)["local_date"].n_unique()
    assert summary == ParquetSummary(charges=500, suspense=0, signals=0, files=dates)
    held = pl.read_parquet(folder / "charges", hive_partitioning=True).sort("seq")
    wanted = store.charges_after(0, 500)
    times = pl.col("start", "end", "slot", "segment")
    micros = pl.col(AMOUNTS)
    back = held.with_columns(times.cast(pl.Int64), (micros * 1_000_000).cast(pl.Int64))
    names = ["seq", *CHARGES, "region", "paid", "segment", "local_date"]
    assert_frame_equal(back.select(names), wanted.select(names))
    assert_frame_equal(
        held.select((pl.col("start") - pl.col("slot")).dt.total_milliseconds()),
        wanted.select(pl.col("start") - pl.col("slot")),
    )


def test_columns_have_the_types_that_people_expect(store: BillingStore, folder: Path) -> None:
    add(store, stored.charges(stored.charge(gross=1_234_567)))
    write_parquet(store, folder)
    found = duckdb.sql(f"FROM '{folder}/charges/**/*.parquet'")
    types = dict(zip(found.columns, map(str, found.types), strict=True))
    assert types["start"] == types["slot"] == "TIMESTAMP WITH TIME ZONE"
    assert types["total"] == types["paid"] == "DECIMAL(18,6)"
    assert types["local_date"] == "DATE"
    assert (types["local_hour"], types["watched_ms"], types["charge_id"]) == (
        "TINYINT",
        "BIGINT",
        "VARCHAR",
    )
    assert "steps" not in types
    assert found.select("gross").fetchall() == [(Decimal("1.234567"),)]
    (path,) = folder.glob("charges/**/*.parquet")
    assert path.relative_to(folder).parts[1:] == (
        "local_date=2026-03-06",
        "charges-000000000001.parquet",
    )


def test_decimals_are_exact_at_both_ends() -> None:
    ends = [0, 1, -1, 999_999, 1_000_000, -1_000_001, 10**18 - 1, -(10**18) + 1]
    found = decimals(pl.Series(ends)).to_pylist()
    assert found == [Decimal(micros).scaleb(-6) for micros in ends]
    with pytest.raises(AssertionError, match="beyond"):
        decimals(pl.Series([10**18]))


def test_the_hour_is_local_to_the_charges_book(store: BillingStore, folder: Path) -> None:
    store.add_books([StoredBook("india", 0, "INR", "Asia/Kolkata", "f", "")])
    add(
        store,
        stored.charges(
            stored.charge(start=NOON_MS),  # 11:00 UTC
            stored.charge(book="india", session="i", start=NOON_MS + 8 * HOUR_MS),
        ),
    )
    write_parquet(store, folder)
    held = pl.read_parquet(folder / "charges").sort("seq")
    assert held["local_hour"].to_list() == [12, 0]  # Kolkata is 5:30 ahead of 19:00
    assert held["start"][0] == datetime(2026, 3, 6, 11, tzinfo=UTC)


def test_charges_of_a_book_that_the_store_lacks_are_not_guessed_at(
    store: BillingStore, folder: Path
) -> None:
    add(store, stored.charges(stored.charge(book="unknown")))
    with pytest.raises(ParquetError, match="'unknown'"):
        write_parquet(store, folder)


def test_suspense_and_signals_are_written_beside_the_charges(
    store: BillingStore, folder: Path
) -> None:
    suspense = stored.suspense(
        {"reason": "malformed", "detail": "no type", "source": "a.log:7", "raw": b"\xff"},
        {"reason": "no_rule", "detail": "d", "type": "usage", "time": NOON_MS, "watched_ms": 5},
    )
    signal_row = {"type": "order.declined", "account": "bo", "time": NOON_MS, "reason": "r"}
    store.commit(stored.commit(suspense=suspense, signals=stored.signals(signal_row)))
    assert write_parquet(store, folder) == ParquetSummary(0, 2, 1, files=2)
    held = pl.read_parquet(folder / "suspense").sort("seq")
    assert held["reason"].to_list() == ["malformed", "no_rule"]
    assert held["time"].to_list() == [None, datetime(2026, 3, 6, 11, tzinfo=UTC)]
    assert "raw" not in held.columns
    assert pl.read_parquet(folder / "signals")["reason"].to_list() == ["r"]


def test_files_are_sorted_by_account_and_start(store: BillingStore, folder: Path) -> None:
    add(store, stored.many_charges(300))
    write_parquet(store, folder)
    add(store, stored.many_charges(300, seed=1))
    write_parquet(store, folder)
    for path in folder.glob("charges/**/*.parquet"):
        rows = pl.read_parquet(path, hive_partitioning=False)
        assert_frame_equal(rows, rows.sort("account", "start", "seq"))


def test_a_store_open_for_reading_only_is_enough(store: BillingStore, folder: Path) -> None:
    add(store, stored.many_charges(10))
    with open_store(store.url, create=False) as reader:
        assert write_parquet(reader, folder).charges == 10


def test_an_empty_store_gives_an_empty_dataset(store: BillingStore, folder: Path) -> None:
    assert write_parquet(store, folder) == ParquetSummary(0, 0, 0, files=0)
    add(store, stored.many_charges(3))
    assert write_parquet(store, folder).charges == 3


# --- few files ------------------------------------------------------------------------------------


def test_small_runs_grow_one_file_a_date(store: BillingStore, folder: Path) -> None:
    for seed in range(12):
        add(store, stored.many_charges(20, seed=seed))
        assert write_parquet(store, folder).charges == 20
    assert_all_once(store, folder)
    folders = list(folder.glob("charges/*"))
    assert len(list(folder.glob("charges/**/*.parquet"))) == len(folders) <= 4


def test_a_full_file_is_left_alone(store: BillingStore, folder: Path) -> None:
    for session in range(40):
        add(store, stored.charges(stored.charge(session=str(session))))
        write_parquet(store, folder, file_rows=15)
    (date,) = folder.glob("charges/*")
    files = sorted(date.iterdir())
    assert [pq.read_metadata(path).num_rows for path in files] == [15, 15, 10]
    before = [path.stat().st_ino for path in files]
    add(store, stored.charges(stored.charge(session="last")))
    write_parquet(store, folder, file_rows=15)
    after = [path.stat().st_ino for path in files]
    assert (before[:2], before[2] == after[2]) == (after[:2], False)
    assert_all_once(store, folder)


def test_a_run_with_nothing_new_writes_nothing(store: BillingStore, folder: Path) -> None:
    add(store, stored.many_charges(30))
    write_parquet(store, folder)
    files = {path: path.stat().st_ino for path in folder.glob("charges/**/*.parquet")}
    assert write_parquet(store, folder) == ParquetSummary(0, 0, 0, files=0)
    assert {path: path.stat().st_ino for path in folder.glob("charges/**/*.parquet")} == files


def test_windows_of_any_size_give_the_same_rows(store: BillingStore, tmp_path: Path) -> None:
    add(store, stored.many_charges(300))
    for window_rows, file_rows in ((1_000, 1_000), (7, 20), (100, 1), (300, 50)):
        folder = tmp_path / f"{window_rows}-{file_rows}"
        write_parquet(store, folder, window_rows=window_rows, file_rows=file_rows)
        assert_all_once(store, folder)


# --- crashes --------------------------------------------------------------------------------------


class PowerCut(BaseException):
    """Ends a run in the middle."""


def test_a_crash_at_any_step_is_mended_by_the_next_run(
    store: BillingStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(store, stored.many_charges(60))
    put_in_place = parquet._put_in_place
    crashes = 0
    for step in range(100):
        for renamed in (False, True):
            shutil.rmtree(folder, ignore_errors=True)
            left = step

            def put_or_crash(temporary: Path, path: Path, renamed: bool = renamed) -> None:
                nonlocal left
                if left == 0 and not renamed:
                    raise PowerCut
                put_in_place(temporary, path)
                if left == 0:
                    raise PowerCut
                left -= 1

            monkeypatch.setattr(parquet, "_put_in_place", put_or_crash)
            try:
                write_parquet(store, folder, window_rows=12, file_rows=15)
            except PowerCut:
                crashes += 1
            else:
                assert crashes > 20
                return
            seqs = held_seqs(folder) if list(folder.glob("charges/**/*.parquet")) else []
            assert len(set(seqs)) == len(seqs)
            monkeypatch.setattr(parquet, "_put_in_place", put_in_place)
            write_parquet(store, folder, window_rows=40, file_rows=15)
            assert_all_once(store, folder)
    pytest.fail("the run never came to its end")


def test_a_cursor_left_far_behind_repeats_nothing(store: BillingStore, folder: Path) -> None:
    write_parquet(store, folder)
    early = (folder / "_ratecast.json").read_bytes()
    for seed in range(3):
        add(store, stored.many_charges(50, seed=seed))
        write_parquet(store, folder, file_rows=30)
    (folder / "_ratecast.json").write_bytes(early)
    add(store, stored.many_charges(50, seed=9))
    assert write_parquet(store, folder, file_rows=30).charges == 50
    assert_all_once(store, folder)


KILLED = """
import sys
from sinks.parquet import write_parquet
from sinks.store import open_store

with open_store(sys.argv[1], create=False) as store:
    print("begun", flush=True)
    write_parquet(store, sys.argv[2], window_rows=40, file_rows=100)
    print("done", flush=True)
"""


def test_a_killed_run_is_gone_on_with(store: BillingStore, folder: Path) -> None:
    add(store, stored.many_charges(1_500))
    delay_s, done = 0.05, False
    while not done:
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, store.url, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        try:
            done = run.wait(delay_s) == 0
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.wait()
        run.stdout.close()
        if list(folder.glob("charges/**/*.parquet")):
            seqs = held_seqs(folder)
            assert len(set(seqs)) == len(seqs)
        delay_s *= 1.5
    assert_all_once(store, folder)
    assert {path.name for path in folder.iterdir()} == {"_lock", "_ratecast.json", "charges"}


def test_readers_find_every_row_at_most_once_while_files_grow(
    store: BillingStore, folder: Path
) -> None:
    add(store, stored.many_charges(200))
    write_parquet(store, folder)
    stop = threading.Event()
    counts: list[tuple[int, int]] = []

    def read() -> None:
        connection = duckdb.connect()
        query = f"SELECT count(*), count(DISTINCT seq) FROM '{folder}/charges/**/*.parquet'"
        while not stop.is_set():
            counts.append(connection.execute(query).fetchone())  # type: ignore[arg-type]

    reader = threading.Thread(target=read)
    reader.start()
    for seed in range(1, 16):
        add(store, stored.many_charges(40, seed=seed))
        write_parquet(store, folder, file_rows=100)
    stop.set()
    reader.join()
    assert counts
    assert all(rows == distinct for rows, distinct in counts)
    assert [rows for rows, _ in counts] == sorted(rows for rows, _ in counts)


# --- folders --------------------------------------------------------------------------------------


def test_another_stores_dataset_is_refused(
    store: BillingStore, folder: Path, tmp_path: Path
) -> None:
    write_parquet(store, folder)
    other = open_store(str(tmp_path / "other.db"))
    with other, pytest.raises(ParquetError, match="from another store; delete the folder"):
        write_parquet(other, folder)


def test_a_dataset_ahead_of_its_store_is_refused(
    store: BillingStore, folder: Path, tmp_path: Path
) -> None:
    add(store, stored.many_charges(5))
    store.close()
    shutil.copy(tmp_path / "store.db", tmp_path / "copy.db")
    with open_store(str(tmp_path / "store.db")) as later:
        add(later, stored.many_charges(5, seed=1))
        write_parquet(later, folder)
    with open_store(str(tmp_path / "copy.db")) as older:
        with pytest.raises(ParquetError, match="put back to an older copy"):
            write_parquet(older, folder)
        add(older, stored.many_charges(9, seed=2))  # Other charges under the same numbers.
        with pytest.raises(ParquetError, match="put back to an older copy"):
            write_parquet(older, folder)


def test_a_folder_of_other_things_is_left_alone(store: BillingStore, folder: Path) -> None:
    folder.mkdir()
    (folder / "thesis.txt").touch()
    with pytest.raises(ParquetError, match="holds other files"):
        write_parquet(store, folder)
    with pytest.raises(ParquetError, match="this is a file"):
        write_parquet(store, folder / "thesis.txt")
    with pytest.raises(ParquetError, match=r"cannot be written: .*; the next run goes on"):
        write_parquet(store, "/proc/dataset")
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is damaged"),
        ("{}", "is damaged"),
        ('{"format": 0, "store": "", "seq": {}, "last_charge": ""}', "version"),
    ],
)
def test_a_note_that_cannot_be_read_is_not_guessed_at(
    store: BillingStore, folder: Path, content: str, reason: str
) -> None:
    write_parquet(store, folder)
    (folder / "_ratecast.json").write_text(content)
    with pytest.raises(ParquetError, match=reason):
        write_parquet(store, folder)


def test_a_damaged_file_is_named_and_not_written_over(store: BillingStore, folder: Path) -> None:
    add(store, stored.charges(stored.charge()))
    write_parquet(store, folder)
    (path,) = folder.glob("charges/**/*.parquet")
    path.write_bytes(b"PAR1 torn PAR1")
    add(store, stored.charges(stored.charge(session="next")))
    with pytest.raises(ParquetError, match=r"is damaged .*; delete the folder"):
        write_parquet(store, folder)
    assert path.read_bytes() == b"PAR1 torn PAR1"


def test_two_writers_do_not_share_a_dataset(store: BillingStore, folder: Path) -> None:
    write_parquet(store, folder)
    with (folder / "_lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(ParquetError, match="another program is writing this dataset"):
            write_parquet(store, folder)
    write_parquet(store, folder)
    assert json.loads((folder / "_ratecast.json").read_text())["store"] == store.store_id
