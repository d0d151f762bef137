"""`ratecast reconcile`: what was delivered, or counted by boxes, against what was watched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rating.runtime.commands.options import json_option, store_option

if TYPE_CHECKING:
    import polars as pl

    from rating.runtime.box_reconciliation import BoxReconciliation
    from rating.runtime.reconciliation import Tolerance

DELIVERY = "delivery"


@click.command()
@store_option
@click.option(
    "--delivery",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset that `ratecast delivery` made; `delivery` where no --boxes is given.",
)
@click.option(
    "--boxes",
    metavar="DIR",
    multiple=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder of `ratecast gateway --boxes`, for the audience counters in it.",
)
@click.option(
    "--tolerance-s",
    type=click.IntRange(0, 366 * 86_400),
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
    "--out-boxes",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write account, device, content and hour with counted and watched time, as Parquet.",
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
    delivery: Path | None,
    boxes: tuple[Path, ...],
    tolerance_s: int,
    tolerance_percent: int,
    out: Path | None,
    out_boxes: Path | None,
    metrics: Path | None,
    as_json: bool,
) -> None:
    """Hold what a CDN delivered, or boxes counted, against what was watched.

    Leakage is what was delivered or counted and not watched as far as anyone reported;
    over-reporting is the contrary. Only hours that the other witness covers are compared. Nothing is
    changed.

    \b
    ratecast reconcile --store bills.db --delivery delivery
    ratecast reconcile --boxes boxes
    ratecast reconcile --json | jq .verdicts.leakage
    ratecast reconcile --out apart.parquet --metrics /var/lib/node_exporter/ratecast.prom
    """
    from ingest.cdn.dataset import (
        delivered_hours,
        uncounted_requests,
        write_parquet,
        write_whole,
    )
    from rating.runtime import box_reconciliation, reconciliation
    from sinks.store import open_store

    if out_boxes is not None and not boxes:
        raise click.UsageError("--out-boxes says what boxes counted; give --boxes DIR as well")
    if out is not None and boxes and delivery is None:
        raise click.UsageError("--out says what was delivered; give --delivery DIR as well")
    if not boxes:
        delivery = delivery or Path(DELIVERY)
    delivered = None if delivery is None else delivered_hours(delivery)
    with open_store(store, create=False) as opened:
        seen = reconciliation.watched_hours(opened)
    tolerance = reconciliation.Tolerance(tolerance_s, tolerance_percent)
    said: dict[str, object] = {}
    texts, figures = [], ""
    if delivered is not None and delivery is not None:
        uncounted = uncounted_requests(delivery)
        found = reconciliation.reconcile(seen, delivered, tolerance, uncounted)
        said, figures = reconciliation.as_json(found), reconciliation.as_metrics(found)
        texts.append(reconciliation.as_text(found))
        if out is not None:
            write_parquet(found.hours, out)
    if boxes:
        counted = held_against_boxes(seen, boxes, tolerance)
        said |= {"boxes": box_reconciliation.as_json(counted)}
        figures += box_reconciliation.as_metrics(counted)
        texts.append(box_reconciliation.as_text(counted))
        if out_boxes is not None:
            write_parquet(counted.hours, out_boxes)
    if metrics is not None:
        write_whole(metrics, figures.encode())
    click.echo(json.dumps(said) if as_json else "\n\n".join(texts))


def held_against_boxes(
    seen: pl.DataFrame, folders: tuple[Path, ...], tolerance: Tolerance
) -> BoxReconciliation:
    """Watched time against the counters in the folders. Raises: EvidenceError."""
    import polars as pl

    from ingest.adapters.audience import counted_hours, covered_hours
    from ingest.gateway.box_counters import read_counters
    from rating.runtime.box_reconciliation import WATCHED, reconcile_boxes

    counters = pl.concat([read_counters(folder) for folder in folders])
    return reconcile_boxes(
        seen.select(WATCHED.names()), counted_hours(counters), covered_hours(counters), tolerance
    )
