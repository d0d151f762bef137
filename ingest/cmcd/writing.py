"""Records to CMCD as it travels, their keys in order.

Source: CTA-5004-B sections 3 and 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from ingest.cmcd.keys import HEADERS, KEYS, REQUEST, Header
from ingest.cmcd.structured import InnerList, Item, write_dictionary
from ingest.cmcd.versions import downgraded, upgraded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ingest.cmcd.records import Record, Value
    from ingest.cmcd.structured import Member


def write_record(record: Record, version: int | None = None) -> str:
    """Write a record as text, in its own version or the one that is asked for.

    Raises: ValueError if a value has no form in CMCD, such as a string that is not ASCII.
    """
    return write_dictionary(_members(_in_version(record, version)))


def write_query(record: Record, version: int | None = None) -> str:
    """Write the query argument, encoded: "CMCD=bs%2Csu". Raises: as `write_record`."""
    return "CMCD=" + quote(write_record(record, version), safe="")


def write_headers(
    record: Record,
    version: int | None = None,
    custom_headers: Mapping[str, Header] | None = None,
) -> dict[str, str]:
    """Write the headers of a request; a header without keys is left out.

    Keys that travel in bodies only are left out. custom_headers: where each key of the sender's
    own belongs, by how often its value changes; CMCD-Request where it is not said.
    Raises: as `write_record`.
    """
    asked = _in_version(record, version)
    shards: dict[str, dict[str, Member]] = {header: {} for header in HEADERS}
    for name, member in _members(asked).items():
        header = (
            KEYS[name].header_in(asked.version)
            if name in KEYS
            else (custom_headers or {}).get(name, REQUEST)
        )
        if header is not None:
            shards[header][name] = member
    return {header: write_dictionary(shard) for header, shard in shards.items() if shard}


def write_body(records: Iterable[Record]) -> bytes:
    """Write a body of `application/cmcd`: version 2, one record a line. Raises: `write_record`."""
    return "\n".join(write_record(record, 2) for record in records).encode()


def _in_version(record: Record, version: int | None) -> Record:
    if version is None:
        return record
    return upgraded(record) if version > 1 else downgraded(record)


def _members(record: Record) -> dict[str, Member]:
    return {name: _member(record.values[name]) for name in sorted(record.values)}


def _member(value: Value) -> Member:
    return InnerList(value) if isinstance(value, tuple) else Item(value)
