"""The `[[example]]` tables of a book, rated and compared with what they expect.

Source: docs/tariff-books.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from ingest.json_lines import decode_lines
from rating.rater import Rater
from tariffs.errors import Mistake, quote
from tariffs.examples import differences, examples_of, expand

if TYPE_CHECKING:
    from tariffs.examples import Example
    from tariffs.model import Book


def failed_examples(book: Book) -> tuple[int, list[list[Mistake]]]:
    """Rate each example of a book by that book alone.

    Returns: how many examples there are; and for each that does not hold, where it differs.
    """
    examples = examples_of(book)
    told = [
        [_mistake(book, example, what) for what in outcome(book, example)] for example in examples
    ]
    return len(examples), [mistakes for mistakes in told if mistakes]


def outcome(book: Book, example: Example) -> list[str]:
    """Rate one example; gives where what came is not what it expects, in sentences."""
    rater = Rater([book])
    lines = b"".join(json.dumps(record).encode() + b"\n" for record in expand(example))
    results = [rater.rate(decode_lines(lines, str)), rater.close()]

    def rows(name: str) -> list[dict[str, Any]]:
        return pl.concat([getattr(result, name) for result in results]).to_dicts()

    balances = {row["account"]: row["balance"] for row in rows("accounts")}
    return differences(example, rows("charges"), rows("suspense"), rows("signals"), balances)


def _mistake(book: Book, example: Example, what: str) -> Mistake:
    mend = "correct the example, or what the book says"
    return Mistake(book.source, example.line, f"[[example]] {quote(example.name)}", what, mend)
