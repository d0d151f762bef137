"""What a run came to: counted batch by batch, then said to a person or a program."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from rating.runtime.figures import columns, count, money, watched
from rating.schemas import OUTCOMES
from tariffs.errors import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.files import UnreadableSource
    from rating.runtime.uncharged import Uncharged
    from rating.schemas import BatchResult


NAMES_LISTED_MAX = 10


@dataclass(frozen=True, slots=True)
class Law:
    """A law of section 8, and whether it holds. detail: the figures that contradict it, or ""."""

    name: str
    holds: bool
    detail: str = ""


@dataclass(slots=True)
class Tally:
    """Sums over the batches of one run.

    charges: by type. suspense: by reason. signals: by type. Money by currency, in micro-units:
    `total` of the charges, and the part of it that is `unfunded`.
    """

    charges: Counter[str] = field(default_factory=Counter)
    suspense: Counter[str] = field(default_factory=Counter)
    signals: Counter[str] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    unfunded: Counter[str] = field(default_factory=Counter)

    def add(self, result: BatchResult) -> None:
        """Count what a batch came to."""
        self.charges.update(_numbers(result.charges, "type"))
        self.suspense.update(_numbers(result.suspense, "reason"))
        self.signals.update(_numbers(result.signals, "type"))
        amounts = pl.col("total", "unfunded").cast(pl.Int128)  # whose sum may pass 64 bits
        money_sums = result.charges.group_by("currency").agg(amounts.sum())
        for currency, total, unfunded in money_sums.iter_rows():
            self.total[currency] += total
            self.unfunded[currency] += unfunded


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What one run came to.

    counts: "records", each of OUTCOMES and "watched_ms", of this run alone. sessions_open: at its
    end. skipped: sources with nothing new in them. passed_over: files in folders whose names are no
    log's. uncharged: the logs of which most was not charged. elapsed_s: on the wall clock.
    """

    store: str
    counts: Mapping[str, int]
    tally: Tally
    sessions_open: int
    laws: tuple[Law, ...]
    elapsed_s: float
    unreadable: tuple[UnreadableSource, ...] = ()
    skipped: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    uncharged: tuple[Uncharged, ...] = ()

    @property
    def lawful(self) -> bool:
        """Whether every law holds."""
        return all(law.holds for law in self.laws)


def as_json(summary: RunSummary) -> dict[str, Any]:
    """The summary for a program: counts and micro-units as integers."""
    tally = summary.tally
    return {
        "store": summary.store,
        "elapsed_s": round(summary.elapsed_s, 3),
        "counts": dict(summary.counts),
        "charges": dict(tally.charges),
        "revenue": revenue_json(tally.total, tally.unfunded),
        "suspense": dict(tally.suspense),
        "signals": dict(tally.signals),
        "sessions_open": summary.sessions_open,
        "skipped": list(summary.skipped),
        "passed_over": list(summary.passed_over),
        "unreadable": [
            {"source": source.name, "at_byte": source.at_byte, "why": source.why}
            for source in summary.unreadable
        ],
        "uncharged": [each.as_json() for each in summary.uncharged],
        "laws": laws_json(summary.laws),
    }


def laws_json(laws: Sequence[Law]) -> list[dict[str, Any]]:
    """The laws for a program."""
    return [{"law": law.name, "holds": law.holds, "detail": law.detail} for law in laws]


def as_text(summary: RunSummary) -> str:
    """The summary for a person."""
    tally = summary.tally
    records = summary.counts["records"]
    pace = count(round(records / summary.elapsed_s)) if summary.elapsed_s > 0 else "0"
    rows = [
        *outcomes(summary.counts),
        *counted("charges", tally.charges),
        *revenue(tally.total, tally.unfunded),
        *counted("suspense", tally.suspense),
        *counted("signals", tally.signals),
        ("watched", watched(summary.counts["watched_ms"])),
        ("sessions still open", count(summary.sessions_open)),
    ]
    lines = [
        f"Rated {count(records)} records in {summary.elapsed_s:.1f} s ({pace} a second).",
        "",
        *columns(rows, indent="  "),
        "",
        *law_lines(summary.laws),
    ]
    if summary.skipped:
        lines += ["", f"Rated before, nothing new: {listed(summary.skipped)}"]
    if summary.passed_over:
        lines += ["", said_passed_over(summary.passed_over)]
    return "\n".join(lines)


def said_passed_over(names: Sequence[str]) -> str:
    """That files in folders were not read."""
    return f"Not read, since their names are no log's: {listed(names)}"


def listed(names: Sequence[str]) -> str:
    """Names with commas between them, the first of them where they are many."""
    more = len(names) - NAMES_LISTED_MAX
    shown = map(printable, names[:NAMES_LISTED_MAX])
    return ", ".join(shown) + (f" and {count(more)} more" if more > 0 else "")


def outcomes(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    """Usage records and how they ended, each of OUTCOMES."""
    ended = [(f"  {name.replace('_', ' ')}", count(counts.get(name, 0))) for name in OUTCOMES]
    return [("records", count(counts.get("records", 0))), *ended]


def counted(title: str, numbers: Mapping[str, int]) -> list[tuple[str, str]]:
    """A sum and, below it, its parts, largest first."""
    parts = sorted(numbers.items(), key=lambda part: (-part[1], part[0]))
    words = [(f"  {name}", count(number)) for name, number in parts]
    return [(title, count(sum(numbers.values()))), *words]


def revenue(total: Mapping[str, int], unfunded: Mapping[str, int]) -> list[tuple[str, str]]:
    """What is owed in each currency, and what prepaid balances could not pay."""
    rows: list[tuple[str, str]] = []
    for currency in sorted(total):
        rows.append((f"revenue, {currency}", money(total[currency] - unfunded.get(currency, 0))))
        if unfunded.get(currency):
            rows.append(("  unfunded beside it", money(unfunded[currency])))
    return rows or [("revenue", "0")]


def revenue_json(total: Mapping[str, int], unfunded: Mapping[str, int]) -> list[dict[str, Any]]:
    """The same for a program, in micro-units."""
    return [
        {"currency": currency, "total": total[currency], "unfunded": unfunded.get(currency, 0)}
        for currency in sorted(total)
    ]


def law_lines(laws: Sequence[Law]) -> list[str]:
    """One line a law."""
    return [
        f"  holds   {law.name}" if law.holds else f"  BROKEN  {law.name}: {law.detail}"
        for law in laws
    ]


def _numbers(frame: pl.DataFrame, column: str) -> dict[str, int]:
    """How many rows have each value."""
    return dict(frame.group_by(column).len().iter_rows())
