"""The compiled reader of JSON lines, the exact one and the reference read every line the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from readers import check_exact_is_the_reference, check_readers_agree, row_values

from ingest.json_exact import TEXTS_OF_TYPES, read_line
from ingest.json_lines import decode_lines
from rating.schemas import MALFORMED, RECORD_TYPES, STATES

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

SPACE = st.sampled_from(["", "", "", "", " ", "\t", "\r", " \t "])
WORDS = st.sampled_from(
    ["a", "tv-1", "", "Åsa", "日本", "\U0001f4fa", "x" * 128, "é" * 129, "\x00", '"\\/']
)
TEXTS = st.builds(json.dumps, st.text(max_size=6) | WORDS, ensure_ascii=st.booleans())
INTEGERS = st.integers().map(str) | st.sampled_from(
    [
        "0",
        "-0",
        "28",
        "29",
        "1772812800000",
        "12345678",
        "123456789012345",
        "1234567890123456",
        "9999999999999999999",
        "253402128000000",
        "253402128000001",
        "-62135510400000",
        "-62135510400001",
        "1000000000000000",
        "-1000000000000001",
        "01",
        "-",
        "+1",
        "00",
    ]
)
NUMBERS = INTEGERS | st.sampled_from(
    [
        "1.0",
        "0.5",
        "-1.25",
        "1.5000",
        "1.0005",
        "1e0",
        "15E-1",
        "1e3",
        "1e7",
        "1e-4",
        "0e999",
        "1e400",
        "1e99999999999999999999",
        "1000000",
        "1000000.000",
        "1000000.001",
        "-1000000",
        "01.5",
        ".5",
        "1.",
        "1e",
        "-0.0",
        "1e+0",
        "NaN",
        "Infinity",
        "-Infinity",
        "0." + "0" * 400,
        "9" * 4301,
    ]
)
TIMES = st.sampled_from(
    [
        "2026-03-06T20:00:00Z",
        "2026-03-06t20:00:00.5z",
        "2026-03-06T20:00:00.123456+05:45",
        "1969-12-31T23:59:59.9999Z",
        "0001-01-01T00:00:00Z",
        "0001-01-02T00:00:00-00:00",
        "9999-12-31T23:59:59Z",
        "2024-02-29T00:00:00-23:59",
        "2026-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "2026-03-06T24:00:00Z",
        "2026-03-06T20:00:60Z",
        "2026-03-06T20:60:00Z",
        "2026-03-06T20:00:00",
        "2026-03-06T20:00:00+24:00",
        "2026-03-06T20:00:00+01:60",
        "2026-13-01T00:00:00Z",
        "2026-03-06T20:00:00.Z",
        "2026-03-06T20:00:00,5Z",
        "2026-03-06T20:00:00+0100",
        "2026-04-31T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2000-02-29T00:00:00Z",
        "2026-03-06T20:00Z",
        "2026",
        "2026-03-06 20:00:00Z",
        "202\u0666-03-06T20:00:00Z",
    ]
).map(json.dumps) | st.datetimes().map(
    lambda at: json.dumps(at.isoformat(timespec="milliseconds") + "+02:30")
)
AMOUNTS = st.sampled_from(
    [
        "0",
        "10.00",
        "007.5",
        "0.000001",
        "0.0000001",
        "1000000000",
        "1000000000.000001",
        "1e3",
        "-1",
        "+1",
        "1.",
        ".5",
        "1,5",
        "",
        "1" * 30,
        "0" * 30 + "1",
        "0.000000",
        "\u0661",
    ]
).map(json.dumps)
SCALARS = (
    TEXTS | NUMBERS | TIMES | AMOUNTS | st.sampled_from(["true", "false", "null", "nul", "trua"])
)
ODD = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda all_: f"[{', '.join(all_)}]")
        | st.lists(st.tuples(TEXTS, inner), max_size=3).map(
            lambda all_: "{" + ",".join(f"{key} : {value}" for key, value in all_) + "}"
        )
    ),
    max_leaves=6,
)
FIELD_VALUES: dict[str, SearchStrategy[str]] = {
    "time": TIMES | INTEGERS,
    "received": TIMES | INTEGERS,
    "state": st.sampled_from(STATES).map(json.dumps),
    "playhead_ms": INTEGERS,
    "rate": NUMBERS,
    "bill_day": INTEGERS,
    "amount": AMOUNTS,
}
# What a sender writes nearly always, and nearly always right.
PLAIN_TEXTS = st.sampled_from(["a", "tv-1", "ch-101", "Åsa", "日本", "\U0001f4fa"]).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
PLAIN_VALUES: dict[str, SearchStrategy[str]] = {
    "time": st.sampled_from(["1772812800000", "0", '"2026-03-06T20:00:00.25+01:00"']),
    "received": st.sampled_from(["1772812800123", "-1", '"1969-12-31T23:59:59.9999Z"']),
    "state": st.sampled_from(STATES[1:]).map(json.dumps),
    "playhead_ms": st.integers(-(10**15), 10**15).map(str),
    "rate": st.sampled_from(["1", "-0.5", "1.25", "0.001", "1000000"]),
    "bill_day": st.integers(1, 28).map(str),
    "amount": st.sampled_from(["10.00", "0", "0.000001", "1000000000"]).map(json.dumps),
}
MAY_BE_ABSENT = ["received", "playhead_ms", "rate", "bill_day", "quality", "region", "currency"]
STROKES = [bytes([byte]) for byte in b'"{}[],:\\/-+.019eEtTzZ \t\x00\x7f\x80\xc3\xff']
STROKES += [
    b"\\u00e9",
    b"\\ud83d",
    b"\\ud83d\\ude00",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x93\xba",
    b"\xc0\xaf",
]


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """One line: a usage record of one type, in half of the cases with something odd about it."""
    is_odd = draw(st.booleans())
    texts, values = (TEXTS, FIELD_VALUES) if is_odd else (PLAIN_TEXTS, PLAIN_VALUES)
    type_ = draw(st.sampled_from(RECORD_TYPES[1:]))
    names = ["type", "time", "account", "state", "amount"]
    names += [name for name, _ in TEXTS_OF_TYPES[type_].values()]
    names += draw(st.lists(st.sampled_from(MAY_BE_ABSENT), max_size=3))
    fields = [
        (f'"{name}"', json.dumps(type_) if name == "type" else draw(values.get(name, texts)))
        for name in names
    ]
    keys = texts
    if is_odd:
        keys |= st.sampled_from(names).map(lambda name: f'"\\u{ord(name[0]):04x}{name[1:]}"')
        keys |= st.sampled_from(names).map(lambda name: f'"{name}"')
    fields += draw(st.lists(st.tuples(keys, ODD), max_size=2))
    fields = draw(st.permutations(fields))
    space = [draw(SPACE) for _ in range(4)]
    inner = f",{space[0]}".join(f"{key}{space[1]}:{space[2]}{value}" for key, value in fields)
    line = f"{space[3]}{{{inner}}}{space[3]}".encode("utf-8", "surrogatepass").replace(b"\n", b"")
    for _ in range(draw(st.integers(0, 2)) if is_odd else 0):
        at = draw(st.integers(0, len(line)))
        stroke = draw(st.sampled_from(STROKES))
        line = line[:at] + stroke + line[at + draw(st.integers(0, 2)) :]
    return line


@settings(deadline=None, max_examples=120)
@given(st.lists(lines(), min_size=1, max_size=6))
def test_the_readers_agree(log: list[bytes]) -> None:
    check_readers_agree(log)


@settings(deadline=None, max_examples=120)
@given(st.lists(lines(), min_size=1, max_size=6))
def test_lines_do_not_colour_one_another(log: list[bytes]) -> None:
    together = decode_lines(b"\n".join(log), str)
    alone = [decode_lines(line, str) for line in log if line.strip(b" \t\r")]
    assert [row_values(together, row) for row in range(len(together.events))] == [
        row_values(batch, 0) for batch in alone
    ]


@settings(deadline=None, max_examples=400)
@given(lines())
def test_the_exact_reader_takes_what_the_spec_takes(line: bytes) -> None:
    check_exact_is_the_reference(read_line(line), line)


@given(st.binary(max_size=200))
def test_any_bytes_at_all_become_rows(raw: bytes) -> None:
    batch = decode_lines(raw, str)
    assert len(batch.events) == sum(1 for line in raw.split(b"\n") if line.strip(b" \t\r"))
    assert set(batch.malformed) == set(np.flatnonzero(batch.events["type"] == MALFORMED).tolist())
