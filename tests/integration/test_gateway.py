"""The gateway as senders meet it: the real command in a process, real sockets, a real log folder."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jwt
import pytest
import zstandard
from services.gateway import RunningGateway

from ingest.gateway.key_file import (
    changed_keys,
    create_api_key,
    create_signing_key,
    revoke,
    rotate,
)
from ingest.gateway.keys import read_keys
from ingest.gateway.openapi import document, text
from ingest.gateway.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Iterator


ROOT = Path(__file__).parents[2]
LOOK_S = 0.7  # after which a change of the key file is in force
JSON = {"Content-Type": "application/json"}
CMCD = {"Content-Type": "application/cmcd"}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    running = RunningGateway(tmp_path_factory.mktemp("gateway"), "--access-log")
    assert running.url, running.said
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.said
    assert_no_secret(running)


SECRETS: list[str] = []


def assert_no_secret(running: RunningGateway) -> None:
    """Nothing of a key or a token stands in what the gateway wrote, its log included."""
    written = running.said.encode() + b"\n".join(running.raw_lines())
    entries = json.loads(running.keys.read_bytes())["signing_keys"]
    secrets = [running.key.rpartition("_")[2], *(each.get("k") or each["d"] for each in entries)]
    for secret in [*secrets, *SECRETS]:
        assert secret.encode() not in written
    assert " POST " in running.said  # the access log was on


def view(account: str = "anna", **fields: Any) -> dict[str, Any]:
    return {
        "type": "view",
        "time": int(time.time() * 1000),
        "account": account,
        "device": "tv",
        "session": "s1",
        "content": "sport-hd",
        "kind": "channel",
        "state": "playing",
    } | fields


def logged(running: RunningGateway, **fields: Any) -> list[dict[str, Any]]:
    """The lines of the log that have these fields."""
    return [line for line in running.lines() if fields.items() <= line.items()]


def new_token(running: RunningGateway, account: str, **fields: Any) -> dict[str, Any]:
    asked = {"account": account, "device": "tv", "session": f"s-{account}"} | fields
    with running.client() as client:
        answer = client.post("/v1/tokens", json=asked)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    SECRETS.append(answer.json()["token"].rpartition(".")[2])
    return answer.json()  # type: ignore[no-any-return]


def earlier_token(
    running: RunningGateway, account: str, session: str = "", *, since_s: int = 3 * 3600
) -> dict[str, Any]:
    """A token that was signed so long ago, as `new_token` gives it."""
    signer = read_keys(running.keys).signer()
    assert signer is not None
    session = session or f"s-{account}"
    now_s = int(time.time())
    token = mint(signer, account, "tv", session, expires_s=now_s + 3600, issued_s=now_s - since_s)
    return {"token": token, "session": session, "report_path": f"/v1/cmcd/{token}"}


def old_token(
    running: RunningGateway, account: str, expired_s: int = 3600, life_s: int = 6 * 3600
) -> str:
    """A token that expired so many seconds ago."""
    signer = read_keys(running.keys).signer()
    assert signer is not None
    ended_s = int(time.time()) - expired_s
    return mint(signer, account, "tv", "s-old", expires_s=ended_s, issued_s=ended_s - life_s)


# --- what back ends send ------------------------------------------------------------------------


def cloud_event(account: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": account,
        "source": "/middleware",
        "type": "tv.ratecast.view",
        "subject": account,
        "data": view(account),
    }


BODIES = {
    "object": (JSON, lambda who: json.dumps(view(who))),
    "array": (JSON, lambda who: json.dumps([view(who), view(who, state="paused")])),
    "lines": (
        {"Content-Type": "application/x-ndjson"},
        lambda who: "\n".join([json.dumps(view(who)), "", json.dumps(view(who))]),
    ),
    "structured": (
        {"Content-Type": "application/cloudevents+json"},
        lambda who: json.dumps(cloud_event(who)),
    ),
    "batched": (
        {"Content-Type": "application/cloudevents-batch+json; charset=utf-8"},
        lambda who: json.dumps([cloud_event(who), cloud_event(who)]),
    ),
    "binary": (
        JSON
        | {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/m", "ce-type": "tv.ratecast.view"},
        lambda who: json.dumps(view(who)),
    ),
}


@pytest.mark.parametrize("form", BODIES)
def test_records_of_a_back_end_are_in_the_log_once_it_is_answered(
    gateway: RunningGateway, form: str
) -> None:
    headers, body = BODIES[form]
    who = f"backend-{form}"
    before_ms = int(time.time() * 1000)
    with gateway.client() as client:
        answer = client.post("/v1/events", content=body(who), headers=headers)
    assert answer.status_code == 202, answer.text
    found = logged(gateway, account=who, type="view")
    assert answer.json() == {"accepted": len(found), "suspended": 0}
    assert all(before_ms <= line["received"] <= time.time() * 1000 for line in found)


@pytest.mark.parametrize("form", ["object", "structured"])
def test_a_sender_does_not_say_when_it_was_received(gateway: RunningGateway, form: str) -> None:
    """A `received` of the year 2100 would move the log's clock, and suspend all that follows."""
    who = f"forged-{form}"
    record = view(who, received=4_102_444_800_000)
    event = cloud_event(who) | {"data": record}
    body = record if form == "object" else event
    with gateway.client() as client:
        assert client.post("/v1/events", json=body, headers=BODIES[form][0]).status_code == 202
    (line,) = logged(gateway, account=who)
    assert line["received"] <= time.time() * 1000


