"""Logs of CDNs as they are really written: ranges, marks, encodings, arrays; what is counted of each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ingest.cdn.dataset import LogCounts, delivered_hours, take_log
from ingest.cdn.json_values import as_json_lines
from ingest.cdn.mapping import load_cdn_mapping, read_cdn_mapping
from rating.runtime.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.cdn.mapping import CdnMapping

AT_S = 1_767_614_400  # 2026-01-05T12:00:00Z
FILM = 'cid="film-1",d=4000,ot=v,sid="s1"'
AKAMAI_SAMPLE = (
    "cmcd=//1.0@V/bl=21600,br=1426,cid=%22film-1%22,d=6006,mtp=11100,ot=v,sf=h,sid=%22s1%22,tb=1426,"
    "dl=18500,nor=%22../300kbps/track.m4v%22,nrr=%2212323-48763%22,su,bs,rtp=12000,pr=1.08,st=v"
)


def taken(folder: Path, log: bytes, mapping: str | CdnMapping) -> tuple[LogCounts, int]:
    """What a log comes to, and the media time in it."""
    path, out = folder / "edge.log", folder / "delivery"
    path.write_bytes(log)
    known = load_cdn_mapping(mapping) if isinstance(mapping, str) else mapping
    counts = take_log(path, known, out)
    assert counts.lines == counts.delivered + counts.uncounted + counts.other + counts.bad
    return counts, delivered_hours(out)["media_ms"].sum()


def argument(text: str = FILM) -> str:
    return f"CMCD={quote(text, safe='')}"


def bunny(second: int, path: str, query: str, status: int = 200, request: str = "") -> bytes:
    return (
        f"HIT|{status}|{(AT_S + second) * 1000}|1000|390|192.0.2.1|-|https://tv.example{path}?{query}"
        f"|WA|Mozilla/5.0|{request or f'req{second}'}|DE\n"
    ).encode()


def cloudfront(requests: int) -> bytes:
    """Byte ranges of one file, in the columns of a standard log."""
    fields = (
        "date time sc-bytes cs-method cs-uri-stem sc-status cs-uri-query x-edge-request-id "
        "x-host-header sc-range-start sc-range-end"
    )
    lines = ["#Version: 1.0", f"#Fields: {fields}"]
    for n in range(requests):
        clock = f"12:{n // 60:02}:{n % 60:02}"
        query = argument().replace("%", "%25")
        range_ = f"{n * 10**6}\t{(n + 1) * 10**6 - 1}"
        lines.append(
            f"2026-01-05\t{clock}\t1000699\tGET\t/film/video.mp4\t206\t{query}\treq-{n}==\ttv.example"
            f"\t{range_}"
        )
    return "\n".join(lines).encode()


# --- byte ranges of one file -----------------------------------------------------------------------


def test_cloudfront_has_the_range_of_each_part(tmp_path: Path) -> None:
    assert taken(tmp_path, cloudfront(100), "cloudfront")[1] == 400_000


@pytest.mark.parametrize("cdn", ["bunny", "cloudflare", "combined"])
def test_a_part_of_unknown_range_is_an_object_of_its_own(cdn: str, tmp_path: Path) -> None:
    if cdn == "bunny":
        line = bunny
    elif cdn == "cloudflare":
        line = cloudflare
    else:
        line = combined
    parts = b"".join(line(n, "/film.mp4", argument(), 206) for n in range(5))
    assert taken(tmp_path, parts, cdn)[1] == 20_000
    again = parts + line(0, "/film.mp4", argument(), 206)  # one of them twice
    assert taken(tmp_path, again, cdn)[1] == 20_000
    whole = b"".join(line(n, "/seg1.m4s", argument(), 200, f"retry{n}") for n in range(5))
    assert taken(tmp_path / "whole", mkdir(tmp_path / "whole", whole), cdn)[1] == 4_000


def mkdir(folder: Path, content: bytes) -> bytes:
    folder.mkdir()
    return content


def cloudflare(second: int, path: str, query: str, status: int = 200, request: str = "") -> bytes:
    record = {
        "EdgeEndTimestamp": f"2026-01-05T12:00:{second:02}Z",
        "EdgeResponseStatus": status,
        "ClientRequestHost": "tv.example",
        "ClientRequestURI": f"{path}?{query}",
        "RayID": request or f"ray{second}",
        "EdgeResponseBytes": 1000,
    }
    return json.dumps(record).encode() + b"\n"


def combined(second: int, path: str, query: str, status: int = 200, request: str = "") -> bytes:
    return (
        f"192.0.2.1 - - [05/Jan/2026:13:00:{second:02} +0100] "
        f'"GET {path}?{query} HTTP/1.1" {status} 1000 "-" "Mozilla [{request}] \\"x\\""\n'
    ).encode()


# --- the argument, as players and CDNs write it -----------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        argument(),
        argument().replace("CMCD", "cmcd"),
        argument().replace("CMCD", "Common-Media-Client-Data"),
        f"CMCD={FILM}",
        f"{argument('ot=m')}&{argument()}",
        f"{argument()}&{argument('ot=m')}",
        f"token=1&amp;{argument()}",
        f"token=1;{argument()}",
        f"?{argument()}",
        argument(quote(FILM, safe="")),
        argument(FILM.replace("4000", "4000.0000000001")),
        argument(FILM.replace("4000", '"4000"')),
        argument(f"{FILM},v=2"),
        f"cmcd=//1.0@V/{FILM}",
    ],
)
def test_a_request_counts_however_its_cmcd_is_written(query: str, tmp_path: Path) -> None:
    counts, media_ms = taken(tmp_path, bunny(1, "/a.m4s", query), "bunny")
    assert (counts.delivered, media_ms) == (1, 4_000)


@pytest.mark.parametrize(
    "text",
    ['cid="film-1",ot=v,sid="s1"', "d=4000,ot=v", 'd=4000,sid="s1"']
    + [
        FILM.replace("4000", said)
        for said in ("NaN", "4e3", "-1", "0", "9" * 14, "99999999999999999")
    ],
)
def test_cmcd_that_says_too_little_is_a_figure_of_its_own(text: str, tmp_path: Path) -> None:
    log = bunny(1, "/a", argument(text)) + bunny(2, "/b", argument("ot=a")) + bunny(3, "/c", "x=1")
    counts, _ = taken(tmp_path, log + bunny(4, "/d", argument("v=3")), "bunny")
    assert counts == LogCounts(lines=4, delivered=0, uncounted=1, other=2, bad=1)


def test_what_could_not_be_counted_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "edge.log"
    log.write_bytes(bunny(1, "/a", argument('ot=v,sid="s1"')) + bunny(2, "/b", argument()))
    for _ in range(2):  # a log that is given again changes nothing
        said = CliRunner().invoke(main, ["delivery", "--cdn", "bunny", "edge.log"])
        assert said.exit_code == 0
    assert "uncounted" in said.output
    book = tmp_path / "book.toml"
    book.write_text(BOOK)
    (tmp_path / "views.ndjson").write_text("")
    CliRunner().invoke(main, ["rate", "--tariffs", "book.toml", "--store", "s.db", "views.ndjson"])
    found = CliRunner().invoke(main, ["reconcile", "--store", "s.db", "--metrics", "m.prom"])
    assert "1 request had CMCD that does not say what was brought" in found.output
    assert "ratecast_reconcile_uncounted_requests 1\n" in (tmp_path / "m.prom").read_text()
    as_json = CliRunner().invoke(main, ["reconcile", "--store", "s.db", "--json"])
    assert json.loads(as_json.stdout)["uncounted"] == 1


BOOK = """
[book]
id = "first-book"
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


