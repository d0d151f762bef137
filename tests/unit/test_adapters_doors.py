"""Files and messages of other formats, through the doors of `rate`, `produce` and the worker."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner
from cloudevents.core.bindings import kafka
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from ingest.adapters.doors import (
    CloudEventsJson,
    OwnJson,
    UnknownFormat,
    door_of,
    message_lines,
    native_lines,
    read_lines,
)
from ingest.adapters.mapped_json import load_json_mapping
from ingest.json_exact import read_line
from rating.runtime.cli import main

if TYPE_CHECKING:
    from ingest.adapters.doors import Door

ROOT = Path(__file__).parents[2]
MAPPING = (ROOT / "examples/mappings/set-top-box.toml").read_text(encoding="utf-8")
EVENT = {
    "subscriber": {"no": 4711},
    "box": "STB-1",
    "tune": "t-9",
    "ts": 1767268800.25,
    "what": "TUNED",
    "service": {"id": "ch-101", "class": "LIVE"},
}
VIEW = {
    "device": "box",
    "session": "s1",
    "content": "ch-1",
    "kind": "channel",
    "state": "playing",
}
BOOK = """
[book]
id = "book"
currency = "EUR"
timezone = "UTC"
prices_include_tax = true
default_plan = "standard"
[tax]
"*" = "0"
[[plans]]
id = "standard"
mode = "postpaid"
[[plans.rules]]
id = "otherwise"
price = { model = "per_unit", amount = "36.00", unit = "hour" }
"""


def own(**changes: Any) -> dict[str, Any]:
    return {"events": [EVENT | changes]}


def cloud(second: int, **changes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "type": "tv.ratecast.view",
        "source": "/m",
        "id": str(second),
        "subject": "anna",
        "time": f"2026-01-01T12:00:{second:02}Z",
        "data": VIEW,
    } | changes


def lines(*documents: Any) -> bytes:
    return b"\n".join(json.dumps(document).encode() for document in documents) + b"\n"


def understood(raw: bytes | None, door: Door) -> list[dict[str, Any]]:
    return [json.loads(line) for line in native_lines(raw or b"", door).raw.splitlines()]


def test_own_json_comes_to_records_and_suspended_lines_in_its_order() -> None:
    door = OwnJson(load_json_mapping(MAPPING))
    raw = lines(own(), own(what="DANCING"), own(what="PING"), own(subscriber=None)) + b"{broken\n"
    first, second, third, fourth = understood(raw, door)
    assert (first["type"], first["account"], "received" in first) == ("view", "4711", False)
    assert [(one["type"], one["reason"]) for one in (second, third, fourth)] == [
        ("ingest.suspended", "malformed"),
        ("ingest.suspended", "unbound"),
        ("ingest.suspended", "malformed"),
    ]
    assert json.loads(base64.b64decode(second["raw"]))["what"] == "DANCING"
    assert base64.b64decode(fourth["raw"]) == b"{broken"
    assert not any("received" in one for one in (second, third, fourth))


def test_each_line_is_found_where_its_document_stood() -> None:
    door = OwnJson(load_json_mapping(MAPPING))
    two = {"events": [EVENT, EVENT]}
    raw = lines(two, own(what="PING")) + b"\n" + lines(own(what="DANCING"), own())
    starts = [0] + [at + 1 for at, byte in enumerate(raw) if byte == 10]

    def locate(at: int) -> str:
        return f"log:{starts.index(at) + 1}"

    batch = read_lines(np.frombuffer(raw, np.uint8), locate, door)
    assert [batch.locate(row) for row in range(len(batch.events))] == [
        "log:1",
        "log:1",
        "log:4",
        "log:5",
    ]
    assert list(batch.suspended_before) == [2]


def test_cloudevents_come_one_a_line_or_in_arrays() -> None:
    raw = lines(cloud(0), [cloud(1), cloud(2, type="other")], cloud(3, sampledrate=2)) + b"[{]"
    found = understood(raw, CloudEventsJson())
    assert [one["type"] for one in found[:2]] == ["view", "view"]
    assert [one.get("reason") for one in found[2:]] == ["malformed", "sampled", "malformed"]
    assert found[0]["account"] == "anna"


@pytest.mark.parametrize("mode", ["binary", "structured"])
def test_a_message_is_a_cloudevent_where_its_headers_say_so(mode: str) -> None:
    attributes = {"type": "view", "source": "/m", "id": "1", "partitionkey": "anna"}
    data = VIEW | {"time": "2026-01-01T12:00:00Z"}
    event = CloudEvent(attributes | {"datacontenttype": "application/json"}, data)
    write = kafka.to_binary if mode == "binary" else kafka.to_structured
    sent = write(event, JSONFormat())
    key = sent.key.encode() if isinstance(sent.key, str) else sent.key
    headers = [(name, bytes(value)) for name, value in sent.headers.items()]
    for door in (None, CloudEventsJson(), OwnJson(load_json_mapping(MAPPING))):
        value = message_lines(headers, sent.value, key, door)
        assert value is not None
        usage = read_line(value)
        assert (usage.malformed, usage.texts["account"]) == ("", "anna")
        assert b"received" not in value


def test_a_header_may_have_no_value() -> None:
    assert message_lines([("ce_specversion", None), ("content-type", None)], b"{}", None, None)
    assert message_lines([("content-type", None)], b"{}", None, None) == b"{}"


def test_a_message_without_headers_is_what_the_door_is_for() -> None:
    document = json.dumps(cloud(0), indent=1).encode()
    assert message_lines([], document, None, None) == document
    assert message_lines([("traceparent", b"1")], None, None, CloudEventsJson()) is None
    value = message_lines([("traceparent", b"1")], document, None, CloudEventsJson())
    assert value is not None
    assert read_line(value).malformed == ""


@pytest.mark.parametrize("format_", ["cloudevents", "own.toml", "usage"])
def test_rate_reads_each_format(
    format_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("book.toml").write_text(BOOK)
    Path("own.toml").write_text(MAPPING)
    stopped = VIEW | {"state": "stopped"}
    logs = {
        "cloudevents": lines(cloud(0), cloud(40, data=stopped), {"no": "event"}),
        "own.toml": lines(own(), own(ts=1767268840.25, what="STANDBY"), {"no": "event"}),
        "usage": b"".join(
            lines(VIEW | {"type": "view", "account": "anna", "time": time, "state": state})
            for time, state in ((1767268800000, "playing"), (1767268840000, "stopped"))
        )
        + b"{}\n",
    }
    Path("log.ndjson").write_bytes(logs[format_])
    rate = ["rate", "--tariffs", "book.toml", "--format", format_, "--json", "log.ndjson"]
    done = CliRunner().invoke(main, rate)
    assert done.exit_code == 0, done.output
    charges = CliRunner().invoke(main, ["export", "charges", "--format", "ndjson"])
    (charge,) = [json.loads(line) for line in charges.stdout.splitlines()]
    assert charge["watched_ms"] == 40_000
    suspense = CliRunner().invoke(main, ["export", "suspense", "--format", "ndjson"])
    (row,) = [json.loads(line) for line in suspense.stdout.splitlines()]
    assert row["source"] == "log.ndjson:3"
    again = CliRunner().invoke(main, rate)
    assert json.loads(again.stdout)["skipped"] == ["log.ndjson"]


def test_a_format_that_nobody_knows_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownFormat):
        door_of("xml")
    Path("book.toml").write_text(BOOK)
    Path("bad.toml").write_bytes(b"\xff")
    for format_, said in (
        ("xml", "'xml' is no format; give usage, cloudevents or a mapping file"),
        ("missing.toml", "missing.toml: No such file"),
        ("bad.toml", "it is not UTF-8"),
    ):
        done = CliRunner().invoke(
            main, ["rate", "--tariffs", "book.toml", "--format", format_, "log"]
        )
        assert done.exit_code in (1, 2)
        assert said in " ".join(done.output.split())
