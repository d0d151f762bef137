"""Delivered time of a CDN against watched time of the players: leakage and over-reporting.

Two witnesses of the same viewing that know nothing of each other. A session whose delivered time
is far above what its player reported was watched and not charged; one far below was reported by
something that did not play. Neither changes a charge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from rating.runtime.figures import columns, count, plural, verdict_gauges, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore

HOUR_MS = 3_600_000
PAGE_ROWS = 50_000
WORST = 10
VERDICTS = ("agrees", "leakage", "unreported", "over_reported", "undelivered", "shared")
"""leakage, unreported: delivered, and less (or nothing) watched. over_reported, undelivered:
watched, and less (or nothing) delivered. shared: more than one account under one session."""

KEY = ["session", "account", "content", "hour"]
WATCHED = pl.Schema(
    {
        "session": pl.String,
        "account": pl.String,
        "content": pl.String,
        "hour": pl.Int64,
        "charged_ms": pl.Int64,
        "suspended_ms": pl.Int64,
        "open_ms": pl.Int64,
    }
)
"""Watched time by session, account, content and hour: charged, suspended, in open lines."""

WATCHED_BY_DEVICE = pl.Schema([*WATCHED.items(), ("device", pl.String())])

SUMS = ["delivered_ms", "charged_ms", "suspended_ms", "open_ms"]


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far apart the two may be: seconds, and percent of the larger, whichever is more."""

    seconds: int = 60
    percent: int = 10


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """sessions: one row each with its verdict. hours: SUMS by KEY, each with its session's verdict.

    Times are ms; `hour` is the start of a UTC hour in ms. An account is null where no player of
    the session reported anything. from_ms, to_ms: the hours that the CDN's logs cover. uncounted:
    requests of these logs whose CMCD does not say what they brought.
    """

    sessions: pl.DataFrame
    hours: pl.DataFrame
    from_ms: int | None
    to_ms: int | None
    uncounted: int = 0


def watched_hours(store: BillingStore) -> pl.DataFrame:
    """Rows of WATCHED of a billing store, and the device of each. Raises: StoreError."""
    parts = [WATCHED_BY_DEVICE.to_frame()]
    parts += [part.select(WATCHED_BY_DEVICE.names()) for part in watched_parts(store)]
    return pl.concat(parts).group_by(*KEY, "device").agg(pl.col(SUMS[1:]).sum())


def watched_parts(store: BillingStore) -> Iterator[pl.DataFrame]:
    """Watched time of charges, suspended pieces and open sessions, page by page."""
    seq = 0
    while len(page := store.charges_after(seq, PAGE_ROWS)):
        seq = int(page["seq"].max())  # type: ignore[arg-type]
        yield summed(page.filter(pl.col("type") == "usage"), "slot", "charged_ms")
    seq = 0
    while len(page := store.suspense_after(seq, PAGE_ROWS)):
        seq = int(page["seq"].max())  # type: ignore[arg-type]
        yield summed(page.filter(pl.col("watched_ms") > 0), "time", "suspended_ms")
    for page in store.open_sessions(PAGE_ROWS):
        yield summed(page.filter(pl.col("watched_ms") > 0), "last", "open_ms")


