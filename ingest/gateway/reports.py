"""Reports of viewing to lines of the log, for each kind of sender.

A back end is believed about accounts. A player is believed about what it played and when; who pays
for it says its token. What nobody vouches for becomes a suspended line, and is never charged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from ingest import cmcd
from ingest.adapters import canonical, cloudevents, native
from ingest.adapters.canonical import (
    UNBOUND,
    LogLine,
    Reading,
    Rows,
    suspended_frame,
    suspended_line,
    suspended_row,
    to_log_lines,
)
from ingest.adapters.cmcd import USAGE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ingest.adapters.cmcd import Adapted
    from ingest.gateway.tokens import Binding

BINDING_SKEW_MS = 60_000
BEFORE_BOUND = "it happened before the box was bound to this account, when its token was signed"


def event_lines(headers: Mapping[str, str], body: bytes, received_ms: int) -> list[LogLine]:
    """The lines of a back end's events: native JSON, or CloudEvents by their headers."""
    if not cloudevents.is_cloudevents(headers.items()):
        return native.to_log_lines(body, received_ms)
    reading = cloudevents.read_http(headers.items(), body)
    return to_log_lines(Reading(_unstamped(reading.usage), reading.suspended), received_ms)


def within_token(adapted: Adapted, binding: Binding) -> Adapted:
    """What a player's report came to, without what happened before or after its token's time."""
    usage: list[dict[str, Any]] = []
    suspended: list[dict[str, Any]] = []
    for row in adapted.rows.usage:
        why = binding.why_not_at(row["time"])
        if not why:
            usage.append(row)
            continue
        raw = canonical.encoded_row(row, USAGE_COLUMNS, 0)
        suspended.append(
            suspended_row(UNBOUND, why, raw, account=binding.account, time=row["time"])
        )
    return adapted._replace(rows=Rows(usage, suspended + adapted.rows.suspended))


def since_bound(
    reading: Reading, account: str, issued_ms: int, known_streams: Collection[str]
) -> Reading:
    """A reading of a box's report, without what happened before it was bound to its account.

    A box's event log outlives its owner: what the one before had watched is nobody's to pay now.
    known_streams: whose logs were read before under this account, so that a token that is renewed
    leaves nothing out.
    """
    is_known = pl.col("stream").is_in(list(known_streams))
    holds = is_known | (pl.col("time") >= issued_ms - BINDING_SKEW_MS)
    early = reading.usage.filter(~holds)
    rows = [
        suspended_row(UNBOUND, BEFORE_BOUND, line, account=account, time=time)
        for line, time in zip(canonical.encoded(early, 0), early["time"], strict=True)
    ]
    suspended = pl.concat([suspended_frame(rows), reading.suspended])
    return Reading(reading.usage.filter(holds), suspended)


def asks_for_media(headers: Mapping[str, str], query: str) -> bool:
    """Whether CMCD is of request mode, which says what was fetched and not what was watched."""
    try:
        record = cmcd.read_request(headers, query)
    except cmcd.Rejected:
        return False
    return record is None or "e" not in record.values


def unbound_lines(raw: bytes, why: str, received_ms: int) -> list[LogLine]:
    """The one line of a report that nothing binds to an account."""
    return [suspended_line(suspended_row(UNBOUND, why, raw), received_ms)]


def _unstamped(usage: pl.DataFrame) -> pl.DataFrame:
    """Usage records without `received`, which is the gateway's to say."""
    return usage.with_columns(received=pl.lit(None, pl.Int64))
