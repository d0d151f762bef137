"""What a process counts and measures, for Prometheus.

Names follow its conventions: a unit in the name, `_total` on what only grows. Money is in
micro-units, and what was given back is counted apart from what was charged, since a counter never
falls. docs/operations.md says what each is for.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

import polars as pl
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
)

from rating.schemas import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rating.schemas import BatchResult
    from sinks.topics.publisher import Published

STEPS = ("decode", "rate", "commit")
STEP_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
BATCH_RECORDS = (1, 10, 100, 1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000)
# Reasons may come from outside with the records, and every label is a series kept for ever.
REASONS_MAX = 60
OTHER = "other"


class Metrics:
    """All metrics of ratecast in one registry; a process moves those that it has to do with.

    registry: of its own, with the memory and processor time of the process.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._reasons: set[str] = set()
        self._rating_counters()
        self._flow_gauges()
        self._publishing()
        build = Info("ratecast_build", "The version that runs.", registry=self.registry)
        build.info({"version": version("ratecast")})

    def _rating_counters(self) -> None:
        registry = self.registry
        self._records = Counter(
            "ratecast_records", "Usage records by outcome.", ["outcome"], registry=registry
        )
        self._charges = Counter(
            "ratecast_charges", "Charges committed.", ["type", "currency"], registry=registry
        )
        self._charged = Counter(
            "ratecast_charged_micros",
            "Totals of charges above zero, in micro-units.",
            ["type", "currency"],
            registry=registry,
        )
        self._credited = Counter(
            "ratecast_credited_micros",
            "Totals of charges below zero, as a magnitude in micro-units.",
            ["type", "currency"],
            registry=registry,
        )
        self._unfunded = Counter(
            "ratecast_unfunded_micros",
            "What prepaid balances did not cover, in micro-units.",
            ["currency"],
            registry=registry,
        )
        self._suspense = Counter(
            "ratecast_suspense", "Rows held back, by reason.", ["reason"], registry=registry
        )
        self._signals = Counter("ratecast_signals", "Signals.", ["type"], registry=registry)
        self._watched = Counter("ratecast_watched_seconds", "Time watched.", registry=registry)
        self._laws = Counter(
            "ratecast_law_violations",
            "Batches refused because a law of rating did not hold.",
            registry=registry,
        )
        self._commit_failures = Counter(
            "ratecast_commit_failures",
            "Commits that the billing store refused.",
            ["error"],
            registry=registry,
        )

    def _flow_gauges(self) -> None:
        registry = self.registry
        self._batch_records = Histogram(
            "ratecast_batch_records",
            "Usage records in a batch.",
            buckets=BATCH_RECORDS,
            registry=registry,
        )
        self._step = Histogram(
            "ratecast_step_seconds",
            "Time of a batch in each step.",
            ["step"],
            buckets=STEP_S,
            registry=registry,
        )
        self._lag_messages = Gauge(
            "ratecast_lag_messages",
            "Messages of the partition that are not rated yet.",
            ["partition"],
            registry=registry,
        )
        self._lag_s = Gauge(
            "ratecast_lag_seconds",
            "Age of the partition's first message that is not rated yet.",
            ["partition"],
            registry=registry,
        )
        self._store_waiting = Gauge(
            "ratecast_store_waiting_seconds",
            "How long the billing store has kept a partition waiting by now, by what it answers.",
            ["error"],
            registry=registry,
        )
        self._chain_links = Gauge(
            "ratecast_chain_links",
            "Number of the last link of the partition's hash chain.",
            ["partition"],
            registry=registry,
        )
        self._chain_head = Gauge(
            "ratecast_chain_head",
            "First 48 bits of the digest of the last link of the partition's hash chain.",
            ["partition"],
            registry=registry,
        )
        self._open = Gauge(
            "ratecast_open_sessions", "Sessions open.", ["partition"], registry=registry
        )
        self._partitions = Gauge(
            "ratecast_partitions_assigned", "Partitions that this worker rates.", registry=registry
        )
        self._rebalances = Counter(
            "ratecast_rebalances", "Changes of the partitions assigned.", registry=registry
        )

    def _publishing(self) -> None:
        registry = self.registry
        self._published = Counter(
            "ratecast_published",
            "Messages that the broker acknowledged.",
            ["topic"],
            registry=registry,
        )
        self._publish_lag = Gauge(
            "ratecast_publish_lag_rows",
            "Rows of the store that are not in the topic yet.",
            ["topic"],
            registry=registry,
        )

    # --- rating ---------------------------------------------------------------------------------

    def committed(
        self,
        partition: int,
        result: BatchResult,
        counts_before: Mapping[str, int],
        step_s: Mapping[str, float],
    ) -> None:
        """Count a batch that was committed.

        counts_before: the partition's counts before it. step_s: time by each of STEPS.
        """
        counts = result.counts
        for outcome in OUTCOMES:
            grown = counts.get(outcome, 0) - counts_before.get(outcome, 0)
            self._records.labels(outcome).inc(grown)
        self._batch_records.observe(counts.get("records", 0) - counts_before.get("records", 0))
        watched_ms = counts.get("watched_ms", 0) - counts_before.get("watched_ms", 0)
        self._watched.inc(max(0, watched_ms) / 1000)
        self._open.labels(str(partition)).set(result.sessions_open)
        for step, seconds in step_s.items():
            self._step.labels(step).observe(seconds)
        self._count_charges(result.charges)
        for reason, rows in result.suspense["reason"].value_counts().iter_rows():
            self._suspense.labels(self._reason(reason)).inc(rows)
        for kind, rows in result.signals["type"].value_counts().iter_rows():
            self._signals.labels(kind).inc(rows)

    def _count_charges(self, charges: pl.DataFrame) -> None:
        total = pl.col("total").cast(pl.Int128)  # whose sum may pass 64 bits
        sums = charges.group_by("type", "currency").agg(
            pl.len(),
            total.clip(lower_bound=0).sum(),
            total.clip(upper_bound=0).sum().alias("back"),
        )
        for kind, currency, rows, charged, back in sums.iter_rows():
            self._charges.labels(kind, currency).inc(rows)
            self._charged.labels(kind, currency).inc(charged)
            self._credited.labels(kind, currency).inc(-back)
        missing = pl.col("unfunded").cast(pl.Int128).clip(lower_bound=0)
        unfunded = charges.group_by("currency").agg(missing.sum())
        for currency, micros in unfunded.iter_rows():
            self._unfunded.labels(currency).inc(micros)

    def _reason(self, reason: str) -> str:
        if len(self._reasons) < REASONS_MAX:
            self._reasons.add(reason)
        return reason if reason in self._reasons else OTHER

    def law_broken(self) -> None:
        """Count a batch that the rater refused."""
        self._laws.inc()

    def commit_failed(self, error: Exception) -> None:
        """Count a commit that failed, by the class of its error."""
        self._commit_failures.labels(type(error).__name__).inc()

    # --- partitions -----------------------------------------------------------------------------

    def lagging(self, partition: int, messages: int, seconds: float) -> None:
        """Say how far rating is behind the end of a partition."""
        self._lag_messages.labels(str(partition)).set(max(0, messages))
        self._lag_s.labels(str(partition)).set(max(0.0, seconds))

    def rebalanced(self, partitions_assigned: int) -> None:
        """Count a change of the partitions assigned, and say how many there are now."""
        self._rebalances.inc()
        self._partitions.set(partitions_assigned)

    def revoked(self) -> None:
        """Say that no partition is assigned, until the group gives some."""
        self._partitions.set(0)

    def chained(self, partition: int, number: int, digest: bytes) -> None:
        """Say which link of a partition's hash chain is the last."""
        self._chain_links.labels(str(partition)).set(number)
        self._chain_head.labels(str(partition)).set(int.from_bytes(digest[:6]))

    def waiting_for_store(self, seconds: float, error: str) -> None:
        """Say how long the store has kept a partition waiting by now; 0 where it keeps none."""
        self._store_waiting.clear()
        if error:
            self._store_waiting.labels(error).set(seconds)

    def left(self, partition: int) -> None:
        """Say no more about a partition that another worker rates now."""
        gauges = (self._lag_messages, self._lag_s, self._open, self._chain_links, self._chain_head)
        for gauge in gauges:
            gauge.remove_by_labels({"partition": str(partition)})

    # --- topics ---------------------------------------------------------------------------------

    def published(self, report: Published) -> None:
        """Say how far a topic has come."""
        self._published.labels(report.topic).inc(report.rows)
        self._publish_lag.labels(report.topic).set(report.last_seq - report.seq)
