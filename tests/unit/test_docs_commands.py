"""Every `ratecast ...` in a manual is a command that there is, with the options that it has."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest
from command_line import parse, ratecast_words

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MANUALS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])
BLOCK = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(ratecast [^`]+)`")


def commands(page: str) -> Iterator[tuple[str, bool]]:
    """Whole lines of blocks of code; and what stands in a sentence, which may leave words out."""
    for block in BLOCK.findall(page):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"(\$ )?ratecast ", line.strip()):
                yield line.strip().removeprefix("$ "), True
    for mention in INLINE.findall(BLOCK.sub("", page).replace("\n", " ")):
        yield mention, False


@pytest.mark.parametrize("manual", [path.relative_to(ROOT) for path in MANUALS], ids=str)
def test_commands_of_a_manual_are_there(manual: Path) -> None:
    wrong = []
    for command, is_whole in commands((ROOT / manual).read_text(encoding="utf-8")):
        for words in ratecast_words(command):
            try:
                parse(words)
            except click.exceptions.Exit:
                continue
            except (click.NoSuchOption, AssertionError) as error:
                wrong.append(f"{command}: {error}")
            except click.ClickException as error:
                wrong += [f"{command}: {error}"] if is_whole else []
    assert wrong == []
