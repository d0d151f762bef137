"""Logs and messages in other formats, as the lines of the usage log that they come to.

A line of a file, or the value of a message, is a document of the sender's own JSON, a CloudEvent, or
an array of either; each becomes records and suspended lines in its order. `received` is left out, so
the same log comes to the same lines each time that it is read.
Source: docs/senders/own-json.md, docs/senders/cloudevents.md; CloudEvents 1.0 Kafka binding.
"""

from __future__ import annotations

from bisect import bisect_right
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ingest.adapters import cloudevents, mapped_json
from ingest.adapters.canonical import (
    UNBOUND,
    UNBOUND_DETAIL,
    USAGE_FIELDS,
    Reading,
    encoded_row,
    suspended_line,
    suspended_row,
    to_log_lines,
)
from ingest.adapters.fields import usage_rows
from ingest.json_exact import MalformedError
from ingest.json_lines import decode_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from rating.schemas import UsageBatch

STAMP = b',"received":0}'  # the last field of each line that is made here
SPECVERSION = "ce_specversion"
FORMATS = ("usage", "cloudevents")


class Found(NamedTuple):
    """One record, or what was to be one. raw: as it came; error: what is wrong with it so far."""

    raw: bytes
    fields: dict[str, Any]
    error: MalformedError | None


class Door(Protocol):
    """How documents of one format are understood."""

    def found_in(self, text: bytes) -> list[Found]:
        """What a line, or a message, holds."""
        ...

    def refused(self, error: MalformedError, raw: bytes, fields: dict[str, Any]) -> dict[str, Any]:
        """The suspended row of one of them."""
        ...


class OwnJson:
    """A sender's own JSON, by its mapping."""

    def __init__(self, mapping: mapped_json.JsonMapping) -> None:
        self._mapping = mapping

    def found_in(self, text: bytes) -> list[Found]:
        """The records that the documents of a text tell."""
        documents, broken = mapped_json.documents_of(text, self._mapping.documents)
        found = [Found(*one) for one in mapped_json.found_in(documents, self._mapping)]
        return found + [Found(row["raw"], {}, MalformedError(row["detail"])) for row in broken]

    refused = staticmethod(mapped_json.refused_row)


class CloudEventsJson:
    """CloudEvents in the JSON format, one or an array of them."""

    def found_in(self, text: bytes) -> list[Found]:
        """The records that the events of a text carry."""
        events, broken = cloudevents.events_of(text)
        found = [Found(*one) for one in cloudevents.found_in(events)]
        return found + [Found(row["raw"], {}, MalformedError(row["detail"])) for row in broken]

    refused = staticmethod(cloudevents.refused)


def door_of(format_: str) -> Door | None:
    """The door of a format, or of a mapping file; None for usage records, which need none.

    Raises: UnknownFormat, MappingError; OSError if a mapping file cannot be read.
    """
    if format_.endswith(".toml"):
        return OwnJson(mapped_json.open_json_mapping(Path(format_)))
    if format_ not in FORMATS:
        raise UnknownFormat(
            f"{format_!r} is no format; give {', '.join(FORMATS)} or a mapping file (.toml)"
        )
    return None if format_ == FORMATS[0] else CloudEventsJson()


class UnknownFormat(ValueError):  # noqa: N818 - told as a wrong option
    """Nobody knows a format of that name."""


# --- files -----------------------------------------------------------------------------------------


class Native(NamedTuple):
    """Lines of the usage log. begins, origins: where each one's bytes begin here, and there."""

    raw: bytes
    begins: Sequence[int]
    origins: Sequence[int]

    def origin_of(self, at: int) -> int:
        """Where the line that a byte of `raw` is in has come from."""
        return self.origins[bisect_right(self.begins, at) - 1]


def read_lines(
    raw: NDArray[np.uint8], locate: Callable[[int], str], door: Door | None
) -> UsageBatch:
    """Decode the lines of a log of any format. locate: says where a byte of `raw` stood."""
    if door is None:
        return decode_lines(raw, locate)
    native = native_lines(raw.tobytes(), door)
    return decode_lines(native.raw, lambda at: locate(native.origin_of(at)))


def native_lines(raw: bytes, door: Door) -> Native:
    """The lines of the usage log that lines of another format come to."""
    found: list[Found] = []
    places: list[int] = []
    at = 0
    for line in raw.split(b"\n"):
        if line.strip():
            inner = door.found_in(line)
            found += inner
            places += [at] * len(inner)
        at += len(line) + 1
    lines = lines_of(found, door)
    begins = [0]
    for line in lines:
        begins.append(begins[-1] + len(line) + 1)
    return Native(b"\n".join(lines), begins[:-1], places)


def lines_of(found: Sequence[Found], door: Door) -> list[bytes]:
    """A line of the usage log for each of what was found."""
    checked = iter(usage_rows([one.fields for one in found if one.error is None]))
    lines = []
    for raw, fields, error in found:
        row = next(checked) if error is None else error
        if isinstance(row, MalformedError):
            line = suspended_line(door.refused(row, raw, fields), 0).line
        elif row.get("account") is None:
            inner = unstamped(encoded_row(row, USAGE_FIELDS, 0))
            kept = suspended_row(UNBOUND, UNBOUND_DETAIL, inner, time=row.get("time"))
            line = suspended_line(kept, 0).line
        else:
            line = encoded_row(row, USAGE_FIELDS, 0)
        lines.append(unstamped(line))
    return lines


def unstamped(line: bytes) -> bytes:
    """A line without its `received`, which nobody knows here."""
    return line.removesuffix(STAMP) + b"}" if line.endswith(STAMP) else line


# --- messages --------------------------------------------------------------------------------------


def message_lines(
    headers: Iterable[tuple[str, bytes | None]],
    value: bytes | None,
    key: bytes | None,
    door: Door | None,
) -> bytes | None:
    """The lines that a message of Kafka comes to; the value as it is where that is native.

    A message that says by its headers that it is a CloudEvent is one, whatever the door.
    """
    named = list(headers)
    if value is None or (not named and door is None):
        return value
    if is_cloudevent(named):
        reading = cloudevents.read_kafka(named, value, key)
        return b"\n".join(unstamped(line.line) for line in to_log_lines(bare(reading), 0))
    return value if door is None else native_lines(joined(value), door).raw


def is_cloudevent(headers: Sequence[tuple[str, bytes | None]]) -> bool:
    """Whether a message says that it holds CloudEvents."""
    named = {name.lower(): value for name, value in headers}
    content_type = (named.get("content-type") or b"").lower()
    return SPECVERSION in named or content_type.startswith(cloudevents.STRUCTURED.encode())


def bare(reading: Reading) -> Reading:
    """A reading without any `received`, so that the stamp is all there is."""
    usage = reading.usage
    return Reading(usage.with_columns(received=None).cast(USAGE_FIELDS), reading.suspended)


def joined(value: bytes) -> bytes:
    """A message that is one document over several lines, on one; JSON lines as they are."""
    first, line_end, _ = value.strip().partition(b"\n")
    if not line_end or mapped_json.starts_whole(first.strip()):
        return value
    return value.replace(b"\r", b" ").replace(b"\n", b" ")
