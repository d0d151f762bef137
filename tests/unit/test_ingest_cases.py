"""What breaks billing by watch time in the field, case by case, as far as a player's reports go.

Other layers hold these, and their tests are there:
  7 (two sets at once), 9 to 12 (midnight, daylight saving, broadcast day, another book), 16 and 17
  (zapping, clock minutes), 20 to 23 (pay-per-view, orders twice, previews, rentals): the core, in
  tests/unit/test_spec_*.py. 14 (time-shift) is a word of `kind`, which the token says. 30 (samples):
  the adapters that learn of it, in tests/unit/test_adapters_cloudevents.py.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from cmcd_records import STANDARD
from players import ANNA, NOON_MS, Collector, report, shifted

from ingest.adapters.cmcd import Bound, Options, Trace

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def viewing(*, begin: int = 0, until: int = 120, sn: int = 0, **keys: Any) -> list[str]:
    """Playing with a heartbeat every 30 s, and a stop at the end."""
    beats = [
        report("ps" if at == begin else "t", at, "p", sn=sn + (at - begin) // 30, **keys)
        for at in range(begin, until, 30)
    ]
    return [*beats, report("ps", until, "q", sn=sn + len(beats), **keys)]


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
