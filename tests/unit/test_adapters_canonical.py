"""What adapters share: columns in, lines of the usage log out."""

from __future__ import annotations

import base64
import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.canonical import (
    RAW_BYTES_MAX,
    SUSPENDED_TYPE,
    USAGE_FIELDS,
    LogLine,
    Reading,
    Rows,
    joined,
    lines_of_rows,
    suspended_frame,
    suspended_row,
    to_log_lines,
    usage_frame,
    usage_of_rows,
)
from ingest.adapters.fields import row_or_error, usage_rows
from ingest.json_exact import MalformedError, read_line
from rating.schemas import RECORD_TYPES

RECEIVED_MS = 1_767_225_600_000
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
INT64 = st.integers(-(2**63), 2**63 - 1)
ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            name: (INT64 if kind == pl.Int64 else ANY_TEXT)
            for name, kind in USAGE_FIELDS.items()
            if name != "rate"
        },
    ),
    max_size=8,
)
VIEW = {
    "type": "view",
    "time": 1_767_225_590_000,
    "account": "acc-1",
    "device": "box",
    "session": "s1",
    "content": "ch-1",
    "kind": "channel",
    "state": "playing",
}


def lines_of(*rows: dict[str, Any]) -> list[LogLine]:
    return to_log_lines(Reading(usage_of_rows(rows)), RECEIVED_MS)


def test_absent_fields_are_left_out_and_received_is_stamped() -> None:
    assert lines_of(VIEW) == [
        LogLine(
            "acc-1",
            b'{"type":"view","time":1767225590000,"account":"acc-1","device":"box","session":"s1",'
            b'"content":"ch-1","kind":"channel","state":"playing","received":1767225600000}',
            "view",
        )
    ]


def test_a_received_that_is_there_stays() -> None:
    (line,) = lines_of(VIEW | {"received": 7})
    assert json.loads(line.line)["received"] == 7


@pytest.mark.parametrize(
    ("rate", "written"),
    [("1.5", b'"rate":1.5,'), ("-2", b'"rate":-2,'), ("1e3", b'"rate":1e3,')],
)
def test_a_rate_is_written_as_a_number(rate: str, written: bytes) -> None:
    assert written in lines_of(VIEW | {"rate": rate})[0].line


@pytest.mark.parametrize("rate", ["", "fast", "01", "1.", "+1", "NaN", "1 "])
def test_a_rate_that_is_no_number_is_left_to_be_found_malformed(rate: str) -> None:
    line = lines_of(VIEW | {"rate": rate})[0].line
    assert json.loads(line)["rate"] == rate
    assert 'field "rate"' in read_line(line).malformed


@given(ROWS)
def test_every_record_reads_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    lines = lines_of(*rows)
    assert len(lines) == len(rows)
    bound = [row for row in rows if "account" in row]
    for row, line in zip(bound, lines, strict=False):
        assert json.loads(line.line) == {"received": RECEIVED_MS} | row
        assert line.account == row["account"]
        assert b"\n" not in line.line


@pytest.mark.parametrize(
    "text",
    ['"type":null,', '","rate":"1.5"', '\\"time\\":null,', "\u2028\u2029\x7f\x00\n", "😀", "\\"],
)
def test_texts_that_look_like_json_are_texts(text: str) -> None:
    line = lines_of(VIEW | {"content": text, "rate": "1.25"})[0].line
    assert json.loads(line)["content"] == text
    assert json.loads(line)["rate"] == 1.25


def test_a_record_without_an_account_is_suspended_as_unbound() -> None:
    (line,) = lines_of(VIEW | {"account": None})
    read = json.loads(line.line)
    assert (line.account, line.type) == ("", SUSPENDED_TYPE)
    assert (read["type"], read["reason"]) == (SUSPENDED_TYPE, "unbound")
    assert read["time"] == VIEW["time"]
    raw = json.loads(base64.b64decode(read["raw"]))
    assert raw == {name: value for name, value in VIEW.items() if name != "account"} | {
        "received": RECEIVED_MS
    }


