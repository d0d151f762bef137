"""`ratecast publish`: charges, signals and suspense from the store to Kafka, and to Parquet."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import click

from rating.runtime.commands.options import (
    json_option,
    kafka_options,
    metrics_option,
    prefix_option,
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
@prefix_option
@click.option("--parquet", metavar="DIR", help="Also keep the Parquet files in DIR up to date.")
@click.option("--follow", is_flag=True, help="Go on with what comes, until stopped.")
@metrics_option
@json_option
@click.argument("topics", metavar="[TOPIC]...", nargs=-1, type=click.Choice(TOPICS))
def publish(
    store: str,
    kafka: str | None,
    kafka_config: str | None,
    prefix: str,
    parquet: str | None,
    follow: bool,
    metrics: tuple[str, int] | None,
    as_json: bool,
    topics: tuple[str, ...],
) -> None:
    """Publish what the store holds to Kafka topics, to Parquet files, or to both.

    TOPIC is charges, signals or suspense; all three where none is named. What was published is
    remembered in the store, so that the same command goes on from there. Nothing is missed; a
    message may come twice after a crash, then with the same id. With --follow, --json writes the log
    as JSON lines.

    \b
    ratecast publish --kafka localhost:9092 --follow
    ratecast publish --kafka localhost:9092 charges signals
    ratecast publish --parquet charges/
    """
    import asyncio

    from rating.runtime.kafka_reach import reached
    from rating.runtime.log_lines import leave_it_to_the_error, log_to_stderr
    from rating.runtime.metrics import Metrics
    from rating.runtime.probes import Health, probed
    from sinks.store import open_store

    if kafka is None and parquet is None:
        raise click.UsageError("name where to publish to: --kafka HOST:PORT, --parquet DIR or both")
    access = reached(kafka, kafka_config) if kafka else None
    kinds = cast("tuple[Kind, ...]", topics or TOPICS)
    work = _Work(access, kinds, prefix, parquet)
    open_store(store, create=False).close()  # a mistyped name must not make a new store
    measured, health = Metrics(), Health()
    with open_store(store) as opened, probed(metrics, measured.registry, health):
        if follow:
            log_to_stderr(as_json=as_json)
            asyncio.run(_follow(opened, work, measured, health))
        else:
            leave_it_to_the_error()
            sent = asyncio.run(_once(opened, work))
            click.echo(json.dumps(sent) if as_json else _text(sent))


@dataclass(frozen=True, slots=True)
class _Work:
    """What is to be published where. access, parquet: None where not there."""

    access: KafkaAccess | None
    kinds: tuple[Kind, ...]
    prefix: str
    parquet: str | None


async def _once(store: BillingStore, work: _Work) -> dict[str, Any]:
    """Publish what there is, with progress. Gives rows by topic."""
    import asyncio

    from rating.runtime.progress import Progress, shown_progress
    from rating.runtime.publishing import publish_once
    from sinks.parquet import write_parquet

    done: dict[str, Any] = {}
    if work.access:
        seqs: dict[str, int] = {}
        whole = sum(store.last_seq(kind) for kind in work.kinds)
        with shown_progress("Publishing") as progress:
            sent = 0

            def report(published: Published) -> None:
                nonlocal sent
                sent += published.rows
                seqs[published.topic] = published.seq
                progress(Progress(sum(seqs.values()), whole, sent))

            published = await publish_once(
                store, work.access, work.kinds, report, prefix=work.prefix
            )
            done.update({str(kind): rows for kind, rows in published.items()})
    if work.parquet:
        written = await asyncio.to_thread(write_parquet, store, work.parquet)
        done["parquet"] = written.charges + written.suspense + written.signals
    return done


async def _follow(store: BillingStore, work: _Work, metrics: Metrics, health: Health) -> None:
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
    if work.access:
        publishing = publish_on(store, work.access, work.kinds, report, stop, prefix=work.prefix)
        tasks.append(asyncio.create_task(publishing))
    else:
        health.ready()
    if work.parquet:
        tasks.append(asyncio.create_task(write_parquet_on(store, work.parquet, stop)))
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
