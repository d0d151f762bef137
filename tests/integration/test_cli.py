"""The command line as a script sees it: what it prints, where, and how it ends."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from click.testing import CliRunner, Result

from rating.runtime.cli import main

NORDIC = Path(__file__).parents[1] / "golden" / "nordic"
BOOK = NORDIC / "nordic-2026-01.toml"
LOG = NORDIC / "evening.ndjson"
COMMANDS = ["demo", "rate", "status", "explain", "export", "tariffs", "simulate"]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATECAST_STORE", raising=False)


def ratecast(*words: str | Path, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words], input=stdin)


def rated(*words: str | Path) -> dict[str, object]:
    """The JSON summary of a run that must be well."""
    result = ratecast("rate", "--tariffs", BOOK, "--json", *words)
    assert result.exit_code == 0, result.output
    summary: dict[str, object] = json.loads(result.stdout)
    return summary


def charges() -> list[dict[str, str]]:
    result = ratecast("export", "charges", "--format", "csv")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


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
    [[name] for name in COMMANDS] + [["tariffs", "check"], ["tariffs", "show"]],
    ids=" ".join,
)
def test_help_of_a_command_teaches_by_example(words: list[str]) -> None:
    result = ratecast(*words, "--help")
    assert result.exit_code == 0
    if words != ["tariffs"]:
        assert f"\n  ratecast {' '.join(words)}" in result.stdout


def test_help_loads_nothing_heavy() -> None:
    look = (
        "import sys; from rating.runtime.cli import main; main(['--help'], standalone_mode=False);"
        "print({'polars', 'numba', 'numpy', 'pyarrow', 'rich'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=Path(__file__).parents[2],
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
    assert summary["counts"]["records"] == 562  # type: ignore[index]
    assert all(law["holds"] for law in summary["laws"])  # type: ignore[attr-defined]
    with (NORDIC / "charges.csv").open() as golden:
        assert in_golden_order(charges()) == list(csv.DictReader(golden))
