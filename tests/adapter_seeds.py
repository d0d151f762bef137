"""Readers of other people's formats, each with documents to begin from and what must hold of it.

The documents are the samples of docs/senders, so what the manual shows is what is tried. A reader
takes any bytes and returns how many things came out of them; it raises where something is wrong.
"""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ingest.adapters import bulk_data, cloudevents, mapped_json, native
from ingest.adapters.bulk_data import Arrival, Owner
from ingest.adapters.canonical import to_log_lines
from ingest.adapters.cmcd import Bound, Trace, adapt_body, adapt_request
from ingest.adapters.doors import CloudEventsJson, OwnJson, message_lines, native_lines
from ingest.cdn.dataset import read_block
from ingest.cdn.mapping import load_cdn_mapping
from ingest.cdn.readers import LogReader
from ingest.json_exact import read_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ingest.adapters.canonical import LogLine

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```([a-z]*).*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
NOW_MS = 1_772_900_000_000
BINDING = Bound("anna", "tv", "s1", kind="vod")
OWNER = Owner("anna")
QUERY = "oui=00256D&pc=Z&sn=Y"


def samples(page: str, word: str) -> list[str]:
    """The blocks of a page of docs/senders that are of some language."""
    text = (ROOT / "docs/senders" / f"{page}.md").read_text(encoding="utf-8")
    return [body for found, body in BLOCK.findall(text) if found == word]


def mapping_file(name: str) -> mapped_json.JsonMapping:
    """A mapping of the examples, which skips nothing."""
    found = mapped_json.open_json_mapping(ROOT / "examples/mappings" / name)
    return replace(found, skip=())


OWN = replace(mapped_json.load_json_mapping(samples("own-json", "toml")[0]), skip=())
BOXES = mapping_file("tr135-events.toml")


def checked(lines: Iterable[LogLine]) -> int:
    """How many lines there are; each is one that the log's reader reads, and on a line of its own."""
    count = 0
    for line in lines:
        assert b"\n" not in line.line
        read_line(line.line)
        json.loads(line.line)
        count += 1
    return count


# --- readers ---------------------------------------------------------------------------------------


def read_native(body: bytes) -> int:
    lines = native.to_log_lines(body, NOW_MS)
    for line in lines:
        read_line(line.line)
    assert lines or not body.strip(b" \t\r\n\xef\xbb\xbf[]")
    return len(lines)


def read_cloudevent(body: bytes) -> int:
    headers = [("content-type", "application/cloudevents+json")]
    count = checked(to_log_lines(cloudevents.read_http(headers, body), NOW_MS))
    assert count == 1
    return count


def read_binary_cloudevent(body: bytes) -> int:
    """The first line of the body is an attribute's value; the rest is the data."""
    value, _, data = body.partition(b"\n")
    attributes = {"specversion": b"1.0", "id": b"1", "source": b"/m", "type": b"view"}
    attributes |= {"time": value, "subject": value, "sampledrate": value}
    headers = [(f"ce_{name}", said) for name, said in attributes.items()]
    count = checked(to_log_lines(cloudevents.read_kafka(headers, data, value), NOW_MS))
    assert count == 1
    assert message_lines(headers, data, value, None)
    return count


def read_own_json(body: bytes) -> int:
    return checked(to_log_lines(mapped_json.read(body, OWN), NOW_MS))


def read_doors(body: bytes) -> int:
    """Each line that is no array comes to something, wherever it stands."""
    count = 0
    for door in (OwnJson(replace(OWN, documents=())), CloudEventsJson()):
        found = native_lines(body, door)
        lines = found.raw.split(b"\n") if found.raw else []
        assert len(lines) == len(found.origins)
        for line in lines:
            json.loads(line)
        singles = [one for one in body.split(b"\n") if one.strip() and b"[" not in one]
        assert len(lines) >= len(singles)
        count += len(lines)
    return count


def read_bulk(body: bytes, content_type: str, form: str) -> int:
    headers = [("Content-Type", content_type), ("BBF-Report-Format", form)]
    arrival = Arrival(NOW_MS, None)
    found = bulk_data.read(QUERY, headers, body, BOXES, OWNER, arrival=arrival)
    count = checked(to_log_lines(found.reading, NOW_MS))
    again = bulk_data.read(QUERY, headers, body, BOXES, OWNER, box=found.box, arrival=arrival)
    checked(to_log_lines(again.reading, NOW_MS))
    bulk_data.read(QUERY, headers, body, BOXES, Owner())
    return count + len(found.counters)


def read_bulk_json(body: bytes) -> int:
    return read_bulk(body, "application/json", "NameValuePair")


def read_bulk_csv(body: bytes) -> int:
    return read_bulk(body, "text/csv", "") + read_bulk(body, "text/csv", "ParameterPerRow")


def read_cmcd(body: bytes, media: str = "application/cmcd") -> int:
    found = adapt_body(body, BINDING, NOW_MS, media=media, sent_ms=NOW_MS - 5, trace=Trace())
    count = checked(found.log_lines(NOW_MS)) + sum(found.ignored.values())
    checked(to_log_lines(found.reading, NOW_MS))
    if media == "application/cmcd":
        assert count >= sum(1 for line in body.split(b"\n") if line.strip(b" \t\r"))
    adapt_body(body, BINDING, NOW_MS, media=media, trace=found.trace)
    checked(adapt_body(body, None, NOW_MS, media=media).log_lines(NOW_MS))
    return count


def read_cmcd_json(body: bytes) -> int:
    return read_cmcd(body, "application/json")


def read_cmcd_request(body: bytes) -> int:
    """As headers, and as an argument of a query that is not encoded."""
    text = body.decode("latin-1")
    count = 0
    for headers, query in (({"CMCD-Request": text}, ""), ({}, f"a=1&CMCD={text}")):
        found = adapt_request(headers, query, BINDING, NOW_MS)
        count += checked(found.log_lines(NOW_MS))
    return count


def cdn_reader(name: str) -> Callable[[bytes], int]:
    """A reader of a CDN's log."""
    mapping = load_cdn_mapping(name)

    def read(body: bytes) -> int:
        media, rest = read_block(body, LogReader(mapping), mapping, "log")
        assert len(media) + rest.uncounted + len(rest.rows) <= rest.lines
        if mapping.shape != "w3c":
            lines = [line.removesuffix(b"\r") for line in body.split(b"\n")]
            assert rest.lines == sum(1 for line in lines if line)
        assert media["media_ms"].is_between(1, 24 * 3_600_000).all()
        assert media["time"].is_between(0, 7_258_118_400_000).all()
        return rest.lines

    return read


# --- documents to begin from -----------------------------------------------------------------------


class Target(NamedTuple):
    """A reader, and bytes that it is made for. is_json: whether they are JSON, a value a line."""

    read: Callable[[bytes], int]
    seeds: list[bytes]
    is_json: bool = False


def one_line(text: str) -> bytes:
    """JSON on one line."""
    return json.dumps(json.loads(text)).encode()


def bulk_csvs() -> list[bytes]:
    """The sample of bulk data in both forms of CSV, with several separators."""
    values = json.loads(samples("bulk-data", "json")[0])["Report"][0]
    time = values.pop("CollectionTime")
    columns = [["ReportTimestamp", *values], [time, *values.values()]]
    header = ["ReportTimestamp", "ParameterName", "ParameterValue", "ParameterType"]
    rows = [header, *([time, name, value, "string"] for name, value in values.items())]
    found = []
    for table in (columns, rows):
        for delimiter, end in ((",", "\r\n"), (";", "\n"), ("\t", "|")):
            out = io.StringIO()
            csv.writer(out, delimiter=delimiter, lineterminator=end).writerows(table)
            found.append(out.getvalue().encode())
    return found


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Names with dots between as objects inside one another."""
    whole: dict[str, Any] = {}
    for path, value in flat.items():
        *way, last = path.split(".")
        inner = whole
        for step in way:
            inner = inner.setdefault(step, {})
        inner[last] = value
    return whole


BULK = one_line(samples("bulk-data", "json")[0])
HIERARCHY = json.dumps({"Report": [nested(one) for one in json.loads(BULK)["Report"]]}).encode()
CMCD_LINES = [line.encode() for block in samples("cmcd", "cmcd") for line in block.splitlines()]
CMCD_JSON = json.dumps(
    [
        {"e": "ps", "sta": "p", "ts": NOW_MS, "v": 2, "cid": "c", "sid": "s1", "sn": 0, "pt": 5},
        {"br": [3000], "pr": 1.5, "st": "v", "bl": 100, "d": 4000, "nor": "a", "msd": 9},
    ]
).encode()
CDN = {
    "bunny": b"HIT|206|1767614400000|1000|390|192.0.2.1|-|https://tv.example/a?CMCD=d%3D4000%2Cot%3D"
    b"v%2Csid%3D%22s1%22|WA|Mozilla/5.0|req0|DE",
    "cloudflare": b'{"EdgeEndTimestamp":"2026-01-05T12:00:00Z","EdgeResponseStatus":206,'
    b'"ClientRequestHost":"tv.example","RayID":"r","EdgeResponseBytes":1000,'
    b'"ClientRequestURI":"/a?CMCD=d%3D4000%2Cot%3Dv%2Csid%3D%22s1%22"}',
    "akamai-datastream2": b'{"reqTimeSec":"1767614400.1","statusCode":"200","reqHost":"tv.example",'
    b'"reqPath":"/a","queryStr":"cmcd=//1.0@V/d=4000,ot=v,sid=%22s1%22","reqId":"r","bytes":"10"}',
    "cloudfront": b"#Fields: date time sc-status cs-uri-stem cs-uri-query x-edge-request-id\n"
    b"2026-01-05\t12:00:00\t200\t/a\tCMCD=d%253D4000%252Cot%253Dv%252Csid%253D%2522s1%2522\tr",
    "combined": b'192.0.2.1 - - [05/Jan/2026:12:00:00 +0000] "GET /a?CMCD=d%3D4000%2Cot%3Dv%2Csid%3D'
    b'%22s1%22 HTTP/1.1" 206 1000 "-" "Mozilla \\"x\\""',
}

TARGETS = {
    "native": Target(read_native, [samples("native", "json")[0].encode()], is_json=True),
    "cloudevent": Target(read_cloudevent, [one_line(samples("cloudevents", "json")[0])], True),
    "binary cloudevent": Target(
        read_binary_cloudevent, [b"2026-01-01T12:00:00Z\n" + b'{"device":"tv","state":"playing"}']
    ),
    "own json": Target(read_own_json, [one_line(samples("own-json", "json")[0])], True),
    "doors": Target(
        read_doors, [one_line(samples("cloudevents", "json")[0]), b'{"what":"TUNED"}'], True
    ),
    "bulk json": Target(read_bulk_json, [BULK, HIERARCHY], is_json=True),
    "bulk csv": Target(read_bulk_csv, bulk_csvs()),
    "cmcd": Target(read_cmcd, [*CMCD_LINES, b"\n".join(CMCD_LINES)]),
    "cmcd json": Target(read_cmcd_json, [CMCD_JSON], is_json=True),
    "cmcd request": Target(read_cmcd_request, CMCD_LINES),
    **{
        name: Target(cdn_reader(name), [line], is_json=line.startswith(b"{"))
        for name, line in CDN.items()
    },
}


def leaves(text: bytes) -> list[tuple[int, int]]:
    """Where each scalar of a JSON text stands that is no key of an object."""
    scalars = re.finditer(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null', text)
    return [one.span() for one in scalars if not re.match(rb"\s*:", text[one.end() :])]
