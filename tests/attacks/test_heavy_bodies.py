"""One small body holds nobody up: each attack is answered soon, and never on the event loop."""

from __future__ import annotations

import base64
import json
import statistics
import time
from typing import TYPE_CHECKING

import pytest
from attacks.bodies import ATTACKS, JSON, NDJSON, Attack, packed
from attacks.victim import Victim, long_steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TRIES = 3


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    victim = Victim(tmp_path_factory.mktemp("victim"))
    yield victim
    assert victim.gateway.stop() == 0
    assert "Traceback" not in victim.gateway.said


@pytest.mark.parametrize("name", ATTACKS)
def test_no_body_keeps_the_event_loop_busy(victim: Victim, name: str) -> None:
    """Processor time of the loop's thread, of several tries: what else the machine does is nothing."""
    steps = []
    for _ in range(TRIES):
        before = long_steps(victim.gateway)
        answer = victim.attack(ATTACKS[name])
        steps.append(long_steps(victim.gateway) - before)
        assert answer.status_code < 500, answer.text
        if not statistics.median([*steps, *[0.0] * (TRIES - len(steps))]):
            break
    assert statistics.median(steps) == 0
    with victim.gateway.client("") as client:
        assert client.get("/healthz").text == "ok\n"


def test_what_is_refused_is_paid_for_as_well(tmp_path: Path) -> None:
    """Else a sender could have its bombs looked at without end."""
    bombs = {
        "lines": Attack("/v1/events", NDJSON, lambda: packed(b"1\n" * 400_000), "gzip"),
        "values": Attack("/v1/events", JSON, lambda: packed(b"[" + b"1," * 500_000), "gzip"),
        "ratio": Attack("/v1/events", JSON, lambda: packed(bytes(2**23)), "gzip"),
        "members": Attack("/v1/events", JSON, lambda: packed(b"") * 400_000, "gzip"),
        "torn": Attack("/v1/events", JSON, lambda: packed(b"1\n" * 400_000)[:-9], "gzip"),
    }
    victim = Victim(tmp_path, "--key-limit", "2", "--account-limit", "2")
    for number, (name, bomb) in enumerate(bombs.items()):
        key = victim.with_key_of(f"{name}-{number}", records_per_s=2.0)
        answers = [victim.attack(bomb, key) for _ in range(2)]
        assert [each.status_code // 100 for each in answers] == [4, 4]
        assert answers[0].status_code in (400, 413), name
        assert answers[1].status_code == 429, name
        assert int(answers[1].headers["retry-after"]) > 60
    assert victim.gateway.lines() == []
    assert victim.gateway.stop() == 0


def test_no_line_of_its_log_keeps_a_gateway_from_starting(tmp_path: Path) -> None:
    """A list for a state, half of a surrogate pair, a `received` of the year 5138 that no reader takes."""
    said = {
        "type": "view",
        "time": int(time.time() * 1000),
        "account": "anna",
        "device": "tv",
        "session": "s1",
        "content": "c",
        "kind": "vod",
        "state": "playing",
    }
    odd = [["playing"], {"a": 1}, None, 1e999, -(10**400), "\ud800", "x" * 5000, True, ""]
    records = [
        said | {name: value}
        for name in (*said, "quality", "cid", "stream", "sn", "device_time", "playhead_ms")
        for value in odd
    ]
    lines = [json.dumps(record).encode() for record in records]
    lines += [
        b'{"received":99999999999999,"a":NaN}',
        b'{"type":"view","received":1e999',
        b"\xff\xfe",
    ]
    options = ("--boxes", str(tmp_path / "boxes"))
    victim = Victim(tmp_path, *options)
    with victim.gateway.client() as client:
        answer = client.post(
            "/v1/events", content=b"\n".join(lines), headers={"Content-Type": NDJSON}
        )
        assert answer.status_code == 202
        assert answer.json()["accepted"] == len(lines)
    assert victim.gateway.stop() == 0
    before = victim.gateway.raw_lines()
    again = Victim(tmp_path, *options)
    with again.gateway.client() as client:
        assert client.post("/v1/events", json=said).status_code == 202
    assert again.gateway.stop() == 0
    assert again.gateway.raw_lines()[:-1] == before


def test_a_token_whose_head_nests_without_end_is_none(victim: Victim) -> None:
    for plain in (b"[" * 3000, b'{"kid":' * 400, b'{"kid":1e999999999}', b"\xff"):
        token = base64.urlsafe_b64encode(plain).decode().rstrip("=") + ".e30.x"
        with victim.gateway.client(token) as client:
            assert client.post("/v1/events", json={}).status_code == 401
