"""A mapping file: TOML that says where a sender keeps what a record needs, checked whole.

Every mistake is gathered, so that one reading of the file says all that is to be mended.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


class MappingError(ValueError):
    """A mapping file cannot be used. mistakes: one sentence each, saying where and what to mend."""

    def __init__(self, name: str, mistakes: list[str]) -> None:
        super().__init__("\n".join(f"{name}: {mistake}" for mistake in mistakes))
        self.name = name
        self.mistakes = mistakes


class Table:
    """One table of a mapping file. What is asked of it is checked; what is left over is a mistake.

    where: how a sentence names it. mistakes: shared by all tables of the file.
    """

    def __init__(self, values: dict[str, Any], where: str, mistakes: list[str]) -> None:
        self.where = where
        self.mistakes = mistakes
        self._left = dict(values)

    def __contains__(self, name: str) -> bool:
        """Whether the table still has that key."""
        return name in self._left

    def wrong(self, name: str, why: str) -> None:
        """Note a mistake in one key."""
        place = f"{self.where}.{name}" if self.where else name
        self.mistakes.append(f"{place} {why}")

    def take(self, name: str, default: Any = None) -> Any:
        """The value of a key, whatever it is."""
        return self._left.pop(name, default)

    def names(self) -> list[str]:
        """The keys that were not asked for yet."""
        return list(self._left)

    def text(self, name: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self.take(name, default)
        if isinstance(value, str) and value:
            return value
        self.wrong(name, "is missing" if value is None else "has to be a text")
        return default or ""

    def texts(self, name: str, default: tuple[str, ...] = ()) -> tuple[str, ...]:
        """A text, or a list of texts."""
        value = self.take(name, list(default))
        listed = [value] if isinstance(value, str) else value
        if isinstance(listed, list) and all(isinstance(text, str) for text in listed):
            return tuple(listed)
        self.wrong(name, "has to be a text or a list of texts")
        return default

    def integer(self, name: str, default: int, least: int = 0, most: int = 2**53) -> int:
        """An integer from `least` to `most`."""
        value = self.take(name, default)
        if type(value) is int and least <= value <= most:
            return value
        self.wrong(name, f"has to be an integer from {least} to {most}")
        return default

    def word(self, name: str, words: Collection[str], default: str | None = None) -> str:
        """One of some words."""
        value = self.take(name, default)
        if isinstance(value, str) and value in words:
            return value
        found = "is missing" if value is None else f"is {value!r}"
        self.wrong(name, f"{found}, expected one of {', '.join(words)}")
        return default or next(iter(words))

    def table(self, name: str) -> Table:
        """A table in it; empty where there is none."""
        value = self.take(name, {})
        if not isinstance(value, dict):
            self.wrong(name, "has to be a table")
            value = {}
        return Table(value, f"{self.where}.{name}" if self.where else name, self.mistakes)

    def tables(self, name: str) -> Iterator[Table]:
        """The tables of a list in it."""
        value = self.take(name, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            self.wrong(name, f"has to be tables, each under [[{name}]]")
            value = []
        for number, one in enumerate(value, 1):
            yield Table(one, f"{name}[{number}]", self.mistakes)

    def end(self) -> None:
        """Note every key that nobody asked for."""
        for name in self._left:
            self.wrong(name, "is not known here")


def parse_mapping(text: str, name: str) -> Table:
    """The outermost table of a mapping file. Raises: MappingError if it is no TOML."""
    try:
        return Table(tomllib.loads(text), "", [])
    except tomllib.TOMLDecodeError as error:
        raise MappingError(name, [f"it is not TOML: {error}"]) from error


def raise_mistakes(table: Table, name: str) -> None:
    """Raise MappingError if anything in the file was found to be wrong."""
    if table.mistakes:
        raise MappingError(name, table.mistakes)
