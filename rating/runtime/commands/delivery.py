"""`ratecast delivery`: what a CDN delivered, from its logs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rating.runtime.commands.options import json_option
from rating.runtime.failures import UNREAD


@click.command()
@click.argument("logs", metavar="LOG...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--cdn",
    metavar="NAME",
    required=True,
    help="akamai-datastream2, bunny, cloudflare, cloudfront, cloudfront-realtime, cloudfront-v2, "
    "combined (nginx, Apache), fastly, or a mapping file of your own (.toml).",
)
@click.option(
    "--out",
    metavar="DIR",
    default="delivery",
    show_default=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The dataset of delivered media; Parquet, one folder a date.",
)
@json_option
def delivery(logs: tuple[Path, ...], cdn: str, out: Path, as_json: bool) -> None:
    """Read what a CDN delivered to each session from its logs.

    This is evidence: nothing is charged from it. `ratecast reconcile` holds it against what the
    players said was watched. Logs may be compressed (gzip, Zstandard), and given again: each counts
    once. Lines that are no requests are kept in DIR/_bad, with their file and line.

    \b
    ratecast delivery --cdn cloudfront logs/*.gz
    ratecast delivery --cdn my-cdn.toml access.log --out evidence

    Exit codes: 0 done; 1 an error; 3 done, but some lines could not be read.
    """
    from rating.runtime.evidence import as_text, take_logs

    taken = take_logs(logs, cdn, out)
    click.echo(json.dumps(taken) if as_json else as_text(taken))
    if taken["bad"]:
        raise click.exceptions.Exit(UNREAD)
