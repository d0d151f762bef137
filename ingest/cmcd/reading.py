"""CMCD as it travels, to records: a body, a query argument, headers, the JSON of version 1.

Source: CTA-5004-B sections 3 and 6; CTA-5004 section 2 for JSON.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from ingest.cmcd.keys import HEADERS, KEYS
from ingest.cmcd.quick import CHARACTERS_MAX, read_quickly
from ingest.cmcd.records import Note, Record, Rejected, record_of
from ingest.cmcd.shapes import Shapes
from ingest.cmcd.structured import (
    Bare,
    InnerList,
    Item,
    Member,
    NotStructured,
    Token,
    read_dictionary,
)
from ingest.cmcd.tolerant import read_tolerantly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MEDIA_TYPES = ("application/cmcd", "text/cmcd")  # since revision B, and before it
BLANK = " \t\r\n"
SHAPES = Shapes()


def read_record(text: str) -> Record:
    """Read one record: what stands on a line of a body, or in the decoded query argument.

    Raises: Rejected.
    """
    stripped = text.strip(BLANK)
    record = SHAPES.read(stripped)
    if record is None:
        record = read_quickly(stripped) or read_exactly(stripped)
        SHAPES.see(stripped, record)
    return record


def read_exactly(text: str) -> Record:
    """Read one record by the standard's own steps, and tolerantly where it has broken them.

    Raises: Rejected.
    """
    if not text:
        raise Rejected("an empty record", text)
    if len(text) > CHARACTERS_MAX:
        raise Rejected(f"{len(text)} characters, expected at most {CHARACTERS_MAX}", text)
    try:
        return record_of(read_dictionary(text), text, ())
    except NotStructured as error:
        broken = error
    try:
        members, notes = read_tolerantly(text)
    except NotStructured:
        raise Rejected(f"no CMCD: {broken}", text) from None
    record = record_of(members, text, (Note("", f"no structured field: {broken}"), *notes))
    if not record.values:
        raise Rejected(f"no CMCD: {broken}", text)
    return record


def read_body(body: bytes) -> list[Record | Rejected]:
    """Read a body of `application/cmcd`: one record a line, blank lines left out."""
    return [found for _, found in body_lines(body)]


def body_lines(body: bytes) -> Iterator[tuple[bytes, Record | Rejected]]:
    """Read a body, each record with the bytes of its line."""
    for line in body.split(b"\n"):
        if stripped := line.strip(b" \t\r"):
            try:
                yield stripped, read_record(text_of(stripped))
            except Rejected as rejected:
                yield stripped, rejected


def text_of(line: bytes) -> str:
    """A line as text. Raises: Rejected."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Rejected(f"no UTF-8 at byte {error.start}", line) from None


def read_query(query: str) -> Record | None:
    """Read the argument CMCD of a query string ("a=1&CMCD=bs%2Csu"); None if it has none.

    Version 1 encodes `nor` once more by itself; `upgraded` takes that off.
    Raises: Rejected.
    """
    for argument in query.removeprefix("?").split("&"):
        name, equals, value = argument.partition("=")
        if name == "CMCD" and equals:
            return read_record(unquote_plus(value))
    return None


def read_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> Record | None:
    """Read the four CMCD headers as one record, whichever of them a key is in; None without any.

    Raises: Rejected.
    """
    pairs = headers.items() if hasattr(headers, "items") else headers
    wanted = {name.lower() for name in HEADERS}
    values = [value.strip(BLANK) for name, value in pairs if name.lower() in wanted]
    return read_record(",".join(filter(None, values))) if values else None


def read_request(
    headers: Mapping[str, str] | Iterable[tuple[str, str]], query: str
) -> Record | None:
    """Read what a media request carries: its headers, or if it has none of them, its query.

    Raises: Rejected.
    """
    pairs = list(headers.items() if hasattr(headers, "items") else headers)
    found = read_headers(pairs)
    return read_query(query) if found is None else found


# --- JSON -----------------------------------------------------------------------------------------


def read_json(body: bytes) -> list[Record | Rejected]:
    """Read the JSON object of version 1, or an array of such.

    Raises: Rejected if it is neither.
    """
    return [found for _, found in json_elements(body)]


def json_elements(body: bytes) -> Iterator[tuple[bytes, Record | Rejected]]:
    """Read the JSON of version 1, each record with its object as JSON.

    Raises: Rejected, at the first step, if the body is no JSON.
    """
    try:
        found: Any = json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"no JSON: {error}", body) from None
    for index, value in enumerate(found if isinstance(found, list) else [found]):
        raw = json.dumps(value, default=str, ensure_ascii=False)
        try:
            yield raw.encode(), _from_json(value, raw, f"element {index}")
        except Rejected as rejected:
            yield rejected.raw, rejected
        except UnicodeEncodeError:
            raw = json.dumps(value, default=str)
            half = Rejected(f"element {index}: half of a character (a lone surrogate)", raw)
            yield half.raw, half


def _from_json(value: Any, raw: str, place: str) -> Record:
    if not isinstance(value, dict):
        raise Rejected(f"{place}: expected a JSON object", raw)
    notes: list[Note] = []
    members: dict[str, Member] = {}
    for name, said in value.items():
        member = _member(name, said)
        if member is None:
            notes.append(Note(name, f"{name}: a value that CMCD does not have: ignored"))
        else:
            members[name] = member
    if not members:
        raise Rejected(f"{place}: an empty record", raw)
    return record_of(members, raw, tuple(notes))


def _member(name: str, said: Any) -> Member | None:
    if isinstance(said, list):
        items = [Item(value) for part in said if (value := _bare(name, part)) is not None]
        return InnerList(tuple(items)) if len(items) == len(said) else None
    value = _bare(name, said)
    return None if value is None else Item(value)


def _bare(name: str, said: Any) -> Bare | None:
    """JSON has no tokens, so a string is one where the key wants one."""
    if isinstance(said, str):
        return Token(said) if name in KEYS and KEYS[name].kind == "token" else said
    return said if isinstance(said, bool | int | Decimal) else None
