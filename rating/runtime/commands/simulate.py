"""`ratecast simulate`: an operator's usage log, and the book that fits it."""

from __future__ import annotations

from datetime import datetime

import click

from rating.runtime.commands.options import evening_options


@click.command()
@evening_options(1000, "The same seed gives the same log, to the byte.")
@click.option(
    "--start",
    metavar="TIME",
    default=None,
    show_default="2026-03-06T17:00:00Z",
    help="When viewing begins: RFC 3339 with a zone, on a whole minute.",
)
@click.option(
    "--faults",
    metavar="FAULTS",
    default="none",
    show_default=True,
    help="What goes wrong on the way: none, typical, or rates such as retries=0.01,silence=0.02.",
)
@click.option(
    "--out",
    metavar="FILE",
    default="-",
    show_default="standard output",
    help="The usage log; .gz and .zst are compressed.",
)
@click.option(
    "--tariffs-out", metavar="FILE", default=None, help="Also write the tariff book that fits."
)
def simulate(
    households: int,
    hours: float,
    seed: int,
    start: str | None,
    faults: str,
    out: str,
    tariffs_out: str | None,
) -> None:
    """Make the usage log of a simulated operator.

    Households zap, watch, pause, rent films and order the evening's event; the log is what a
    gateway would write. docs/simulator.md says what is simulated, and from which sources.

    \b
    ratecast simulate --households 1000 --out evening.ndjson --tariffs-out book.toml
    ratecast simulate --households 50 --hours 1 --seed 7 --faults typical | head
    ratecast simulate --faults typical,silence=0.1 --out rough.ndjson.zst
    """
    from pathlib import Path

    from ingest.simulator import DEFAULT_START, Faults, Simulation
    from rating.runtime.outputs import opened_output, write_log

    try:
        begins = DEFAULT_START if start is None else datetime.fromisoformat(start)
        simulation = Simulation(households, hours, seed, start=begins, faults=Faults.parse(faults))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if tariffs_out is not None:
        Path(tariffs_out).write_text(simulation.book(), encoding="utf-8")
    with opened_output(out) as stream:
        write_log(simulation, stream)
