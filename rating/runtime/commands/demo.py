"""`ratecast demo`: an evening simulated, rated, drawn and explained."""

from __future__ import annotations

import click

from rating.runtime.commands.options import evening_options


@click.command()
@evening_options(20_000, "Another seed is another evening.")
@click.option(
    "--folder",
    metavar="DIR",
    default="demo",
    show_default=True,
    help="Where to; an earlier demo in it makes room.",
)
def demo(households: int, hours: float, seed: int, folder: str) -> None:
    """See it work: simulate an evening of television, rate it, look at the result.

    Needs nothing but this command and a minute or two. It leaves a tariff book, a usage log, a
    billing store and Parquet files to go on with, and says how.

    \b
    ratecast demo
    ratecast demo --households 500 --hours 1 --folder /tmp/small
    """
    from pathlib import Path

    from rating.runtime.demonstration import demonstrate

    try:
        demonstrate(Path(folder), households, hours, seed)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
