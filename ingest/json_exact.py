"""The exact reader of usage records: Python's JSON, then every rule of the log, one at a time.

It has the last word on what a record holds and on why one is malformed. `ingest/json_scan.py` is
faster and reads only what it is certain that this module reads in the same way.
Source: spec section 1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from ingest.lines import LINE_BYTES_MAX
from ingest.suspended import TYPE as SUSPENDED_TYPE
from ingest.suspended import read_suspended
from rating.schemas import (
    ACCOUNT_CHARACTERS_MAX,
    HAS_BILL_DAY,
    HAS_PLAYHEAD,
    HAS_RECEIVED,
    HAS_REGION,
    MALFORMED,
    PLAYHEAD_MS_MAX,
    RATE_MILLI_MAX,
    RECORD_TYPES,
    STATES,
    TEXT_BYTES_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    TOPUP_MICROS_MAX,
    SuspendedBefore,
)

DEPTH_MAX = 100
"""Objects and arrays inside one another, the usage record itself included."""

INTEGER_DIGITS_MAX = 4300
INT64_DIGITS = 19  # fewer always fit
BILL_DAY_MAX = 28
CLOCK_MS_MAX = 10**15  # magnitude; the year 33,658
HOURS_OF_DAY = 24
MINUTES_OF_HOUR = 60

REQUIRED, OPTIONAL, MAY_BE_EMPTY = 1, 2, 3

TEXTS_OF_TYPES: dict[str, dict[str, tuple[str, int]]] = {
    "view": {
        "device": ("device", REQUIRED),
        "key": ("session", REQUIRED),
        "subject": ("content", REQUIRED),
        "kind": ("kind", REQUIRED),
        "quality": ("quality", MAY_BE_EMPTY),
    },
    "account.open": {"subject": ("plan", REQUIRED), "quality": ("region", MAY_BE_EMPTY)},
    "account.subscribe": {"subject": ("package", REQUIRED)},
    "account.unsubscribe": {"subject": ("package", REQUIRED)},
    "balance.topup": {"key": ("id", REQUIRED), "quality": ("currency", OPTIONAL)},
    "order.purchase": {
        "device": ("device", OPTIONAL),
        "key": ("id", REQUIRED),
        "subject": ("offer", REQUIRED),
        "quality": ("quality", MAY_BE_EMPTY),
    },
    "order.cancel": {"key": ("id", REQUIRED), "subject": ("order", REQUIRED)},
}
"""For each record type, the field that each text of a USAGE row holds besides the account."""

RFC_3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]{1,6}))?")
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (zones are taken off before)
MILLISECOND = timedelta(milliseconds=1)
THOUSANDTH = Decimal("0.001")
# As many digits as the fastest rate has in thousandths; what does not fit raises.
RATE_CONTEXT = Context(prec=len(str(RATE_MILLI_MAX)), traps=[Inexact, InvalidOperation])
SHOWN_CHARACTERS_MAX = 60
ABSENT = object()


class MalformedError(ValueError):
    """A usage record breaks a rule of the log; the message is a sentence saying which and how."""


@dataclass(frozen=True, slots=True)
class Number:
    """A JSON number that is no plain int64: it has a fraction or an exponent, or is too large."""

    text: str


@dataclass(slots=True)
class UsageRecord:
    """One usage record in Python's own values; the names are those of a USAGE row.

    Where it is malformed, `type` is MALFORMED, `malformed` says why, and of the other values only
    the account and the time are kept, if they could be read.
    """

    type: int = MALFORMED
    time_ms: int = 0
    received_ms: int = 0
    playhead_ms: int = 0
    amount_micros: int = 0
    rate_milli: int = 1000
    state: int = 0
    flags: int = 0
    bill_day: int = 1
    texts: dict[str, str] = field(default_factory=dict)
    malformed: str = ""
    suspended_before: SuspendedBefore | None = None


def read_line(line: bytes) -> UsageRecord:
    """Read one line of a log, without its line end. It never raises: see UsageRecord."""
    try:
        fields = parse_json(line)
    except MalformedError as error:
        return UsageRecord(malformed=str(error))
    return read_object(fields)


def parse_json(text: bytes) -> Any:
    """Parse UTF-8 JSON as the standard has it, with each odd number left as a `Number`.

    Of keys that come twice in an object the last one counts.
    Raises: MalformedError.
    """
    if len(text) >= LINE_BYTES_MAX:
        raise MalformedError(
            f"the line is too long: a usage record must be shorter than {LINE_BYTES_MAX} bytes, "
            f"and only that many of this line are kept here"
        )
    try:
        parsed = JSON.decode(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise MalformedError(
            f"the line is not UTF-8: byte {error.start + 1} is 0x{text[error.start]:02x}"
        ) from error
    except json.JSONDecodeError as error:
        raise MalformedError(
            f"the line is not JSON: {error.msg} at character {error.pos + 1}"
        ) from error
    except RecursionError as error:
        raise too_deep() from error
    # Only brackets can nest, so a count of them spares nearly every line the walk.
    if text.count(b"[") + text.count(b"{") > DEPTH_MAX and depth(parsed) > DEPTH_MAX:
        raise too_deep()
    return parsed


def integer(text: str) -> int | Number:
    """A JSON integer. Those past an int64 stay text: whether that is a mistake, their field says."""
    digits = len(text.lstrip("-"))
    if digits > INTEGER_DIGITS_MAX:
        raise MalformedError(
            f"the line holds an integer of {digits} digits, expected at most {INTEGER_DIGITS_MAX}"
        )
    return int(text) if digits < INT64_DIGITS else Number(text)


def no_constant(text: str) -> None:
    """Python's JSON takes NaN and Infinity, which JSON does not have."""
    raise MalformedError(f"the line is not JSON: {text} is no JSON value")


