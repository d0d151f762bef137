"""How fast each adapter reads what its senders write.

Goal: no adapter is what a gateway or a nightly log waits for. Baseline: the fastest parser of the
format that there is here, with nothing done to what it read (Polars for JSON lines and for
tab-separated logs; pyarrow beside it, where it reads the same; http-sf for CMCD). So a ratio of 1.0 would mean that
checking, mapping and CMCD cost nothing.

    python benchmarks/adapters.py           # 200,000 records of each format
    python benchmarks/adapters.py --smoke   # seconds; for tests

The hash is of what was read: as long as it stays, so does what is measured.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import io
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import http_sf
import polars as pl
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

sys.path.insert(0, str(Path(__file__).parents[1]))

from ingest.adapters import bulk_data, cloudevents, mapped_json, native
from ingest.adapters.canonical import LogLine, Reading, to_log_lines, usage_frame
from ingest.adapters.cmcd import Bound, Trace, adapt_body
from ingest.cdn.dataset import read_block
from ingest.cdn.mapping import load_cdn_mapping
from ingest.cdn.readers import LogReader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
AT_MS = 1_767_268_800_000
RECEIVED_MS = AT_MS + 50
STATES = ("playing", "playing", "playing", "paused", "stopped")
ENTRIES = 50  # events of one box's report
BODY = 1_000  # events of one box's request
CLOUDFRONT = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) "
    "cs(User-Agent) cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header "
    "cs-protocol cs-bytes time-taken x-forwarded-for ssl-protocol ssl-cipher "
    "x-edge-response-result-type cs-protocol-version fle-status fle-encrypted-fields c-port "
    "time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len "
    "sc-range-start sc-range-end"
)


def views(count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "view",
            "time": AT_MS + 30 * n,
            "account": f"acc-{n % 5000:06}",
            "device": f"stb-{n % 5000:06}-1",
            "session": f"s-{n % 7000}",
            "content": f"ch-{n % 300:03}",
            "kind": "channel",
            "quality": "hd",
            "state": STATES[n % len(STATES)],
            "playhead_ms": AT_MS + 30 * n,
        }
        for n in range(count)
    ]


def as_lines(records: Sequence[dict[str, Any]]) -> bytes:
    return b"\n".join(json.dumps(record, separators=(",", ":")).encode() for record in records)


def as_array(records: Sequence[dict[str, Any]]) -> bytes:
    return b"[" + as_lines(records).replace(b"\n", b",") + b"]"


def events(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            "specversion": "1.0",
            "type": "tv.ratecast.view",
            "source": "/middleware/eu-1",
            "id": str(n),
            "time": "2026-01-01T12:00:00.25Z",
            "data": {name: value for name, value in record.items() if name != "type"},
        }
        for n, record in enumerate(records)
    ]


def box_events(count: int) -> list[dict[str, Any]]:
    return [
        {
            "subscriber": {"no": n % 5000},
            "box": f"STB-{n % 5000}",
            "tune": f"t-{n % 7000}",
            "ts": 1767268800.25 + n,
            "what": "ALIVE",
            "service": {"id": f"ch-{n % 300}", "class": "LIVE"},
            "hd": True,
        }
        for n in range(count)
    ]


def reports(begin: int, end: int) -> bytes:
    """One body: reports of a box, ENTRIES events each."""
    stream = "Device.Services.STBService.1.ServiceMonitoring.MainStream.1"
    listed = []
    for first in range(begin, end, ENTRIES):
        one: dict[str, Any] = {"CollectionTime": AT_MS // 1000 + first}
        one |= {f"{stream}.ServiceType": "IPTV", f"{stream}.SessionId": "uuid-1"}
        for n in range(first, first + ENTRIES):
            at = f"{stream}.EventLog.Entry.{n - first + 1}"
            one |= {f"{at}.SequenceNumber": n, f"{at}.Type": "alive"}
            one |= {f"{at}.Time": "2026-01-01T12:00:00Z", f"{at}.Parameter.1.Name": "Channel"}
            one |= {f"{at}.Parameter.1.Value": f"ch-{n % 300}"}
        listed.append(one)
    return json.dumps({"Report": listed}).encode()


def heartbeat(n: int) -> bytes:
    """What player n % 5000 says every 30 s, event mode."""
    session, beat = n % 5000, n // 5000
    return (
        f'bl=({n * 7 % 300}00),br=({800 << n % 5};v 128;a),cid="vod-{session % 300}",e=t,'
        f'mtp=({n * 13 % 600}00),pt={beat * 30_000},sf=d,sid="5e1f-{session:028}",sn={beat},'
        f"st=v,sta=p,tb=(16000;v 128;a),ts={AT_MS + beat * 30_000 + session},v=2"
    ).encode()


def single_reports(reports: Sequence[bytes]) -> list[LogLine]:
    """Each report is an upload of its own, as a gateway meets them: players take turns."""
    traces: dict[int, Trace] = {}
    lines = []
    for n, report in enumerate(reports):
        player = n % 5000
        bound = Bound(f"acc-{player:06}", "web-1", f"5e1f-{player:028}")
        received_ms = AT_MS + n // 5000 * 30_000 + player + 50
        adapted = adapt_body(report, bound, received_ms, trace=traces.get(player))
        traces[player] = adapted.trace
        lines += adapted.log_lines(received_ms)
    return lines


def outages(reports: Sequence[bytes]) -> list[LogLine]:
    """What players have kept of an outage: BODY reports of one session in each upload."""
    bound = Bound("acc-000001", "web-1", "5e1f")
    lines = []
    for begin in range(0, len(reports), BODY):
        body = b"\n".join(reports[begin : begin + BODY])
        lines += adapt_body(body, bound, RECEIVED_MS + BODY * 30_000).log_lines(RECEIVED_MS)
    return lines


def structured_fields(reports: Sequence[bytes]) -> Callable[[], Any]:
    def parse() -> None:
        for report in reports:  # what was read is let go, for to keep it all would take longer
            http_sf.parse(report, tltype="dictionary")

    return parse


def cmcd(n: int) -> str:
    return (
        f'bl=12000,br=5000,cid="ch-{n % 300}",d=4000,mtp=25000,nor="..%2Fseg{n + 1}.m4s",ot=v,'
        f'sf=d,sid="5e1f-{n % 7000}",st=l,tb=8000'
    )


def cloudfront(count: int) -> bytes:
    lines = ["#Version: 1.0", "#Fields: " + CLOUDFRONT]
    for n in range(count):
        second = n % 86_400
        known = {
            "date": "2026-01-01",
            "time": f"{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}",
            "x-edge-location": "ARN56-P1",
            "sc-bytes": "512345",
            "c-ip": "192.0.2.17",
            "cs-method": "GET",
            "cs-uri-stem": f"/live/ch-{n % 300}/seg{n}.m4s",
            "sc-status": "200",
            "cs(User-Agent)": "Mozilla/5.0%20(Linux;%20Tizen%206.0)",
            "cs-uri-query": "CMCD=" + quote(cmcd(n), safe="").replace("%", "%25"),
            "x-edge-request-id": f"{n:056x}",
            "x-host-header": "tv.example",
            "sc-content-type": "video/mp4",
        }
        lines.append("\t".join(known.get(name, "-") for name in CLOUDFRONT.split()))
    return "\n".join(lines).encode() + b"\n"


def akamai(count: int) -> bytes:
    return as_lines(
        [
            {
                "version": 1,
                "cp": "1234",
                "reqId": f"{n:08x}",
                "reqTimeSec": f"{AT_MS // 1000 + n % 86_400}.000",
                "bytes": "512345",
                "cliIP": "192.0.2.17",
                "statusCode": "200",
                "reqHost": "tv.example",
                "reqMethod": "GET",
                "reqPath": f"/live/ch-{n % 300}/seg{n}.m4s",
                "UA": "Mozilla%2F5.0",
                "queryStr": "CMCD=" + quote(quote(cmcd(n), safe=""), safe=""),
                "country": "SE",
            }
            for n in range(count)
        ]
    )


def polars_lines(body: bytes) -> Callable[[], Any]:
    return lambda: pl.read_ndjson(io.BytesIO(body))


def arrow_lines(body: bytes) -> Callable[[], Any]:
    return lambda: pa_json.read_json(io.BytesIO(body))


def polars_table(body: bytes) -> Callable[[], Any]:
    return lambda: pl.read_csv(
        io.BytesIO(body), separator="\t", has_header=False, quote_char=None, skip_rows=2,
        infer_schema=False,
    )  # fmt: skip


def arrow_table(body: bytes) -> Callable[[], Any]:
    read = pa_csv.ReadOptions(skip_rows=2, autogenerate_column_names=True)
    cut = pa_csv.ParseOptions(delimiter="\t", quote_char=False)
    types = {f"f{n}": pa.string() for n in range(len(CLOUDFRONT.split()))}
    kinds = pa_csv.ConvertOptions(column_types=types)
    return lambda: pa_csv.read_csv(io.BytesIO(body), read, cut, kinds)


def cdn(name: str, body: bytes) -> Callable[[], pl.DataFrame]:
    mapping = load_cdn_mapping(name)

    def read() -> pl.DataFrame:
        media, refused = read_block(body, LogReader(mapping), mapping, "log")
        assert not len(refused.rows)
        return media

    return read


Case = tuple["Callable[[], Any]", dict[str, "Callable[[], Any]"]]


def cases(count: int) -> dict[str, Case]:
    """For each adapter, what it does and what the fastest parsers do with the same bytes."""
    records = views(count)
    lines, array, wrapped = as_lines(records), as_array(records), events(records)
    event_lines, event_array = as_lines(wrapped), as_array(wrapped)
    batch = [("content-type", "application/cloudevents-batch+json")]
    box_lines = as_lines(box_events(count))
    own = mapped_json.load_json_mapping((ROOT / "examples/mappings/set-top-box.toml").read_text())
    own = mapped_json.JsonMapping(own.id, (), own.skip, own.rules)
    tr135 = mapped_json.load_json_mapping(
        (ROOT / "examples/mappings/tr135-events.toml").read_text()
    )
    bodies = [reports(first, first + BODY) for first in range(0, count, BODY)]
    reading = Reading(usage_frame(pl.DataFrame(records)))
    beats = [heartbeat(n) for n in range(count)]
    kept = [heartbeat(n % BODY * 5000).replace(b"5e1f-" + b"0" * 28, b"5e1f") for n in range(count)]
    edge, akamai_lines = cloudfront(count), akamai(count)
    both = {"polars": polars_lines(lines), "pyarrow": arrow_lines(lines)}
    return {
        "canonical columns": (
            lambda: to_log_lines(reading, RECEIVED_MS),
            {"polars": reading.usage.write_ndjson},
        ),
        "native lines": (lambda: native.to_log_lines(lines, RECEIVED_MS), both),
        "native array": (lambda: native.to_log_lines(array, RECEIVED_MS), both),
        "cloudevents batch": (
            lambda: cloudevents.read_http(batch, event_array).usage,
            {"polars": polars_lines(event_lines), "pyarrow": arrow_lines(event_lines)},
        ),
        "own json": (
            lambda: mapped_json.read(box_lines, own).usage,
            {"polars": polars_lines(box_lines), "pyarrow": arrow_lines(box_lines)},
        ),
        "bulk data": (
            lambda: pl.concat(
                bulk_data.read(
                    "oui=1&pc=2&sn=3", [], body, tr135, bulk_data.Owner("acc")
                ).reading.usage
                for body in bodies
            ),
            {"json.loads": lambda: list(map(json.loads, bodies))},
        ),
        "cmcd, single": (lambda: single_reports(beats), {"http-sf": structured_fields(beats)}),
        "cmcd, bodies": (lambda: outages(kept), {"http-sf": structured_fields(kept)}),
        "cloudfront": (
            cdn("cloudfront", edge),
            {"polars": polars_table(edge), "pyarrow": arrow_table(edge)},
        ),
        "akamai datastream2": (
            cdn("akamai-datastream2", akamai_lines),
            {"polars": polars_lines(akamai_lines), "pyarrow": arrow_lines(akamai_lines)},
        ),
    }


def rate_of(work: Callable[[], Any], count: int) -> tuple[float, Any]:
    """Records a second, the better of two runs, and what came out."""
    best_s = float("inf")
    for _ in range(2):
        begun_s = time.perf_counter()
        found = work()
        best_s = min(best_s, time.perf_counter() - begun_s)
    return count / best_s, found


def digest_of(found: Any) -> str:
    """A hash of what an adapter read."""
    if isinstance(found, pl.DataFrame):
        content = found.write_ndjson().encode()
    else:
        content = b"\n".join(line.line for line in found)
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    asked = parser.parse_args(arguments)
    count = 2_000 if asked.smoke else asked.records
    native.to_log_lines(as_lines(views(10)), RECEIVED_MS)  # compiles
    print(
        f"{count:,} records of each format; records a second, and the share of the fastest parser"
    )
    measured = cases(count)
    gc.freeze()  # or the collector would go through what is kept here while an adapter is timed
    for name, (work, baselines) in measured.items():
        rate, found = rate_of(work, count)
        assert len(found) == count, f"{name}: {len(found)} of {count} records"
        parsers = {parser: rate_of(parse, count)[0] for parser, parse in baselines.items()}
        fastest = max(parsers.values())
        shown = ", ".join(f"{parser} {speed:,.0f}" for parser, speed in parsers.items())
        print(f"{name:<19} {rate:>10,.0f}  {rate / fastest:5.2f}  of {shown}  {digest_of(found)}")


if __name__ == "__main__":
    main()
