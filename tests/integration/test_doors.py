"""Other people's formats at the doors: the gateway over HTTP, `produce` and a worker on Kafka."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl
import pytest
from extremes import NUMBERS, TIMES
from kafka import KafkaProducer
from services.gateway import COMMAND, RunningGateway, environment
from services.website import BOOK
from worker_runs import WorkerScene, make_topic, topic_messages

from ingest.gateway.keys import read_keys
from ingest.gateway.tokens import mint
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
MAPPING = ROOT / "examples/mappings/set-top-box.toml"
BOXES = ROOT / "examples/mappings/tr135-events.toml"
OWN_EVENT = {
    "subscriber": {"no": 4711},
    "box": "STB-1",
    "tune": "t-9",
    "ts": 1767268800.25,
    "what": "TUNED",
    "service": {"id": "ch-101", "class": "LIVE"},
}
CMCD = {"Content-Type": "application/cmcd"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("doors")
    boxes = ("--boxes", str(folder / "boxes"), "--box-events", str(BOXES))
    running = RunningGateway(folder, "--mapping", str(MAPPING), *boxes)
    assert running.url, running.said
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.said


def token_of(running: RunningGateway, session: str) -> str:
    signer = read_keys(running.keys).signer()
    assert signer is not None
    ends_s = int(time.time()) + 600
    return mint(signer, "anna", "tv", session, expires_s=ends_s, more={"kind": "vod"})


def views(running: RunningGateway, session: str) -> list[str]:
    found = [line for line in running.lines() if line.get("session") == session]
    return [line["state"] for line in found]


def report(session: str, number: int = 0) -> str:
    now_ms = int(time.time() * 1000)
    return f'cid="film-1",e=ps,sf=d,sid="{session}",sn={number},st=v,sta=p,ts={now_ms},v=2'


# --- players ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["path", "query"])
@pytest.mark.parametrize("way", ["query", "lower", "headers", "post"])
def test_a_report_by_get_counts(way: str, place: str, gateway: RunningGateway) -> None:
    session = f"get-{way}-{place}"
    token = token_of(gateway, session)
    path = f"/v1/cmcd/{token}?" if place == "path" else f"/v1/cmcd?token={token}&"
    said = report(session)
    with gateway.client("") as player:
        if way == "headers":
            answer = player.get(path, headers={"CMCD-Request": said})
        else:
            name = "cmcd" if way == "lower" else "CMCD"
            method = "POST" if way == "post" else "GET"
            kind = CMCD if way == "post" else {}
            answer = player.request(method, f"{path}{name}={quote(said, safe='')}", headers=kind)
    assert answer.status_code == 204, answer.text
    assert views(gateway, session) == ["playing"]


@pytest.mark.parametrize(
    ("kind", "is_encoded", "before"),
    [
        ("text/plain;charset=UTF-8", False, ""),
        ("text/plain", True, ""),
        ("application/cmcd", True, ""),
        ("application/cmcd", True, "CMCD="),
        ("application/x-www-form-urlencoded", True, "CMCD="),
    ],
)
def test_a_body_as_browsers_and_players_send_it(
    kind: str, is_encoded: bool, before: str, gateway: RunningGateway
) -> None:
    session = f"body-{kind[:13]}-{is_encoded}-{len(before)}"
    said = report(session)
    body = before + (quote(said, safe="") if is_encoded else said)
    with gateway.client("") as player:
        path = f"/v1/cmcd/{token_of(gateway, session)}"
        answer = player.post(path, content=body, headers={"Content-Type": kind})
    assert answer.status_code == 204, answer.text
    assert views(gateway, session) == ["playing"]


def test_a_token_in_the_query_is_kept_nowhere(gateway: RunningGateway) -> None:
    token = token_of(gateway, "secret")
    with gateway.client("") as player:
        for text in ("v=9,e=t", 'e=t,sid="other",ts=1', "e=,,"):
            path = f"/v1/cmcd?token={token}&CMCD={quote(text)}"
            assert player.get(path).status_code == 204
        bad = f"/v1/cmcd?token={token[:-3]}xxx&CMCD={quote('e=t,ts=1')}"
        assert player.get(bad).status_code == 204
    kept = b"".join(base64.b64decode(line.get("raw", "")) for line in gateway.lines())
    assert token[:-3].encode() not in kept
    assert token[:-3] not in gateway.said


# --- back ends -------------------------------------------------------------------------------------


def test_own_json_is_taken_by_its_mapping(gateway: RunningGateway) -> None:
    now = {"ts": time.time(), "tune": "own-1"}
    body = {"events": [OWN_EVENT | now, OWN_EVENT | now | {"what": "DANCING"}]}
    with gateway.client() as backend:
        answer = backend.post("/v1/events?mapping=set-top-box", json=body)
        assert answer.status_code == 202
        assert answer.json()["accepted"] == 2
        assert "none of the [[records]]" in answer.json()["problems"][0]["detail"]
        unknown = backend.post("/v1/events?mapping=other", json=body)
        assert (unknown.status_code, "--mapping" in unknown.text) == (404, True)
    assert views(gateway, "own-1") == ["playing"]


def test_a_webhook_of_cloudevents_is_welcome(gateway: RunningGateway) -> None:
    asks = {"WebHook-Request-Origin": "eventemitter.example.com", "WebHook-Request-Rate": "120"}
    with gateway.client("") as sender:
        answer = sender.options("/v1/events", headers=asks)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventemitter.example.com"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert "POST" in answer.headers["allow"]
    with gateway.client("") as sender:  # what it delivers still needs a key
        assert sender.post("/v1/events", json={}).status_code == 401


STREAM = "Device.Services.STBService.1.ServiceMonitoring.MainStream.1"


def test_no_number_makes_a_request_fail(gateway: RunningGateway) -> None:
    """Whatever stands in a number's place is answered, and a report beside it is taken."""
    token = token_of(gateway, "numbers")
    event = b'{"specversion":"1.0","id":"1","source":"/s","type":"view","subject":"a","time":%s}'
    cloud = {"Content-Type": "application/cloudevents+json"}
    with gateway.client() as backend, gateway.client("") as player:
        for number in [*NUMBERS, *TIMES]:
            bulk = b'{"Report":[{"CollectionTime":%s,"%s.EventLog.Entry.1.Time":%s}]}'
            body = bulk % (number, STREAM.encode(), number)
            query = {"oui": "1", "pc": "2", "sn": "3"}
            account = {"Ratecast-Account": "anna", "Content-Type": "application/json"}
            said = backend.post("/v1/bulk", params=query, content=body, headers=account)
            assert said.status_code == 200, (number[:40], said.text)
            own = b'{"events":[{"what":"TUNED","ts":%s,"position":%s}]}' % (number, number)
            said = backend.post("/v1/events?mapping=set-top-box", content=own, headers=account)
            assert said.status_code == 202, (number[:40], said.text)
            said = backend.post("/v1/events", content=event % number, headers=cloud)
            assert said.status_code == 202, (number[:40], said.text)
            order = b'{"account":"a","id":"o","offer":"x","time":%s}' % number
            said = backend.post("/v1/orders", content=order, headers=account)
            assert said.status_code in (202, 400, 422), (number[:40], said.text)
            cmcd = b'[{"e":"t","ts":%s,"pt":%s}]' % (number, number)
            kind = {"Content-Type": "application/json"}
            said = player.post(f"/v1/cmcd/{token}", content=cmcd, headers=kind)
            assert said.status_code in (204, 429), (number[:40], said.text)


