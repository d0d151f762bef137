"""`ratecast export`: what the store holds, for other programs."""

from __future__ import annotations

from typing import Any, cast

import click

from rating.runtime.commands.options import store_option

WHAT = ("charges", "suspense", "signals", "balances", "orders", "sessions")


@click.command()
@click.argument("what", type=click.Choice(WHAT))
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="JSON lines, or CSV with a header.",
)
@click.option(
    "--out",
    metavar="FILE",
    default="-",
    show_default="standard output",
    help="Where to; the file appears only when it is whole. .gz and .zst are compressed.",
)
def export(what: str, store: str, form: str, out: str) -> None:
    """Write charges, suspense, signals, balances, orders or open sessions.

    Money is in micro-units (1.50 is 1500000) and time in UTC milliseconds, so that nothing is
    rounded. Charges come in the order in which they were committed.

    \b
    ratecast export charges --format csv --out charges.csv
    ratecast export suspense | jq -r .reason | sort | uniq -c
    ratecast export balances --store bills.db --out balances.ndjson.zst
    """
    from rating.runtime.outputs import opened_output
    from sinks.export import export as write
    from sinks.store import open_store

    with open_store(store, create=False) as opened, opened_output(out) as stream:
        write(opened, cast("Any", what), cast("Any", form), stream)
