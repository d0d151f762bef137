"""Usage records as spec section 1 has them: one JSON object, an array of them, or JSON lines.

The bytes of each record go into the log as they came; only `received` is set, since a sender is
not believed about when it was received. Whether a record is right is decided where the log is
read, so that there is one judge of it; what cannot be told apart into records is suspended here.
Source: spec section 1.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from ingest.adapters.canonical import (
    MALFORMED,
    SUSPENDED_TYPE,
    LogLine,
    suspended_frame,
    suspended_line,
    suspended_lines,
    suspended_row,
)
from ingest.json_exact import MalformedError, parse_json, read_object
from ingest.json_lines import decode_lines
from rating import schemas

if TYPE_CHECKING:
    from rating.schemas import UsageBatch

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SPACE = b" \t\r\n"
BETWEEN_OBJECTS = re.compile(rb"\}[ \t\r\n]*,[ \t\r\n]*\{")
BETWEEN_BRACES = re.compile(rb"(?<=\})[ \t\r\n]*,[ \t\r\n]*(?=\{)")
LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
OWN_TYPE = f"the type \"{SUSPENDED_TYPE}\" is the gateway's own, and no sender's"
NOT_SPACE = re.compile(r"[^ \t\r\n]")
# Only where a value ends is asked of it, so odd numbers need no meaning.
VALUES = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def to_log_lines(body: bytes, received_ms: int) -> list[LogLine]:
    """The lines of the usage log that a body comes to, in its order.

    A record's `received` is overwritten: of keys that come twice the log's readers take the last.
    """
    text = body.removeprefix(BYTE_ORDER_MARK).strip(SPACE)
    if text.startswith(b"["):
        return array_lines(text, received_ms)
    batch = decode_lines(text, str)
    if len(batch.malformed) == len(batch.events) > 1 and is_json(text):
        # One object written over several lines: JSON allows a line end only where it allows space.
        return stamped_lines(decode_lines(text.translate(LINE_ENDS), str), received_ms)
    return stamped_lines(batch, received_ms)


def is_json(text: bytes) -> bool:
    """Whether the bytes are one JSON value."""
    try:
        parse_json(text)
    except MalformedError:
        return False
    return True


def stamped_lines(batch: UsageBatch, received_ms: int) -> list[LogLine]:
    """Each record of a batch as a line with `received` set."""
    stamp = b',"received":%d}' % received_ms
    text = batch.text.tobytes()
    columns = ("raw_at", "raw_len", "account_at", "account_len", "type")
    rows = zip(*(batch.events[name].tolist() for name in columns), strict=True)
    lines = []
    for raw_at, raw_len, account_at, account_len, type_ in rows:
        raw = text[raw_at : raw_at + raw_len]
        if type_ == schemas.MALFORMED:
            lines.append(stamped_exactly(raw, received_ms))
            continue
        account = text[account_at : account_at + account_len].decode()
        # A well-formed record is an object with fields, so it ends in a brace and takes one more.
        line = raw.rstrip(SPACE)[:-1] + stamp
        lines.append(LogLine(account, line, schemas.RECORD_TYPES[type_]))
    return lines


def stamped_exactly(raw: bytes, received_ms: int) -> LogLine:
    """A record that breaks a rule of the log, which may be one about `received` itself."""
    try:
        fields = parse_json(raw)
    except MalformedError:
        return LogLine("", raw)
    if not isinstance(fields, dict):
        return LogLine("", raw)
    if fields.get("type") == SUSPENDED_TYPE:
        # What such a line says is believed, so no sender may write one.
        return suspended_line(suspended_row(MALFORMED, OWN_TYPE, raw), received_ms)
    usage = read_object(fields | {"received": received_ms})
    comma = b"," if fields else b""
    line = raw.rstrip(SPACE)[:-1] + comma + b'"received":%d}' % received_ms
    type_ = fields.get("type")
    account = usage.texts.get("account", "")
    return LogLine(account, line, type_ if isinstance(type_, str) else "")


def array_lines(text: bytes, received_ms: int) -> list[LogLine]:
    """The lines that an array of usage records comes to.

    Cutting between braces is right wherever every piece turns out to be a whole object: a text of
    JSON values with commas between them can be read in one way only. The rest is cut exactly.
    """
    inner = text[1:-1].strip(SPACE)
    if inner and text.endswith(b"]") and b"\n" not in inner:
        batch = decode_lines(BETWEEN_OBJECTS.sub(b"}\n{", inner), str)
        if not batch.malformed:
            return stamped_lines(batch, received_ms)
    values, broken = array_values(text)
    batch = decode_lines(b"\n".join(value.translate(LINE_ENDS) for value in values), str)
    return stamped_lines(batch, received_ms) + suspended_lines(suspended_frame(broken), received_ms)


def parsed_values(text: bytes) -> tuple[list[tuple[bytes, Any]], list[dict[str, Any]]]:
    """The values of a JSON array as they are written, each parsed, or the MalformedError of it.

    Also at most one row for the broken rest, as `array_values` has it. For the first try at
    cutting see `array_lines`.
    """
    inner = text[1:-1].strip(SPACE)
    if inner and text.endswith(b"]"):
        try:
            return [(piece, parse_json(piece)) for piece in BETWEEN_BRACES.split(inner)], []
        except MalformedError:
            pass
    values, broken = array_values(text)
    return [(value, parsed_or_error(value)) for value in values], broken


def parsed_or_error(text: bytes) -> Any:
    """What `parse_json` returns or raises."""
    try:
        return parse_json(text)
    except MalformedError as error:
        return error


def array_values(text: bytes) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The values of a JSON array as they are written, and at most one row for the broken rest."""
    # Bytes that are no UTF-8 are carried through; whoever reads the value says what is wrong.
    characters = text.decode("utf-8", "surrogateescape")
    values: list[bytes] = []
    at = after_space(characters, 1)
    last = len(characters) - 1
    if at == last and characters[at] == "]":
        return values, []
    while True:
        try:
            end = VALUES.raw_decode(characters, at)[1]
        except (ValueError, RecursionError) as error:
            why = getattr(error, "msg", "it nests too deep")
            break
        values.append(characters[at:end].encode("utf-8", "surrogateescape"))
        at = after_space(characters, end)
        if at == last and characters[at] == "]":
            return values, []
        if characters[at : at + 1] != ",":
            why = "expected a comma or a closing bracket"
            break
        at = after_space(characters, at + 1)
    detail = f"the array is not JSON from its character {at + 1} on: {why}"
    rest = characters[at:].encode("utf-8", "surrogateescape")
    return values, [suspended_row(MALFORMED, detail, rest)]


def after_space(characters: str, at: int) -> int:
    """Where the next character is that is no JSON space."""
    found = NOT_SPACE.search(characters, at)
    return found.start() if found else len(characters)
