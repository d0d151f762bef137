"""What a gateway recalls of a session from its lines is what it knew of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from players import Collector, report, shifted

from ingest.adapters.cmcd import Bound, Trace
from ingest.adapters.recall import passed_by, session_of, traced, view_of

HOUR_MS = 3_600_000


def recalled(collector: Collector) -> Trace:
    trace = Trace()
    for line in collector.lines:
        fields = view_of(line)
        if fields is not None:
            assert session_of(fields) == ("anna", "tv", "s1")
            trace = traced(trace, fields)
    return trace


def of_lines(trace: Trace) -> Trace:
    """A trace without the word of a state that the log has no other word for."""
    same = {"d": "s", "w": "r", "q": "e", "f": "e"}
    return trace._replace(sta=same.get(trace.sta or "", trace.sta))


STATES = st.sampled_from("sdpkrwaeqf")
STEPS = st.lists(
    st.tuples(STATES, st.integers(1, 40), st.sampled_from(["film", "other"]), st.booleans()),
    min_size=1,
    max_size=12,
)


@given(STEPS, st.sampled_from([0, 3 * HOUR_MS, -3 * HOUR_MS]), st.integers(0, 5))
def test_a_trace_is_recalled_from_the_log(
    steps: list[tuple[str, int, str, bool]], off_ms: int, first: int
) -> None:
    collector = Collector()
    at = 0
    for number, (sta, seconds, cid, has_playhead) in enumerate(steps, first):
        at += seconds
        keys: dict[str, Any] = {"pt": at * 1000} if has_playhead else {}
        line = report("ps", at, sta, sn=number, cid=cid, st="v", **keys)
        collector.upload(at + 0.2, shifted(line, off_ms))
    assert recalled(collector) == of_lines(collector.trace)


@pytest.mark.parametrize("bound", [Bound("anna", "tv", "s1", content="known", kind="vod")])
def test_what_the_player_calls_its_content_is_recalled_too(bound: Bound) -> None:
    collector = Collector(bound)
    collector.each(report("ps", 0, "s", sn=0, pt=0))
    assert recalled(collector).cid == collector.trace.cid == "film"


def test_a_session_that_counts_anew_is_recalled_so() -> None:
    collector = Collector()
    for begin in (0, 300):
        collector.each(*(report("t", begin + 30 * n, "p", sn=n) for n in range(4)))
    assert recalled(collector) == collector.trace


def test_a_whole_session_that_is_sent_again_to_a_new_gateway_adds_nothing() -> None:
    """The one before it died between the log and the answer; and the session had stopped."""
    lines = [report("ps", 0, "p", sn=0), report("t", 30, "p", sn=1), report("ps", 60, "q", sn=2)]
    collector = Collector()
    collector.upload(61, *lines)
    collector.trace = recalled(collector)
    collector.upload(70, *lines)
    assert collector.watched_ms() == 60_000
    assert dict(collector.uploads[-1].ignored) == {"repeat": 3}


def test_the_start_of_a_film_is_recalled() -> None:
    """A player that only sends heartbeats: `msd` is told after the gateway has started anew."""
    collector = Collector()
    collector.each(report("t", 0, "s", pt=0, sn=0))
    collector.trace = recalled(collector)
    collector.each(report("t", 30, "p", pt=29_100, sn=1, msd=900), report("ps", 40, "q", sn=2))
    assert collector.watched_ms() == 29_100 + 10_000


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"no json",
        b'{"type":"order.purchase","kind":"view"}',
        b'["view"]',
        b'{"type":"view","time":"2026-01-01T00:00:00Z","state":"playing"}',
        b'{"type":"view","time":1,"state":"dreaming"}',
        b'{"type":"view","time":1,"state":"playing","account":1}',
        b"[" * 100_000 + b'"view"',
    ],
)
def test_other_lines_recall_nothing(line: bytes) -> None:
    assert view_of(line) is None


def test_an_entry_of_a_boxs_log_is_recalled_as_its_mark() -> None:
    line = (
        b'{"type":"view","time":7,"device_time":5,"account":"a","device":"d","session":"s",'
        b'"content":"c","kind":"channel","state":"playing","stream":"Main.1","sn":9}'
    )
    fields = view_of(line)
    assert fields is not None
    assert passed_by(fields) == ("a", "d", "Main.1", (9, 5))
    assert passed_by({"account": "a"}) is None
