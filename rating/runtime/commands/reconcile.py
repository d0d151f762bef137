"""`ratecast reconcile`: what was delivered against what was watched."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rating.runtime.commands.options import json_option, store_option


@click.command()
@store_option
@click.option(
    "--delivery",
    metavar="DIR",
    default="delivery",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset that `ratecast delivery` made.",
)
@click.option(
    "--tolerance-s",
    type=click.IntRange(min=0),
    default=60,
    show_default=True,
    metavar="SECONDS",
    help="Less than this apart is agreement.",
)
@click.option(
    "--tolerance-percent",
    type=click.IntRange(0, 100),
    default=10,
    show_default=True,
    metavar="PERCENT",
    help="And so is less than this share of the larger.",
)
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write session, account, content and hour with delivered and watched time, as Parquet.",
)
@click.option(
    "--metrics",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the sums for Prometheus' textfile collector.",
)
@json_option
def reconcile(
    store: str,
    delivery: Path,
    tolerance_s: int,
    tolerance_percent: int,
    out: Path | None,
    metrics: Path | None,
    as_json: bool,
) -> None:
    """Hold the delivered time of the CDN against the watched time of the players.

    Leakage is what was delivered and not watched as far as anyone reported; over-reporting is the
    contrary. Only the hours that the CDN's logs cover are compared. Nothing is changed.

    \b
    ratecast reconcile --store bills.db --delivery delivery
    ratecast reconcile --json | jq .verdicts.leakage
    ratecast reconcile --out apart.parquet --metrics /var/lib/node_exporter/ratecast.prom
    """
    from ingest.cdn.dataset import delivered_hours, write_parquet, write_whole
    from rating.runtime import reconciliation
    from sinks.store import open_store

    delivered = delivered_hours(delivery)
    with open_store(store, create=False) as opened:
        seen = reconciliation.watched_hours(opened)
    tolerance = reconciliation.Tolerance(tolerance_s, tolerance_percent)
    found = reconciliation.reconcile(seen, delivered, tolerance)
    if out is not None:
        write_parquet(found.hours, out)
    if metrics is not None:
        write_whole(metrics, reconciliation.as_metrics(found).encode())
    said = reconciliation.as_json(found)
    click.echo(json.dumps(said) if as_json else reconciliation.as_text(found))
