"""CloudEvents 1.0 to usage records: structured, batched and binary, over HTTP and Kafka.

An event's `type` is a record type, with or without a prefix, and its `data` holds the record's
fields. What the data lacks, the envelope may say:

| field     | taken from                                                                           |
|-----------|--------------------------------------------------------------------------------------|
| `time`    | `time`                                                                               |
| `id`      | `source`, a space, `id` (orders and top-ups): no two events share both               |
| `account` | `subject`, else `partitionkey` (over Kafka the message's key)                        |

A subject `sid:...` names a session that nobody is bound to, so then no account is taken from the
envelope at all. Sampled events are suspended: charges cannot come from a part of the truth.
Source: CloudEvents 1.0.2 core, JSON format, HTTP and Kafka bindings; its partitioning and sampling
extensions; spec section 1.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from ingest.adapters.canonical import (
    MALFORMED,
    SAMPLED,
    Reading,
    suspended_frame,
    suspended_row,
    usage_of_rows,
)
from ingest.adapters.fields import known_account, known_time, settled, usage_row
from ingest.adapters.native import BYTE_ORDER_MARK, SPACE, parsed_or_error, parsed_values
from ingest.json_exact import TEXTS_OF_TYPES, MalformedError, Number, parse_json, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BATCH = "application/cloudevents-batch"
STRUCTURED = "application/cloudevents"
JSON_TYPE = re.compile(r"(?:[^/]+/)?(?:[^/]+\+)?json", re.IGNORECASE)
UNBOUND_SUBJECT = "sid:"
WITH_IDS = tuple(
    type_ for type_, texts in TEXTS_OF_TYPES.items() if texts.get("key", ("", 0))[0] == "id"
)
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Options:
    """How events are read.

    type_prefixes: what may stand before a record type in `type`.
    account_from: the attributes that an account is taken from where the data has none, in order.
    """

    type_prefixes: tuple[str, ...] = ("", "tv.ratecast.")
    account_from: tuple[str, ...] = ("subject", "partitionkey")


DEFAULTS = Options()


def is_cloudevents(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether an HTTP request carries CloudEvents, by its headers."""
    named = {name.lower(): value for name, value in headers}
    return media_type(named.get("content-type")).startswith(STRUCTURED) or "ce-specversion" in named


def read_http(
    headers: Iterable[tuple[str, str]], body: bytes, options: Options = DEFAULTS
) -> Reading:
    """Read the events of one HTTP request, whichever of the three modes its headers say."""
    named = {name.lower(): value for name, value in headers}
    return read_message(named, "ce-", body, options)


def read_kafka(
    headers: Iterable[tuple[str, bytes | None]],
    value: bytes,
    key: bytes | None = None,
    options: Options = DEFAULTS,
) -> Reading:
    """Read the events of one Kafka message; its key is the events' `partitionkey`."""
    named = {
        name.lower(): (text or b"").decode("utf-8", "surrogateescape") for name, text in headers
    }
    if key is not None and "ce_specversion" in named:
        named.setdefault("ce_partitionkey", key.decode("utf-8", "surrogateescape"))
    return read_message(named, "ce_", value, options)


def read_message(headers: Mapping[str, str], prefix: str, body: bytes, options: Options) -> Reading:
    """Read one message. headers: by name, an attribute of a binary event after `prefix`."""
    content_type = headers.get("content-type")
    media = media_type(content_type)
    if media.startswith(STRUCTURED) and not media.endswith("+json"):
        why = f"the content type is {shown(content_type)}, expected {STRUCTURED}+json"
        return gathered([], [suspended_row(MALFORMED, why, body)])
    if media.startswith(BATCH):
        return read_batch(body, options)
    if media.startswith(STRUCTURED):
        text = body.removeprefix(BYTE_ORDER_MARK).strip(SPACE)
        return read_events([(body, parsed_or_error(text))], [], options)
    return read_binary(headers, prefix, body, options)


