"""A frame written as database pages is, to SQLite, the database that it would have made."""

from __future__ import annotations

import sqlite3

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.sqlite_image import PAYLOAD_BYTES_MAX, TABLE, encode_image

EDGES = sorted(
    {
        sign * 2**bits + step
        for bits in (0, 7, 15, 23, 31, 47)
        for sign in (1, -1)
        for step in (-1, 0, 1)
    }
    | {2**63 - 1, -(2**63)}
)


def rows_of(image: bytes | None) -> list[tuple[object, ...]]:
    """Read an image back after SQLite has checked every page of it."""
    assert image is not None
    connection = sqlite3.connect(":memory:")
    connection.deserialize(image)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    rows = connection.execute(f"SELECT * FROM {TABLE} ORDER BY rowid").fetchall()
    connection.close()
    return rows


VALUE = st.one_of(st.none(), st.sampled_from(EDGES), st.integers(-(2**63), 2**63 - 1))
LENGTHS = st.sampled_from([0, 1, 56, 57, 58, 8_184, 8_185, 8_186, 20_000])
TEXT = st.one_of(st.none(), st.text(max_size=9), LENGTHS.map(lambda size: "t" * size))
BLOB = st.one_of(st.none(), st.binary(max_size=9), LENGTHS.map(lambda size: b"\xff" * size))


@given(st.lists(st.tuples(VALUE, TEXT, BLOB, VALUE), min_size=1, max_size=30))
def test_every_value_is_read_back(rows: list[tuple[object, ...]]) -> None:
    schema = {"a": pl.Int64, "b": pl.String, "c": pl.Binary, "d": pl.Int64}
    assert rows_of(encode_image(pl.DataFrame(rows, schema=schema, orient="row"))) == rows


@pytest.mark.parametrize("count", [1, 127, 128, 129, 5_000, 20_000])
def test_rows_fill_as_many_pages_as_they_need(count: int) -> None:
    frame = pl.DataFrame(
        {"n": range(count), "t": [f"{n}-" + "x" * (n % 300) for n in range(count)]}
    )
    assert rows_of(encode_image(frame)) == frame.rows()


def test_a_slice_of_a_frame_is_written_as_itself() -> None:
    frame = pl.DataFrame({"t": [f"text {n}" for n in range(100)], "n": range(100)})
    assert rows_of(encode_image(frame[40:60])) == frame[40:60].rows()
    assert rows_of(encode_image(pl.concat([frame[:3], frame[90:]], rechunk=False)))[3] == (
        "text 90",
        90,
    )


def test_a_row_too_long_for_a_page_and_no_rows_at_all_are_left_to_others() -> None:
    longest = PAYLOAD_BYTES_MAX - 4  # less the header: its length, and three bytes for the text's
    assert rows_of(encode_image(pl.DataFrame({"t": ["x" * longest]}))) == [("x" * longest,)]
    assert encode_image(pl.DataFrame({"t": ["x" * (longest + 1)]})) is None
    assert encode_image(pl.DataFrame({"t": ["x" * 40_000] * 6_501})) is None
    assert encode_image(pl.DataFrame(schema={"t": pl.String})) is None
