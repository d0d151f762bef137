"""Reading a book's tables: each key is taken once, and every mistake is noted with its line.

Reading never stops at a mistake. A key that is wrong gives its placeholder, so that all others
are still looked at, and the book as a whole is thrown away at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from tariffs.errors import Mistake, UnfitError, UnknownNameError, quote
from tariffs.values import describe, listing, name, nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from tariffs.toml_lines import Path

T = TypeVar("T")
INSIDE = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"
Parse = Callable[[Any], T]
SUGGESTIONS_MAX = 100  # Each looks through all names, so many would take longer than the reading.


class Page:
    """One file under reading: where things stand in it, and the mistakes found so far.

    find_lines: gives the line of every path, () at least; called only once a line is asked for,
    since a sound book needs none.
    """

    def __init__(self, file: str, find_lines: Callable[[], Mapping[Path, int]]) -> None:
        self.file = file
        self._find_lines = find_lines
        self.mistakes: list[Mistake] = []
        self.doubts: list[Mistake] = []
        self._at_fault: set[Path] = set()
        self._suggestions = 0

    @cached_property
    def _lines(self) -> Mapping[Path, int]:
        return self._find_lines()

    def line_of(self, path: Path) -> int:
        """Find the line of a key or table, or of the nearest table around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]

    def report(self, path: Path, table: str, what: str, mend: str) -> None:
        """Note a mistake. Every table around it counts as flawed from then on."""
        self.mistakes.append(Mistake(self.file, self.line_of(path), table, what, mend))
        self._at_fault.update(path[:length] for length in range(len(path) + 1))

    def suggest(self, word: str, names: Collection[str]) -> str:
        """Say what to do about an unknown name; the first such are held against all known ones."""
        self._suggestions += 1
        return nearest(word, names) if self._suggestions <= SUGGESTIONS_MAX else listing(names)

    def doubt(self, path: Path, table: str, what: str, mend: str) -> None:
        """Note what can be rated by, but can hardly be meant."""
        self.doubts.append(Mistake(self.file, self.line_of(path), table, what, mend))

    def flawed(self, *path: str | int) -> bool:
        """Whether a mistake was found at a path or below it."""
        return path in self._at_fault


class Table:
    """One table of a book. After all its keys were taken, `close` reports those nobody knows.

    A mute one stands for something that is no table: that was reported, and no more is to be.
    """

    def __init__(
        self, page: Page, path: Path, title: str, values: dict[str, Any], *, mute: bool = False
    ) -> None:
        self.page = page
        self.path = path
        self.title = title
        self.values = values
        self.mute = mute
        self.known: list[str] = []

    def __contains__(self, key: str) -> bool:
        """Whether the table has a key."""
        return key in self.values

    def inner(self, name: str) -> str:
        """Compose the title of a table within this one."""
        return f"{self.title} {INSIDE} {name}" if self.title else name

    def report(self, what: str, mend: str, *keys: str | int) -> None:
        """Note a mistake of this table, or of a key or element in it."""
        if not self.mute:
            self.page.report((*self.path, *keys), self.title, what, mend)

    def doubt(self, what: str, mend: str, *keys: str | int) -> None:
        """Note that this table, or a key in it, can hardly be meant so."""
        if not self.mute:
            self.page.doubt((*self.path, *keys), self.title, what, mend)

    def _take(self, key: str) -> Any:
        self.known.append(key)
        return self.values.get(key)

    def _parse(self, parse: Parse[T], value: Any, placeholder: T, *keys: str | int) -> T:
        try:
            return parse(value)
        except UnknownNameError as unknown:
            mend = self.page.suggest(unknown.name, unknown.names)
            self.report(f"`{keys[0]}` {unknown.what}", mend, *keys)
        except UnfitError as unfit:
            self.report(f"`{keys[0]}` {unfit.what}", unfit.mend, *keys)
        return placeholder

    def one(self, key: str, parse: Parse[T], default: T) -> T:
        """Take an optional value."""
        value = self._take(key)
        return default if value is None else self._parse(parse, value, default, key)

    def need(self, key: str, parse: Parse[T], placeholder: T, example: str) -> T:
        """Take a value that must be there. `example` shows how to write it."""
        value = self._take(key)
        if value is None:
            self.report(f"`{key}` is missing", f"add {key} = {example}")
            return placeholder
        return self._parse(parse, value, placeholder, key)

    def many(self, key: str, parse: Parse[T], example: str = '["…"]') -> tuple[T, ...] | None:
        """Take a list, or None where the key is absent."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.report(
                f"`{key}` is {describe(value)}, not a list", f"write {key} = {example}", key
            )
            return ()
        return self._elements(key, value, parse)

    def one_or_many(self, key: str, parse: Parse[T]) -> tuple[T, ...] | None:
        """Take a condition: one value or a list of some; None where the key is absent."""
        value = self._take(key)
        if value is None:
            return None
        if value == []:
            self.report(f"`{key}` is an empty list, which nothing fulfils", "leave it out", key)
        return self._elements(key, value if isinstance(value, list) else [value], parse)

    def _elements(self, key: str, values: list[Any], parse: Parse[T]) -> tuple[T, ...]:
        # A mistake leaves its element out; None is no value of TOML, so it can say "wrong".
        parsed: list[T | None] = [
            self._parse(parse, value, None, key, place) for place, value in enumerate(values)
        ]
        return tuple(value for value in parsed if value is not None)

    def table(self, key: str, title: str, example: str = "") -> Table:
        """Take a table within this one: empty where it is absent, mute where it is none."""
        value = self._take(key)
        is_table = isinstance(value, dict)
        if value is not None and not is_table:
            mend = f"write {example or title}"
            self.report(f"`{key}` is {describe(value)}, not a table", mend, key)
        return Table(
            self.page,
            (*self.path, key),
            title,
            value if is_table else {},
            mute=self.mute or not (is_table or value is None),
        )

    def tables(self, key: str, header: str, example: str = "", naming: str = "id") -> list[Table]:
        """Take the tables of an array, each titled by its header and its id (or place)."""
        example = example or header
        value = self._take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.report(
                f"`{key}` is {describe(value)}, not a list of tables", f"write {example}", key
            )
            return []
        found = []
        for place, values in enumerate(value):
            if not isinstance(values, dict):
                mend = f"write {example}"
                self.report(f"`{key}` holds {describe(values)}, not a table", mend, key, place)
                continue
            named = values.get(naming)
            label = quote(named) if isinstance(named, str) and named else f"number {place + 1}"
            title = self.inner(f"{header} {label}")
            found.append(Table(self.page, (*self.path, key, place), title, values))
        return found

    def close(self) -> None:
        """Report every key that nobody took, with the known one nearest to it."""
        for key in self.values:
            if key not in self.known:
                self.report(f"unknown key {quote(key)}", self.page.suggest(key, self.known), key)


def with_ids(
    tables: Sequence[Table], noun: str, parse: Parse[str] = name
) -> list[tuple[Table, str]]:
    """Each table with its id ("" where it has none to give); the same id twice is a mistake."""
    pairs: list[tuple[Table, str]] = []
    seen: set[str] = set()
    for table in tables:
        own_id = table.need("id", parse, "", f'"…", the name of this {noun}')
        if own_id and own_id in seen:
            mend = f"give each {noun} an id of its own"
            table.report(f"another {noun} already has the id {quote(own_id)}", mend, "id")
        seen.add(own_id)
        pairs.append((table, own_id))
    return pairs
