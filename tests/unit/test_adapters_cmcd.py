"""CMCD reports become usage, key by key; what they leave open is suspended."""

from __future__ import annotations

from typing import Any

import pytest
from cmcd_records import STANDARD
from players import ANNA, NOON_MS, Collector, report

from ingest.adapters.canonical import to_log_lines
from ingest.adapters.cmcd import Bound, Options, Trace, adapt_body, adapt_request

LADDER = ((0, "sd"), (2500, "hd"), (12000, "uhd"))


def row_of(*reports: str, **settings: Any) -> dict[str, Any]:
    collector = Collector(**settings)
    collector.upload(0.1, *reports)
    assert collector.suspended == []
    return collector.rows[-1]


def refused(*reports: str, **settings: Any) -> tuple[str, str]:
    collector = Collector(**settings)
    collector.upload(0.1, *reports)
    assert collector.rows == []
    (row,) = collector.suspended
    assert row["raw"] == reports[-1].encode()
    return row["reason"], row["detail"]


# --- the standard's session -----------------------------------------------------------------------


def watched_of_the_standards_session(*, batched: bool) -> int:
    records = [text for section, text in STANDARD if section == "8.2.2"]
    collector = Collector(Bound("anna", "tv", "session-id-123", kind="vod"))
    if batched:
        collector.upload((1_764_752_580_000 - NOON_MS) / 1000 + 1, *records)
    else:
        collector.each(*records)
    assert collector.suspended == []
    return collector.watched_ms()


def test_the_session_of_section_8_2_2_is_111_seconds() -> None:
    assert watched_of_the_standards_session(batched=False) == 111_000


def test_the_session_of_section_8_3_is_111_seconds_too() -> None:
    assert watched_of_the_standards_session(batched=True) == 111_000


def test_without_a_trace_less_is_counted_and_never_more() -> None:
    records = [text for section, text in STANDARD if section == "8.2.2"]
    collector = Collector(Bound("anna", "tv", "session-id-123", kind="vod"))
    for record in records:
        collector.trace = Trace()  # a gateway that starts anew before every upload
        collector.each(record)
    assert collector.watched_ms() == 111_000 - 29_188


# --- states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sta", "keys", "state"),
    [
        ("s", {}, "starting"),
        ("d", {}, "starting"),
        ("p", {}, "playing"),
        ("k", {}, "seeking"),
        ("r", {}, "stalled"),
        ("w", {}, "stalled"),
        ("a", {}, "paused"),
        ("e", {}, "stopped"),
        ("q", {}, "stopped"),
        ("f", {}, "stopped"),
        ("p", {"nr": True}, "paused"),
        ("p", {"nr": "?0"}, "playing"),
        ("p", {"pr": 0}, "paused"),
        ("p", {"pr": "0.0"}, "paused"),
        ("e", {"pr": 0}, "stopped"),
        ("p", {"bg": True}, "playing"),
    ],
)
def test_each_state(sta: str, keys: dict[str, Any], state: str) -> None:
    assert row_of(report("t", 0, sta, **keys))["state"] == state


def test_an_operator_may_leave_the_background_out() -> None:
    assert (
        row_of(report("t", 0, "p", bg=True), options=Options(background=False))["state"] == "paused"
    )


@pytest.mark.parametrize(
    ("pr", "rate"),
    [
        ("2", "2"),
        ("1.5", "1.5"),
        ("1", None),
        ("-2", "-2"),
        ("0.125", "0.125"),
        ("1.0625", "1.062"),
        ("20", "20"),
    ],
)
def test_the_rate_is_a_decimal_of_three_places(pr: str, rate: str | None) -> None:
    assert row_of(report("t", 0, "p", pr=pr))["rate"] == rate


def test_all_fields() -> None:
    row = row_of(
        report("t", 0, "p", pt=45_000, br="(4200;v 256;a)", st="l"),
        options=Options(LADDER),
        binding=Bound("a", "d", "s1"),
    )
    assert {name: value for name, value in row.items() if value is not None} == {
        "type": "view",
        "time": NOON_MS,
        "account": "a",
        "device": "d",
        "session": "s1",
        "content": "film",
        "kind": "channel",
        "quality": "hd",
        "state": "playing",
        "playhead_ms": 45_000,
    }


@pytest.mark.parametrize(
    ("keys", "quality"),
    [
        ({"br": "(800;v 128;a)"}, "sd"),
        ({"br": "(128;a 16000;v)"}, "uhd"),
        ({"br": "(2500)"}, "hd"),
        ({"br": "(16000;av)"}, "uhd"),
        ({"br": "(800;v)", "pb": "(4200;v)"}, "hd"),  # what is shown, not what is fetched
        ({"br": "(320;a)"}, None),
        ({}, None),
    ],
)
def test_quality_comes_from_a_ladder(keys: dict[str, Any], quality: str | None) -> None:
    assert row_of(report("t", 0, "p", **keys), options=Options(LADDER))["quality"] == quality


