"""What the operator has: channels, titles, events, and the names of all of it.

A name's index in `Catalogue.names` is what rows carry; each sort of name is a range of indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.simulator.options import Operator

PROGRAMMES = 300  # catch-up
TITLES = 200  # VOD library
FILMS = 20  # sold by order
FILMS_BOUGHT = 5  # the first so many films can also be bought for ever
PLANS = ("family", "total", "payg")
PAYG = 2
PACKAGES = ("basic", "plus", "premium")
PLUS = 1
PREMIUM = 2
REGIONS = ("SE-AB", "SE-O", "SE", "FI", "NO")

EVENT_EVERY = timedelta(days=1)
QUARTER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Event:
    """A pay-per-view event, as broadcast."""

    starts: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The names in use; `*_at` is where each sort of them begins in `names`."""

    channels: int
    events: tuple[Event, ...]
    names: tuple[str, ...]
    programmes_at: int
    titles_at: int
    films_at: int
    events_at: int
    plans_at: int
    packages_at: int
    regions_at: int
    event_offers_at: int
    film_offers_at: int  # FILMS rentals, then FILMS_BOUGHT purchases
    pass_offer_at: int

    def package(self, index: int) -> tuple[str, ...]:
        """The channels of a package: two fifths are basic, then a fifth each for the others.

        The last fifth of the channels is in no package.
        """
        edges = [0, self.channels * 2 // 5, self.channels * 3 // 5, self.channels * 4 // 5]
        return self.names[edges[index] : edges[index + 1]]


def plan_events(start: datetime, hours: float) -> tuple[Event, ...]:
    """One event a day: two hours after the time of the start, and two hours long.

    In a run of less than five hours it is at two fifths, and as much shorter.
    """
    lead = timedelta(hours=min(hours, 5)) * 2 // 5
    first = max(QUARTER, lead // QUARTER * QUARTER)
    days = max(1, -(-timedelta(hours=hours) // EVENT_EVERY))
    return tuple(
        Event(begins, begins + first)
        for begins in (start + first + day * EVENT_EVERY for day in range(days))
    )


def build_catalogue(operator: Operator, start: datetime, hours: float) -> Catalogue:
    """The catalogue of a run. Longer runs have more events; nothing else depends on the time."""
    events = plan_events(start, hours)
    days = range(1, len(events) + 1)
    sorts: list[list[str]] = [
        [f"ch-{number:03d}" for number in range(1, operator.channels + 1)],
        [f"cu-{number:04d}" for number in range(1, PROGRAMMES + 1)],
        [f"vod-{number:04d}" for number in range(1, TITLES + 1)],
        [f"film-{number:02d}" for number in range(1, FILMS + 1)],
        [f"evt-{day}" for day in days],
        list(PLANS),
        list(PACKAGES),
        list(REGIONS),
        [f"event-{day}" for day in days],
        [f"rent-film-{number:02d}" for number in range(1, FILMS + 1)]
        + [f"buy-film-{number:02d}" for number in range(1, FILMS_BOUGHT + 1)],
        ["premium-day"],
    ]
    at = [sum(len(names) for names in sorts[:sort]) for sort in range(len(sorts))]
    names = tuple(name for names in sorts for name in names)
    return Catalogue(operator.channels, events, names, *at[1:])
