"""`ratecast rate` given what people give it: logs twice, edited, compressed, foreign, out of order.

Whatever is given, nothing is charged twice, nothing is left out in silence, and the exit code tells.
"""

from __future__ import annotations

import gzip
import json
import os
import pty
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import scenes
import zstandard
from click.testing import CliRunner, Result
from services.gateway import COMMAND, environment

from rating.runtime.cli import main
from rating.runtime.failures import UNCHARGED, UNREAD

if TYPE_CHECKING:
    from collections.abc import Callable

BOOK = Path(__file__).parents[1] / "cases" / "one-rule.toml"
NOON = scenes.at("12:00")
FOREIGN = {
    "a tariff book": BOOK.read_bytes(),
    "comma-separated values": b"account,content,minutes\n" + b"anna,ch-001,12\n" * 30,
    "another program's log": b"2026-01-05 12:00:00 INFO all is well\n" * 30,
    "records of another kind": b'{"level": "info", "message": "all is well"}\n' * 30,
    "compressed by a program that is not known": bytes(range(256)) * 40 + b"\n" * 40,
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATECAST_STORE", raising=False)


def ratecast(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def rate(*words: str | Path, exit_code: int = 0) -> tuple[dict[str, Any], str]:
    """The summary of a run, and its warnings."""
    result = ratecast("rate", "--tariffs", BOOK, "--json", *words)
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout), result.stderr


def session(name: str, from_ms: int = NOON) -> bytes:
    """A minute of viewing with a stop, as lines."""
    return b"".join(
        line + b"\n"
        for line in scenes.watch(from_ms, from_ms + 30_000, from_ms + 60_000, session=name)
    )


def sessions_charged() -> list[tuple[str, int]]:
    result = ratecast("export", "charges", "--format", "ndjson")
    charges = [json.loads(line) for line in result.stdout.splitlines()]
    return sorted((charge["session"], charge["watched_ms"]) for charge in charges)


# --- the same content again ---------------------------------------------------------------------


def as_it_is(log: Path) -> Path:
    return log


def copied(log: Path) -> Path:
    return Path(shutil.copy(log, "copy.ndjson"))


def zipped(log: Path) -> Path:
    Path("log.ndjson.gz").write_bytes(gzip.compress(log.read_bytes()))
    return Path("log.ndjson.gz")


def zipped_in_members(log: Path) -> Path:
    lines = log.read_bytes().splitlines(keepends=True)
    Path("parts.gz").write_bytes(b"".join(gzip.compress(line) for line in lines))
    return Path("parts.gz")


def in_frames(log: Path) -> Path:
    lines = log.read_bytes().splitlines(keepends=True)
    Path("parts.zst").write_bytes(b"".join(zstandard.compress(line) for line in lines))
    return Path("parts.zst")


def linked(log: Path) -> Path:
    link = Path("link.ndjson")
    link.unlink(missing_ok=True)
    link.symlink_to(log)
    return link


@pytest.mark.parametrize(
    "other",
    [as_it_is, copied, zipped, zipped_in_members, in_frames, linked],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("in_one_run", [True, False])
def test_the_same_content_is_charged_once(other: Callable[[Path], Path], in_one_run: bool) -> None:
    log = Path("log.ndjson")
    log.write_bytes(b"".join(session(f"s{number}", NOON + number) for number in range(40)))
    runs = [[log, other(log)]] if in_one_run else [[log], [other(log)]]
    summaries = [rate("--close", *logs)[0] for logs in runs]
    assert sum(summary["counts"]["records"] for summary in summaries) == 120
    assert summaries[-1]["skipped"] == [str(other(log))]
    assert len(sessions_charged()) == 40


def test_joined_members_and_frames_are_read_whole() -> None:
    first, second = session("s1"), session("s2", NOON + 1)
    Path("gz.gz").write_bytes(gzip.compress(first) + gzip.compress(b"") + gzip.compress(second))
    summary, _ = rate("--close", "gz.gz")
    assert summary["counts"]["records"] == 6
    third, fourth = session("s3", NOON + 2), session("s4", NOON + 3)
    Path("zst.zst").write_bytes(zstandard.compress(third) + zstandard.compress(fourth))
    summary, _ = rate("--close", "zst.zst")
    assert summary["counts"]["records"] == 6
    assert [name for name, _ in sessions_charged()] == ["s1", "s2", "s3", "s4"]


def test_a_longer_copy_of_a_log_goes_on_where_the_log_ended() -> None:
    Path("early.ndjson").write_bytes(session("s1"))
    Path("late.ndjson").write_bytes(session("s1") + session("s2", NOON + 1))
    summary, _ = rate("--close", "early.ndjson", "late.ndjson")
    assert summary["counts"]["records"] == 6
    assert sessions_charged() == [("s1", 60_000), ("s2", 60_000)]


# --- edited after it was rated ------------------------------------------------------------------


EDITS: dict[str, Callable[[bytes], bytes]] = {
    "a name removed": lambda content: content.replace(b'"anna"', b'"x"'),
    "CRLF": lambda content: content.replace(b"\n", b"\r\n"),
    "a blank line in front": lambda content: b"\n" + content,
    "a record in front": lambda content: session("s0", NOON - 1) + content,
    "without its first record": lambda content: content.partition(b"\n")[2],
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("how", ["in place", "by renaming"])
def test_an_edited_segment_is_refused(
    edit: Callable[[bytes], bytes], suffix: str, how: str
) -> None:
    segment = Path("usage/usage-00000001.ndjson")
    segment.parent.mkdir()
    segment.write_bytes(session("s1") + session("s2", NOON + 1))
    rate("--close", "usage")
    before = sessions_charged()
    edited = edit(segment.read_bytes())
    assert edited != segment.read_bytes()
    if how == "by renaming":
        segment.unlink()
    path = Path(f"{segment}{suffix}")
    path.write_bytes(gzip.compress(edited) if suffix else edited)
    if suffix:
        segment.unlink(missing_ok=True)
    Path("usage/usage-00000002.ndjson").write_bytes(session("s3", NOON + 2))
    summary, warnings = rate("--close", "usage", exit_code=UNREAD)
    assert summary["counts"]["records"] == 3
    assert f"Warning: {path}: of a log of this name" in warnings
    assert "in this run nothing of it was rated" in warnings
    assert "--reused-names" in warnings
    assert sessions_charged() == [*before, ("s3", 60_000)]


def test_a_name_that_comes_again_by_rotation_is_a_new_log() -> None:
    log, rotated = Path("log/events.ndjson"), Path("log/events.ndjson.1")
    log.parent.mkdir()
    log.write_bytes(session("s1"))
    rate("--close", "log")
    log.rename(rotated)
    with rotated.open("ab") as more:
        more.write(session("s2", NOON + 1))
    log.write_bytes(session("s3", NOON + 2))
    summary, _ = rate("--close", "log")
    assert summary["counts"]["records"] == 6
    assert len(sessions_charged()) == 3


def test_a_name_that_comes_again_is_a_new_log_where_that_is_said() -> None:
    log = Path("events.ndjson")
    log.write_bytes(session("s1"))
    rate("--close", log)
    log.write_bytes(session("s2", NOON + 1))
    rate("--close", log, exit_code=UNREAD)
    summary, _ = rate("--close", "--reused-names", log)
    assert summary["counts"]["records"] == 3
    assert len(sessions_charged()) == 2


def test_standard_input_has_no_name_to_come_again() -> None:
    for number in range(2):
        words = [*COMMAND, "rate", "--tariffs", str(BOOK), "--close", "-"]
        lines = session(f"s{number}", NOON + number)
        subprocess.run(words, env=environment(), input=lines, check=True)
    assert len(sessions_charged()) == 2


# --- what is no usage log -----------------------------------------------------------------------


@pytest.mark.parametrize("content", FOREIGN.values(), ids=FOREIGN)
def test_what_is_no_usage_log_is_left_out(content: bytes) -> None:
    Path("foreign").write_bytes(content)
    Path("log.ndjson").write_bytes(session("s1"))
    summary, warnings = rate("--close", "foreign", "log.ndjson", exit_code=UNREAD)
    assert summary["suspense"] == {}
    assert "Warning: foreign: " in warnings
    assert "lines are no usage records (line 1: " in warnings
    assert "--accept-malformed" in warnings
    assert sessions_charged() == [("s1", 60_000)]
    summary, _ = rate("--close", "--accept-malformed", "foreign", exit_code=UNCHARGED)
    assert list(summary["suspense"]) == ["malformed"]


def test_some_malformed_records_stop_nothing() -> None:
    Path("log.ndjson").write_bytes(b"{torn\n" * 8 + session("s1") * 1 + b"[]\n" * 2)
    summary, warnings = rate("--close", "log.ndjson", exit_code=UNCHARGED)
    assert summary["suspense"] == {"malformed": 10}
    assert (
        "10 of 13 records were not charged, mostly malformed; the first is log.ndjson:1" in warnings
    )
    assert sessions_charged() == [("s1", 60_000)]


@pytest.mark.parametrize("answer", ["y", "n"])
def test_on_a_terminal_it_is_asked(answer: str) -> None:
    Path("foreign").write_bytes(FOREIGN["another program's log"])
    ours, theirs = pty.openpty()
    words = ("rate", "--tariffs", str(BOOK), "foreign")
    rating = subprocess.Popen(
        [*COMMAND, *words], env=environment(), stdin=theirs, stdout=subprocess.PIPE, stderr=theirs
    )
    said = b""
    while b"Take it all the same?" not in said:
        said += os.read(ours, 4096)
    os.write(ours, f"{answer}\n".encode())
    rating.communicate(timeout=120)
    assert rating.returncode == (UNCHARGED if answer == "y" else UNREAD)
    os.close(ours)
    os.close(theirs)


def test_files_of_other_names_in_a_folder_are_named() -> None:
    folder = Path("logs")
    folder.mkdir()
    (folder / "log.ndjson").write_bytes(session("s1"))
    for name in ("notes.txt", "old.csv.gz", ".hidden"):
        (folder / name).write_bytes(b"")
    (folder / "gone.ndjson").symlink_to("nowhere")
    summary, _ = rate("--close", folder)
    assert summary["passed_over"] == ["logs/gone.ndjson", "logs/notes.txt", "logs/old.csv.gz"]
    result = ratecast("rate", "--tariffs", BOOK, folder)
    assert (
        "Not read, since their names are no log's: logs/gone.ndjson, logs/notes.txt"
        in result.stdout
    )


@pytest.mark.parametrize("as_json", [True, False])
def test_a_name_may_be_of_any_bytes(as_json: bool) -> None:
    folder = Path("logs")
    folder.mkdir()
    odd = (b"caf\xe9.ndjson", b"two\nlines.ndjson", b"\x1b[31mred.ndjson", b"\xff\xfe.txt")
    for number, name in enumerate(odd):
        path = folder / os.fsdecode(name)
        path.write_bytes(session(f"s{number}", NOON + number) + b"{torn\n")
    words = [*COMMAND, "rate", "--tariffs", str(BOOK), "--close", *(["--json"] * as_json), "logs"]
    run = subprocess.run(words, env=environment(), capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    assert b"caf\\xe9.ndjson" not in run.stderr
    assert len(sessions_charged()) == 3
    rows = ratecast("export", "suspense", "--format", "ndjson").stdout
    sources = {json.loads(row)["source"] for row in rows.splitlines()}
    assert sources == {
        "logs/caf\\xe9.ndjson:4",
        "logs/two\\nlines.ndjson:4",
        "logs/\\x1b[31mred.ndjson:4",
    }
    named = os.fsencode(folder) + b"/missing\xff.ndjson"
    run = subprocess.run([*words[:-1], named], env=environment(), capture_output=True, check=False)
    assert run.returncode == 1
    assert (
        run.stderr
        == b"Error: logs/missing\\xff.ndjson: does not exist; mend that, or leave it out\n"
    )


# --- most of a log is not charged ---------------------------------------------------------------


def beats(count: int, from_ms: int, **fields: Any) -> list[bytes]:
    return [scenes.view(from_ms + 30_000 * number, **fields) for number in range(count)]


def written(*lines: bytes) -> Path:
    path = Path("log.ndjson")
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def mostly(summary: dict[str, Any]) -> dict[str, Any]:
    (found,) = summary["uncharged"]
    return dict(found)


def test_a_log_with_the_newest_record_first_is_said() -> None:
    log = written(*reversed(beats(40, NOON)))
    summary, warnings = rate("--close", log, exit_code=UNCHARGED)
    assert mostly(summary)["reason"] == "out_of_order"
    assert mostly(summary)["first"] == "log.ndjson:2"
    assert "39 of 40 records were not charged, mostly out_of_order" in warnings
    assert "the log is not in the order of time" in warnings


def test_a_clock_that_ran_ahead_is_said_with_the_record_that_has_it() -> None:
    ahead = scenes.at("12:00") + 73 * 365 * 86_400_000
    log = written(
        *beats(3, NOON),
        scenes.view(NOON, session="other", received=ahead),
        *beats(30, NOON + 90_000, received=None),
    )
    summary, warnings = rate("--close", log, exit_code=UNCHARGED)
    assert mostly(summary)["reason"] == "too_late"
    assert mostly(summary)["first"].startswith("log.ndjson:")
    assert "set by log.ndjson:4" in warnings


def test_a_log_of_stops_alone_is_said() -> None:
    log = written(*(scenes.view(NOON, session=f"s{n}", state="stopped") for n in range(12)))
    summary, _ = rate("--close", log, exit_code=UNCHARGED)
    assert mostly(summary)["reason"] == "orphan_stops"
    assert mostly(summary)["amount"] == 12


def test_one_bad_log_among_good_ones_is_said_by_its_name() -> None:
    Path("good.ndjson").write_bytes(b"".join(session(f"s{n}", NOON + n) for n in range(40)))
    lines = beats(15, NOON + 40_000_000, account="")
    Path("bad.ndjson").write_bytes(b"".join(line + b"\n" for line in lines))
    summary, _ = rate(
        "--close", "--accept-malformed", "good.ndjson", "bad.ndjson", exit_code=UNCHARGED
    )
    assert mostly(summary)["log"] == "bad.ndjson"
    assert mostly(summary)["amount"] == 15


def test_a_few_records_are_said_and_change_no_exit_code() -> None:
    log = written(*reversed(beats(5, NOON)))
    summary, _ = rate("--close", log)
    assert mostly(summary)["amount"] == 4


def test_viewing_that_no_rule_prices_is_said() -> None:
    Path("book.toml").write_text(
        BOOK.read_text().replace('id = "hours"', 'content = "news"\nid = "r"')
    )
    log = written(*beats(20, NOON))
    words = ("rate", "--tariffs", "book.toml", "--json", "--close", str(log))
    result = ratecast(*words)
    assert result.exit_code == UNCHARGED, result.output
    found = mostly(json.loads(result.stdout))
    assert (found["reason"], found["unit"], found["amount"]) == ("no_rule", "watched_ms", 570_000)
    assert "the tariff book does not have what the log names" in result.stderr
