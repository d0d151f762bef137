"""Many records read to columns at once, against the exact reader one by one."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from cmcd_records import STANDARD, VECTORS
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cmcd_oracle import ANY_RECORD, SAID, SHARDS, mistreated

from ingest import cmcd
from ingest.cmcd import KEYS, Record, Rejected
from ingest.cmcd.columns import Columns, read_columns
from ingest.cmcd.quick import CHARACTERS_MAX
from ingest.cmcd.reading import read_exactly

ALL = tuple(KEYS)
INT64 = range(-(2**63) + 1, 2**63)


def exactly(text: str) -> Record | Rejected:
    try:
        return read_exactly(text.strip(" \t\r\n"))
    except Rejected as rejected:
        return rejected


def cell(key: str, value: Any) -> Any:
    """What stands in a column, told from a value in another way than the columns do."""
    kind = KEYS[key].kind
    if kind in ("integers", "strings"):
        items = value if isinstance(value, tuple) else (cmcd.Item(value),)
        if kind == "strings":
            return [str(item.value) for item in items]
        return [
            {
                "value": item.value if item.value in INT64 else None,
                "of": next((name for name, said in item.parameters[:1] if said is True), None),
            }
            for item in items
        ]
    if isinstance(value, Decimal):
        value = int(value.scaleb(3))
    if isinstance(value, str):
        return str(value)
    return value if value in INT64 else None


def assert_alike(texts: list[str], read: Columns, keys: tuple[str, ...] = ALL) -> None:
    """Each row is what the exact reader says of its text, and so is what it says of odd ones."""
    assert len(read.frame) == len(texts)
    for n, (text, row) in enumerate(zip(texts, read.frame.iter_rows(named=True), strict=True)):
        record = exactly(text)
        values = {} if isinstance(record, Rejected) else record.values
        expected = {key: cell(key, values[key]) if key in values else None for key in keys}
        assert repr(row) == repr(expected), text
        if n in read.exact:
            assert repr(read.exact[n]) == repr(record), text
            if isinstance(record, Rejected):
                assert read.exact[n].raw == record.raw  # type: ignore[union-attr]
        else:
            assert isinstance(record, Record), text
            assert not {note.key for note in record.notes} & {*keys, ""}, text


def check(texts: list[str], keys: tuple[str, ...] = ALL) -> Columns:
    read = read_columns(pl.Series(texts, dtype=pl.String), keys)
    assert_alike(texts, read, keys)
    return read


@given(st.lists(mistreated(), max_size=6))
@settings(max_examples=400)
def test_columns_are_what_the_exact_reader_reads(texts: list[str]) -> None:
    check(texts)


@given(st.lists(mistreated(), max_size=4), st.lists(st.sampled_from(ALL), unique=True, min_size=1))
@settings(max_examples=300)
def test_any_keys_may_be_asked_for(texts: list[str], keys: list[str]) -> None:
    check(texts, tuple(keys))


PAIRS = st.tuples(st.sampled_from([*KEYS, "com.a-b", "x", "X", "*a"]), SAID)
COMMAS = st.sampled_from([",", ", ", " ,", "\t,  ", ",\n", ",,"])


@given(st.lists(PAIRS, max_size=5), COMMAS, st.sampled_from(["", "v=1", "v=2", "v=3", 'v="2"']))
@settings(max_examples=600)
def test_any_key_with_any_value(pairs: list[tuple[str, str]], comma: str, version: str) -> None:
    members = [f"{name}={said}" if said else name for name, said in pairs]
    check([comma.join([*members, version] if version else members)])


@given(
    st.lists(SHARDS, max_size=12).map("".join), st.sampled_from(["", "bl=", "nor=", "pr=", "e="])
)
@settings(max_examples=600)
def test_any_text(text: str, before: str) -> None:
    check([before + text, before + text + ",v=2"])


@given(st.lists(st.none() | st.binary(max_size=20), max_size=4))
def test_any_bytes_are_read_as_a_body_is(lines: list[bytes | None]) -> None:
    texts = [line if line is None else line.replace(b"\n", b"") for line in lines]
    read = read_columns(pl.Series(texts, dtype=pl.Binary), ALL)
    for n, line in enumerate(texts):
        found = cmcd.read_body(line or b"")
        if line is None:
            assert n not in read.exact
        elif found:
            assert n not in read.exact or repr(read.exact[n]) == repr(found[0])
        else:
            assert isinstance(read.exact[n], Rejected)


@given(st.lists(ANY_RECORD, min_size=1, max_size=4))
def test_the_scanner_is_sure_of_what_follows_the_standard(records: list[Record]) -> None:
    texts = [cmcd.write_record(record) for record in records]
    read = check(texts)
    assert all("\\" in texts[row] for row in read.exact)


def test_the_standards_own_records() -> None:
    texts = [text for _, text in STANDARD]
    read = check(texts)
    odd = [texts[row] for row in read.exact]
    assert len(odd) <= len(texts) // 10, odd
    sliced = read_columns(pl.Series(texts)[3:9], ("ts", "cid", "br")).frame
    assert sliced.equals(read.frame.select("ts", "cid", "br")[3:9])


def test_what_real_players_have_sent() -> None:
    files = [(VECTORS / name).read_text("utf-8") for name in ("senders.json", "libraries.json")]
    texts = [text for file in files for text in strings_of(json.loads(file))]
    assert len(texts) > 20
    check(texts)


def strings_of(found: Any) -> list[str]:
    """All strings in a JSON value, whatever they are of."""
    if isinstance(found, str):
        return [found]
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    return [text for part in parts for text in strings_of(part)]


@pytest.mark.parametrize(
    ("text", "is_sure"),
    [
        ("d=999999999999999", True),
        ("d=9999999999999999", False),
        ("d=99999999999999999999", False),
        ("br=(99999999999999999999;v),v=2", False),
        ("pr=1.25", True),
        ("pr=-0.5", True),
        ("pr=123456789012.125", True),
        ("pr=1234567890123.125", False),
        ("pr=999999999999999", True),
        ("pr=1.2345", False),
        ("bl=(1 -2;v),v=2", True),
        ("bl=(1;v;a),v=2", False),
        ("bl=(1.5),v=2", False),
        ("bl=(1)", False),
        ("bl=1,v=2", False),
        ("pr=99999999999999999999", False),
        ("bl=()", False),
        ("bl=(),v=2", False),
        ("bl=(1;v=2),v=2", False),
        ('nor=("a";r="0-9" "b"),v=2', False),
        ("d=1,d=2", False),
        ("x=1,x=2,d=1", True),
        ('com.example-x=(1 "a");q,d=1', False),
        ('com.example-x=(1 "a" b;c=?1),d=1', True),
        ('cid="a\\"b"', False),
        ('cid="é"', False),
        ("e=zz,v=2", False),
        ("e=ps", False),
        ("sta=p,v=2", True),
        (f'url="{"a" * (CHARACTERS_MAX - 10)}",v=2', True),
        (f'url="{"a" * (CHARACTERS_MAX - 9)}",v=2', False),
    ],
)
def test_where_the_scanner_is_sure(text: str, is_sure: bool) -> None:
    assert (0 not in check([text]).exact) == is_sure


def test_a_key_that_the_standard_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="no keys of CMCD: zz"):
        read_columns(pl.Series(["d=1"]), ("d", "zz"))
    with pytest.raises(ValueError, match="no keys of CMCD were asked for"):
        read_columns(pl.Series(["d=1"]), ())


@pytest.mark.parametrize("texts", [[], [None], [None, None]])
def test_where_there_are_no_records_there_are_rows_of_nothing(texts: list[None]) -> None:
    read = read_columns(pl.Series(texts), ALL)
    assert read.frame.rows() == [(None,) * len(ALL)] * len(texts)
    assert read.exact == {}
    assert read.frame.schema == check(['d=1,d="\\"']).frame.schema
