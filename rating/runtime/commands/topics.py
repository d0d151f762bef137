"""`ratecast topics`: the Kafka topics made, and checked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from rating.runtime.commands.options import (
    json_option,
    kafka_options,
    prefix_option,
    topic_option,
)
from rating.runtime.failures import FAILED

if TYPE_CHECKING:
    from rating.runtime.topic_settings import TopicSettings


@click.group()
def topics() -> None:
    """Make and check the Kafka topics: usage, charges, signals and suspense.

    \b
    ratecast topics create --kafka localhost:9092 --partitions 12 --replication 3
    ratecast topics check --kafka localhost:9092 --partitions 12 --replication 3
    """


def shape_options(function: Any) -> Any:
    """What the topics are to be like."""
    for option in (
        click.option(
            "--partitions",
            type=click.IntRange(min=1, max=10_000),
            show_default="12 of a new topic; those that are there keep theirs",
            help="Of each topic. The most workers that can share the load; never to be changed.",
        ),
        click.option(
            "--replication",
            type=click.IntRange(min=1, max=32),
            default=1,
            show_default=True,
            help="Brokers that keep each message: 3 in production.",
        ),
        click.option(
            "--usage-days",
            type=click.IntRange(min=1, max=3650),
            default=14,
            show_default=True,
            help="How long the topic usage keeps messages: longer than workers may ever stand still.",
        ),
        topic_option("The topic of usage records."),
        prefix_option,
    ):
        function = option(function)
    return function


@topics.command()
@kafka_options(required=True)
@shape_options
@click.option("--update", is_flag=True, help="Also set what differs in topics that are there.")
@json_option
def create(
    kafka: str,
    kafka_config: str | None,
    partitions: int | None,
    replication: int,
    usage_days: int,
    topic: str,
    prefix: str,
    update: bool,
    as_json: bool,
) -> None:
    """Make the topics that are missing, then check them all.

    \b
    ratecast topics create --kafka localhost:9092 --partitions 12 --replication 3
    """
    from rating.runtime.kafka_reach import reached
    from rating.runtime.topic_settings import TopicAdmin, wanted_topics

    wanted = wanted_topics(partitions, replication, usage_days, topic, prefix)
    with TopicAdmin(reached(kafka, kafka_config)) as admin:
        made = admin.create(wanted)
        mended = admin.mend(wanted) if update else []
        if not as_json:
            for name in made:
                click.echo(f"Made {name}.")
            for difference in mended:
                click.echo(f"Set {difference.topic}: {difference.config}.")
        _say_differences(admin, wanted, as_json, {"made": made})


@topics.command()
@kafka_options(required=True)
@shape_options
@json_option
def check(
    kafka: str,
    kafka_config: str | None,
    partitions: int | None,
    replication: int,
    usage_days: int,
    topic: str,
    prefix: str,
    as_json: bool,
) -> None:
    """Say what differs from what ratecast needs, and how to mend it. Exit code 1 if anything does.

    \b
    ratecast topics check --kafka localhost:9092 --partitions 12 --replication 3
    """
    from rating.runtime.kafka_reach import reached
    from rating.runtime.topic_settings import TopicAdmin, wanted_topics

    wanted = wanted_topics(partitions, replication, usage_days, topic, prefix)
    with TopicAdmin(reached(kafka, kafka_config)) as admin:
        _say_differences(admin, wanted, as_json, {})


def _say_differences(
    admin: Any, wanted: list[TopicSettings], as_json: bool, said: dict[str, Any]
) -> None:
    """Print what differs. Raises: Exit where anything does."""
    found = admin.differences(wanted)
    names = ", ".join(each.name for each in wanted)
    if as_json:
        click.echo(json.dumps(said | {"differences": [str(each) for each in found]}))
    elif not found:
        click.echo(f"The topics {names} are as they are to be.")
    for difference in found if not as_json else []:
        click.echo(str(difference), err=True)
    if found:
        raise click.exceptions.Exit(FAILED)
