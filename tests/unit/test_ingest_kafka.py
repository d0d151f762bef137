"""What each kind of message of the topic `usage` becomes, and where its records are said to stand."""

from __future__ import annotations

import io
import json
from base64 import b64encode
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from scenes import at, opened, purchased, view

from ingest.kafka.messages import Message, count_records, decode_messages
from rating.schemas import ACCOUNT_OPEN, MALFORMED, ORDER_PURCHASE, VIEW, UsageBatch

NOON = at("12:00")


def decoded(*values: bytes | None, first_offset: int = 7) -> UsageBatch:
    messages = [Message(first_offset + number, value) for number, value in enumerate(values)]
    return decode_messages("usage/3", messages)


def places(batch: UsageBatch) -> list[str]:
    return [batch.locate(row) for row in range(len(batch.events))]


def types(batch: UsageBatch) -> list[int]:
    return [int(kind) for kind in batch.events["type"]]


def arrow(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def views(**columns: Any) -> pa.Table:
    """Two views as a table; a column of None is left out."""
    usual = {
        "type": ["view"] * 2,
        "time": [NOON, NOON + 1000],
        "account": ["anna", "bo"],
        "device": ["tv"] * 2,
        "session": ["s1"] * 2,
        "content": ["c1"] * 2,
        "kind": ["channel"] * 2,
        "state": ["playing"] * 2,
    }
    kept = {name: column for name, column in (usual | columns).items() if column is not None}
    return pa.table(kept)


def test_one_object_a_message_stands_at_its_offset() -> None:
    batch = decoded(view(NOON), opened(NOON))
    assert types(batch) == [VIEW, ACCOUNT_OPEN]
    assert places(batch) == ["usage/3@7", "usage/3@8"]


def test_lines_of_a_packed_message_are_numbered() -> None:
    batch = decoded(view(NOON) + b"\n\n" + purchased(NOON) + b"\n", view(NOON) + b"\n")
    assert types(batch) == [VIEW, ORDER_PURCHASE, VIEW]
    assert places(batch) == ["usage/3@7#1", "usage/3@7#3", "usage/3@8"]


def test_an_object_over_several_lines_is_one_record() -> None:
    value = json.dumps(json.loads(view(NOON)), indent=2).encode()
    batch = decoded(b"\n " + value + b"\n", view(NOON))
    assert types(batch) == [VIEW, VIEW]
    assert places(batch) == ["usage/3@7", "usage/3@8"]
    assert batch.raw(0) == b"\n " + value + b"\n"


@pytest.mark.parametrize("value", [None, b"", b" \r\n\t"])
def test_a_message_without_content_holds_no_record(value: bytes | None) -> None:
    assert len(decoded(value).events) == 0
    batch = decoded(view(NOON), value, view(NOON))
    assert places(batch) == ["usage/3@7", "usage/3@9"]


def test_no_message_is_an_empty_batch() -> None:
    assert len(decode_messages("usage/3", []).events) == 0


@pytest.mark.parametrize(
    "value", [b"\x00\x01magic\nline", b"hello", b"<xml>\n</xml>", b"\xff\xfe{", b"\x1f\x8b\x08"]
)
def test_a_message_of_no_known_kind_is_suspended_whole(value: bytes) -> None:
    batch = decoded(view(NOON), value, view(NOON))
    assert types(batch) == [VIEW, MALFORMED, VIEW]
    assert batch.raw(1) == value
    assert batch.locate(1) == "usage/3@8"
    assert value[:2].hex(" ") in batch.malformed[1]


def test_a_damaged_first_line_does_not_take_the_others_with_it() -> None:
    batch = decoded(b"damaged\n" + view(NOON))
    assert types(batch) == [MALFORMED, VIEW]
    assert batch.raw(0) == b"damaged"


def test_what_was_suspended_before_is_passed_on() -> None:
    line = {"type": "ingest.suspended", "reason": "unbound", "detail": "No account."}
    line["raw"] = b64encode(b"\x00raw").decode()
    over_lines = json.dumps(line, indent=1).encode()
    table = pa.table({name: [value] for name, value in line.items()})
    batch = decoded(json.dumps(line).encode(), over_lines, arrow(table), view(NOON))
    assert [batch.suspended_before[row].raw for row in range(3)] == [b"\x00raw"] * 3
    assert [batch.malformed[row] for row in range(3)] == ["No account."] * 3
    assert types(batch)[3] == VIEW


# --- Arrow --------------------------------------------------------------------------------------


def test_rows_of_arrow_are_numbered_and_shown_as_json() -> None:
    batch = decoded(view(NOON), arrow(views()), arrow(views()), view(NOON))
    assert types(batch) == [VIEW] * 6
    expected = ["usage/3@7", "usage/3@8#1", "usage/3@8#2", "usage/3@9#1", "usage/3@9#2"]
    assert places(batch) == [*expected, "usage/3@10"]
    assert json.loads(batch.raw(2)) == views().to_pylist()[1]


def test_a_bad_value_costs_its_row_alone() -> None:
    batch = decoded(arrow(views(account=["", "bo"])), arrow(views(time=[NOON, None])))
    assert types(batch) == [MALFORMED, VIEW, VIEW, MALFORMED]
    assert batch.malformed[0] == 'field "account" is "", expected a string that is not empty'
    assert batch.malformed[3].startswith('field "time" is missing')
    assert json.loads(batch.raw(3))["account"] == "bo"


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NOON, NOON + 1000], pa.timestamp("ms", "UTC")),
        pa.array([NOON * 1000 + 999, NOON * 1000 + 1_000_999], pa.timestamp("us", "+01:00")),
        pa.array([NOON * 10**6, (NOON + 1000) * 10**6], pa.timestamp("ns", "Europe/Oslo")),
        pa.array([NOON // 1000, NOON // 1000 + 1], pa.timestamp("s", "UTC")),
        pa.array([NOON, NOON + 1000], pa.uint64()),
        pa.array(
            [datetime.fromtimestamp(s, UTC).isoformat() for s in (NOON / 1000, NOON / 1000 + 1)]
        ),
    ],
)
def test_a_time_may_have_several_forms(times: pa.Array) -> None:
    batch = decoded(arrow(views(time=times)))
    assert types(batch) == [VIEW, VIEW]
    assert batch.events["time_ms"].tolist() == [NOON, NOON + 1000]
    assert batch.events["received_ms"].tolist() == [NOON, NOON + 1000]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NOON, NOON], pa.timestamp("ms")),
        pa.array([float(NOON)] * 2),
        pa.array([2**62] * 2, pa.timestamp("s", "UTC")),
        pa.array([-(2**63)] * 2, pa.int64()),
        pa.array([2**64 - 1] * 2, pa.uint64()),
        pa.array([{"ms": NOON}] * 2),
    ],
)
def test_a_time_without_a_zone_or_out_of_all_bounds_is_malformed(times: pa.Array) -> None:
    batch = decoded(arrow(views(time=times)))
    assert types(batch) == [MALFORMED, MALFORMED]
    assert 'field "time" is' in batch.malformed[0]


