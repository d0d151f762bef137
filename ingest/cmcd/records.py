"""One CMCD record: members of a dictionary become values of the types that the keys have.

What a key does not hold is read as what it was surely meant to be (a quoted token, one value in
place of a list) or ignored, key by key, and a note says so. Only a record of a later version, or
one of which nothing can be read, is rejected whole.
Source: CTA-5004-B sections 4.1, 4.3 and 6.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ingest.cmcd.keys import KEYS, VERSION_MAX, Key, Kind, is_custom
from ingest.cmcd.structured import Bare, InnerList, Item, Member, Token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

INTEGER = re.compile(r"-?[0-9]{1,20}")
DECIMAL = re.compile(r"-?[0-9]{1,12}(?:\.[0-9]{1,12})?")
TRUTHS = {"true": True, "1": True, "false": False, "0": False}

Value: TypeAlias = Bare | tuple[Item, ...]


class Note(NamedTuple):
    """What was mended or ignored. key: "" where it is about the record."""

    key: str
    sentence: str


class Record(NamedTuple):
    """One record. version: 1 or 2. values: by key; an inner list is a tuple of items."""

    version: int
    values: Mapping[str, Value]
    notes: tuple[Note, ...] = ()


class Rejected(ValueError):  # noqa: N818 - a value as often as an error: one bad line of a body
    """A record of which nothing may be used. raw: as it came."""

    def __init__(self, reason: str, raw: str | bytes) -> None:
        super().__init__(reason)
        self.reason = reason
        self.raw = raw.encode("utf-8", "replace") if isinstance(raw, str) else raw


def record_of(members: Mapping[str, Member], raw: str | bytes, notes: tuple[Note, ...]) -> Record:
    """Give the members of a dictionary the types of their keys.

    Raises: Rejected if the version is later than what is understood.
    """
    found = list(notes)
    version = _version(members.get("v"), raw, found)
    values: dict[str, Value] = {}
    for name, member in members.items():
        key = KEYS.get(name)
        value = custom_value(name, member, found) if key is None else None
        if key is not None:
            value = typed_value(key, member, version, found)
        if value is not None:
            values[name] = value
    return Record(version, values, tuple(found))


def typed_value(key: Key, member: Member, version: int, notes: list[Note]) -> Value | None:
    """The value of a reserved key; None, with a note, if it holds nothing that the key may."""
    kind = key.kind_in(version)
    if kind is None:
        notes.append(Note(key.name, f"{key.name} is no key of version {version}: ignored"))
        return None
    value, mended = READERS[kind](member)
    if value is None and key.unit and kind == "integer":
        value, mended = _nearest(member), True
    if value is None or (key.tokens is not None and value not in key.tokens):
        notes.append(Note(key.name, f"{key.name}: expected {_wanted(key, kind)}: ignored"))
        return None
    if mended:
        notes.append(Note(key.name, f"{key.name}: expected {_wanted(key, kind)}: read as one"))
    return value


def custom_value(name: str, member: Member, notes: list[Note]) -> Value | None:
    """The value of a key that the standard does not have; None, with a note, if it is not kept."""
    if not is_custom(name):
        notes.append(Note(name, f"{name}: unknown key: ignored"))
        return None
    return member.items if isinstance(member, InnerList) else member.value


def _version(member: Member | None, raw: str | bytes, notes: list[Note]) -> int:
    if member is None:
        return 1
    version, _ = _integer(member)
    if not isinstance(version, int) or version < 1:
        notes.append(Note("v", "v: expected 1 or 2: read as 1"))
        return 1
    if version > VERSION_MAX:
        raise Rejected(f"version {version} of CMCD; {VERSION_MAX} is the last one understood", raw)
    return version


def _wanted(key: Key, kind: Kind) -> str:
    """What a key holds, in words."""
    if key.tokens is not None:
        return "one of the tokens " + " ".join(sorted(key.tokens))
    lists = {"integers": "an inner list of integers", "strings": "an inner list of strings"}
    return lists.get(kind) or ("an " if kind == "integer" else "a ") + kind


# --- one kind of value each: the value, or None, and whether it was said in another way ------------


def _only(member: Member) -> tuple[Bare | None, bool]:
    """The one bare value of a member, also of a list of one."""
    if isinstance(member, Item):
        return member.value, False
    return (member.items[0].value, True) if len(member.items) == 1 else (None, True)


def _boolean(member: Member) -> tuple[Value | None, bool]:
    value, mended = _only(member)
    if isinstance(value, bool):
        return value, mended
    return TRUTHS.get(str(value).lower()), True


def _integer(member: Member) -> tuple[Value | None, bool]:
    value, mended = _only(member)
    if isinstance(value, int) and not isinstance(value, bool):
        return value, mended
    if isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value), True
    if isinstance(value, str) and INTEGER.fullmatch(value):
        return int(value), True
    return None, True


def _nearest(member: Member) -> int | None:
    """A fraction of a unit, which players compute and forget to round."""
    value, _ = _only(member)
    if isinstance(value, str) and DECIMAL.fullmatch(value):
        value = Decimal(value)
    return int(value.to_integral_value()) if isinstance(value, Decimal) else None


def _decimal(member: Member) -> tuple[Value | None, bool]:
    value, mended = _only(member)
    if isinstance(value, Decimal):
        return value, mended
    if isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value), mended
    if isinstance(value, str) and DECIMAL.fullmatch(value):
        return Decimal(value), True
    return None, True


def _string(member: Member) -> tuple[Value | None, bool]:
    value, mended = _only(member)
    if isinstance(value, str):
        return str(value), mended or isinstance(value, Token)
    if isinstance(value, int | Decimal) and not isinstance(value, bool):
        return str(value), True
    return None, True


def _token(member: Member) -> tuple[Value | None, bool]:
    value, mended = _only(member)
    if isinstance(value, Token):
        return value, mended
    return (Token(value), True) if isinstance(value, str) else (None, True)


def _list_of(read: Callable[[Member], tuple[Any, bool]]) -> Callable[[Member], tuple[Any, bool]]:
    def read_list(member: Member) -> tuple[Value | None, bool]:
        items = member.items if isinstance(member, InnerList) else (member,)
        values = [read(item) for item in items]
        if any(value is None for value, _ in values):
            return None, True
        if not any(mended for _, mended in values):
            return items, isinstance(member, Item)
        listed = zip(values, items, strict=True)
        return tuple(Item(value, item.parameters) for (value, _), item in listed), True

    return read_list


READERS: dict[Kind, Callable[[Member], tuple[Value | None, bool]]] = {
    "boolean": _boolean,
    "integer": _integer,
    "decimal": _decimal,
    "string": _string,
    "token": _token,
    "integers": _list_of(_integer),
    "strings": _list_of(_string),
}
