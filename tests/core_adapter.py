"""The core in the shape of the reference rater: a whole log in, one outcome out."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import polars as pl
from outcome import Outcome

from ingest.json_lines import decode_lines
from rating.rater import Rater

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rating.schemas import BatchResult, UsageBatch
    from tariffs.model import Book


def rate_log(
    books: Sequence[Book],
    lines: Iterable[bytes],
    *,
    batch: int | None = None,
    close: bool = True,
) -> Outcome:
    """Rate a log in batches of so many lines."""
    kept = list(lines)
    size = batch or max(1, len(kept))
    edges = [*range(0, len(kept), size), len(kept)]
    return rate_batches(books, kept, edges, lambda _: False, close=close)


def rate_batches(
    books: Sequence[Book],
    kept: Sequence[bytes],
    edges: Sequence[int],
    restarts: Callable[[int], bool],
    *,
    close: bool = True,
) -> Outcome:
    """Rate a log cut at `edges`; before each line for which `restarts` says so, load it anew."""
    rater = Rater(books)
    chunks: dict[tuple[str, int], Any] = {}
    results: list[BatchResult] = []
    for first, past in pairwise(edges):
        if restarts(first):
            rater = Rater(books, chunks.values())
        result = rater.rate(batch_of(kept[first:past], first))
        results.append(result)
        chunks.update({(chunk.name, chunk.seq): chunk for chunk in result.state_added})
        for key in result.state_dropped:
            del chunks[key]
        rater.check_watched()
    if close:
        results.append(rater.close())
        rater.check_watched()
    return _outcome(results)


def batch_of(lines: Sequence[bytes], first: int = 0) -> UsageBatch:
    """Lines as one batch; `first` is how many lines of the log came before."""
    raw = b"".join(line + b"\n" for line in lines)
    return decode_lines(raw, _locate(raw, first))


def _locate(raw: bytes, first: int) -> Callable[[int], str]:
    return lambda at: "log:" + str(first + raw.count(b"\n", 0, at) + 1)


def _outcome(results: list[BatchResult]) -> Outcome:
    def rows(name: str) -> list[dict[str, Any]]:
        frames = [getattr(result, name) for result in results]
        return pl.concat(frames).to_dicts() if frames else []

    balances = {row["account"]: row["balance"] for row in rows("accounts")}
    return Outcome(
        charges=rows("charges"),
        suspense=rows("suspense"),
        signals=rows("signals"),
        balances=balances,
        counts=dict(results[-1].counts) if results else {},
    )
