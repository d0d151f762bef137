"""The short way for what players send nearly always.

A record that follows the standard is cut at its commas, and each piece looked up among the members
that were met before: a bitrate, a content or a state is said again and again. A piece that is no
whole member, such as half of a string with a comma inside, is not found to be one; then the exact
reader has the record. What this way returns, the exact one would too: a dictionary is its members,
and each of these was read exactly when it was first met.
"""

from __future__ import annotations

import re

from ingest.cmcd.keys import KEYS
from ingest.cmcd.records import Note, Record, Value, custom_value, typed_value
from ingest.cmcd.structured import Item, NotStructured, Parameters, read_dictionary

MEMBERS_MAX = 1 << 15  # kept by version; more are forgotten all at once
CHARACTERS_MAX = 128  # of a member that is kept
INTEGER_DIGITS_MAX = 15
# Values that hardly come again would only push out those that do.
PASSING = frozenset(("nor", "nrr", "pt", "smrt", "ts", "ttfb", "ttfbb", "ttlb", "url"))

# Integers, each of at most one object type: "(5000;v 320;a)".
INTEGERS = re.compile(r"\([0-9]{1,15}(?:;[a-z]+)?(?: [0-9]{1,15}(?:;[a-z]+)?)*\)")
TYPED: dict[str, Parameters] = {"": ()}  # parameters by their text; filled as they are met
TYPED_MAX = 100


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
        self.lists = {name for name, kind in kinds.items() if kind == "integers"}

    def __missing__(self, piece: str) -> tuple[str, Value]:
        """Read a member that was not met before. Raises: NotQuick."""
        name, _, said = piece.partition("=")
        value: Value | None = None
        if name in self.integers:
            if len(said) <= INTEGER_DIGITS_MAX and said.isdecimal() and said.isascii():
                value = int(said)
        elif name in self.strings:
            value = _string(said)
        elif name in self.lists and INTEGERS.fullmatch(said):
            value = _integers(said)
        member = self._read(piece) if value is None else (name, value)
        if name not in PASSING and len(piece) <= CHARACTERS_MAX:
            if len(self) >= MEMBERS_MAX:
                self.clear()
            self[piece] = member
        return member

    def _read(self, piece: str) -> tuple[str, Value]:
        """Read a member as the exact reader does. Raises: NotQuick if it has anything to note."""
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


def _string(said: str) -> str | None:
    """What stands in the quotes, where nothing in it needs a second look."""
    inner = said[1:-1]
    if said[:1] == said[-1:] == '"' and len(said) > 1 and inner.isprintable() and inner.isascii():
        return None if '"' in inner or "\\" in inner else inner
    return None


def _integers(said: str) -> tuple[Item, ...]:
    """The items of a list that has the form of INTEGERS."""
    items = []
    for part in said[1:-1].split(" "):
        number, _, object_type = part.partition(";")
        parameters = TYPED.get(object_type)
        if parameters is None:
            parameters = ((object_type, True),)
            if len(TYPED) < TYPED_MAX:
                TYPED[object_type] = parameters
        items.append(Item(int(number), parameters))
    return tuple(items)


VERSION_1 = Members(1)
VERSION_2 = Members(2)
MEMBER_1 = VERSION_1.__getitem__  # bound once, since this is what a record's time is spent on
MEMBER_2 = VERSION_2.__getitem__


def read_quickly(text: str) -> Record | None:
    """A record that follows the standard to the letter; None if the exact reader must decide."""
    version, member = (2, MEMBER_2) if "v=2" in text else (1, MEMBER_1)
    try:
        values: dict[str, Value] = dict(map(member, text.split(",")))
    except NotQuick:
        return None
    return Record(version, values, ()) if values.get("v", 1) == version else None
