"""`ratecast publish`: charges, signals and suspense from the store to Kafka, and to Parquet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import click

from rating.runtime.commands.options import (
    json_option,
    kafka_options,
    metrics_option,
    store_option,
)

if TYPE_CHECKING:
    from rating.runtime.kafka_access import KafkaAccess
    from rating.runtime.metrics import Metrics
    from rating.runtime.probes import Health
    from sinks.store import BillingStore, Kind
    from sinks.topics.publisher import Published

TOPICS = ("charges", "signals", "suspense")


@click.command()
@store_option
@kafka_options(required=False)
@click.option("--parquet", metavar="DIR", help="Also keep the Parquet files in DIR up to date.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until stopped.")
@metrics_option
@json_option
@click.argument("topics", metavar="[TOPIC]...", nargs=-1, type=click.Choice(TOPICS))
def publish(
    store: str,
    kafka: str | None,
    kafka_config: str | None,
    parquet: str | None,
    follow: bool,
    metrics: tuple[str, int] | None,
    as_json: bool,
    topics: tuple[str, ...],
) -> None:
    """Publish what the store holds to Kafka topics, to Parquet files, or to both.

    TOPIC is charges, signals or suspense; all three where none is named. What was published is
    remembered in the store, so that the same command goes on from there. Nothing is missed; a
    message may come twice after a crash, then with the same id.

    \b
    ratecast publish --kafka localhost:9092 --follow
    ratecast publish --kafka localhost:9092 charges signals
    ratecast publish --parquet charges/
    """
    import asyncio

    from rating.runtime.kafka_access import KafkaAccess
    from rating.runtime.metrics import Metrics
    from rating.runtime.probes import Health, probed
    from sinks.store import open_store

    if kafka is None and parquet is None:
        raise click.UsageError("name where to publish to: --kafka HOST:PORT, --parquet DIR or both")
    access = KafkaAccess.read(kafka, kafka_config) if kafka else None
    kinds = cast("tuple[Kind, ...]", topics or TOPICS)
    open_store(store, create=False).close()  # a mistyped name must not make a new store
    measured, health = Metrics(), Health()
    with open_store(store) as opened, probed(metrics, measured.registry, health):
        if follow:
            asyncio.run(_follow(opened, access, kinds, parquet, measured, health))
        else:
            sent = asyncio.run(_once(opened, access, kinds, parquet))
            click.echo(json.dumps(sent) if as_json else _text(sent))


async def _once(
    store: BillingStore, access: KafkaAccess | None, kinds: tuple[Kind, ...], parquet: str | None
) -> dict[str, Any]:
    """Publish what there is, with progress. Gives rows by topic."""
    import asyncio

    from rating.runtime.progress import Progress, shown_progress
    from rating.runtime.publishing import publish_once
    from sinks.parquet import write_parquet

    done: dict[str, Any] = {}
    if access:
        seqs = dict.fromkeys(kinds, 0)
        whole = sum(store.last_seq(kind) for kind in kinds)
        with shown_progress("Publishing") as progress:
            sent = 0

            def report(published: Published) -> None:
                nonlocal sent
                sent += published.rows
                seqs[published.kind] = published.seq
                progress(Progress(sum(seqs.values()), whole, sent))

            published = await publish_once(store, access, kinds, report)
            done.update({str(kind): rows for kind, rows in published.items()})
    if parquet:
        written = await asyncio.to_thread(write_parquet, store, parquet)
        done["parquet"] = written.charges + written.suspense + written.signals
    return done


async def _follow(
    store: BillingStore,
    access: KafkaAccess | None,
    kinds: tuple[Kind, ...],
    parquet: str | None,
    metrics: Metrics,
    health: Health,
) -> None:
    """Publish until a signal tells to stop."""
    import asyncio
    import signal

    from rating.runtime.publishing import all_or_none, publish_on, write_parquet_on

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)

    def report(published: Published) -> None:
        metrics.published(published)
        health.ready()

    tasks = [asyncio.create_task(_signs_of_life(health, stop))]
    if access:
        tasks.append(asyncio.create_task(publish_on(store, access, kinds, report, stop)))
    else:
        health.ready()
    if parquet:
        tasks.append(asyncio.create_task(write_parquet_on(store, parquet, stop)))
    await all_or_none(tasks)


async def _signs_of_life(health: Health, stop: Any) -> None:
    """Show that the loop turns."""
    import asyncio

    while not stop.is_set():
        health.alive()
        try:
            await asyncio.wait_for(stop.wait(), 1.0)
        except TimeoutError:
            continue


def _text(sent: dict[str, Any]) -> str:
    from rating.runtime.figures import columns, count

    return "\n".join(columns([(name, count(rows)) for name, rows in sent.items()]))
