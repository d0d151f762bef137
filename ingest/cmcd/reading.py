"""CMCD as it travels, to records: a body, a query argument, headers, the JSON of version 1.

Source: CTA-5004-B sections 3 and 6; CTA-5004 section 2 for JSON.
"""

from __future__ import annotations

import json
import re
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
from ingest.cmcd.tolerant import as_written, read_tolerantly

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MEDIA_TYPES = ("application/cmcd", "text/cmcd")  # since revision B, and before it
BLANK = " \t\r\n"
SHAPES = Shapes()

ARGUMENTS = ("CMCD", "Common-Media-Client-Data")  # in any case; the second is the draft's
ARGUMENT = re.compile(
    rf"(?:\A|(?<=[?&;]))(?:{'|'.join(ARGUMENTS)})=([^&]*)", re.IGNORECASE | re.ASCII
)
ENCODED_EQUALS = "%3d"
PREFIX = re.compile(r"//[^/]*/")  # as Akamai's logs have it: //1.0@V/bl=...

# Beyond these no key holds a number, and to write out some of them would take hours.
DIGITS_MAX = 20
EXPONENT_MAX = 20
NUMBER = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
PICTURES = ("v", "av")
NESTING_MAX = 50  # a record of JSON has three levels


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
    if "=" not in text and ENCODED_EQUALS in text.lower():
        record = read_exactly(unquote_plus(text))
        note = Note("", "percent-encoded once more than its place asks for: read without")
        return record._replace(notes=(note, *record.notes))
    try:
        members = read_dictionary(text)
        return record_of(as_written(members, text), text, ())
    except NotStructured as error:
        broken = error
    try:
        members, notes = read_tolerantly(text)
    except NotStructured:
        raise Rejected(f"no CMCD: {broken}", text) from None
    members = as_written(members, text)
    record = record_of(members, text, (Note("", f"no structured field: {broken}"), *notes))
    if not record.values:
        raise Rejected(f"no CMCD: {broken}", text)
    return record


def read_body(body: bytes) -> list[Record | Rejected]:
    """Read a body of `application/cmcd`: one record a line, blank lines left out."""
    return [found for _, found in body_lines(body)]


def body_lines(body: bytes) -> Iterator[tuple[bytes, Record | Rejected]]:
    """Read a body, each record with the bytes of its line.

    A line may also be a whole argument ("CMCD=bs%2Csu"), which no record begins like.
    """
    for line in body.split(b"\n"):
        if stripped := line.strip(b" \t\r"):
            try:
                yield stripped, read_line(text_of(stripped))
            except Rejected as rejected:
                yield stripped, rejected


def read_line(text: str) -> Record:
    """Read a record, or an argument that holds one. Raises: Rejected."""
    if ARGUMENT.match(text) is None:
        return read_record(text)
    return read_record(chosen_argument(find_arguments(text)))


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
    arguments = find_arguments(query)
    return read_record(chosen_argument(arguments)) if arguments else None


def find_arguments(query: str) -> list[str]:
    """Every argument CMCD of a query, decoded, in their order; see `chosen_argument`."""
    return [
        without_prefix(unquote_plus(found)) for found in ARGUMENT.findall(query.removeprefix("?"))
    ]


def written_arguments(query: str) -> list[str]:
    """Every argument CMCD of a query as it was written, with its name."""
    return [found.group() for found in ARGUMENT.finditer(query.removeprefix("?"))]


def without_prefix(text: str) -> str:
    """CMCD without the mark that Akamai's logs put before it."""
    prefix = PREFIX.match(text)
    return text[prefix.end() :] if prefix else text


def chosen_argument(arguments: list[str]) -> str:
    """Which argument counts of those that a request has.

    A player adds its own behind what the URL had already: that of the playlist, say, or of an earlier
    try. So it is the last, unless only an earlier one says what plays and for how long.
    """
    for text in reversed(arguments if len(arguments) > 1 else ()):
        try:
            record = read_record(text)
        except Rejected:
            continue
        if record.values.get("ot") in PICTURES and "d" in record.values:
            return text
    return arguments[-1]


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
        found: Any = json.loads(body, parse_int=_number, parse_float=_number)
    except (ValueError, RecursionError) as error:
        raise Rejected(f"no JSON: {error}", body) from None
    if _nests_deeper(found, NESTING_MAX):
        raise Rejected(f"no record nests deeper than {NESTING_MAX} objects and arrays", body)
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


def _number(text: str) -> int | Decimal | str:
    """A number of JSON; its text in place of one that no key can hold."""
    found = NUMBER.fullmatch(text)
    assert found is not None
    whole, places, exponent = found.groups(default="")
    if len(whole) + len(places) > DIGITS_MAX or len(exponent) > DIGITS_MAX:
        return OddNumber(text)
    if not places and not exponent:
        return int(text)
    return Decimal(text) if abs(int(exponent or 0)) <= EXPONENT_MAX else OddNumber(text)


class OddNumber(str):
    """A number that no key can hold, as it was written."""

    __slots__ = ()


def _nests_deeper(value: Any, levels: int) -> bool:
    """Whether objects and arrays stand inside one another deeper than so many."""
    inner = [value]
    for _ in range(levels):
        inner = [
            each
            for one in inner
            if isinstance(one, dict | list)
            for each in (one.values() if isinstance(one, dict) else one)
        ]
    return any(isinstance(one, dict | list) for one in inner)


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
    if isinstance(said, OddNumber):
        return None
    if isinstance(said, str):
        return Token(said) if name in KEYS and KEYS[name].kind == "token" else said
    return said if isinstance(said, bool | int | Decimal) else None
