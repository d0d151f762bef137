"""The command line as a script sees it: what it prints, where, and how it ends."""

from __future__ import annotations

import csv
import errno
import gzip
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from click.testing import CliRunner, Result
from stored import NOON_MS

from rating.runtime.cli import main
from rating.runtime.failures import nobody_reads, sentence
from sinks.store import open_store

ROOT = Path(__file__).parents[2]
NORDIC = ROOT / "tests" / "golden" / "nordic"
BOOK = NORDIC / "nordic-2026-01.toml"
LOG = NORDIC / "evening.ndjson"
COMMANDS = list(main.commands)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATECAST_STORE", raising=False)


def ratecast(*words: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def rated(*words: str | Path) -> dict[str, Any]:
    """The JSON summary of a run that must be well."""
    result = ratecast("rate", "--tariffs", BOOK, "--json", *words)
    assert result.exit_code == 0, result.output
    summary: dict[str, Any] = json.loads(result.stdout)
    return summary


def charges() -> list[dict[str, str]]:
    result = ratecast("export", "charges", "--format", "csv")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


def charges_without_refs() -> list[dict[str, str]]:
    return [{name: row[name] for name in row if name != "ref"} for row in charges()]


def in_golden_order(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=lambda row: (row["account"], int(row["start"]), row["charge_id"]))


# --- help ---------------------------------------------------------------------------------------


def test_help_names_every_command_and_exit_code() -> None:
    result = ratecast("--help")
    assert result.exit_code == 0
    for name in COMMANDS:
        assert f"\n  {name} " in result.stdout
    assert "Exit codes" in result.stdout


@pytest.mark.parametrize(
    "words",
    [[name] for name in COMMANDS]
    + [["tariffs", "check"], ["tariffs", "show"]]
    + [["keys", name] for name in ("create", "list", "revoke", "rotate", "token")],
    ids=" ".join,
)
def test_help_of_a_command_teaches_by_example(words: list[str]) -> None:
    result = ratecast(*words, "--help")
    assert result.exit_code == 0
    if words not in (["tariffs"], ["topics"], ["keys"]):
        assert f"\n  ratecast {' '.join(words)}" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    look = (
        "import sys; from rating.runtime.cli import main; main(['--help'], standalone_mode=False);"
        "print({'polars', 'numba', 'numpy', 'pyarrow', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.endswith("set()\n")


def test_a_misused_command_exits_with_2() -> None:
    result = ratecast("rate", LOG)
    assert result.exit_code == 2
    assert "Missing option '--tariffs'" in result.stderr


# --- tariffs ------------------------------------------------------------------------------------


def test_a_sound_book_is_said_to_be_sound() -> None:
    result = ratecast("tariffs", "check", BOOK)
    assert result.exit_code == 0
    assert "nordic-2026-01 is sound (2 plans, 4 rules, 2 offers, SEK)" in result.stdout


def test_every_mistake_of_a_book_is_a_line() -> None:
    text = BOOK.read_text().replace('"SEK"', '"SEX"').replace('"9.00"', "9.00")
    Path("wrong.toml").write_text(text)
    result = ratecast("tariffs", "check", "wrong.toml")
    assert result.exit_code == 1
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("wrong.toml:") for line in lines)


EXAMPLE = """
[[example]]
name = "an hour of premium"
plan = "family"
balance = "10"
log = [{ watch = "cinema", from = 2026-03-06T17:00:00Z, to = 2026-03-06T18:00:00Z }]
sums = { watched_s = 3600 }
"""


def test_the_examples_of_a_book_are_rated() -> None:
    Path("book.toml").write_text(BOOK.read_text() + EXAMPLE * 3)
    result = ratecast("tariffs", "check", "book.toml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.endswith("; examples: 3 of 3 hold\n")


def test_an_example_that_does_not_hold_is_a_mistake() -> None:
    book = BOOK.read_text()
    false = EXAMPLE.replace("3600", "3599").replace("an hour", "less")
    Path("book.toml").write_text(book + EXAMPLE + false)
    line = (book + EXAMPLE).count("\n") + 2
    told = "of all charges together, watched_s is 3600, expected 3599"
    result = ratecast("tariffs", "check", "book.toml")
    assert result.exit_code == 1
    assert "is not sound" in result.stdout
    assert result.stdout.endswith("; examples: 1 of 2 hold\n")
    assert result.stderr.startswith(f'book.toml:{line}: [[example]] "less of premium": {told}; ')
    result = ratecast("tariffs", "check", "--json", "book.toml")
    found = json.loads(result.stdout)
    assert (result.exit_code, len(found["mistakes"]), found["mistakes"][0]["line"]) == (1, 1, line)
    assert (found["books"][0]["examples"], found["books"][0]["examples_held"]) == (2, 1)


def test_what_a_later_book_lost_is_a_warning() -> None:
    older = BOOK.read_text()
    newer = older.replace('id = "nordic-2026-01"', 'id = "later"')
    newer = newer.replace("effective_from = 2026-01", "effective_from = 2026-02")
    newer = newer.replace('id = "cup-final"', 'id = "cup"')
    assert newer.count("cup-final") == 0
    Path("later.toml").write_text(newer)
    result = ratecast("tariffs", "check", BOOK, "later.toml")
    assert result.exit_code == 0
    assert result.stderr.startswith("Warning: later.toml:")
    assert '"cup-final"' in result.stderr
    found = json.loads(ratecast("tariffs", "check", "--json", BOOK, "later.toml").stdout)
    assert [warning["file"] for warning in found["warnings"]] == ["later.toml"]


def test_mistakes_are_json_for_a_program() -> None:
    Path("wrong.toml").write_text(BOOK.read_text().replace('"9.00"', "9.00"))
    result = ratecast("tariffs", "check", "--json", "wrong.toml")
    assert result.exit_code == 1
    (mistake,) = json.loads(result.stdout)["mistakes"]
    assert mistake["file"] == "wrong.toml"
    assert set(mistake) == {"file", "line", "table", "what", "mend"}


def test_a_book_is_shown_as_a_price_list() -> None:
    result = ratecast("tariffs", "show", BOOK)
    assert result.exit_code == 0
    assert "6.00 an hour up to 2 hours in a month, then 4.00 an hour" in result.stdout


# --- simulate -----------------------------------------------------------------------------------

SMALL = ("simulate", "--households", "5", "--hours", "0.2", "--seed", "7")


def test_the_same_seed_gives_the_same_log_in_any_wrapping() -> None:
    plain = ratecast(*SMALL).stdout_bytes
    ratecast(*SMALL, "--out", "log.ndjson.gz")
    ratecast(*SMALL, "--out", "log.ndjson.zst", "--tariffs-out", "book.toml")
    assert plain.count(b"\n") > 10
    assert gzip.decompress(Path("log.ndjson.gz").read_bytes()) == plain
    with Path("log.ndjson.zst").open("rb") as packed:
        assert zstandard.ZstdDecompressor().stream_reader(packed).read() == plain
    assert ratecast("tariffs", "check", "book.toml").exit_code == 0


@pytest.mark.parametrize("option", [("--faults", "gremlins=1"), ("--start", "teatime")])
def test_a_simulation_that_cannot_be_is_a_misuse(option: tuple[str, str]) -> None:
    result = ratecast(*SMALL, *option)
    assert result.exit_code == 2
    assert option[1].split("=")[0] in result.stderr


def test_output_leaves_nothing_half_written(tmp_path: Path) -> None:
    result = ratecast(*SMALL, "--out", "no-such-folder/log.ndjson")
    assert result.exit_code == 1
    assert result.stderr == "Error: no-such-folder/log.ndjson: No such file or directory\n"
    assert list(tmp_path.iterdir()) == []


# --- rate ---------------------------------------------------------------------------------------


def test_the_nordic_evening_is_rated_to_the_last_digit() -> None:
    summary = rated("--close", LOG)
    assert summary["counts"]["records"] == 562
    assert summary["charges"] == {"usage": 11, "purchase": 1}
    assert summary["revenue"] == [{"currency": "SEK", "total": 124_333_333, "unfunded": 200_000}]
    assert summary["suspense"] == {"malformed": 1, "no_rule": 1}
    assert summary["sessions_open"] == 0
    assert all(law["holds"] for law in summary["laws"])
    with (NORDIC / "charges.csv").open() as golden:
        assert in_golden_order(charges_without_refs()) == list(csv.DictReader(golden))


def test_a_summary_can_be_read_by_a_person() -> None:
    result = ratecast("rate", "--tariffs", BOOK, "--close", LOG)
    assert result.exit_code == 0
    for line in (
        "revenue, SEK                  124.133333",
        "unfunded beside it                0.20",
    ):
        assert line in result.stdout
    assert "BROKEN" not in result.stdout


def test_the_same_command_again_changes_nothing() -> None:
    rated("--close", LOG)
    before = charges()
    summary = rated("--close", LOG)
    assert summary["counts"]["records"] == 0
    assert summary["skipped"] == [str(LOG)]
    assert charges() == before


def test_a_log_that_grows_in_any_batches_gives_the_same_charges() -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)
    log = Path("log.ndjson")
    log.write_bytes(b"".join(lines[:300]))
    first = rated("--batch", "7", log)
    assert first["counts"]["records"] == 300
    assert first["sessions_open"] > 0
    log.write_bytes(b"".join(lines))
    assert rated("--batch", "100", "--close", log)["counts"]["records"] == 262
    with (NORDIC / "charges.csv").open() as golden:
        assert in_golden_order(charges_without_refs()) == list(csv.DictReader(golden))


def test_standard_input_is_a_log() -> None:
    words = ("rate", "--tariffs", BOOK, "--close", "--json", "-")
    result = ratecast(*words, stdin=LOG.read_bytes())
    assert result.exit_code == 0, result.output


def test_parquet_holds_every_charge() -> None:
    rated("--close", "--parquet", "lake", LOG)
    found = pl.read_parquet("lake/charges/**/*.parquet")
    assert sorted(found["charge_id"]) == sorted(row["charge_id"] for row in charges())


# --- exit codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rate", "--tariffs", BOOK, "no-such.ndjson"], "no-such.ndjson: does not exist"),
        (["rate", "--tariffs", "no-such.toml", LOG], "no-such.toml:1: the file cannot be read"),
        (["rate", "--tariffs", BOOK, "--store", "mysql://x/y", LOG], "no store of kind 'mysql'"),
        (["rate", "--tariffs", BOOK, "--store", BOOK, LOG], "nordic-2026-01.toml"),
        (["rate", "--tariffs", BOOK, "--store", "no/such/bills.db", LOG], "no/such"),
        (["status"], "ratecast.db"),
        (["explain", "x", "--store", "bills.db"], "bills.db"),
        (["export", "charges"], "ratecast.db"),
    ],
    ids=lambda value: " ".join(map(str, value[:2])) if isinstance(value, list) else "",
)
def test_an_error_of_the_user_is_one_sentence(words: list[str | Path], said: str) -> None:
    result = ratecast(*words)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_a_charge_that_is_not_there_is_said() -> None:
    rated("--close", LOG)
    result = ratecast("explain", "06a13b46-0000-0000-0000-000000000000")
    assert result.exit_code == 1
    assert "there is no charge 06a13b46-0000-0000-0000-000000000000" in result.stderr


