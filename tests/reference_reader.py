"""Reads one usage record the slow, obvious way, for the reference rater.

Source: spec section 1. `READINGS.md` lists what it takes an unclear sentence to mean.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (all times here are UTC, written without a zone)
TIME_MS_MIN = -62_135_510_400_000
TIME_MS_MAX = 253_402_128_000_000
PLAYHEAD_MS_MAX = 10**15
RATE_MAX = 10**6
TOPUP_MICROS_MAX = 10**15
STATES = ("playing", "starting", "paused", "stalled", "seeking", "stopped")
TYPES = (
    "view",
    "account.open",
    "account.subscribe",
    "account.unsubscribe",
    "balance.topup",
    "order.purchase",
    "order.cancel",
)
RFC_3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))",
    re.ASCII,
)
DECIMAL = re.compile(r"\d+(\.\d{1,6})?", re.ASCII)


class SuspendedError(Exception):
    """The usage record has no effect and becomes one suspense row."""

    def __init__(self, reason: str, detail: str, raw: bytes | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.raw = raw  # where other bytes than the line's own are kept


class Real(str):
    """The text of a JSON number that is not an integer."""

    __slots__ = ()


def malformed(detail: str) -> SuspendedError:
    return SuspendedError("malformed", detail)


def read_usage(line: bytes) -> dict[str, Any]:
    """The usage record with times in ms and absent fields filled in; raises if it is malformed."""
    try:
        raw = json.loads(line.decode("utf-8"), parse_float=Real, parse_constant=no_json_number)
    except (ValueError, RecursionError) as error:
        raise malformed(f"the line is not JSON in UTF-8: {error}") from error
    if not isinstance(raw, dict):
        raise malformed("the line is JSON, but no object")
    if raw.get("type") == "ingest.suspended":
        raise suspended_before(raw)
    usage: dict[str, Any] = {"type": read_text(raw, "type"), "account": read_text(raw, "account")}
    if len(usage["account"]) > 128:
        raise malformed("account is longer than 128 characters")
    if usage["type"] not in TYPES:
        raise malformed(f"there is no type {usage['type']!r}")
    usage["time"] = read_time(raw, "time")
    usage["received"] = read_time(raw, "received") if "received" in raw else usage["time"]
    return usage | read_own_fields(usage["type"], raw)


def suspended_before(raw: dict[str, Any]) -> SuspendedError:
    """What a gateway suspended keeps its reason and its own bytes (docs/usage-log.md)."""
    reason, detail, text = (raw.get(name) for name in ("reason", "detail", "raw"))
    named = isinstance(reason, str) and re.fullmatch(r"[a-z][a-z0-9_]{0,63}", reason)
    said = isinstance(detail, str) and detail.isprintable() and detail
    if not (named and said and isinstance(text, str)):
        return malformed("a line of type ingest.suspended needs reason, detail and raw")
    try:
        return SuspendedError(str(reason), str(detail), b64decode(text, validate=True))
    except ValueError:
        return malformed("raw is no base64")


def no_json_number(text: str) -> None:
    raise malformed(f"{text} is no JSON number")


def read_own_fields(type_: str, raw: dict[str, Any]) -> dict[str, Any]:
    """The fields of section 1's second table."""
    if type_ == "view":
        names = ("device", "session", "content", "kind", "state")
        own: dict[str, Any] = {name: read_text(raw, name) for name in names}
        if own["state"] not in STATES:
            raise malformed(f"there is no state {own['state']!r}")
        own["quality"] = read_text(raw, "quality", absent="", may_be_empty=True)
        own["playhead_ms"] = read_int(raw, "playhead_ms", -PLAYHEAD_MS_MAX, PLAYHEAD_MS_MAX, None)
        return own | {"rate_milli": read_rate_milli(raw)}
    if type_ == "account.open":
        return {
            "plan": read_text(raw, "plan"),
            "region": read_text(raw, "region", absent="", may_be_empty=True),
            "bill_day": read_int(raw, "bill_day", 1, 28, 1),
        }
    if type_ in ("account.subscribe", "account.unsubscribe"):
        return {"package": read_text(raw, "package")}
    if type_ == "balance.topup":
        currency = read_text(raw, "currency") if "currency" in raw else None
        amount_micros = read_amount_micros(raw)
        return {"id": read_text(raw, "id"), "amount_micros": amount_micros, "currency": currency}
    if type_ == "order.purchase":
        return {
            "id": read_text(raw, "id"),
            "offer": read_text(raw, "offer"),
            "quality": read_text(raw, "quality", absent="", may_be_empty=True),
            "device": read_text(raw, "device") if "device" in raw else "",
        }
    return {"id": read_text(raw, "id"), "order": read_text(raw, "order")}


