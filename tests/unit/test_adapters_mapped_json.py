"""An operator's own JSON, read by a mapping file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.mapped_json import load_json_mapping, read
from ingest.adapters.mapping_files import MappingError

EXAMPLE = Path(__file__).parents[2] / "examples/mappings/set-top-box.toml"
MAPPING = load_json_mapping(EXAMPLE.read_text(encoding="utf-8"), EXAMPLE.name)
EVENT = {
    "subscriber": {"no": 4711},
    "box": "STB-1",
    "tune": "t-9",
    "ts": 1767268800.25,
    "what": "TUNED",
    "service": {"id": "ch-101", "class": "LIVE"},
    "hd": True,
}
NOON = 1_767_268_800_000
PLAIN = """
[mapping]
id = "plain"
[[records]]
type = "view"
[records.fields]
account = "a"
time = { path = ["t.sent", "t.made"], unit = "%s" }
device = { constant = "box" }
session = "s"
content = 'c\\.id'
kind = { path = "k", constant = "channel" }
state = { path = "st", words = { 1 = "playing", 0 = "stopped" } }
rate = "speed"
"""


def body(*events: Any) -> bytes:
    return json.dumps({"events": events}).encode()


def plain(unit: str = "ms", **document: Any) -> dict[str, Any]:
    mapping = load_json_mapping(PLAIN % unit)
    whole = {"a": "acc", "t": {"made": NOON}, "s": "s", "c.id": "ch", "st": 1} | document
    reading = read(json.dumps(whole).encode(), mapping)
    assert reading.suspended.to_dicts() == []
    (row,) = reading.usage.to_dicts()
    return {name: value for name, value in row.items() if value is not None}


def test_the_example_reads_what_its_comment_shows() -> None:
    reading = read(body(EVENT, EVENT | {"what": "PING"}), MAPPING)
    (row,) = reading.usage.to_dicts()
    assert reading.suspended.to_dicts() == []
    assert {name: value for name, value in row.items() if value is not None} == {
        "type": "view",
        "time": 1_767_268_800_250,
        "account": "4711",
        "device": "STB-1",
        "session": "t-9",
        "content": "ch-101",
        "kind": "channel",
        "quality": "hd",
        "state": "playing",
    }


def test_an_order_is_another_kind_of_document() -> None:
    bought = EVENT | {"what": "BOUGHT", "receipt": 12, "product": "cup", "ts": "2026-01-01T12:00Z"}
    late = bought | {"ts": "2026-01-01T12:00:00+01:00"}
    reading = read(body(bought, late), MAPPING)
    assert reading.usage.select("type", "id", "offer", "time").rows() == [
        ("order.purchase", "12", "cup", 1_767_265_200_000)
    ]
    assert 'field "time"' in reading.suspended["detail"][0]


@pytest.mark.parametrize(
    ("unit", "said", "time_ms"),
    [
        ("s", 1767268800, 1_767_268_800_000),
        ("s", 1767268800.9999, 1_767_268_800_999),
        ("s", "1573840000.000", 1_573_840_000_000),
        ("s", "01767268800", 1_767_268_800_000),
        ("ms", 1767268800005, 1_767_268_800_005),
        ("ms", 1.767268800005e12, 1_767_268_800_005),
        ("us", 1767268800000999, 1_767_268_800_000),
        ("ns", 1767268800000999999, 1_767_268_800_000),
        ("ns", "1767268800000999999", 1_767_268_800_000),
        ("s", 946684800.0001, 946_684_800_000),
        ("s", "2026-01-01T12:00:00Z", 1_767_268_800_000),
    ],
)
def test_units_are_exact(unit: str, said: Any, time_ms: int) -> None:
    assert plain(unit, t={"sent": said})["time"] == time_ms


def test_a_path_may_have_another_way_and_a_constant() -> None:
    row = plain(speed=1.5)
    assert (row["time"], row["device"], row["kind"], row["content"]) == (
        NOON,
        "box",
        "channel",
        "ch",
    )
    assert row["rate"] == "1.5"
    assert plain(k="vod", t={"sent": None, "made": NOON + 1}) | {"time": NOON + 1} == plain(
        k="vod", t={"made": NOON + 1}
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"what": "DANCING"}, "none of the [[records]]"),
        ({"service": {"id": "ch", "class": "FM"}}, "a word that the mapping of field kind lacks"),
        ({"ts": "soon"}, 'field "time"'),
        ({"ts": [1]}, "ts is an array"),
        ({"ts": 1e300}, "out of all bounds"),
        ({"ts": True}, "ts is true"),
        ({"box": ["x"]}, 'field "device" is an array'),
        ({"tune": ""}, 'field "session"'),
    ],
)
def test_what_a_document_lacks_is_said(change: dict[str, Any], said: str) -> None:
    reading = read(body(EVENT | change), MAPPING)
    (row,) = reading.suspended.to_dicts()
    assert reading.usage.height == 0
    assert said in row["detail"]
    assert row["reason"] == "malformed"
    assert json.loads(row["raw"]) == EVENT | change


def test_a_document_without_an_account_stays_unbound() -> None:
    nobody = {name: value for name, value in EVENT.items() if name != "subscriber"}
    assert read(body(nobody), MAPPING).usage["account"].to_list() == [None]


@pytest.mark.parametrize(
    ("text", "documents"),
    [
        (b'{"a":1}', 1),
        (b'{\n "a": 1\n}', 1),
        (b'{"a":1}\n\n{"a":2}\r\n', 2),
        (b'{"a":1},\n{"a":2}', 2),
        (b'{"a":}\n{"a":2}', 2),
        (b'[{"a":1},{"a":2}]', 2),
        (b'[{"a":1},{"a"', 2),
        (b"", 0),
        (b"\xff", 1),
    ],
)
def test_documents_come_in_four_shapes(text: bytes, documents: int) -> None:
    reading = read(text, load_json_mapping(PLAIN % "s"))
    assert reading.suspended.height == documents


def test_every_mistake_of_a_mapping_is_said_at_once() -> None:
    text = """
    [mapping]
    documents = 5
    colour = "red"
    [fields]
    acount = "a"
    [[skip]]
    [[records]]
    type = "view"
    when = { x = 5 }
    [records.fields]
    time = { path = "t", unit = "fortnight" }
    device = { constant = 1.5 }
    state = { path = "s", words = { on = "dancing" } }
    offer = "o"
    [[records]]
    type = "click"
    """
    with pytest.raises(MappingError) as caught:
        load_json_mapping(text, "own.toml")
    said = str(caught.value)
    for part in (
        "own.toml: mapping.id is missing",
        "mapping.documents has to be a text",
        "mapping.colour is not known here",
        "fields.acount is not known here",
        "skip[1].when is missing",
        "records[1].when.x has to be a text",
        "records[1].fields.time.unit is 'fortnight'",
        "records[1].fields.device.constant has to be",
        "records[1].fields.state.words.on is 'dancing'",
        "records[1].fields.offer is not known here",
        "records[1].fields.session is missing",
        "records[2].type is 'click'",
    ):
        assert part in said
    with pytest.raises(MappingError, match="it is not TOML"):
        load_json_mapping("[mapping", "own.toml")
    with pytest.raises(MappingError, match="at least one"):
        load_json_mapping('[mapping]\nid = "x"')


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(EVENT)), JSON_VALUES))
def test_any_document_is_a_row_or_suspended(change: dict[str, Any]) -> None:
    reading = read(body(EVENT | change), MAPPING)
    skipped = change.get("what") in ("BOOT", "PING")
    assert reading.usage.height + reading.suspended.height + skipped == 1


@given(st.binary(max_size=40))
def test_bytes_of_any_kind_never_raise(text: bytes) -> None:
    for mapping in (MAPPING, load_json_mapping(PLAIN % "s")):
        assert read(text, mapping).usage.height == 0


# --- clocks and whole viewings ----------------------------------------------------------------------

WHOLE = """
[mapping]
id = "whole"
[[records]]
type = "view"
[records.fields]
account = "a"
time = { path = "begin", %s }
device = { constant = "box" }
session = "s"
content = { constant = "ch" }
kind = { constant = "channel" }
playhead_ms = "at"
[records.span]
%s
"""


def whole(clock: str, span: str, **document: Any) -> list[tuple[int, str]]:
    mapping = load_json_mapping(WHOLE % (clock, span))
    reading = read(json.dumps({"a": "acc", "s": "s"} | document).encode(), mapping)
    assert reading.suspended.to_dicts() == []
    return reading.usage.select("time", "state").rows()


@pytest.mark.parametrize(
    ("clock", "said", "time_ms"),
    [
        ('unit = "100ns", since = "0001-01-01T00:00:00Z"', 639031536000000009, 1_767_556_800_000),
        ('unit = "100ns", since = "1601-01-01T00:00:00Z"', 134120304000019999, 1_767_556_800_001),
        ('unit = "100ns"', "17675568000000000", 1_767_556_800_000),
        ('zone = "Europe/Stockholm"', "2026-01-04 21:00:00", 1_767_556_800_000),
        ('zone = "Europe/Stockholm"', "2026-01-04T21:00:00.1239", 1_767_556_800_123),
        ('zone = "Europe/Stockholm"', "2026-01-04T20:00:00Z", 1_767_556_800_000),
        ('zone = "America/Los_Angeles"', "2026-07-04 13:00", 1_783_195_200_000),
        ('zone = "UTC"', 1_767_556_800_000, 1_767_556_800_000),
    ],
)
def test_times_of_other_clocks(clock: str, said: Any, time_ms: int) -> None:
    assert whole(clock, 'lasts = "d"', begin=said, d=0)[0] == (time_ms, "playing")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("2026-10-25 02:30:00", "comes twice"),
        ("2026-03-29 02:30:00", "never is"),
        ("2026-13-01 02:30:00", "is no time"),
        ("2026-03-29", 'field "time"'),
        ("0001-01-01 00:00:00", 'field "time"'),
    ],
)
def test_local_times_that_are_none_are_suspended(said: str, why: str) -> None:
    mapping = load_json_mapping(WHOLE % ('zone = "Europe/Stockholm"', 'lasts = "d"'))
    document = {"a": "acc", "s": "s", "begin": said, "d": 0}
    reading = read(json.dumps(document).encode(), mapping)
    (row,) = reading.suspended.to_dicts()
    assert why in row["detail"]
    assert reading.usage.height == 0


def test_a_document_tells_a_whole_viewing() -> None:
    begin_s, begin_ms = 1_772_798_400, 1_772_798_400_000
    until = 'until = { path = "end", unit = "s" }'
    assert whole('unit = "s"', until, begin=begin_s, end=begin_s + 150) == [
        (begin_ms, "playing"),
        (begin_ms + 60_000, "playing"),
        (begin_ms + 120_000, "playing"),
        (begin_ms + 150_000, "stopped"),
    ]
    by_length = 'lasts = { path = "d", unit = "s" }\nevery_s = 90'
    assert whole('unit = "s"', by_length, begin=begin_s, d="90.5") == [
        (begin_ms, "playing"),
        (begin_ms + 90_000, "playing"),
        (begin_ms + 90_500, "stopped"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        *({"d": said} for said in (-1, 86_401, None, "x", True, [])),
        *({"begin": "x"}, {"begin": None}, {"s": ""}, {"at": "x"}),
    ],
)
def test_a_viewing_that_is_none_is_suspended_once(change: dict[str, Any]) -> None:
    mapping = load_json_mapping(WHOLE % ('unit = "s"', 'lasts = { path = "d", unit = "s" }'))
    document = {"a": "acc", "s": "s", "begin": 1_772_798_400, "d": 60} | change
    reading = read(json.dumps(document).encode(), mapping)
    assert (reading.usage.height, reading.suspended.height) == (0, 1)


@pytest.mark.parametrize(
    ("clock", "span", "said"),
    [
        ('zone = "Mars/Olympus"', 'lasts = "d"', "expected one such as Europe/Stockholm"),
        ('since = "1601"', 'lasts = "d"', "expected a time such as"),
        ('unit = "s"', "every_s = 60", "or lasts has to be given"),
        ('unit = "s"', 'lasts = "d"\nuntil = "e"', "or lasts has to be given"),
        ('unit = "s"', 'lasts = "d"\nevery_s = 0', "every_s has to be an integer"),
        ('unit = "s"', 'lasts = "d"\nends = 0', "span.ends is not known here"),
    ],
)
def test_mistakes_of_clocks_and_spans_are_said(clock: str, span: str, said: str) -> None:
    with pytest.raises(MappingError, match=said):
        load_json_mapping(WHOLE % (clock, span))
