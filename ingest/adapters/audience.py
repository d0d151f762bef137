"""What audience counters of set-top boxes come to: how long each channel was on, hour by hour.

A counter (TR-135 `AudienceStats`) is so many seconds since a reset. Of two reports, the difference was
watched some time between them, and nobody can say when. So an hour gets two figures: what must have
been watched in it, and what can have been. Where reports are minutes apart the two nearly meet; an
hour of a box that reports once a day has a least of nothing and a most of all.
Source: TR-135 Applications.AudienceStats; docs/adr/0011-evidence-is-not-charged.md.
"""

from __future__ import annotations

import polars as pl

HOUR_MS = 3_600_000
SPAN_MS_MAX = 7 * 24 * HOUR_MS
"""Reports that are further apart say nothing about any hour between them."""

COUNTER = ["device", "service", "channel"]
BOX_HOUR = ["account", "device", "hour"]
DELTAS = pl.Schema(
    {
        "device": pl.String,
        "account": pl.String,
        "service": pl.String,
        "channel": pl.String,
        "from_ms": pl.Int64,
        "to_ms": pl.Int64,
        "watched_s": pl.Int64,
        "is_reset": pl.Boolean,
    }
)
COUNTED = pl.Schema(
    {
        "account": pl.String,
        "device": pl.String,
        "channel": pl.String,
        "hour": pl.Int64,
        "least_ms": pl.Int64,
        "most_ms": pl.Int64,
    }
)


def counter_deltas(counters: pl.DataFrame) -> pl.DataFrame:
    """What was watched between each two reports of one counter.

    counters: rows of `bulk_data.COUNTERS`, of any number of bodies; repeats are dropped. Rows without
    a time cannot be put in order and are left out. A counter that the report before lacked began
    at nought.
    Returns: DELTAS. A counter that fell, or whose reset time changed, began again: all that it shows
    was watched since, and `is_reset` says that what was watched just before may be missing.
    """
    ordered = (
        counters.filter(pl.col("collected").is_not_null())
        .unique([*COUNTER, "collected", "duration_s", "reset"], maintain_order=True)
        .sort([*COUNTER, "collected"], maintain_order=True)
        .join(report_spans(counters), on=["device", "service", "collected"], how="left")
    )
    is_first = pl.col("device").cum_count().over(COUNTER) == 1
    before = ordered.with_columns(
        pl.when(is_first)
        .then("reported_before")
        .otherwise(pl.col("collected").shift(1).over(COUNTER))
        .alias("from_ms"),
        pl.col("duration_s").shift(1, fill_value=0).over(COUNTER).alias("duration_before_s"),
        pl.when(is_first)
        .then("reset")
        .otherwise(pl.col("reset").shift(1).over(COUNTER))
        .alias("reset_before"),
    ).filter(pl.col("from_ms").is_not_null())
    is_reset = (pl.col("duration_s") < pl.col("duration_before_s")) | pl.col("reset").ne_missing(
        pl.col("reset_before")
    )
    watched = pl.col("duration_s") - pl.when(is_reset).then(0).otherwise("duration_before_s")
    return before.select(
        "device",
        "account",
        "service",
        "channel",
        "from_ms",
        pl.col("collected").alias("to_ms"),
        watched.alias("watched_s"),
        is_reset.alias("is_reset"),
    )


def report_spans(counters: pl.DataFrame) -> pl.DataFrame:
    """When each service of a box reported, and when it had before.

    Returns: device, service, collected, reported_before, which is null at the first.
    """
    return (
        counters.filter(pl.col("collected").is_not_null())
        .select("device", "service", "collected")
        .unique()
        .sort("device", "service", "collected")
        .with_columns(
            pl.col("collected").shift(1).over("device", "service").alias("reported_before")
        )
    )


def covered_hours(counters: pl.DataFrame) -> pl.DataFrame:
    """The whole hours that a box's reports lie around: BOX_HOUR, of bound boxes alone."""
    spans = (
        report_spans(counters)
        .join(
            counters.select("device", "service", "collected", "account").unique(
                ["device", "service", "collected"], maintain_order=True
            ),
            on=["device", "service", "collected"],
        )
        .filter(pl.col("account").is_not_null())
        .select("account", "device", "service", from_ms="reported_before", to_ms="collected")
    )
    return (
        by_hour(spans)
        .group_by("account", "device", "service", "hour")
        .agg(pl.col("overlap_ms").sum())
        .filter(pl.col("overlap_ms") == HOUR_MS)
        .select(BOX_HOUR)
        .unique()
    )


def by_hour(spans: pl.DataFrame) -> pl.DataFrame:
    """Each span once for each hour that it touches, with `hour` and `overlap_ms`.

    spans: with from_ms and to_ms. One that is null, empty or longer than SPAN_MS_MAX is left out.
    """
    length = pl.col("to_ms") - pl.col("from_ms")
    begin = pl.max_horizontal("from_ms", "hour")
    until = pl.min_horizontal("to_ms", pl.col("hour") + HOUR_MS)
    return (
        spans.filter(length > 0, length <= SPAN_MS_MAX)
        .with_columns(
            pl.int_ranges(
                pl.col("from_ms") // HOUR_MS * HOUR_MS,
                (pl.col("to_ms") - 1) // HOUR_MS * HOUR_MS + HOUR_MS,
                HOUR_MS,
            ).alias("hour")
        )
        .explode("hour")
        .with_columns((until - begin).alias("overlap_ms"))
    )


def counted_hours(counters: pl.DataFrame) -> pl.DataFrame:
    """The least and the most that each channel was on in each hour that is covered whole.

    counters: rows of `bulk_data.COUNTERS`. Returns: COUNTED, sorted; boxes that are bound to nobody
    are left out. Across a reset the most is the whole of the time.
    """
    length = pl.col("to_ms") - pl.col("from_ms")
    watched_ms = pl.col("watched_s") * 1000
    elsewhere = length - pl.col("overlap_ms")
    least = (watched_ms - elsewhere).clip(0, pl.col("overlap_ms"))
    most = (
        pl.when("is_reset")
        .then("overlap_ms")
        .otherwise(pl.min_horizontal(watched_ms, pl.col("overlap_ms")))
    )
    return (
        by_hour(counter_deltas(counters).filter(pl.col("account").is_not_null()))
        .with_columns(least.alias("least_ms"), most.alias("most_ms"))
        .group_by("account", "device", "channel", "hour")
        .agg(pl.col("least_ms", "most_ms").sum())
        .join(covered_hours(counters), on=BOX_HOUR, how="semi")
        .select(COUNTED.names())
        .cast(COUNTED)
        .sort("account", "device", "channel", "hour")
    )
