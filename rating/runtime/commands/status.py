"""`ratecast status`: what a billing store holds, and whether it adds up."""

from __future__ import annotations

import json

import click

from rating.runtime.commands.options import json_option, store_option
from rating.runtime.failures import LAWLESS


@click.command()
@store_option
@json_option
def status(store: str, as_json: bool) -> None:
    """Show what the billing store holds, and whether the laws of rating hold in it.

    Reads every charge, so a large store takes a while. It may be asked while a run goes on.

    \b
    ratecast status
    ratecast status --store bills.db --json | jq .revenue

    Exit codes: 0 all laws hold; 1 an error; 4 a law does not hold.
    """
    from rating.runtime.standing import as_json as standing_json
    from rating.runtime.standing import as_text, standing_of
    from sinks.store import open_store

    with open_store(store, create=False) as opened:
        standing = standing_of(opened)
    click.echo(json.dumps(standing_json(standing)) if as_json else as_text(standing))
    if not all(law.holds for law in standing.laws):
        raise click.exceptions.Exit(LAWLESS)
