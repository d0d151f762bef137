"""Reports of viewing to lines of the log, for each kind of sender.

A back end is believed about accounts. A player is believed about what it played and when; who pays
for it says its token. What nobody vouches for becomes a suspended line, and is never charged.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from ingest import cmcd
from ingest.adapters import canonical, cloudevents, native
from ingest.adapters.canonical import (
    MALFORMED,
    UNBOUND,
    LogLine,
    Reading,
    Rows,
    suspended_frame,
    suspended_lines,
    suspended_row,
    to_log_lines,
)
from ingest.adapters.cmcd import USAGE_COLUMNS
from ingest.json_exact import MalformedError, parse_json, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.adapters.cmcd import Adapted
    from ingest.gateway.tokens import Binding

VIEW_FIELDS = ("type", "time", "content", "kind", "quality", "state", "playhead_ms", "rate")
ONLY_VIEWING = "a session's token vouches for viewing alone"


def event_lines(headers: Mapping[str, str], body: bytes, received_ms: int) -> list[LogLine]:
    """The lines of a back end's events: native JSON, or CloudEvents by their headers."""
    if not cloudevents.is_cloudevents(headers.items()):
        return native.to_log_lines(body, received_ms)
    reading = cloudevents.read_http(headers.items(), body)
    return to_log_lines(Reading(_unstamped(reading.usage), reading.suspended), received_ms)


def bound_event_lines(
    headers: Mapping[str, str], body: bytes, binding: Binding, received_ms: int
) -> list[LogLine]:
    """The lines of a player's events; account, device and session are the token's."""
    return [
        line if line.type == canonical.SUSPENDED_TYPE else _bound_line(line, binding, received_ms)
        for line in event_lines(headers, body, received_ms)
    ]


def within_token(adapted: Adapted, binding: Binding) -> Adapted:
    """What a player's report came to, without what happened after its token had ended."""
    if not binding.why_over:
        return adapted
    why = f"{binding.why_over}, and this happened later"
    late = [row for row in adapted.rows.usage if not binding.holds_at(row["time"])]
    suspended = [
        suspended_row(
            UNBOUND,
            why,
            canonical.encoded_row(row, USAGE_COLUMNS, 0),
            account=binding.account,
            time=row["time"],
        )
        for row in late
    ]
    usage = [row for row in adapted.rows.usage if binding.holds_at(row["time"])]
    return adapted._replace(rows=Rows(usage, suspended + adapted.rows.suspended))


def asks_for_media(headers: Mapping[str, str], query: str) -> bool:
    """Whether CMCD is of request mode, which says what was fetched and not what was watched."""
    try:
        record = cmcd.read_request(headers, query)
    except cmcd.Rejected:
        return False
    return record is None or "e" not in record.values


def unbound_lines(raw: bytes, why: str, received_ms: int) -> list[LogLine]:
    """The one line of a report that nothing binds to an account."""
    return suspended_lines(suspended_frame([suspended_row(UNBOUND, why, raw)]), received_ms)


def _bound_line(line: LogLine, binding: Binding, received_ms: int) -> LogLine:
    """One event of a player as the log has it."""
    try:
        parse_json(line.line)  # which says in a sentence what Python's own does not
        fields = json.loads(line.line)
    except MalformedError as error:
        return _suspended(MALFORMED, str(error), line.line, binding, received_ms)
    if not isinstance(fields, dict):
        why = "the usage record is no JSON object"
        return _suspended(MALFORMED, why, line.line, binding, received_ms)
    if fields.get("type") != "view":
        return _suspended(UNBOUND, ONLY_VIEWING, line.line, binding, received_ms)
    bound: dict[str, Any] = {name: fields[name] for name in VIEW_FIELDS if name in fields}
    bound |= {"account": binding.account, "device": binding.device, "session": binding.session}
    for name in ("content", "kind", "quality"):
        if (text := getattr(binding, name)) is not None:
            bound[name] = text
    bound["received"] = received_ms
    encoded = json.dumps(bound, separators=(",", ":")).encode()
    usage = read_object(parse_json(encoded))
    if usage.malformed:
        return _suspended(MALFORMED, usage.malformed, line.line, binding, received_ms)
    if not binding.holds_at(usage.time_ms):
        why = f"{binding.why_over}, and this happened later"
        return _suspended(UNBOUND, why, line.line, binding, received_ms)
    return LogLine(binding.account, encoded, "view")


def _suspended(reason: str, why: str, raw: bytes, binding: Binding, received_ms: int) -> LogLine:
    row = suspended_row(reason, why, raw, account=binding.account)
    return suspended_lines(suspended_frame([row]), received_ms)[0]


def _unstamped(usage: pl.DataFrame) -> pl.DataFrame:
    """Usage records without `received`, which is the gateway's to say."""
    return usage.with_columns(received=pl.lit(None, pl.Int64))
