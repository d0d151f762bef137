"""What is wrong with a record that could be read.

For whoever writes a player: each fault names its key and says what the standard asks for. A
receiver need not refuse a record for them.
Source: CTA-5004-B sections 2.2, 4.1 and 4.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ingest.cmcd.keys import CUSTOM_CHARACTERS_MAX, KEYS, OBJECT_TYPES
from ingest.cmcd.reading import MEDIA_TYPES
from ingest.cmcd.records import Note, Record

if TYPE_CHECKING:
    from collections.abc import Iterator

Mode = Literal["request", "event"]

# What an event is about must be in its report.
EVENT_NEEDS = {
    "b": "bg",
    "bc": "br",
    "c": "cid",
    "ce": "cen",
    "e": "ec",
    "h": "h",
    "pr": "pr",
    "ps": "sta",
    "rr": "url",
}
EVENT_ONLY = frozenset(name for name, key in KEYS.items() if key.header is None) - {"v"}
RESPONSE_ONLY = frozenset(("cmsdd", "cmsds", "rc", "smrt", "ttfb", "ttfbb", "ttlb", "url"))
ESTIMATES = {"ab": "br", "lab": "lb", "tab": "tb"}  # the first must not go with the second
IDENTIFIER_CHARACTERS_MAX_1 = 64


def find_faults(record: Record, mode: Mode | None = None) -> list[Note]:
    """All that is wrong with a record, the notes of its reading among it, by key.

    mode: how it was sent; None takes a record with an event for one of event mode.
    """
    if mode is None:
        mode = "event" if "e" in record.values else "request"
    found = [*record.notes, *_value_faults(record), *_pair_faults(record)]
    found += _event_faults(record) if mode == "event" else _request_faults(record)
    return sorted(found)


def check_delivery(method: str, content_type: str) -> list[str]:
    """What is wrong with how a body was sent: each fault is a sentence."""
    faults = []
    if method.upper() != "POST":
        faults.append(f"{method}: a body is sent with POST")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        faults.append(f"content type {media_type!r}: expected {MEDIA_TYPES[0]}")
    return faults


def _event_faults(record: Record) -> Iterator[Note]:
    if record.version < 2:
        yield Note("v", "v: event mode needs v=2")
    for name in ("e", "ts"):
        if name not in record.values:
            yield Note(name, f"{name}: missing; each event report has one")
    event = str(record.values.get("e"))
    needed = EVENT_NEEDS.get(event)
    if needed is not None and needed not in record.values:
        yield Note(needed, f"{needed}: missing; the event {event} needs it")
    if "cen" in record.values and event != "ce":
        yield Note("cen", "cen: only the event ce has one")
    if event != "rr":
        for name in sorted(RESPONSE_ONLY & record.values.keys()):
            yield Note(name, f"{name}: only the event rr has one")


def _request_faults(record: Record) -> Iterator[Note]:
    for name in sorted(EVENT_ONLY & record.values.keys()):
        yield Note(name, f"{name}: only event reports have one")


def _value_faults(record: Record) -> Iterator[Note]:
    for name, value in record.values.items():
        key = KEYS.get(name)
        longest = CUSTOM_CHARACTERS_MAX if key is None else key.characters_max
        if name == "cid" and record.version == 1:
            longest = IDENTIFIER_CHARACTERS_MAX_1
        if longest is not None and isinstance(value, str) and len(value) > longest:
            yield Note(name, f"{name}: {len(value)} characters, expected at most {longest}")
        if key is None and not isinstance(value, str):
            yield Note(name, f"{name}: a key of your own holds a string or a token")
        numbers = [item.value for item in value] if isinstance(value, tuple) else [value]
        if name != "pr" and any(isinstance(n, int) and n < 0 for n in numbers):
            yield Note(name, f"{name}: below zero")
        if isinstance(value, tuple) and key is not None and key.kind == "integers":
            types = {name for item in value for name, _ in item.parameters}
            for stranger in sorted(types - OBJECT_TYPES):
                yield Note(name, f"{name}: {stranger} is no object type")


def _pair_faults(record: Record) -> Iterator[Note]:
    for estimate, known in ESTIMATES.items():
        if estimate in record.values and known in record.values:
            yield Note(estimate, f"{estimate}: not to be sent where {known} is known")
