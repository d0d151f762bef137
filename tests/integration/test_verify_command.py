"""`ratecast verify` as an operator uses it: keep the heads, and ask again later."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rating.runtime.cli import main

NORDIC = Path(__file__).parents[1] / "golden" / "nordic"


@pytest.fixture(autouse=True)
def _rated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a log and the store that it was rated into."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATECAST_STORE", raising=False)
    Path("log").mkdir()
    Path("log/usage.ndjson").write_bytes((NORDIC / "evening.ndjson").read_bytes())
    book = NORDIC / "nordic-2026-01.toml"
    assert ratecast("rate", "--tariffs", book, "log").exit_code == 0


def ratecast(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def edit(statement: str) -> None:
    connection = sqlite3.connect("ratecast.db")
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


def test_the_heads_that_it_prints_are_those_of_status_and_are_taken_again() -> None:
    first = ratecast("verify")
    assert first.exit_code == 0, first.output
    assert "were checked: all is as it was committed" in first.stderr
    heads = first.stdout.split()
    assert [head.split(":")[0] for head in heads] == ["-1", "0"]
    assert json.loads(ratecast("status", "--json").stdout)["heads"] == heads
    assert all(f"  {head}" in ratecast("status").stdout for head in heads)
    Path("heads.txt").write_text(first.stdout)
    again = ratecast("verify", "--from", "@heads.txt", "--json")
    assert again.exit_code == 0, again.output
    told = json.loads(again.stdout)
    assert (told["findings"], told["rows"], told["heads"]) == ([], 0, heads)
    assert told["older_rows"] > 0


def test_an_edit_is_said_and_ends_it_with_an_error() -> None:
    edit("UPDATE charges SET total = total + 1 WHERE seq = 1")
    found = ratecast("verify")
    assert found.exit_code == 1
    assert "are not as it added them" in found.stderr
    assert "were checked: not as committed: 1" in found.stderr


def test_a_head_of_another_chain_is_said() -> None:
    other = "0:1:" + "ab" * 32
    found = ratecast("verify", "--from", other)
    assert found.exit_code == 1
    assert f"and not {'ab' * 32} as it was kept" in found.stderr
    mistaken = ratecast("verify", "--from", "0:x")
    assert mistaken.exit_code == 2
    assert "is no head of a chain" in mistaken.stderr


def test_a_log_that_was_edited_after_it_was_rated_is_said() -> None:
    log = Path("log/usage.ndjson")
    content = log.read_bytes()
    assert ratecast("verify", "log").exit_code == 0
    moved = Path("old")
    moved.mkdir()
    (moved / "usage.ndjson.gz").write_bytes(gzip.compress(content))
    assert ratecast("verify", moved).exit_code == 0
    log.write_bytes(content + b"{}\n")  # it grew, and the rest was not rated yet
    assert ratecast("verify", "log").exit_code == 0
    for changed in (content.replace(b"anna", b"bert", 1), content[:-2], b"\n" + content):
        assert changed != content
        log.write_bytes(changed)
        found = ratecast("verify", "log")
        assert found.exit_code == 1
        assert "log/usage.ndjson: not as it was rated, somewhere in its first" in found.stderr
    Path("log/other.ndjson").write_bytes(b"{}\n")
    assert "nothing of a log of this name was rated" in ratecast("verify", "log").stderr
