"""What players send that is no structured field, read as it was surely meant.

Seen in the field: empty members, upper-case keys, strings in two pairs of quotes or none at all,
integers of 16 digits, characters that are not ASCII. What cannot be read costs its own key only.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from ingest.cmcd.keys import KEYS
from ingest.cmcd.records import Note
from ingest.cmcd.structured import (
    ESCAPED,
    KEY,
    InnerList,
    Item,
    Member,
    NotStructured,
    Token,
    read_member,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TURNS = re.compile(r'\\.|[",()]')  # where a scan for the commas between members must look
LONG_INTEGER = re.compile(r"-?[0-9]{16,20}")
LONG_DECIMAL = re.compile(r"-?[0-9]{1,12}\.[0-9]{4,12}")
WORD = re.compile(r'[^\s"(),;=]+')


def read_tolerantly(text: str) -> tuple[dict[str, Member], list[Note]]:
    """Read the members that can be read; notes say what was mended and what is missing.

    Raises: NotStructured if there is not one.
    """
    members: dict[str, Member] = {}
    notes: list[Note] = []
    for piece in split_members(text):
        name, equals, said = (part.strip() for part in piece.partition("="))
        if not name and not equals:
            notes.append(Note("", "an empty member: ignored"))
            continue
        key = name.lower()
        if KEY.fullmatch(key) is None:
            notes.append(Note("", f"{piece.strip()[:40]!r} has no key: ignored"))
            continue
        if key != name:
            notes.append(Note(key, f"{name}: keys are lower-case: read as {key}"))
        member = read_value(key, said, notes) if equals else Item(True)
        if member is not None:
            members[key] = member
    if not members:
        raise NotStructured("members of the form key=value", text, 0)
    return members, notes


def as_written(members: dict[str, Member], text: str) -> dict[str, Member]:
    """Members in which a number that stands for a string keeps its zeros: cid=007 is no 7."""
    numbers = [name for name, member in members.items() if is_number_for_string(name, member)]
    if not numbers:
        return members
    said = {
        name.strip().lower(): value.strip()
        for name, equals, value in (piece.partition("=") for piece in split_members(text))
        if equals
    }
    return members | {name: Item(Token(said[name])) for name in numbers if name in said}


def is_number_for_string(name: str, member: Member) -> bool:
    """Whether a member is a bare number, and its key holds a string."""
    if name not in KEYS or KEYS[name].kind != "string" or not isinstance(member, Item):
        return False
    is_number = isinstance(member.value, int | Decimal) and not isinstance(member.value, bool)
    return is_number and not member.parameters


def split_members(text: str) -> Iterator[str]:
    """Cut at the commas that stand in no string and no list; at all, if one of those never ends."""
    quoted, depth, begun = False, 0, 0
    cuts: list[str] = []
    for turn in TURNS.finditer(text):
        mark = turn.group()
        if mark == '"':
            quoted = not quoted
        elif quoted or mark[0] == "\\":
            continue
        elif mark == "(":
            depth += 1
        elif mark == ")":
            depth = max(0, depth - 1)
        elif not depth:
            cuts.append(text[begun : turn.start()])
            begun = turn.end()
    if quoted or depth:
        return iter(text.split(","))
    return iter([*cuts, text[begun:]])


def read_value(key: str, said: str, notes: list[Note]) -> Member | None:
    """Read one value, mended if it must be; None, with a note, if it is none."""
    try:
        member, end = read_member(said, 0)
        if end == len(said):
            return member
    except NotStructured:
        pass
    mended = _mended_list(said) if said.startswith("(") else _mended(said)
    outcome = "ignored" if mended is None else "mended"
    notes.append(Note(key, f"{key}: {said[:40]!r} is no structured field: {outcome}"))
    return mended


def _mended_list(said: str) -> Member | None:
    """Items apart by spaces or commas, each of them mended."""
    items = []
    for part in said.strip("()").replace(",", " ").split():
        try:
            item, end = read_member(part, 0)
        except NotStructured:
            item, end = None, 0
        if not isinstance(item, Item) or end < len(part):
            item = _mended(part)
        if item is None:
            return None
        items.append(item)
    return InnerList(tuple(items)) if items else None


def _mended(said: str) -> Item | None:
    if LONG_INTEGER.fullmatch(said):
        return Item(int(said))
    if LONG_DECIMAL.fullmatch(said):
        return Item(Decimal(said))
    if said.startswith('"') and said.endswith('"'):
        inner = ESCAPED.sub(r"\1", said.strip('"'))
        return Item(inner) if '"' not in inner and inner else None
    return Item(said) if WORD.fullmatch(said) else None
