"""The shortest way: for records of a shape that was met before.

A player sends the same keys in the same order again and again, with other values. For such a shape
one expression finds all values at once, and a fixed list says how each is read and which key it is
of. A shape is learned from a record that another way has read, and checked on it. What an
expression finds the exact reader would read alike, since it is made of the same kinds of values.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import repeat
from operator import call, itemgetter
from typing import TYPE_CHECKING, Any

from ingest.cmcd.keys import KEYS
from ingest.cmcd.quick import CHARACTERS_MAX, new_tuple, read_decimal, tokens_of
from ingest.cmcd.records import Record, Value
from ingest.cmcd.structured import TOKEN, Bare, Item, Parameters, Token, write_bare

if TYPE_CHECKING:
    from collections.abc import Callable

    Signature = tuple[int, int, str]

SIGHTINGS = 64  # before the first shape is learned, which takes as long as to read so many; 2**n
SIGNATURES_MAX = 256  # of more, all are forgotten
SHAPES_MAX = 4  # of one signature; of more, the oldest is forgotten
MEMBERS_MAX = 64

INTEGER = "(-?[0-9]{1,15})"
DECIMAL = r"(-?[0-9]{1,12}(?:\.[0-9]{1,3})?)"
TEXT = r'"([ !#-\[\]-~]*+)"'
WORD = f"({TOKEN.pattern})"
ITEMS = repeat(Item)


class NoShape(Exception):  # noqa: N818 - an outcome
    """A record holds what no shape is made for."""


class Shape:
    """Records with the same keys in the same order, and values of the same kinds.

    An expression finds the texts of all values, and `readers` read them. Of some of these values
    items are made, each with its own parameters, which are always the same; they stand behind the
    values, and the constants behind them. `pick` takes what belongs to each key.
    """

    def __init__(self, text: str, record: Record) -> None:
        """The shape of a record and its text. Raises: NoShape."""
        if len(record.values) > MEMBERS_MAX or record.notes:
            raise NoShape
        self.version = record.version
        self.names = tuple(record.values)
        self._readers: list[Callable[[str], Any]] = []
        self._constants: tuple[Value, ...] = ()
        self._parameters: list[Parameters] = []
        places: list[int] = []  # of the items' values
        slots: list[int | range] = []  # of the keys' values; a range is one of items
        members = []
        for name, value in record.values.items():
            escaped, begin = re.escape(name), len(places)
            if value is True or name == "v":  # one version has other kinds than another
                self._constants = (value, *self._constants)
                slots.append(-len(self._constants))
                members.append(escaped if value is True else f"{escaped}={value!r}")
            elif isinstance(value, tuple):
                items = " ".join(self._item(item, places) for item in value)
                slots.append(range(begin, len(places)))
                members.append(rf"{escaped}=\({items}\)")
            else:
                slots.append(len(self._readers))
                members.append(f"{escaped}={self._bare(name, value)}")
        # More is picked than needed, since one alone would not come as a tuple.
        self._pick_items = itemgetter(*places, slice(0, 0), slice(0, 0))
        self._pick = itemgetter(*(in_one(slot, len(self._readers)) for slot in slots), slice(0, 0))
        spaced = " ," in text or ", " in text
        self._match = re.compile((" ?, ?" if spaced else ",").join(members)).fullmatch

    def _item(self, item: Item, places: list[int]) -> str:
        """An expression for one item of a list."""
        places.append(len(self._readers))
        self._parameters.append(item.parameters)
        return self._bare("", item.value) + "".join(
            re.escape(f";{name}" if value is True else f";{name}={write_bare(value)}")
            for name, value in item.parameters
        )

    def _bare(self, name: str, value: Bare) -> str:
        """An expression for values of a kind; says on the way how they are read."""
        key = KEYS.get(name)
        read: Callable[[str], Any]
        if key is not None and key.tokens is not None:
            read, expression = tokens_of(key), WORD
        elif key is not None and key.kind == "decimal":
            read, expression = read_decimal, DECIMAL
        elif type(value) is int:
            read, expression = int, INTEGER
        elif type(value) is str:
            read, expression = str, TEXT
        elif type(value) is Token:
            read, expression = Token, WORD
        else:
            raise NoShape
        self._readers.append(read)
        return expression

    def read(self, text: str) -> Record | None:
        """A record of this shape; None if it is of another, or has a token that its key has not."""
        found = self._match(text)
        if found is None:
            return None
        try:
            values = (*map(call, self._readers, found.groups()),)
        except KeyError:
            return None
        items = zip(self._pick_items(values), self._parameters, strict=False)
        picked = self._pick((*values, *map(new_tuple, ITEMS, items), *self._constants))
        named = dict(zip(self.names, picked, strict=False))
        return new_tuple(Record, (self.version, named, ()))


def in_one(slot: int | range, values: int) -> int | slice:
    """Where a slot is when the items stand behind so many values."""
    return slice(values + slot.start, values + slot.stop) if isinstance(slot, range) else slot


class Shapes:
    """The shapes that were met, by what can be said of a text at a glance."""

    def __init__(self) -> None:
        self._known: dict[Signature, tuple[Shape, ...]] = {}
        self._sightings: Counter[Signature] = Counter()

    def read(self, text: str) -> Record | None:
        """A record of a known shape; None where its shape is not known."""
        for shape in self._known.get((text.count(","), text.count("("), text[:3]), ()):
            record = shape.read(text)
            if record is not None:
                return record if len(text) <= CHARACTERS_MAX else None
        return None

    def see(self, text: str, record: Record) -> None:
        """Be shown a record that was read in another way, and learn the shape of a few of them.

        Each time one is learned it takes twice as many to learn the next, since records that look
        alike and still have other shapes each time are not worth it.
        """
        signature = (text.count(","), text.count("("), text[:3])
        self._sightings[signature] += 1
        seen = self._sightings[signature]
        if len(self._sightings) > SIGNATURES_MAX:
            self.forget()
        if seen < SIGHTINGS or seen & (seen - 1):
            return
        try:
            shape = Shape(text, record)
        except NoShape:
            return
        if repr(shape.read(text)) == repr(record):  # a Token and a text of the same word are equal
            self._known[signature] = (shape, *self._known.get(signature, ()))[:SHAPES_MAX]

    def forget(self) -> None:
        """Begin anew."""
        self._known.clear()
        self._sightings.clear()
