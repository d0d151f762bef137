"""One evening of three accounts: every charge of it to the last digit, and all the rest."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tariffs.load import load_books

if TYPE_CHECKING:
    from conftest import RateLog
    from outcome import Outcome

NORDIC = Path(__file__).parent / "nordic"
BOOKS = load_books([NORDIC / "nordic-2026-01.toml"])


def nordic_lines() -> list[bytes]:
    return (NORDIC / "evening.ndjson").read_bytes().splitlines()


@pytest.fixture
def evening(rate: RateLog) -> Outcome:
    return rate(BOOKS, nordic_lines())


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
    declined = sum(signal["type"] == "order.declined" for signal in evening.signals)
    counts = {**evening.counts, "declined": declined}
    assert {name: counts[name] for name in rest["counts"]} == rest["counts"]
    for kind, rows in (("suspense", evening.suspense), ("signals", evening.signals)):
        assert len(rows) == len(rest[kind])
        for expected in rest[kind]:
            assert any(holds(row, expected) for row in rows), (expected, rows)


def test_the_evening_in_batches_of_any_size(rate: RateLog, evening: Outcome) -> None:
    whole = sorted(charge["charge_id"] for charge in evening.charges)
    for batch in (1, 7, 100):
        parts = rate(BOOKS, nordic_lines(), batch=batch)
        assert sorted(charge["charge_id"] for charge in parts.charges) == whole
        assert parts.balances == evening.balances
