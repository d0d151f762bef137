"""Set-top boxes post bulk data of TR-069 and TR-369 to a running gateway."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import os
import re
import subprocess
import time
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from services.gateway import COMMAND, RunningGateway, environment
from services.website import BOOK

from ingest.gateway.key_file import changed_keys, create_api_key
from ingest.gateway.keys import SCOPES, read_keys
from ingest.gateway.tokens import mint, read_token
from rating.runtime.commands.keys import SCOPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

ROOT = Path(__file__).parents[2]
EVENTS = ROOT / "examples/mappings/tr135-events.toml"
STREAM = "Device.Services.STBService.1.ServiceMonitoring.MainStream.1"
STATS = "Device.Services.STBService.1.Applications.AudienceStats"
IDENTITY = {"oui": "00256D", "pc": "Z", "sn": "Y"}
JSON = {"Content-Type": "application/json; charset=UTF-8", "BBF-Report-Format": '"NameValuePair"'}
CSV = {"Content-Type": "text/csv; charset=UTF-8", "BBF-Report-Format": '"ParameterPerRow"'}
HOUR_MS = 3_600_000


def start(folder: Path, *options: str) -> RunningGateway:
    boxes = ("--boxes", str(folder / "boxes"), "--box-events", str(EVENTS))
    running = RunningGateway(folder, *boxes, *options)
    assert running.url, running.said
    return running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    running = start(tmp_path_factory.mktemp("bulk"))
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.said


def moment(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def report(began_ms: int, *entries: tuple[int, str, int], collected_ms: int = 0) -> dict[str, Any]:
    """A report of one stream. entries: number, type, seconds after the beginning."""
    whole: dict[str, Any] = {
        "CollectionTime": (collected_ms or int(time.time() * 1000)) // 1000,
        f"{STREAM}.ServiceType": "IPTV",
        f"{STREAM}.SessionId": "uuid-1",
    }
    for place, (number, type_, seconds) in enumerate(entries, 1):
        at = f"{STREAM}.EventLog.Entry.{place}"
        whole |= {
            f"{at}.SequenceNumber": number,
            f"{at}.Type": type_,
            f"{at}.Time": moment(began_ms + seconds * 1000),
            f"{at}.Parameter.1.Name": "Channel",
            f"{at}.Parameter.1.Value": "ch-1",
        }
    return whole


EVENING = [(1, "start session", 0), (2, "alive", 60), (3, "stop session", 90)]


def body_of(*reports: dict[str, Any]) -> bytes:
    return json.dumps({"Report": reports}).encode()


def csv_of(one: dict[str, Any]) -> bytes:
    out = io.StringIO()
    rows = [[one["CollectionTime"], name, value] for name, value in one.items()]
    csv.writer(out).writerows([["ReportTimestamp", "ParameterName", "ParameterValue"], *rows[1:]])
    return out.getvalue().encode()


def token_of(
    running: RunningGateway, account: str, expires_in_s: int = 600, issued_s_ago: int = 10 * 3600
) -> str:
    """The token that a box has had for some hours."""
    signer = read_keys(running.keys).signer()
    assert signer is not None
    now_s = int(time.time())
    return mint(
        signer,
        account,
        f"box-{account}",
        "",
        expires_s=now_s + expires_in_s,
        issued_s=now_s - issued_s_ago,
    )


def post(
    running: RunningGateway, token: str, body: bytes, headers: dict[str, str] = JSON
) -> httpx.Response:
    with running.client("") as client:
        return client.post(f"/v1/bulk/{token}", params=IDENTITY, content=body, headers=headers)


def logged(running: RunningGateway, account: str) -> list[dict[str, Any]]:
    return [line for line in running.lines() if line.get("account") == account]


def states(running: RunningGateway, account: str) -> list[tuple[str, int]]:
    return [(line["state"], line["time"]) for line in logged(running, account)]


# --- event logs ---------------------------------------------------------------------------------


def test_a_box_gets_a_token_and_reports_what_was_watched(gateway: RunningGateway) -> None:
    asked = {"account": "anna", "device": "box-1", "box": True}
    with gateway.client() as client:
        given = client.post("/v1/tokens", json=asked).json()
    assert "session" not in given
    began_ms = int(time.time() * 1000)
    with gateway.client("") as client:
        answer = client.post(
            given["report_path"],
            params=IDENTITY,
            content=body_of(report(began_ms, *EVENING)),
            headers=JSON,
        )
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"accepted": 3, "suspended": 0, "repeats": 0, "counters": 0}
    lines = logged(gateway, "anna")
    assert [line["state"] for line in lines] == ["playing", "playing", "stopped"]
    assert [line["time"] - began_ms for line in lines] == [0, 60_000, 90_000]
    assert {(line["device"], line["session"], line["content"]) for line in lines} == {
        ("box-1", "uuid-1", "ch-1")
    }


@pytest.mark.parametrize("form", ["json", "csv", "gzip", "chunked", "put"])
def test_however_a_box_sends_it(gateway: RunningGateway, form: str) -> None:
    began_ms = int(time.time() * 1000) - 300_000
    said = report(began_ms, *EVENING)
    body = csv_of(said) if form == "csv" else body_of(said)
    headers = dict(CSV if form == "csv" else JSON)
    content: Any = body
    if form == "gzip":
        content = gzip.compress(body)
        headers["Content-Encoding"] = "gzip"
    elif form == "chunked":
        content = iter([body[:50], body[50:]])
    with gateway.client("") as client:
        answer = client.request(
            "PUT" if form == "put" else "POST",
            f"/v1/bulk/{token_of(gateway, form)}",
            params=IDENTITY,
            content=content,
            headers=headers,
        )
    assert answer.status_code == 200, answer.text
    assert states(gateway, form) == [
        ("playing", began_ms),
        ("playing", began_ms + 60_000),
        ("stopped", began_ms + 90_000),
    ]


def test_an_event_log_that_is_reported_again_and_again_counts_once(tmp_path: Path) -> None:
    """Also past a restart, and where what the gateway remembers of boxes was lost with the disk."""
    running = start(tmp_path)
    token = token_of(running, "bo")
    began_ms = int(time.time() * 1000) - 300_000
    evening = body_of(report(began_ms, *EVENING))
    assert post(running, token, evening).json()["accepted"] == 3
    assert post(running, token, evening).json() == {
        "accepted": 0, "suspended": 0, "repeats": 3, "counters": 0,
    }  # fmt: skip
    assert running.stop() == 0
    running = start(tmp_path)
    later = body_of(report(began_ms, *EVENING, (4, "start session", 120)))
    assert post(running, token, later).json()["accepted"] == 1
    assert running.stop(9) == -9
    for kept in (tmp_path / "boxes").glob("boxes.db*"):
        kept.unlink()
    running = start(tmp_path)
    last = body_of(report(began_ms, *EVENING, (4, "start session", 120), (5, "stop session", 150)))
    assert post(running, token, last).json()["accepted"] == 1
    assert [line["sn"] for line in logged(running, "bo")] == [1, 2, 3, 4, 5]
    assert running.stop() == 0


def test_an_event_log_outlives_the_boxs_owner(gateway: RunningGateway) -> None:
    """The box was another's until five minutes ago: what that one watched is not charged again."""
    began_ms = int(time.time() * 1000) - 3_600_000
    log = [*EVENING, (4, "start session", 3500), (5, "stop session", 3590)]
    token = token_of(gateway, "second", issued_s_ago=300)
    assert post(gateway, token, body_of(report(began_ms))).status_code == 200  # another profile's
    answer = post(gateway, token, body_of(report(began_ms, *log))).json()
    assert (answer["accepted"], answer["suspended"]) == (5, 3)
    found = logged(gateway, "second")
    assert [line["time"] - began_ms for line in found if line["type"] == "view"] == [
        3_500_000,
        3_590_000,
    ]
    assert {line["reason"] for line in found if line["type"] != "view"} == {"unbound"}
    # A token that is renewed changes nothing: the gateway knows the box by now.
    renewed = token_of(gateway, "second", issued_s_ago=0)
    later = body_of(report(began_ms, *log, (6, "start session", 3500)))
    assert post(gateway, renewed, later).json() == {
        "accepted": 1, "suspended": 0, "repeats": 5, "counters": 0,
    }  # fmt: skip


