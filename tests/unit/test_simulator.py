"""The simulator's log, read back by an independent check of spec section 1."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from ingest.simulator import DEFAULT_START, Faults, Operator, Simulation, simulate
from ingest.simulator.chance import (
    RANK_SLOTS,
    exponential,
    log_normal,
    quantile_table,
    traits,
    zipf_table,
)
from tariffs.load import load_text

if TYPE_CHECKING:
    from conftest import RateLog

START_MS = 1_772_816_400_000  # DEFAULT_START
EVENT_STARTS_MS = START_MS + 2 * 3_600_000
EVENT_ENDS_MS = START_MS + 4 * 3_600_000
MINUTE_MS = 60_000
TEXTS = {
    "view": ("device", "session", "content", "kind", "quality"),
    "account.open": ("plan", "region"),
    "account.subscribe": ("package",),
    "account.unsubscribe": ("package",),
    "balance.topup": ("id", "currency"),
    "order.purchase": ("id", "offer", "quality"),
    "order.cancel": ("id", "order"),
}
STATES = {"playing", "starting", "paused", "stalled", "seeking", "stopped"}


def log_of(households: int, hours: float, seed: int = 7, **options: Any) -> list[bytes]:
    return b"".join(simulate(households, hours, seed, **options)).splitlines()


@cache
def evening() -> list[dict[str, Any]]:
    """Five hours of 400 households without faults."""
    return [json.loads(line) for line in log_of(400, 5)]


def is_well_formed(line: bytes) -> bool:
    """Whether a line is a usage record by spec section 1."""
    try:
        usage = json.loads(line)
    except ValueError:
        return False
    if not isinstance(usage, dict) or usage.get("type") not in TEXTS:
        return False
    texts = ["account", *TEXTS[usage["type"]]]
    numbers = ["time", "received"]
    if usage["type"] == "view":
        numbers += [name for name in ("playhead_ms", "rate") if name in usage]
    if usage["type"] == "account.open":
        numbers.append("bill_day")
    return (
        all(isinstance(usage.get(name), str) and usage[name] for name in texts)
        and all(type(usage.get(name)) is int for name in numbers)
        and (usage["type"] != "view" or usage["state"] in STATES)
        and (usage["type"] != "account.open" or 1 <= usage["bill_day"] <= 28)
        and (usage["type"] != "balance.topup" or float(usage["amount"]) > 0)
    )


def views_of(usage: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [view for view in usage if view["type"] == "view"]


def by_session(usage: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    sessions = defaultdict(list)
    for view in views_of(usage):
        sessions[view["session"]].append(view)
    return sessions


def by_device(usage: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    devices = defaultdict(list)
    for view in views_of(usage):
        devices[view["device"]].append(view)
    return devices


def lived(line: bytes) -> tuple[tuple[str, Any], ...]:
    """What a line says happened, without when it arrived."""
    return tuple((name, value) for name, value in json.loads(line).items() if name != "received")


# --- the log ---------------------------------------------------------------------------------------


def test_a_seed_gives_these_bytes_on_any_machine() -> None:
    """A change of this digest means that every figure measured on simulated logs changes, too."""
    log = b"".join(simulate(30, 1, 1, faults=Faults.parse("typical")))
    digest = hashlib.blake2b(log, digest_size=8).hexdigest()
    assert digest == "57ec6889250b9ece"


def test_another_seed_gives_another_log() -> None:
    assert log_of(5, 1, seed=1) != log_of(5, 1, seed=2)


@pytest.mark.parametrize("block_bytes", [400, 1_000, 70_000])
def test_the_size_of_blocks_changes_no_byte(block_bytes: int) -> None:
    faults = Faults.parse("typical")
    blocks = list(simulate(20, 1, 3, faults=faults, block_bytes=block_bytes))
    assert max(map(len, blocks)) <= block_bytes
    assert all(block.endswith(b"\n") for block in blocks)
    assert b"".join(blocks) == b"".join(simulate(20, 1, 3, faults=faults))


@pytest.mark.parametrize("faults", ["none", "typical"])
def test_a_household_lives_the_same_life_whoever_lives_beside_it(faults: str) -> None:
    few = log_of(15, 2, faults=Faults.parse(faults))
    many = log_of(45, 2, faults=Faults.parse(faults))

    def first_fifteen(log: list[bytes]) -> list[bytes]:
        accounts = [f"acct-{number:07d}".encode() for number in range(1, 16)]
        return [line for line in log if any(account in line for account in accounts)]

    assert first_fifteen(many) == first_fifteen(few)


def test_a_longer_run_begins_like_a_shorter_one() -> None:
    """From five hours on; only accounts change their packages and plans at other times."""

    def watched(hours: float) -> list[dict[str, Any]]:
        views = views_of([json.loads(line) for line in log_of(20, hours)])
        return [view for view in views if view["time"] < START_MS + 5 * 3_600_000]

    assert watched(30) == watched(5)


def test_every_line_is_a_usage_record() -> None:
    assert [line for line in log_of(60, 3) if not is_well_formed(line)] == []


def test_arrival_ascends_and_follows_the_event() -> None:
    usage = evening()
    received = [one["received"] for one in usage]
    assert received == sorted(received)
    assert all(one["received"] - one["time"] in range(5, 5_000) for one in usage)


def test_a_log_keeps_to_its_hours() -> None:
    usage = evening()
    assert min(one["time"] for one in usage) >= START_MS - 10 * MINUTE_MS
    assert min(view["time"] for view in views_of(usage)) >= START_MS
    assert max(one["time"] for one in usage) < START_MS + 5 * 3_600_000


def test_the_start_can_be_anywhere() -> None:
    start = datetime(2027, 3, 28, 2, 30, tzinfo=UTC)  # soon after clocks go forward
    usage = [json.loads(line) for line in log_of(10, 1, start=start)]
    begins_ms = round(start.timestamp() * 1000)
    assert {one["time"] // MINUTE_MS for one in usage if one["type"] == "account.open"} <= set(
        range(begins_ms // MINUTE_MS - 10, begins_ms // MINUTE_MS)
    )


def test_the_estimate_is_near() -> None:
    assert Simulation(400, 5, 7).records_estimate == pytest.approx(len(evening()), rel=0.15)


# --- the operator's evening ------------------------------------------------------------------------


def test_every_type_kind_and_state_comes_up() -> None:
    usage = evening()
    assert {one["type"] for one in usage} == set(TEXTS)
    assert {view["state"] for view in views_of(usage)} == STATES
    kinds = Counter(view["kind"] for view in views_of(usage))
    assert set(kinds) == {"channel", "vod", "ppv", "catchup"}
    assert 0.7 < kinds["channel"] / kinds.total() < 0.9


def test_accounts_have_plans_regions_and_bill_days() -> None:
    opened = [one for one in evening() if one["type"] == "account.open"]
    assert 0.94 < len({one["account"] for one in opened}) / 400 < 1
    assert {one["plan"] for one in opened} == {"family", "total", "payg"}
    assert {one["region"] for one in opened} == {"SE-AB", "SE-O", "SE", "FI", "NO"}
    assert len({one["bill_day"] for one in opened}) > 20


def test_heartbeats_are_never_further_apart_than_half_a_minute_and_jitter() -> None:
    for views in by_session(evening()).values():
        times = [view["time"] for view in views]
        assert np.diff(times).max(initial=0) <= 30_500
        assert np.diff(times).min(initial=0) >= 0


def test_the_heartbeat_can_be_chosen() -> None:
    sessions = by_session(
        [json.loads(line) for line in log_of(20, 1, operator=Operator(heartbeat_s=10))]
    )
    gaps = np.concatenate(
        [np.diff([view["time"] for view in views]) for views in sessions.values()]
    )
    assert gaps.max() <= 10_170
    assert np.median(gaps) == pytest.approx(10_000, rel=0.02)


def test_a_player_that_plays_moves_its_playhead() -> None:
    for views in by_session(evening()).values():
        for before, after in pairwise(views):
            same = "playhead_ms" in before and before["content"] == after["content"]
            if same and before["state"] == "playing" and before.get("rate", 1) > 0:
                advance = after["playhead_ms"] - before["playhead_ms"]
                assert advance == (after["time"] - before["time"]) * before.get("rate", 1)
            elif same and before["state"] in {"paused", "stalled"}:
                assert after["playhead_ms"] == before["playhead_ms"]


def test_half_of_the_live_views_and_all_others_have_a_playhead() -> None:
    views = views_of(evening())
    live = [view for view in views if view["kind"] == "channel"]
    assert 0.4 < sum("playhead_ms" in view for view in live) / len(live) < 0.6
    assert all("playhead_ms" in view for view in views if view["kind"] != "channel")


def test_zaps_come_in_bursts() -> None:
    """Most channels are left within ten seconds; those that stay on hold nearly all the time."""
    stays = []
    for views in by_session(evening()).values():
        if views[0]["kind"] == "channel":
            content, since = views[0]["content"], views[0]["time"]
            for view in views[1:]:
                if view["content"] != content:
                    stays.append(view["time"] - since)
                    content, since = view["content"], view["time"]
    short = [stay for stay in stays if stay <= 10_000]
    assert 0.6 < len(short) / len(stays) < 0.9
    assert sum(short) < 0.05 * sum(stays)


def test_a_fifth_of_the_channels_has_most_of_the_viewing() -> None:
    """Zipf with exponent 1 over 160 channels gives the first 32 a share of 0.72."""
    records = Counter(view["content"] for view in views_of(evening()) if view["kind"] == "channel")
    assert len(records) > 120
    assert 0.55 < sum(count for _, count in records.most_common(32)) / records.total() < 0.88


def test_the_evening_has_a_peak() -> None:
    hours = Counter((view["time"] - START_MS) // 3_600_000 for view in views_of(evening()))
    assert hours[3] > 1.2 * hours[0]
    assert hours[4] < hours[3]


def test_a_crowd_comes_for_the_event_and_leaves_at_its_end() -> None:
    usage = [json.loads(line) for line in log_of(300, 5, operator=Operator(event_share=0.5))]
    orders = [one["time"] for one in usage if one.get("offer") == "event-1"]
    late = [time for time in orders if EVENT_STARTS_MS - 15 * MINUTE_MS <= time < EVENT_STARTS_MS]
    assert 0.40 < len(orders) / 300 < 0.57
    assert 0.68 < len(late) / len(orders) < 0.92
    ppv = [view for view in views_of(usage) if view["kind"] == "ppv"]
    starts = [view["time"] for view in ppv if view["state"] == "starting"]
    assert min(starts) >= EVENT_STARTS_MS - 5 * MINUTE_MS
    assert max(starts) <= EVENT_STARTS_MS + 3 * MINUTE_MS
    stops = [view["time"] for view in ppv if view["state"] == "stopped"]
    assert len(stops) == len(starts) <= len(orders)
    assert np.quantile(stops, [0, 0.9]).tolist() == pytest.approx(
        [EVENT_ENDS_MS, EVENT_ENDS_MS + MINUTE_MS], abs=MINUTE_MS
    )


def test_films_are_ordered_before_they_are_seen() -> None:
    ordered: set[tuple[str, str]] = set()
    seen = 0
    for one in evening():
        if one["type"] == "order.purchase":
            ordered.add((one["account"], one["offer"].removeprefix("rent-").removeprefix("buy-")))
        elif one["type"] == "view" and one["content"].startswith("film-"):
            assert (one["account"], one["content"]) in ordered
            seen += 1
    assert seen > 100


def test_ids_are_never_used_twice() -> None:
    used = Counter((one["account"], one["id"]) for one in evening() if "id" in one)
    assert set(used.values()) == {1}


def test_each_day_has_an_event() -> None:
    book = tomllib.loads(Simulation(1, 72, 1).book())
    events = [offer for offer in book["offers"] if offer["kind"] == "ppv"]
    starts = [event["starts"] for event in events]
    assert starts == [DEFAULT_START + timedelta(hours=2, days=day) for day in range(3)]


# --- faults ----------------------------------------------------------------------------------------


@cache
def faulty(faults: str) -> list[bytes]:
    return log_of(200, 2, faults=Faults.parse(faults))


def test_retries_add_the_same_records_again() -> None:
    lives = Counter(lived(line) for line in faulty("retries=0.1"))
    assert set(lives) == {lived(line) for line in faulty("none")}
    assert set(lives.values()) == {1, 2}
    assert sum(count == 2 for count in lives.values()) / len(lives) == pytest.approx(0.1, abs=0.01)


def test_reordering_lets_later_records_overtake() -> None:
    views = views_of([json.loads(line) for line in faulty("reordering=0.1")])
    late = sum(view["received"] - view["time"] >= 1_000 for view in views)
    assert late / len(views) == pytest.approx(0.1, abs=0.01)
    overtaken = sum(
        int((np.diff([view["time"] for view in views]) < 0).sum())
        for views in by_device(views).values()
    )
    assert overtaken > 0
    assert {lived(line) for line in faulty("reordering=0.1")} == {
        lived(line) for line in faulty("none")
    }


def test_silence_swallows_heartbeats_only() -> None:
    clean, silent = ({lived(line) for line in faulty(faults)} for faults in ("none", "silence=0.2"))
    assert silent < clean
    beats = len(clean) * 0.89  # the rest are changes, orders and accounts
    assert len(clean - silent) / beats == pytest.approx(0.2, abs=0.03)
    sessions = by_session([json.loads(line) for line in faulty("silence=0.2")])
    gaps = np.concatenate(
        [np.diff([view["time"] for view in views]) for views in sessions.values()]
    )
    assert gaps.max() > 150_000  # longer than any timeout in the book


def test_clocks_are_wrong_by_minutes_or_decades() -> None:
    log = log_of(2_000, 0.2, faults=Faults(clock_skew=0.5))
    devices = by_device([json.loads(line) for line in log])
    ahead_ms = np.array([views[0]["time"] - views[0]["received"] for views in devices.values()])
    wrong = np.abs(ahead_ms) > 10_000
    assert wrong.mean() == pytest.approx(0.5, abs=0.05)
    decades = ahead_ms < -365 * 24 * 60 * MINUTE_MS
    assert 0 < decades.sum() < 0.12 * wrong.sum()
    assert np.abs(ahead_ms[~decades]).max() <= 31 * MINUTE_MS


def test_power_loss_takes_stops() -> None:
    def stops(faults: str) -> int:
        return sum(b'"stopped"' in line for line in faulty(faults))

    assert stops("power_loss=0.4") / stops("none") == pytest.approx(0.6, abs=0.09)
    assert {lived(line) for line in faulty("power_loss=0.4")} < {
        lived(line) for line in faulty("none")
    }


def test_an_outage_ends_in_a_late_batch() -> None:
    assert {lived(line) for line in faulty("late_batches=0.5")} == {
        lived(line) for line in faulty("none")
    }
    devices = by_device([json.loads(line) for line in faulty("late_batches=0.5")])
    late = {
        device: [view for view in views if view["received"] - view["time"] > MINUTE_MS]
        for device, views in devices.items()
    }
    assert 0.2 < sum(map(bool, late.values())) / len(devices) < 0.6
    longest = max(late.values(), key=len)
    assert len(longest) > 20
    assert len({view["received"] // 10_000 for view in longest}) <= 3
    for views in devices.values():
        assert [view["time"] for view in views] == sorted(view["time"] for view in views)


def test_malformed_lines_are_of_every_sort() -> None:
    log = faulty("malformed=0.05")
    damaged = [line for line in log if not is_well_formed(line)]
    assert len(log) == len(faulty("none"))
    assert len(damaged) / len(log) == pytest.approx(0.05, abs=0.005)
    sorts = {
        "cut off": [line for line in damaged if line[:1] == b"{" and line[-1:] != b"}"],
        "mistyped": [line for line in damaged if b'"time":"noon"' in line and line[-1:] == b"}"],
        "of no type": [line for line in damaged if b'"type":"x' in line and line[-1:] == b"}"],
        "junk": [line for line in damaged if line[:1] == b"\x80"],
    }
    assert all(len(lines) / len(damaged) > 0.15 for lines in sorts.values())
    assert sum(map(len, sorts.values())) == len(damaged)


def test_faults_are_read_from_a_list() -> None:
    assert Faults.parse("none") == Faults.parse("") == Faults()
    assert Faults.parse("silence=0.2, retries=1") == Faults(silence=0.2, retries=1)
    assert Faults.parse("typical,malformed=0").malformed == 0
    assert Faults.parse("typical,malformed=0").retries == Faults.parse("typical").retries > 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sometimes", "choose from none, typical, retries=RATE"),
        ("silence=often", "silence='often' is no number"),
        ("silence=2", "silence is 2.0; a fault's rate must be 0 to 1"),
        ("silence=nan", "a fault's rate must be 0 to 1"),
    ],
)
def test_what_is_no_fault_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Faults.parse(text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"households": 0}, "households is 0; it must be 1 to 9,999,999"),
        ({"households": 10_000_000}, "households is 10000000"),
        ({"hours": 0}, "hours is 0; it must be above 0"),
        ({"hours": float("nan")}, "hours is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"start": datetime(2026, 1, 1)}, "must have a time zone"),  # noqa: DTZ001
        ({"start": datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)}, "a whole minute"),
    ],
)
def test_what_cannot_be_simulated_is_said(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Simulation(**{"households": 1, "hours": 1, "seed": 1} | arguments)


def test_an_operator_without_enough_channels_is_no_operator() -> None:
    with pytest.raises(ValueError, match="channels is 5; it must be 20 to 999"):
        Operator(channels=5)


# --- the book --------------------------------------------------------------------------------------


def test_the_book_has_every_price_model_and_every_offer() -> None:
    text = Simulation(1, 5, 1).book()
    raw = tomllib.loads(text)
    rules = [rule for plan in raw["plans"] for rule in plan["rules"]]
    assert {rule["price"]["model"] for rule in rules} == {
        "per_unit",
        "graduated",
        "volume",
        "package",
        "flat",
    }
    assert {offer["kind"] for offer in raw["offers"]} == {"ppv", "rental", "est", "pass"}
    assert {plan["mode"] for plan in raw["plans"]} == {"prepaid", "postpaid"}
    book = load_text(text)
    assert (book.currency, book.timezone, book.default_plan) == ("SEK", "Europe/Stockholm", "payg")


@pytest.mark.parametrize(
    ("hours", "operator"),
    [
        (0.1, Operator(channels=20)),
        (72, Operator(channels=999, heartbeat_s=600)),
    ],
)
def test_the_book_of_any_operator_is_valid(hours: float, operator: Operator) -> None:
    book = load_text(Simulation(1, hours, 1, operator=operator).book())
    assert book.heartbeat_timeout_ms >= 3_000 * operator.heartbeat_s


def test_the_book_rates_all_that_is_watched(rate: RateLog) -> None:
    """Without faults nothing is suspended, nothing is late, and all the time watched is charged."""
    simulation = Simulation(40, 5, 7)
    outcome = rate([load_text(simulation.book())], b"".join(simulation.blocks()).splitlines())
    assert outcome.suspense == []
    assert outcome.counts["records"] == outcome.counts["applied"] > 10_000
    playing = sum(
        after["time"] - before["time"]
        for views in by_session([json.loads(line) for line in log_of(40, 5)]).values()
        for before, after in pairwise(views)
        if before["state"] == "playing" and before.get("rate", 1) > 0
    )
    assert outcome.counts["watched_ms"] == playing


# --- chance ----------------------------------------------------------------------------------------


def test_a_trait_is_spread_evenly_and_belongs_to_seed_household_and_purpose() -> None:
    drawn = traits(7, np.arange(1, 20_001), 3)
    assert drawn.min() >= 0
    assert drawn.max() < 1 << 32
    assert drawn.mean() / (1 << 31) == pytest.approx(1, abs=0.02)
    assert len(np.unique(drawn)) > 19_990
    assert traits(7, np.array([5]), 3) == drawn[4]
    assert traits(8, np.array([5]), 3) != drawn[4] != traits(7, np.array([5]), 4)


def test_a_rank_table_follows_zipf() -> None:
    counts = np.sort(np.bincount(zipf_table(160, 1.0, 7)))[::-1]
    assert counts.sum() == RANK_SLOTS
    harmonic = (1 / np.arange(1, 161)).sum()
    wanted = RANK_SLOTS / harmonic / np.arange(1, 161)
    assert np.abs(counts - wanted).max() <= 1


def test_quantile_tables_have_their_mean_and_bounds() -> None:
    viewing = quantile_table(log_normal(1.2), 31 * MINUTE_MS, 30_000, 360 * MINUTE_MS)
    assert viewing.mean() / MINUTE_MS == pytest.approx(31, rel=0.03)
    assert (viewing.min(), viewing.max()) == (30_000, 360 * MINUTE_MS)
    assert (np.diff(viewing) >= 0).all()
    assert np.median(quantile_table(exponential, 1000, 0, 10_000)) == pytest.approx(693, abs=2)
