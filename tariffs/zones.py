"""Time zones of IANA, and what an author may have meant by a name that is none.

A wrong suggestion moves bands and months, so one is made only where it can hardly be wrong: the
same name in other letters, the city alone, or a slip within the city behind its area. Abbreviations
such as PST have no likeness to go by.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from zoneinfo import available_timezones

from tariffs.errors import UnfitError, quote

NOT_EVERYWHERE = {"localtime", "Factory"}  # Listed, but what they are depends on the machine.
LIKENESS_MIN = 0.8
NEAR_CHARACTERS = range(5, 41)  # Shorter names are alike by chance; no city has a longer one.
AREAS = {
    *("Africa", "America", "Antarctica", "Arctic", "Asia"),
    *("Atlantic", "Australia", "Europe", "Indian", "Pacific"),
}
DIRECTIONS = {"north", "south", "west"}  # Australia's, but every country has them.
_CITY = re.compile(r"[^\W\d]+(?:[ _-][^\W\d]+)*")


def timezone(value: str) -> str:
    """Take the name of a time zone. Raises: UnfitError."""
    if value not in _zones():
        meant = _meant(value)
        mend = f"did you mean {quote(meant)}?" if meant else 'write one such as "Europe/Stockholm"'
        raise UnfitError(f"{quote(value)} is not an IANA time zone", mend)
    return value


def _meant(word: str) -> str | None:
    """Find the zone that is meant, if that is clear."""
    folded = {zone.casefold(): zone for zone in _zones()}
    word = word.casefold().replace(" ", "_")
    if word in folded:
        return folded[word]
    area, _, city = word.rpartition("/")
    if city in _cities():
        zones = _cities()[city]
        return zones[0] if len({zone.partition("/")[0] for zone in zones}) == 1 else None
    if not area or not _CITY.fullmatch(city) or len(city) not in NEAR_CHARACTERS:
        return None
    near = difflib.get_close_matches(city, _cities(), 1, LIKENESS_MIN)
    zones = (
        [zone for zone in _cities()[near[0]] if zone.casefold().startswith(area)] if near else []
    )
    return zones[0] if zones else None


@cache
def _cities() -> dict[str, list[str]]:
    """City to the zones that end with it."""
    cities: dict[str, list[str]] = {}
    for zone in _zones():
        city = zone.rpartition("/")[2].casefold()
        if zone.partition("/")[0] in AREAS and city not in DIRECTIONS:
            cities.setdefault(city, []).append(zone)
    return cities


@cache
def _zones() -> tuple[str, ...]:
    """All names, sorted, so that a suggestion does not depend on the order of a set."""
    return tuple(sorted(available_timezones() - NOT_EVERYWHERE))
