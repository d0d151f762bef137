"""Delivered time against watched time, and the two commands that bring them together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import stored
from click.testing import CliRunner, Result
from stored import HOUR_MS

from rating.runtime.cli import main
from rating.runtime.reconciliation import (
    WATCHED,
    Reconciliation,
    Tolerance,
    as_metrics,
    as_text,
    reconcile,
    watched_hours,
)
from sinks.store import open_store

AT_MS = 1_767_268_800_000  # 2026-01-01 12:00 UTC


def seen(session: str, minutes: int, **given: Any) -> dict[str, Any]:
    return {
        "session": session,
        "account": f"acc-{session}",
        "content": "ch-1",
        "hour": AT_MS,
        "charged_ms": minutes * 60_000,
        "suspended_ms": 0,
        "open_ms": 0,
    } | given


def arrived(session: str, minutes: int, **given: Any) -> dict[str, Any]:
    return {
        "session": session,
        "content": "ch-1",
        "hour": AT_MS,
        "media_ms": minutes * 60_000,
        "delivered_ms": minutes * 60_000,
        "objects": minutes * 15,
        "bytes": 1,
        "buffer_ms": None,
    } | given


def held(watched: list[dict[str, Any]], delivered: list[dict[str, Any]]) -> Reconciliation:
    schema = dict.fromkeys(["media_ms", "delivered_ms", "objects", "bytes", "buffer_ms"], pl.Int64)
    frame = pl.DataFrame(
        delivered, schema={"session": pl.String, "content": pl.String, "hour": pl.Int64} | schema
    )
    return reconcile(pl.DataFrame(watched, schema=WATCHED), frame, Tolerance(60, 10))


def verdicts(found: Reconciliation) -> dict[str, tuple[str, int]]:
    rows = found.sessions.select("session", "verdict", "missing_ms").rows()
    return {session: (verdict, missing_ms // 60_000) for session, verdict, missing_ms in rows}


def test_each_verdict() -> None:
    found = held(
        [
            seen("same", 60),
            seen("near", 56),
            seen("leaky", 30),
            seen("greedy", 60),
            seen("ghost", 20),
            seen("two", 30),
            seen("two", 30, account="other"),
            seen("held", 0, suspended_ms=20 * 60_000),
            seen("open", 0, open_ms=20 * 60_000),
        ],
        [
            arrived("same", 60),
            arrived("near", 60),
            arrived("leaky", 60),
            arrived("greedy", 30),
            arrived("nobody", 10),
            arrived("two", 60),
            arrived("held", 20),
            arrived("open", 20),
            arrived("short", 1),
        ],
    )
    assert verdicts(found) == {
        "ghost": ("undelivered", -20),
        "greedy": ("over_reported", -30),
        "held": ("agrees", 0),
        "leaky": ("leakage", 30),
        "near": ("agrees", 4),
        "nobody": ("unreported", 10),
        "open": ("agrees", 0),
        "same": ("agrees", 0),
        "short": ("agrees", 1),
        "two": ("shared", 0),
    }


def test_what_was_buffered_is_no_leakage() -> None:
    twelve = 12 * 60_000
    assert verdicts(held([seen("s", 50)], [arrived("s", 60)]))["s"][0] == "leakage"
    assert verdicts(held([seen("s", 50)], [arrived("s", 60, buffer_ms=twelve)]))["s"][0] == "agrees"


def test_hours_that_no_log_covers_are_left_out() -> None:
    found = held(
        [seen("s", 60), seen("s", 60, hour=AT_MS - HOUR_MS), seen("late", 9, hour=AT_MS + HOUR_MS)],
        [arrived("s", 60)],
    )
    assert verdicts(found) == {"s": ("agrees", 0)}
    assert (found.from_ms, found.to_ms) == (AT_MS, AT_MS + HOUR_MS)


def test_hours_show_where_the_difference_is() -> None:
    found = held(
        [seen("s", 60), seen("s", 10, hour=AT_MS + HOUR_MS)],
        [arrived("s", 60), arrived("s", 60, hour=AT_MS + HOUR_MS), arrived("x", 5, content="")],
    )
    assert found.hours.drop("suspended_ms", "open_ms").rows() == [
        ("s", "acc-s", "ch-1", AT_MS, 3_600_000, 3_600_000, "leakage"),
        ("s", "acc-s", "ch-1", AT_MS + HOUR_MS, 3_600_000, 600_000, "leakage"),
        ("x", None, "", AT_MS, 300_000, 0, "unreported"),
    ]


def test_nothing_is_said_without_logs() -> None:
    found = held([seen("s", 60)], [])
    assert len(found.sessions) == len(found.hours) == 0
    assert "no delivered media" in as_text(found)
    assert 'ratecast_reconcile_sessions{verdict="leakage"} 0' in as_metrics(found)


def ratecast(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def edge_log(sessions: dict[str, int]) -> bytes:
    """An hour of segments of six seconds by minutes of each session, as Bunny writes it."""
    lines = [
        f"HIT|200|{AT_MS + 6000 * n}|5000|1|1.2.3.0|-|https://tv.example/{n}.m4s?CMCD="
        f"cid%3D%22ch-1%22%2Cd%3D6000%2Cot%3Dv%2Csid%3D%22{session}%22|WA|ua|{session}-{n}|SE"
        for session, minutes in sessions.items()
        for n in range(minutes * 10)
    ]
    return "\n".join(lines).encode()


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A billing store in which two sessions were charged for half an hour, and a CDN's log."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edge.log").write_bytes(edge_log({"good": 30, "leaky": 60, "nobody": 20}))
    half_an_hour = {"start": AT_MS, "watched_ms": 1_800_000, "content": "ch-1"}
    charges = stored.charges(
        stored.charge(account="anna", session="good", **half_an_hour),
        stored.charge(account="bo", session="leaky", **half_an_hour),
        stored.charge(account="bo", session="leaky", type="purchase", **half_an_hour, segment=1),
    )
    suspended = stored.suspense(
        {"reason": "malformed", "detail": "d"},
        {
            "reason": "no_rule", "detail": "d", "type": "usage", "account": "cy", "session": "held",
            "content": "ch-9", "time": AT_MS + 5, "watched_ms": 1_200_000,
        },
    )  # fmt: skip
    with open_store("ratecast.db") as store:
        store.add_books([stored.BOOK])
        store.commit(stored.commit(charges=charges, suspense=suspended))
    return tmp_path


def test_watched_time_comes_from_all_that_was_watched(evidence: Path) -> None:
    with open_store("ratecast.db") as store:
        found = watched_hours(store).sort("session")
    assert found["device"].to_list() == ["tv", None, "tv"]
    rows = found.drop("device").rows()
    assert rows == [
        ("good", "anna", "ch-1", AT_MS, 1_800_000, 0, 0),
        ("held", "cy", "ch-9", AT_MS, 0, 1_200_000, 0),
        ("leaky", "bo", "ch-1", AT_MS, 1_800_000, 0, 0),
    ]


def test_the_two_commands_find_what_leaks(evidence: Path) -> None:
    taken = ratecast("delivery", "--cdn", "bunny", "edge.log", "edge.log", "--json")
    assert taken.exit_code == 0, taken.output
    assert json.loads(taken.stdout) == {
        "cdn": "bunny",
        "dataset": "delivery",
        "logs": 2,
        "repeats": 1,
        "lines": 1_100,
        "delivered": 1_100,
        "uncounted": 0,
        "other": 0,
        "bad": 0,
    }
    found = ratecast("reconcile", "--json", "--out", "apart.parquet", "--metrics", "m.prom")
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)
    sessions = {verdict: sums["sessions"] for verdict, sums in said["verdicts"].items()}
    assert {verdict: count for verdict, count in sessions.items() if count} == {
        "agrees": 1,
        "leakage": 1,
        "unreported": 1,
        "undelivered": 1,
    }
    assert said["verdicts"]["leakage"]["missing_ms"] == 1_800_000
    assert [row["session"] for row in said["worst"]] == ["leaky", "held", "nobody"]
    hours = pl.read_parquet("apart.parquet")
    assert hours.filter(session="leaky").select("account", "delivered_ms", "charged_ms").rows() == [
        ("bo", 3_600_000, 1_800_000)
    ]
    metrics = Path("m.prom").read_text(encoding="utf-8")
    assert 'ratecast_reconcile_missing_seconds{verdict="leakage"} 1800.000' in metrics
    text = ratecast("reconcile").stdout
    assert "leaky" in text
    assert "(nobody)" in text


def test_errors_are_sentences(evidence: Path) -> None:
    assert "known by this name" in ratecast("delivery", "--cdn", "bunnie", "edge.log").stderr
    assert "No such file" in ratecast("delivery", "--cdn", "bunny", "nope.log").stderr
    assert "no delivery dataset" in ratecast("reconcile").stderr
    (evidence / "odd.log").write_bytes(b"x|y\n" + edge_log({"good": 1}))
    taken = ratecast("delivery", "--cdn", "bunny", "odd.log")
    assert taken.exit_code == 3
    assert "1 line" in taken.stdout
    assert "delivery/_bad" in taken.stdout


# --- audience counters of boxes -------------------------------------------------------------------


def counted(device: str, minute: int, **seconds: int) -> list[dict[str, Any]]:
    return [
        {
            "device": device, "account": "anna", "service": "STBService.1", "channel": channel,
            "collected": AT_MS + minute * 60_000, "reset": None, "duration_s": duration,
            "received": AT_MS + minute * 60_000 + 5,
        }
        for channel, duration in seconds.items()
    ]  # fmt: skip


@pytest.fixture
def boxes(evidence: Path) -> Path:
    """What the gateway kept of boxes: `tv` agrees on ch-1 and leaks ch-2; `other` is not charged."""
    folder = evidence / "boxes"
    folder.mkdir()
    rows = [
        *counted("tv", 0, **{"ch-1": 10, "ch-2": 0}),
        *counted("tv", 61, **{"ch-1": 1_800, "ch-2": 1_200}),
        *counted("other", -5, **{"ch-1": 0}),
        *counted("other", 65, **{"ch-1": 30}),
    ]
    lines = [json.dumps(row) for row in rows]
    (folder / "counters-00000001.ndjson").write_text("\n".join([*lines[:4], ""]))
    (folder / "counters-00000002.ndjson").write_text("\n".join([*lines[4:], '{"device":"to']))
    return folder


def test_counters_are_held_against_what_was_watched(boxes: Path) -> None:
    found = ratecast(
        "reconcile", "--boxes", boxes, "--json", "--out-boxes", "b.parquet", "--metrics", "m.prom"
    )
    assert found.exit_code == 0, found.output
    said = json.loads(found.stdout)["boxes"]
    channels = {verdict: sums["channels"] for verdict, sums in said["verdicts"].items()}
    assert channels == {
        "agrees": 2, "leakage": 0, "unreported": 1, "over_reported": 0, "uncounted": 0,
    }  # fmt: skip
    (worst,) = said["worst"]
    assert (worst["device"], worst["content"], worst["charged_ms"]) == ("tv", "ch-2", 0)
    assert worst["least_ms"] == worst["missing_ms"] == 1_140_000  # a minute may have been after one
    hours = pl.read_parquet("b.parquet").filter(device="tv", content="ch-1")
    assert hours.select("least_ms", "most_ms", "charged_ms").rows() == [
        (1_730_000, 1_790_000, 1_800_000)
    ]
    metrics = Path("m.prom").read_text(encoding="utf-8")
    assert 'ratecast_reconcile_box_channels{verdict="unreported"} 1' in metrics
    assert "ratecast_reconcile_sessions" not in metrics
    text = ratecast("reconcile", "--boxes", boxes).stdout
    assert "ch-2" in text
    assert "unreported" in text


def test_both_witnesses_in_one_report(boxes: Path) -> None:
    assert ratecast("delivery", "--cdn", "bunny", "edge.log").exit_code == 0
    words = ("reconcile", "--delivery", "delivery", "--boxes", boxes)
    said = json.loads(ratecast(*words, "--json").stdout)
    assert said["verdicts"]["leakage"]["sessions"] == 1
    assert said["boxes"]["verdicts"]["unreported"]["channels"] == 1
    assert "leaky" in ratecast(*words).stdout


def test_films_that_no_counter_knows_are_left_out(boxes: Path) -> None:
    """The store has ch-9 as well, which no box counts."""
    found = json.loads(ratecast("reconcile", "--boxes", boxes, "--json").stdout)
    assert "ch-9" not in json.dumps(found)


def test_errors_about_boxes_are_sentences(evidence: Path) -> None:
    assert "no audience counters" in ratecast("reconcile", "--boxes", ".").stderr
    assert "--boxes DIR" in ratecast("reconcile", "--out-boxes", "x.parquet").stderr
    assert "--delivery DIR" in ratecast("reconcile", "--boxes", ".", "--out", "x.parquet").stderr
