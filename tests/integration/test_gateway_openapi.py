"""The OpenAPI document, tried on a running gateway with thousands of requests that it allows or not."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from cmcd_records import STANDARD
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection
from services.gateway import RunningGateway

from ingest.gateway.keys import read_keys
from ingest.gateway.openapi import document
from ingest.gateway.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
EXAMPLES = 25  # for each route; bounded, so that it takes some seconds

# --- bodies of types that schemathesis cannot make up ---------------------------------------------

VIEW = {
    "type": "view",
    "time": 1_772_820_000_000,
    "account": "anna",
    "device": "tv",
    "session": "s1",
    "content": "sport-hd",
    "kind": "channel",
    "state": "playing",
}
ODD = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
RECORDS = st.dictionaries(st.sampled_from(sorted(VIEW)) | st.text(max_size=5), ODD, max_size=4).map(
    lambda change: json.dumps(VIEW | change).encode()
)
JUNK = st.binary(min_size=1, max_size=60).filter(lambda raw: bool(raw.strip()))
NDJSON = st.lists(RECORDS | JUNK, min_size=1, max_size=5).map(b"\n".join)

REPORTS = st.sampled_from([text.replace("session-id-123", "s1") for _, text in STANDARD])


@st.composite
def cmcd_lines(draw: st.DrawFn) -> bytes:
    """A line of the standard's, as it is or with something put in its midst."""
    line = draw(REPORTS).encode()
    at = draw(st.integers(0, len(line)))
    return line[:at] + draw(st.just(b"") | st.binary(max_size=6)) + line[at:]


CMCD = st.lists(cmcd_lines() | JUNK, min_size=1, max_size=5).map(b"\n".join)

STREAM = "Device.Services.STBService.1.ServiceMonitoring.MainStream.1"
STATS = "Device.Services.STBService.1.Applications.AudienceStats"
NAMES = st.sampled_from(
    [
        f"{STREAM}.SessionId",
        f"{STREAM}.ServiceType",
        *(f"{STREAM}.EventLog.Entry.1.{name}" for name in ("SequenceNumber", "Type", "Time")),
        f"{STREAM}.EventLog.Entry.1.Parameter.1.Name",
        f"{STREAM}.EventLog.Entry.1.Parameter.1.Value",
        f"{STATS}.Channel.1.Name",
        f"{STATS}.Channel.1.Duration",
        f"{STATS}.ResetTime",
    ]
)
VALUES = st.sampled_from(
    ["", "1", "-1", "9" * 30, "IPTV", "start session", "Channel", "2013-03-29T03:52:05Z", '"', "é"]
)
ROWS = st.tuples(st.sampled_from(["1364529149", "", "x"]), NAMES, VALUES).map(",".join)
CSV = JUNK | st.lists(ROWS, max_size=8).map(
    lambda rows: "\n".join(["ReportTimestamp,ParameterName,ParameterValue", *rows]).encode()
)

schemathesis.openapi.media_type("application/x-ndjson", NDJSON)
schemathesis.openapi.media_type("application/cmcd", CMCD, aliases=["text/cmcd"])
schemathesis.openapi.media_type("text/csv", CSV)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("openapi")
    events = ROOT / "examples/mappings/tr135-events.toml"
    running = RunningGateway(folder, "--boxes", str(folder / "boxes"), "--box-events", str(events))
    assert running.url, running.said
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.said


@pytest.fixture(scope="module")
def credentials(gateway: RunningGateway) -> dict[str, str]:
    """By the beginning of a path, who sends: without a token no report is even looked into."""
    signer = read_keys(gateway.keys).signer()
    assert signer is not None
    ends_s = int(time.time()) + 600
    return {
        "/v1/cmcd": mint(signer, "anna", "tv", "s1", expires_s=ends_s, more={"kind": "vod"}),
        "/v1/bulk/": mint(signer, "anna", "box", "", expires_s=ends_s),
        "": gateway.key,
    }


UNASKED = "unknown-property"
schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_surprises_the_gateway(
    case: Any, gateway: RunningGateway, credentials: dict[str, str]
) -> None:
    """Every answer is one that the document has, in its form, and none is a failure."""
    # Headers and arguments that nobody asked for are anybody's right.
    unasked = any(UNASKED in str(names).lower() for names in (case.headers, case.query))
    sender = next(
        credentials[start] for start in credentials if case.operation.path.startswith(start)
    )
    case.call_and_validate(
        base_url=gateway.url,
        headers={"Authorization": f"Bearer {sender}"},
        timeout=20,
        excluded_checks=[negative_data_rejection] if unasked else [],
    )


def test_the_bodies_reach_what_reads_them(gateway: RunningGateway) -> None:
    """The test above is worth something: it had views and suspended lines of all kinds logged."""
    found = [line for line in gateway.lines() if isinstance(line, dict)]
    assert {line["reason"] for line in found if line.get("type") == "ingest.suspended"} >= {
        "malformed",
        "unbound",
    }
    assert "view" in {line.get("type") for line in found}