def test_revenue_is_told_alike_by_the_run_and_by_the_store() -> None:
    summary = rated("--close", LOG)
    told = json.loads(ratecast("status", "--json").stdout)
    assert told["revenue"] == summary["revenue"]
    assert told["revenue"][0]["currency"] == "SEK"


def test_a_damaged_log_is_rated_as_far_as_it_goes_and_exits_with_3() -> None:
    packed = gzip.compress(LOG.read_bytes())
    log = Path("log.ndjson.gz")
    log.write_bytes(packed[: len(packed) // 2])
    result = ratecast("rate", "--tariffs", BOOK, "--json", log)
    assert result.exit_code == 3
    assert 0 < json.loads(result.stdout)["counts"]["records"] < 562
    assert result.stderr.startswith("Warning: log.ndjson.gz: ")
    log.write_bytes(packed)
    rated("--close", log)
    with (NORDIC / "charges.csv").open() as golden:
        assert in_golden_order(charges_without_refs()) == list(csv.DictReader(golden))


def test_a_store_that_does_not_add_up_exits_with_4() -> None:
    rated("--close", LOG)
    assert ratecast("status").exit_code == 0
    with sqlite3.connect("ratecast.db") as store:
        store.execute("UPDATE charges SET watched_ms = watched_ms + 1 WHERE seq = 1")
        store.execute("UPDATE accounts SET balance = balance - 1 WHERE account = 'bo'")
    store.close()
    result = ratecast("status")
    assert result.exit_code == 4
    assert "BROKEN  all watched time is in charges, open lines or suspense: " in result.stdout
    assert "16,408,000 ms watched, but 16,408,001 ms found" in result.stdout
    assert "1 accounts have another balance" in result.stdout


def test_an_interrupted_run_says_so_and_exits_with_130() -> None:
    run = subprocess.Popen(
        [
            *(sys.executable, "-c", "from rating.runtime.cli import main; main()"),
            *("rate", "--tariffs", str(BOOK), "--batch", "100", "-"),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdin is not None
    run.stdin.write(LOG.read_bytes())
    run.stdin.flush()
    while True:  # until it has begun; it then waits for more
        result = ratecast("status", "--json")
        if result.exit_code == 0 and json.loads(result.stdout)["counts"]:
            break
    run.send_signal(signal.SIGINT)
    said = run.communicate()[1]
    assert run.returncode == 130
    assert b"Interrupted. What was committed is kept" in said


@pytest.mark.parametrize(
    "words",
    [
        ["export", "charges"],
        ["export", "charges", "--format", "csv", "--out", "/dev/stdout"],
        ["status"],
        ["tariffs", "show", str(BOOK)],
        ["explain", "0dfadad1-49c7-52f3-90d4-a13b79ed42e6"],
        ["simulate", "--households", "20", "--hours", "0.5"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_a_reader_that_goes_away_ends_a_command_quietly(words: list[str]) -> None:
    rated("--close", LOG)
    read, write = os.pipe()
    os.close(read)
    run = subprocess.run(
        [sys.executable, "-c", "from rating.runtime.cli import main; main()", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=write,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(write)
    assert (run.returncode, run.stderr) == (141, b"")


def test_another_broken_connection_is_an_error() -> None:
    assert not nobody_reads(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert sentence(BrokenPipeError(errno.EPIPE, "Broken pipe")) == "Broken pipe"


def test_what_holds_charges_is_not_for_all_to_read() -> None:
    before = os.umask(0)
    try:
        rated("--close", "--parquet", "lake", LOG)
        assert ratecast("export", "charges", "--format", "csv", "--out", "c.csv").exit_code == 0
        with open_store("ratecast.db") as store:
            claim = store.claim("a")
            beside = [path.name for path in Path().glob("ratecast.db*")]
            assert sorted(beside) == [
                *("ratecast.db", "ratecast.db-shm", "ratecast.db-wal", "ratecast.db.a.lock")
            ]
            assert claim is not None
            modes = {path: path.stat().st_mode & 0o777 for path in Path().rglob("*")}
        files = {str(path): oct(mode) for path, mode in modes.items() if path.is_file()}
        assert len(files) > 7
        assert set(files.values()) == {"0o640"}
        assert modes[Path("lake")] == 0o750
        os.umask(0o077)
        rated("--close", "--store", "narrow.db", LOG)
        assert Path("narrow.db").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


# --- what the store holds -----------------------------------------------------------------------


def test_status_adds_up_the_store() -> None:
    lines = LOG.read_bytes().splitlines(keepends=True)
    Path("half.ndjson").write_bytes(b"".join(lines[:300]))
    rated("half.ndjson")
    result = ratecast("status", "--json")
    assert result.exit_code == 0
    standing = json.loads(result.stdout)
    assert standing["counts"]["records"] == 300
    assert [book["id"] for book in standing["books"]] == ["nordic-2026-01"]
    assert standing["sessions_open"] > 0
    assert all(law["holds"] for law in standing["laws"])


def test_status_can_be_read_by_a_person() -> None:
    rated("--close", LOG)
    text = ratecast("status").stdout
    assert "nordic-2026-01  SEK, Europe/Stockholm, from 2026-01-01 00:00:00 UTC" in text
    assert "prepaid balances, SEK               4.60" in text


def test_a_purchase_is_explained_with_its_order() -> None:
    rated("--close", LOG)
    (bought,) = (row for row in charges() if row["type"] == "purchase")
    assert bought["ref"]
    shown = ratecast("explain", bought["charge_id"]).stdout
    assert f", order {bought['ref']}\n" in shown
    told = json.loads(ratecast("explain", bought["charge_id"], "--json").stdout)
    assert told["charge"]["ref"] == bought["ref"]


def test_export_takes_local_dates_and_says_what_it_cannot_take() -> None:
    rated("--close", LOG)
    starts = sorted(int(row["start"]) for row in charges())
    assert ratecast("export", "charges", "--to", "2026-03-06").stdout == ""
    day = ratecast("export", "charges", "--from", "2026-03-06", "--to", "2026-03-07", "--readable")
    assert len(day.stdout.splitlines()) == len(starts)
    assert '"start":"2026-03-06T1' in day.stdout
    middle = datetime.fromtimestamp(starts[3] / 1000, UTC).isoformat()
    late = ratecast("export", "charges", "--from", middle).stdout.splitlines()
    assert len(late) == len([start for start in starts if start >= starts[3]])
    for words, said in (
        (["charges", "--from", "yesterday"], "'yesterday' is no time"),
        (["charges", "--to", "2026-03-06T12:00"], "has no zone"),
        (["charges", "--from", "0001-01-01"], "at the end of the calendar"),
        (["charges", "--spreadsheet"], "add --format csv"),
        (["orders", "--rule", "x"], "--rule is about charges"),
        (["balances", "--from", "2026-03-06"], "balances are those of now"),
    ):
        result = ratecast("export", *words)
        assert result.exit_code == 2
        assert said in result.stderr


def test_an_id_cannot_steer_a_terminal() -> None:
    view = {"type": "view", "account": "a\x1b[2J\n  total  0.00", "device": "d", "session": "s"}
    view |= {"content": "cinema", "kind": "channel", "quality": "h\u202e\x9b"}
    lines = [{**view, "time": NOON_MS + n * 60_000, "state": "playing"} for n in range(3)]
    opened = {"type": "account.open", "time": NOON_MS, "account": view["account"], "plan": "family"}
    Path("log.ndjson").write_text("".join(json.dumps(line) + "\n" for line in [opened, *lines]))
    rated("--close", "log.ndjson")
    (charge,) = charges()
    shown = ratecast("explain", charge["charge_id"]).stdout
    assert r"account a\x1b[2J\n  total  0.00 watched cinema (channel, h\u202e\x9b)" in shown
    assert shown.replace("\n", "").isprintable()


def test_a_charge_is_explained_step_by_step() -> None:
    rated("--close", LOG)
    text = ratecast("explain", "0dfadad1-49c7-52f3-90d4-a13b79ed42e6").stdout
    for line in (
        "Charge 0dfadad1-49c7-52f3-90d4-a13b79ed42e6: 1.733333 SEK",
        "account anna watched sport-hd (channel, uhd) on tv, session a3",
        "Friday 2026-03-06 20:00:00 to 20:25:20 (Europe/Stockholm)",
        "6.00 an hour up to 2 hours in a month, then 4.00 an hour",
        "billed        26 min   premium-hours, this viewing: 2 h 45 min to 3 h 10 min 20 s",
        "free             0 s   welcome-half-hour, month 2026-03: 30 min to 30 min",
        "gross       1.733333   premium-hours, month 2026-03: 2 h 15 min to 2 h 41 min",
        "capped          0.00   premium-cap, month 2026-03: 13.00 to 14.733333",
        "tax         0.346667   25 %, included in net, for region SE",
    ):
        assert line in text


def test_an_explanation_is_json_for_a_program() -> None:
    rated("--close", LOG)
    words = ("explain", "777b1d06-176f-5847-8afa-8e11e47e8b8a", "--json")
    explanation = json.loads(ratecast(*words).stdout)
    assert explanation["charge"]["total"] == 400_000
    assert explanation["steps"][-1]["step"] == "balance"
    assert explanation["steps"][-1]["moved"] == -400_000


@pytest.mark.parametrize(
    ("what", "rows"),
    [("charges", 12), ("suspense", 2), ("signals", 6), ("balances", 3), ("orders", 2)],
)
def test_all_that_the_store_holds_can_be_exported(what: str, rows: int) -> None:
    rated("--close", LOG)
    lines = ratecast("export", what).stdout.splitlines()
    assert len([json.loads(line) for line in lines]) == rows
    ratecast("export", what, "--format", "csv", "--out", "all.csv.gz")
    with gzip.open("all.csv.gz", "rt") as table:
        assert len(list(csv.DictReader(table))) == rows


def test_open_sessions_can_be_exported() -> None:
    opened = rated(LOG)["sessions_open"]
    assert len(ratecast("export", "sessions").stdout.splitlines()) == opened


# --- demo and readme ----------------------------------------------------------------------------


def test_the_demo_runs_through_and_makes_room_for_itself() -> None:
    for _ in range(2):
        result = ratecast("demo", "--households", "20", "--hours", "1", "--folder", "show")
        assert result.exit_code == 0, result.output
    assert "How one of these charges came about" in result.stdout
    (charge_id,) = set(re.findall(r"explain (\S+) --store", result.stdout))
    assert ratecast("explain", charge_id, "--store", "show/ratecast.db").exit_code == 0
    assert ratecast("status", "--store", "show/ratecast.db").exit_code == 0


def test_the_demo_takes_no_folder_that_holds_something_else() -> None:
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    result = ratecast("demo", "--households", "20", "--folder", "mine")
    assert result.exit_code == 2
    assert "mine holds something else" in result.stderr
    assert Path("mine/letter.txt").read_text() == "dear"


def test_the_tour_of_the_readme_comes_out_as_it_says() -> None:
    blocks = re.findall(r"```(\w*)\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (book,) = [text for language, text in blocks if language == "toml"]
    (log,) = [text for _, text in blocks if text.startswith('{"type"')]
    Path("book.toml").write_text(book)
    Path("events.ndjson").write_text(log)
    sessions = [text for _, text in blocks if text.startswith("$ ratecast")]
    assert len(sessions) == 2
    for text in sessions:
        command, _, expected = text.removeprefix("$ ratecast ").partition("\n")
        result = ratecast(*command.split())
        assert result.exit_code == 0, result.output
        assert timeless(result.stdout) == timeless(expected)


def timeless(text: str) -> str:
    """Without the one line that says how long it took."""
    return re.sub(r"in [0-9.]+ s \([0-9,]+ a second\)", "in some time", text)
