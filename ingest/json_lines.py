"""JSON lines to columns of usage records.

Two readers take each line and agree on it: a compiled one for what senders write nearly always
(`json_scan`), and an exact one for the rest, which has the last word (`json_exact`).
Source: spec section 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ingest.json_exact import UsageRecord, read_line
from ingest.json_scan import (
    FIELDS,
    FIRST_GUESSES,
    ROW_WORDS,
    scan_lines,
)
from ingest.lines import LINE_END, PADDING, count_lines
from rating.schemas import MALFORMED, TEXT_FIELDS, USAGE, SuspendedBefore, UsageBatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

USAGE_NUMBERS = (
    "time_ms",
    "received_ms",
    "playhead_ms",
    "amount_micros",
    "rate_milli",
    "type",
    "state",
    "flags",
    "bill_day",
)
TEXT_BYTES_MAX = 2**32 - 1  # what a row's ranges can point to


def decode_lines(
    raw: NDArray[np.uint8] | bytes,
    locate_byte: Callable[[int], str],
    *,
    rows: NDArray[np.void] | None = None,
) -> UsageBatch:
    """Decode the lines of a log: one row for each that is not blank, in their order.

    raw: whole lines. A writable array that ends in PADDING line ends, as `LogChunk.raw` does, is
    the batch's text as it stands; anything else is copied. locate_byte: says where a byte of `raw`
    stood, as `LogChunk.locate` does.
    rows: USAGE rows to write into in place of new ones, where they are enough.
    Raises: ValueError if there are more bytes than a row can point to.
    """
    text = padded(raw)
    # The last line may have no end but the first line end of the padding.
    lines_max = count_lines(text, 0, len(text)) - PADDING + 1
    if rows is None or len(rows) < lines_max:
        rows = np.empty(lines_max, USAGE)
    words = rows.view(np.uint32).reshape(-1, ROW_WORDS)
    found = np.zeros((len(FIELDS), 2), np.int64)
    rows = rows[: scan_lines(text, rows, words, FIRST_GUESSES.copy(), found)]
    suspended_before: dict[int, SuspendedBefore] = {}
    malformed, more_text = read_exactly(text, rows, suspended_before)
    if more_text:
        text = np.concatenate((text, np.frombuffer(more_text, np.uint8)))
        check_size(len(text))
    return UsageBatch(
        rows,
        text,
        malformed,
        lambda row: locate_byte(int(rows["raw_at"][row])),
        suspended_before,
    )


def padded(raw: NDArray[np.uint8] | bytes) -> NDArray[np.uint8]:
    """The bytes in a writable array that ends in PADDING line ends, which the scanner needs."""
    lines = np.frombuffer(raw, np.uint8) if isinstance(raw, bytes) else raw
    check_size(len(lines) + PADDING)
    # Always writable, since compiled code exists once for each kind of array that it is given.
    if lines.flags.writeable and lines.flags.c_contiguous and ends_padded(lines):
        return lines
    return np.concatenate((lines, np.full(PADDING, LINE_END, np.uint8)))


def ends_padded(lines: NDArray[np.uint8]) -> bool:
    """Whether the bytes end in PADDING line ends."""
    return len(lines) >= PADDING and bool((lines[-PADDING:] == LINE_END).all())


def check_size(byte_count: int) -> None:
    """Raise ValueError if the ranges of a row cannot point to so many bytes."""
    if byte_count > TEXT_BYTES_MAX:
        raise ValueError(
            f"{byte_count} bytes of usage records in one batch, expected at most "
            f"{TEXT_BYTES_MAX}; read the log in smaller chunks"
        )


def read_exactly(
    text: NDArray[np.uint8],
    rows: NDArray[np.void],
    suspended_before: dict[int, SuspendedBefore],
) -> tuple[dict[int, str], bytearray]:
    """Let the exact reader decide on every row that the scanner was not certain of.

    suspended_before: takes what rows pass on that was suspended before.
    Returns: what is wrong with each row that is malformed, and the bytes to append to `text`.
    """
    malformed: dict[int, str] = {}
    more_text = bytearray()
    for row in np.flatnonzero(rows["type"] == MALFORMED).tolist():
        at, length = int(rows["raw_at"][row]), int(rows["raw_len"][row])
        line = text[at : at + length].tobytes()
        usage = read_line(line)
        if usage.type == MALFORMED:
            malformed[row] = usage.malformed
            if usage.suspended_before:
                suspended_before[row] = usage.suspended_before
        write_row(usage, rows, row, more_text, len(text), (line, at))
    return malformed, more_text


def write_row(
    usage: UsageRecord,
    rows: NDArray[np.void],
    row: int,
    more_text: bytearray,
    more_text_at: int,
    line: tuple[bytes, int],
) -> None:
    """Write a usage record into a row, but for its raw range.

    more_text: takes the texts that do not stand as they are in the `line` that they came from,
    which is given with where it begins. more_text_at: where `more_text` will begin.
    """
    for name in USAGE_NUMBERS:
        rows[name][row] = getattr(usage, name)
    for name in TEXT_FIELDS:
        text = usage.texts.get(name, "").encode()
        at = line[0].find(text)
        if at == -1:
            at = more_text_at + len(more_text)
            more_text += text
        else:
            at += line[1]
        rows[f"{name}_at"][row] = at if text else 0
        rows[f"{name}_len"][row] = len(text)
