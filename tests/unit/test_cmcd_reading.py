"""CMCD is read as the standard says, and what players send against it as it was meant."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import http_sf
import pytest
from cmcd_records import STANDARD, VECTORS

from ingest import cmcd
from ingest.cmcd import Item, Record, Rejected, Token
from ingest.cmcd.quick import read_quickly
from ingest.cmcd.reading import CHARACTERS_MAX, read_exactly
from ingest.cmcd.structured import InnerList, NotStructured, read_dictionary

REQUESTS = json.loads((VECTORS / "standard_requests.json").read_text())
LIBRARIES = json.loads((VECTORS / "libraries.json").read_text())
SENDERS = json.loads((VECTORS / "senders.json").read_text())


def plain(text: str) -> dict[str, Any]:
    """A dictionary as http-sf reads it, in the shapes of this codec."""

    def shaped(value: Any) -> Any:
        if isinstance(value, list):
            return InnerList(tuple(Item(bare(v), named(p)) for v, p in value))
        return bare(value)

    def bare(value: Any) -> Any:
        return Token(str(value)) if isinstance(value, http_sf.Token) else value

    def named(parameters: Any) -> tuple[tuple[str, Any], ...]:
        return tuple((name, bare(value)) for name, value in parameters.items())

    read: Any = http_sf.parse(text.encode(), tltype="dictionary")
    return {
        name: shaped(value)._replace(parameters=named(parameters))
        if isinstance(value, list)
        else Item(shaped(value), named(parameters))
        for name, (value, parameters) in read.items()
    }


@pytest.mark.parametrize(("section", "text"), STANDARD)
def test_records_of_the_standard_are_read_whole(section: str, text: str) -> None:
    record = cmcd.read_record(text)
    assert record.notes == ()
    assert record.version == 2
    assert read_dictionary(text) == plain(text)
    for name, member in plain(text).items():
        value = member.items if isinstance(member, InnerList) else member.value
        assert record.values[name] == value
        assert isinstance(record.values[name], Token) == isinstance(value, Token)
    assert record == read_exactly(text) == read_quickly(text)


def test_the_standard_has_this_many() -> None:
    assert len(STANDARD) == 42
    assert len({text for _, text in STANDARD}) == 35  # 8.3 is 8.2.2 in one body


@pytest.mark.parametrize("request_", REQUESTS)
def test_requests_of_the_standard_are_the_same_either_way(request_: dict[str, Any]) -> None:
    by_query = cmcd.read_query(request_["query"])
    by_headers = cmcd.read_headers(request_["headers"])
    assert by_query is not None
    assert by_headers is not None
    assert by_query.values == by_headers.values
    assert cmcd.write_record(by_query) in {text for _, text in STANDARD}
    assert cmcd.write_query(by_headers) == request_["query"]
    assert cmcd.write_headers(by_query) == request_["headers"]


def test_the_body_of_the_standard_is_its_records() -> None:
    batch = [text for section, text in STANDARD if section == "8.3"]
    single = [cmcd.read_record(text) for section, text in STANDARD if section == "8.2.2"]
    assert cmcd.read_body("\n".join(batch).encode()) == single
    assert cmcd.read_body("  \r\n".join(batch).encode() + b"\r\n\n  \n") == single
    assert cmcd.read_body(cmcd.write_body(single)) == single


# --- libraries ------------------------------------------------------------------------------------


def test_the_common_media_library_sends_version_1() -> None:
    record = cmcd.read_record(LIBRARIES["cml_v1"]["text"])
    assert record.version == 1
    assert record.notes == ()
    assert record.values["com.example-quote"] == '"Quote"'
    assert record.values["com.example-token"] == Token("s")
    assert record.values["com.example-exists"] is True
    assert record.values["nor"] == "..%2Ftesting%2F3.m4v"
    assert cmcd.write_record(record) == LIBRARIES["cml_v1"]["text"]
    upgraded = cmcd.upgraded(record)
    assert upgraded.values["bl"] == (Item(5000),)
    assert upgraded.values["nor"] == (Item("../testing/3.m4v"),)
    assert upgraded.values["rtp"] == 8000
    assert cmcd.downgraded(upgraded).values == record.values


@pytest.mark.parametrize("name", ["cml_v2_request", "cml_v2_event", "cml_v2_response"])
def test_the_common_media_library_sends_version_2(name: str) -> None:
    vector = LIBRARIES[name]
    record = cmcd.read_record(vector["text"])
    assert sorted(note.key for note in record.notes) == vector["noted"]
    assert record.version == 2
    assert cmcd.read_record(cmcd.write_record(record)).values == record.values


def test_the_common_media_library_sends_headers() -> None:
    vector = LIBRARIES["cml_v2_request"]
    record = cmcd.read_headers(vector["headers"])
    assert record is not None
    assert record.values == cmcd.read_record(vector["text"]).values


def test_media3_sends_headers() -> None:
    vector = LIBRARIES["media3_v1"]
    record = cmcd.read_headers(vector["headers"])
    assert record is not None
    assert record.notes == ()
    assert record.values["pr"] == Decimal(2)
    assert record.values == cmcd.read_record(vector["text"]).values
    assert cmcd.write_headers(record)["CMCD-Session"] == vector["headers"]["CMCD-Session"].replace(
        "2.00", "2.0"
    )


def test_media3_names_the_next_range() -> None:
    vector = LIBRARIES["media3_next_range"]
    record = cmcd.read_record(vector["text"])
    assert cmcd.write_record(record, version=2) == vector["upgraded"]
    assert cmcd.write_record(cmcd.upgraded(record), version=1) == vector["text"]


# --- senders --------------------------------------------------------------------------------------


@pytest.mark.parametrize("sender", SENDERS, ids=[sender["about"] for sender in SENDERS])
def test_what_shipping_players_send_is_read_as_it_was_meant(sender: dict[str, str]) -> None:
    record = cmcd.read_record(sender["text"])
    assert cmcd.write_record(record) == sender["read"]
    assert record.notes
    assert cmcd.read_record(sender["read"]).notes == ()
    assert set(record.notes) <= set(cmcd.find_faults(record))


def test_an_integer_of_16_digits_is_kept_with_a_note() -> None:
    record = cmcd.read_record("e=t,ts=1764752400000000,v=2")
    assert record.values["ts"] == 1764752400000000
    assert [note.key for note in record.notes] == ["", "ts"]


def test_a_string_that_is_not_ascii_is_kept_with_a_note() -> None:
    (record,) = cmcd.read_body('cid="tv-ö",v=2'.encode())
    assert isinstance(record, Record)
    assert record.values["cid"] == "tv-ö"
    assert record.notes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "an empty record"),
        ("   ", "an empty record"),
        ("e=t,v=3", "version 3 of CMCD; 2 is the last one understood"),
        ("Hello, Sweden!", "no CMCD: expected a key at character 0, found 'Hello, Swede'"),
        ("=1,=2", "no CMCD: expected a key at character 0, found '=1,=2'"),
        (
            'url="' + "x" * CHARACTERS_MAX,
            f"{CHARACTERS_MAX + 5} characters, expected at most 65536",
        ),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(Rejected) as caught:
        cmcd.read_record(text)
    assert caught.value.reason == reason
    assert caught.value.raw == text.strip().encode()


def test_one_bad_line_costs_itself_only() -> None:
    body = b'e=t,ts=1764752400000,v=2\n\xff\xfe\ne=t,v=9\nsid="s",v=2'
    first, broken, later, last = cmcd.read_body(body)
    assert isinstance(first, Record)
    assert isinstance(broken, Rejected)
    assert (broken.reason, broken.raw) == ("no UTF-8 at byte 0", b"\xff\xfe")
    assert isinstance(later, Rejected)
    assert later.raw == b"e=t,v=9"
    assert isinstance(last, Record)


def test_a_long_unclosed_string_is_read_in_no_time() -> None:
    for text in ('"\\' * 30_000, "(" * 60_000, "a=(" * 20_000, 'a="' * 20_000, "," * 60_000):
        try:
            cmcd.read_record(text)
        except Rejected:
            continue


@pytest.mark.parametrize(
    "text",
    ["a=1.", "a=1.2345", "a=1234567890123456", 'a="', "a=(1", "a=(1  2", "A=1", "a,", "a=:x:", "é"],
)
def test_the_strict_reader_refuses_it(text: str) -> None:
    with pytest.raises(NotStructured):
        read_dictionary(text)


# --- ways in --------------------------------------------------------------------------------------


def test_headers_win_over_the_query() -> None:
    headers = [("Cmcd-Request", "su"), ("cmcd-session", 'sid="h",v=2'), ("Accept", "*/*")]
    query = "CMCD=sid%3D%22q%22%2Cbs"
    record = cmcd.read_request(headers, query)
    assert record is not None
    assert dict(record.values) == {"su": True, "sid": "h", "v": 2}
    record = cmcd.read_request({"Accept": "*/*"}, query)
    assert record is not None
    assert dict(record.values) == {"sid": "q", "bs": True}
    assert cmcd.read_request({}, "a=1&xcmcd=bs&CMCDs=su") is None


def test_a_key_counts_in_whichever_header_it_is() -> None:
    record = cmcd.read_headers(
        {"CMCD-Object": "pr=2,sta=p", "CMCD-Status": "", "CMCD-Session": "v=2"}
    )
    assert record is not None
    assert record.values["pr"] == Decimal(2)
    assert record.values["sta"] == Token("p")


def test_version_1_encodes_the_next_object_twice() -> None:
    query = "seg=3&CMCD=nor%3D%22..%252F300kbps%252Ftrack.m4v%22%2Csid%3D%22s%22"
    record = cmcd.read_query(query)
    assert record is not None
    assert record.values["nor"] == "..%2F300kbps%2Ftrack.m4v"
    assert cmcd.upgraded(record).values["nor"] == (Item("../300kbps/track.m4v"),)
    assert "seg=3&" + cmcd.write_query(record) == query


def test_a_space_in_the_query_may_be_a_plus() -> None:
    record = cmcd.read_query("CMCD=br%3D%285000%3Bv+320%3Ba%29%2Cv%3D2")
    assert record is not None
    assert record.values["br"] == (Item(5000, (("v", True),)), Item(320, (("a", True),)))


def test_version_1_travels_as_json() -> None:
    objects: list[Any] = [
        {"bl": 5000, "bs": True, "cid": "c", "pr": 1.5, "sf": "d", "st": "v", "nor": "a%2Fb"},
        {"br": [5000, 320], "e": "ps", "sta": "p", "ts": 1764752400000, "v": 2},
        {"sid": "s", "bl": None, "tb": {"v": 1}},
        {"v": 7},
        [],
        {},
    ]
    first, second, third, *bad = cmcd.read_json(json.dumps(objects).encode())
    assert isinstance(first, Record)
    assert first.notes == ()
    assert first.values["sf"] == Token("d")
    assert first.values["pr"] == Decimal("1.5")
    assert isinstance(second, Record)
    assert second.values["br"] == (Item(5000), Item(320))
    assert second.values["sta"] == Token("p")
    assert isinstance(third, Record)
    assert dict(third.values) == {"sid": "s"}
    assert [note.key for note in third.notes] == ["bl", "tb"]
    assert [str(rejected) for rejected in bad] == [
        "version 7 of CMCD; 2 is the last one understood",
        "element 4: expected a JSON object",
        "element 5: an empty record",
    ]
    assert cmcd.read_json(b'{"bs":true}') == [Record(1, {"bs": True})]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_rejected(body: bytes) -> None:
    with pytest.raises(Rejected, match="no JSON"):
        cmcd.read_json(body)


# --- ways out -------------------------------------------------------------------------------------


def test_keys_are_written_in_order() -> None:
    record = Record(2, {"v": 2, "sta": Token("p"), "bs": True, "com.a-b": "x"})
    assert cmcd.write_record(record) == 'bs,com.a-b="x",sta=p,v=2'


def test_headers_of_either_version() -> None:
    record = Record(2, {"pr": Decimal("1.5"), "sid": "s", "e": Token("t"), "com.a-b": "x", "v": 2})
    custom: Any = {"com.a-b": "CMCD-Session"}
    assert cmcd.write_headers(record) == {
        "CMCD-Request": 'com.a-b="x"',
        "CMCD-Status": "pr=1.5",
        "CMCD-Session": 'sid="s",v=2',
    }
    assert cmcd.write_headers(record, 1, custom) == {"CMCD-Session": 'com.a-b="x",pr=1.5,sid="s"'}


def test_version_1_keeps_the_pictures_value() -> None:
    record = cmcd.read_record("bl=(0;a 2000;v),br=(5000),bs=?0,mtp=(1;tt 2;a),pt=5,tb=(),v=2")
    assert cmcd.write_record(record, version=1) == "bl=2000,br=5000,mtp=1"


@pytest.mark.parametrize(
    "values",
    [{"cid": "ö"}, {"ts": 10**15}, {"sta": Token("a b")}, {"Big": True}, {"pr": Decimal("1e12")}],
)
def test_what_has_no_form_is_not_written(values: Any) -> None:
    with pytest.raises(ValueError):
        cmcd.write_record(Record(2, values))