def test_the_records_of_a_request_are_logged_in_the_order_of_their_times(
    gateway: RunningGateway,
) -> None:
    """For each session, among its own places; what happens to an account stays where it was put."""
    now_ms = int(time.time() * 1000)
    sent = [
        view("swapped", time=now_ms - 9000),
        view("swapped", time=now_ms - 1000, session="other"),
        view("swapped", time=now_ms - 5000),
        {"type": "account.open", "account": "swapped", "plan": "p", "time": now_ms - 6000},
        view("swapped", time=now_ms - 7000),
        view("swapped", time=now_ms - 8000, session="other"),
        view("swapped", time=now_ms - 3000, state="stopped"),
    ]
    token = earlier_token(gateway, "swapped too")["token"]
    with gateway.client() as client:
        assert client.post("/v1/events", json=sent).json() == {"accepted": 7, "suspended": 0}
    assert send_with(gateway, "query", token, sent[:1] + sent[2:3] + sent[4:5]).status_code == 202
    lines = logged(gateway, account="swapped")
    assert [(line.get("session", ""), now_ms - line["time"]) for line in lines] == [
        ("s1", 9000),
        ("other", 8000),
        ("s1", 7000),
        ("", 6000),
        ("s1", 5000),
        ("other", 1000),
        ("s1", 3000),
    ]
    lines = logged(gateway, account="swapped too")
    assert [now_ms - line["time"] for line in lines] == [9000, 7000, 5000]


def test_received_ascends_through_the_log(gateway: RunningGateway) -> None:
    received = [line["received"] for line in gateway.lines() if "received" in line]
    assert received == sorted(received)


def test_a_malformed_record_is_logged_and_named(gateway: RunningGateway) -> None:
    body = "\n".join([json.dumps(view("named")), "{not json", json.dumps(view("named", state="x"))])
    headers = {"Content-Type": "application/x-ndjson"}
    with gateway.client() as client:
        answer = client.post("/v1/events", content=body, headers=headers).json()
    assert (answer["accepted"], answer["suspended"]) == (3, 2)
    assert [problem["record"] for problem in answer["problems"]] == [2, 3]
    assert "not JSON" in answer["problems"][0]["detail"]
    assert 'field "state"' in answer["problems"][1]["detail"]
    assert b"{not json" in gateway.raw_lines()


def test_orders_accounts_and_topups_are_checked_before_they_are_taken(
    gateway: RunningGateway,
) -> None:
    with gateway.client() as client:
        for path, record in {
            "/v1/accounts": {"account": "bo", "plan": "basic"},
            "/v1/topups": {"account": "bo", "id": "t1", "amount": "10.00"},
            "/v1/orders": {"account": "bo", "id": "o1", "offer": "cup-final"},
        }.items():
            answer = client.post(path, json=record)
            assert answer.status_code == 202, answer.text
            assert answer.json()["accepted"] == 1
    types = [line["type"] for line in logged(gateway, account="bo")]
    assert types == ["account.open", "balance.topup", "order.purchase"]
    assert all(line["time"] == line["received"] for line in logged(gateway, account="bo"))


