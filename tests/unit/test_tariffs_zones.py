"""tariffs/zones.py: a zone is suggested where it is certainly the one that is meant."""

from __future__ import annotations

import pytest

from tariffs.errors import UnfitError
from tariffs.zones import timezone


@pytest.mark.parametrize("zone", ["Europe/Stockholm", "UTC", "EST", "America/Argentina/Salta"])
def test_a_zone_is_taken(zone: str) -> None:
    assert timezone(zone) == zone


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("europe/stockholm", "Europe/Stockholm"),
        ("Stockholm", "Europe/Stockholm"),
        ("Europe/Stokholm", "Europe/Stockholm"),
        ("right/Europe/Paris", "Europe/Paris"),
        ("America/Sydney", "Australia/Sydney"),
        ("New York", "America/New_York"),
        ("Asia/Calcuta", "Asia/Calcutta"),
        ("Oslo", "Europe/Oslo"),
        ("utc", "UTC"),
    ],
)
def test_a_slip_is_seen_through(word: str, meant: str) -> None:
    with pytest.raises(UnfitError, match=f'did you mean "{meant}"'):
        timezone(word)


@pytest.mark.parametrize(
    "word",
    [
        *("PST", "CST", "IST", "BST", "AEST", "CEST", "MSK", "EDT"),  # not MST, EST, EET
        *("UTC+1", "GMT+01", "gmt+1", "+01:00"),  # Etc/GMT+1 is west of Greenwich
        *("Europe/Munich", "Pacific", "Eastern", "Berln", "West", "Central European Time"),
        *("W. Europe Standard Time", "localtime", "Factory", "Gondolin", "/", "Asia"),
    ],
)
def test_what_is_not_clear_is_not_guessed(word: str) -> None:
    with pytest.raises(UnfitError, match='write one such as "Europe/Stockholm"'):
        timezone(word)