def test_a_back_end_gives_a_box_to_another_account(gateway: RunningGateway) -> None:
    began_ms = int(time.time() * 1000) - 300_000
    identity = {"oui": "1", "pc": "moved", "sn": "7"}

    def passed_on(account: str | None, *entries: tuple[int, str, int]) -> dict[str, Any]:
        headers = JSON | ({"Ratecast-Account": account} if account else {})
        with gateway.client() as client:
            answer = client.post(
                "/v1/bulk",
                params=identity,
                content=body_of(report(began_ms, *entries)),
                headers=headers,
            )
        return answer.json()  # type: ignore[no-any-return]

    assert passed_on(None, EVENING[0])["suspended"] == 1
    assert passed_on(None, EVENING[0])["accepted"] == 0  # it is suspended once
    assert passed_on("before", *EVENING)["accepted"] == 2
    assert passed_on("after", *EVENING, (4, "start session", 120))["accepted"] == 1


def test_a_count_that_begins_anew_is_news(gateway: RunningGateway) -> None:
    token = token_of(gateway, "reset")
    began_ms = int(time.time() * 1000) - 300_000
    post(gateway, token, body_of(report(began_ms, (700, "start session", 0))))
    answer = post(gateway, token, body_of(report(began_ms, (1, "stop session", 60))))
    assert answer.json()["accepted"] == 1


