"""The same record in the other version.

Source: CTA-5004-B section 4.3 against CTA-5004 section 4; `nrr` became the parameter `r` of `nor`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote_to_bytes

from ingest.cmcd.keys import KEYS
from ingest.cmcd.records import Record
from ingest.cmcd.structured import Item

if TYPE_CHECKING:
    from ingest.cmcd.records import Value
    from ingest.cmcd.structured import Bare

PRINTABLE_MIN, PRINTABLE_MAX = 0x20, 0x7E
PICTURE = ("v", "av")  # the object types that a single bitrate is about, best first


def upgraded(record: Record) -> Record:
    """The record as version 2 has it: lists for single values, `nor` decoded, `nrr` within it."""
    if record.version != 1:
        return record
    values = {name: _listed(name, value) for name, value in record.values.items() if name != "nrr"}
    if "nor" in record.values:
        path = _decoded(cast("str", record.values["nor"]))
        asked = cast("str | None", record.values.get("nrr"))
        values["nor"] = (Item(path, () if asked is None else (("r", asked),)),)
    values["v"] = 2
    return Record(2, dict(sorted(values.items())), record.notes)


def _decoded(path: str) -> str:
    """A path without percent-encoding, but for what a structured field has no form for."""
    return "".join(
        chr(byte) if PRINTABLE_MIN <= byte <= PRINTABLE_MAX else f"%{byte:02X}"
        for byte in unquote_to_bytes(path)
    )


def _listed(name: str, value: Value) -> Value:
    key = KEYS.get(name)
    if key is None or key.kind not in ("integers", "strings") or isinstance(value, tuple):
        return value
    return (Item(value),)


def downgraded(record: Record) -> Record:
    """The record as version 1 has it.

    Keys that version 1 lacks and booleans that are false are left out; of a list the picture's
    value stays, or else its first; of `nor` the first object.
    """
    if record.version == 1:
        return record
    values: dict[str, Value] = {}
    for name, value in record.values.items():
        key = KEYS.get(name)
        if name == "v" or value is False or (key is not None and key.since > 1):
            continue
        if key is None or not isinstance(value, tuple):
            values[name] = value
        elif value:
            values[name] = _single(value)
    _add_next_object(record, values)
    return Record(1, dict(sorted(values.items())), record.notes)


def _single(items: tuple[Item, ...]) -> Bare:
    for object_type in PICTURE:
        for item in items:
            if any(name == object_type for name, _ in item.parameters):
                return item.value
    return items[0].value


def _add_next_object(record: Record, values: dict[str, Value]) -> None:
    objects = record.values.get("nor")
    if isinstance(objects, tuple) and objects:
        values["nor"] = quote(str(objects[0].value), safe="")
        asked = dict(objects[0].parameters).get("r")
        if asked is not None:
            values["nrr"] = str(asked)
