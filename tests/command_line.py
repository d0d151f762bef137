"""Command lines that stand in manuals and manifests, held against the program's own."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import click

from rating.runtime.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

REDIRECTION = re.compile(r"^\d*[<>]")


def parse(words: list[str]) -> None:
    """Let the command line take its words, without running anything. Raises: ClickException."""
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(context, name)
        assert found is not None, f"there is no command {name!r}"
        command = found
    command.make_context(command.name or "", words)


def ratecast_words(text: str) -> Iterator[list[str]]:
    """The words of every `ratecast ...` within a shell's line."""
    for part in text.split("|"):
        words = shlex.split(part, comments=True)
        if words and words[0] == "ratecast":
            yield [word for word in words[1:] if not REDIRECTION.match(word)]
