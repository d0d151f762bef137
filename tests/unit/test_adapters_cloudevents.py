"""CloudEvents as the official SDK sends them, the specification's own examples, and broken ones."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from cloudevents.core.bindings import http, kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.cloudevents import Options, is_cloudevents, read_http, read_kafka

if TYPE_CHECKING:
    from ingest.adapters.canonical import Reading

AT = datetime(2026, 1, 1, 12, 0, 0, 250_000, tzinfo=UTC)
AT_MS = 1_767_268_800_250
VIEW = {
    "account": "acc-1",
    "device": "box",
    "session": "s1",
    "content": "ch-1",
    "kind": "channel",
    "state": "playing",
    "playhead_ms": 5,
}
ORDER = {"offer": "cup-final", "quality": "hd"}
STRUCTURED = [("Content-Type", "application/cloudevents+json; charset=utf-8")]
BATCH = [("Content-Type", "application/cloudevents-batch+json")]


def event(type_: str = "view", data: Any = VIEW, **attributes: Any) -> CloudEvent:
    return CloudEvent(
        {
            "type": type_,
            "source": "/middleware/eu-1",
            "id": "e-1",
            "time": AT,
            "datacontenttype": "application/json",
        }
        | attributes,
        data,
    )


def structured(**changes: Any) -> bytes:
    whole = {
        "specversion": "1.0",
        "type": "view",
        "source": "/m",
        "id": "1",
        "time": "2026-01-01T12:00:00.25Z",
        "data": VIEW,
    } | changes
    return json.dumps({name: value for name, value in whole.items() if value is not ...}).encode()


def sent(event: CloudEvent, mode: str) -> Reading:
    """What the SDK sends, read."""
    if mode.startswith("http"):
        to = http.to_binary if mode.endswith("binary") else http.to_structured
        message = to(event, JSONFormat())
        if mode == "http batch":
            return read_http(BATCH, b"[" + message.body + b"]")
        return read_http(message.headers.items(), message.body)
    to_kafka = kafka.to_binary if mode.endswith("binary") else kafka.to_structured
    sent_message = to_kafka(event, JSONFormat())
    key = sent_message.key
    return read_kafka(
        sent_message.headers.items(),
        sent_message.value,
        key.encode() if isinstance(key, str) else key,
    )


MODES = ["http structured", "http binary", "http batch", "kafka structured", "kafka binary"]


@pytest.mark.parametrize("mode", MODES)
def test_the_sdk_sends_a_view(mode: str) -> None:
    reading = sent(event("tv.ratecast.view"), mode)
    assert reading.suspended.to_dicts() == []
    (row,) = reading.usage.to_dicts()
    found = {name: value for name, value in row.items() if value is not None}
    assert found == VIEW | {"type": "view", "time": AT_MS}


@pytest.mark.parametrize("mode", MODES)
def test_the_sdk_sends_an_order_known_by_its_envelope(mode: str) -> None:
    reading = sent(event("order.purchase", ORDER, subject="kund å/1 %"), mode)
    (row,) = reading.usage.to_dicts()
    assert row["account"] == "kund å/1 %"
    assert row["id"] == "/middleware/eu-1 e-1"
    assert row["offer"] == "cup-final"


@pytest.mark.parametrize("mode", MODES)
def test_a_partition_key_names_the_account_last(mode: str) -> None:
    order = event("order.purchase", ORDER, partitionkey="acc-9")
    assert sent(order, mode).usage["account"].to_list() == ["acc-9"]


@pytest.mark.parametrize("mode", MODES)
def test_a_session_that_nobody_is_bound_to_names_no_account(mode: str) -> None:
    data = {name: value for name, value in VIEW.items() if name != "account"}
    reading = sent(event("view", data, subject="sid:77", partitionkey="77"), mode)
    assert reading.usage["account"].to_list() == [None]


@pytest.mark.parametrize("mode", MODES)
def test_sampled_events_are_refused(mode: str) -> None:
    reading = sent(event(sampledrate=10), mode)
    (row,) = reading.suspended.to_dicts()
    assert (row["reason"], row["account"], row["time"]) == ("sampled", "acc-1", AT_MS)
    assert "sampledrate is 10" in row["detail"]
    assert sent(event(sampledrate=1), mode).usage.height == 1


def test_what_the_data_says_counts_before_the_envelope() -> None:
    data = ORDER | {"account": "acc-1", "id": "o-1", "time": 1_767_268_800_000}
    (row,) = sent(event("order.purchase", data, subject="other"), "http binary").usage.to_dicts()
    assert (row["account"], row["id"], row["time"]) == ("acc-1", "o-1", 1_767_268_800_000)


def test_ids_of_two_sources_never_meet() -> None:
    ids = set()
    for source, id_ in [("/a", "b c"), ("/a/b", "c"), ("/a", "b/c"), ("/b", "1"), ("/a", "1")]:
        body = structured(type="order.purchase", data=ORDER, source=source, id=id_, subject="x")
        ids |= set(read_http(STRUCTURED, body).usage["id"].to_list())
    assert len(ids) == 5


def test_a_batch_keeps_the_good_events() -> None:
    body = b"[" + b",\n".join(
        [structured(), b"5", structured(id=""), structured(type="click"), structured()]
    )
    reading = read_http(BATCH, body + b", {]")
    assert reading.usage.height == 2
    assert reading.suspended["reason"].to_list() == ["malformed"] * 4
    assert reading.suspended["raw"].to_list()[0] == b"5"
    assert reading.suspended["raw"].to_list()[-1] == b"{]"
    assert reading.suspended["account"].to_list() == [None, None, "acc-1", None]


def test_an_empty_batch_is_empty() -> None:
    reading = read_http(BATCH, b" [ ] ")
    assert (reading.usage.height, reading.suspended.height) == (0, 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": ...}, "specversion"),
        ({"source": ...}, "source"),
        ({"data": ...}, "the data is null"),
        ({"data": "text"}, "the data is"),
        ({"data": VIEW | {"type": "order.cancel"}}, "its data says"),
        ({"data": VIEW | {"state": "dancing"}}, "dancing"),
        ({"data": VIEW | {"playhead_ms": 1.5}}, "playhead_ms"),
        ({"time": ...}, '"time" is missing'),
        ({"time": "noon"}, '"time"'),
        ({"type": "tv.other.view"}, "expected one of"),
        ({"data": ..., "data_base64": "%%%"}, "data_base64"),
        ({"data_base64": "e30="}, "data_base64"),
        ({"sampledrate": 1.5}, "sampledrate"),
        ({"sampledrate": True}, "sampledrate"),
    ],
)
def test_a_broken_event_is_suspended_whole(changes: dict[str, Any], said: str) -> None:
    body = structured(**changes)
    reading = read_http(STRUCTURED, body)
    assert reading.usage.height == 0
    (row,) = reading.suspended.to_dicts()
    assert said in row["detail"]
    assert row["raw"] == body


def test_data_in_base64_is_read() -> None:
    encoded = base64.b64encode(json.dumps(VIEW).encode()).decode()
    body = structured(data=..., data_base64=encoded, datacontenttype="application/vnd.tv+json")
    assert read_http(STRUCTURED, body).usage["account"].to_list() == ["acc-1"]
    other = structured(data=..., data_base64=encoded, datacontenttype="application/xml")
    assert "application/xml" in read_http(STRUCTURED, other).suspended["detail"][0]


def test_null_is_as_good_as_nothing() -> None:
    encoded = base64.b64encode(json.dumps(VIEW).encode()).decode()
    for body in (
        structured(data_base64=None, sampledrate=None, subject=None),
        structured(data=None, data_base64=encoded),
        structured(data=VIEW | {"time": AT_MS}, time=None),
    ):
        assert read_http(STRUCTURED, body).usage["time"].to_list() == [AT_MS]


def test_headers_may_be_quoted_and_encoded() -> None:
    headers = [
        ("CE-SpecVersion", "1.0"),
        ("ce-type", '"view"'),
        ("ce-source", "/m"),
        ("ce-id", '"a \\"b\\" %E2%82%AC"'),
        ("ce-subject", "Euro%20%E2%82%AC%20%F0%9F%98%80"),  # the specification's own example
        ("ce-time", "2026-01-01T12:00:00Z"),
        ("Content-Type", "application/json"),
    ]
    data = {name: value for name, value in VIEW.items() if name != "account"}
    reading = read_http(headers, json.dumps(data).encode())
    assert reading.usage["account"].to_list() == ["Euro € 😀"]


def test_a_binary_event_that_is_refused_keeps_its_headers() -> None:
    headers = [("ce-specversion", "1.0"), ("ce-type", "view"), ("ce-id", "%FF")]
    (row,) = read_http(headers, b"{}").suspended.to_dicts()
    assert row["raw"] == b"ce-specversion: 1.0\r\nce-type: view\r\nce-id: %FF\r\n\r\n{}"
    assert "not UTF-8" in row["detail"]


def test_prefixes_are_the_operators() -> None:
    body = structured(type="com.example.tv.view")
    options = Options(type_prefixes=("com.example.tv.",), account_from=())
    assert read_http(STRUCTURED, body, options).usage.height == 1
    assert read_http(STRUCTURED, structured(), options).suspended.height == 1


def test_other_content_is_no_event() -> None:
    assert not is_cloudevents([("content-type", "application/json")])
    assert is_cloudevents(STRUCTURED)
    assert is_cloudevents([("CE-specversion", "1.0")])
    for headers in ([], [("content-type", "application/cloudevents+avro")]):
        assert read_http(headers, b"{}").suspended["reason"].to_list() == ["malformed"]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(
    st.dictionaries(
        st.sampled_from(
            ["specversion", "type", "id", "time", "data", "data_base64", "sampledrate", "subject"]
        ),
        JSON_VALUES,
    )
    | JSON_VALUES
)
def test_whatever_comes_is_a_row_or_suspended(changes: Any) -> None:
    body = structured(**changes) if isinstance(changes, dict) else json.dumps(changes).encode()
    reading = read_http(STRUCTURED, body)
    assert reading.usage.height + reading.suspended.height == 1


@given(
    st.binary(max_size=60), st.sampled_from([STRUCTURED, BATCH, [], [("ce-specversion", "1.0")]])
)
def test_bytes_of_any_kind_never_raise(body: bytes, headers: list[tuple[str, str]]) -> None:
    reading = read_http(headers, body)
    assert reading.usage.height == 0
    read_kafka([(name, value.encode()) for name, value in headers], body, body)