def media_type(content_type: str | None) -> str:
    """A content type without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def read_batch(body: bytes, options: Options = DEFAULTS) -> Reading:
    """Read a JSON array of events; a broken end of it is one suspended row."""
    text = body.removeprefix(BYTE_ORDER_MARK).strip(SPACE)
    if not text.startswith(b"["):
        why = "a batch of events is a JSON array, and this is none"
        return gathered([], [suspended_row(MALFORMED, why, body)])
    return read_events(*parsed_values(text), options)


def read_events(
    events: Iterable[tuple[bytes, Any]], broken: list[dict[str, Any]], options: Options = DEFAULTS
) -> Reading:
    """Read events in the JSON format, each with its bytes and parsed, or the error of it.

    broken: rows suspended already.
    """
    rows, refusals = settled(found_in(events, options))
    suspended = [refused(error, raw, fields) for raw, fields, error in refusals]
    return gathered(rows, suspended + broken)


def found_in(
    events: Iterable[tuple[bytes, Any]], options: Options = DEFAULTS
) -> list[tuple[bytes, dict[str, Any], MalformedError | None]]:
    """What events carry: their bytes, the fields of a record, and what is wrong so far."""
    found: list[tuple[bytes, dict[str, Any], MalformedError | None]] = []
    for raw, parsed in events:
        fields: dict[str, Any] = {}
        wrong: MalformedError | None = None
        try:
            attributes = structured_attributes(parsed)
            take_event(attributes, structured_payload(attributes), fields, options)
        except MalformedError as error:
            wrong = error
        found.append((raw, fields, wrong))
    return found


def events_of(text: bytes) -> tuple[list[tuple[bytes, Any]], list[dict[str, Any]]]:
    """The events of a text in the JSON format, one or an array, and at most one broken rest."""
    stripped = text.removeprefix(BYTE_ORDER_MARK).strip(SPACE)
    if stripped.startswith(b"["):
        return parsed_values(stripped)
    return [(stripped, parsed_or_error(stripped))], []


def read_binary(headers: Mapping[str, str], prefix: str, body: bytes, options: Options) -> Reading:
    """Read the one event whose attributes are headers and whose data is the body."""
    fields: dict[str, Any] = {}
    try:
        attributes = binary_attributes(headers, prefix)
        take_event(attributes, json_payload(attributes, body), fields, options)
        return gathered([usage_row(fields)], [])
    except MalformedError as error:
        # The attributes are a part of what came, so they are kept in front of the body.
        lines = [f"{name}: {value}\r\n" for name, value in headers.items() if prefix in name]
        raw = "".join(lines).encode("utf-8", "surrogateescape") + b"\r\n" + body
        return gathered([], [refused(error, raw, fields)])


def structured_attributes(parsed: Any) -> dict[str, Any]:
    """The attributes of an event in the JSON format. Raises: MalformedError."""
    if isinstance(parsed, MalformedError):
        raise parsed
    if not isinstance(parsed, dict):
        raise MalformedError(f"the event is {shown(parsed)}, expected a JSON object")
    return parsed


def binary_attributes(headers: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The attributes of a binary event.

    Over HTTP they are percent-encoded, and may stand in quotation marks.
    Raises: MalformedError.
    """
    if f"{prefix}specversion" not in headers:
        raise MalformedError(
            f"no CloudEvent: the content type is {shown(headers.get('content-type'))} and "
            f"there is no header {prefix}specversion"
        )
    attributes: dict[str, Any] = {}
    for name, text in headers.items():
        if not name.startswith(prefix):
            continue
        value = text
        if prefix == "ce-":
            value = value.strip()
            if quoted := QUOTED.fullmatch(value):
                value = ESCAPED.sub(r"\1", quoted[1])
            value = unquote(value, errors="surrogateescape")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedError(f"the header {name} is not UTF-8")
        attributes[name.removeprefix(prefix)] = value
    if "content-type" in headers:
        attributes["datacontenttype"] = headers["content-type"]
    return attributes


