"""A player's own events, native JSON or CloudEvents, to lines of the log under its session's token.

A player is believed about what it played and when; who pays, on which device and in which session
says its token. When things happened is said by its clock, which may be wrong.
Source: docs/gateway.md, "A wrong clock".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.adapters import canonical
from ingest.adapters.canonical import (
    MALFORMED,
    UNBOUND,
    LogLine,
    suspended_frame,
    suspended_lines,
    suspended_row,
)
from ingest.adapters.clocks import TOLERANCE_MS, Clock, place_times
from ingest.gateway.reports import event_lines
from ingest.json_exact import MalformedError, parse_json, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.gateway.tokens import Binding

VIEW_FIELDS = ("type", "time", "content", "kind", "quality", "state", "playhead_ms", "rate")
ONLY_VIEWING = "a session's token vouches for viewing alone"
CLOCK_SET_MS = 946_684_800_000  # 2000: a clock that says less was never set


class Bound(NamedTuple):
    """A view with whose it is. raw: as it came; time_ms: by the player's clock."""

    raw: bytes
    fields: dict[str, Any]
    time_ms: int


class Refused(NamedTuple):
    """An event that cannot become usage, as its line of the log."""

    line: LogLine


def bound_event_lines(
    headers: Mapping[str, str],
    body: bytes,
    binding: Binding,
    received_ms: int,
    sent_ms: int | None = None,
    clock: Clock | None = None,
) -> tuple[list[LogLine], Clock]:
    """The lines of a player's events; account, device and session are the token's.

    sent_ms: when they were sent by the player's clock, where it says so. clock: what is known of
    that clock from before. Returns: the lines, in the order of the body, and the clock to keep.
    """
    found = [
        Refused(line)
        if line.type == canonical.SUSPENDED_TYPE
        else _bound(line.line, binding, received_ms)
        for line in event_lines(headers, body, received_ms)
    ]
    said = [each.time_ms for each in found if isinstance(each, Bound)]
    times, clock = placed(said, received_ms, sent_ms, clock or Clock())
    placed_ms = iter(times)
    lines = [
        each.line
        if isinstance(each, Refused)
        else _line(each, next(placed_ms), binding, received_ms)
        for each in found
    ]
    return lines, clock


def placed(
    times: Sequence[int], received_ms: int, sent_ms: int | None, clock: Clock
) -> tuple[list[int], Clock]:
    """When events really happened, and the clock to keep.

    Such events hold no number that tells their order, so one that seems late is late: only what lies
    ahead of its arrival, or before any clock was set, or a session known for it, is moved.
    """
    if not times:
        return [], clock
    newest_ms = max(times)
    is_likely = CLOCK_SET_MS <= newest_ms <= received_ms + TOLERANCE_MS
    if sent_ms is None and not clock.offset_ms and is_likely:
        return list(times), Clock(0, newest_ms)
    return place_times(times, received_ms, sent_ms, clock)


def _bound(raw: bytes, binding: Binding, received_ms: int) -> Bound | Refused:
    """One event of a player, as its own clock has it."""

    def refused(reason: str, why: str) -> Refused:
        return Refused(_suspended(reason, why, raw, binding, received_ms))

    try:
        parse_json(raw)  # which says in a sentence what Python's own does not
        fields = json.loads(raw)
    except MalformedError as error:
        return refused(MALFORMED, str(error))
    if not isinstance(fields, dict):
        return refused(MALFORMED, "the usage record is no JSON object")
    if fields.get("type") != "view":
        return refused(UNBOUND, ONLY_VIEWING)
    bound: dict[str, Any] = {name: fields[name] for name in VIEW_FIELDS if name in fields}
    bound |= {"account": binding.account, "device": binding.device, "session": binding.session}
    for name in ("content", "kind", "quality"):
        if (text := getattr(binding, name)) is not None:
            bound[name] = text
    bound["received"] = received_ms
    usage = read_object(parse_json(_encoded(bound)))
    if usage.malformed:
        return refused(MALFORMED, usage.malformed)
    return Bound(raw, bound, usage.time_ms)


def _line(bound: Bound, placed_ms: int, binding: Binding, received_ms: int) -> LogLine:
    """One event of a player as the log has it."""
    fields = bound.fields
    if placed_ms != bound.time_ms:
        fields = fields | {"time": placed_ms, "device_time": bound.time_ms}
        fields["received"] = fields.pop("received")  # which every line has last
        if why := read_object(parse_json(_encoded(fields))).malformed:
            why = f"with its clock put right: {why}"
            return _suspended(MALFORMED, why, bound.raw, binding, received_ms)
    if why := binding.why_not_at(placed_ms):
        return _suspended(UNBOUND, why, bound.raw, binding, received_ms)
    return LogLine(binding.account, _encoded(fields), "view")


def _encoded(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()


def _suspended(reason: str, why: str, raw: bytes, binding: Binding, received_ms: int) -> LogLine:
    row = suspended_row(reason, why, raw, account=binding.account)
    return suspended_lines(suspended_frame([row]), received_ms)[0]
