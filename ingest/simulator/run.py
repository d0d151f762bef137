"""One run: what was asked of the simulator, checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from ingest.simulator.catalogue import Catalogue, build_catalogue
from ingest.simulator.options import DEFAULT_START, Faults, Operator
from ingest.simulator.rows import epoch_ms

HOUR_MS = 3_600_000
HOUSEHOLDS_MOST = 9_999_999  # seven digits
HOURS_MOST = 24 * 366


@dataclass(frozen=True, slots=True)
class Run:
    """The arguments of a simulation, and the catalogue that follows from them.

    households: 1 to 9,999,999. hours: more than 0, at most a year. seed: 0 to 2^64 - 1.
    start: when viewing begins, with a time zone, on a whole minute.
    """

    households: int
    hours: float
    seed: int
    start: datetime = DEFAULT_START
    faults: Faults = field(default_factory=Faults)
    operator: Operator = field(default_factory=Operator)
    catalogue: Catalogue = field(init=False)

    def __post_init__(self) -> None:
        """Raises: ValueError, saying which argument cannot be used and what would do."""
        if not 1 <= self.households <= HOUSEHOLDS_MOST:
            raise ValueError(
                f"households is {self.households}; it must be 1 to {HOUSEHOLDS_MOST:,}"
            )
        if not 0 < self.hours <= HOURS_MOST:
            raise ValueError(f"hours is {self.hours}; it must be above 0 and at most {HOURS_MOST}")
        if not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed is {self.seed}; it must be 0 to 2^64 - 1")
        start = self.start
        if start.tzinfo is None or start.second or start.microsecond:
            raise ValueError(f"start is {start}; it must have a time zone and be a whole minute")
        utc = start.astimezone(UTC)
        object.__setattr__(self, "start", utc)
        object.__setattr__(self, "catalogue", build_catalogue(self.operator, utc, self.hours))

    @property
    def start_ms(self) -> int:
        """When viewing begins."""
        return epoch_ms(self.start)

    @property
    def end_ms(self) -> int:
        """When the run ends; nothing is sent from here on."""
        return self.start_ms + round(self.hours * HOUR_MS)

    def event_starts_ms(self, day: int) -> int:
        """When the event of a day of the run, counted from 0, starts."""
        return epoch_ms(self.catalogue.events[day].starts)