def read_text(
    raw: dict[str, Any], name: str, *, absent: str | None = None, may_be_empty: bool = False
) -> str:
    if name not in raw and absent is not None:
        return absent
    value = raw.get(name)
    if not isinstance(value, str) or isinstance(value, Real):
        raise malformed(f"{name} must be a string")
    if not value and not may_be_empty:
        raise malformed(f"{name} is empty")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise malformed(f"{name} holds half a character")
    return value


def read_int(raw: dict[str, Any], name: str, least: int, most: int, absent: int | None) -> Any:
    if name not in raw:
        return absent
    value = raw[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise malformed(f"{name} must be an integer")
    if not least <= value <= most:
        raise malformed(f"{name} must be from {least} to {most}")
    return value


def read_time(raw: dict[str, Any], name: str) -> int:
    value = raw.get(name)
    if isinstance(value, str) and not isinstance(value, Real):
        value = rfc_3339_ms(name, value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise malformed(f"{name} must be milliseconds or an RFC 3339 time with its zone")
    if not TIME_MS_MIN <= value <= TIME_MS_MAX:
        raise malformed(f"{name} is outside the years 1 to 9999")
    return value


def rfc_3339_ms(name: str, text: str) -> int:
    found = RFC_3339.fullmatch(text)
    if found is None:
        raise malformed(f"{name} is no RFC 3339 time with its zone")
    *parts, fraction, sign, zone_hours, zone_minutes = found.groups()
    try:
        local = datetime(*(int(part) for part in parts))  # type: ignore[arg-type]  # noqa: DTZ001
    except ValueError as error:
        raise malformed(f"{name}: {error}") from error
    if int(zone_hours or 0) > 23 or int(zone_minutes or 0) > 59:
        raise malformed(f"{name} has no such zone")
    zone_ms = int(zone_hours or 0) * HOUR_MS + int(zone_minutes or 0) * MINUTE_MS
    local_ms = (local - EPOCH) // timedelta(milliseconds=1)
    local_ms += int((fraction or "")[:3].ljust(3, "0"))
    return local_ms + zone_ms if sign == "-" else local_ms - zone_ms


def read_rate_milli(raw: dict[str, Any]) -> int:
    value = raw.get("rate", 1)
    if isinstance(value, bool) or not isinstance(value, (int, Real)):
        raise malformed("rate must be a number")
    try:
        rate = Decimal(value)
    except InvalidOperation as error:
        raise malformed("rate is out of range") from error
    if rate.copy_abs() > RATE_MAX:  # abs() would round, and raise where there is no room
        raise malformed("rate is out of range")
    if rate and rate.adjusted() < -3:  # before it could become a fraction of a million digits
        raise malformed("rate has more than 3 decimals")
    milli = Fraction(rate) * 1000 if rate else Fraction(0)
    if milli.denominator != 1:
        raise malformed("rate has more than 3 decimals")
    return int(milli)


def read_amount_micros(raw: dict[str, Any]) -> int:
    amount = read_text(raw, "amount")
    if DECIMAL.fullmatch(amount) is None:
        raise malformed("amount must be a decimal of at most 6 decimals in a string")
    whole, _, decimals = amount.partition(".")
    whole = whole.lstrip("0")
    # A longer number is too large in any case, and may be longer than int() takes.
    micros = int(whole[:20] + decimals.ljust(6, "0"))
    if micros > TOPUP_MICROS_MAX:
        raise malformed("amount is out of range")
    return micros