# --- Akamai -----------------------------------------------------------------------------------------


def akamai(query: str | None, **more: Any) -> dict[str, Any]:
    record = {
        "reqId": "1239f220",
        "reqTimeSec": f"{AT_S}.100",
        "bytes": "4995",
        "statusCode": "206",
        "reqHost": "tv.example",
        "reqMethod": "GET",
        "reqPath": "/film/video.mp4",
        "range": "37334-42356",
    }
    return record | ({} if query is None else {"queryStr": query}) | more


@pytest.mark.parametrize(
    "record",
    [
        akamai(AKAMAI_SAMPLE),
        akamai(AKAMAI_SAMPLE.replace("cmcd=", "CMCD=")),
        akamai(AKAMAI_SAMPLE.replace("//1.0@V/", "")),
        akamai("-", cmcd=AKAMAI_SAMPLE.removeprefix("cmcd=")),
    ],
)
def test_akamais_own_samples_count(record: dict[str, Any], tmp_path: Path) -> None:
    for log in (json.dumps(record), json.dumps([record], indent=2), json.dumps(record, indent=1)):
        counts, media_ms = taken(tmp_path, log.encode(), "akamai-datastream2")
        assert (counts.lines, counts.delivered, media_ms) == (1, 1, 6_006)
    files = [*(tmp_path / "delivery").glob("date=*/*.parquet")]
    rows = pl.concat(pl.read_parquet(file) for file in files)
    assert set(rows["buffer_ms"]) == {21_600}  # the first key is not lost to the mark before it


