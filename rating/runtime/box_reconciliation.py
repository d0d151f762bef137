"""What boxes counted against what was watched by their event logs: the same box, two witnesses.

The audience counter of a box counts whenever a channel is on; its event log says when, and is charged.
Counters have no times, so an hour of a channel has the least and the most that can have been watched
in it: what lies between agrees. Content that a box has no counter for, such as films, is left out, and
so are hours that its reports do not lie around.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from rating.runtime.figures import columns, count, plural, verdict_gauges, watched

if TYPE_CHECKING:
    from rating.runtime.reconciliation import Tolerance

WORST = 10
VERDICTS = ("agrees", "leakage", "unreported", "over_reported", "uncounted")
"""leakage, unreported: counted, and less (or nothing) watched. over_reported, uncounted: watched, and
less (or nothing) counted."""

CHANNEL = ["account", "device", "content"]
WATCHED = pl.Schema(
    {
        "account": pl.String,
        "device": pl.String,
        "content": pl.String,
        "hour": pl.Int64,
        "charged_ms": pl.Int64,
        "suspended_ms": pl.Int64,
        "open_ms": pl.Int64,
    }
)
"""Watched time by account, device, content and hour: charged, suspended, in open lines."""
SEEN = ["charged_ms", "suspended_ms", "open_ms"]
SUMS = ["least_ms", "most_ms", *SEEN]


@dataclass(frozen=True, slots=True)
class BoxReconciliation:
    """channels: one row for each channel of each box, with its verdict. hours: SUMS of each hour.

    `missing_ms`: watched too little by so much at least, or too much, then negative; 0 between.
    """

    channels: pl.DataFrame
    hours: pl.DataFrame


def reconcile_boxes(
    watched_by_box: pl.DataFrame,
    counted: pl.DataFrame,
    covered: pl.DataFrame,
    tolerance: Tolerance,
) -> BoxReconciliation:
    """Hold watched time against counted time.

    watched_by_box: rows of WATCHED. counted: as `counted_hours` of the adapter gives it; covered: as
    `covered_hours` does.
    """
    by_content = counted.rename({"channel": "content"})
    known = by_content.select("device", "content").unique()
    seen = watched_by_box.join(covered, on=["account", "device", "hour"], how="semi").join(
        known, on=["device", "content"], how="semi"
    )
    hours = (
        pl.concat([by_content, seen], how="diagonal")
        .group_by(*CHANNEL, "hour")
        .agg(pl.col(SUMS).sum())
        .sort(*CHANNEL, "hour")
    )
    channels = judged(hours.group_by(CHANNEL).agg(pl.col(SUMS).sum()), tolerance)
    verdicts = channels.select(*CHANNEL, "verdict")
    return BoxReconciliation(channels, hours.join(verdicts, on=CHANNEL, how="left"))


def judged(channels: pl.DataFrame, tolerance: Tolerance) -> pl.DataFrame:
    """Channels of boxes with `missing_ms` and a verdict."""
    seen = pl.sum_horizontal(SEEN)
    missing = (
        pl.when(seen < pl.col("least_ms"))
        .then(pl.col("least_ms") - seen)
        .when(seen > pl.col("most_ms"))
        .then(pl.col("most_ms") - seen)
        .otherwise(0)
    )
    larger = pl.max_horizontal("most_ms", seen)
    allowed = pl.max_horizontal(
        pl.lit(tolerance.seconds * 1000, pl.Int64), larger * tolerance.percent // 100
    )
    verdict = (
        pl.when((missing > allowed) & (seen == 0))
        .then(pl.lit("unreported"))
        .when(missing > allowed)
        .then(pl.lit("leakage"))
        .when((-missing > allowed) & (pl.col("most_ms") == 0))
        .then(pl.lit("uncounted"))
        .when(-missing > allowed)
        .then(pl.lit("over_reported"))
        .otherwise(pl.lit("agrees"))
    )
    return channels.with_columns(missing.alias("missing_ms"), verdict.alias("verdict")).sort(
        CHANNEL
    )


# --- said ----------------------------------------------------------------------------------------


def totals(found: BoxReconciliation) -> dict[str, dict[str, int]]:
    """By verdict: channels, SUMS and missing_ms."""
    sums = found.channels.group_by("verdict").agg(
        pl.len().cast(pl.Int64).alias("channels"), pl.col(*SUMS, "missing_ms").sum()
    )
    rows = {row.pop("verdict"): row for row in sums.to_dicts()}
    nothing = dict.fromkeys(["channels", *SUMS, "missing_ms"], 0)
    return {verdict: rows.get(verdict, nothing) for verdict in VERDICTS}


def worst(found: BoxReconciliation) -> pl.DataFrame:
    """The channels of boxes that are furthest apart and not in agreement."""
    return (
        found.channels.filter(pl.col("verdict") != "agrees")
        .sort(pl.col("missing_ms").abs(), *CHANNEL, descending=[True, False, False, False])
        .head(WORST)
    )


def as_json(found: BoxReconciliation) -> dict[str, Any]:
    """For a program."""
    return {"verdicts": totals(found), "worst": worst(found).to_dicts()}


def as_text(found: BoxReconciliation) -> str:
    """For a person."""
    if not len(found.channels):
        return "No hour lies wholly between two reports of a box, so no counter can be compared."
    rows = [("boxes", "channels", "counted", "watched")]
    for verdict, sums in totals(found).items():
        if sums["channels"]:
            seen = sum(sums[name] for name in SEEN)
            rows.append(
                (
                    verdict.replace("_", "-"),
                    count(sums["channels"]),
                    between(sums["least_ms"], sums["most_ms"]),
                    watched(seen),
                )
            )
    lines = columns(rows)
    apart = worst(found)
    if len(apart):
        lines += ["", f"Furthest apart, {plural(len(apart), 'channel')} of boxes:"]
        lines += columns(
            [
                (
                    row["device"],
                    row["account"],
                    row["content"],
                    row["verdict"].replace("_", "-"),
                    f"counted {between(row['least_ms'], row['most_ms'])}",
                    f"watched {watched(sum(row[name] for name in SEEN))}",
                )
                for row in apart.to_dicts()
            ],
            "  ",
        )
    return "\n".join(lines)


def between(least_ms: int, most_ms: int) -> str:
    """Two spans as one figure, where they are nearly the same."""
    if watched(least_ms) == watched(most_ms):
        return watched(most_ms)
    return f"{watched(least_ms)} to {watched(most_ms)}"


def as_metrics(found: BoxReconciliation) -> str:
    """The text format that Prometheus reads from files of its node exporter."""
    gauges = (
        ("ratecast_reconcile_box_channels", "Channels of boxes by verdict", "channels", 1),
        ("ratecast_reconcile_box_counted_least_seconds", "Counted at least", "least_ms", 1000),
        ("ratecast_reconcile_box_counted_most_seconds", "Counted at most", "most_ms", 1000),
        ("ratecast_reconcile_box_charged_seconds", "Charged watched time", "charged_ms", 1000),
        ("ratecast_reconcile_box_missing_seconds", "Counted less watched", "missing_ms", 1000),
    )
    return verdict_gauges(gauges, totals(found))
