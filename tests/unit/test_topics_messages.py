"""Rows as messages, and the partition that a key belongs to."""

from __future__ import annotations

import base64
import json

import polars as pl
import pytest
import stored
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from sinks.topics.messages import RAW_BYTES_MAX, decimal, message_keys, message_values
from sinks.topics.partitions import partitions_of


def numbered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_row_index("seq", offset=1).with_columns(pl.col("seq").cast(pl.Int64))


@given(st.lists(st.binary(max_size=70)), st.integers(1, 40))
def test_keys_go_where_kafkas_own_partitioner_sends_them(keys: list[bytes], count: int) -> None:
    expected = [(murmur2(key) & 0x7FFFFFFF) % count for key in keys]
    assert partitions_of(keys, count).tolist() == expected


@pytest.mark.parametrize(
    ("key", "hashed"),
    [(b"21", -973932308), (b"foobar", -790332482), (b"a-little-bit-long-string", -985981536)],
)
def test_the_hash_is_that_of_kafkas_own_tests(key: bytes, hashed: int) -> None:
    assert partitions_of([key], 2**31).tolist() == [hashed & 0x7FFFFFFF]


@given(st.integers(-(2**62), 2**62))
def test_an_amount_is_written_exactly(micros: int) -> None:
    (text,) = pl.DataFrame({"m": [micros]}).select(decimal(pl.col("m"), "d"))["d"]
    whole, _, places = text.partition(".")
    assert len(places) == 6
    assert int(whole + places) == micros


def test_odd_texts_stay_one_line_and_come_back() -> None:
    odd = 'a"b\\c\nd\te\u2028\x00é'
    charges = numbered(stored.charges(stored.charge(content=odd), stored.charge(session="s2")))
    first, second = (json.loads(value) for value in message_values("charges", charges))
    assert first["content"] == odd
    assert (first["seq"], second["seq"]) == (1, 2)
    assert first["owed"] == "5.000000"


def test_a_suspended_record_keeps_its_bytes_unless_no_broker_would_take_them() -> None:
    row = {"reason": "malformed", "detail": "long", "source": "a:1"}
    rows = numbered(
        stored.suspense(
            {**row, "raw": b"\xff" * RAW_BYTES_MAX}, {**row, "raw": b"x" * (RAW_BYTES_MAX + 1)}
        )
    )
    kept, left = (json.loads(value) for value in message_values("suspense", rows))
    assert base64.b64decode(kept["raw"]) == b"\xff" * RAW_BYTES_MAX
    assert left["raw"] is None
    assert left["raw_bytes"] == RAW_BYTES_MAX + 1
    assert message_keys(rows) == [None, None]


def test_nothing_is_no_message() -> None:
    assert message_values("signals", numbered(stored.signals())) == []
