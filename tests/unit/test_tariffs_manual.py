"""docs/tariff-books.md tells the truth: its book loads, its examples come out, its keys exist."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from reference_rater import rate_log

from tariffs.examples import Example, differences, examples_of, expand
from tariffs.load import load_text

if TYPE_CHECKING:
    from tariffs.model import Book

ROOT = Path(__file__).parents[2]
MANUAL = (ROOT / "docs" / "tariff-books.md").read_text(encoding="utf-8")
BOOK = load_text("".join(re.findall(r"```toml\n(.*?)```", MANUAL, re.DOTALL)), "tariff-books.md")


def outcome_differences(book: Book, example: Example) -> list[str]:
    log = [json.dumps(record).encode() for record in expand(example)]
    outcome = rate_log([book], log)
    return differences(
        example, outcome.charges, outcome.suspense, outcome.signals, outcome.balances
    )


@pytest.mark.parametrize("example", examples_of(BOOK), ids=lambda example: example.name)
def test_each_example_of_the_manual_comes_out_as_it_says(example: Example) -> None:
    assert outcome_differences(BOOK, example) == []


def test_an_example_fails_once_a_price_of_the_book_changes() -> None:
    dearer = load_text(BOOK.text.replace('amount = "1.20"', 'amount = "1.30"'))
    assert outcome_differences(dearer, examples_of(dearer)[0]) == [
        "charge 2: net is 1.30, expected 1.20; tax is 0.264143, expected 0.243825",
        "charge 3: net is 1.30, expected 1.20; tax is 0.264143, expected 0.243825",
    ]


def test_the_mistake_that_the_manual_shows_is_told_so() -> None:
    spoiled = BOOK.text.replace('package = "sport"\n', 'package = "sprot"\n')
    with pytest.raises(Exception, match="sprot") as caught:
        load_text(spoiled, "2026-01.toml")
    assert f"```text\n{caught.value}\n```" in MANUAL


def test_every_key_that_is_read_is_described() -> None:
    sources = [*(ROOT / "tariffs").glob("read_*.py"), ROOT / "tariffs" / "examples.py"]
    taken = re.compile(r'\.(?:one|need|many|one_or_many|tables?)\(\s*"(\w+)"')
    keys = {key for path in sources for key in taken.findall(path.read_text(encoding="utf-8"))}
    assert len(keys) > 50
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", MANUAL)] == []
