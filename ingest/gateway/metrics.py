"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

__all__ = ["CONTENT_TYPE_LATEST", "Metrics"]

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
LOOP_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
LINES = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000)


class Metrics:
    """The figures of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "ratecast_gateway_requests",
            "Requests answered, by what they asked for and HTTP status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ratecast_gateway_request_seconds",
            "From a request's head to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.lines = Counter(
            "ratecast_gateway_lines",
            "Lines that the log has, by record type.",
            ("type",),
            registry=self.registry,
        )
        self.counters = Counter(
            "ratecast_gateway_counters",
            "Audience counters of boxes that were kept.",
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "ratecast_gateway_in_flight_requests", "Requests in flight.", registry=self.registry
        )
        self.bytes_in_flight = Gauge(
            "ratecast_gateway_in_flight_bytes", "Bytes of bodies in flight.", registry=self.registry
        )
        self.connections = Gauge(
            "ratecast_gateway_connections", "Connections that are open.", registry=self.registry
        )
        self.cut = Counter(
            "ratecast_gateway_connections_cut",
            "Connections that a bound has ended, by which.",
            ("why",),
            registry=self.registry,
        )
        self.loop_step_seconds = Histogram(
            "ratecast_gateway_loop_step_seconds",
            "Processor time that the event loop took between two looks at it, a few ms apart.",
            buckets=LOOP_SECONDS,
            registry=self.registry,
        )
        self.group_lines = Histogram(
            "ratecast_gateway_group_lines",
            "Lines that were made durable together.",
            buckets=LINES,
            registry=self.registry,
        )
        self.group_seconds = Histogram(
            "ratecast_gateway_group_seconds",
            "From handing a group to the log until it is durable.",
            buckets=SECONDS,
            registry=self.registry,
        )

    def count_group(self, lines: int, elapsed_s: float) -> None:
        """Count a group that is durable."""
        self.group_lines.observe(lines)
        self.group_seconds.observe(elapsed_s)

    def exposition(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self.registry)
