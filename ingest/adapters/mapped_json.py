"""An operator's own JSON to usage records, by a mapping file.

The file says which record type a document is, where each field stands in it, in which unit its
times are, and which words it has for the states of a player. Documents come as one object, as an
array, as JSON lines, or as an array inside an object. docs/senders/own-json.md shows one.
Source: spec section 1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ingest.adapters.canonical import (
    MALFORMED,
    Reading,
    suspended_frame,
    suspended_row,
    usage_of_rows,
)
from ingest.adapters.fields import known_account, known_time, settled, usage_row
from ingest.adapters.mapping_files import MappingError, Table, parse_mapping, raise_mistakes
from ingest.adapters.native import BYTE_ORDER_MARK, SPACE, parsed_or_error, parsed_values
from ingest.adapters.numbers import EXACT, decimal_of
from ingest.json_exact import (
    TEXTS_OF_TYPES,
    MalformedError,
    Number,
    parse_json,
    rfc_3339_ms,
    shown,
)
from rating.schemas import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

UNITS = {
    "s": Decimal(1000),
    "ms": Decimal(1),
    "us": Decimal("0.001"),
    "100ns": Decimal("0.0001"),
    "ns": Decimal("0.000001"),
}
"""What a number is multiplied by to become milliseconds."""

NUMERIC = {"time", "playhead_ms", "rate", "bill_day"}
IN_UNITS = {"time", "playhead_ms"}
OF_TYPES = {type_: dict(texts.values()) for type_, texts in TEXTS_OF_TYPES.items()}
MORE_FIELDS = {
    "view": {"state": 1, "playhead_ms": 2, "rate": 2},
    "account.open": {"bill_day": 2},
    "balance.topup": {"amount": 1},
}
REQUIRED = 1
EVERY_S = 60
EVERY_S_MAX = 3600
SPAN_MS_MAX = 24 * 3_600_000
LOCAL_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(?:[.,]([0-9]{1,9})[0-9]*)?"
)
MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - zones are taken off before
DECIMAL_TEXT = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")
MISSING = object()
COMPACT = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Field:
    """Where one field of a record comes from.

    paths: tried in order, each a way through objects and arrays. constant: where there is no path
    or none leads anywhere. words: what the sender's words mean. unit: of a number, see UNITS.
    since_ms: what a number of a time counts from, in ms since the epoch. zone: where a written time
    is that has none of its own; None: nowhere. where: the paths in words.
    """

    paths: tuple[tuple[str, ...], ...] = ()
    constant: str | int | None = None
    words: Mapping[str, str] | None = None
    unit: str = "ms"
    since_ms: int = 0
    zone: ZoneInfo | None = None
    where: str = field(init=False)

    def __post_init__(self) -> None:
        """Put the paths into words, once and not for each document."""
        where = " or ".join(".".join(path) for path in self.paths)
        object.__setattr__(self, "where", where)


@dataclass(frozen=True, slots=True)
class Rule:
    """What documents of one kind become. when: allowed values by path; all have to hold.

    span: where a document tells a whole viewing, its end.
    """

    type: str
    when: tuple[tuple[tuple[str, ...], frozenset[str]], ...] = ()
    fields: Mapping[str, Field] = field(default_factory=dict)
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """When a viewing that one document tells has ended, or how long it lasted.

    A record is made of its start and of its end, and one every so many ms between, since a longer
    silence is not watched.
    """

    until: Field | None
    lasts: Field | None
    every_ms: int


@dataclass(frozen=True, slots=True)
class JsonMapping:
    """A mapping file. documents: the way to the array of documents; empty: the body itself.

    skip: what a document looks like that the operator wants left out. rules: the first that fits.
    names: of bulk data alone, the data model's path that each name of a box's profile stands for.
    """

    id: str
    documents: tuple[str, ...]
    skip: tuple[Rule, ...]
    rules: tuple[Rule, ...]
    names: Mapping[str, str] = field(default_factory=dict)


# --- the mapping file --------------------------------------------------------------------------


def open_json_mapping(file: Path) -> JsonMapping:
    """Read a mapping file. Raises: MappingError; OSError if it cannot be read."""
    try:
        return load_json_mapping(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise MappingError(str(file), [f"it is not UTF-8: {error}"]) from error


def load_json_mapping(text: str, name: str = "mapping") -> JsonMapping:
    """Read and check a mapping file; `name` is what its errors call it.

    Raises: MappingError with every mistake.
    """
    root = parse_mapping(text, name)
    head = root.table("mapping")
    mapping_id = head.text("id")
    documents = path_of(head.text("documents", "")) if "documents" in head else ()
    head.end()
    common = read_fields(root.table("fields"), None)
    skip = tuple(read_rule(table, {}, is_skip=True) for table in root.tables("skip"))
    rules = tuple(read_rule(table, common, is_skip=False) for table in root.tables("records"))
    own_names = root.table("names")
    names = {name: own_names.text(name) for name in own_names.names()}
    root.end()
    if not rules and not root.mistakes:
        root.wrong("records", "is missing: at least one [[records]] has to say what to read")
    raise_mistakes(root, name)
    return JsonMapping(mapping_id, documents, skip, rules, names)


def read_rule(table: Table, common: Mapping[str, Field], *, is_skip: bool) -> Rule:
    """One [[records]] or [[skip]]."""
    type_ = "" if is_skip else table.word("type", tuple(OF_TYPES))
    conditions = table.table("when")
    when = tuple((path_of(name), frozenset(conditions.texts(name))) for name in conditions.names())
    if is_skip:
        if not when:
            table.wrong("when", "is missing: it says what to leave out")
        table.end()
        return Rule(type_, when)
    known = fields_of(type_)
    own = read_fields(table.table("fields"), known)
    span = read_span(table, type_)
    if span is not None:
        own = {"state": Field(constant="playing")} | own
    fields = {name: one for name, one in common.items() if name in known} | own
    for name, need in known.items():
        if need == REQUIRED and name not in fields and name != "account":
            table.wrong(f"fields.{name}", f"is missing: a record of type {type_} needs it")
    table.end()
    return Rule(type_, when, fields, span)


def read_span(table: Table, type_: str) -> Span | None:
    """When a viewing ends that a document tells whole; None where each tells a moment."""
    if "span" not in table:
        return None
    span = table.table("span")
    if type_ != "view":
        table.wrong("span", "is only for records of type view")
    found: dict[str, Field] = {}
    for name in ("until", "lasts"):
        if name in span:
            value = span.take(name)
            within = Table(
                {"path": value} if isinstance(value, str) else value or {},
                f"{span.where}.{name}",
                span.mistakes,
            )
            found[name] = read_field(within, "time" if name == "until" else "playhead_ms")
    if len(found) != 1:
        span.wrong("until", "or lasts has to be given, and not both")
    every_ms = 1000 * span.integer("every_s", EVERY_S, 1, EVERY_S_MAX)
    span.end()
    return Span(found.get("until"), found.get("lasts"), every_ms)


def fields_of(type_: str) -> dict[str, int]:
    """The fields of a record type, and whether each is required."""
    return {"account": REQUIRED, "time": REQUIRED} | OF_TYPES[type_] | MORE_FIELDS.get(type_, {})


def read_fields(table: Table, known: Mapping[str, int] | None) -> dict[str, Field]:
    """The fields of one table: a path each, or a table with more."""
    every = {name for type_ in OF_TYPES for name in fields_of(type_)}
    found = {}
    for name in table.names():
        if name not in (every if known is None else known):
            continue
        value = table.take(name)
        if isinstance(value, dict):
            found[name] = read_field(Table(value, f"{table.where}.{name}", table.mistakes), name)
            continue
        paths = [value] if isinstance(value, str) else value
        if isinstance(paths, list) and paths and all(path and type(path) is str for path in paths):
            found[name] = Field(tuple(map(path_of, paths)))
        else:
            table.wrong(name, "has to be a path, paths, or a table with a path or a constant")
    table.end()
    return found


def read_field(table: Table, name: str) -> Field:
    """One field that is more than a path."""
    paths = tuple(path_of(path) for path in table.texts("path"))
    constant = table.take("constant")
    if constant is not None and type(constant) not in {str, int}:
        table.wrong("constant", "has to be a text or an integer")
    words = None
    if "words" in table:
        said = table.table("words")
        words = {word: said.text(word) for word in said.names()}
        for word, meaning in words.items():
            if name == "state" and meaning not in STATES[1:]:
                said.wrong(word, f"is {meaning!r}, expected one of {', '.join(STATES[1:])}")
    unit = table.word("unit", tuple(UNITS), "ms") if name in IN_UNITS else "ms"
    since_ms, zone = read_clock(table) if name == "time" else (0, None)
    if not paths and constant is None:
        table.wrong("path", "is missing, and there is no constant either")
    table.end()
    return Field(paths, constant, words, unit, since_ms, zone)


def read_clock(table: Table) -> tuple[int, ZoneInfo | None]:
    """What numbers of a time count from, and the zone of written times that name none."""
    since_ms, zone = 0, None
    if "since" in table:
        since = table.text("since")
        found = rfc_3339_ms(since)
        if found is None:
            table.wrong("since", f"is {since!r}, expected a time such as 0001-01-01T00:00:00Z")
        since_ms = found or 0
    if "zone" in table:
        name = table.text("zone")
        try:
            zone = ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            table.wrong("zone", f"is {name!r}, expected one such as Europe/Stockholm")
    return since_ms, zone


def path_of(text: str) -> tuple[str, ...]:
    r"""The way that a path names: keys with dots between them; \. is a dot inside a key."""
    return tuple(part.replace("\0", ".") for part in text.replace(r"\.", "\0").split("."))


# --- documents ---------------------------------------------------------------------------------


def read(body: bytes, mapping: JsonMapping) -> Reading:
    """Read a body by a mapping."""
    documents, suspended = documents_of(body, mapping.documents)
    return read_documents(documents, mapping, suspended)


def documents_of(
    body: bytes, way: tuple[str, ...]
) -> tuple[list[tuple[bytes, Any]], list[dict[str, Any]]]:
    """The documents of a body with their bytes, and suspended rows for what cannot be read."""
    text = body.removeprefix(BYTE_ORDER_MARK).strip(SPACE)
    suspended: list[dict[str, Any]] = []
    if text.startswith(b"["):
        values, suspended = parsed_values(text)
    elif way or b"\n" not in text:
        values = [(text, parsed_or_error(text))] if text else []
    else:
        lines = [line for line in (line.strip(SPACE) for line in text.split(b"\n")) if line]
        whole = lines if starts_whole(lines[0]) else [text]
        values = [(line, parsed_or_error(line)) for line in whole]
    documents: list[tuple[bytes, Any]] = []
    for raw, parsed in values:
        try:
            if isinstance(parsed, MalformedError):
                raise parsed
            inner = [(raw, parsed)] if not way else inner_documents(parsed, way)
        except MalformedError as error:
            suspended.append(suspended_row(MALFORMED, str(error), raw))
        else:
            documents += inner
    return documents, suspended


def starts_whole(line: bytes) -> bool:
    """Whether the first of several lines is a document by itself, so that all of them are."""
    try:
        parse_json(line)
    except MalformedError:
        # A line with a mistake is still a line; one that only opens a document is not.
        return line.endswith((b"}", b"},"))
    return True


def inner_documents(parsed: Any, way: tuple[str, ...]) -> list[tuple[bytes, Any]]:
    """The documents of the array inside a document. Raises: MalformedError."""
    found = lookup(parsed, way)
    if not isinstance(found, list):
        value = "missing" if found is MISSING else shown(found)
        raise MalformedError(f"{'.'.join(way)} is {value}, expected an array of documents")
    return [(json_bytes(one), one) for one in found]


def json_bytes(value: Any) -> bytes:
    """A parsed value as JSON again, its numbers to the digit."""
    try:
        return COMPACT(value).encode()
    except TypeError:  # it holds a Number, or is one
        return exact_bytes(value)


def exact_bytes(value: Any) -> bytes:
    """What `json_bytes` returns, for any parsed value."""
    if isinstance(value, dict):
        pairs = (COMPACT(name).encode() + b":" + exact_bytes(one) for name, one in value.items())
        return b"{" + b",".join(pairs) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(exact_bytes, value)) + b"]"
    return (value.text if isinstance(value, Number) else COMPACT(value)).encode()


def read_documents(
    documents: Iterable[tuple[bytes, Any]],
    mapping: JsonMapping,
    suspended: Iterable[dict[str, Any]] = (),
) -> Reading:
    """Read parsed documents, each with its bytes, by a mapping.

    suspended: rows that are suspended already.
    """
    rows, refusals = settled(found_in(documents, mapping))
    refused = [refused_row(error, raw, fields) for raw, fields, error in refusals]
    return Reading(usage_of_rows(rows), suspended_frame([*suspended, *refused]))


def found_in(
    documents: Iterable[tuple[bytes, Any]], mapping: JsonMapping
) -> list[tuple[bytes, dict[str, Any], MalformedError | None]]:
    """What parsed documents tell: their bytes, the fields of a record, and what is wrong so far."""
    found: list[tuple[bytes, dict[str, Any], MalformedError | None]] = []
    for raw, document in documents:
        if any(fits(rule, document) for rule in mapping.skip):
            continue
        fields: dict[str, Any] = {}
        try:
            found += ((raw, one, None) for one in take_records(document, mapping, fields))
        except MalformedError as error:
            found.append((raw, fields, error))
    return found


def refused_row(error: MalformedError, raw: bytes, fields: dict[str, Any]) -> dict[str, Any]:
    """The suspended row of one document. fields: what was understood of it."""
    return suspended_row(
        MALFORMED, str(error), raw, account=known_account(fields), time=known_time(fields)
    )


def fits(rule: Rule, document: Any) -> bool:
    """Whether a document is what a rule is about."""
    return all(plain(lookup(document, path)) in values for path, values in rule.when)


def take_records(
    document: Any, mapping: JsonMapping, fields: dict[str, Any]
) -> list[dict[str, Any]]:
    """The records that a document tells: one, or those of a whole viewing.

    fields: takes what is understood of the document, also where this raises MalformedError.
    """
    span = take_fields(document, mapping, fields).span
    if span is None:
        return [fields]
    begin_ms = usage_row(fields)["time"]
    until_ms = end_of(document, span, begin_ms)
    if not begin_ms <= until_ms <= begin_ms + SPAN_MS_MAX:
        raise MalformedError(
            f"the viewing lasts {until_ms - begin_ms} ms, expected 0 to {SPAN_MS_MAX}"
        )
    later = {name: value for name, value in fields.items() if name != "playhead_ms"}
    between = range(begin_ms + span.every_ms, until_ms, span.every_ms)
    return [
        fields,
        *(later | {"time": time_ms} for time_ms in between),
        later | {"time": until_ms, "state": "stopped"},
    ]


def end_of(document: Any, span: Span, begin_ms: int) -> int:
    """When a viewing ended, in ms. Raises: MalformedError."""
    said = span.until or span.lasts
    assert said is not None
    value = value_of(document, "time" if span.until else "playhead_ms", said)
    end_ms = rfc_3339_ms(value) if isinstance(value, str) else value
    if not isinstance(end_ms, int) or isinstance(end_ms, bool):
        found = "missing" if value is MISSING else shown(value)
        raise MalformedError(f"{said.where}, which says when the viewing ended, is {found}")
    return end_ms if span.until else begin_ms + end_ms


def take_fields(document: Any, mapping: JsonMapping, fields: dict[str, Any]) -> Rule:
    """Fill `fields` with the record that a document is, by the rule returned.

    Raises: MalformedError.
    """
    if not isinstance(document, dict):
        raise MalformedError(f"the document is {shown(document)}, expected a JSON object")
    rule = next((rule for rule in mapping.rules if fits(rule, document)), None)
    if rule is None:
        raise MalformedError(f"none of the [[records]] of mapping {mapping.id} fits the document")
    mistakes = []
    fields["type"] = rule.type
    for name, field_ in rule.fields.items():
        try:
            value = value_of(document, name, field_)
        except MalformedError as error:
            mistakes.append(str(error))
            continue
        if value is not MISSING:
            fields[name] = value
    if mistakes:
        raise MalformedError("; ".join(mistakes))
    return rule


def value_of(document: Any, name: str, field_: Field) -> Any:
    """The value of one field, as a usage record has it; MISSING if the document has none.

    Raises: MalformedError.
    """
    value: Any = MISSING
    for path in field_.paths:
        value = lookup(document, path)
        if value is not MISSING and value is not None:
            break
    if value is MISSING or value is None:
        return MISSING if field_.constant is None else field_.constant
    if field_.words is not None:
        word = plain(value)
        if word not in field_.words:
            raise MalformedError(
                f"{field_.where} is {shown(value)}, a word that the mapping of field {name} "
                f"lacks; it has {', '.join(field_.words)}"
            )
        return field_.words[word]
    if name in IN_UNITS:
        return moment_of(value, field_)
    if name in NUMERIC:
        return number_of(value)
    if isinstance(value, int | Number) and not isinstance(value, bool):
        return plain(value)  # many senders write an account's number as one
    return value


def moment_of(value: Any, field_: Field) -> Any:
    """A time, or a place in the content, in ms; an RFC 3339 time stays text.

    Raises: MalformedError.
    """
    local = LOCAL_TIME.fullmatch(value) if field_.zone and isinstance(value, str) else None
    if local is not None and field_.zone is not None:
        return local_ms(local, field_.zone, field_.where)
    found = in_ms(value, field_.unit, field_.where)
    return found + field_.since_ms if isinstance(found, int) else found


def local_ms(local: re.Match[str], zone: ZoneInfo, where: str) -> int:
    """A time of the clocks in a zone. Raises: MalformedError where it was never, or twice."""
    date, clock, fraction = local.groups(default="")
    try:
        wall = datetime.fromisoformat(f"{date}T{clock}")
    except ValueError as error:
        raise MalformedError(f"{where} is {shown(local[0])}, which is no time") from error
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert first is not None
    assert second is not None
    if first != second:
        why = "comes twice" if first > second else "never is"
        raise MalformedError(
            f"{where} is {shown(local[0])}, which {why} in {zone.key}; send times with their offset"
        )
    return (wall - EPOCH - first) // MILLISECOND + int(fraction[:3].ljust(3, "0") or 0)


def in_ms(value: Any, unit: str, where: str) -> Any:
    """A number in a unit as whole ms, rounded down; an RFC 3339 time stays text."""
    number = number_of(value)
    if isinstance(number, str):
        return number
    if isinstance(number, bool) or not isinstance(number, int | Number):
        raise MalformedError(f"{where} is {shown(value)}, expected a number of {unit} or a time")
    if isinstance(number, int) and unit == "ms":
        return number
    exact = decimal_of(number)
    if exact is None:
        raise MalformedError(f"{where} is {shown(value)}, out of all bounds")
    return int(EXACT.multiply(exact, UNITS[unit]).to_integral_value(ROUND_FLOOR, EXACT))


def number_of(value: Any) -> Any:
    """A number that a sender has put in a text, as a number; anything else as it is."""
    if isinstance(value, str) and DECIMAL_TEXT.fullmatch(value):
        return parse_json(leading_zeros_off(value).encode())
    return value


def leading_zeros_off(text: str) -> str:
    """A decimal as JSON writes it."""
    sign = "-" if text.startswith("-") else ""
    whole, point, decimals = text.removeprefix("-").partition(".")
    return f"{sign}{whole.lstrip('0') or '0'}{point}{decimals}"


def lookup(document: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path; MISSING if it leads nowhere. A number is a place in an array."""
    value = document
    for step in path:
        if type(value) is dict:
            value = value.get(step, MISSING)
            if value is MISSING:
                return MISSING
        elif isinstance(value, list) and step.isascii() and step.isdigit():
            if int(step[:9]) >= len(value):
                return MISSING
            value = value[int(step[:9])]
        else:
            return MISSING
    return value


def plain(value: Any) -> str:
    """A scalar as a mapping file writes it; anything else as a text that no file holds."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Number):
        return value.text if isinstance(value, Number) else str(value)
    return "null" if value is None else "\0"
