"""What amounts and texts may come to, at the edge and one past it; by both raters where they rate."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
import stored
from core_adapter import batch_of
from scenes import (
    HOUR_MS,
    MINUTE_MS,
    a_book,
    a_plan,
    a_rule,
    an_offer,
    at,
    cancelled,
    column,
    per_hour,
    purchased,
    reasons,
    topped_up,
    view,
    watch,
)

from rating.laws import LawBroken, check_batch
from rating.rater import Rater
from rating.runtime.metrics import Metrics
from rating.runtime.summary import Tally
from rating.schemas import BALANCE_MICROS_MAX, TEXT_BYTES_MAX, TOPUP_MICROS_MAX
from rating.seals import StateDamaged
from tariffs.errors import BookErrors
from tariffs.load import load_text
from tariffs.model import Cap, Discount
from tariffs.money import COUNTER_MICROS_MAX, MICROS

if TYPE_CHECKING:
    from conftest import RateLog

T = at("12:00")
BOOK = """
[book]
id = "b"
currency = "IRR"
timezone = "UTC"
[[plans]]
id = "p"
mode = "postpaid"
[[plans.rules]]
id = "r"
%s
"""
VOLUME = (
    'price = { model = "volume", unit = "hour", '
    'tiers = [{ up_to = %s, amount = "0" }, { amount = "1000000" }] }'
)
LARGEST = str(TOPUP_MICROS_MAX // MICROS)
FULL = BALANCE_MICROS_MAX // TOPUP_MICROS_MAX
PREPAID = a_plan(mode="prepaid")


def test_a_balance_that_would_pass_its_bound_is_suspended(rate: RateLog) -> None:
    lines = [topped_up(T, LARGEST, f"t{each}") for each in range(FULL)]
    lines += [topped_up(T, "0.000001", "one more"), topped_up(T, LARGEST, "t0")]
    lines += [topped_up(T, "0.000001", "one more"), topped_up(T, "5", account="bo")]
    outcome = rate([a_book(PREPAID)], lines)
    assert outcome.balances == {"anna": BALANCE_MICROS_MAX, "bo": 5 * MICROS}
    assert reasons(outcome) == ["balance_out_of_bounds"] * 2  # its id was not seen
    assert outcome.counts["duplicates"] == 1


def test_purchases_that_would_pass_the_bound_are_suspended(rate: RateLog) -> None:
    offer = an_offer(prices=((None, TOPUP_MICROS_MAX),), cancel="before_play", kind="rental")
    lines = [topped_up(T, LARGEST)]
    for each in range(FULL):
        lines += [purchased(T, id_=f"o{each}"), cancelled(T, f"o{each}", f"x{each}")]
    lines.append(purchased(T, id_="one more"))
    outcome = rate([a_book(PREPAID, offers=(offer,))], lines)
    assert reasons(outcome) == ["balance_out_of_bounds"]
    assert outcome.balances == {"anna": TOPUP_MICROS_MAX}
    assert outcome.counts["applied"] == 2 * FULL + 1


@pytest.mark.parametrize(
    "steps",
    [
        {},
        {"discounts": (Discount("d", 0),)},
        {"caps": (Cap("c", 10**15, "month"),)},
    ],
    ids=["price", "discount", "cap"],
)
def test_nothing_is_priced_past_a_counters_bound(rate: RateLog, steps: dict[str, object]) -> None:
    """400 hours at a thousand million each: an hour more would be past the bound."""
    by_month = a_rule(per_hour("1000000"), per="month", minimum_ms=1_000 * HOUR_MS)
    segments = COUNTER_MICROS_MAX // 10**15
    rule = by_month if not steps else replace(by_month, per="segment")
    lines = []
    for each in range(segments + 2):
        start = T + each * HOUR_MS
        lines += watch(start, start + MINUTE_MS, session=f"s{each}")
    lines += watch(start, start + MINUTE_MS, account="bo")
    outcome = rate([a_book(a_plan(rule, **steps))], lines)
    annas = [row for row in outcome.charges if row["account"] == "anna"]
    assert column(annas, "gross") == [10**15] * (segments + 1)
    (held,) = outcome.suspense
    assert (held["reason"], held["watched_ms"]) == ("amount_out_of_bounds", MINUTE_MS)
    assert len(outcome.charges) == segments + 2  # others go on


def test_a_text_too_long_for_the_state_stops_before_it_is_cut() -> None:
    batch = batch_of([view(T, device="x" * TEXT_BYTES_MAX)])
    Rater([a_book()]).rate(batch)
    batch.events["device_len"] += 1
    with pytest.raises(AssertionError, match="513 bytes"):
        Rater([a_book()]).rate(batch)


@pytest.mark.parametrize("size", [513, 65_535, 65_536, 70_000])
def test_long_ids_count_once_or_not_at_all(rate: RateLog, size: int) -> None:
    """A length that is kept in 16 bits would make a top-up of 70,000 bytes count every time."""
    long = "x" * size
    lines = [topped_up(T, "5", long), topped_up(T, "5", long), purchased(T, id_=long)]
    lines += [topped_up(T, "5", "x" * 512), topped_up(T, "5", "x" * 512)]
    outcome = rate([a_book(PREPAID, offers=(an_offer(),))], lines)
    assert outcome.balances == {"anna": 5 * MICROS}
    assert reasons(outcome) == ["malformed"] * 3


# --- sums ---------------------------------------------------------------------------------------

WIDE = 12 * 10**18  # as in IRR, where 12 million million are some ten million euro
CHARGES = stored.charges(
    *(stored.charge(gross=6 * 10**17, unfunded=3 * 10**17, session=f"s{n}") for n in range(20))
)


def test_a_runs_revenue_may_pass_64_bits() -> None:
    tally = Tally()
    tally.add(stored.result(charges=CHARGES))
    assert (tally.total["SEK"], tally.unfunded["SEK"]) == (WIDE, WIDE // 2)


def test_the_workers_figures_may_pass_64_bits() -> None:
    metrics = Metrics()
    back = CHARGES.with_columns(pl.lit("refund").alias("type"), -pl.col("total"))
    metrics.committed(0, stored.result(charges=CHARGES), {}, {})
    metrics.committed(0, stored.result(charges=back.with_columns(unfunded=0)), {}, {})

    def told(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, {"currency": "SEK"} | labels)

    assert told("ratecast_charged_micros_total", type="usage") == WIDE
    assert told("ratecast_credited_micros_total", type="refund") == WIDE
    assert told("ratecast_unfunded_micros_total") == WIDE / 2


def test_a_balance_that_wrapped_around_breaks_the_law() -> None:
    """The sum of 9,300 top-ups of a thousand million, as 64 bits have it, on both sides."""
    wrapped = int(np.array(93 * 10**17, np.uint64).astype(np.int64))
    rater = Rater([a_book(PREPAID)])
    rater.rate(batch_of([topped_up(T, "5")]))
    accounts = stored.accounts(
        stored.account("anna", wrapped, topups=93 * 10**17 - 2**63, refunds=2**62, paid=-(2**62))
    )
    with pytest.raises(LawBroken, match="anna"):
        check_batch(rater.state, accounts)


# --- books and stored state ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "is_sound"),
    [
        (
            'minimum_s = 3_600_000\nprice = { model = "per_unit", unit = "hour", amount = "1000000" }',
            True,
        ),
        (
            'minimum_s = 3_600_004\nprice = { model = "per_unit", unit = "hour", amount = "1000000" }',
            False,
        ),
        (
            'increment_s = 3_600_004\nprice = { model = "per_unit", unit = "hour", amount = "1000000" }',
            False,
        ),
        (VOLUME % "1000", True),
        (VOLUME % "1001", False),
    ],
)
def test_a_piece_costs_a_thousand_million_at_most(rule: str, is_sound: bool) -> None:
    text = BOOK % rule
    if is_sound:
        assert load_text(text)
        return
    with pytest.raises(BookErrors, match="can cost more than 1000000000"):
        load_text(text)


def test_a_chunk_with_other_bytes_than_those_stored_is_refused() -> None:
    """State of 0.1.0, which had no seals, is read: tests/integration/test_upgrades.py."""
    rater = Rater([a_book()])
    chunks = rater.rate(batch_of([view(T), topped_up(T, "5")])).state_added
    assert Rater([a_book()], chunks).sessions_open == 1
    damaged = [replace(chunk, payload=chunk.payload[:-1]) for chunk in chunks]
    with pytest.raises(StateDamaged, match="chunk delta 1 has not the bytes"):
        Rater([a_book()], damaged)
