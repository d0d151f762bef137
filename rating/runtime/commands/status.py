"""`ratecast status`: what a billing store holds, and whether it adds up."""

from __future__ import annotations

import json

import click

from rating.runtime.commands.options import json_option, kafka_options, store_option, topic_option
from rating.runtime.failures import LAWLESS


@click.command()
@store_option
@kafka_options(required=False)
@topic_option("The topic rated from.")
@json_option
def status(
    store: str, kafka: str | None, kafka_config: str | None, topic: str, as_json: bool
) -> None:
    """Show what the billing store holds, and whether the laws of rating hold in it.

    Reads every charge, so a large store takes a while. It may be asked while a run goes on. With
    --kafka, also how far each partition is rated, and what the topics do not have yet.

    \b
    ratecast status
    ratecast status --store bills.db --json | jq .revenue
    ratecast status --store postgresql://db/ratecast --kafka localhost:9092

    Exit codes: 0 all laws hold; 1 an error; 4 a law does not hold.
    """
    from rating.runtime.kafka_reach import reached
    from rating.runtime.lag import lag_json, lag_of, lag_text
    from rating.runtime.standing import as_json as standing_json
    from rating.runtime.standing import as_text, standing_of
    from sinks.store import open_store

    with open_store(store, create=False) as opened:
        standing = standing_of(opened)
        lag = lag_of(opened, reached(kafka, kafka_config), topic) if kafka else None
    if as_json:
        content = standing_json(standing) | ({"lag": lag_json(lag)} if lag else {})
        click.echo(json.dumps(content))
    else:
        click.echo(as_text(standing) + (f"\n{lag_text(lag)}" if lag else ""))
    if not all(law.holds for law in standing.laws):
        raise click.exceptions.Exit(LAWLESS)
