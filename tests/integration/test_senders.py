"""Senders that are not ours reach the gateway, and what they report is charged.

The official CloudEvents SDK in each mode that it knows, and a program in Java.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from cloudevents.core.bindings.http import to_binary, to_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from services.embedded_operator import Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cloudevents.core.base import BaseCloudEvent
    from cloudevents.core.bindings.http import HTTPMessage
    from cloudevents.core.formats.base import Format

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
MICROS_A_MS = 10  # the book's price: 36.00 an hour
VIEW = {"device": "tv", "session": "s1", "content": "counting", "kind": "vod"}


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("operator")
    with Operator(folder, EXAMPLES / "player" / "book.toml") as running:
        yield running


def total(charges: list[dict[str, Any]]) -> tuple[int, int]:
    """Watched ms and micro-units; an hour that ends meanwhile parts a viewing into two charges."""
    return sum(each["watched_ms"] for each in charges), sum(each["total"] for each in charges)


def watched_ms(of: int) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda charges: total(charges)[0] >= of


@pytest.mark.parametrize("mode", [to_structured, to_binary], ids=["structured", "binary"])
def test_events_of_the_cloudevents_sdk_are_charged(
    operator: Operator, mode: Callable[[BaseCloudEvent, Format], HTTPMessage]
) -> None:
    account = f"sdk-{mode.__name__}"
    began_ms = int(time.time() * 1000) - 60_000
    headers = {"Authorization": f"Bearer {operator.key}"}
    for after_ms, state in ((0, "playing"), (30_000, "playing"), (60_000, "stopped")):
        attributes = {
            "type": "view",
            "source": "middleware",
            "subject": account,
            "time": datetime.fromtimestamp((began_ms + after_ms) / 1000, UTC),
            "datacontenttype": "application/json",
        }
        event = CloudEvent(attributes, VIEW | {"state": state})
        message = mode(event, JSONFormat())
        answer = httpx.post(
            f"{operator.url}/v1/events", headers=headers | message.headers, content=message.body
        )
        assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "suspended": 0})
    charges = operator.await_charges(account, watched_ms(60_000))
    assert total(charges) == (60_000, 60_000 * MICROS_A_MS)


BOXES = 20
HEARTBEATS = 30


def viewing_of_boxes(began_ms: int) -> bytes:
    """Twenty boxes that play for 29 s each, a heartbeat every second, their records interleaved."""
    lines = [
        VIEW
        | {
            "type": "view",
            "time": began_ms + 1000 * beat,
            "account": f"box-{box}",
            "state": "stopped" if beat == HEARTBEATS - 1 else "playing",
        }
        for beat in range(HEARTBEATS)
        for box in range(BOXES)
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def test_records_that_a_program_in_java_sends_are_charged(operator: Operator) -> None:
    if shutil.which("java") is None:
        pytest.fail("no Java for this test: install Debian's package openjdk-17-jdk-headless")
    records = viewing_of_boxes(int(time.time() * 1000) - 60_000) + b'{"type":"view","half a rec\n'
    sent = subprocess.run(
        ["java", str(EXAMPLES / "senders" / "Sender.java"), operator.url],
        env=os.environ | {"RATECAST_KEY": operator.key},
        input=records,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert (sent.returncode, sent.stderr) == (0, b"")
    assert sent.stdout.decode() == f"Sent {BOXES * HEARTBEATS + 1} records.\n"
    for box in range(BOXES):
        charges = operator.await_charges(f"box-{box}", watched_ms(29_000))
        assert total(charges) == (29_000, 29_000 * MICROS_A_MS)
    assert [each["raw"] for each in operator.suspense()] == [b'{"type":"view","half a rec']


def test_a_program_in_java_ends_when_it_is_refused(operator: Operator) -> None:
    refused = subprocess.run(
        ["java", str(EXAMPLES / "senders" / "Sender.java"), operator.url],
        env=os.environ | {"RATECAST_KEY": "rc_00000000_wrong"},
        input=b"{}\n",
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert refused.returncode != 0
    assert b"the gateway refuses the batch: 401" in refused.stderr
