"""Reading ahead finds what a window's sessions lead to, and changes nothing."""

from __future__ import annotations

import json

from ingest.json_lines import decode_lines
from rating.ahead import is_crowded, read_ahead
from rating.rater import Rater
from rating.scratch import READ_AHEAD
from rating.state import TABLES
from tariffs.load import load_texts

BOOK = """
[book]
id = "book"
currency = "EUR"
timezone = "UTC"
default_plan = "hours"

[[plans]]
id = "hours"
mode = "postpaid"

[[plans.rules]]
id = "all"
per = "month"
price = { model = "per_unit", amount = "1.00", unit = "hour" }

[[plans.caps]]
id = "cap"
per = "day"
amount = "5.00"
"""
START_MS = 1_772_820_000_000


def beats(beat: int) -> bytes:
    """A heartbeat of each of five viewers."""
    record = {
        "type": "view",
        "time": START_MS + beat * 60_000,
        "content": "one",
        "kind": "channel",
        "quality": "hd",
        "state": "playing",
    }
    viewers = ("anna", "bo", "cleo", "dan", "eva")
    lines = [record | {"account": who, "device": "tv", "session": who} for who in viewers]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_reading_ahead_changes_nothing() -> None:
    rater = Rater(load_texts([(BOOK, "a book")]))
    for beat in range(3):
        rater.rate(decode_lines(beats(beat), str))
    state = rater.state
    before = {name: state.table(name).rows.tobytes() for name in TABLES}
    places = state.places.copy()
    assert not is_crowded(state.places)
    read_ahead(state.places, 5)
    assert state.places[READ_AHEAD] >= 5 * 120_000  # each counter of prices was found
    state.places[READ_AHEAD] = places[READ_AHEAD]
    assert (state.places == places).all()
    assert {name: state.table(name).rows.tobytes() for name in TABLES} == before
    rater.rate(decode_lines(beats(3), str))
    rater.check_watched()