@pytest.mark.parametrize("cid", ["s0", "a+b", "rock & roll", "100%", "50%25", "x%2Fy", "caf\u00e9"])
def test_akamai_encodes_no_second_time(cid: str, tmp_path: Path) -> None:
    query = argument(f'cid="{cid}",d=4000,ot=v,sid="s1"')
    log = json.dumps(akamai(query)).encode()
    assert taken(tmp_path, log, "akamai-datastream2")[1] == 4_000
    assert delivered_hours(tmp_path / "delivery")["content"].to_list() == [cid]


# --- shapes of files ---------------------------------------------------------------------------------


RECORDS = [json.loads(cloudflare(n, f"/{n}.m4s", argument())) for n in range(7)]


@pytest.mark.parametrize(
    "log",
    [
        "\n".join(map(json.dumps, RECORDS)),
        json.dumps(RECORDS),
        "\ufeff" + json.dumps(RECORDS, indent=2),
        "".join(map(json.dumps, RECORDS)),
        " ".join(map(json.dumps, RECORDS)),
        "\r\n".join(json.dumps(record, indent=4) for record in RECORDS),
        ",\n".join(map(json.dumps, RECORDS)),
        "[" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n",
        json.dumps(RECORDS[:3]) + json.dumps(RECORDS[3:]),
    ],
)
def test_json_logs_are_lines_arrays_or_objects_one_behind_another(log: str, tmp_path: Path) -> None:
    counts, media_ms = taken(tmp_path, log.encode(), "cloudflare")
    assert (counts.lines, counts.delivered, media_ms) == (7, 7, 28_000)


def test_a_broken_value_of_an_array_does_not_lose_the_others(tmp_path: Path) -> None:
    log = "[" + ",".join(map(json.dumps, RECORDS)).replace('"RayID": "ray3"', '"RayID": ray3') + "]"
    counts, media_ms = taken(tmp_path, log.encode(), "cloudflare")
    assert (counts.delivered, counts.bad, media_ms) == (6, 1, 24_000)
    (row,) = pl.read_parquet(tmp_path / "delivery/_bad/*.parquet").to_dicts()
    assert row["source"] == "edge.log:4"
    assert b"ray3" in row["raw"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=9,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), min_size=1),
    st.sampled_from(["", " ", "\n", ",", ",\n"]),
    st.integers(1, 40),
    st.booleans(),
)
def test_values_are_cut_wherever_blocks_end(
    values: list[Any], between: str, size: int, is_array: bool
) -> None:
    text = between.join(json.dumps(value, ensure_ascii=False) for value in values)
    content = (f"[{text}]" if is_array else text).encode()
    blocks = [content[at : at + size] for at in range(0, len(content), size)]
    lines = b"".join(as_json_lines(iter(blocks))).decode().strip("\n").split("\n")
    if between == ",\n" and not is_array and len(values) > 1:
        lines = [line.removesuffix(",") for line in lines]
    assert [json.loads(line) for line in lines] == values


