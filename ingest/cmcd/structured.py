"""Structured field dictionaries, read exactly as the standard says and written back.

Integers are int, decimals are Decimal, tokens are `Token`, strings are str, byte sequences are
bytes, booleans are bool. Nothing that comes out can be changed, so it may be shared.
Source: RFC 8941 sections 3.1 to 3.3, 4.1 and 4.2.
"""

from __future__ import annotations

import base64
import binascii
import re
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

INTEGER_MAX = 999_999_999_999_999  # 15 digits
DECIMAL_MAX = 1_000_000_000_000  # 12 digits before the point
THOUSANDTH = Decimal("0.001")

KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
TOKEN = re.compile(r"[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*")
# Possessive, so that a string that never ends is given up at once.
STRING = r'"(?P<string>(?:[ !#-\[\]-~]++|\\["\\])*+)"'
BARE = re.compile(
    r"(?P<decimal>-?[0-9]{1,12}\.[0-9]{1,3})"
    r"|(?P<integer>-?[0-9]{1,15})"
    rf"|(?P<token>{TOKEN.pattern})"
    rf"|{STRING}"
    r"|\?(?P<boolean>[01])"
    r"|:(?P<octets>[A-Za-z0-9+/=]*):"
)
# A member without parameters and lists, and the comma or the end behind it: nearly all there are.
SIMPLE = re.compile(rf"({KEY.pattern})(?:=(?:{BARE.pattern}))?[ \t]*(?:,[ \t]*(?!\Z)|\Z)")
ESCAPED = re.compile(r'\\(["\\])')
TO_ESCAPE = re.compile(r'(["\\])')
SPACES = re.compile(r" *")
COMMA = re.compile(r"[ \t]*(?:(?P<comma>,)[ \t]*|\Z)")  # or the end


class Token(str):
    """A bare word, as against a string."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Shown apart from a string."""
        return f"Token({str(self)!r})"


Bare: TypeAlias = bool | int | Decimal | str | Token | bytes
Parameters: TypeAlias = tuple[tuple[str, Bare], ...]


class Item(NamedTuple):
    """One value and its parameters."""

    value: Bare
    parameters: Parameters = ()


class InnerList(NamedTuple):
    """Several items in parentheses, and the parameters of them all."""

    items: tuple[Item, ...]
    parameters: Parameters = ()


Member: TypeAlias = Item | InnerList


class NotStructured(ValueError):  # noqa: N818 - it says what the text is, as the reader needs it
    """The text is no structured field."""

    def __init__(self, expected: str, text: str, at: int) -> None:
        found = repr(text[at : at + 12]) if at < len(text) else "the end"
        super().__init__(f"expected {expected} at character {at}, found {found}")


# --- reading --------------------------------------------------------------------------------------


def read_dictionary(text: str) -> dict[str, Member]:
    """Read a dictionary; of a key given twice the last value counts.

    Raises: NotStructured.
    """
    members: dict[str, Member] = {}
    text = text.strip(" ")
    at, end = 0, len(text)
    while at < end:
        simple = SIMPLE.match(text, at)
        if simple is not None:
            kind = simple.lastgroup
            value = True if kind is None else _bare_of(kind, simple[kind], text, at)
            members[simple[1]] = Item(value)
            at = simple.end()
            continue
        name, at = _read_key(text, at)
        if text.startswith("=", at):
            members[name], at = read_member(text, at + 1)
        else:
            parameters, at = _read_parameters(text, at)
            members[name] = Item(True, parameters)
        comma = COMMA.match(text, at)
        if comma is None:
            raise NotStructured("a comma", text, at)
        at = comma.end()
        if at == end and comma["comma"]:
            raise NotStructured("a key", text, at)
    return members


def read_member(text: str, at: int) -> tuple[Member, int]:
    """Read the item or inner list that begins at a character; returns it and where it ends."""
    if text.startswith("(", at):
        return _read_inner_list(text, at + 1)
    return _read_item(text, at)


def _read_key(text: str, at: int) -> tuple[str, int]:
    found = KEY.match(text, at)
    if found is None:
        raise NotStructured("a key", text, at)
    return found.group(), found.end()


def _read_inner_list(text: str, at: int) -> tuple[InnerList, int]:
    items: list[Item] = []
    while True:
        spaces = SPACES.match(text, at)
        assert spaces is not None
        if text.startswith(")", spaces.end()):
            parameters, at = _read_parameters(text, spaces.end() + 1)
            return InnerList(tuple(items), parameters), at
        if items and spaces.end() == at:
            raise NotStructured("a space or )", text, at)
        item, at = _read_item(text, spaces.end())
        items.append(item)


