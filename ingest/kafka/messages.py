"""Messages of one partition to one batch of usage records, in the order of the log.

Source: architecture decision 6; README.md in this folder has the kinds of messages.
"""

from __future__ import annotations

from bisect import bisect_right
from enum import Enum, auto
from itertools import accumulate, groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingest.json_exact import UsageRecord, read_line
from ingest.json_lines import check_size, decode_lines, write_row
from ingest.kafka.arrow_records import UnreadableTable, decode_table, read_table
from ingest.lines import LINE_END, PADDING
from rating.schemas import MALFORMED, TEXT_FIELDS, USAGE, UsageBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

ARROW_STREAM = b"\xff\xff\xff\xff"
BLANKS = b" \t\r\n"
COUNTED_BYTES_MAX = 1 << 14
SHOWN_BYTES_MAX = 8
RANGES = (*(f"{name}_at" for name in TEXT_FIELDS), "raw_at")


class Message(NamedTuple):
    """One message as the broker has it; value None is a tombstone."""

    offset: int
    value: bytes | None


class Kind(Enum):
    """What a message's value is."""

    BLANK = auto()
    LINES = auto()  # JSON, each line on its own
    ARROW = auto()
    WHOLE = auto()  # one record, or nothing that is known


def decode_messages(place: str, messages: Sequence[Message]) -> UsageBatch:
    """Decode messages of one partition, ascending by offset.

    place: "topic/partition", for `locate`.
    Raises: ValueError if there are more bytes than a row can point to.
    """
    parts: list[UsageBatch] = []
    for kind, group in groupby(messages, key=lambda message: kind_of(message.value)):
        if kind is Kind.LINES:
            parts.append(_decode_lines(place, list(group)))
        elif kind is Kind.ARROW:
            parts += _decode_arrow(place, list(group))
        elif kind is Kind.WHOLE:
            parts += [_decode_whole(place, message) for message in group]
    return join_batches(parts)


def count_records(value: bytes | None) -> int:
    """About how many records a message holds, at little cost: from its begin, where it is long."""
    if not value or value.startswith(ARROW_STREAM):
        return len(value or b"") // 128
    begin = value[:COUNTED_BYTES_MAX]
    return begin.count(b"\n") * len(value) // len(begin) + 1


def kind_of(value: bytes | None) -> Kind:
    """Tell a message by its first bytes."""
    if value is None or not (value[:1] == b"{" or value.strip(BLANKS)):
        return Kind.BLANK
    if value.startswith(ARROW_STREAM):
        return Kind.ARROW
    if value[:1] != b"{" and not value.lstrip(BLANKS).startswith(b"{"):
        # One damaged line must not take the others of its message with it.
        return Kind.LINES if b"\n{" in value else Kind.WHOLE
    first, line_end, _ = value.strip(BLANKS).partition(b"\n")
    if line_end and not first.rstrip(BLANKS).endswith(b"}") and _is_one_object(value):
        return Kind.WHOLE
    return Kind.LINES


def _is_one_object(value: bytes) -> bool:
    """Whether a JSON object was written over several lines."""
    return not read_line(value).malformed.startswith("the line")


def _decode_lines(place: str, messages: Sequence[Message]) -> UsageBatch:
    """Decode messages of JSON lines as if they were one file."""
    values = [message.value or b"" for message in messages]
    starts = [0, *accumulate(len(value) + 1 for value in values)]
    raw = bytearray(b"\n").join([*values, b"\n" * PADDING])

    def locate(at: int) -> str:
        number = bisect_right(starts, at) - 1
        where = f"{place}@{messages[number].offset}"
        value = values[number]
        if LINE_END not in value.strip(BLANKS):
            return where
        return f"{where}#{value.count(LINE_END, 0, at - starts[number]) + 1}"

    return decode_lines(np.frombuffer(raw, np.uint8), locate)


def _decode_whole(place: str, message: Message) -> UsageBatch:
    """Decode a message as one record, whatever is in it."""
    value = message.value or b""
    if value.lstrip(BLANKS).startswith(b"{"):
        return _one_record(place, message, read_line(value))
    shown = value[:SHOWN_BYTES_MAX].hex(" ")
    why = f"the message is neither JSON nor an Arrow IPC stream: it begins with the bytes {shown}"
    return _one_record(place, message, UsageRecord(malformed=why))


def _one_record(place: str, message: Message, usage: UsageRecord) -> UsageBatch:
    """A batch of one record that is a whole message."""
    value = message.value or b""
    events = np.zeros(1, USAGE)
    more_text = bytearray()
    write_row(usage, events, 0, more_text, len(value), (value, 0))
    events["raw_len"] = len(value)
    before = usage.suspended_before
    return UsageBatch(
        events,
        np.frombuffer(bytearray(value + more_text), np.uint8),
        {0: usage.malformed} if usage.type == MALFORMED else {},
        lambda _: f"{place}@{message.offset}",
        {0: before} if before else {},
    )


def _decode_arrow(place: str, messages: Sequence[Message]) -> Iterator[UsageBatch]:
    """Decode messages of Arrow IPC streams; those of one schema go together."""
    tables: list[tuple[Message, pa.Table]] = []
    for message in messages:
        try:
            table = read_table(message.value or b"")
        except UnreadableTable as error:
            yield from _decode_tables(place, tables)
            tables = []
            yield _one_record(place, message, UsageRecord(malformed=str(error)))
        else:
            tables.append((message, table))
    yield from _decode_tables(place, tables)


def _decode_tables(place: str, tables: Sequence[tuple[Message, pa.Table]]) -> Iterator[UsageBatch]:
    for _, group in groupby(tables, key=lambda each: each[1].schema):
        alike = list(group)
        yield decode_table([table for _, table in alike], _row_locator(place, alike))


def _row_locator(place: str, tables: Sequence[tuple[Message, pa.Table]]) -> Callable[[int], str]:
    starts = [0, *accumulate(table.num_rows for _, table in tables)]

    def locate(row: int) -> str:
        number = bisect_right(starts, row) - 1
        return f"{place}@{tables[number][0].offset}#{row - starts[number] + 1}"

    return locate


def join_batches(parts: Sequence[UsageBatch]) -> UsageBatch:
    """Several batches one after another, as one. Raises: ValueError as `decode_messages` does."""
    if len(parts) == 1:
        return parts[0]
    firsts = [0, *accumulate(len(part.events) for part in parts)]
    texts_at = [0, *accumulate(len(part.text) for part in parts)]
    check_size(texts_at[-1])
    events = np.empty(firsts[-1], USAGE)
    for part, first, text_at in zip(parts, firsts, texts_at, strict=False):
        rows = events[first : first + len(part.events)]
        rows[:] = part.events
        for name in RANGES:
            rows[name] += np.where(rows[f"{name[:-3]}_len"] > 0, text_at, 0).astype(np.uint32)

    def part_of(row: int) -> tuple[UsageBatch, int]:
        number = bisect_right(firsts, row) - 1
        return parts[number], row - firsts[number]

    def locate(row: int) -> str:
        part, own_row = part_of(row)
        return part.locate(own_row)

    def raw_of(row: int) -> bytes:
        part, own_row = part_of(row)
        return part.raw(own_row)

    return UsageBatch(
        events,
        np.concatenate([np.empty(0, np.uint8), *(part.text for part in parts)]),
        {
            first + row: why
            for part, first in zip(parts, firsts, strict=False)
            for row, why in part.malformed.items()
        },
        locate,
        {
            first + row: before
            for part, first in zip(parts, firsts, strict=False)
            for row, before in part.suspended_before.items()
        },
        raw_of,
    )
