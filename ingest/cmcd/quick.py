"""The short way for what players send nearly always.

A record that follows the standard is cut at its commas, and each piece looked up among the members
that were met before: a bitrate, a content or a state is said again and again. A piece that is no
whole member, such as half of a string with a comma inside, is not found to be one; then the exact
reader has the record. What this way returns, the exact one would too: a dictionary is its members,
and each of these was read exactly when it was first met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.cmcd.keys import KEYS
from ingest.cmcd.records import Note, Record, Value, custom_value, typed_value
from ingest.cmcd.structured import NotStructured, Token, read_dictionary

if TYPE_CHECKING:
    from collections.abc import Mapping

MEMBERS_MAX = 1 << 15  # kept by version; more are forgotten all at once
CHARACTERS_MAX = 128  # of a member that is kept
INTEGER_DIGITS_MAX = 15
# Values that hardly come again would only push out those that do.
PASSING = frozenset({"nor", "nrr", "pt", "sid", "sn", "ts", "ttfb", "ttfbb", "ttlb", "url"})


class NotQuick(Exception):  # noqa: N818 - nothing is wrong, but for the exact reader to decide
    """A piece is not a member that stands exactly as the standard has it."""


class Members(dict[str, tuple[str, Value]]):
    """Members as they are written, with their keys and values, in one version of CMCD."""

    def __init__(self, version: int) -> None:
        super().__init__()
        self.version = version
        kinds = {name: key.kind_in(version) for name, key in KEYS.items()}
        self.integers = {name for name, kind in kinds.items() if kind == "integer"}
        self.strings = {name for name, kind in kinds.items() if kind == "string"}
        self.tokens = {
            name: {token: Token(token) for token in key.tokens}
            for name, key in KEYS.items()
            if key.tokens is not None and kinds[name] is not None
        }

    def __missing__(self, piece: str) -> tuple[str, Value]:
        """Read a member that was not met before. Raises: NotQuick."""
        name, _, said = piece.partition("=")
        value: Value | None = None
        if name in self.integers:
            if said.isdecimal() and len(said) <= INTEGER_DIGITS_MAX:
                value = int(said)
        elif name in self.strings and len(said) > 1 and said[0] == said[-1] == '"':
            inner = said[1:-1]
            if '"' not in inner and "\\" not in inner and inner.isprintable():
                value = inner
        elif name in self.tokens:
            value = self.tokens[name].get(said)
        member = (name, value) if value is not None else self._read(piece)
        if member[0] not in PASSING and len(piece) <= CHARACTERS_MAX:
            if len(self) >= MEMBERS_MAX:
                self.clear()
            self[piece] = member
        return member

    def _read(self, piece: str) -> tuple[str, Value]:
        try:
            ((name, member),) = read_dictionary(piece).items()
        except (NotStructured, ValueError):
            raise NotQuick from None
        notes: list[Note] = []
        key = KEYS.get(name)
        value = (
            typed_value(key, member, self.version, notes)
            if key is not None
            else custom_value(name, member, notes)
        )
        if value is None or notes:
            raise NotQuick
        return name, value


VERSION_1 = Members(1)
VERSION_2 = Members(2)


def read_quickly(text: str) -> Record | None:
    """A record that follows the standard to the letter; None if the exact reader must decide."""
    if not text.isascii() or "\t" in text:
        return None
    members = VERSION_2 if "v=2" in text else VERSION_1
    try:
        values: Mapping[str, Value] = dict(map(members.__getitem__, text.split(",")))
    except NotQuick:
        return None
    if values.get("v", 1) != members.version:
        return None
    return Record(members.version, values)
