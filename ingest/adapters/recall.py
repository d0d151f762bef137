"""What a session, or a box, has said so far, from the lines that the log has of it.

A gateway that starts anew reads the end of its log, so that it knows a report that is sent again,
a clock that is wrong, and where a session stood, as the one before it did.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.adapters.bulk_data import Mark
from ingest.adapters.clocks import Clock
from ingest.adapters.cmcd import STATES, Trace
from ingest.adapters.sequence import numbers_with
from rating.schemas import TEXT_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping

STA_OF = {state: sta for sta, state in reversed(STATES.items())}  # of several the first

NEEDED = ("account", "device", "session", "content", "kind", "state")
TEXTS = ("quality", "cid", "stream")
WHOLES = ("time", "device_time", "sn", "playhead_ms")


class Session(NamedTuple):
    """Whose session it is."""

    account: str
    device: str
    session: str


class Passed(NamedTuple):
    """An entry of a box's event log that the log has. stream: the path of the box's log."""

    account: str
    device: str
    stream: str
    mark: Mark


def view_of(line: bytes) -> dict[str, Any] | None:
    """The fields of a line that a gateway wrote of a viewing; None for any other line.

    A line of the log may hold anything, since what cannot be read is logged as it came: so nothing
    that is asked of a field later on goes without saying.
    """
    if b'"view"' not in line:
        return None
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or fields.get("type") != "view":
        return None
    is_sound = (
        all(is_text(fields.get(name)) for name in NEEDED)
        and all(is_text(fields[name]) for name in TEXTS if name in fields)
        and all(is_int64(fields[name]) for name in WHOLES if name in fields)
    )
    return fields if is_sound and "time" in fields and fields["state"] in STA_OF else None


def is_text(value: object) -> bool:
    """Whether a value is a text that the log may hold."""
    try:
        return isinstance(value, str) and len(value.encode()) <= TEXT_BYTES_MAX
    except UnicodeEncodeError:  # half of a surrogate pair
        return False


def is_int64(value: object) -> bool:
    """Whether a value is an integer of at most 64 bits."""
    return type(value) is int and -(2**63) <= value < 2**63


def session_of(fields: Mapping[str, Any]) -> Session:
    """The session of a view."""
    return Session(fields["account"], fields["device"], fields["session"])


def passed_by(fields: Mapping[str, Any]) -> Passed | None:
    """The entry of a box's event log that a view comes from; None for any other view."""
    stream = fields.get("stream")
    if not isinstance(stream, str):
        return None
    mark = Mark(whole(fields, "sn"), device_ms_of(fields))
    return Passed(fields["account"], fields["device"], stream, mark)


def traced(trace: Trace, fields: Mapping[str, Any]) -> Trace:
    """A session's trace with one more of its views, in the order of the log.

    What never became a line is not in it: a report that was suspended or said nothing. Sent again,
    such a one is suspended again, or says nothing again.
    """
    number, device_ms = whole(fields, "sn"), device_ms_of(fields)
    offset_ms = fields["time"] - device_ms
    before = trace.numbers
    is_anew = (
        number is not None
        and before is not None
        and number <= before.last
        and device_ms > trace.device_ms
    )
    is_news = trace.sta is None or device_ms >= trace.device_ms
    if number is not None:
        trace = trace._replace(numbers=numbers_with(None if is_anew else before, number))
        is_news = is_news or before is None or number > before.last
    last_ms = device_ms if trace.clock.last_ms is None else max(device_ms, trace.clock.last_ms)
    trace = trace._replace(clock=Clock(offset_ms, last_ms))
    cid = fields.get("cid", fields["content"])
    if not is_news or (trace.cid not in (None, cid) and fields["state"] == "stopped"):
        return trace  # as the stop of what another player of the session had shown
    return trace._replace(
        sta=STA_OF[fields["state"]],
        cid=cid,
        device_ms=device_ms,
        playhead_ms=whole(fields, "playhead_ms"),
        kind=fields["kind"],
        quality=fields.get("quality"),
    )


def device_ms_of(fields: Mapping[str, Any]) -> int:
    """When a view happened by the device's own clock."""
    said = whole(fields, "device_time")
    time_ms: int = fields["time"]
    return time_ms if said is None else said


def whole(fields: Mapping[str, Any], name: str) -> int | None:
    """A field that is an integer; None where it is not."""
    value = fields.get(name)
    return value if type(value) is int else None
