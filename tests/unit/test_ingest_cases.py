"""What breaks billing by watch time in the field, case by case: 32 of them, each with its test.

Those that a report's way in decides are here. ELSEWHERE names the tests of those that the tariff
decides once a record is in the log, and of what a running gateway makes of the ones here.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import scenes
from cmcd_records import STANDARD
from core_adapter import rate_log
from players import ANNA, NOON_MS, Collector, report, shifted

from ingest.adapters import cloudevents, native
from ingest.adapters.cmcd import Bound, Options, Trace

TESTS = Path(__file__).parents[1]
ELSEWHERE = {
    1: ["integration/test_gateway.py::test_a_queue_of_a_device_with_a_wrong_clock_lands_where_it_happened",
        "integration/test_gateway_bulk.py::test_a_box_with_a_wrong_clock"],
    2: ["unit/test_spec_2_watching.py::test_no_evidence_no_charge"],
    3: ["integration/test_gateway_restart.py::test_a_session_is_taken_up_where_the_killed_gateway_left_it",
        "integration/test_gateway_bulk.py::test_an_event_log_that_is_reported_again_and_again_counts_once"],
    7: ["unit/test_spec_2_watching.py::test_sessions_are_told_apart_by_account_device_and_session"],
    9: ["unit/test_spec_2_watching.py::test_pieces_are_cut_at_quarters_of_an_hour",
        "unit/test_spec_4_rating.py::test_per_month_begins_on_the_bill_day"],
    10: ["unit/test_spec_3_book.py::test_an_hour_that_comes_twice_is_in_the_band_twice",
         "unit/test_spec_3_book.py::test_an_hour_that_is_left_out_is_in_no_band"],
    11: ["unit/test_spec_3_book.py::test_past_midnight_belongs_to_the_day_it_starts_on"],
    12: ["unit/test_spec_2_watching.py::test_pieces_are_cut_where_another_book_comes_into_force"],
    16: ["unit/test_spec_2_watching.py::test_a_zap_ends_the_segment_and_what_came_before_it_was_watched",
         "unit/test_spec_4_rating.py::test_the_free_beginning_counts_once_the_threshold_is_reached"],
    17: ["unit/test_spec_4_rating.py::test_measure"],  # by increments; no clock-minute winner
    20: ["unit/test_spec_5_orders.py::test_before_start"],
    21: ["unit/test_spec_5_orders.py::test_an_order_id_counts_once_for_each_account"],
    22: ["unit/test_spec_4_rating.py::test_the_free_beginning_counts_once_the_threshold_is_reached"],
    23: ["unit/test_spec_5_orders.py::test_a_rental_then_lasts_from_its_first_covered_piece"],
    26: ["integration/test_gateway.py::test_who_pays_is_said_by_the_token_and_never_by_the_report",
         "unit/test_adapters_reconcile.py::test_each_verdict"],
    30: ["unit/test_adapters_cdn.py::test_every_mistake_of_a_mapping_is_said_at_once"],
}  # fmt: skip
CASES = range(1, 33)

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def viewing(*, begin: int = 0, until: int = 120, sn: int = 0, **keys: Any) -> list[str]:
    """Playing with a heartbeat every 30 s, and a stop at the end."""
    beats = [
        report("ps" if at == begin else "t", at, "p", sn=sn + (at - begin) // 30, **keys)
        for at in range(begin, until, 30)
    ]
    return [*beats, report("ps", until, "q", sn=sn + len(beats), **keys)]


def test_each_of_the_cases_has_its_test() -> None:
    here = {
        int(number) for number in re.findall(r"def test_case_(\d\d)_", Path(__file__).read_text())
    }
    assert here | ELSEWHERE.keys() == set(CASES)
    for file, _, name in (
        place.partition("::") for places in ELSEWHERE.values() for place in places
    ):
        tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
        assert name in {getattr(node, "name", None) for node in tree.body}, (file, name)


@pytest.mark.parametrize(
    "off_ms", [0, 7 * 60_000, -7 * 60_000, 3 * HOUR_MS, 40 * DAY_MS, -40 * DAY_MS, 5_000 - NOON_MS]
)
def test_case_01_a_clock_that_is_wrong(off_ms: int) -> None:
    collector = Collector()
    for at, line in enumerate(viewing()):
        collector.upload(at * 30 + 0.3, shifted(line, off_ms))
    assert collector.suspended == []
    (charge,) = collector.rated().charges
    assert charge["watched_ms"] == 120_000
    assert abs(charge["start"] - NOON_MS) < 1_000
    for at, row in enumerate(collector.rows):
        said = NOON_MS + at * 30_000 + off_ms
        assert (row["device_time"] or row["time"]) == said
    kept = json.loads(collector.lines[-1])
    assert ("device_time" in kept) == (off_ms != 0)


def test_case_01_a_clock_that_is_set_while_a_film_runs() -> None:
    collector = Collector()
    lines = viewing()
    for at, line in enumerate(lines):
        collector.upload(at * 30 + 0.3, shifted(line, 5_000 - NOON_MS) if at < 2 else line)
    # Between 30 s and 60 s the two clocks are joined by when uploads were received.
    assert abs(collector.watched_ms() - 120_000) <= 600


def test_case_02_power_is_lost_without_a_stop() -> None:
    collector = Collector()
    collector.each(*viewing()[:3])
    assert collector.watched_ms() == 60_000  # to the last heartbeat, and not a moment more


def test_case_02_a_stop_that_was_kept_through_the_power_cut_extends_to_its_own_evidence() -> None:
    """The queue of before comes once the power is back: its stop counts, and nothing after it."""
    collector = Collector()
    lines = viewing()
    collector.each(*lines[:3])
    collector.upload(3600, *lines[3:], sent_ms=NOON_MS + HOUR_MS)
    assert collector.watched_ms(idle_ms=2 * HOUR_MS) == 120_000


def test_case_03_heartbeats_come_twice() -> None:
    once, twice, whole = Collector(), Collector(), Collector()
    once.each(*viewing())
    for at, line in enumerate(viewing()):
        twice.upload(at * 30 + 0.2, line)
        twice.upload(at * 30 + 5.2, line)  # sent again after a 429
    whole.each(*viewing())
    whole.upload(125, *viewing())  # and all of it once more
    assert once.watched_ms() == twice.watched_ms() == whole.watched_ms() == 120_000
    assert twice.suspended == whole.suspended == []
    assert [dict(adapted.ignored) for adapted in whole.uploads[-1:]] == [{"repeat": 5}]


def test_case_03_without_numbers_a_session_that_has_stopped_is_not_opened_again() -> None:
    collector = Collector()
    lines = [report("ps", 0, "p"), report("t", 30, "p"), report("ps", 60, "q")]
    collector.upload(61, *lines)
    collector.upload(90, *lines)
    assert collector.watched_ms() == 60_000
    collector.each(report("ps", 100, "p"), report("ps", 110, "q"))  # but it may go on
    assert collector.watched_ms() == 70_000


def test_case_04_heartbeats_are_missing() -> None:
    collector = Collector()
    lines = viewing(until=240)
    collector.each(*lines[:2], *lines[4:])  # 60 s and 90 s are lost; 30 s to 120 s is 90 s
    assert collector.watched_ms() == 240_000
    collector = Collector()
    collector.each(*lines[:2], *lines[5:])  # a gap beyond the time-out holds no evidence
    assert collector.watched_ms() == 240_000 - 120_000


def test_case_05_reports_out_of_order() -> None:
    collector = Collector()
    lines = viewing()
    collector.upload(121, lines[3], lines[0], lines[4], lines[2], lines[1])
    assert collector.watched_ms() == 120_000
    apart = Collector()  # each in an upload of its own: what comes late adds nothing
    for at, line in enumerate((lines[0], lines[2], lines[1], lines[3], lines[4])):
        apart.upload(at * 30 + 0.2, line)
    assert apart.watched_ms() == 120_000
    assert apart.rated().counts["out_of_order"] == 1


def test_case_05_the_standard_stalls_after_it_plays_again() -> None:
    collector = Collector(Bound("anna", "tv", "session-id-123", kind="vod"))
    reports = [text for section, text in STANDARD if section == "8.2.5"]
    collector.upload((1_764_269_151_000 - NOON_MS) / 1000, *reports)
    assert collector.suspended == []
    assert collector.watched_ms() == 0


def test_case_06_a_batch_after_an_outage() -> None:
    collector = Collector()
    lines = viewing(until=600)
    collector.each(*lines[:4])
    collector.upload(2 * 3600, *lines[4:])  # two hours without a network
    assert [row["time"] for row in collector.rows] == [
        NOON_MS + at * 1000 for at in range(0, 601, 30)
    ]
    # The log's clock has gone on, so what was open has been closed by then, and begins anew.
    assert collector.watched_ms(idle_ms=3 * HOUR_MS) == 600_000
    assert collector.watched_ms() == 600_000 - 30_000


def test_case_06_a_late_batch_says_when_it_was_sent() -> None:
    collector = Collector()
    sent_ms = NOON_MS + 2 * HOUR_MS
    collector.upload(2 * 3600 + 0.3, *viewing(), sent_ms=sent_ms)
    assert collector.rows[0]["time"] == NOON_MS
    assert collector.watched_ms() == 120_000


@pytest.mark.parametrize("off_ms", [3 * HOUR_MS, -3 * HOUR_MS])
def test_case_06_a_queue_from_a_clock_that_is_hours_off(off_ms: int) -> None:
    collector = Collector()
    lines = [shifted(line, off_ms) for line in viewing(until=600)]
    collector.upload(2 * 3600 + 0.3, *lines[:9], sent_ms=NOON_MS + 2 * HOUR_MS + off_ms)
    collector.upload(2 * 3600 + 4, *lines[9:], sent_ms=NOON_MS + 2 * HOUR_MS + off_ms + 3600)
    assert [row["time"] - collector.rows[0]["time"] for row in collector.rows] == [
        at * 1000 for at in range(0, 601, 30)
    ]
    assert abs(collector.rows[0]["time"] - NOON_MS) < 1_000
    (charge,) = collector.rated().charges
    assert charge["watched_ms"] == 600_000


def test_case_07_two_sets_at_once() -> None:
    living, bedroom = Collector(), Collector(Bound("anna", "bedroom", "s1", kind="vod"))
    living.each(*viewing())
    bedroom.each(*viewing(begin=30, until=90))
    living.lines += bedroom.lines
    assert sum(charge["watched_ms"] for charge in living.rated().charges) == 120_000 + 60_000


def test_case_08_one_session_from_two_devices() -> None:
    first, second = Collector(), Collector(Bound("anna", "phone", "s1", kind="vod"))
    first.each(*viewing())
    second.each(*viewing())
    first.lines += second.lines
    charges = first.rated().charges
    assert {(charge["device"], charge["watched_ms"]) for charge in charges} == {
        ("tv", 120_000),
        ("phone", 120_000),
    }


def test_case_13_pause_and_double_speed() -> None:
    collector = Collector()
    collector.each(
        report("ps", 0, "p", pt=0, sn=0),
        report("ps", 20, "a", pt=20_000, sn=1),
        report("t", 50, "a", pt=20_000, sn=2),
        report("ps", 60, "p", pt=20_000, sn=3, pr=2),
        report("t", 90, "p", pt=80_000, sn=4, pr=2),
        report("ps", 100, "q", pt=100_000, sn=5),
    )
    # Twice the speed is half a minute of a viewer's evening, not a minute of the film.
    assert collector.watched_ms() == 20_000 + 40_000


def test_case_13_a_rate_of_nought_is_no_playing() -> None:
    collector = Collector()
    collector.each(*viewing(pr=0))
    assert collector.watched_ms() == 0


def test_case_14_time_shift_is_what_the_token_says_it_is() -> None:
    """The playhead of a live stream is a time of day; how far behind, the log keeps."""
    collector = Collector(Bound("anna", "tv", "s1", kind="catchup"))
    behind_ms = HOUR_MS
    collector.each(
        *(
            report("ps", at, sta, st="l", sn=sn, pt=NOON_MS + at * 1000 - behind_ms)
            for sn, (at, sta) in enumerate([(0, "p"), (60, "q")])
        )
    )
    (charge,) = collector.rated().charges
    assert (charge["kind"], charge["watched_ms"]) == ("catchup", 60_000)
    assert {row["time"] - row["playhead_ms"] for row in collector.rows} == {behind_ms}


def test_case_15_quality_goes_up_and_down() -> None:
    collector = Collector(options=Options(((0, "sd"), (2500, "hd"), (12000, "uhd"))))
    collector.each(
        report("ps", 0, "p", br="(4200;v 128;a)", sn=0),
        report("bc", 30, "p", br="(16000;v 128;a)", sn=1),
        report("t", 60, "p", sn=2),
        report("bc", 70, "p", br="(800;v 128;a)", sn=3),
        report("ps", 90, "q", sn=4),
    )
    watched = {charge["quality"]: charge["watched_ms"] for charge in collector.rated().charges}
    assert watched == {"hd": 30_000, "uhd": 40_000, "sd": 20_000}


def test_case_18_a_stall_is_not_watched() -> None:
    collector = Collector()
    collector.each(
        report("ps", 0, "p", sn=0),
        report("ps", 20, "r", sn=1, bs=True),
        report("ps", 28, "p", sn=2, bsd="(8000)"),
        report("ps", 60, "e", sn=3),
    )
    assert collector.watched_ms() == 20_000 + 32_000


@pytest.mark.parametrize("ad_first", [True, False])
def test_case_19_an_ad_in_a_second_player(ad_first: bool) -> None:
    """The film stands behind the ad and says so; heartbeats of both come in either order."""
    collector = Collector()
    ticks = [
        [report("t", at, "a", nr=True), report("t", at, "p", cid="ad", st="v")] for at in (40, 70)
    ]
    collector.each(report("ps", 0, "p"), report("ps", 10, "a", nr=True))
    collector.each(report("as", 10.05, cid="ad"), report("ps", 10.1, "p", cid="ad"))
    for tick in ticks:
        collector.each(*(reversed(tick) if ad_first else tick))
    collector.each(report("ps", 80, "e", cid="ad"), report("ps", 80.2, "p"), report("ps", 95, "q"))
    watched: dict[str, int] = {}
    for charge in collector.rated().charges:
        watched[charge["content"]] = watched.get(charge["content"], 0) + charge["watched_ms"]
    assert watched == {"film": 10_000 + 14_800, "ad": 69_900}
    assert collector.suspended == []


def test_case_21_an_order_that_its_sender_retries() -> None:
    """As a back end that heard nothing posts it again, and a second device once more."""
    order = {"type": "order.purchase", "time": NOON_MS, "account": "anna", "id": "o", "offer": "o"}
    body = "\n".join(json.dumps(one) for one in (order, order, order | {"device": "phone"}))
    book = scenes.a_book(offers=(scenes.an_offer(),))
    lines = [line.line for line in native.to_log_lines(body.encode(), NOON_MS)]
    outcome = rate_log([book], lines)
    assert [charge["type"] for charge in outcome.charges] == ["purchase"]
    assert outcome.counts["duplicates"] == 2


def test_case_24_a_set_that_was_left_on() -> None:
    collector = Collector()
    lines = [report("ps", 0, "p", pt=0)]
    lines += [report("t", at, "p", pt=min(at, 60) * 1000) for at in range(30, 3600, 30)]
    collector.each(*lines)
    assert collector.watched_ms() == 60_000  # a picture that stands still is not watched


def test_case_25_a_session_counts_anew() -> None:
    collector = Collector()
    collector.each(*viewing())
    collector.each(*viewing(begin=300, until=420, sn=0))
    collector.each(report("ps", 500, "p", sn=0), report("t", 530, sn=1))
    assert collector.suspended == []
    assert collector.watched_ms() == 120_000 + 120_000 + 30_000
    # A box that has started anew, and its clock with it, has a new token with a new session.


def test_case_26_a_session_that_nobody_vouches_for() -> None:
    collector = Collector()
    collector.each(*viewing(sid="stolen"))
    assert collector.rows == []
    outcome = collector.rated()
    assert outcome.charges == []
    assert {row["reason"] for row in outcome.suspense} == {"unbound"}
    assert [bytes(row["raw"]) for row in outcome.suspense] == [
        line.encode() for line in viewing(sid="stolen")
    ]


def test_case_26_a_clock_that_runs_fast_gains_little() -> None:
    """Twice as fast, for an hour: whenever it is a minute ahead it is put right."""
    collector = Collector()
    for at in range(0, 3600, 30):
        collector.upload(at + 0.2, report("t", at * 2, "p", sn=at // 30))
    assert collector.watched_ms() <= 3_600_000 + 60_000


def test_case_27_the_interval_changes() -> None:
    collector = Collector()
    times = [0, 10, 20, 30, 60, 90, 150, 240]
    collector.each(*(report("t", at, "p", sn=sn) for sn, at in enumerate(times)))
    assert collector.watched_ms() == 240_000
    collector = Collector()  # none at all: without evidence nothing is charged
    collector.each(report("ps", 0, "p"), report("ps", 3_000, "q"))
    assert collector.watched_ms() == 0


def test_case_28_heartbeats_after_the_end_add_nothing() -> None:
    collector = Collector()
    collector.each(*viewing(), report("t", 150, "q", sn=5), report("t", 180, "q", sn=6))
    assert collector.watched_ms() == 120_000
    assert collector.rated().counts["orphan_stops"] == 2


def test_case_29_a_traveller_stays_where_the_account_is() -> None:
    collector = Collector()
    collector.each(*viewing(**{"com.example-country": '"NO"'}))
    assert all(row["region"] is None for row in collector.rows)


@pytest.mark.parametrize("rate", [2, 100])
def test_case_30_a_sample_is_not_charged(rate: int) -> None:
    event = {"specversion": "1.0", "id": "1", "source": "/m", "type": "tv.ratecast.view"}
    event |= {"subject": "anna", "sampledrate": rate, "data": {"device": "tv"}}
    headers = [("content-type", "application/cloudevents+json")]
    found = cloudevents.read_http(headers, json.dumps(event).encode())
    assert len(found.usage) == 0
    assert found.suspended["reason"].to_list() == ["sampled"]


@pytest.mark.parametrize("said", ["2016-12-31T23:59:60Z", NOON_MS * 1000, -(10**16), 1e400, "noon"])
def test_case_31_a_time_that_is_none(said: Any) -> None:
    """A leap second too: no clock that this is held against has one."""
    view = {"type": "view", "time": said, "account": "anna", "device": "tv", "session": "s"}
    view |= {"content": "c", "kind": "vod", "state": "playing"}
    (line,) = native.to_log_lines(json.dumps(view).encode(), NOON_MS)
    outcome = rate_log([scenes.a_book()], [line.line])
    assert [row["reason"] for row in outcome.suspense] == ["malformed"]


@pytest.mark.parametrize(
    "keys",
    [
        {"ts": NOON_MS // 1000},
        {"ts": NOON_MS * 1000},
        {"ts": -NOON_MS},
        {"ts": "1e12"},
        {"pt": 10**16},
        {"pt": "NaN"},
        {"pr": "NaN"},
    ],
)
def test_case_31_units_and_ranges(keys: dict[str, Any]) -> None:
    collector = Collector()
    collector.each(report("ps", 0, "p"))
    collector.upload(30, report("t", 30, "p", **keys))
    collector.each(report("t", 60, "q"))
    assert [row["reason"] for row in collector.suspended] == ["malformed"]
    assert collector.watched_ms() == 60_000


def test_case_31_a_negative_duration_is_no_ones_loss() -> None:
    collector = Collector()
    collector.each(*viewing(d=-4000, bl="(-5)"))
    assert collector.watched_ms() == 120_000


def test_case_32_the_same_upload_gives_the_same_lines() -> None:
    first, second = Collector(), Collector()
    for collector in (first, second):
        collector.upload(121, *viewing())
    assert first.lines == second.lines
    assert first.trace == second.trace


def test_case_32_a_gateway_that_forgets_charges_no_more() -> None:
    collector = Collector()
    for at, line in enumerate(viewing()):
        collector.trace = Trace()
        collector.upload(at * 30 + 0.2, line)
    assert collector.watched_ms() == 120_000
    assert collector.binding == ANNA
