"""The program's reader of JSON lines and the reference's take the same lines for the same."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from reference_reader import SuspendedError, read_usage
from worlds import random_world

from ingest.json_lines import decode_lines
from rating.schemas import HAS_BILL_DAY, HAS_PLAYHEAD, HAS_RECEIVED, MALFORMED, RECORD_TYPES, STATES

if TYPE_CHECKING:
    from rating.schemas import UsageBatch

FIELDS = {
    "view": {
        "device": "device",
        "key": "session",
        "subject": "content",
        "kind": "kind",
        "quality": "quality",
    },
    "account.open": {"subject": "plan", "quality": "region"},
    "account.subscribe": {"subject": "package"},
    "account.unsubscribe": {"subject": "package"},
    "balance.topup": {"key": "id", "quality": "currency"},
    "order.purchase": {"device": "device", "key": "id", "subject": "offer", "quality": "quality"},
    "order.cancel": {"key": "id", "subject": "order"},
}
"""For each record type, which field each text of a USAGE row holds, besides the account."""

STROKES = (
    *(bytes([byte]) for byte in b'"{}[],:\\/-+.0159eEtTZz \t\x00\x7f\xff'),
    *(b"\\u00e9", b"\\ud83d\\ude00", b"\\ud83d", b"\\u0000", "é".encode(), b"\xed\xa0\x80"),
    *(b"null", b"true", b"NaN", b"1e3", b"-0", b"0.5", b"1.000", b"\xef\xbb\xbf"),
)


def by_reference(line: bytes) -> dict[str, Any] | None:
    """The fields of a record as the reference reads it; None where it is malformed."""
    try:
        usage = read_usage(line)
    except SuspendedError:
        return None
    return {name: "" if value is None else value for name, value in usage.items()}


def by_program(batch: UsageBatch, place: int) -> dict[str, Any] | None:
    """The fields of a row in the reference's names; None where it is malformed."""
    row = batch.events[place]
    if row["type"] == MALFORMED:
        return None

    def text(name: str) -> str:
        at, length = int(row[f"{name}_at"]), int(row[f"{name}_len"])
        return batch.text[at : at + length].tobytes().decode()

    type_ = RECORD_TYPES[row["type"]]
    usage = {name: text(column) for column, name in FIELDS[type_].items()}
    usage |= {"type": type_, "account": text("account")}
    received = int(row["received_ms"]) if row["flags"] & HAS_RECEIVED else ""
    usage |= {"time": int(row["time_ms"]), "received": received}
    if type_ == "view":
        playhead_ms = int(row["playhead_ms"]) if row["flags"] & HAS_PLAYHEAD else ""
        usage |= {"state": STATES[row["state"]], "playhead_ms": playhead_ms}
        usage |= {"rate_milli": int(row["rate_milli"])}
    if type_ == "account.open":
        usage["bill_day"] = int(row["bill_day"]) if row["flags"] & HAS_BILL_DAY else ""
    if type_ == "balance.topup":
        usage["amount_micros"] = int(row["amount_micros"])
    return usage


def scribbled(random: Random, line: bytes) -> bytes:
    """The line with a few strokes put in, taken out or written over."""
    text = bytearray(line)
    for _ in range(random.randint(1, 3)):
        place = random.randrange(len(text) + 1)
        text[place : place + random.randint(0, 2)] = random.choice((b"", *STROKES))
    return bytes(text)


@pytest.mark.parametrize("seed", range(20))
def test_both_readers_read_the_same(seed: int) -> None:
    random = Random(seed)
    lines = [line for line in random_world(seed).lines if line.strip()]
    lines += [scribbled(random, random.choice(lines)) for _ in range(1_000)]
    lines = [line for line in lines if line.strip(b" \t\r\n")]
    batch = decode_lines(b"\n".join(lines) + b"\n", str)
    assert len(batch.events) == len(lines)
    read = [by_program(batch, place) for place in range(len(lines))]
    expected = [by_reference(line) for line in lines]
    assert [line for line, a, b in zip(lines, read, expected, strict=True) if a != b] == []
    assert any(expected)
    assert None in expected