@pytest.mark.parametrize(
    "rates",
    [
        pa.array(["1.5", None]),
        pa.array([1.5, None]),
        pa.array([Decimal("1.500"), None]),
        pa.array(["15e-1", None], pa.string_view()),
    ],
)
def test_a_rate_is_a_number_or_its_text(rates: pa.Array) -> None:
    batch = decoded(arrow(views(rate=rates)))
    assert batch.events["rate_milli"].tolist() == [1500, 1000]


@pytest.mark.parametrize("rate", ["fast", "1.", "+1", "0.0001", "NaN", float("inf"), True, [1]])
def test_a_rate_that_is_none_is_malformed(rate: Any) -> None:
    batch = decoded(arrow(views(rate=[rate, rate])))
    assert types(batch) == [MALFORMED, MALFORMED]
    assert 'field "rate" is' in batch.malformed[0]


def test_a_column_that_no_record_has_is_let_be() -> None:
    assert types(decoded(arrow(views(extra=[b"\xff", None])))) == [VIEW, VIEW]


def test_damaged_arrow_is_suspended_with_its_bytes() -> None:
    whole = arrow(views())
    for value in (whole[:60], whole[:-40], whole[:4], whole.replace(b"annabo", b"anna\xffo")):
        batch = decoded(view(NOON), value, whole)
        assert types(batch) == [VIEW, MALFORMED, VIEW, VIEW]
        assert batch.raw(1) == value
        assert batch.malformed[1].startswith("the message begins like an Arrow IPC stream")


def test_no_damage_to_arrow_raises() -> None:
    whole = arrow(views(rate=["1.5", None]))
    for place in range(4, len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        decoded(bytes(damaged))


def test_records_are_counted_before_they_are_decoded() -> None:
    assert count_records(view(NOON)) == 1
    assert count_records(view(NOON) + b"\n" + view(NOON)) == 2
    assert count_records(None) == 0
    assert 1 <= count_records(arrow(views())) < 100
