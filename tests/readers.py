"""The readers of usage records side by side: the compiled one, the exact one, the reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reference_reader import SuspendedError, read_usage

from ingest.json_exact import TEXTS_OF_TYPES, UsageRecord, read_line
from ingest.json_lines import USAGE_NUMBERS, decode_lines
from rating.schemas import HAS_PLAYHEAD, MALFORMED, RECORD_TYPES, STATES, TEXT_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rating.schemas import UsageBatch


def row_values(batch: UsageBatch, row: int) -> dict[str, Any]:
    """What a row holds, its texts read out."""
    usage = batch.events[row]
    held: dict[str, Any] = {name: int(usage[name]) for name in USAGE_NUMBERS}
    for name in TEXT_FIELDS:
        at, length = int(usage[f"{name}_at"]), int(usage[f"{name}_len"])
        held[name] = batch.text[at : at + length].tobytes().decode()
    return held | {"malformed": batch.malformed.get(row, "")}


def record_values(usage: UsageRecord) -> dict[str, Any]:
    """The same of a usage record that the exact reader read."""
    held: dict[str, Any] = {name: getattr(usage, name) for name in USAGE_NUMBERS}
    held |= {name: usage.texts.get(name, "") for name in TEXT_FIELDS}
    return held | {"malformed": usage.malformed}


def check_readers_agree(lines: Sequence[bytes]) -> None:
    """Assert that all three readers make the same of each line. lines: without line ends."""
    batch = decode_lines(b"\n".join(lines), str)
    kept = [line for line in lines if line.strip(b" \t\r")]
    assert len(batch.events) == len(kept)
    for row, line in enumerate(kept):
        usage = read_line(line)
        assert row_values(batch, row) == record_values(usage)
        at, length = int(batch.events["raw_at"][row]), int(batch.events["raw_len"][row])
        assert batch.text[at : at + length].tobytes() == line.removesuffix(b"\r")
        assert (batch.events["type"][row] == MALFORMED) == (row in batch.malformed)
        assert batch.suspended_before.get(row) == usage.suspended_before
        check_exact_is_the_reference(usage, line)


def check_exact_is_the_reference(usage: UsageRecord, line: bytes) -> None:
    """Assert that what the exact reader made of a line is what the spec makes of it."""
    try:
        expected = read_usage(line)
    except SuspendedError as error:
        assert usage.type == MALFORMED
        assert usage.malformed
        before = usage.suspended_before
        assert (before.reason if before else "malformed") == error.reason
        return
    assert usage.malformed == ""
    type_ = RECORD_TYPES[usage.type]
    assert (type_, usage.texts["account"]) == (expected["type"], expected["account"])
    assert (usage.time_ms, usage.received_ms) == (expected["time"], expected["received"])
    for text, (name, _) in TEXTS_OF_TYPES[type_].items():
        assert usage.texts.get(text, "") == (expected[name] or "")
    if type_ == "view":
        playhead_ms = usage.playhead_ms if usage.flags & HAS_PLAYHEAD else None
        assert (STATES[usage.state], playhead_ms) == (expected["state"], expected["playhead_ms"])
        assert usage.rate_milli == expected["rate_milli"]
    if type_ == "account.open":
        assert usage.bill_day == expected["bill_day"]
    if type_ == "balance.topup":
        assert usage.amount_micros == expected["amount_micros"]