def test_two_at_once_are_read_one_after_the_other(gateway: RunningGateway) -> None:
    """A box whose answer was slow sends again while the first is still under way."""
    from concurrent.futures import ThreadPoolExecutor

    token = token_of(gateway, "hasty")
    body = body_of(report(int(time.time() * 1000) - 300_000, *EVENING))
    with ThreadPoolExecutor(8) as senders:
        answers = list(senders.map(lambda _: post(gateway, token, body).json(), range(8)))
    assert sorted(answer["accepted"] for answer in answers) == [0] * 7 + [3]


@pytest.mark.parametrize("says_when", ["Date", "Ratecast-Sent", "CollectionTime"])
@pytest.mark.parametrize("off_ms", [3 * HOUR_MS, -3 * HOUR_MS])
def test_a_box_with_a_wrong_clock(gateway: RunningGateway, says_when: str, off_ms: int) -> None:
    """Its log of an evening two hours ago, after an outage, from a clock that is three hours off."""
    who = f"{says_when}{off_ms}"
    now_ms = int(time.time() * 1000)
    began_ms = now_ms - 2 * HOUR_MS
    box_ms = now_ms + off_ms
    headers = {
        "Date": {"Date": format_datetime(datetime.fromtimestamp(box_ms // 1000, UTC), usegmt=True)},
        "Ratecast-Sent": {"Ratecast-Sent": str(box_ms)},
        "CollectionTime": {},
    }[says_when]
    # Where it says when it sends, the report may have waited since it was collected.
    collected_ms = box_ms if says_when == "CollectionTime" else box_ms - HOUR_MS
    body = body_of(report(began_ms + off_ms, *EVENING, collected_ms=collected_ms))
    assert post(gateway, token_of(gateway, who), body, JSON | headers).status_code == 200
    lines = logged(gateway, who)
    assert abs(lines[0]["time"] - began_ms) < 3000
    assert [line["time"] - lines[0]["time"] for line in lines] == [0, 60_000, 90_000]
    assert lines[0]["device_time"] == began_ms + off_ms


def test_what_cannot_be_read_is_suspended_and_not_sent_again(gateway: RunningGateway) -> None:
    token = token_of(gateway, "broken")
    for body in (b"{", body_of({"CollectionTime": 1} | {f"{STREAM}.EventLog.Entry.1.Type": "?"})):
        answer = post(gateway, token, body)
        assert (answer.status_code, answer.json()["suspended"]) == (200, 1)
    assert [line["reason"] for line in logged(gateway, "broken")] == ["malformed"] * 2
    assert base64.b64decode(logged(gateway, "broken")[0]["raw"]) == b"{"


# --- who sends ----------------------------------------------------------------------------------


def test_basic_authentication_has_the_token_as_its_password(gateway: RunningGateway) -> None:
    body = body_of(report(int(time.time() * 1000) - 300_000, *EVENING))
    with gateway.client("") as client:
        asked = client.post("/v1/bulk", params=IDENTITY, content=body, headers=JSON)
        assert asked.status_code == 401
        assert asked.headers["www-authenticate"].startswith("Basic ")
        answer = client.post(
            "/v1/bulk",
            params=IDENTITY,
            content=body,
            headers=JSON,
            auth=("00256D-Z-Y", token_of(gateway, "basic")),
        )
    assert answer.json()["accepted"] == 3
    assert {line["device"] for line in logged(gateway, "basic")} == {"box-basic"}


def test_a_back_end_with_the_scope_names_the_account(gateway: RunningGateway) -> None:
    with changed_keys(gateway.keys) as keys:
        management = create_api_key(keys, "management", ["bulk"])
        other = create_api_key(keys, "other", ["events"])
    time.sleep(0.7)
    body = body_of(report(int(time.time() * 1000) - 300_000, *EVENING))
    headers = JSON | {"Ratecast-Account": "%C3%85sa"}
    with gateway.client(management) as client:
        answer = client.post("/v1/bulk", params=IDENTITY, content=body, headers=headers)
        assert answer.json()["accepted"] == 3
        unbound = IDENTITY | {"sn": "unbound"}
        nobody = client.post("/v1/bulk", params=unbound, content=body, headers=JSON)
        assert nobody.json()["suspended"] == 3
    with gateway.client(other) as client:
        answer = client.post("/v1/bulk", params=IDENTITY, content=body, headers=headers)
        assert answer.status_code == 403
    assert {line["device"] for line in logged(gateway, "Åsa")} == {"00256D-Z-Y"}


def test_what_a_report_says_of_its_account_counts_for_nothing(gateway: RunningGateway) -> None:
    said = report(int(time.time() * 1000) - 300_000, *EVENING) | {"account": "victim"}
    with gateway.client("") as client:
        answer = client.post(
            f"/v1/bulk/{token_of(gateway, 'honest')}",
            params=IDENTITY | {"account": "victim"},
            content=body_of(said),
            headers=JSON | {"Ratecast-Account": "victim"},
        )
    assert answer.json()["accepted"] == 3
    assert logged(gateway, "victim") == []


def test_the_command_line_knows_what_the_gateway_knows(tmp_path: Path) -> None:
    """Scopes of keys, and a token for a box as an operator makes it."""
    assert SCOPE_NAMES == SCOPES
    keys = str(tmp_path / "keys.json")
    ratecast("keys", "create", "--file", keys, "--signing")
    words = ("keys", "token", "--file", keys, "--account", "anna", "--device", "box-1", "--box")
    binding = read_token(read_keys(Path(keys)), ratecast(*words).strip())
    assert (binding.account, binding.device, binding.session) == ("anna", "box-1", "")
    assert binding.ends_ms - (binding.issued_ms or 0) == 90 * 24 * 3_600_000
    refused = subprocess.run(
        [*COMMAND, *words, "--hours", "10000"],
        env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "not in the range 0<x<=9600" in refused.stderr


def test_a_boxs_token_is_for_bulk_data_and_a_sessions_for_its_session(
    gateway: RunningGateway,
) -> None:
    token = token_of(gateway, "misused")
    cmcd = b'cid="c",e=ps,sid="s1",sta=p,ts=1764752400000,v=2'
    with gateway.client("") as client:
        answer = client.post(
            f"/v1/cmcd/{token}", content=cmcd, headers={"Content-Type": "application/cmcd"}
        )
        assert answer.status_code == 204
        events = client.post(f"/v1/events?token={token}", json={"type": "view"})
        assert events.status_code == 401
    assert logged(gateway, "misused") == []
    signer = read_keys(gateway.keys).signer()
    assert signer is not None
    now_s = int(time.time())
    bound = mint(signer, "one", "tv", "s-7", expires_s=now_s + 60, issued_s=now_s - 3600)
    post(gateway, bound, body_of(report(int(time.time() * 1000) - 300_000, *EVENING)))
    assert {line["session"] for line in logged(gateway, "one")} == {"s-7"}


def test_a_box_keeps_its_reports_until_it_has_a_good_token(gateway: RunningGateway) -> None:
    began_ms = int(time.time() * 1000) - 300_000
    body = body_of(report(began_ms, *EVENING))
    post(gateway, token_of(gateway, "over"), body_of(report(began_ms, EVENING[0])))
    answer = post(gateway, token_of(gateway, "over", expires_in_s=-3600), body)
    assert answer.status_code == 401
    assert "give the box a new one" in answer.json()["detail"]
    assert len(logged(gateway, "over")) == 1
    renewed = token_of(gateway, "over", issued_s_ago=0)
    assert post(gateway, renewed, body).json()["accepted"] == 2


def test_a_gateway_without_boxes_says_so(tmp_path: Path) -> None:
    running = RunningGateway(tmp_path)
    answer = post(running, token_of(running, "x"), body_of())
    assert (answer.status_code, "--boxes DIR" in answer.json()["detail"]) == (404, True)
    assert running.stop() == 0


# --- audience counters, and the sample of the manual ----------------------------------------------


def test_counters_are_kept_once_they_are_answered(gateway: RunningGateway) -> None:
    said = {"CollectionTime": int(time.time())}
    said |= {f"{STATS}.Channel.1.Name": "ch-1", f"{STATS}.Channel.1.Duration": 5400}
    answer = post(gateway, token_of(gateway, "counted"), body_of(said))
    assert answer.json()["counters"] == 1
    (segment,) = (gateway.folder / "boxes").glob("counters-*.ndjson")
    rows = [json.loads(line) for line in segment.read_text().splitlines()]
    (row,) = [row for row in rows if row["account"] == "counted"]
    assert (row["channel"], row["duration_s"], row["device"]) == ("ch-1", 5400, "box-counted")


def ratecast(*words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def test_from_a_box_to_its_charge_and_to_its_counters(tmp_path: Path) -> None:
    """Two channels were on for a quarter of an hour each; of the second the event log says nothing."""
    running = start(tmp_path)
    hour_ms = (int(time.time() * 1000) // HOUR_MS - 2) * HOUR_MS
    beats = [(number, "alive", 60 * number) for number in range(1, 15)]
    log = [(0, "start session", 0), *beats, (15, "stop session", 900)]
    names = {f"{STATS}.Channel.{n}.Name": f"ch-{n}" for n in (1, 2)}
    counts = [{f"{STATS}.Channel.{n}.Duration": 7 + on for n in (1, 2)} for on in (0, 900)]
    first = report(hour_ms + 600_000, collected_ms=hour_ms - 60_000) | names | counts[0]
    last = report(hour_ms + 600_000, *log, collected_ms=hour_ms + HOUR_MS + 60_000)
    sent = {"Ratecast-Sent": str(int(time.time() * 1000))}
    answer = post(
        running, token_of(running, "cy"), body_of(first, last | names | counts[1]), JSON | sent
    )
    assert answer.json() == {"accepted": 16, "suspended": 0, "repeats": 0, "counters": 4}
    assert running.stop() == 0
    store = str(tmp_path / "bills.db")
    ratecast("rate", "--tariffs", str(BOOK), "--store", store, str(running.log_folder))
    words = ("reconcile", "--store", store, "--boxes", str(tmp_path / "boxes"), "--json")
    said = json.loads(ratecast(*words))["boxes"]
    channels = {verdict: sums["channels"] for verdict, sums in said["verdicts"].items()}
    assert channels == {
        "agrees": 1, "leakage": 0, "unreported": 1, "over_reported": 0, "uncounted": 0,
    }  # fmt: skip
    assert said["verdicts"]["agrees"]["charged_ms"] == 900_000
    assert [row["content"] for row in said["worst"]] == ["ch-2"]


SAMPLES = re.findall(
    r"```sh\n(.*?)```", (ROOT / "docs/senders/bulk-data.md").read_text(encoding="utf-8"), re.DOTALL
)


def test_the_samples_of_the_manual_run(gateway: RunningGateway) -> None:
    assert SAMPLES
    names = {
        "URL": gateway.url,
        "KEY": gateway.key,
        "TOKEN": token_of(gateway, "manual", issued_s_ago=0),
    }
    for sample in SAMPLES:
        done = subprocess.run(
            ["sh", "-eu", "-c", sample],
            env={**os.environ, **names},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (sample, done.stdout, done.stderr)
    assert [(line["content"], line["type"]) for line in logged(gateway, "manual")] == [
        ("ch-1", "view")
    ]