JSON = json.JSONDecoder(parse_int=integer, parse_float=Number, parse_constant=no_constant)


def too_deep() -> MalformedError:
    """Objects or arrays nest deeper than any usage record needs."""
    return MalformedError(f"the line nests deeper than {DEPTH_MAX} objects and arrays")


def depth(value: Any) -> int:
    """How many objects and arrays stand inside one another."""
    levels = 0
    open_values = [value]
    while open_values := [value for value in open_values if isinstance(value, (dict, list))]:
        levels += 1
        open_values = [
            inner
            for value in open_values
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    return levels


def read_object(fields: Any) -> UsageRecord:
    """Read one usage record from what `parse_json` returned. It never raises: see UsageRecord."""
    usage = UsageRecord()
    if not isinstance(fields, dict):
        usage.malformed = f"the usage record is {shown(fields)}, expected a JSON object"
        return usage
    mistakes = []
    # The account and the time first, since suspense shows them also where the rest is wrong.
    for read in (read_account, read_time, read_rest):
        try:
            read(fields, usage)
        except MalformedError as error:
            mistakes.append(str(error))
    if not mistakes:
        return usage
    account = {name: text for name, text in usage.texts.items() if name == "account"}
    refused = UsageRecord(time_ms=usage.time_ms, texts=account, malformed="; ".join(mistakes))
    if fields.get("type") == SUSPENDED_TYPE:
        pass_on(fields, refused)
    return refused


def pass_on(fields: dict[str, Any], refused: UsageRecord) -> None:
    """Take over what was suspended before the log; see ingest/suspended.py."""
    found = read_suspended(fields)
    if isinstance(found, str):
        refused.malformed = found
    else:
        refused.suspended_before, refused.malformed = found


def read_account(fields: dict[str, Any], usage: UsageRecord) -> None:
    """Who pays."""
    account = string_of(fields, "account")
    if len(account) > ACCOUNT_CHARACTERS_MAX:
        raise too_long("account", len(account), "characters", ACCOUNT_CHARACTERS_MAX)
    usage.texts["account"] = account


def read_time(fields: dict[str, Any], usage: UsageRecord) -> None:
    """When it happened."""
    usage.time_ms = time_of(fields, "time")


def read_rest(fields: dict[str, Any], usage: UsageRecord) -> None:
    """The record type, and the fields that the type has."""
    type_ = text_of(fields, "type")
    if type_ not in TEXTS_OF_TYPES:
        raise MalformedError(not_one_of("type", type_, RECORD_TYPES[1:]))
    usage.received_ms = usage.time_ms
    if "received" in fields:
        usage.received_ms = time_of(fields, "received")
        usage.flags = HAS_RECEIVED
    for text, (name, need) in TEXTS_OF_TYPES[type_].items():
        if name in fields or need == REQUIRED:
            usage.texts[text] = text_of(fields, name, may_be_empty=need == MAY_BE_EMPTY)
    if type_ == "view":
        read_view(fields, usage)
    elif type_ == "account.open":
        read_opening(fields, usage)
    elif type_ == "balance.topup":
        usage.amount_micros = amount_of(fields)
    usage.type = RECORD_TYPES.index(type_)


def read_opening(fields: dict[str, Any], usage: UsageRecord) -> None:
    """What only an `account.open` has."""
    if "region" in fields:
        usage.flags |= HAS_REGION
    if "bill_day" in fields:
        usage.bill_day = int_of(fields, "bill_day", 1, BILL_DAY_MAX)
        usage.flags |= HAS_BILL_DAY


def read_view(fields: dict[str, Any], usage: UsageRecord) -> None:
    """What only a view has."""
    state = text_of(fields, "state")
    if state not in STATES:
        raise MalformedError(not_one_of("state", state, STATES[1:]))
    usage.state = STATES.index(state)
    if "playhead_ms" in fields:
        usage.playhead_ms = int_of(fields, "playhead_ms", -PLAYHEAD_MS_MAX, PLAYHEAD_MS_MAX)
        usage.flags |= HAS_PLAYHEAD
    if "rate" in fields:
        usage.rate_milli = rate_of(fields)


# --- one field ---------------------------------------------------------------------------------


def text_of(fields: dict[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    """A field that is a string of at most TEXT_BYTES_MAX."""
    text = string_of(fields, name, may_be_empty=may_be_empty)
    text_bytes = len(text.encode())
    if text_bytes > TEXT_BYTES_MAX:
        raise too_long(name, text_bytes, "bytes of UTF-8", TEXT_BYTES_MAX)
    return text


def string_of(fields: dict[str, Any], name: str, *, may_be_empty: bool = False) -> str:
    """A field that is a string of any length."""
    expected = "a string" if may_be_empty else "a string that is not empty"
    value = fields.get(name, ABSENT)
    if not isinstance(value, str) or not (value or may_be_empty):
        raise wrong(name, value, expected)
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise wrong(name, value, "whole characters, without half of a surrogate pair")
    return value


def int_of(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    """A field that is an integer from `least` to `most`."""
    value = fields[name]
    if type(value) is not int or not least <= value <= most:  # bool is an int to isinstance
        raise wrong(name, value, f"an integer from {least} to {most}")
    return value


def time_of(fields: dict[str, Any], name: str) -> int:
    """A field that is a time, in ms since the epoch."""
    time_ms = clock_time_of(fields, name)
    if not TIME_MS_MIN <= time_ms <= TIME_MS_MAX:
        raise wrong(name, fields[name], "a time in the years 2000 to 2199, in UTC")
    return time_ms


def clock_time_of(fields: dict[str, Any], name: str) -> int:
    """A time in ms since the epoch by a clock that may never have been set. Raises: MalformedError."""
    value = fields.get(name, ABSENT)
    time_ms = rfc_3339_ms(text_of(fields, name)) if isinstance(value, str) else value
    if type(time_ms) is not int or abs(time_ms) > CLOCK_MS_MAX:
        raise wrong(name, value, "milliseconds since 1970 or an RFC 3339 time with its zone")
    return time_ms


def rfc_3339_ms(text: str) -> int | None:
    """The time in ms, without what is finer; None where it is no RFC 3339 time with its zone."""
    found = RFC_3339.fullmatch(text)
    if found is None:
        return None
    *numbers, fraction, sign, zone_hours, zone_minutes = found.groups(default="")
    try:
        local = datetime(*map(int, numbers))  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError:
        return None
    hours, minutes = int(zone_hours or 0), int(zone_minutes or 0)
    if hours >= HOURS_OF_DAY or minutes >= MINUTES_OF_HOUR:
        return None
    local_ms = (local - EPOCH) // MILLISECOND + int(fraction[:3].ljust(3, "0"))
    ahead_ms = timedelta(hours=hours, minutes=minutes) // MILLISECOND
    return local_ms + ahead_ms if sign == "-" else local_ms - ahead_ms


def rate_of(fields: dict[str, Any]) -> int:
    """The playback rate in thousandths; 1.5000 and 15e-1 are 1.5."""
    value = fields["rate"]
    expected = f"a number of at most 3 decimals, up to {RATE_MILLI_MAX // 1000} either way"
    if type(value) is not int and not isinstance(value, Number):
        raise wrong("rate", value, expected)
    try:
        rate = Decimal(value.text if isinstance(value, Number) else value)
        rate_milli = int(rate.quantize(THOUSANDTH, context=RATE_CONTEXT).scaleb(3, RATE_CONTEXT))
    except (Inexact, InvalidOperation) as error:
        raise wrong("rate", value, expected) from error
    if abs(rate_milli) > RATE_MILLI_MAX:
        raise wrong("rate", value, expected)
    return rate_milli


def amount_of(fields: dict[str, Any]) -> int:
    """A top-up's amount in micro-units."""
    text = text_of(fields, "amount")
    found = AMOUNT.fullmatch(text)
    expected = f"a decimal above 0, up to {TOPUP_MICROS_MAX // 10**6}, of at most 6 decimals"
    whole = found[1].lstrip("0") if found else ""
    if found is None or len(whole) >= INT64_DIGITS:
        raise wrong("amount", text, expected)
    amount_micros = int(whole + (found[2] or "").ljust(6, "0"))
    if not 0 < amount_micros <= TOPUP_MICROS_MAX:
        raise wrong("amount", text, expected)
    return amount_micros


# --- sentences ---------------------------------------------------------------------------------


def wrong(name: str, value: Any, expected: str) -> MalformedError:
    """One field is not what it should be."""
    return MalformedError(f'field "{name}" is {shown(value)}, expected {expected}')


def too_long(name: str, length: int, unit: str, length_max: int) -> MalformedError:
    """One field is longer than a field may be."""
    return MalformedError(f'field "{name}" has {length} {unit}, expected at most {length_max}')


def not_one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    """One field is a word that the log does not have."""
    return f'field "{name}" is {shown(value)}, expected one of {", ".join(known)}'


def shown(value: Any) -> str:
    """A value as a sentence shows it: in plain characters, and not at any length."""
    if value is ABSENT:
        return "missing"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    text = value.text if isinstance(value, Number) else json.dumps(value)
    return text if len(text) <= SHOWN_CHARACTERS_MAX else f"{text[:SHOWN_CHARACTERS_MAX]}..."