# --- Kafka -----------------------------------------------------------------------------------------


def cloudevents(session: str) -> list[dict[str, Any]]:
    data = {"device": "tv", "session": session, "content": "film-1", "kind": "vod"}
    return [
        {
            "specversion": "1.0",
            "type": "tv.ratecast.view",
            "source": "/m",
            "id": f"{session}-{second}",
            "subject": "anna",
            "time": f"2026-01-05T12:00:{second:02}Z",
            "data": data | {"state": state},
        }
        for second, state in ((0, "playing"), (40, "stopped"))
    ]


def test_a_worker_reads_cloudevents_by_their_headers(kafka_address: str, tmp_path: Path) -> None:
    topic = make_topic(kafka_address, 1)
    producer = KafkaProducer(bootstrap_servers=kafka_address, acks="all")
    for event in cloudevents("binary"):
        data = json.dumps(event.pop("data")).encode()
        headers = [(f"ce_{name}", value.encode()) for name, value in event.items()]
        headers.append(("content-type", b"application/json"))
        producer.send(topic, data, b"anna", headers=headers)
    for event in cloudevents("structured"):
        kind = [("content-type", b"application/cloudevents+json")]
        producer.send(topic, json.dumps(event, indent=1).encode(), b"anna", headers=kind)
    batch = json.dumps(cloudevents("batch")).encode()
    kind = [("content-type", b"application/cloudevents-batch+json")]
    producer.send(topic, batch, b"anna", headers=kind)
    producer.send(topic, b"5", b"anna", headers=[("ce_specversion", b"1.0")])
    producer.send(topic, None, b"anna")
    producer.flush()
    producer.close()
    assert rated(tmp_path, kafka_address, topic, []) == (["batch", "binary", "structured"], 1)


def test_a_worker_and_produce_read_own_json_and_plain_cloudevents(
    kafka_address: str, tmp_path: Path
) -> None:
    log = tmp_path / "own.ndjson"
    own = [OWN_EVENT | {"ts": ts, "what": what} for ts, what in ((0, "TUNED"), (40, "STANDBY"))]
    for one in own:
        one["ts"] += 1_767_614_400
    log.write_text("".join(json.dumps({"events": [one]}) + "\n" for one in own) + "{broken\n")
    produced = make_topic(kafka_address, 1)
    command = [*COMMAND, "produce", "--kafka", kafka_address, "--topic", produced]
    command += ["--format", str(MAPPING), "--json", str(log)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["records"] == 3
    assert rated(tmp_path / "produced", kafka_address, produced, []) == (["t-9"], 1)
    for format_, messages in (
        (str(MAPPING), [json.dumps({"events": own}), "{broken"]),
        ("cloudevents", [*map(json.dumps, cloudevents("plain")), "[]", "{}"]),
    ):
        topic = make_topic(kafka_address, 1)
        producer = KafkaProducer(bootstrap_servers=kafka_address, acks="all")
        for message in messages:
            producer.send(topic, message.encode())
        producer.flush()
        producer.close()
        session = "t-9" if format_.endswith(".toml") else "plain"
        folder = tmp_path / session
        assert rated(folder, kafka_address, topic, ["--format", format_]) == ([session], 1)


def rated(folder: Path, kafka: str, topic: str, options: list[str]) -> tuple[list[str], int]:
    """The sessions that a worker charges 40 seconds of, and how many records it suspends."""
    folder.mkdir(exist_ok=True)
    store = str(folder / "s.db")
    with WorkerScene(folder, kafka, topic, store, [BOOK]) as scene:
        worker = scene.start(*options)
        held = topic_messages(kafka, topic)
        scene.wait_rated({0: held[0][-1][0] + 1})
        assert worker.stop() == 0
    with open_store(store, create=False) as opened:
        charges, suspense = opened.charges_after(0, 100), opened.suspense_after(0, 100)
    charged = charges.filter(pl.col("watched_ms") == 40_000)
    return sorted(charged["session"].to_list()), len(suspense)
