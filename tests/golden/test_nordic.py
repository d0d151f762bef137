"""One evening of three accounts: every charge of it to the last digit, and all the rest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tariffs.model import Allowance, Band, Book, Cap, Offer, Plan, Price, Rule, Tier

if TYPE_CHECKING:
    from conftest import RateLog
    from outcome import Outcome

NORDIC = Path(__file__).parent / "nordic"
HOUR_MS = 3_600_000

PREMIUM_HOURS = Rule(
    id="premium-hours",
    price=Price("graduated", tiers=(Tier(2 * HOUR_MS, 6_000_000), Tier(None, 4_000_000))),
    kind=("channel",),
    package=("premium",),
    per="month",
    counter="premium-hours",
    increment_ms=60_000,
    free_below_ms=10_000,
)
FAMILY = Plan(
    id="family",
    mode="postpaid",
    includes=("basic",),
    rules=(
        PREMIUM_HOURS,
        Rule(
            id="catchup",
            price=Price("flat", amount_micros=9_000_000),
            kind=("catchup",),
            per="day",
            counter="catchup",
        ),
    ),
    allowances=(Allowance("welcome-half-hour", HOUR_MS // 2, "month", ("premium-hours",)),),
    caps=(Cap("premium-cap", 99_000_000, "month", ("premium-hours",)),),
)
PAYG = Plan(
    id="payg",
    mode="prepaid",
    rules=(
        Rule(
            id="evening",
            price=Price("per_unit", amount_micros=12_000_000),
            kind=("channel",),
            band=("evening",),
            counter="evening",
        ),
        Rule(
            id="channel",
            price=Price("per_unit", amount_micros=6_000_000),
            kind=("channel",),
            counter="channel",
        ),
    ),
)
BOOK = Book(
    id="nordic-2026-01",
    currency="SEK",
    timezone="Europe/Stockholm",
    effective_from_ms=1_767_225_600_000,  # 2026-01-01T00:00:00Z
    prices_include_tax=True,
    default_plan="payg",
    tax=(("SE", 25_000_000), ("NO", 25_000_000), ("FI", 25_500_000), ("*", 0)),
    bands=(Band("evening", frozenset(range(5)), frozenset(), frozenset(), 18 * 60, 23 * 60),),
    packages=(("basic", ("svt1", "svt2", "tv4")), ("premium", ("cinema", "sport-hd"))),
    plans=(FAMILY, PAYG),
    offers=(
        Offer(
            id="cup-final",
            kind="ppv",
            prices=(("hd", 99_000_000), ("uhd", 129_000_000)),
            content=("final-2026",),
            starts_ms=1_772_820_000_000,  # 2026-03-06T18:00:00Z
            ends_ms=1_772_834_400_000,  # 2026-03-06T22:00:00Z
            cancel="before_start",
        ),
        Offer(
            id="new-film",
            kind="rental",
            prices=((None, 49_000_000),),
            content=("film-7",),
            cancel="before_play",
        ),
    ),
)


def nordic_lines() -> list[bytes]:
    return (NORDIC / "evening.ndjson").read_bytes().splitlines()


@pytest.fixture
def evening(rate: RateLog) -> Outcome:
    return rate([BOOK], nordic_lines())


def as_in_csv(charge: dict[str, Any], columns: list[str]) -> dict[str, str]:
    return {column: str(charge[column]) for column in columns}


def holds(row: dict[str, Any], expected: dict[str, Any]) -> bool:
    return all(row[name] == value for name, value in expected.items())


def test_every_charge_to_the_last_digit(evening: Outcome) -> None:
    with (NORDIC / "charges.csv").open(newline="") as file:
        reader = csv.DictReader(file)
        expected, columns = list(reader), list(reader.fieldnames or ())
    order = sorted(evening.charges, key=lambda c: (c["account"], c["start"], c["charge_id"]))
    assert [as_in_csv(charge, columns) for charge in order] == expected


def test_balances_suspense_signals_and_counts(evening: Outcome) -> None:
    rest = json.loads((NORDIC / "rest.json").read_text())
    assert evening.balances == rest["balances_micros"]
    assert {name: evening.counts[name] for name in rest["counts"]} == rest["counts"]
    for kind, rows in (("suspense", evening.suspense), ("signals", evening.signals)):
        assert len(rows) == len(rest[kind])
        for expected in rest[kind]:
            assert any(holds(row, expected) for row in rows), (expected, rows)


def test_the_evening_in_batches_of_any_size(rate: RateLog, evening: Outcome) -> None:
    whole = sorted(charge["charge_id"] for charge in evening.charges)
    for batch in (1, 7, 100):
        parts = rate([BOOK], nordic_lines(), batch=batch)
        assert sorted(charge["charge_id"] for charge in parts.charges) == whole
        assert parts.balances == evening.balances
