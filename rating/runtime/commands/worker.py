"""`ratecast worker`: usage records from Kafka in, charges in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rating.runtime.commands.options import (
    Number,
    books_option,
    format_option,
    json_option,
    kafka_options,
    metrics_option,
    prefix_option,
    store_option,
    topic_option,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ingest.adapters.doors import Door
    from rating.runtime.consumption import ConsumptionOptions
    from rating.runtime.kafka_access import KafkaAccess
    from rating.runtime.metrics import Metrics
    from tariffs.model import Book


@click.command()
@books_option
@kafka_options(required=True)
@store_option
@topic_option("The topic of usage records.")
@click.option(
    "--group",
    metavar="NAME",
    default="ratecast",
    show_default=True,
    envvar="RATECAST_GROUP",
    show_envvar=True,
    help="The consumer group whose members share the partitions.",
)
@click.option(
    "--instance",
    metavar="NAME",
    envvar="RATECAST_INSTANCE",
    show_envvar=True,
    help="This worker's own name, kept over restarts: it then gets its partitions back at once.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 10_000_000),
    default=50_000,
    show_default=True,
    metavar="RECORDS",
    envvar="RATECAST_BATCH",
    show_envvar=True,
    help="About how many usage records a transaction holds at most. Changes no charge.",
)
@click.option(
    "--batch-wait",
    type=Number(0.001, 60),
    default=0.2,
    show_default=True,
    metavar="SECONDS",
    envvar="RATECAST_BATCH_WAIT",
    show_envvar=True,
    help="How long a batch waits for more records.",
)
@click.option(
    "--session-timeout",
    type=Number(1, 1800),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    envvar="RATECAST_SESSION_TIMEOUT",
    show_envvar=True,
    help="After so long without a sign of life the group gives the partitions to others.",
)
@click.option(
    "--store-patience",
    type=Number(0, 86_400),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    envvar="RATECAST_STORE_PATIENCE",
    show_envvar=True,
    help="How long to try again while the store cannot be reached.",
)
@click.option(
    "--from-oldest",
    is_flag=True,
    envvar="RATECAST_FROM_OLDEST",
    show_envvar=True,
    help="Begin a partition that the store does not know at the oldest message, although older "
    "ones were deleted. Without it that is an error.",
)
@click.option(
    "--accept-malformed",
    is_flag=True,
    envvar="RATECAST_ACCEPT_MALFORMED",
    show_envvar=True,
    help="Rate on although nearly all records that a partition begins with are malformed. Without it "
    "that is an error, since it is then hardly a topic of usage records.",
)
@click.option(
    "--accept-topic",
    is_flag=True,
    help="Go on from this topic although the store was rated from another topic or cluster, which "
    "held the same messages at the same offsets. Needed once.",
)
@click.option(
    "--publish",
    is_flag=True,
    envvar="RATECAST_PUBLISH",
    show_envvar=True,
    help="Also publish charges, signals and suspense, as `ratecast publish --follow` does; of "
    "several workers one does so at a time.",
)
@format_option
@prefix_option
@metrics_option
@json_option
def worker(
    books: tuple[str, ...],
    kafka: str,
    kafka_config: str | None,
    store: str,
    topic: str,
    group: str,
    instance: str | None,
    batch: int,
    batch_wait: float,
    session_timeout: float,
    store_patience: float,
    from_oldest: bool,
    accept_malformed: bool,
    accept_topic: bool,
    publish: bool,
    door: Door | None,
    prefix: str,
    metrics: tuple[str, int] | None,
    as_json: bool,
) -> None:
    """Rate the usage records of a Kafka topic into the billing store, until stopped.

    Start as many as there are cores for: they share the topic's partitions. A worker that is
    killed at any moment loses nothing and doubles nothing; whoever comes next goes on where the
    store stands. --json writes the log as JSON lines.

    \b
    ratecast worker --tariffs book.toml --kafka localhost:9092 --store postgresql://localhost/bills

    \b
    Exit codes: 0 stopped by SIGTERM or SIGINT; 1 an error; 2 misused; 4 a law of rating does not
    hold. Let a supervisor start it again after 1.
    """
    from rating.runtime.consumption import ConsumptionOptions
    from rating.runtime.kafka_reach import reached
    from rating.runtime.log_lines import log_to_stderr
    from tariffs.load import load_books

    access = reached(kafka, kafka_config)
    options = ConsumptionOptions(
        topic=topic,
        group=group,
        instance=instance,
        batch_records=batch,
        batch_wait_s=batch_wait,
        session_timeout_s=session_timeout,
        store_patience_s=store_patience,
        from_oldest=from_oldest,
        accept_malformed=accept_malformed,
        accept_topic=accept_topic,
        door=door,
    )
    loaded = load_books(books, strict=False)
    log_to_stderr(as_json=as_json)
    _rate(loaded, store, access, options, metrics, prefix if publish else None)


def _rate(
    books: Sequence[Book],
    store: str,
    access: KafkaAccess,
    options: ConsumptionOptions,
    metrics: tuple[str, int] | None,
    prefix: str | None,
) -> None:
    """Rate until stopped. prefix: of the topics to publish to as well; None for none."""
    from rating.laws import LawBroken
    from rating.runtime.books import books_in_force
    from rating.runtime.consumption import Consumption, StoodStill
    from rating.runtime.failures import end_at_once
    from rating.runtime.metrics import Metrics
    from rating.runtime.probes import Health, ended_when_silent, probed
    from rating.runtime.store_waits import open_patiently
    from rating.runtime.worker import run_worker

    measured, health = Metrics(), Health()
    with (
        probed(metrics, measured.registry, health),
        open_patiently(store, options.store_patience_s, measured, health) as opened,
        ended_when_silent(health),
    ):
        in_force = books_in_force(books, opened)
        beside = None if prefix is None else _publishing(store, access, prefix, measured)
        try:
            run_worker(
                lambda: Consumption(in_force, opened, access, options, measured, health), beside
            )
        except StoodStill as failure:
            end_at_once(failure)
        except LawBroken:
            if metrics is not None:
                health.await_reader()
            raise


def _publishing(
    store: str, access: KafkaAccess, prefix: str, metrics: Metrics
) -> Callable[[], Awaitable[None]]:
    """What publishes beside the rating, with connections of its own to the store."""
    import asyncio

    from rating.runtime.publishing import publish_on
    from sinks.store import open_store
    from sinks.topics.publisher import TOPICS

    async def publish() -> None:
        with open_store(store) as opened:
            never = asyncio.Event()  # a worker ends what runs beside it by cancelling it
            await publish_on(opened, access, TOPICS, metrics.published, never, prefix=prefix)

    return publish
