"""`ratecast rate --follow` shows what it has, while it goes on: open sessions, and Parquet files."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
import scenes
from patience import PATIENCE_S
from services.gateway import COMMAND, environment
from services.website import BOOK

from sinks.store import StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wait_until(is_so: Callable[[], bool], within_s: float) -> None:
    ends_s = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < ends_s, "waited too long"
        time.sleep(0.1)


def open_sessions(store: Path) -> dict[str, int]:
    """The watched time of each session that is open, by its name, as the store shows it now."""
    try:
        with open_store(str(store), create=False) as opened:
            rows = [row for page in opened.open_sessions(100) for row in page.to_dicts()]
    except StoreError:
        return {}
    watched: dict[str, int] = {}
    for row in rows:
        watched[row["session"]] = watched.get(row["session"], 0) + row["watched_ms"]
    return watched


def in_parquet(folder: Path) -> list[Any]:
    files = list(folder.glob("charges/**/*.parquet"))
    return pl.read_parquet(files)["session"].to_list() if files else []


@pytest.mark.timeout(180)
def test_what_is_open_is_shown_before_it_ends(tmp_path: Path) -> None:
    log, store, lake = tmp_path / "usage", tmp_path / "bills.db", tmp_path / "lake"
    log.mkdir()
    words = ("--tariffs", str(BOOK), "--store", str(store), "--parquet", str(lake), "--json")
    rating = subprocess.Popen(
        [*COMMAND, "rate", *words, "--follow", str(log)], env=environment(), stdout=subprocess.PIPE
    )
    noon = scenes.at("12:00")
    with (log / "usage-1.ndjson").open("ab", buffering=0) as growing:
        first = [scenes.view(noon + at, session="open") for at in (0, 30_000)]
        growing.write(b"\n".join([*first, b""]))
        wait_until(lambda: open_sessions(store) == {"open": 30_000}, 120)
        more = [scenes.view(noon + 60_000, session="open")]
        done = scenes.watch(noon, noon + 45_000, session="done")
        growing.write(b"\n".join([*more, *done, b""]))
        # Nothing more comes, and it is shown all the same.
        wait_until(lambda: open_sessions(store) == {"open": 60_000}, 30)
        wait_until(lambda: in_parquet(lake) == ["done"], 30)
        assert rating.poll() is None
        rating.send_signal(signal.SIGTERM)
    summary = json.loads(rating.communicate(timeout=PATIENCE_S)[0])
    assert rating.returncode == 0
    assert summary["sessions_open"] == 1
    assert open_sessions(store) == {"open": 60_000}
