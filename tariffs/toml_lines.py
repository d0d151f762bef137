"""Where things stand in a TOML text: the parser gives values without their lines.

The text must be one that `tomllib` accepts; this scan leans on that and checks nothing.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str | int, ...]
"""Keys and places in arrays, from the top: ("plans", 0, "rules", 2, "price")."""

_TOKEN = re.compile(
    r"""
    (?P<text> \"{3} (?: [^"\\] | \\. | \"{1,2}(?!\") )* \"{3,5}
            | '{3} (?: [^'] | '{1,2}(?!') )* '{3,5}
            | " (?: [^"\\] | \\. )* "
            | '[^']*' )
    | (?P<comment> \#[^\n]* )
    | (?P<end> \n )
    | (?P<mark> [\[\]{}=,] )
    | (?P<word> [^\s\[\]{}=,"'\#]+ )
    """,
    re.VERBOSE | re.DOTALL,
)


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def _tokens(text: str) -> list[_Token]:
    """All tokens but comments, with the lines that they start on."""
    found = []
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "comment":
            found.append(_Token(kind, match[0], line))
        line += match[0].count("\n")
    found.append(_Token("end", "\n", line))
    return found


class _Scan:
    """Walks the tokens once, noting the line of every path."""

    def __init__(self, text: str) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.lines: dict[Path, int] = {(): 1}
        self.tables_count: dict[Path, int] = {}  # of each array of tables

    def run(self) -> dict[Path, int]:
        table: Path = ()
        while self.at < len(self.tokens):
            token = self.tokens[self.at]
            if token.kind == "end":
                self.at += 1
            elif token.text == "[":
                table = self.header()
            else:
                self.pair(table)
        return self.lines

    def skip(self, *kinds: str) -> None:
        while self.tokens[self.at].kind in kinds:
            self.at += 1

    def keys(self) -> list[str]:
        """Pass over a dotted key; stands on the mark after it when done."""
        parts: list[str] = []
        while self.tokens[self.at].kind != "mark":
            token = self.tokens[self.at]
            if token.kind == "text":
                parts.append(tomllib.loads(f"key = {token.text}")["key"])
            else:
                parts.extend(part for part in token.text.split(".") if part)
            self.at += 1
        return parts

    def header(self) -> Path:
        """Pass over a `[table]` or `[[table]]` line; gives the path of that table."""
        line = self.tokens[self.at].line
        start = self.at
        while self.tokens[self.at].text == "[":
            self.at += 1
        is_array = self.at - start == 2
        path: Path = ()
        parts = self.keys()
        for place, part in enumerate(parts):
            path = (*path, part)
            self.lines.setdefault(path, line)
            if is_array and place == len(parts) - 1:
                self.tables_count[path] = self.tables_count.get(path, 0) + 1
            if path in self.tables_count:
                path = (*path, self.tables_count[path] - 1)
                self.lines.setdefault(path, line)
        self.lines[path] = line  # A table named before only as a parent now has a line of its own.
        while self.tokens[self.at].text == "]":
            self.at += 1
        return path

    def pair(self, table: Path) -> None:
        """`key = value`."""
        line = self.tokens[self.at].line
        path = table
        for part in self.keys():
            path = (*path, part)
            self.lines.setdefault(path, line)
        self.at += 1  # the equals sign
        self.value(path)

    def value(self, path: Path) -> None:
        opening = self.tokens[self.at]
        if opening.kind == "mark" and opening.text in "[{":
            self.at += 1
            self.items(path, in_array=opening.text == "[")
            return
        # A date and its time may stand apart, so a plain value is all that comes before a mark.
        while self.tokens[self.at].kind in ("text", "word"):
            self.at += 1

    def items(self, path: Path, *, in_array: bool) -> None:
        """Pass over what stands between brackets or braces, and the closing one."""
        count = 0
        while True:
            self.skip("end")
            token = self.tokens[self.at]
            if token.text in ("]", "}") and token.kind == "mark":
                self.at += 1
                return
            if token.kind == "mark" and token.text == ",":
                self.at += 1
            elif in_array:
                self.lines[(*path, count)] = token.line
                self.value((*path, count))
                count += 1
            else:
                self.pair(path)


def lines_of(text: str) -> Mapping[Path, int]:
    """Find the line, from 1, of every table, key and array element of a TOML text."""
    return _Scan(text.replace("\r\n", "\n")).run()
