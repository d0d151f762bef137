"""What can be wrong with a tariff book, said so that its author can mend it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

QUOTED_CHARACTERS_MAX = 60  # Longer texts are cut in messages; nobody reads a page in an error.


class UnfitError(ValueError):
    """A value that its place cannot take: `what` is wrong with it, and how to `mend` it."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what}; {mend}")
        self.what = what
        self.mend = mend


class UnknownNameError(UnfitError):
    """A name that is none of those there are; `names` are looked through for what was meant."""

    def __init__(self, what: str, name: str, names: Collection[str]) -> None:
        super().__init__(what, "use a name that there is")
        self.name = name
        self.names = names


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake of one book. `line` counts from 1; `table` is "" where no table is at fault."""

    file: str
    line: int
    table: str
    what: str
    mend: str

    def __str__(self) -> str:
        """`file:line: table: what is wrong; how to mend it`, on one line."""
        table = f"{self.table}: " if self.table else ""
        return printable(f"{self.file}:{self.line}: {table}{self.what}; {self.mend}")

    def as_json(self) -> dict[str, str | int]:
        """Write the same as a JSON object."""
        return {
            "file": self.file,
            "line": self.line,
            "table": self.table,
            "what": self.what,
            "mend": self.mend,
        }


class BookErrors(Exception):  # noqa: N818 - one raise carries all mistakes of all books
    """Every mistake of the books that were to be loaded. `str` gives one line a mistake."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))

    def as_json(self) -> list[dict[str, str | int]]:
        """Write the mistakes as a JSON array."""
        return [mistake.as_json() for mistake in self.mistakes]


def quote(text: str) -> str:
    """Put the text in quotes, on one line and not longer than a message bears."""
    if len(text) > QUOTED_CHARACTERS_MAX:
        text = text[:QUOTED_CHARACTERS_MAX] + "…"
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(escaped)}"'


def printable(text: str) -> str:
    r"""Write what no terminal shows, or what it would obey, as \n, \x1b or \u202e."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
