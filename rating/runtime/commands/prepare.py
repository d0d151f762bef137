"""`ratecast prepare`: a billing store made, or brought up to date, before anything is rated."""

from __future__ import annotations

import click

from rating.runtime.commands.options import store_option


@click.command()
@store_option
@click.option(
    "--grants",
    is_flag=True,
    help="Print the SQL that gives a PostgreSQL store the roles of a writer and a reader.",
)
def prepare(store: str, grants: bool) -> None:
    """Make the billing store, or bring its schema up to date.

    `ratecast rate` does the same when it starts. This is for a store in PostgreSQL whose schema
    belongs to another user than the one that rates: run it as the owner, once for each release.

    \b
    ratecast prepare --store postgresql://owner@host/billing
    ratecast prepare --grants | psql postgresql://owner@host/billing
    """
    if grants:
        from sinks.postgres_server import grants as statements

        click.echo(statements(), nl=False)
        return
    from sinks.store import open_store

    with open_store(store) as opened:
        click.echo(f"{opened.url}: ready")