def test_what_a_token_says_is_not_taken_from_the_report() -> None:
    binding = Bound("a", "d", "s1", content="cup", kind="ppv", quality="uhd")
    row = row_of(report("t", 0, "p", br="(1;v)", st="v"), binding=binding, options=Options(LADDER))
    assert (row["content"], row["kind"], row["quality"]) == ("cup", "ppv", "uhd")


def test_quality_and_kind_hold_until_the_content_changes() -> None:
    collector = Collector(Bound("anna", "tv", "s1"), Options(LADDER))
    collector.upload(1, report("ps", 0, "s", st="v", br="(4200;v)"), report("t", 1, "p"))
    assert [(row["kind"], row["quality"]) for row in collector.rows] == [("vod", "hd")] * 2
    collector.upload(2, report("c", 2, "p", cid="other"))
    assert collector.suspended[0]["detail"].startswith("st: missing")


# --- suspended and ignored ------------------------------------------------------------------------


def test_without_a_token_everything_is_kept_and_nothing_charged() -> None:
    lines = [report("t", 0, "p"), "not CMCD!", 'v=2,sid="x"']
    adapted = adapt_body("\n".join(lines).encode(), None, NOON_MS)
    assert adapted.reading.usage.is_empty()
    assert adapted.reading.suspended["reason"].to_list() == ["unbound"] * 3
    assert adapted.reading.suspended["raw"].to_list() == [line.encode() for line in lines]
    assert adapted.reading.suspended["account"].to_list() == [None] * 3


def test_a_report_of_another_session_is_unbound() -> None:
    reason, detail = refused(report("t", 0, "p", sid="s2"))
    assert (reason, detail) == ("unbound", "the token is for another session than 's2'")


def test_a_report_that_names_no_session_is_the_tokens() -> None:
    assert row_of(report("t", 0, "p", sid=None))["session"] == "s1"


@pytest.mark.parametrize(
    ("line", "detail"),
    [
        (report("t", 0, "p", ts=None), "ts: missing"),
        (report("t", 0, "p", ts=1_764_269_150), "ts: 1764269150 looks like seconds"),
        (report("t", 0, "p", ts=1_764_752_400_000_000), "ts: 1764752400000000 is no time"),
        (report("t", 0, "p", ts=-1), "ts: -1 is no time"),
        (report("t", 0, "p", ts='"noon"'), "ts: expected an integer"),
        (report("t", 0, "z"), "sta: expected one of the tokens"),
        (report("x", 0, "p"), "e: expected one of the tokens"),
        (report("t", 0, "p", pt="(1 2)"), "pt: expected an integer"),
        (report("t", 0, "p", pt=9_999_999_999_999_999), "pt: 9999999999999999 is out of range"),
        (report("t", 0, "p", pr="fast"), "pr: expected a decimal"),
        (report("t", 0, "p", pr="99999999.5"), "pr: 99999999.5 is out of range"),
        (report("t", 0, "p", nr=5), "nr: expected a boolean"),
        (report("t", 0, "p", v=None), "e is no key of version 1"),
        (report("t", 0, "p", v=3), "version 3 of CMCD"),
        (report("t", 0, "p", cid=None), "cid: missing or empty"),
        (report("t", 0, "p", cid=""), "cid: missing or empty"),
        (report("ps", 0), "sta: missing; the event ps needs it"),
        ("Hello, Sweden!", "no CMCD"),
    ],
)
def test_what_cannot_be_used_is_malformed(line: str, detail: str) -> None:
    reason, found = refused(line)
    assert reason == "malformed"
    assert found.startswith(detail)
    assert found.isprintable()


def test_bytes_that_are_no_text_are_kept() -> None:
    adapted = adapt_body(b"\xff\xfe", ANNA, NOON_MS)
    assert adapted.reading.suspended.select("reason", "detail", "raw", "account").row(0) == (
        "malformed",
        "no UTF-8 at byte 0",
        b"\xff\xfe",
        "anna",
    )


def test_a_heartbeat_without_a_state_says_nothing_by_itself() -> None:
    assert refused(report("t", 0))[0] == "no_state"


def test_a_heartbeat_keeps_the_state_of_the_report_right_before_it() -> None:
    collector = Collector()
    collector.upload(0, report("ps", 0, "p", sn=0))
    collector.upload(30, report("rr", 29, sn=1, url='"a"'))
    collector.upload(30, report("t", 30, sn=2))
    assert [row["state"] for row in collector.rows] == ["playing", "playing"]
    collector.upload(60, report("t", 60, sn=4))  # 3 is missing, and may have been a pause
    collector.upload(90, report("t", 90))
    collector.upload(91, report("t", 91, sn=5, cid="other"))
    assert [row["reason"] for row in collector.suspended] == ["no_state"] * 3
    assert collector.watched_ms() == 30_000


def test_what_says_nothing_about_viewing_is_counted() -> None:
    collector = Collector()
    adapted = collector.upload(
        1,
        'cid="film",sid="s1",sta=p,v=2',
        'cid="film",sid="s1"',
        report("rr", 0, "p", url='"seg-1"'),
        report("m", 0),
        report("as", 0, cid="ad"),
        report("e", 0, ec='("27")'),
    )
    assert dict(adapted.ignored) == {"request_mode": 2, "response": 1, "informational": 3}
    assert adapted.reading.usage.is_empty()
    assert adapted.reading.suspended.is_empty()


