"""A chart for the terminal: one stacked bar a row, in characters that need no colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rating.runtime.figures import columns, money_rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

FILLS = ("█", "▓", "▒", "░", "▞")
REST_FILL = "·"
REST = "everything else"
BAR_WIDTH = 60


def stacked_bars(rows: Mapping[str, Mapping[str, int]], width: int = BAR_WIDTH) -> list[str]:
    """Lines of a chart, and of its legend.

    rows: for each row's label, the micro-units of each series. The largest series have a fill of
    their own, the others share one. The longest bar has `width` characters; what is below zero
    draws nothing. Amounts are rounded to hundredths.
    """
    totals: dict[str, int] = {}
    for amounts in rows.values():
        for name, micros in amounts.items():
            totals[name] = totals.get(name, 0) + micros
    ranked = sorted(totals, key=lambda name: (-totals[name], name))
    ranked = [name for name in ranked if totals[name] > 0]
    fills = dict(zip(ranked, FILLS, strict=False))
    sums = {label: sum(amounts.values()) for label, amounts in rows.items()}
    longest = max(0, *sums.values()) if sums else 0
    bars = [
        (label, _bar(amounts, fills, longest, width).ljust(width), money_rounded(sums[label]))
        for label, amounts in rows.items()
    ]
    legend = [(f"{fills[name]} {name}", money_rounded(totals[name])) for name in fills]
    rest_micros = sum(totals[name] for name in ranked[len(FILLS) :])
    if rest_micros:
        legend.append((f"{REST_FILL} {REST}", money_rounded(rest_micros)))
    return [*columns(bars), *([""] if legend else []), *columns(legend, indent="  ")]


def _bar(amounts: Mapping[str, int], fills: Mapping[str, str], longest: int, width: int) -> str:
    """Ends of the parts are rounded, not their lengths, so that the bar's own length is right."""
    bar = ""
    reached_micros = 0
    for name, fill in [*fills.items(), (None, REST_FILL)]:
        if name is None:
            reached_micros = sum(amounts.values())
        else:
            reached_micros += amounts.get(name, 0)
        end = (2 * reached_micros * width + longest) // (2 * longest) if longest else 0
        bar += fill * (end - len(bar))
    return bar
