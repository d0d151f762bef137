"""Every number on the command line has bounds, and what lies outside gets a sentence.

Walks all commands, so that an option that somebody adds is tried as well.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from click.testing import CliRunner, Result

from rating.runtime.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

CASE = Path(__file__).parents[1] / "cases" / "rating" / "33-two-heartbeats-change-places"
FAR_OUT = (
    *("-1e400", "1e400", "inf", "-inf", "nan", "1e308", "-1e308"),
    *(str(sign * 2**bits) for bits in (31, 63, 64, 200) for sign in (-1, 1)),
    *("9" * 5000, "", " ", "two", "0x10", "1,5", "\N{ARABIC-INDIC DIGIT TWO}\N{SUPERSCRIPT TWO}"),
)
LONG_RUNS = {("demo", "--households"), ("demo", "--hours"), ("demo", "--seed")} | {
    ("simulate", "--households"),
    ("simulate", "--hours"),
}
"""Options at whose upper end a command works for hours; "demo" takes a minute at the lower one."""

ENDS_AT_ONCE = {
    "rate": ("--tariffs", str(CASE / "book.toml"), str(CASE / "log.ndjson")),
    "worker": ("--tariffs", "no-such.toml", "--kafka", "127.0.0.1:1"),
    "produce": ("--kafka", "127.0.0.1:1", "no-such.ndjson"),
    "topics create": ("--kafka", "127.0.0.1:1"),
    "topics check": ("--kafka", "127.0.0.1:1"),
    "gateway": ("--log", "/proc/no-such", "--keys", "no-such.json"),
    "keys create": ("--name", "test", "--scope", "events"),
    "keys rotate": ("no-such-key",),
    "keys token": ("--account", "anna", "--device", "tv", "--session", "s"),
    "reconcile": ("--delivery", "no-such"),
    "simulate": ("--households", "1", "--hours", "0.01", "--out", "log.ndjson"),
}
"""Words with which a command that gets so far has little to do, or fails with a sentence."""


def numeric_options(
    command: click.Command = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, click.Option]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from numeric_options(inner, (*path, name))
    for option in command.params:
        if isinstance(option, click.Option) and isinstance(
            option.type, click.types.IntParamType | click.types.FloatParamType
        ):
            yield " ".join(path), option


OPTIONS = [
    pytest.param(path, option, id=f"{path} {option.opts[0]}") for path, option in numeric_options()
]


def run(path: str, *words: str) -> Result:
    return CliRunner().invoke(main, [*path.split(), *words])


def ends(option: click.Option) -> tuple[float, float]:
    """The least and the greatest value that the option takes."""
    kind: Any = option.type
    least, greatest = kind.min, kind.max
    if kind.min_open:
        least = math.nextafter(least, math.inf)
    if kind.max_open:
        greatest = math.nextafter(greatest, -math.inf)
    return least, greatest


def is_inside(text: str, option: click.Option) -> bool:
    try:
        value = int(text) if isinstance(option.type, click.IntRange) else float(text)
    except ValueError:
        return False
    least, greatest = ends(option)
    return least <= value <= greatest


def test_there_are_numbers_to_try() -> None:
    assert len(OPTIONS) > 25


@pytest.mark.parametrize(("path", "option"), OPTIONS)
def test_a_number_has_an_upper_and_a_lower_bound(path: str, option: click.Option) -> None:
    assert isinstance(option.type, click.IntRange | click.FloatRange), "say IntRange or Number"
    assert option.type.min is not None
    assert option.type.max is not None


@pytest.mark.parametrize(("path", "option"), OPTIONS)
def test_what_lies_outside_gets_a_sentence(path: str, option: click.Option) -> None:
    (name,) = [each for each in option.opts if each.startswith("--")]
    for text in FAR_OUT:
        if is_inside(text, option):
            continue
        result = run(path, f"{name}={text}")
        assert result.exit_code == 2, f"{name}={text[:40]}: {result.output}"
        assert f"Invalid value for '{name}'" in result.stderr
        assert result.stderr.count("Error") == 1


@pytest.mark.parametrize(("path", "option"), OPTIONS)
def test_at_its_ends_a_command_runs_or_fails_with_a_sentence(
    path: str, option: click.Option, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (name,) = [each for each in option.opts if each.startswith("--")]
    if path == "keys token":
        run("keys create", "--signing")
    for value in ends(option):
        if (path, name) in LONG_RUNS and (path == "demo" or value > 1):
            continue
        result = run(path, *ENDS_AT_ONCE.get(path, ()), name, str(value))
        assert isinstance(result.exception, SystemExit | None), f"{value}: {result.exception!r}"
        if result.exit_code:
            assert "Error: " in result.stderr, f"{value}: {result.output}"
