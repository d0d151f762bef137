"""A request up to a session's stop is known when it comes again, and nothing else is taken for one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from ingest.adapters.canonical import LogLine
from ingest.gateway.repeats import Repeats

NOON_MS = 1_772_798_400_000  # 2026-03-06T12:00:00Z


def line(at_s: int, state: str, session: str = "s1", received: int = 1, **more: Any) -> LogLine:
    fields = {
        "type": "view",
        "time": NOON_MS + at_s * 1000,
        "account": "anna",
        "device": 'the "tv"',
        "session": session,
        "content": "film",
        "kind": "vod",
        "state": state,
        **more,
        "received": NOON_MS + received,
    }
    return LogLine("anna", json.dumps(fields, separators=(",", ":")).encode(), "view")


def remember(repeats: Repeats, lines: list[LogLine]) -> None:
    asyncio.run(repeats.remember(repeats.records(lines)))


def fresh(repeats: Repeats, lines: list[LogLine], *, is_player: bool = True) -> list[LogLine]:
    return list(repeats.fresh(repeats.records(lines), is_player=is_player))


def watched(session: str = "s1", received: int = 1) -> list[LogLine]:
    states = ((0, "playing"), (30, "playing"), (60, "stopped"))
    return [line(at_s, state, session, received) for at_s, state in states]


def test_a_session_up_to_its_stop_is_known_whenever_it_comes_again() -> None:
    repeats = Repeats()
    first = watched()
    assert fresh(repeats, first) == first
    remember(repeats, first)
    assert fresh(repeats, watched(received=99)) == []
    assert fresh(repeats, watched(received=99)[1:]) == []


def test_what_is_new_stays_beside_what_is_not() -> None:
    repeats = Repeats()
    remember(repeats, watched())
    later = line(10, "playing", playhead_ms=5)
    assert fresh(repeats, [*watched("s2"), later, *watched()]) == [*watched("s2"), later]


def test_sessions_that_go_on_are_none_of_its_business() -> None:
    """A repeat of theirs adds nothing, and each line that is known takes memory."""
    repeats = Repeats()
    remember(repeats, [line(0, "playing", "s2"), line(30, "playing", "s2"), *watched()])
    assert len(repeats) == 3
    remember(repeats, [line(0, "playing", "s3"), line(30, "paused", "s3")])
    remember(repeats, [line(60, "stopped", "s3")])
    remember(repeats, [line(60, "stopped", "s4"), line(90, "playing", "s4")])
    assert len(repeats) == 3


def test_a_time_that_was_moved_by_its_arrival_may_differ() -> None:
    repeats = Repeats()
    moved = [line(at, state, device_time=at) for at, state in ((7, "playing"), (8, "stopped"))]
    again = [line(at + 1, state, device_time=at) for at, state in ((7, "playing"), (8, "stopped"))]
    remember(repeats, moved)
    assert fresh(repeats, again) == []


def test_the_end_of_the_log_is_recalled_request_by_request_or_not() -> None:
    repeats = Repeats()
    other = watched("s2")
    log = [each.line for pair in zip(watched(), other, strict=True) for each in pair]
    repeats.recall([b'{"type":"view"}', b"no JSON", *log[:-1]])
    assert fresh(repeats, watched(received=7)) == []
    assert fresh(repeats, other) == other


def test_the_oldest_are_forgotten_first() -> None:
    repeats = Repeats(lines_max=3)
    remember(repeats, watched("s1"))
    remember(repeats, watched("s2"))
    assert fresh(repeats, [*watched("s1"), *watched("s2")]) == watched("s1")


def spelled(each: LogLine, **more: Any) -> LogLine:
    """A line with spaces, other escapes, another order of keys and other fields."""
    fields = json.loads(each.line)
    turned = dict(reversed(fields.items())) | more
    text = json.dumps(turned, separators=(" , ", " :  ")).replace("anna", "\\u0061nna")
    return LogLine("anna", text.encode(), "view")


def test_a_copy_is_known_by_what_it_means() -> None:
    repeats = Repeats()
    remember(repeats, watched())
    again = [spelled(each, received=NOON_MS + 9, note="retry", rate=1.0) for each in watched()]
    assert fresh(repeats, again, is_player=False) == []
    for other in ({"rate": 2}, {"quality": "hd"}, {"playhead_ms": 0}, {"content": "film2"}):
        changed = [spelled(each, **other) for each in watched()]
        assert fresh(repeats, changed, is_player=False) == changed


def test_a_back_ends_own_device_time_is_nothing_to_go_by() -> None:
    """It may say the same of all records, and their times are its word."""
    repeats = Repeats()
    remember(repeats, [line(0, "playing", device_time=0), line(30, "stopped", device_time=0)])
    later = [line(90, "playing", device_time=0), line(120, "stopped", device_time=0)]
    assert fresh(repeats, later, is_player=False) == later
