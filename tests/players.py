"""Players that report by CMCD, and what is charged for what they have reported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import scenes
from core_adapter import rate_log

from ingest.adapters.canonical import to_log_lines
from ingest.adapters.cmcd import Adapted, Bound, Options, Trace, adapt_body

if TYPE_CHECKING:
    from outcome import Outcome

NOON_MS = scenes.at("12:00")
ANNA = Bound("anna", "tv", "s1", kind="vod")


def report(event: str, seconds: float, sta: str | None = None, **keys: Any) -> str:
    """One event report of version 2. seconds: after noon. A key of None is left out.

    The keys' values are as they are written: strings get their quotes here only for cid and sid.
    """
    said: dict[str, Any] = {"cid": "film", "sid": "s1", "ts": NOON_MS + round(seconds * 1000)}
    said |= {"e": event, "sta": sta, "v": 2} | keys
    for name in ("cid", "sid"):
        if said[name] is not None:
            said[name] = f'"{said[name]}"'
    kept = {name: value for name, value in said.items() if value is not None}
    return ",".join(n if v is True else f"{n}={v}" for n, v in sorted(kept.items()))


def shifted(line: str, by_ms: int) -> str:
    """The same report from a device whose clock is off by so much."""
    head, _, rest = line.partition("ts=")
    ts, comma, tail = rest.partition(",")
    return f"{head}ts={int(ts) + by_ms}{comma}{tail}"


class Collector:
    """Takes uploads as a gateway does: in order of arrival, keeping the session's trace."""

    def __init__(self, binding: Any = ANNA, options: Options | None = None) -> None:
        self.binding = binding
        self.options = options
        self.trace = Trace()
        self.lines: list[bytes] = []
        self.uploads: list[Adapted] = []

    def upload(self, seconds: float, *reports: str, sent_ms: int | None = None) -> Adapted:
        """Receive a body at so many seconds after noon."""
        received_ms = NOON_MS + round(seconds * 1000)
        adapted = adapt_body(
            "\n".join(reports).encode(),
            self.binding,
            received_ms,
            sent_ms=sent_ms,
            trace=self.trace,
            options=self.options,
        )
        self.trace = adapted.trace
        self.lines += [line.line for line in to_log_lines(adapted.reading, received_ms)]
        self.uploads.append(adapted)
        return adapted

    def each(self, *reports: str, late: float = 0.2) -> None:
        """Receive each report alone, right after it was made."""
        for line in reports:
            seconds = (int(line.partition("ts=")[2].partition(",")[0]) - NOON_MS) / 1000
            self.upload(seconds + late, line)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """All usage so far."""
        return [row for adapted in self.uploads for row in adapted.reading.usage.to_dicts()]

    @property
    def suspended(self) -> list[dict[str, Any]]:
        """All that was suspended."""
        return [row for adapted in self.uploads for row in adapted.reading.suspended.to_dicts()]

    def rated(self, **book: Any) -> Outcome:
        """What the core makes of all that was received; heartbeats may be 90 s apart."""
        usual = {"heartbeat_timeout_ms": 90_000, "idle_ms": 300_000}
        return rate_log([scenes.a_book(**(usual | book))], self.lines)

    def watched_ms(self, **book: Any) -> int:
        """How long was watched by what was charged."""
        outcome = self.rated(**book)
        watched = sum(charge["watched_ms"] for charge in outcome.charges)
        assert watched == outcome.counts["watched_ms"]
        return watched
