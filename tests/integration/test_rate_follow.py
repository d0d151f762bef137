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
from click.testing import CliRunner
from patience import PATIENCE_S
from services.gateway import COMMAND, environment
from services.website import BOOK

from rating.runtime.cli import main
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


# --- killed while the log is rotated -------------------------------------------------------------


class Rotating:
    """A log that a writer fills with sessions, rotated by renaming as logrotate does it."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "events.ndjson"
        self.whole = b""
        self._writer = self.log.open("ab", buffering=0)
        self._rotations = 0
        self._sessions = 0

    def write(self, sessions: int) -> None:
        """Sessions of a minute each, one after the other."""
        for _ in range(sessions):
            self._sessions += 1
            begin = scenes.at("12:00") + 90_000 * self._sessions
            beats = (begin, begin + 30_000, begin + 60_000)
            lines = b"".join(
                line + b"\n" for line in scenes.watch(*beats, session=f"s{self._sessions}")
            )
            self._writer.write(lines)
            self.whole += lines

    def rename(self) -> None:
        """The writer still has the file open."""
        for number in range(self._rotations, 0, -1):
            old = self.log.with_name(f"events.ndjson.{number}")
            old.rename(self.log.with_name(f"events.ndjson.{number + 1}"))
        self.log.rename(self.log.with_name("events.ndjson.1"))
        self._rotations += 1

    def open_anew(self) -> None:
        self._writer.close()
        self._writer = self.log.open("ab", buffering=0)


def exported_charges(store: Path) -> list[str]:
    words = ("export", "charges", "--store", str(store), "--format", "ndjson")
    lines = CliRunner().invoke(main, words).stdout.splitlines()
    return sorted(line for line in lines if line.startswith("{"))


@pytest.mark.timeout(600)
def test_a_follower_that_is_killed_in_mid_rotation_charges_the_same(tmp_path: Path) -> None:
    folder, store = tmp_path / "usage", tmp_path / "bills.db"
    folder.mkdir()
    rotating = Rotating(folder)
    words = ("rate", "--tariffs", str(BOOK), "--store")

    def follow() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *words, str(store), "--follow", str(folder)],
            env=environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def kill(follower: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
        follower.kill()
        assert follower.communicate()[1].count(b"Warning") == 0
        return follow()

    follower = follow()
    for place in range(4):
        rotating.write(5)
        charged = len(exported_charges(store))
        if place % 2 == 0:
            wait_until(lambda least=charged: len(exported_charges(store)) > least, 120)  # type: ignore[misc]
        rotating.rename()
        if place == 0:
            follower = kill(follower)
        rotating.write(3)  # to the file under its new name
        if place == 1:
            follower = kill(follower)
        rotating.open_anew()
        if place == 2:
            follower = kill(follower)
        rotating.write(3)
        if place == 3:
            follower = kill(follower)
    wait_until(lambda: len(exported_charges(store)) == 44, 120)
    follower.send_signal(signal.SIGTERM)
    assert follower.communicate(timeout=60)[1].count(b"Warning") == 0
    assert follower.returncode == 0
    whole, expected = tmp_path / "whole.ndjson", tmp_path / "expected.db"
    whole.write_bytes(rotating.whole)
    assert CliRunner().invoke(main, [*words, str(expected), str(whole)]).exit_code == 0
    assert exported_charges(store) == exported_charges(expected)