def test_a_request_is_evidence_and_no_usage() -> None:
    headers = {"CMCD-Session": 'sid="s1",v=2', "CMCD-Request": "sta=p"}
    adapted = adapt_request(headers, "", ANNA, NOON_MS)
    assert adapted.ignored == {"request_mode": 1}
    assert adapt_request({}, "a=1", ANNA, NOON_MS).ignored == {}
    suspended = adapt_request({}, "CMCD=v%3D9", ANNA, NOON_MS).reading.suspended
    assert suspended["raw"].to_list() == [b"CMCD=v%3D9"]
    suspended = adapt_request(headers, "", None, NOON_MS).reading.suspended
    assert suspended["raw"].to_list() == [b'CMCD-Session: sid="s1",v=2\nCMCD-Request: sta=p']


def test_json_is_taken_from_older_collectors() -> None:
    body = b'[{"cid":"film","e":"ps","sid":"s1","sta":"p","ts":%d,"v":2},{"v":9},7]' % NOON_MS
    adapted = adapt_body(body, ANNA, NOON_MS, media="application/json; charset=utf-8")
    assert adapted.reading.usage["state"].to_list() == ["playing"]
    assert adapted.reading.suspended["raw"].to_list() == [b'{"v": 9}', b"7"]
    adapted = adapt_body(b"{", ANNA, NOON_MS, media="application/json")
    assert adapted.reading.suspended["reason"].to_list() == ["malformed"]


# --- sessions -------------------------------------------------------------------------------------


def test_reports_of_one_body_are_ordered_by_their_numbers() -> None:
    collector = Collector()
    collector.upload(
        61, report("t", 60, "p", sn=2), report("ps", 0, "p", sn=0), report("t", 30, "p", sn=1)
    )
    assert [row["time"] - NOON_MS for row in collector.rows] == [0, 30_000, 60_000]
    assert collector.watched_ms() == 60_000


def test_without_numbers_they_stand_as_they_came() -> None:
    collector = Collector()
    collector.upload(31, report("t", 30, "p"), report("ps", 0, "p", sn=0))
    assert [row["time"] - NOON_MS for row in collector.rows] == [30_000, 0]


def test_the_moment_of_the_first_picture_is_worked_out_from_heartbeats() -> None:
    collector = Collector()
    collector.each(report("t", 0, "s", pt=0), report("t", 30, "p", pt=29_000, msd=1_000))
    assert [(r["time"] - NOON_MS, r["state"], r["playhead_ms"]) for r in collector.rows] == [
        (0, "starting", 0),
        (1_000, "playing", 0),
        (30_000, "playing", 29_000),
    ]


@pytest.mark.parametrize(
    "second",
    [
        report("t", 30, "p", pt=29_000),  # no delay said
        report("t", 30, "p", msd=1_000),  # no playhead
        report("t", 30, "a", pt=29_000, msd=1_000),
        report("t", 30, "p", pt=29_000, msd=30_000),
        report("t", 30, "p", pt=29_000, msd=1_000, cid="other"),
        report("t", 30, "p", pt=29_000, msd=-5),
    ],
)
def test_it_is_not_guessed(second: str) -> None:
    collector = Collector()
    collector.each(report("t", 0, "s", pt=0), second)
    assert len(collector.rows) == 2


def test_a_player_that_reports_its_first_picture_needs_no_help() -> None:
    collector = Collector()
    collector.each(
        report("ps", 0, "s", pt=0, sn=0),
        report("ps", 1, "p", pt=0, sn=1, msd=1_000),
        report("t", 31, "p", pt=30_000, sn=2),
    )
    assert len(collector.rows) == 3
    assert collector.watched_ms() == 30_000


def test_half_of_a_character_costs_its_record_alone() -> None:
    """JSON can write it and UTF-8 cannot, so no line of the log could hold it."""
    good = f'{{"e":"ps","sta":"p","ts":{NOON_MS},"cid":"c","st":"v","v":2}}'
    broken = good.replace('"c"', '"\\ud800"')
    body = f"[{broken},{good}]".encode()
    adapted = adapt_body(body, ANNA, NOON_MS, media="application/json")
    assert adapted.reading.usage["state"].to_list() == ["playing"]
    assert adapted.reading.suspended["reason"].to_list() == ["malformed"]
    assert b'"\\ud800"' in adapted.reading.suspended["raw"][0]


def test_an_upload_becomes_the_lines_that_its_frames_become() -> None:
    lines = [
        f'cid="c",e=ps,pr=1.50,pt=1,st=v,sta=p,ts={NOON_MS - 10**9},v=2',
        f'cid="\\"c",e=t,st=l,sta=a,ts={NOON_MS},v=2',
        "e=ps,v=2",
        "\x01",
    ]
    adapted = adapt_body("\n".join(lines).encode(), ANNA, NOON_MS)
    assert len(adapted.log_lines(NOON_MS)) == 4
    assert adapted.log_lines(NOON_MS) == to_log_lines(adapted.reading, NOON_MS)
