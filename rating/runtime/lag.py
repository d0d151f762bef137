"""How far rating is behind the usage topic, and topics behind the store."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from rating.runtime.figures import columns, count
from rating.runtime.kafka_access import KafkaAccessError
from sinks.topics.publisher import TOPICS, cursor_name, topic_name

if TYPE_CHECKING:
    from rating.runtime.kafka_access import KafkaAccess
    from sinks.store import BillingStore

TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """A partition of the usage topic. Offsets count messages, of which each may hold many records.

    start, end: what the topic holds. next_offset: what the store waits for; None where it has
    nothing of the partition. lost: messages that the topic deleted before they were rated.
    """

    partition: int
    start: int
    end: int
    next_offset: int | None

    @property
    def lag(self) -> int:
        """Messages that wait."""
        return max(0, self.end - max(self.start, self.next_offset or 0))

    @property
    def lost(self) -> int:
        """Messages deleted unrated; more than 0 means that retention is too short."""
        return max(0, self.start - (self.next_offset or 0)) if self.end else 0

    @property
    def ahead(self) -> int:
        """Messages that the store has and the topic does not: it is another topic, or made anew."""
        return max(0, (self.next_offset or 0) - self.end)


@dataclass(frozen=True, slots=True)
class Lag:
    """How far each stage is behind the one before. unpublished: rows by topic, where there is one."""

    topic: str
    partitions: tuple[PartitionLag, ...]
    unpublished: dict[str, int]


def lag_of(store: BillingStore, access: KafkaAccess, topic: str, prefix: str = "") -> Lag:
    """Ask the broker and the store. Raises: KafkaAccessError, StoreError."""
    from kafka import KafkaConsumer, TopicPartition
    from kafka.errors import KafkaError

    try:
        consumer = KafkaConsumer(
            **access.client_options(), enable_auto_commit=False, request_timeout_ms=TIMEOUT_MS
        )
        try:
            known = sorted(consumer.partitions_for_topic(topic) or ())
            places = [TopicPartition(topic, partition) for partition in known]
            starts, ends = consumer.beginning_offsets(places), consumer.end_offsets(places)
        finally:
            consumer.close()
    except KafkaError as error:
        raise KafkaAccessError(
            f"no Kafka broker answers at {access.addresses} ({error or type(error).__name__}); "
            "check the address, and that it runs"
        ) from error
    if not known:
        raise KafkaAccessError(
            f"{access.addresses} has no topic {topic}; make it with "
            f"'ratecast topics create --kafka {access.addresses}'"
        )
    stored = store.positions()
    lags = [
        PartitionLag(
            place.partition,
            starts[place],
            ends[place],
            stored[place.partition].next_offset if place.partition in stored else None,
        )
        for place in places
    ]
    return Lag(topic, tuple(lags), _unpublished(store, prefix))


def _unpublished(store: BillingStore, prefix: str) -> dict[str, int]:
    """Rows that the topics do not have yet, for those that were ever published."""
    waiting = {}
    for kind in TOPICS:
        cursor = store.cursor(cursor_name(topic_name(kind, prefix)))
        if cursor is not None:
            waiting[topic_name(kind, prefix)] = store.last_seq(kind) - cursor.seq
    return waiting


def lag_text(lag: Lag) -> str:
    """For a person."""
    rows = [("  partition", "rated up to", "end", "waiting")]
    rows += [
        (
            f"  {each.partition}",
            "nothing yet" if each.next_offset is None else count(each.next_offset),
            count(each.end),
            count(each.lag),
        )
        for each in lag.partitions
    ]
    lines = ["", f"Topic {lag.topic}, in messages", *columns(rows)]
    for each in lag.partitions:
        if each.lost:
            lines.append(
                f"  Warning: partition {each.partition} lost {count(each.lost)} messages to "
                "retention before they were rated"
            )
        if each.ahead:
            lines.append(
                f"  Warning: partition {each.partition} ends {count(each.ahead)} messages before "
                "where the store stands: it is not the topic that the store was rated from"
            )
    if lag.unpublished:
        published = [(f"  {topic}", count(rows)) for topic, rows in lag.unpublished.items()]
        lines += ["", "Rows not published yet", *columns(published)]
    return "\n".join(lines)


def lag_json(lag: Lag) -> dict[str, Any]:
    """For a program."""
    return {
        "topic": lag.topic,
        "partitions": [
            {**asdict(each), "lag": each.lag, "lost": each.lost, "ahead": each.ahead}
            for each in lag.partitions
        ],
        "unpublished": lag.unpublished,
    }
