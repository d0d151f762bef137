"""`ratecast rate`: usage logs in, charges in the store."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rating.runtime.commands.options import (
    accept_malformed_option,
    books_option,
    content_check,
    format_option,
    json_option,
    store_option,
)
from rating.runtime.failures import LAWLESS, UNCHARGED, UNREAD

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.adapters.doors import Door
    from ingest.files import UnreadableSource
    from rating.runtime.summary import RunSummary
    from rating.runtime.uncharged import Uncharged

BATCH_RECORDS = 200_000
BATCH_RECORDS_MAX = 10_000_000


@click.command()
@books_option
@store_option
@click.option(
    "--parquet",
    metavar="DIR",
    help="Also bring the Parquet files in DIR up to date with the store; with --follow, as it goes on.",
)
@click.option(
    "--close",
    is_flag=True,
    help="End open sessions where their evidence ends. Without it the next run goes on with them.",
)
@click.option(
    "--batch",
    type=click.IntRange(min=1, max=BATCH_RECORDS_MAX),
    default=BATCH_RECORDS,
    show_default=True,
    metavar="RECORDS",
    help="Usage records a transaction. Changes no charge.",
)
@click.option(
    "--follow",
    is_flag=True,
    help="Go on as the logs grow, such as a gateway's folder, until SIGINT or SIGTERM.",
)
@accept_malformed_option
@click.option(
    "--reused-names",
    is_flag=True,
    help="A log that begins differently from one of the same name that was rated before is another "
    "log. Otherwise it is left out, since it may be the same one, edited.",
)
@format_option
@json_option
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
def rate(
    books: tuple[str, ...],
    store: str,
    parquet: str | None,
    close: bool,
    batch: int,
    follow: bool,
    accept_malformed: bool,
    reused_names: bool,
    door: Door | None,
    as_json: bool,
    logs: tuple[str, ...],
) -> None:
    """Rate usage logs into the billing store.

    LOG is a file of JSON lines (plain, .gz or .zst), a folder of such files, or - for standard
    input. What was rated once is never rated again: after a crash, it goes on where the store is.

    \b
    ratecast rate --tariffs book.toml events.ndjson
    ratecast rate --tariffs 2025.toml --tariffs 2026.toml --store bills.db logs/
    zcat old.gz | ratecast rate --tariffs book.toml --close --json -
    ratecast rate --tariffs book.toml --follow usage/

    \b
    Exit codes: 0 done; 1 an error; 2 misused; 3 done, but a log was left out or not read to its end;
    4 a law of rating does not hold; 5 done, but most of a log was not charged.
    """
    from ingest.new_logs import NewLogs
    from rating.runtime.embedded import Following, rate_files
    from rating.runtime.progress import shown_progress
    from rating.runtime.stopping import set_by_signals
    from sinks.parquet import ParquetError, write_parquet
    from sinks.store import open_store
    from tariffs.load import load_books

    if follow:
        check_followed(logs)
    loaded = load_books(books, strict=False)
    with open_store(store) as opened:

        def bring_up_to_date() -> None:
            if parquet is not None:
                write_parquet(opened, parquet)

        def try_meanwhile() -> None:
            try:
                bring_up_to_date()
            except (ParquetError, OSError) as error:
                # Rating goes on: the files can be made from the store at any time.
                click.echo(f"Warning: {error}", err=True)

        with shown_progress("Rating") as progress, set_by_signals(follow) as stop:
            summary = rate_files(
                loaded,
                opened,
                logs,
                close=close,
                batch_records=batch,
                progress=progress,
                follow=Following(stop, warn, try_meanwhile) if follow else None,
                new_logs=NewLogs(
                    reused_names,
                    content_check(logs, progress, accept_malformed=accept_malformed, door=door),
                ),
                door=door,
            )
        bring_up_to_date()
    report(summary, as_json=as_json, is_warned_of=follow)


def report(summary: RunSummary, *, as_json: bool, is_warned_of: bool) -> None:
    """Say what a run came to. Raises: Exit where its exit code is not 0.

    is_warned_of: the logs that could not be read were named while it ran.
    """
    from rating.runtime.summary import as_json as summary_json
    from rating.runtime.summary import as_text

    click.echo(json.dumps(summary_json(summary)) if as_json else as_text(summary))
    for source in () if is_warned_of else summary.unreadable:
        warn(source)
    for each in summary.uncharged:
        warn(each)
    if code := exit_code(summary):
        raise click.exceptions.Exit(code)


def exit_code(summary: RunSummary) -> int:
    """What the run's exit code says of it."""
    if not summary.lawful:
        return LAWLESS
    if summary.unreadable:
        return UNREAD
    return UNCHARGED if any(each.is_telling for each in summary.uncharged) else 0


def check_followed(paths: Sequence[str]) -> None:
    """Say which paths are waited for: a mistyped name would never come. Raises: UsageError."""
    from pathlib import Path

    if "-" in paths:
        raise click.UsageError("--follow reads files and folders; standard input ends by itself")
    for path in paths:
        if not Path(path).exists():
            click.echo(f"Waiting for {path}, which is not there yet.", err=True)


def warn(what: UnreadableSource | Uncharged) -> None:
    """Say that a log cannot be read to its end, or was mostly not charged."""
    click.echo(f"Warning: {what}", err=True)
