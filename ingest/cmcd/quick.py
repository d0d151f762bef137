"""The short way for records that follow the standard.

Each member is found by one expression for all, and its value read by the table for its key. What
has anything odd about it is not read here; then the exact reader has the record, which reads all
that this way reads, and alike.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.cmcd.keys import KEYS, Key, Kind
from ingest.cmcd.records import Record, Value
from ingest.cmcd.structured import Item, Parameters, Token

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[str], Value]

CHARACTERS_MAX = 1 << 16  # of a record; the longest keys are URLs

# A string without escapes, and the lists of such and of integers of at most one object type each.
TEXT = r'"[ !#-\[\]-~]*+"'
INTEGERS = r"\([0-9]{1,15}(?:;[a-z]+)?(?: [0-9]{1,15}(?:;[a-z]+)?)*+\)"
TEXTS = rf"\({TEXT}(?: {TEXT})*+\)"
NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,3})?"
# A member and the comma behind it; where none stands, one character that is the key of nothing.
MEMBER = re.compile(
    rf"([a-z]+)(?:=({NUMBER}|{TEXT}|[a-z]+|{INTEGERS}|{TEXTS}|\?[01]))?(?: ?, ?(?!\Z)|\Z)|[\s\S]"
)
find_members = MEMBER.findall
find_integers = re.compile(r"([0-9]+)(?:;([a-z]+))?").findall
find_texts = re.compile(TEXT).findall

WHOLE_DIGITS_MAX = 12  # of a decimal, before its point
TYPED_MAX = 100
new_tuple = tuple.__new__  # half the time of Item(...), which a record makes several of


class Typed(dict[str, Parameters]):
    """Parameters that name an object type, by its name; shared, since nothing can change them."""

    def __missing__(self, object_type: str) -> Parameters:
        """The parameters of a type that was not met before."""
        parameters: Parameters = ((object_type, True),) if object_type else ()
        if len(self) < TYPED_MAX:
            self[object_type] = parameters
        return parameters


TYPED = Typed()


def read_text(said: str) -> str:
    """What stands in the quotes. Raises: ValueError if there are none."""
    if said[:1] != '"':
        raise ValueError(said)
    return said[1:-1]


def read_decimal(said: str) -> Decimal:
    """A number. Raises: ValueError if it is none."""
    whole, point, _ = said.partition(".")
    number = Decimal(int(whole))
    if not point:
        return number
    if len(whole.removeprefix("-")) > WHOLE_DIGITS_MAX:
        raise ValueError(said)
    return Decimal(said)


def read_integers(said: str) -> tuple[Item, ...]:
    """The items of a list of integers. Raises: ValueError if it is none."""
    inner = said[1:-1]
    if inner.isdecimal() and said[0] == "(":
        return (new_tuple(Item, (int(inner), ())),)
    if said[:1] != "(" or '"' in said:
        raise ValueError(said)
    return tuple([new_tuple(Item, (int(n), TYPED[o])) for n, o in find_integers(inner)])


def read_texts(said: str) -> tuple[Item, ...]:
    """The items of a list of strings. Raises: ValueError if it is none."""
    if said[:2] != '("':
        raise ValueError(said)
    return tuple([new_tuple(Item, (text[1:-1], ())) for text in find_texts(said)])


READERS: dict[Kind, Read] = {  # tokens are read by their key
    "boolean": {"": True, "?1": True, "?0": False}.__getitem__,
    "integer": int,
    "decimal": read_decimal,
    "string": read_text,
    "integers": read_integers,
    "strings": read_texts,
}


def readers_in(version: int) -> dict[str, Read]:
    """How the value of each key is read; a sender's own keys are left to the exact reader."""
    readers: dict[str, Read] = {}
    for name, key in KEYS.items():
        kind = key.kind_in(version)
        if kind is not None:
            readers[name] = READERS[kind] if key.tokens is None else tokens_of(key)
    return readers


def tokens_of(key: Key) -> Read:
    """How the value of a key is read that holds one of its own tokens. It raises: KeyError."""
    return {token: Token(token) for token in key.tokens or ()}.__getitem__


OF_VERSION = {1: readers_in(1), 2: readers_in(2)}


def read_quickly(text: str) -> Record | None:
    """A record that follows the standard; None if the exact reader must decide."""
    if not text or len(text) > CHARACTERS_MAX:
        return None
    version = 2 if "v=2" in text else 1
    readers = OF_VERSION[version]
    try:
        values = {name: readers[name](said) for name, said in find_members(text)}
    except (KeyError, ValueError):
        return None
    return Record(version, values) if values.get("v", 1) == version else None
