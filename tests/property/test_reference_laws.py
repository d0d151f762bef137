"""What must hold of any log: the laws of section 8, tried on random worlds.

A failing seed is replayed by `random_world(seed)`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from functools import cache
from random import Random
from typing import TYPE_CHECKING

import pytest
from outcome import Outcome, comparable
from reference_rater import ReferenceRater, check_laws, rate_log
from scenes import DAY_MS, HOUR_MS, a_book, view
from worlds import CONTENTS, KINDS, World, random_book, random_world

if TYPE_CHECKING:
    from conftest import RateLog

SEEDS = range(50)


@cache
def world_of(seed: int) -> tuple[World, Outcome]:
    """A world and what the reference rater makes of it."""
    world = random_world(seed)
    return world, rate_log(world.books, world.lines)


# --- all raters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_every_rater_agrees_with_the_reference_in_any_batching(rate: RateLog, seed: int) -> None:
    world, whole = world_of(seed)
    batch = Random(seed).choice((1, 2, 7, 50, None))
    assert comparable(rate(world.books, world.lines, batch=batch)) == comparable(whole)


# --- the reference -------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_laws_hold_after_every_record(seed: int) -> None:
    world, _ = world_of(seed)
    rater = ReferenceRater(world.books)
    for line in world.lines:
        rater.apply(line)
        check_laws(rater)
    rater.close()
    assert not rater.sessions
    check_laws(rater)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_duplicate_never_changes_a_charge(seed: int) -> None:
    """Each line and at once again; but a second record that leaps lets the log go on from there."""
    world, once = world_of(seed)
    if any(row["reason"] == "clock_leap" for row in once.suspense):
        return
    twice = rate_log(world.books, [line for line in world.lines for _ in range(2)])
    for name in ("charges", "pieces", "balances"):
        assert comparable(twice)[name] == comparable(once)[name], name
    assert twice.counts["watched_ms"] == once.counts["watched_ms"]


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_charged_before_closing_is_a_part_of_what_is_charged_after(seed: int) -> None:
    world, whole = world_of(seed)
    unfinished = rate_log(world.books, world.lines, close=False)
    before, after = comparable(unfinished)["charges"], comparable(whole)["charges"]
    assert not Counter(before) - Counter(after)
    assert unfinished.balances == whole.balances


@pytest.mark.parametrize("seed", SEEDS)
def test_partitioning_changes_no_charge_where_received_ascends(seed: int) -> None:
    world, whole = world_of(seed)
    if not world.received_ascends:
        world = gateway_world(seed)
        whole = rate_log(world.books, world.lines)
    by_account: dict[str, list[bytes]] = defaultdict(list)
    for line in world.lines:
        by_account[account_of(line)].append(line)
    parts = [comparable(rate_log(world.books, lines)) for lines in by_account.values()]
    assert sorted(row for part in parts for row in part["charges"]) == comparable(whole)["charges"]
    balances = {account: micros for part in parts for account, micros in part["balances"].items()}
    assert balances == comparable(whole)["balances"]


def gateway_world(seed: int) -> World:
    """The first world from this seed on that a gateway could have written."""
    world = random_world(seed)
    return world if world.received_ascends else gateway_world(seed + 1_000)


def account_of(line: bytes) -> str:
    """The account of a record, or "" where it cannot be read."""
    try:
        return str(json.loads(line)["account"])
    except (ValueError, TypeError, KeyError):
        return ""


@pytest.mark.parametrize("seed", SEEDS)
def test_more_heartbeats_change_no_charge(seed: int) -> None:
    """Each price is a function of a sum, so it does not matter in how many parts it is reached.

    Discounts are left out, because their windows are read where a piece starts.
    """
    random = Random(seed)
    start = 1_772_400_000_000 + random.randrange(HOUR_MS)
    book = random_book(random, "b", "Europe/Stockholm", start - DAY_MS, start)
    plan = replace(book.plans[0], mode="postpaid", discounts=())
    patient = a_book(plan, **{name: getattr(book, name) for name in ("bands", "packages", "tax")})
    patient = replace(patient, default_plan=plan.id)
    end = start + random.randrange(1, 5 * HOUR_MS)
    fields = {"content": random.choice(CONTENTS), "kind": random.choice(KINDS)}
    between = sorted(random.randrange(start, end) for _ in range(random.randint(1, 40)))
    few = [view(start, **fields), view(end, "stopped", **fields)]
    many = [few[0], *(view(time, **fields) for time in between), few[1]]
    assert (
        comparable(rate_log([patient], many))["charges"]
        == comparable(rate_log([patient], few))["charges"]
    )


# --- the worlds ----------------------------------------------------------------------------------


def test_a_world_is_made_from_its_seed_alone() -> None:
    assert random_world(7) == random_world(7)
    assert random_world(7).lines != random_world(8).lines


def test_the_worlds_meet_everything() -> None:
    """Each way in which a record, a piece or an order may end comes up, so none goes untried."""
    met: Counter[object] = Counter()
    for seed in range(150):
        _, outcome = world_of(seed)
        met.update(outcome.counts)
        met.update((row["reason"], row["type"] == "usage") for row in outcome.suspense)
        met.update((row["type"], row["reason"]) for row in outcome.signals)
        for charge in outcome.charges:
            met[charge["type"], charge["rule"].partition(":")[0]] += 1
            met.update(name for name in ("free_ms", "unfunded", "tax") if charge[name])
            for name in ("gross", "discount", "capped", "unfunded"):
                met[name, "+" if charge[name] > 0 else "-"] += charge[name] != 0
    record_reasons = ("malformed", "clock_ahead", "too_late", "unknown_account", "unknown_plan")
    record_reasons += ("unknown_package", "currency_mismatch", "unknown_offer", "unknown_order")
    record_reasons += ("no_book", "clock_leap")
    expected: set[object] = {(reason, False) for reason in record_reasons}
    expected |= {("no_rule", True), ("unknown_plan", True), ("no_book", True)}
    expected |= {"duplicates", "out_of_order", "orphan_stops", "free_ms", "unfunded", "tax"}
    expected |= {("order.declined", "not_on_sale"), ("order.declined", "insufficient_balance")}
    expected |= {("order.cancel_rejected", why) for why in ("started", "played", "not_cancellable")}
    names = ("order.accepted", "order.cancelled", "balance.exhausted", "balance.restored")
    expected |= {(name, "") for name in names}
    expected |= {
        ("usage", "package"),
        ("usage", "offer"),
        ("purchase", "offer"),
        ("refund", "offer"),
    }
    expected |= {("gross", "-"), ("discount", "+"), ("capped", "+"), ("unfunded", "-")}
    assert {name for name in expected if not met[name]} == set()