def test_of_wrong_orders_none_is_taken_and_each_is_named(gateway: RunningGateway) -> None:
    records = [
        {"account": "none", "id": "o1", "offer": "cup-final"},
        {"account": "none", "offer": "cup-final"},
        {"account": "none", "id": "o2", "type": "balance.topup", "amount": "5"},
    ]
    with gateway.client() as client:
        answer = client.post("/v1/orders", json=records)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert [problem["record"] for problem in answer.json()["problems"]] == [2, 3]
    assert logged(gateway, account="none") == []


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "said"),
    [
        ("/v1/events", {"Content-Type": "text/csv"}, "a,b", 415, "application/x-ndjson"),
        ("/v1/events", {}, "", 415, "missing"),
        ("/v1/events", JSON, " ", 400, "empty"),
        ("/v1/events", JSON | {"Content-Encoding": "br"}, "x", 415, "gzip, zstd"),
        ("/v1/events", JSON | {"Content-Encoding": "gzip"}, "no gzip", 400, "compress it again"),
        ("/v1/events", JSON | {"Content-Encoding": "zstd"}, "no zstd", 400, "compress it again"),
        ("/v1/orders", JSON, "{", 400, "not JSON"),
        ("/v1/orders", JSON, "[]", 400, "at least one"),
        ("/v1/orders", JSON, "7", 400, "no JSON object"),
        ("/v1/orders", {"Content-Type": "text/plain"}, "{}", 415, "application/json"),
        ("/v1/tokens", JSON, '{"account":"a"}', 422, '"device"'),
        ("/v1/tokens", JSON, '{"account":"a","device":"d","admin":1}', 422, "no field admin"),
        (
            "/v1/tokens",
            JSON,
            '{"account":"a","device":"d","expires_in_s":1e9}',
            422,
            "expires_in_s",
        ),
        ("/v1/cmcd", {"Content-Type": "text/plain"}, "sid", 415, "application/cmcd"),
        ("/v2/events", JSON, "{}", 404, "/openapi.json"),
    ],
)
def test_what_cannot_be_taken_is_said_with_how_to_mend_it(
    gateway: RunningGateway, path: str, headers: dict[str, str], body: str, status: int, said: str
) -> None:
    with gateway.client() as client:
        answer = client.post(path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert said in answer.json()["detail"]
    assert answer.json()["type"].startswith("urn:ratecast:problem:")


# --- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("credentials", ["", "rc_none", "rc_00000000_x", "rc__", "Basic"])
def test_without_a_good_key_nothing_is_taken(gateway: RunningGateway, credentials: str) -> None:
    with gateway.client(credentials) as client:
        for path in ("/v1/orders", "/v1/accounts", "/v1/topups", "/v1/tokens", "/v1/events"):
            answer = client.post(path, json=view("thief"))
            assert answer.status_code == 401, path
            assert answer.headers["www-authenticate"] == "Bearer"
    assert logged(gateway, account="thief") == []


def test_a_key_may_do_what_its_scopes_say_and_no_more(gateway: RunningGateway) -> None:
    with changed_keys(gateway.keys) as keys:
        viewing = create_api_key(keys, "player-backend", ["events"])
    time.sleep(LOOK_S)
    order = {"type": "order.purchase", "time": 1, "account": "x", "id": "1", "offer": "cup"}
    with gateway.client(viewing) as client:
        assert client.post("/v1/events", json=view("scoped")).status_code == 202
        assert client.post("/v1/orders", json=order).status_code == 403
        assert client.post("/v1/tokens", json={}).status_code == 403
        answer = client.post("/v1/events", json=[view("scoped"), order])
        assert answer.status_code == 403
        assert "needs orders" in answer.json()["detail"]
    assert len(logged(gateway, account="scoped")) == 1


def test_other_records_than_views_go_to_their_own_routes(gateway: RunningGateway) -> None:
    """What a proxy asks a client certificate for is not to be had without one at /v1/events."""
    with changed_keys(gateway.keys) as keys:
        middleware = create_api_key(keys, "middleware", ["events", "orders", "accounts", "topups"])
    time.sleep(LOOK_S)
    now_ms = int(time.time() * 1000)
    said = {"time": now_ms, "account": "certified", "id": "1"}
    others = [
        {"type": "order.purchase", "offer": "cup", **said},
        {"type": "account.open", "plan": "basic", **said},
        {"type": "account.adjust", "amount": "5", **said},
        {"type": "balance.topup", "amount": "5", **said},
        {"type": "balance.refund", "amount": "5", **said},
        {"type": "clock", **said},
    ]
    event = cloud_event("certified") | {"type": "tv.ratecast.balance.topup", "data": others[3]}
    with gateway.client(middleware) as client:
        for record in others:
            answer = client.post("/v1/events", json=[view("certified"), record])
            assert answer.status_code == 403, record
            assert "needs mixed" in answer.json()["detail"]
        headers = {"Content-Type": "application/cloudevents+json"}
        assert client.post("/v1/events", json=event, headers=headers).status_code == 403
        assert client.post("/v1/orders", json=others[0]).status_code == 202
    with gateway.client() as client:
        assert client.post("/v1/events", json=others[3]).status_code == 202
    types = [line["type"] for line in logged(gateway, account="certified")]
    assert types == ["order.purchase", "balance.topup"]


def test_keys_rotate_and_end_without_a_restart(gateway: RunningGateway) -> None:
    with changed_keys(gateway.keys) as keys:
        first = create_api_key(keys, "rotating", ["events"])
    key_id = first.split("_")[1]
    with changed_keys(gateway.keys) as keys:
        second = rotate(keys, key_id, 3600)
    time.sleep(LOOK_S)
    for key in (first, second):
        with gateway.client(key) as client:
            assert client.post("/v1/events", json=view("rotating")).status_code == 202
    with changed_keys(gateway.keys) as keys:
        revoke(keys, key_id)
    time.sleep(LOOK_S)
    with gateway.client(first) as client:
        assert client.post("/v1/events", json=view("rotating")).status_code == 401
    with gateway.client(second) as client:
        assert client.post("/v1/events", json=view("rotating")).status_code == 202


def test_a_key_file_that_is_broken_changes_nothing(gateway: RunningGateway) -> None:
    good = gateway.keys.read_bytes()
    gateway.keys.write_bytes(good[: len(good) // 2])
    time.sleep(LOOK_S)
    with gateway.client() as client:
        assert client.post("/v1/events", json=view("stale")).status_code == 202
    gateway.keys.write_bytes(good)
    time.sleep(LOOK_S)
    with gateway.client() as client:
        assert client.post("/v1/events", json=view("stale")).status_code == 202
    assert "the keys of before stay in force" in gateway.said


def test_every_line_about_a_request_names_its_key_and_never_shows_it(
    gateway: RunningGateway,
) -> None:
    token = new_token(gateway, "named-in-log")["token"]
    key_id = gateway.key.split("_")[1]
    with gateway.client() as client:
        client.post("/v1/orders", content="{", headers=JSON)
    assert send_with(gateway, "query", token, view()).status_code == 202
    with gateway.client("rc_00000000_x") as client:
        client.post("/v1/topups", json={})
    said = gateway.said.splitlines()
    kid = jwt.get_unverified_header(token)["kid"]
    assert any(f"[key {key_id}]" in line and "POST orders 400" in line for line in said)
    assert any(f"[token of {kid}]" in line and "POST events 202" in line for line in said)
    assert any("[-]" in line and "POST topups 401" in line for line in said)


# --- what players send --------------------------------------------------------------------------


def send_with(running: RunningGateway, how: str, token: str, body: Any) -> httpx.Response:
    with running.client("") as client:
        if how == "query":
            return client.post(f"/v1/events?token={token}", json=body)
        return client.post("/v1/events", json=body, headers={"Authorization": f"Bearer {token}"})


@pytest.mark.parametrize("how", ["query", "header"])
def test_who_pays_is_said_by_the_token_and_never_by_the_report(
    gateway: RunningGateway, how: str
) -> None:
    who = f"viewer-{how}"
    token = new_token(gateway, who, quality="uhd")["token"]
    forged = view("victim", device="other", session="other", quality="sd")
    assert send_with(gateway, how, token, [forged, forged]).status_code == 202
    first, second = logged(gateway, account=who)
    assert first == second
    assert (first["device"], first["session"], first["quality"]) == ("tv", f"s-{who}", "uhd")
    assert first["content"] == "sport-hd"
    assert logged(gateway, account="victim") == []


def test_a_token_is_for_viewing_alone(gateway: RunningGateway) -> None:
    token = new_token(gateway, "greedy")["token"]
    topup = {"type": "balance.topup", "time": 1, "account": "greedy", "id": "1", "amount": "9"}
    assert send_with(gateway, "query", token, topup).status_code == 202
    (line,) = logged(gateway, account="greedy")
    assert (line["type"], line["reason"]) == ("ingest.suspended", "unbound")
    with gateway.client(token) as client:
        assert client.post("/v1/topups", json=topup).status_code == 401
        assert client.post("/v1/tokens", json=topup).status_code == 401


def test_a_session_that_is_over_takes_what_happened_before_and_no_more(
    gateway: RunningGateway,
) -> None:
    token = old_token(gateway, "late")
    now_ms = int(time.time() * 1000)
    records = [view(time=now_ms - 7_200_000), view(time=now_ms)]
    answer = send_with(gateway, "query", token, records)
    assert answer.status_code == 410
    assert "token has expired" in answer.json()["detail"]
    taken, refused = logged(gateway, account="late")
    assert (taken["type"], taken["time"]) == ("view", now_ms - 7_200_000)
    assert (refused["type"], refused["reason"]) == ("ingest.suspended", "unbound")


DAY_S = 24 * 3600


@pytest.mark.parametrize("how", ["events", "cmcd"])
def test_a_token_binds_nothing_before_it_was_signed_and_nothing_long_after_its_end(
    gateway: RunningGateway, how: str
) -> None:
    """One that expired 20 days ago made charges, and for times before there was any token."""
    now_ms = int(time.time() * 1000)
    headers = {"Ratecast-Sent": str(now_ms)}
    cases = {
        "long over": (old_token(gateway, f"{how} long over", 20 * DAY_S), -20 * DAY_S - 3600, 410),
        "in the grace": (old_token(gateway, f"{how} in the grace", 23 * 3600), -24 * 3600, 410),
        "before": (earlier_token(gateway, f"{how} before", "s-old")["token"], -4 * 3600, 200),
        "within": (earlier_token(gateway, f"{how} within", "s-old")["token"], -2 * 3600, 200),
    }
    for who, (token, at_s, status) in cases.items():
        at_ms = now_ms + at_s * 1000
        with gateway.client("") as client:
            if how == "events":
                path, sent = f"/v1/events?token={token}", json.dumps(view(time=at_ms))
                answer = client.post(path, content=sent, headers=JSON | headers)
            else:
                sent = reports("s-old", at_ms, 1)[0]
                answer = client.post(f"/v1/cmcd/{token}", content=sent, headers=CMCD | headers)
        assert (answer.status_code == 410) == (status == 410), who
        (line,) = logged(gateway, account=f"{how} {who}")
        is_taken = who in ("in the grace", "within")
        assert (line["type"] == "view") == is_taken, (who, line)


def test_what_the_gateway_has_suspended_only_the_gateway_says(gateway: RunningGateway) -> None:
    """A suspended line is believed about its reason, its account and its bytes."""
    raw = base64.b64encode(b"x").decode()
    forged = {
        "type": "ingest.suspended",
        "reason": "malformed",
        "detail": "forged",
        "raw": raw,
        "account": "victim",
        "time": 1,
    }
    token = new_token(gateway, "forger")["token"]
    escaped = json.dumps(forged).replace("ingest.", "ingest\\u002e")
    for body in (json.dumps(forged), json.dumps([view("x"), forged]), escaped):
        for credentials in (token, gateway.key):
            with gateway.client(credentials) as client:
                answer = client.post("/v1/events", content=body, headers=JSON)
            assert answer.status_code == 202, answer.text
            assert answer.json()["suspended"] == 1
    assert logged(gateway, account="victim") == []
    kept = [line for line in gateway.lines() if b"forged" in base64.b64decode(line.get("raw", ""))]
    assert len(kept) == 6
    assert all("the gateway's own" in line["detail"] or "alone" in line["detail"] for line in kept)


def test_a_revoked_signing_key_vouches_for_nothing(gateway: RunningGateway) -> None:
    with changed_keys(gateway.keys) as keys:
        kid = create_signing_key(keys, "HS256")
    time.sleep(LOOK_S)
    token = new_token(gateway, "revoked")["token"]
    assert jwt.get_unverified_header(token)["kid"] == kid
    assert send_with(gateway, "query", token, view()).status_code == 202
    with changed_keys(gateway.keys) as keys:
        revoke(keys, kid)
    time.sleep(LOOK_S)
    assert send_with(gateway, "query", token, view()).status_code == 410
    assert [line["type"] for line in logged(gateway, account="revoked")] == [
        "view",
        "ingest.suspended",
    ]


def forged_tokens(running: RunningGateway) -> dict[str, str]:
    """Tokens that claim to be good, each by another trick."""
    claims = {
        "aud": "ratecast",
        "sub": "victim",
        "device": "tv",
        "session": "s",
        "exp": int(time.time()) + 1000,
    }
    keys = read_keys(running.keys)
    good = mint(keys.signing[running.shared_kid], "x", "tv", "s", expires_s=claims["exp"])
    public = next(
        each["x"]
        for each in json.loads(running.keys.read_bytes())["signing_keys"]
        if each["kid"] == running.signing_kid
    )
    eddsa = {"kid": running.signing_kid}
    head, _, signature = good.split(".")
    other = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return {
        "no signature": jwt.encode(claims, None, "none", headers=eddsa),
        "public key as a secret": jwt.encode(
            claims, base64.urlsafe_b64decode(public + "="), "HS256", headers=eddsa
        ),
        "another secret": jwt.encode(
            claims, "x" * 32, "HS256", headers={"kid": running.shared_kid}
        ),
        "claims exchanged": f"{head}.{other}.{signature}",
        "unknown key": jwt.encode(claims, "x" * 32, "HS256", headers={"kid": "none"}),
        "another audience": jwt.encode(
            claims | {"aud": "other"},
            keys.signing[running.shared_kid].key,
            "HS256",
            headers={"kid": running.shared_kid},
        ),
        "no token": "x",
        "too long": "x" * 5000,
    }


def test_a_forged_token_binds_nothing(gateway: RunningGateway) -> None:
    for trick, token in forged_tokens(gateway).items():
        answer = send_with(gateway, "query", token, view("victim"))
        assert answer.status_code == 401, trick
    assert logged(gateway, account="victim") == []


def test_a_report_that_nothing_binds_is_kept_and_never_charged(gateway: RunningGateway) -> None:
    report = b'cid="c",e=ps,sid="anonymous-1",sta=p,ts=1764752400000,v=2'
    with gateway.client("") as client:
        assert client.post("/v1/cmcd", content=report, headers=CMCD).status_code == 204
        path = "/v1/cmcd/" + forged_tokens(gateway)["another secret"]
        assert client.post(path, content=report, headers=CMCD).status_code == 204
    lines = [
        line
        for line in logged(gateway, type="ingest.suspended", reason="unbound")
        if base64.b64decode(line["raw"]) == report
    ]
    assert len(lines) == 2
    assert all("account" not in line for line in lines)


# --- compressed, large, too much ----------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_bodies_may_be_compressed(gateway: RunningGateway, encoding: str) -> None:
    who = f"packed-{encoding}"
    plain = json.dumps([view(who)] * 500).encode()
    half = len(plain) // 2
    compress = gzip.compress if encoding == "gzip" else zstandard.ZstdCompressor().compress
    for body in (compress(plain), compress(plain[:half]) + compress(plain[half:])):
        with gateway.client() as client:
            headers = JSON | {"Content-Encoding": encoding}
            answer = client.post("/v1/events", content=body, headers=headers)
            assert answer.json() == {"accepted": 500, "suspended": 0}
            answer = client.post("/v1/events", content=body[:-9], headers=headers)
            assert answer.status_code == 400
    assert len(logged(gateway, account=who)) == 1000


def test_a_bomb_is_refused_before_it_takes_memory(gateway: RunningGateway) -> None:
    zeros = bytes(400 * 2**20)
    bombs = {"gzip": gzip.compress(zeros, 6), "zstd": zstandard.ZstdCompressor().compress(zeros)}
    del zeros
    before = gateway.most_memory_bytes()
    with gateway.client() as client:
        for encoding, bomb in bombs.items():
            for _ in range(3):
                headers = JSON | {"Content-Encoding": encoding}
                answer = client.post("/v1/events", content=bomb, headers=headers)
                assert answer.status_code == 413
        assert client.post("/v1/events", content=bytes(9 * 2**20), headers=JSON).status_code == 413
    assert gateway.most_memory_bytes() - before < 64 * 2**20


def test_a_record_that_no_message_could_carry_is_refused(gateway: RunningGateway) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/events", json=[view("vast", note="x" * 600_000)])
    assert answer.status_code == 413
    assert logged(gateway, account="vast") == []


# --- what the gateway says of itself ------------------------------------------------------------


def test_the_published_document_is_the_served_one(gateway: RunningGateway) -> None:
    assert (ROOT / "docs" / "openapi.json").read_text() == text()
    with gateway.client("") as client:
        assert client.get("/openapi.json").json() == document()
        assert client.get("/healthz").text == "ok\n"
        assert client.get("/readyz").text == "ready\n"
        figures = client.get("/metrics").text
    assert 'ratecast_gateway_lines_total{type="view"}' in figures
    assert "ratecast_gateway_group_seconds_bucket" in figures


def test_pages_of_other_origins_may_report(gateway: RunningGateway) -> None:
    headers = {
        "Origin": "https://player.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type, ratecast-sent",
    }
    with gateway.client("") as client:
        answer = client.options("/v1/cmcd", headers=headers)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "ratecast-sent" in answer.headers["access-control-allow-headers"]


def test_an_api_key_is_stored_as_its_hash(gateway: RunningGateway) -> None:
    content = gateway.keys.read_text()
    assert gateway.key not in content
    assert hashlib.sha256(gateway.key.encode()).hexdigest() in content
    assert gateway.keys.stat().st_mode & 0o077 == 0


# --- CMCD, and all the way to a charge ----------------------------------------------------------


def reports(session: str, start_ms: int, count: int = 5) -> list[str]:
    """Event mode: playing from the start on, with a heartbeat each 30 s, then the end."""
    common = f'cid="sport-hd",sid="{session}",st=l,v=2'
    playing = [
        f"e={'ps' if number == 0 else 't'},pt={number * 30_000},{common},sn={number},sta=p,"
        f"ts={start_ms + number * 30_000}"
        for number in range(count)
    ]
    ended_ms = start_ms + count * 30_000
    return [*playing, f"e=ps,pt={count * 30_000},{common},sn={count},sta=e,ts={ended_ms}"]


@pytest.mark.parametrize("media", ["application/cmcd", "text/cmcd"])
def test_a_players_reports_become_views_of_whom_the_token_names(
    gateway: RunningGateway, media: str
) -> None:
    who = f"cmcd-{media[:4]}"
    asked = earlier_token(gateway, who)
    lines = reports(asked["session"], int(time.time() * 1000) - 200_000)
    headers = {"Content-Type": media}
    with gateway.client("") as client:
        for part in (lines[:2], lines[2:], lines[2:]):
            answer = client.post(asked["report_path"], content="\n".join(part), headers=headers)
            assert (answer.status_code, answer.content) == (204, b"")
    views = logged(gateway, account=who, type="view")
    assert [line["state"] for line in views][:6] == ["playing"] * 5 + ["stopped"]
    assert {(line["device"], line["session"], line["kind"]) for line in views} == {
        ("tv", asked["session"], "channel")
    }


def test_an_edge_mirrors_event_reports_in_headers_or_query(gateway: RunningGateway) -> None:
    asked = new_token(gateway, "mirrored")
    first, second, *_ = reports(asked["session"], int(time.time() * 1000) - 60_000)
    with gateway.client() as client:  # the edge's own key, and the viewer's token in the query
        path = f"/v1/mirror/seg/1.m4s?token={asked['token']}"
        assert client.get(path, headers={"CMCD-Session": first}).status_code == 204
        assert client.get(path, params=None, headers={}).status_code == 204
    with gateway.client("") as client:
        query = str(httpx.QueryParams({"token": asked["token"], "CMCD": second}))
        assert client.get(f"/v1/mirror/seg/2.m4s?{query}").status_code == 204
        request_mode = 'bl=1800,br=840,d=3000,ot=v,sid="x"'
        assert client.get("/v1/mirror/x", params={"CMCD": request_mode}).status_code == 204
    assert len(logged(gateway, account="mirrored", type="view")) == 2


def test_an_ended_session_hears_410_at_its_report_path(gateway: RunningGateway) -> None:
    token = old_token(gateway, "ended")
    now_ms = int(time.time() * 1000)
    with gateway.client("") as client:
        for start_ms in (now_ms - 7_200_000, now_ms - 1000):
            body = "\n".join(reports("s-old", start_ms, 1)[:1])
            answer = client.post(f"/v1/cmcd/{token}", content=body, headers=CMCD)
            assert answer.status_code == 410
    # Nothing is known of the device's clock, so both count as sent when they came: after the end.
    found = logged(gateway, account="ended")
    assert [(line["type"], line["reason"]) for line in found] == 2 * [
        ("ingest.suspended", "unbound")
    ]


# --- wrong clocks, and reports that come late ----------------------------------------------------

HOUR_MS = 3_600_000


def watched(lines: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [(line["state"], line["time"]) for line in lines]


@pytest.mark.parametrize("off_ms", [3 * HOUR_MS, -3 * HOUR_MS, 0])
def test_a_queue_of_a_device_with_a_wrong_clock_lands_where_it_happened(
    gateway: RunningGateway, off_ms: int
) -> None:
    """Two and a half minutes, watched two hours ago, sent after an outage from a clock that is off."""
    who = f"queue-{off_ms}"
    asked = earlier_token(gateway, who)
    now_ms = int(time.time() * 1000)
    began_ms = now_ms - 2 * HOUR_MS
    lines = reports(asked["session"], began_ms + off_ms)
    headers = CMCD | {"Ratecast-Sent": str(now_ms + off_ms)}
    with gateway.client("") as client:
        answer = client.post(asked["report_path"], content="\n".join(lines), headers=headers)
    assert answer.status_code == 204
    found = logged(gateway, account=who)
    late_ms = found[0]["time"] - began_ms
    assert 0 <= late_ms < 2000  # how long the request was under way
    assert [at - found[0]["time"] for _, at in watched(found)] == list(range(0, 150_001, 30_000))
    if off_ms:
        assert [line["device_time"] for line in found] == [
            began_ms + off_ms + at for at in range(0, 150_001, 30_000)
        ]


def test_the_edge_passes_on_when_a_report_was_sent(gateway: RunningGateway) -> None:
    asked = earlier_token(gateway, "mirrored-late")
    now_ms = int(time.time() * 1000)
    first, *_ = reports(asked["session"], now_ms + HOUR_MS)
    headers = {"CMCD-Session": first, "Ratecast-Sent": str(now_ms + 2 * HOUR_MS)}
    with gateway.client() as client:
        path = f"/v1/mirror/seg/1.m4s?token={asked['token']}"
        assert client.get(path, headers=headers).status_code == 204
    (line,) = logged(gateway, account="mirrored-late")
    assert abs(line["time"] - (now_ms - HOUR_MS)) < 2000


def test_a_players_own_records_are_moved_by_what_its_clock_is_off_by(
    gateway: RunningGateway,
) -> None:
    token = earlier_token(gateway, "own-clock")["token"]
    now_ms = int(time.time() * 1000)
    off_ms = -3 * HOUR_MS
    said = [view(time=now_ms - HOUR_MS + off_ms + at) for at in (0, 30_000)]
    headers = {"Authorization": f"Bearer {token}", "Ratecast-Sent": str(now_ms + off_ms)}
    with gateway.client("") as client:
        assert client.post("/v1/events", json=said, headers=headers).status_code == 202
    first, second = logged(gateway, account="own-clock")
    assert 0 <= first["time"] - (now_ms - HOUR_MS) < 2000
    assert second["time"] - first["time"] == 30_000
    assert first["device_time"] == now_ms - HOUR_MS + off_ms


@pytest.mark.parametrize("clock_ms", ["ahead", "never set"])
def test_without_a_sent_time_a_clock_that_must_be_wrong_is_put_right(
    gateway: RunningGateway, clock_ms: str
) -> None:
    """What lies ahead of its arrival, or in 1970: for all of the session, once it is known."""
    who = f"clock {clock_ms}"
    token = new_token(gateway, who)["token"]
    now_ms = int(time.time() * 1000)
    off_ms = 3 * HOUR_MS if clock_ms == "ahead" else 50_000 - now_ms
    for at in (-30_000, -20_000, -10_000):
        body = view(time=now_ms + off_ms + at)
        assert send_with(gateway, "query", token, body).status_code == 202
    times = [line["time"] for line in logged(gateway, account=who)]
    assert abs(times[0] - now_ms) < 2000
    assert [at - times[0] for at in times] == [0, 10_000, 20_000]
    late = earlier_token(gateway, f"late {clock_ms}")["token"]
    assert send_with(gateway, "query", late, view(time=now_ms - HOUR_MS)).status_code == 202
    (line,) = logged(gateway, account=f"late {clock_ms}")
    assert line["time"] == now_ms - HOUR_MS


@pytest.mark.parametrize("said", ["yesterday", "-5", "1772827200", "", "9" * 40])
def test_a_sent_time_that_cannot_be_read_is_refused(gateway: RunningGateway, said: str) -> None:
    asked = new_token(gateway, "misread")
    with gateway.client("") as client:
        answer = client.post(
            asked["report_path"],
            content=reports(asked["session"], 1)[0],
            headers=CMCD | {"Ratecast-Sent": said},
        )
    assert answer.status_code == 400
    assert "milliseconds since 1970" in answer.json()["detail"]
    assert logged(gateway, account="misread") == []


def test_an_ended_session_is_believed_about_before_where_it_says_when_it_sent(
    gateway: RunningGateway,
) -> None:
    """Nothing is known of its clock from before: the sent time tells late from wrong."""
    now_ms = int(time.time() * 1000)
    for who, off_ms in (("late-right", 0), ("late-wrong", 3 * HOUR_MS)):
        token = old_token(gateway, who)
        before = reports("s-old", now_ms - 2 * HOUR_MS + off_ms, 1)[:1]
        after = reports("s-old", now_ms - 60_000 + off_ms, 1)[:1]
        headers = CMCD | {"Ratecast-Sent": str(now_ms + off_ms)}
        with gateway.client("") as client:
            for lines in (before, after):
                answer = client.post(f"/v1/cmcd/{token}", content=lines[0], headers=headers)
                assert answer.status_code == 410
        taken, refused = logged(gateway, account=who)
        assert (taken["type"], refused["reason"]) == ("view", "unbound")
        assert abs(taken["time"] - (now_ms - 2 * HOUR_MS)) < 2000


# --- the samples of the docs --------------------------------------------------------------------

SAMPLES = re.findall(
    r"```sh\n(.*?)```", (ROOT / "docs" / "senders" / "http.md").read_text(), re.DOTALL
)


@pytest.mark.parametrize("number", range(len(SAMPLES)))
def test_samples_of_the_docs_run(gateway: RunningGateway, number: int) -> None:
    sample = SAMPLES[number]
    names = {"URL": gateway.url, "KEY": gateway.key}
    if "$TOKEN" in sample:
        names["TOKEN"] = new_token(gateway, "anna", session="s2")["token"]
    before = len(gateway.raw_lines())
    done = subprocess.run(
        ["sh", "-eu", "-c", sample],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (sample, done.stdout, done.stderr)
    assert '"suspended":' not in done.stdout or '"suspended":0' in done.stdout
    assert len(gateway.raw_lines()) > before or "/v1/tokens" in sample
