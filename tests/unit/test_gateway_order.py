"""In which order what comes goes into the log: by time within a request, by arrival between them."""

from __future__ import annotations

import asyncio
import json
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ingest.adapters.canonical import LogLine
from ingest.gateway.intake import INLINE_LINES_MAX, Intake, Options
from ingest.gateway.keys import ApiKey
from ingest.gateway.metrics import Metrics
from ingest.gateway.records import records_of
from ingest.gateway.senders import Backend

if TYPE_CHECKING:
    from collections.abc import Sequence

SENDER = Backend(ApiKey("1", "n", frozenset(), "0" * 64))


class MemoryLog:
    """A log whose clock ticks whenever it is looked at."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._now_ms = 1_700_000_000_000

    def received_ms(self) -> int:
        self._now_ms += 1
        return self._now_ms

    async def append(self, lines: Sequence[LogLine]) -> None:
        self.lines += [line.line for line in lines]
        await asyncio.sleep(0.001)


def line(received_ms: int) -> LogLine:
    return LogLine("a", b'{"n":1,"received":%d}' % received_ms, "view")


def test_received_ascends_though_lines_were_made_long_before_they_are_appended() -> None:
    log = MemoryLog()
    random = Random(5)

    async def one(intake: Intake, count: int) -> int:
        made_ms = log.received_ms()
        for _ in range(random.randrange(6)):
            await asyncio.sleep(0)  # as a body that is read in a thread
        request: Any = SimpleNamespace(scope={"ratecast.ticket": intake.admission.enter()})
        return await intake.append(request, SENDER, [line(made_ms)] * count, made_ms)

    async def run() -> list[int]:
        keys: Any = None
        usage_log: Any = log
        intake = Intake(usage_log, keys, Options(), Metrics())
        counts = [random.choice([1, 3, INLINE_LINES_MAX + 1]) for _ in range(60)]
        return await asyncio.gather(*(one(intake, count) for count in counts))

    told = asyncio.run(run())
    received = [json.loads(each)["received"] for each in log.lines]
    assert received == sorted(received)
    assert set(received) == set(told)


def view(session: str, time_ms: int, number: int) -> LogLine:
    fields = {"type": "view", "time": time_ms, "account": "a", "device": "d", "session": session}
    fields |= {"content": f"c{number}", "kind": "vod", "state": "playing"}
    return LogLine("a", json.dumps(fields).encode(), "view")


def test_each_sessions_views_stand_by_time_in_the_places_that_they_had() -> None:
    random = Random(7)
    for _ in range(200):
        lines = [
            view(random.choice("xy"), 1_700_000_000_000 + random.randrange(5), number)
            if random.random() < 0.8
            else LogLine("a", random.choice([b"no json", b'{"type":"account.open"}']), "")
            for number in range(random.randrange(12))
        ]
        found = list(records_of(lines).lines)
        for session in "xy":
            named = f'"session": "{session}"'.encode()
            places = [at for at, each in enumerate(lines) if named in each.line]
            assert [at for at, each in enumerate(found) if named in each.line] == places
            ours = [lines[at] for at in places]
            assert [found[at] for at in places] == sorted(
                ours, key=lambda each: json.loads(each.line)["time"]
            )
        others = [(at, each) for at, each in enumerate(lines) if each.type == ""]
        assert [(at, each) for at, each in enumerate(found) if each.type == ""] == others


def test_a_blank_line_is_none() -> None:
    assert records_of([LogLine("", b" "), view("x", 1_700_000_000_000, 1)]).answer() == {
        "accepted": 1,
        "suspended": 0,
    }
