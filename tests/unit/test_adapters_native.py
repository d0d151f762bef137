"""Usage records as they are: what goes in comes out, but for `received`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters.native import to_log_lines
from ingest.json_exact import read_line
from rating import schemas

RECEIVED_MS = 1_767_225_600_000
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
ORDER = {"type": "order.purchase", "time": 1, "account": "acc-2", "id": "o1", "offer": "cup"}
STAMP = b',"received":1767225600000}'


def dumped(*records: Any, separator: str = "\n") -> bytes:
    return separator.join(json.dumps(record) for record in records).encode()


@pytest.mark.parametrize(
    "body",
    [
        dumped(VIEW, ORDER),
        dumped(VIEW, ORDER) + b"\r\n\r\n",
        dumped(VIEW, ORDER, separator="\r\n"),
        json.dumps([VIEW, ORDER]).encode(),
        json.dumps([VIEW, ORDER], indent=1).encode(),
        b"\xef\xbb\xbf [ " + dumped(VIEW, ORDER, separator=" \t, ") + b" ] \n",
    ],
    ids=["lines", "blank end", "crlf", "array", "indented array", "mark and spaces"],
)
def test_each_shape_gives_the_same_records(body: bytes) -> None:
    lines = to_log_lines(body, RECEIVED_MS)
    assert [(line.account, line.type) for line in lines] == [
        ("acc-1", "view"),
        ("acc-2", "order.purchase"),
    ]
    assert [json.loads(line.line) for line in lines] == [
        VIEW | {"received": RECEIVED_MS},
        ORDER | {"received": RECEIVED_MS},
    ]


def test_a_record_is_kept_to_the_byte() -> None:
    raw = b'{ "note": 1.50e+2, "type":"view" ,"time":1,"account":"\\u0061","device":"d",'
    raw += b'"session":"s","content":"c","kind":"k","state":"playing"  }'
    (line,) = to_log_lines(raw, RECEIVED_MS)
    assert line.line == raw[:-1] + STAMP
    assert line.account == "a"


@pytest.mark.parametrize("indent", [None, 2])
def test_one_object_may_stand_on_many_lines(indent: int | None) -> None:
    (line,) = to_log_lines(json.dumps(VIEW, indent=indent).encode(), RECEIVED_MS)
    assert json.loads(line.line) == VIEW | {"received": RECEIVED_MS}
    assert b"\n" not in line.line


@pytest.mark.parametrize("received", [5, "2026-01-01T00:00:00Z", "yesterday", None, {}, 10**30])
def test_a_sender_is_not_believed_about_received(received: Any) -> None:
    (line,) = to_log_lines(dumped({"received": received} | VIEW), RECEIVED_MS)
    usage = read_line(line.line)
    assert usage.type == schemas.VIEW
    assert usage.received_ms == RECEIVED_MS
    assert line.account == "acc-1"


def test_records_that_break_a_rule_stay_for_the_log_to_judge() -> None:
    bodies = [dumped(VIEW | {"state": "dancing"}), b"{}", b"not json", b"5", b'{"type":7}']
    lines = to_log_lines(b"\n".join(bodies), RECEIVED_MS)
    assert [line.account for line in lines] == ["acc-1", "", "", "", ""]
    assert [line.line for line in lines][1:4] == [b'{"received":1767225600000}', b"not json", b"5"]
    assert all(read_line(line.line).malformed for line in lines)


def test_a_line_end_inside_a_text_is_not_mended() -> None:
    for body in (b'[{"type":"vi\new"}]', b'{"type":"vi\new"}'):
        lines = to_log_lines(body, RECEIVED_MS)
        assert all(read_line(line.line).malformed or b"suspended" in line.line for line in lines)
        assert lines


def test_texts_that_hold_brackets_do_not_cut_a_record() -> None:
    tricky = VIEW | {"content": '},{ "', "device": "[},\n{]"}
    lines = to_log_lines(json.dumps([tricky, VIEW, tricky]).encode(), RECEIVED_MS)
    assert [json.loads(line.line)["content"] for line in lines] == ['},{ "', "ch-1", '},{ "']


def test_an_array_keeps_what_stands_before_its_mistake() -> None:
    body = b"[" + dumped(VIEW, 5, "text", [1], separator=",") + b',{"a":}, {}]'
    *lines, rest = to_log_lines(body, RECEIVED_MS)
    assert [line.line for line in lines[1:]] == [b"5", b'"text"', b"[1]"]
    assert json.loads(rest.line)["reason"] == "malformed"
    assert "from its character" in json.loads(rest.line)["detail"]


@pytest.mark.parametrize("body", [b"[", b"[1", b"[1,", b"[,]", b"[1]]", b"[{}", b"[" * 5000])
def test_a_broken_array_loses_nothing(body: bytes) -> None:
    assert to_log_lines(body, RECEIVED_MS)


@pytest.mark.parametrize("body", [b"", b"  \n", b"[]", b" [ \n] "])
def test_nothing_comes_to_nothing(body: bytes) -> None:
    assert to_log_lines(body, RECEIVED_MS) == []


PIECES = st.sampled_from(
    [b"{", b"}", b"[", b"]", b",", b"\n", b'"', b"\\", b" ", b"\xff", dumped(VIEW), dumped(ORDER)]
)


@settings(max_examples=200)
@given(st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=40))
def test_whatever_comes_in_ends_as_lines(body: bytes) -> None:
    for line in to_log_lines(body, RECEIVED_MS):
        assert b"\n" not in line.line
        usage = read_line(line.line)
        assert usage.malformed or usage.received_ms == RECEIVED_MS
        if not usage.malformed:
            assert usage.texts["account"] == line.account
