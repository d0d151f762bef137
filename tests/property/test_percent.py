"""Percent-encoding taken off whole columns, against urllib, and CMCD found in the columns of a log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.cdn.mapping import load_cdn_mapping
from ingest.cdn.media import facts_of, unquoted
from ingest.cmcd import Rejected, find_arguments, read_record
from ingest.percent import decoded_arguments, decoded_texts
from ingest.text_columns import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PIECES = st.sampled_from(
    [
        "%",
        "%25",
        "%2",
        "%2B",
        "+",
        "%26",
        "&",
        "CMCD=",
        "cmcd=",
        "%3D",
        "=",
        "%22",
        "a",
        "%c3%a9",
        "%C3",
        "é",
        "%00",
        "CMCD",
        "%2526",
        "d=1",
        ";",
        "?",
        "/",
        "//",
        "%2F",
        "%zz",
        "%4",
        "%41",
        "%4a1",
    ]
)
TEXTS = st.lists(PIECES, max_size=10).map("".join)


@given(st.lists(st.none() | TEXTS, max_size=4), st.integers(0, 3))
@settings(max_examples=300)
def test_texts_are_decoded_as_urllib_does(texts: list[str | None], times: int) -> None:
    expected: list[bytes | None] = []
    for text in texts:
        raw = None if text is None else text.encode()
        for _ in range(times):
            raw = None if raw is None else unquote_to_bytes(raw)
        expected.append(raw)
    column = pl.Series(texts, dtype=pl.String)
    assert decoded_texts(texts_of(column), times).column().to_list() == expected


@given(st.lists(st.none() | TEXTS, max_size=4), st.integers(1, 3))
@settings(max_examples=400)
def test_arguments_are_those_that_urllib_finds(texts: list[str | None], times: int) -> None:
    """Wherever what is found is ASCII; the rest is decoded anew, one by one."""
    column = pl.Series(texts, dtype=pl.String)
    found, counts = decoded_arguments(texts_of(column), (b"CMCD",), times)
    for text, argument, count in zip(texts, found.column().to_list(), counts, strict=True):
        expected = find_arguments(unquoted(text or "", times - 1))
        assert count == len(expected)
        if argument is None:
            assert not expected
        elif argument.isascii():
            assert argument.decode() == expected[-1]


def test_a_column_may_be_a_part_of_another() -> None:
    column = pl.Series(["a", "x=1&CMCD=b%3D1", None, "CMCD=c"])[1:]
    found = decoded_arguments(texts_of(column), (b"CMCD",), 1).texts
    assert found.column().to_list() == [b"b=1", None, b"c"]
    assert found.at(2) == b"c"


CMCD = st.lists(
    st.sampled_from(
        [
            'sid="s"',
            'sid="a&b+c%"',
            'cid="é"',
            'cid="x,y"',
            "d=4000",
            "d=1.5",
            f"d={10**19}",
            "ot=v",
            "bl=(7;v 8),v=2",
            "bl=9",
            "pr=1.25",
            "pr=1.23456",
            f"pr={10**15}",
            "v=3",
            "su",
            "=",
            "",
        ]
    ),
    max_size=4,
).map(",".join)


def encoded(text: str, times: int) -> str:
    for _ in range(times):
        text = quote(text, safe="")
    return text


@given(st.none() | CMCD, st.none() | CMCD, st.integers(1, 3), st.integers(0, 2))
@settings(max_examples=400)
def test_cmcd_of_a_request_is_read_as_the_codec_reads_it(
    header: str | None, query: str | None, times: int, column_times: int
) -> None:
    """A column with headers goes before the query; a number beyond Int64 is none."""
    mapping = replace(
        load_cdn_mapping("cloudfront"),
        cmcd_columns=("h",),
        decodings=times,
        column_decodings=column_times,
    )
    row: dict[str, Any] = {
        "number": 7,
        "header_text": encoded(header, column_times) if header else None,
        "query": None if query is None else f"a=1&CMCD={encoded(query, times)}&b=CMCD",
    }
    schema = {"number": pl.Int64, "header_text": pl.String, "query": pl.String}
    facts, bad = facts_of(pl.DataFrame([row], schema=schema), mapping)
    text = header or query
    values: Mapping[str, Any] = {}
    if text is not None:
        try:
            values = read_record(text).values
        except Rejected as rejected:
            detail = f"its CMCD cannot be read: {rejected.reason}"
            assert bad.rows() == [(7, detail, None)]
    items = values.get("bl")
    numbers = {
        "d": values.get("d"),
        "rate_milli": None if "pr" not in values else int(values["pr"] * 1000),
        "bl": items[0].value if isinstance(items, tuple) else items,
    }
    expected = {key: values.get(key) for key in ("sid", "cid", "ot")}
    expected |= {name: n if n is None or n < 2**63 else None for name, n in numbers.items()}
    assert facts.row(0, named=True) == expected | {"has_cmcd": text is not None}
