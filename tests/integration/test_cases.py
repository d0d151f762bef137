"""Cases from the field, each with the answer worked out by hand, through the command line.

Each folder of tests/cases/rating holds a log and the books for it. The answers are those of edition 2
of the specification.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rating.runtime.cli import main
from rating.runtime.failures import UNCHARGED, UNREAD

CASES = Path(__file__).parents[1] / "cases" / "rating"


@dataclass(frozen=True)
class Answer:
    """What a case comes to. total: by currency, in micro-units."""

    total: dict[str, int]
    watched_ms: int
    suspense: dict[str, int] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)
    unfunded: int = 0
    exit_code: int = 0


ANSWERS = {
    # The minute begins on each side of the edge, and each side counts whole minutes.
    "08b-minute-begun-across-a-price-change": Answer({"EUR": 1_200_000}, 60_000),
    # 30 minutes, of which 20 are free. The account's opening is suspended for its bill day, with a
    # sentence, and so the default plan counts.
    "15-bill-day-31": Answer({"USD": 6_000_000}, 1_800_000, suspense={"malformed": 1}),
    # The same session four times, after its stop: watched once.
    "21b-the-whole-log-four-times": Answer({"USD": 25_000}, 180_000),
    # 120 s without a heartbeat are not watched, and the one that comes late is out of order.
    "33-two-heartbeats-change-places": Answer({"EUR": 1_000_000}, 60_000),
    "33b-swapped-with-received": Answer({"EUR": 1_000_000}, 60_000),
    # The 201st minute makes all of them cheaper, and nothing was paid that could be given back.
    "38-volume-price-falls-on-an-empty-card": Answer(
        {"USD": 180_900_000},
        12_060_000,
        signals={"balance.exhausted": 1, "order.declined": 1},
        unfunded=180_900_000,
    ),
    # An hour in each currency.
    "39-a-currency-ends-at-new-year": Answer({"BGN": 1_200_000, "EUR": 610_000}, 7_200_000),
}
ELSEWHERE = {"28-large-sums-in-a-small-currency", "34-seconds-for-milliseconds"}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RATECAST_STORE", raising=False)


def ratecast(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def rate(case: str, *words: str | Path) -> tuple[int, dict[str, Any], str]:
    """The exit code, the summary and the warnings of rating a case."""
    books = [word for book in sorted((CASES / case).glob("*.toml")) for word in ("--tariffs", book)]
    result = ratecast("rate", *books, "--close", "--json", *words)
    assert result.exit_code in (0, UNREAD, UNCHARGED), result.output
    return result.exit_code, json.loads(result.stdout), result.stderr


def test_every_case_has_an_answer() -> None:
    assert {case.name for case in CASES.iterdir()} == ANSWERS.keys() | ELSEWHERE


@pytest.mark.parametrize("case", ANSWERS)
def test_a_case_comes_to_what_a_person_works_out(case: str) -> None:
    answer = ANSWERS[case]
    exit_code, summary, _ = rate(case, CASES / case / "log.ndjson")
    assert {each["currency"]: each["total"] for each in summary["revenue"]} == answer.total
    assert sum(each["unfunded"] for each in summary["revenue"]) == answer.unfunded
    assert summary["counts"]["watched_ms"] == answer.watched_ms
    assert summary["suspense"] == answer.suspense
    assert summary["signals"] == answer.signals
    assert exit_code == answer.exit_code
    assert ratecast("status").exit_code == 0


def test_seconds_in_place_of_milliseconds_are_refused_with_a_sentence() -> None:
    """Ten minutes must not become 600 ms in January 1970 without a word."""
    case = "34-seconds-for-milliseconds"
    log = CASES / case / "log.ndjson"
    exit_code, summary, warnings = rate(case, log)
    assert (exit_code, summary["counts"]["records"]) == (UNREAD, 0)
    assert "11 of its first 11 lines are no usage records (line 1: " in warnings
    exit_code, summary, warnings = rate(case, "--accept-malformed", log)
    assert exit_code == UNCHARGED
    assert summary["revenue"] == []
    assert summary["suspense"] == {"malformed": 11}
    assert f"11 of 11 records were not charged, mostly malformed; the first is {log}:1;" in warnings


def test_sums_may_be_larger_than_64_bits_of_micro_units(tmp_path: Path) -> None:
    """20,000 purchases of 600 million rial each."""
    case = "28-large-sums-in-a-small-currency"
    order = {"type": "order.purchase", "time": "2026-03-02T10:00:00Z", "id": "1", "offer": "season"}
    lines = [json.dumps(order | {"account": f"a{number}"}) for number in range(20_000)]
    (tmp_path / "log.ndjson").write_text("\n".join([*lines, ""]))
    exit_code, summary, _ = rate(case, "log.ndjson")
    assert exit_code == 0
    total = 20_000 * 600_000_000 * 1_000_000
    assert summary["revenue"] == [{"currency": "IRR", "total": total, "unfunded": 0}]
    status = ratecast("status")
    assert status.exit_code == 0, status.output
    assert "12,000,000,000,000.00" in status.stdout