def test_a_suspended_row_is_a_line_of_its_own_type() -> None:
    rows = [
        suspended_row("malformed", 'not "JSON"', b"\xff\x00{"),
        suspended_row("unbound", "nobody", b"", account="a\u00e9", time=5),
    ]
    first, second = to_log_lines(Reading(suspended=suspended_frame(rows)), RECEIVED_MS)
    assert first.account == ""
    assert json.loads(first.line) == {
        "type": "ingest.suspended",
        "reason": "malformed",
        "detail": 'not "JSON"',
        "raw": base64.b64encode(b"\xff\x00{").decode(),
        "received": RECEIVED_MS,
    }
    assert second.account == "a\u00e9"
    assert json.loads(second.line)["account"] == "a\u00e9"
    assert json.loads(second.line)["time"] == 5


def test_bytes_that_no_line_could_hold_are_cut_and_it_says_so() -> None:
    row = suspended_row("malformed", "too much", b"x" * (RAW_BYTES_MAX + 1))
    assert len(row["raw"]) == RAW_BYTES_MAX
    assert row["detail"].endswith(f"of its {RAW_BYTES_MAX + 1} bytes are kept here")


def test_a_frame_of_some_fields_gets_the_others() -> None:
    frame = usage_frame({"type": ["view"], "time": [1]})
    assert frame.schema == USAGE_FIELDS
    assert frame["account"].to_list() == [None]


def test_readings_join_in_their_order() -> None:
    one = Reading(usage_of_rows([VIEW]))
    two = Reading(suspended=suspended_frame([suspended_row("malformed", "x", b"y")]))
    both = joined([one, two, one])
    assert (len(both.usage), len(both.suspended)) == (2, 1)
    assert len(joined([]).usage) == 0


def test_the_types_are_those_of_the_log() -> None:
    assert lines_of(VIEW)[0].type in RECORD_TYPES


ODD = st.none() | st.booleans() | st.integers() | st.text(max_size=3) | st.just([]) | st.just("1.5")


@given(
    st.lists(
        st.dictionaries(st.sampled_from([*VIEW, "rate", "playhead_ms", "amount", "id"]), ODD).map(
            lambda change: VIEW | change
        ),
        max_size=4,
    )
)
def test_records_are_checked_together_as_each_by_itself(found: list[dict[str, Any]]) -> None:
    together = usage_rows(found)
    for fields, row in zip(found, together, strict=True):
        alone = row_or_error(fields)
        if isinstance(alone, MalformedError):
            assert str(row) == str(alone)
        else:
            assert row == alone


SUSPENDED_ROWS = st.lists(
    st.builds(
        suspended_row,
        ANY_TEXT,
        ANY_TEXT,
        st.binary(max_size=20),
        account=st.none() | ANY_TEXT,
        time=st.none() | INT64,
    ),
    max_size=4,
)
RATES = st.sampled_from([None, "1.5", "-2", "1e3", "01", "x", '"', "1.", "0.250"])


@given(ROWS, st.lists(RATES, min_size=8, max_size=8), SUSPENDED_ROWS)
def test_rows_become_the_lines_that_frames_become(
    rows: list[dict[str, Any]], rates: list[str | None], suspended: list[dict[str, Any]]
) -> None:
    usage = [row | {"rate": rate} for row, rate in zip(rows, rates, strict=False)]
    reading = Reading(usage_of_rows(usage), suspended_frame(suspended))
    expected = to_log_lines(reading, RECEIVED_MS)
    assert lines_of_rows(Rows(usage, suspended), USAGE_FIELDS, RECEIVED_MS) == expected


def test_every_character_is_written_alike() -> None:
    text = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x11000), 0x10000, 0x1F600, 0x10FFFF)))
    usage = [VIEW | {"content": text}]
    expected = to_log_lines(Reading(usage_of_rows(usage)), RECEIVED_MS)
    assert lines_of_rows(Rows(usage, []), USAGE_FIELDS, RECEIVED_MS) == expected