def summed(rows: pl.DataFrame, time: str, column: str) -> pl.DataFrame:
    """The watched time of rows by KEY and device, as one column; `time` says in which hour."""
    return (
        rows.with_columns((pl.col(time) // HOUR_MS * HOUR_MS).alias("hour"))
        .group_by(*KEY, "device")
        .agg(pl.col("watched_ms").sum().alias(column))
        .with_columns(pl.lit(0, pl.Int64).alias(name) for name in SUMS[1:] if name != column)
    )


def reconcile(
    watched_by_hour: pl.DataFrame,
    delivered: pl.DataFrame,
    tolerance: Tolerance,
    uncounted: int = 0,
) -> Reconciliation:
    """Hold watched time against delivered time.

    watched_by_hour: rows of WATCHED. delivered: as `delivered_hours` of the dataset gives it.
    Watched time outside of the hours that the logs cover is left out: nothing can be said of it.
    """
    if not len(delivered):
        from_ms = to_ms = None
        within = watched_by_hour.clear()
    else:
        from_ms = int(delivered["hour"].min())  # type: ignore[arg-type]
        to_ms = int(delivered["hour"].max()) + HOUR_MS  # type: ignore[arg-type]
        within = watched_by_hour.filter((pl.col("hour") >= from_ms) & (pl.col("hour") < to_ms))
    sessions = judged(session_sums(within, delivered), tolerance)
    owners = sessions.select("session", "account", "verdict")
    arrived = delivered.join(owners.select("session", "account"), on="session", how="left")
    both = pl.concat(
        [
            arrived.select(*KEY, "delivered_ms"),
            within.select(*KEY, *SUMS[1:]),
        ],
        how="diagonal",
    )
    hours = (
        both.group_by(KEY)
        .agg(pl.col(SUMS).sum())
        .join(owners.select("session", "verdict"), on="session", how="left")
        .sort(KEY)
    )
    return Reconciliation(sessions, hours, from_ms, to_ms, uncounted)


def session_sums(within: pl.DataFrame, delivered: pl.DataFrame) -> pl.DataFrame:
    """One row a session: who, how much was delivered and watched, and what was still buffered."""
    seen = within.group_by("session").agg(
        pl.col("account").min(),
        pl.col("account").n_unique().alias("accounts"),
        pl.col(SUMS[1:]).sum(),
    )
    arrived = delivered.group_by("session").agg(
        pl.col("delivered_ms").sum(),
        pl.col("objects").sum(),
        pl.col("buffer_ms").max().fill_null(0),
    )
    return seen.join(arrived, on="session", how="full", coalesce=True).with_columns(
        pl.col("accounts", *SUMS, "objects", "buffer_ms").fill_null(0)
    )


def judged(sessions: pl.DataFrame, tolerance: Tolerance) -> pl.DataFrame:
    """Sessions with a verdict and `missing_ms`: delivered less watched, negative the other way."""
    seen = pl.col("charged_ms") + pl.col("suspended_ms") + pl.col("open_ms")
    missing = pl.col("delivered_ms") - seen
    larger = pl.max_horizontal(pl.col("delivered_ms"), seen)
    allowed = pl.max_horizontal(
        pl.lit(tolerance.seconds * 1000, pl.Int64), larger * tolerance.percent // 100
    )
    verdict = (
        pl.when(pl.col("accounts") > 1)
        .then(pl.lit("shared"))
        # What was fetched and not yet played is no leakage.
        .when((missing > allowed + pl.col("buffer_ms")) & (seen == 0))
        .then(pl.lit("unreported"))
        .when(missing > allowed + pl.col("buffer_ms"))
        .then(pl.lit("leakage"))
        .when((-missing > allowed) & (pl.col("delivered_ms") == 0))
        .then(pl.lit("undelivered"))
        .when(-missing > allowed)
        .then(pl.lit("over_reported"))
        .otherwise(pl.lit("agrees"))
    )
    return sessions.select(
        "session",
        "account",
        "accounts",
        *SUMS,
        "objects",
        "buffer_ms",
        missing.alias("missing_ms"),
        verdict.alias("verdict"),
    ).sort("session")


# --- said ----------------------------------------------------------------------------------------


def totals(found: Reconciliation) -> dict[str, dict[str, int]]:
    """By verdict: sessions, SUMS and missing_ms."""
    sums = found.sessions.group_by("verdict").agg(
        pl.len().cast(pl.Int64).alias("sessions"), pl.col(*SUMS, "missing_ms").sum()
    )
    rows = {row.pop("verdict"): row for row in sums.to_dicts()}
    nothing = dict.fromkeys(["sessions", *SUMS, "missing_ms"], 0)
    return {verdict: rows.get(verdict, nothing) for verdict in VERDICTS}


def as_json(found: Reconciliation) -> dict[str, Any]:
    """For a program."""
    return {
        "from_ms": found.from_ms,
        "to_ms": found.to_ms,
        "uncounted": found.uncounted,
        "verdicts": totals(found),
        "by_account": by(found, "account"),
        "by_content": by(found, "content"),
        "worst": worst(found).to_dicts(),
    }


def by(found: Reconciliation, column: str) -> list[dict[str, Any]]:
    """SUMS by one column, what is furthest apart first."""
    seen = pl.col("charged_ms") + pl.col("suspended_ms") + pl.col("open_ms")
    return (
        found.hours.group_by(column)
        .agg(pl.col(SUMS).sum())
        .sort((pl.col("delivered_ms") - seen).abs(), column, descending=[True, False])
        .head(WORST)
        .to_dicts()
    )


def worst(found: Reconciliation) -> pl.DataFrame:
    """The sessions that are furthest apart and not in agreement."""
    apart = found.sessions.filter(pl.col("verdict") != "agrees")
    order = pl.col("missing_ms").abs()
    return apart.sort(order, pl.col("session"), descending=[True, False]).head(WORST)


def as_text(found: Reconciliation) -> str:
    """For a person."""
    left_out = (
        f"{plural(found.uncounted, 'request')} had CMCD that does not say what was brought; it is in "
        "no figure here."
    )
    if found.from_ms is None:
        nothing = "The dataset has no delivered media, so nothing can be compared."
        return f"{nothing}\n{left_out}" if found.uncounted else nothing
    rows = [("", "sessions", "delivered", "watched")]
    for verdict, sums in totals(found).items():
        if sums["sessions"]:
            seen = sums["charged_ms"] + sums["suspended_ms"] + sums["open_ms"]
            rows.append(
                (
                    verdict.replace("_", "-"),
                    count(sums["sessions"]),
                    watched(sums["delivered_ms"]),
                    watched(seen),
                )
            )
    lines = columns(rows)
    apart = worst(found)
    if len(apart):
        lines += ["", f"Furthest apart, {plural(len(apart), 'session')}:"]
        lines += columns(
            [
                (
                    row["session"],
                    row["account"] or "(nobody)",
                    row["verdict"].replace("_", "-"),
                    f"delivered {watched(row['delivered_ms'])}",
                    f"watched {watched(row['delivered_ms'] - row['missing_ms'])}",
                )
                for row in apart.to_dicts()
            ],
            "  ",
        )
    if found.uncounted:
        lines += ["", left_out]
    return "\n".join(lines)


def as_metrics(found: Reconciliation) -> str:
    """The text format that Prometheus reads from files of its node exporter."""
    gauges = (
        ("ratecast_reconcile_sessions", "Sessions by verdict", "sessions", 1),
        ("ratecast_reconcile_delivered_seconds", "Delivered media time", "delivered_ms", 1000),
        ("ratecast_reconcile_charged_seconds", "Charged watched time", "charged_ms", 1000),
        ("ratecast_reconcile_missing_seconds", "Delivered less watched", "missing_ms", 1000),
    )
    name = "ratecast_reconcile_uncounted_requests"
    what = "Delivered requests whose CMCD does not say what they brought"
    uncounted = f"# HELP {name} {what}.\n# TYPE {name} gauge\n{name} {found.uncounted}\n"
    return verdict_gauges(gauges, totals(found)) + uncounted
