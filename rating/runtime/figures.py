"""Numbers as people read them: thousands apart, money exact, columns in line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tariffs.money import MICROS, format_micros, half_up

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

HOUR_MS = 3_600_000


def count(number: int) -> str:
    """1234567 is "1,234,567"."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """1 is "1 plan", 2 are "2 plans"."""
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def money(micros: int) -> str:
    """Exact, with two to six decimals: 1_234_500_000 is "1,234.50"."""
    whole, point, decimals = format_micros(micros).partition(".")
    sign = "-" if micros < 0 else ""
    return f"{sign}{int(whole.lstrip('-')):,}{point}{decimals}"


def money_rounded(micros: int) -> str:
    """To hundredths, for charts; sums and bills show `money`."""
    hundredths = half_up(abs(micros), MICROS // 100)
    return f"{'-' if micros < 0 < hundredths else ''}{hundredths // 100:,}.{hundredths % 100:02d}"


def watched(watched_ms: int) -> str:
    """A span of watching in hours and minutes: 5_430_000 is "1 h 30 min 30 s"."""
    hours, rest_ms = divmod(watched_ms, HOUR_MS)
    minutes, rest_ms = divmod(rest_ms, 60_000)
    seconds, rest_ms = divmod(rest_ms, 1_000)
    parts = [
        f"{hours:,} h" if hours else "",
        f"{minutes} min" if minutes else "",
        f"{seconds}.{rest_ms:03d} s" if rest_ms else f"{seconds} s" if seconds else "",
    ]
    return " ".join(filter(None, parts)) or "0 s"


def columns(rows: Iterable[Sequence[str]], indent: str = "") -> list[str]:
    """Lines of cells in line with each other: the first column to the left, others to the right.

    A row may be shorter than others; its last cells are then empty.
    """
    ragged = [list(row) for row in rows]
    width = max((len(row) for row in ragged), default=0)
    table = [row + [""] * (width - len(row)) for row in ragged]
    widths = [max(len(row[place]) for row in table) for place in range(width)]
    return [
        indent
        + "  ".join(
            cell.ljust(size) if place == 0 else cell.rjust(size)
            for place, (cell, size) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def verdict_gauges(
    gauges: Iterable[tuple[str, str, str, int]], sums_of: Mapping[str, Mapping[str, int]]
) -> str:
    """Sums by verdict in the text format that Prometheus reads from files of its node exporter.

    gauges: name, what it is, which of the sums, and how many of these one of the gauge's unit is.
    """
    lines = []
    for name, what, column, unit in gauges:
        lines += [f"# HELP {name} {what}.", f"# TYPE {name} gauge"]
        for verdict, sums in sums_of.items():
            value = sums[column] if unit == 1 else f"{sums[column] / unit:.3f}"
            lines.append(f'{name}{{verdict="{verdict}"}} {value}')
    return "\n".join(lines) + "\n"
