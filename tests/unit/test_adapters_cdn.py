"""Logs of CDNs: the same requests in the form of each, read as the same evidence."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.adapters.mapping_files import MappingError
from ingest.cdn.dataset import EvidenceError, delivered_hours, take_log
from ingest.cdn.mapping import load_cdn_mapping, read_cdn_mapping, shipped_names
from ingest.cdn.media import facts_of
from ingest.cdn.readers import LogReader
from ingest.cdn.requests import requests_of
from ingest.cmcd import Rejected, read_record

if TYPE_CHECKING:
    from pathlib import Path

AT_S = 1_767_268_800  # 2026-01-01T12:00:00Z
HOUR_MS = AT_S * 1000


def asked(n: int, **changes: Any) -> dict[str, Any]:
    """One request for a segment of four seconds."""
    cmcd = f'bl=12000,cid="ch-1",d=4000,ot=v,sid="s-1",nor="..%2Fseg{n + 1}.m4s"'
    return {
        "second": AT_S + 4 * n,
        "status": 200,
        "path": f"/live/seg{n}.m4s",
        "cmcd": cmcd,
        "id": f"req-{n}",
        "bytes": 1000 + n,
    } | changes


REQUESTS = [asked(n) for n in range(5)] + [
    asked(5, status=404),
    asked(6, cmcd='bl=12000,cid="ch-1",d=4000,ot=a,sid="s-1"'),
    asked(7, cmcd=""),
    asked(4, id="req-4b"),  # a retry of an object that had arrived
    asked(8, cmcd='cid="ch-2",d=4000,ot=av,pr=2,sid="s-2"'),
]
EXPECTED = [("s-1", "ch-1", HOUR_MS, 20_000, 20_000), ("s-2", "ch-2", HOUR_MS, 4_000, 2_000)]

CLOUDFRONT_FIELDS = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header "
    "cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher "
    "x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port "
    "time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len "
    "sc-range-start sc-range-end"
)


def query_of(request: dict[str, Any]) -> str:
    return f"CMCD={quote(request['cmcd'], safe='')}&x=1" if request["cmcd"] else "x=1"


def clock(request: dict[str, Any]) -> str:
    second = request["second"] - AT_S
    return f"12:{second // 60:02}:{second % 60:02}"


def cloudfront(requests: list[dict[str, Any]], fields: str = CLOUDFRONT_FIELDS) -> bytes:
    lines = ["#Version: 1.0", f"#Fields: {fields}"]
    for request in requests:
        known = {
            "date": "2026-01-01",
            "time": clock(request),
            "sc-bytes": str(request["bytes"]),
            "cs-method": "GET",
            "x-host-header": "tv.example",
            "cs-uri-stem": request["path"],
            "sc-status": f"{request['status']:03}",
            "cs-uri-query": query_of(request).replace("%", "%25"),
            "x-edge-request-id": request["id"],
        }
        lines.append("\t".join(known.get(name, "-") for name in fields.split()))
    return "\n".join(lines).encode() + b"\n"


def realtime(requests: list[dict[str, Any]]) -> bytes:
    mapping = load_cdn_mapping("cloudfront-realtime")
    lines = []
    for request in requests:
        known = {
            "timestamp": f"{request['second']}.000",
            "sc-status": str(request["status"]),
            "sc-bytes": str(request["bytes"]),
            "cs-method": "GET",
            "cs-host": "tv.example",
            "cs-uri-stem": f"{request['path']}?x=1",
            "x-edge-request-id": request["id"],
        }
        if request["cmcd"]:
            values = read_record(request["cmcd"]).values
            for key, name in mapping.cmcd_fields.items():
                if key in values:
                    known[name] = quote(str(values[key]))
        lines.append("\t".join(known.get(name, "-") for name in mapping.columns))
    return "\n".join(lines).encode()


def akamai(requests: list[dict[str, Any]]) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "version": 1,
                "reqTimeSec": f"{request['second']}.000",
                "statusCode": str(request["status"]),
                "reqMethod": "GET",
                "reqHost": "tv.example",
                "reqPath": request["path"],
                "queryStr": query_of(request),
                "reqId": request["id"],
                "bytes": str(request["bytes"]),
                "range": "-",
            }
        ).encode()
        for request in requests
    )


def cloudflare(requests: list[dict[str, Any]]) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "EdgeEndTimestamp": f"2026-01-01T{clock(request)}Z",
                "EdgeResponseStatus": request["status"],
                "ClientRequestMethod": "GET",
                "ClientRequestHost": "tv.example",
                "ClientRequestURI": f"{request['path']}?{query_of(request)}",
                "RayID": request["id"],
                "EdgeResponseBytes": request["bytes"],
            }
        ).encode()
        for request in requests
    )


def fastly(requests: list[dict[str, Any]]) -> bytes:
    return b"\n".join(
        json.dumps(
            {
                "time": f"{request['second'] * 1000}",
                "status": str(request["status"]),
                "method": "GET",
                "host": "tv.example",
                "url": request["path"],
                "request": request["id"],
                "bytes": str(request["bytes"]),
                "cmcd_request": "(null)",
                "cmcd_object": request["cmcd"] or "(null)",
            }
        ).encode()
        for request in requests
    )


def bunny(requests: list[dict[str, Any]]) -> bytes:
    return b"\n".join(
        (
            f"HIT|{request['status']}|{request['second'] * 1000}|{request['bytes']}|390|"
            f"163.172.53.229|-|https://tv.example{request['path']}?{query_of(request)}|WA|"
            f"Mozilla/5.0|{request['id']}|DE"
        ).encode()
        for request in requests
    )


def cloudfront_v2(requests: list[dict[str, Any]]) -> bytes:
    fields = CLOUDFRONT_FIELDS.split()
    lines = cloudfront(requests).decode().splitlines()[2:]
    rows = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines]
    return b"\n".join(json.dumps(row).encode() for row in rows)


def combined(requests: list[dict[str, Any]]) -> bytes:
    return b"\n".join(
        (
            f"192.0.2.1 - anna [01/Jan/2026:{clock(request)} +0000] "
            f'"GET {request["path"]}?{query_of(request)} HTTP/1.1" {request["status"]} '
            f'{request["bytes"]} "-" "Mozilla/5.0 (a \\"b\\")"'
        ).encode()
        for request in requests
    )


LOGS = {
    "cloudfront": cloudfront,
    "cloudfront-realtime": realtime,
    "cloudfront-v2": cloudfront_v2,
    "combined": combined,
    "akamai-datastream2": akamai,
    "cloudflare": cloudflare,
    "fastly": fastly,
    "bunny": bunny,
}


def hours(folder: Path) -> list[tuple[Any, ...]]:
    return (
        delivered_hours(folder)
        .select("session", "content", "hour", "media_ms", "delivered_ms")
        .rows()
    )


def test_every_shipped_mapping_has_a_log_here() -> None:
    assert shipped_names() == sorted(LOGS)


@pytest.mark.parametrize("cdn", LOGS)
def test_each_cdn_says_the_same(cdn: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(LOGS[cdn](REQUESTS))
    counts = take_log(log, load_cdn_mapping(cdn), tmp_path / "delivery")
    assert (counts.lines, counts.delivered, counts.other, counts.bad) == (10, 7, 3, 0)
    assert hours(tmp_path / "delivery") == EXPECTED
    rows = pl.read_parquet(tmp_path / "delivery" / "date=2026-01-01" / "*.parquet")
    named = cdn != "combined"  # it has no column for these two
    assert rows["object"][0] == ("tv.example" if named else "") + "/live/seg0.m4s"
    assert rows["request"][0] == ("req-0" if named else None)
    assert rows["bytes"].sum() == sum(r["bytes"] for r in REQUESTS[:5]) + 1004 + 1008


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_logs_may_be_compressed_and_come_again(compress: Any, tmp_path: Path) -> None:
    mapping = load_cdn_mapping("cloudfront")
    out = tmp_path / "delivery"
    compressed = compress(cloudfront(REQUESTS))  # once, since gzip writes the time into it
    for name in ("one", "same-again"):
        (tmp_path / name).write_bytes(compressed)
        counts = take_log(tmp_path / name, mapping, out)
        assert (counts.delivered, counts.is_repeat) == (7, name != "one")
    (tmp_path / "plain").write_bytes(cloudfront(REQUESTS))  # the same requests in another file
    assert not take_log(tmp_path / "plain", mapping, out).is_repeat
    assert hours(out) == EXPECTED


def test_a_crash_before_the_end_leaves_nothing_twice(tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "delivery"
    log.write_bytes(cloudfront(REQUESTS))
    take_log(log, load_cdn_mapping("cloudfront"), out)
    (marker,) = (out / "_logs").iterdir()
    marker.unlink()
    assert not take_log(log, load_cdn_mapping("cloudfront"), out).is_repeat
    assert len(pl.read_parquet(out / "date=*" / "*.parquet")) == 7
    assert hours(out) == EXPECTED


def test_a_mapping_that_was_mended_reads_its_logs_again(tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "delivery"
    log.write_bytes(b"1767268800 200 /a?CMCD=d%3D4000%2Cot%3Dv%2Csid%3D%22s%22")
    for form in ("ms", "s", "s"):
        take_log(log, read_cdn_mapping(OWN % form, "own"), out)
    assert delivered_hours(out)["hour"].to_list() == [HOUR_MS]
    assert len(list(out.glob("date=*/*"))) == 1


def test_the_header_counts_until_the_next(tmp_path: Path) -> None:
    log = tmp_path / "log"
    fewer = "cs-uri-query time date sc-status x-edge-request-id cs-uri-stem"
    log.write_bytes(cloudfront(REQUESTS[:3]) + cloudfront(REQUESTS[3:], fewer))
    take_log(log, load_cdn_mapping("cloudfront"), tmp_path / "delivery")
    assert hours(tmp_path / "delivery")[0][3] == 20_000


def test_bad_lines_are_kept_apart_with_their_place(tmp_path: Path) -> None:
    log, out = tmp_path / "edge.log", tmp_path / "delivery"
    good = cloudfront(REQUESTS[:1])
    odd = asked(1)
    lines = [
        b"too\tfew",
        b"\xff\xfe",
        cloudfront([odd]).split(b"\n")[2].replace(b"2026-01-01", b"2026-13-01"),
        cloudfront([odd]).split(b"\n")[2].replace(b"\t200\t", b"\tOK\t"),
        cloudfront([asked(1, cmcd='sid="s",v=9')]).split(b"\n")[2],
    ]
    log.write_bytes(good + b"\r\n".join(lines))
    counts = take_log(log, load_cdn_mapping("cloudfront"), out)
    assert (counts.lines, counts.delivered, counts.bad, counts.other) == (6, 1, 5, 0)
    bad = pl.read_parquet(out / "_bad" / "*.parquet")
    assert bad["raw"].to_list() == lines
    assert bad["source"].to_list() == [f"edge.log:{number}" for number in range(4, 9)]
    for said, detail in zip(
        ["2 columns", "not UTF-8", "no time", "no status", "CMCD"], bad["detail"], strict=True
    ):
        assert said in detail


def test_a_w3c_log_without_a_header_says_so(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"a\tb\n")
    take_log(tmp_path / "log", load_cdn_mapping("cloudfront"), tmp_path / "d")
    assert "#Fields" in pl.read_parquet(tmp_path / "d" / "_bad" / "*.parquet")["detail"][0]


def test_one_broken_json_line_does_not_lose_the_others(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"{broken\n5\n" + cloudflare(REQUESTS))
    counts = take_log(log, load_cdn_mapping("cloudflare"), tmp_path / "d")
    assert (counts.bad, counts.delivered) == (2, 7)
    assert hours(tmp_path / "d") == EXPECTED


def test_a_log_cut_short_counts_as_not_taken(tmp_path: Path) -> None:
    whole = gzip.compress(cloudfront([asked(n) for n in range(3000)]))
    (tmp_path / "cut.gz").write_bytes(whole[: len(whole) // 2])
    out = tmp_path / "delivery"
    with pytest.raises(EvidenceError, match="middle of its compressed content"):
        take_log(tmp_path / "cut.gz", load_cdn_mapping("cloudfront"), out)
    assert not (out / "_logs").exists()
    with pytest.raises(EvidenceError, match="no delivery dataset"):
        delivered_hours(tmp_path / "nowhere")
    with pytest.raises(EvidenceError, match="No such file"):
        take_log(tmp_path / "missing", load_cdn_mapping("bunny"), out)


OWN = """
[cdn]
id = "edge"
shape = "columns"
separator = "space"
columns = ["when", "code", "what"]
[columns]
time = { from = "when", form = "%s" }
status = "code"
url = "what"
"""


@pytest.mark.parametrize(
    ("form", "said", "time_ms"),
    [
        ("s", "1767268800", HOUR_MS),
        ("s", "1767268800.25", HOUR_MS + 250),
        ("s", "1767268800.1239", HOUR_MS + 123),
        ("ms", "1767268800001", HOUR_MS + 1),
        ("us", "1767268800001999", HOUR_MS + 1),
        ("ns", "1767268800001999999", HOUR_MS + 1),
        ("rfc3339", "2026-01-01T13:00:00.5+01:00", HOUR_MS + 500),
        ("rfc3339", "2026-01-01T12:00:00Z", HOUR_MS),
        ("s", "99999999999999999", None),
        ("ns", "9999999999999999999", None),
        ("s", "-1", None),
        ("rfc3339", "noon", None),
    ],
)
def test_times_are_exact(form: str, said: str, time_ms: int | None) -> None:
    mapping = read_cdn_mapping(OWN % form, "own")
    columns, _ = LogReader(mapping).read(f"{said} 200 /a".encode())
    requests, bad = requests_of(columns, mapping)
    assert requests["time"].to_list() == ([] if time_ms is None else [time_ms])
    assert len(bad) == (time_ms is None)


def test_every_mistake_of_a_mapping_is_said_at_once() -> None:
    text = """
    [cdn]
    id = ""
    shape = "table"
    columns = ["a", "a"]
    sampled = true
    quoted = true
    colour = "red"
    [columns]
    time = { from = ["a"], form = "date time" }
    url = "u"
    path = "p"
    [cmcd]
    decodings = 9
    [cmcd.fields]
    zz = "y"
    """
    with pytest.raises(MappingError) as caught:
        read_cdn_mapping(text, "own.toml")
    said = str(caught.value)
    for part in (
        "own.toml: cdn.id has to be a text",
        "cdn.shape is 'table'",
        "cdn.sampled must not be set",
        "cdn.columns names a column twice",
        "cdn.colour is not known here",
        "columns.time.from has to be",
        "columns.status is missing",
        "columns.path or url or line has to be given",
        "cdn.quoted has to be true or false",
        "cmcd.decodings has to be an integer",
        "cmcd.fields.zz is not known here",
    ):
        assert part in said
    with pytest.raises(MappingError, match="no CDN is known by this name"):
        load_cdn_mapping("clodfront")


CMCD_PARTS = st.sampled_from(
    [
        'sid="s"', 'sid="a,sid="', "sid=tok", 'cid="c,d=9"', 'cid="x\\"y"', 'cid=""', "cid=5",
        "d=4000", "d=1.5", 'd="7"', "d=4000000000000", "d", "ot=v", "ot=av", "ot=zz", 'ot="v"',
        "pr=1.5", "pr=0", "pr=-1", "pr", "bl=100", "bl=(200;v 300)", "bl=()", "v=1", "v=2", "v=3",
        "bs", "bs=?0", "br=(100)", 'nor=("a" "b";r="0-9")', 'nor="..%2Fa"', 'com.x-y="z"', "su",
        'cid="é"', "d=1=2", "", "sf=d", 'e="q', "X=1",
    ]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(CMCD_PARTS, min_size=1, max_size=5).map(",".join))
def test_columns_and_codec_read_the_same_cmcd(text: str) -> None:
    mapping = read_cdn_mapping(OWN % "s", "own")
    line = f"1 200 /a?CMCD={quote(text, safe='')}"
    requests, bad_requests = requests_of(LogReader(mapping).read(line.encode())[0], mapping)
    assert len(bad_requests) == 0
    facts, bad = facts_of(requests, mapping)
    try:
        values = read_record(text).values
    except Rejected:
        assert (len(bad), facts.row(0)) == (1, (*(None,) * 6, True))
        return
    row = facts.row(0, named=True)
    assert (row["sid"], row["cid"]) == (values.get("sid"), values.get("cid"))
    assert (row["ot"], row["d"]) == (values.get("ot"), values.get("d"))


@given(st.binary(max_size=80), st.sampled_from(sorted(LOGS)))
def test_bytes_of_any_kind_are_requests_or_bad(block: bytes, cdn: str) -> None:
    mapping = load_cdn_mapping(cdn)
    reader = LogReader(mapping)
    columns, bad = reader.read(block)
    requests, unfit = requests_of(columns, mapping)
    facts, _ = facts_of(requests, mapping)
    lines = [line.removesuffix(b"\r") for line in block.split(b"\n")]
    directives = mapping.shape == "w3c"
    expected = sum(1 for line in lines if line and not (directives and line.startswith(b"#")))
    assert len(requests) + len(unfit) + len(bad) == expected
    assert len(facts) == len(requests)


@given(st.lists(st.sampled_from(["-", "", "200", "x", "1767268800", "%", "a?CMCD=d%3D1", "/p"])))
def test_columns_of_any_kind_are_requests_or_bad(texts: list[str]) -> None:
    mapping = load_cdn_mapping("bunny")
    line = "|".join((texts + ["-"] * 12)[:12])
    columns, bad = LogReader(mapping).read(line.encode())
    requests, unfit = requests_of(columns, mapping)
    assert len(requests) + len(unfit) + len(bad) == 1
