"""When a sender says that it sent a request, by its own clock: what a wrong clock is put right by.

No report has a field for it: CMCD has no such key, nor has CloudEvents or bulk data. So it is a header
of ours, and for boxes the one that their standard has.
Source: docs/gateway.md, "A wrong clock"; TR-181 BulkData.Profile.{i}.HTTP.UseDateHeader; RFC 9110.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ingest.gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

SENT_HEADER = "Ratecast-Sent"
DIGITS_MAX = 16
SECONDS = range(10**9, 4 * 10**9)  # the years 2001 to 2096; in ms a month of 1970
TIME_MS_MAX = 4 * 10**12


def sent_ms(headers: Mapping[str, str]) -> int | None:
    """When a player says that it sent this, in ms since the epoch; None where it does not.

    headers: by lower-case name. The header Date is not looked at: libraries and relays set it from
    their own clock, which need not be the one that the records are timed by.
    Raises: Problem 400, since a time that was meant well and misread would move charges.
    """
    said = headers.get(SENT_HEADER.lower())
    if said is None:
        return None
    is_number = said.isascii() and said.isdigit() and len(said) <= DIGITS_MAX
    if not is_number or int(said) in SECONDS or int(said) >= TIME_MS_MAX:
        raise Problem(
            400,
            "bad-header",
            f"{SENT_HEADER} is {said[:40]!r}, expected milliseconds since 1970 by the sender's clock "
            "at this sending; mend it, or leave it out",
        )
    return int(said)


def box_sent_ms(headers: Mapping[str, str]) -> int | None:
    """When a set-top box says that it sent this: as a player, or in Date (UseDateHeader).

    Date is the box's own clock, to the second: enough to tell what a clock is off by.
    Raises: Problem 400.
    """
    said = sent_ms(headers)
    if said is not None or "date" not in headers:
        return said
    try:
        date = parsedate_to_datetime(headers["date"])
    except (ValueError, OverflowError):
        return None  # it is no header of ours, so it cannot make a report fail
    whole_s = int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    return whole_s * 1000