def test_parquet_is_read_as_the_json_of_the_same_log(tmp_path: Path) -> None:
    lines = cloudfront(50).decode().splitlines()
    fields = lines[1].split()[1:]
    rows = [dict(zip(fields, line.split("\t"), strict=True)) for line in lines[2:]]
    rows.append(rows[0] | {"sc-status": "OK", "x-edge-request-id": "odd"})
    log = "\n".join(map(json.dumps, rows)).encode()
    from_json = taken(tmp_path, log, "cloudfront-v2")
    assert from_json[1] == 200_000
    parquet = tmp_path / "log.parquet"
    names = {field: field.replace("-", "_") for field in fields}
    pl.DataFrame(rows).rename(names).write_parquet(parquet)
    counts = take_log(parquet, load_cdn_mapping("cloudfront-v2"), tmp_path / "out")
    assert counts == from_json[0] == LogCounts(lines=51, delivered=50, bad=1)
    assert delivered_hours(tmp_path / "out")["media_ms"].sum() == 200_000
    (bad,) = pl.read_parquet(tmp_path / "out/_bad/*.parquet").to_dicts()
    assert bad["source"] == "log.parquet:51"
    assert json.loads(bad["raw"])["x-edge-request-id"] == "odd"


def test_parquet_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pl.DataFrame({"date": ["2026-01-05"]}).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-9])
    said = CliRunner().invoke(main, ["delivery", "--cdn", "cloudfront-v2", str(path)])
    assert said.exit_code == 1
    assert "cannot be read as Parquet" in said.output


QUOTED = """
[cdn]
id = "own"
shape = "columns"
separator = "space"
quoted = true
columns = ["when", "line", "status"]
[columns]
time = { from = "when", form = "clf" }
line = "line"
status = "status"
"""


@pytest.mark.parametrize(
    ("line", "delivered"),
    [
        (f'[05/Jan/2026:12:00:00 +0000] "GET /a?{argument()} HTTP/1.1" 200', 1),
        (f'[05/Jan/2026:12:00:00 -0930] "get https://h/a?{argument()} HTTP/2.0" 200', 1),
        (f'[05/Jan/2026:12:00:00 +0000] "GET /a?{argument()}" 200', 1),
        (r"""[05/Jan/2026:12:00:00 +0000] "GET /a?CMCD=sid=\"s1\",d=4000,ot=v HTTP/1.1" 200""", 1),
        (
            r"""[05/Jan/2026:12:00:00 +0000] "GET /a?CMCD=sid=\x22s1\x22,d=4000,ot=v HTTP/1.1" 200""",
            1,
        ),
        (f'[05/Jan/2026:12:00:00 +0000] "HEAD /a?{argument()} HTTP/1.1" 200', 0),
        (f'[05/Jan/2026:12:00:00 +0000] "GET /a?{argument()} HTTP/1.1" 404', 0),
        ('[05/Jan/2026:12:00:00 +0000] "GET / HTTP/1.1" 200', 0),
    ],
)
def test_columns_stand_in_quotes_and_brackets(line: str, delivered: int, tmp_path: Path) -> None:
    counts, _ = taken(tmp_path, line.encode(), read_cdn_mapping(QUOTED, "own"))
    assert (counts.lines, counts.delivered, counts.bad) == (1, delivered, 0)


@pytest.mark.parametrize(
    "line",
    [
        '[05/Jan/2026] "GET / HTTP/1.1" 200',
        '[05/Jan/2026:12:00:00 +0000] "-" 400',
        '"',
        "[ ] [ ]",
        "a b c d",
    ],
)
def test_lines_of_another_form_are_bad(line: str, tmp_path: Path) -> None:
    counts, _ = taken(tmp_path, line.encode(), read_cdn_mapping(QUOTED, "own"))
    assert (counts.lines, counts.bad) == (1, 1)