def take_event(
    attributes: Mapping[str, Any], payload: Any, fields: dict[str, Any], options: Options
) -> None:
    """Fill `fields` with the usage record that an event carries.

    Raises: MalformedError, or SampledError; what was found before it stays in `fields`.
    """
    for name in ("specversion", "type", "source", "id"):
        value = attributes.get(name)
        if not isinstance(value, str) or not value:
            raise MalformedError(f"attribute {name} is {shown(value)}, expected a text")
    if attributes["specversion"] != "1.0":
        raise MalformedError(f'specversion is {shown(attributes["specversion"])}, expected "1.0"')
    if not isinstance(payload, dict):
        raise MalformedError(f"the data is {shown(payload)}, expected a JSON object")
    fields |= payload
    fill_fields(attributes, fields, options)
    check_sampling(attributes.get("sampledrate"))
    type_ = record_type(attributes["type"], options)
    if payload.get("type", type_) != type_:
        raise MalformedError(
            f"the event is a {shown(type_)} and its data says {shown(payload['type'])}"
        )
    fields["type"] = type_
    if type_ in WITH_IDS and "id" not in fields:
        if any(character.isspace() for character in attributes["source"]):
            raise MalformedError("attribute source holds a space, which no URI does")
        fields["id"] = f"{attributes['source']} {attributes['id']}"


def fill_fields(attributes: Mapping[str, Any], fields: dict[str, Any], options: Options) -> None:
    """Take the time and the account from the envelope where the data has none."""
    if "time" not in fields and attributes.get("time") is not None:
        fields["time"] = attributes["time"]
    subject = attributes.get("subject")
    if isinstance(subject, str) and subject.startswith(UNBOUND_SUBJECT):
        return
    for name in options.account_from:
        account = attributes.get(name)
        if fields.get("account") is None and isinstance(account, str) and account:
            fields["account"] = account


def record_type(type_: str, options: Options) -> str:
    """The record type that an event's type stands for. Raises: MalformedError."""
    for prefix in options.type_prefixes:
        if type_.startswith(prefix) and type_.removeprefix(prefix) in TEXTS_OF_TYPES:
            return type_.removeprefix(prefix)
    prefixes = " or ".join(shown(prefix) for prefix in options.type_prefixes if prefix)
    raise MalformedError(
        f"the event's type is {shown(type_)}, expected one of {', '.join(TEXTS_OF_TYPES)}"
        + (f", with or without {prefixes} before it" if prefixes else "")
    )


class SampledError(MalformedError):
    """The event stands for several that were left out."""


def check_sampling(sampled_rate: Any) -> None:
    """Refuse an event that stands for more than itself. Raises: MalformedError."""
    if sampled_rate is None:
        return
    text = sampled_rate if isinstance(sampled_rate, str) else shown(sampled_rate)
    if isinstance(sampled_rate, Number | bool) or not re.fullmatch("[0-9]{1,10}", text):
        raise MalformedError(f"sampledrate is {shown(sampled_rate)}, expected a whole number")
    if int(text) > 1:
        raise SampledError(
            f"sampledrate is {int(text)}: of so many events only this one was sent, and nobody "
            f"can be charged by a sample; switch sampling off at the sender"
        )


def structured_payload(attributes: Mapping[str, Any]) -> Any:
    """The data of an event in the JSON format. Raises: MalformedError.

    A null says that there is none, as it does of any attribute.
    """
    encoded = attributes.get("data_base64")
    if encoded is None:
        return attributes.get("data")
    if attributes.get("data") is not None or not isinstance(encoded, str):
        raise MalformedError("the event has data and data_base64, or data_base64 that is no text")
    try:
        return json_payload(attributes, base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError) as error:
        raise MalformedError(f"data_base64 cannot be read: {error}") from error


def json_payload(attributes: Mapping[str, Any], data: bytes) -> Any:
    """Data in bytes, which have to be JSON. Raises: MalformedError."""
    content_type = attributes.get("datacontenttype")
    if content_type is not None and not (
        isinstance(content_type, str) and JSON_TYPE.fullmatch(media_type(content_type))
    ):
        raise MalformedError(f"the data is {shown(content_type)}, expected application/json")
    return parse_json(data.removeprefix(BYTE_ORDER_MARK).strip(SPACE))


def refused(error: MalformedError, raw: bytes, fields: Mapping[str, Any]) -> dict[str, Any]:
    """The suspended row of one event. fields: what was understood of it."""
    reason = SAMPLED if isinstance(error, SampledError) else MALFORMED
    return suspended_row(
        reason, str(error), raw, account=known_account(fields), time=known_time(fields)
    )


def gathered(rows: list[dict[str, Any]], suspended: list[dict[str, Any]]) -> Reading:
    """A reading of rows."""
    return Reading(usage_of_rows(rows), suspended_frame(suspended))
