"""The command line on a billing store in PostgreSQL: everything is as it is on SQLite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal
from psycopg.conninfo import conninfo_to_dict

from rating.runtime.cli import main

ROOT = Path(__file__).parents[2]
NORDIC = ROOT / "tests" / "golden" / "nordic"
BOOK = NORDIC / "nordic-2026-01.toml"
LOG = NORDIC / "evening.ndjson"
RATECAST = "from rating.runtime.cli import main; main()"
WHAT = ("charges", "suspense", "signals", "balances", "orders", "sessions")


def ratecast(*words: str | Path) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def exported(store: str) -> dict[str, str]:
    return {
        f"{what}.{form}": ratecast("export", what, "--format", form, "--store", store)
        for what in WHAT
        for form in ("ndjson", "csv")
    }


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The nordic evening before it is over."""
    path = tmp_path / "evening.ndjson"
    lines = LOG.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) * 2 // 3]))
    return path


@pytest.fixture
def both(postgres_url: str, tmp_path: Path, log: Path) -> tuple[str, str]:
    """That log in both stores, in small batches."""
    stores = str(tmp_path / "store.db"), postgres_url
    for store in stores:
        folder = tmp_path / f"parquet-{stores.index(store)}"
        summary = json.loads(
            ratecast(
                *("rate", "--tariffs", BOOK, "--json", "--batch", "7", "--store", store),
                *("--parquet", folder, log),
            )
        )
        assert all(law["holds"] for law in summary["laws"])
    return stores


def test_every_export_is_the_same_to_the_byte(both: tuple[str, str]) -> None:
    embedded, server = map(exported, both)
    assert embedded.keys() == server.keys()
    for name, text in embedded.items():
        assert server[name] == text, name
    assert embedded["charges.ndjson"].count("\n") > 5
    assert embedded["sessions.ndjson"].count("\n") > 0


def test_the_next_run_goes_on_and_closes(both: tuple[str, str], log: Path) -> None:
    log.write_bytes(LOG.read_bytes())
    for store in both:
        ratecast("rate", "--tariffs", BOOK, "--close", "--store", store, log)
    embedded, server = map(exported, both)
    assert server == embedded
    assert embedded["sessions.ndjson"] == ""


def test_status_and_explain_say_the_same(both: tuple[str, str]) -> None:
    standings = [json.loads(ratecast("status", "--json", "--store", store)) for store in both]
    for standing in standings:
        assert all(law["holds"] for law in standing["laws"])
        standing.pop("store")
        # A head vouches for when books were stored and for the state's bytes, too: not the same.
        standing["heads"] = [head.rpartition(":")[0] for head in standing["heads"]]
    assert standings[0] == standings[1]
    charges = ratecast("export", "charges", "--store", both[0]).splitlines()
    charge_id = json.loads(charges[0])["charge_id"]
    embedded, server = (ratecast("explain", charge_id, "--store", store) for store in both)
    assert server == embedded
    missing = "00000000-0000-0000-0000-000000000000"
    result = CliRunner().invoke(main, ["explain", missing, "--store", both[1]])
    assert result.exit_code == 1
    assert "there is no charge" in result.output


def test_parquet_holds_the_same_rows(both: tuple[str, str], tmp_path: Path) -> None:
    embedded, server = (
        pl.read_parquet(tmp_path / f"parquet-{index}" / "charges" / "**" / "*.parquet")
        for index in range(len(both))
    )
    assert_frame_equal(server, embedded)


def test_no_command_shows_the_password(both: tuple[str, str]) -> None:
    url = both[1]
    password = str(conninfo_to_dict(url)["password"])
    for words in (["status"], ["status", "--json"], ["prepare"], ["explain", "nothing"]):
        result = CliRunner().invoke(main, [*words, "--store", url])
        assert "postgresql://" in result.output
        assert password not in result.output


def test_prepare_makes_a_store_and_prints_the_grants(postgres_url: str) -> None:
    assert ratecast("prepare", "--store", postgres_url).endswith(": ready\n")
    assert ratecast("export", "charges", "--store", postgres_url) == ""
    assert "GRANT ratecast_reader TO ratecast_writer" in ratecast("prepare", "--grants")


def test_a_killed_run_goes_on_and_ends_the_same(postgres_url: str, tmp_path: Path) -> None:
    """Killed by the signal that nothing can catch, three times in the midst of commits."""
    simulation = ["simulate", "--households", "300", "--hours", "1", "--seed", "3"]
    book, log = tmp_path / "book.toml", tmp_path / "log.ndjson"
    ratecast(*simulation, "--out", log, "--tariffs-out", book)
    rate = ["rate", "--tariffs", str(book), "--close", "--batch", "150"]
    command = [sys.executable, "-c", RATECAST, *rate, "--store", postgres_url, str(log)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    kills = 0
    for after_rows in (1, 2_000, 4_000):
        run = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while run.poll() is None and records_in(postgres_url) < after_rows:
            pass
        run.send_signal(signal.SIGKILL)
        kills += run.wait() == -signal.SIGKILL
    assert kills > 0
    ratecast(*rate, "--store", postgres_url, log)
    embedded = str(tmp_path / "whole.db")
    ratecast(*rate, "--store", embedded, log)
    assert exported(postgres_url) == exported(embedded)


def records_in(url: str) -> int:
    """How many usage records are committed."""
    from sinks.store import StoreError, open_store

    try:
        with open_store(url, create=False) as store:
            loaded = store.load(0)
    except StoreError:
        return 0
    return loaded.next_offset if loaded else 0