def _read_item(text: str, at: int) -> tuple[Item, int]:
    value, at = _read_bare(text, at)
    parameters, at = _read_parameters(text, at)
    return Item(value, parameters), at


def _read_parameters(text: str, at: int) -> tuple[Parameters, int]:
    if not text.startswith(";", at):
        return (), at
    found: dict[str, Bare] = {}
    while text.startswith(";", at):
        spaces = SPACES.match(text, at + 1)
        assert spaces is not None
        name, at = _read_key(text, spaces.end())
        if text.startswith("=", at):
            found[name], at = _read_bare(text, at + 1)
        else:
            found[name] = True
    return tuple(found.items()), at


def _read_bare(text: str, at: int) -> tuple[Bare, int]:
    found = BARE.match(text, at)
    if found is None or found.lastgroup is None:
        raise NotStructured("a value", text, at)
    return _bare_of(found.lastgroup, found[found.lastgroup], text, at), found.end()


def _bare_of(kind: str, said: str, text: str, at: int) -> Bare:
    """A value from what a group of BARE found; text, at: where it stood."""
    if kind == "integer":
        return int(said)
    if kind == "token":
        return Token(said)
    if kind == "string":
        return ESCAPED.sub(r"\1", said) if "\\" in said else said
    if kind == "decimal":
        return Decimal(said)
    if kind == "boolean":
        return said == "1"
    try:  # the padding may be missing (RFC 8941 section 4.2.7)
        return base64.b64decode(said + "=" * (-len(said) % 4), validate=True)
    except binascii.Error:
        raise NotStructured("base64 between colons", text, at) from None


# --- writing --------------------------------------------------------------------------------------


def write_dictionary(members: Mapping[str, Member]) -> str:
    """Write a dictionary, in the order of its keys as they are given.

    Raises: ValueError if a key or value has no form in a structured field.
    """
    return ",".join(_write_entry(name, member) for name, member in members.items())


def _write_entry(name: str, member: Member) -> str:
    if KEY.fullmatch(name) is None:
        raise ValueError(f"key {name!r}: expected lower-case letters, digits and _-.*")
    if isinstance(member, Item) and member.value is True:
        return name + _write_parameters(member.parameters)
    return f"{name}={_write_member(member)}"


def _write_member(member: Member) -> str:
    if isinstance(member, InnerList):
        items = " ".join(_write_member(item) for item in member.items)
        return f"({items})" + _write_parameters(member.parameters)
    return write_bare(member.value) + _write_parameters(member.parameters)


def _write_parameters(parameters: Parameters) -> str:
    return "".join(
        f";{name}" if value is True else f";{name}={write_bare(value)}"
        for name, value in parameters
    )


def write_bare(value: Bare) -> str:
    """Write one value, without parameters.

    Raises: ValueError if it has no form in a structured field.
    """
    if isinstance(value, bool):
        return "?1" if value else "?0"
    if isinstance(value, int):
        if abs(value) > INTEGER_MAX:
            raise ValueError(f"{value}: expected an integer of at most 15 digits")
        return str(value)
    if isinstance(value, Decimal):
        return _write_decimal(value)
    if isinstance(value, bytes):
        return f":{base64.b64encode(value).decode()}:"
    if isinstance(value, Token):
        if TOKEN.fullmatch(value) is None:
            raise ValueError(f"{value!r} is no token")
        return str(value)
    if not value.isascii() or not value.isprintable():
        raise ValueError(f"{value!r}: expected printable ASCII; encode the rest")
    return '"' + TO_ESCAPE.sub(r"\\\1", value) + '"'


def _write_decimal(value: Decimal) -> str:
    """At most three places, rounded to even, and at least one (RFC 8941 section 4.1.5)."""
    if not value.is_finite() or abs(value) >= DECIMAL_MAX:
        raise ValueError(f"{value}: expected a decimal of at most 12 digits before the point")
    rounded = value.quantize(THOUSANDTH, ROUND_HALF_EVEN)
    if abs(rounded) >= DECIMAL_MAX:
        raise ValueError(f"{value}: expected a decimal of at most 12 digits before the point")
    whole, _, places = f"{rounded:f}".partition(".")
    return f"{whole}.{places.rstrip('0') or '0'}"
