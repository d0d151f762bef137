"""`ratecast produce`: a usage log from files to Kafka's topic."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rating.runtime.commands.options import (
    accept_malformed_option,
    content_check,
    format_option,
    json_option,
    kafka_options,
    topic_option,
)
from rating.runtime.failures import UNREAD

if TYPE_CHECKING:
    from ingest.adapters.doors import Door

MESSAGE_RECORDS = 500
MESSAGE_RECORDS_MAX = 100_000
PER_SECOND_MAX = 100_000_000


@click.command()
@kafka_options(required=True)
@topic_option("The topic to send to.")
@click.option(
    "--pack",
    type=click.IntRange(min=1, max=MESSAGE_RECORDS_MAX),
    default=MESSAGE_RECORDS,
    show_default=True,
    metavar="RECORDS",
    help="Most usage records a message; 1 sends each alone. Changes no charge.",
)
@click.option(
    "--per-second",
    type=click.IntRange(min=1, max=PER_SECOND_MAX),
    metavar="RECORDS",
    help="Send no more than so many records a second.",
)
@accept_malformed_option
@format_option
@json_option
@click.argument("logs", metavar="LOG...", nargs=-1, required=True)
def produce(
    kafka: str,
    kafka_config: str | None,
    topic: str,
    pack: int,
    per_second: int | None,
    accept_malformed: bool,
    door: Door | None,
    as_json: bool,
    logs: tuple[str, ...],
) -> None:
    """Send usage logs to Kafka, as a gateway would.

    LOG is a file of JSON lines (plain, .gz or .zst), a folder of such files, or - for standard
    input. A record goes to the partition of its account, in the log's order, many in a message. It
    sends everything each time: given twice, a log is sent twice.

    \b
    ratecast produce --kafka localhost:9092 evening.ndjson.zst
    ratecast simulate --hours 24 | ratecast produce --kafka localhost:9092 --per-second 5000 -

    Exit codes: 0 done; 1 an error; 2 misused; 3 done, but a log was left out or not read to its end.
    """
    import asyncio

    from ingest.files import read_chunks
    from ingest.new_logs import NewLogs
    from rating.runtime.figures import plural
    from rating.runtime.kafka_reach import reached
    from rating.runtime.log_lines import leave_it_to_the_error
    from rating.runtime.producing import CHUNK_RECORDS, produce_log
    from rating.runtime.progress import shown_progress
    from rating.runtime.summary import said_passed_over

    leave_it_to_the_error()
    access = reached(kafka, kafka_config)
    with shown_progress("Sending") as progress:
        check = content_check(logs, progress, accept_malformed=accept_malformed, door=door)
        reader = read_chunks(
            logs,
            records_max=min(CHUNK_RECORDS, per_second or CHUNK_RECORDS),
            new_logs=NewLogs(reused_names=True, why_no_log=check),
        )
        sent = asyncio.run(
            produce_log(
                reader, access, topic, pack, per_second=per_second, progress=progress, door=door
            )
        )
    click.echo(
        json.dumps({"records": sent.records, "messages": sent.messages})
        if as_json
        else f"Sent {plural(sent.records, 'record')} in {plural(sent.messages, 'message')} to {topic}."
    )
    if reader.passed_over:
        click.echo(said_passed_over(reader.passed_over), err=True)
    for source in reader.unreadable:
        click.echo(f"Warning: {source}", err=True)
    if reader.unreadable:
        raise click.exceptions.Exit(UNREAD)
