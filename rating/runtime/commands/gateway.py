"""`ratecast gateway`: takes reports over HTTP into the usage log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rating.runtime.commands.options import RATE_MAX, Number, address, kafka_options, topic_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ingest.adapters.mapped_json import JsonMapping
    from ingest.gateway.boxes import BoxFolder
    from ingest.gateway.group_commit import UsageLog
    from ingest.gateway.intake import Intake, Options
    from ingest.gateway.metrics import Metrics
    from ingest.gateway.server import Part
    from rating.runtime.kafka_access import KafkaAccess

COMMAND_LINE = click.core.ParameterSource.COMMANDLINE


@click.command()
@click.option("--log", "folder", metavar="DIR", help="Write the log into this folder.")
@kafka_options(required=False)
@click.option("--unpacked", is_flag=True, hidden=True, help="One record a message; for benchmarks.")
@topic_option("The topic of the usage log.")
@click.option(
    "--keys",
    metavar="FILE",
    required=True,
    help="Who may send; made by `ratecast keys`, read again whenever it changes.",
)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    callback=address,
    default="127.0.0.1:8080",
    show_default=True,
    help="Where to listen; port 0 takes a free one.",
)
@click.option(
    "--proxy",
    "proxies",
    metavar="ADDRESS",
    multiple=True,
    default=("127.0.0.1",),
    show_default=True,
    help="A proxy whose X-Forwarded-For is believed.",
)
@click.option(
    "--origin",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    default=("*",),
    show_default=True,
    help="A web page whose players may send.",
)
@click.option(
    "--account-limit",
    type=Number(0, RATE_MAX, min_open=True),
    default=20.0,
    show_default=True,
    help="Records a second from one account's players.",
)
@click.option(
    "--key-limit",
    type=Number(0, RATE_MAX, min_open=True),
    default=50_000.0,
    show_default=True,
    help="Records a second by one API key that has no limit of its own.",
)
@click.option(
    "--unbound",
    type=click.Choice(["keep", "refuse"]),
    default="keep",
    show_default=True,
    help="What becomes of reports that nothing binds to an account: kept in suspense, or refused.",
)
@click.option(
    "--body-max",
    type=click.IntRange(1024, 64 * 2**20),
    default=8 * 2**20,
    show_default=True,
    metavar="BYTES",
    help="A larger body is refused, also once it is expanded.",
)
@click.option(
    "--memory-max",
    type=click.IntRange(2**20, 2**40),
    default=256 * 2**20,
    show_default=True,
    metavar="BYTES",
    help="Bodies in flight at once; more is answered 429.",
)
@click.option(
    "--requests-max",
    type=click.IntRange(1, 1_000_000),
    default=2000,
    show_default=True,
    help="Requests in flight at once; more is answered 429.",
)
@click.option(
    "--connections-max",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    help="Connections at once; more is answered 429 and closed.",
)
@click.option(
    "--address-connections",
    type=click.IntRange(1, 1_000_000),
    default=200,
    show_default=True,
    help="Connections at once from one address that is no --proxy.",
)
@click.option(
    "--token-grace",
    type=click.IntRange(0, 35 * 24 * 3600),
    default=24 * 3600,
    show_default=True,
    metavar="SECONDS",
    help="How long after a token's end reports of what happened before it are still taken.",
)
@click.option(
    "--segment",
    type=click.IntRange(1, 2**40),
    default=256 * 2**20,
    show_default=True,
    metavar="BYTES",
    help="After so many bytes the folder's next segment begins.",
)
@click.option(
    "--kind", help="The kind of what a player plays, where neither it nor its token says."
)
@click.option(
    "--ladder",
    metavar="KBPS=WORD,...",
    help="Words of quality by bitrate, such as 0=sd,2500=hd,12000=uhd.",
)
@click.option(
    "--boxes",
    metavar="DIR",
    help="Take bulk data of set-top boxes, and keep here what they have said.",
)
@click.option(
    "--box-events",
    metavar="FILE",
    help="What the entries of the boxes' event logs mean: a mapping file.",
)
@click.option(
    "--mapping",
    "mappings",
    metavar="FILE",
    multiple=True,
    help="How a back end's own JSON is, which it sends to /v1/events?mapping=ID; may be repeated.",
)
@click.option("--access-log", is_flag=True, help="A line for each request, without its secrets.")
def gateway(
    folder: str | None,
    kafka: str | None,
    kafka_config: str | None,
    topic: str,
    keys: str,
    listen: tuple[str, int],
    proxies: tuple[str, ...],
    segment: int,
    boxes: str | None,
    box_events: str | None,
    **asked: Any,
) -> None:
    """Take what players, boxes and back ends send, over HTTP, into the usage log.

    A request is answered with success once the log has it: a folder on this machine that
    `ratecast rate --follow` reads, or Kafka. TLS belongs to the proxy in front; docs/gateway.md
    says how.

    \b
    ratecast gateway --log usage --keys keys.json
    ratecast gateway --kafka 127.0.0.1:9092 --keys keys.json --listen 0.0.0.0:8080

    SIGTERM stops it: what was taken is answered first.
    """
    import logging
    import sys
    from pathlib import Path

    from ingest.gateway.app import build_app
    from ingest.gateway.connections import Connections
    from ingest.gateway.intake import Intake
    from ingest.gateway.keys import KeyRing
    from ingest.gateway.metrics import Metrics
    from ingest.gateway.sender_names import FORMAT, WithSender
    from ingest.gateway.server import serve
    from ingest.gateway.viewing import compile_readers
    from rating.runtime.kafka_reach import reached

    if folder and click.get_current_context().get_parameter_source("kafka") is COMMAND_LINE:
        raise click.UsageError("give --log DIR or --kafka HOST:PORT, one of them")
    # A folder that is named goes before a broker that only the environment names.
    access = reached(kafka, kafka_config) if kafka and not folder else None
    host, port = listen
    says = logging.StreamHandler(sys.stderr)
    says.addFilter(WithSender())
    logging.basicConfig(handlers=[says], level=logging.INFO, format=FORMAT)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # what matters of it we say ourselves
    metrics = Metrics()
    log = chosen_log(folder, access, topic, segment, metrics, is_packed=not asked["unpacked"])
    box_folder, events = boxes_of(boxes, box_events)
    compile_readers()
    intake = Intake(log, KeyRing(Path(keys)), options_of(asked), metrics)
    where = folder if folder is not None else f"{kafka}, topic {topic}"
    serve(
        build_app(intake, box_folder, events),
        parts_of(intake, box_folder),
        host,
        port,
        said=lambda url: click.echo(f"Listening on {url}; the log is {where}.", err=True),
        connections=Connections(
            metrics, asked["connections_max"], asked["address_connections"], proxies
        ),
    )
    click.echo("Stopped; what was taken is in the log.", err=True)


def boxes_of(folder: str | None, events: str | None) -> tuple[BoxFolder | None, JsonMapping | None]:
    """What is kept of boxes, and what their events mean.

    Raises: UsageError, MappingError, BoxMemoryError, OSError.
    """
    from pathlib import Path

    if folder is None:
        if events is not None:
            raise click.UsageError("--box-events says what boxes mean; give --boxes DIR as well")
        return None, None
    from ingest.adapters.mapped_json import open_json_mapping
    from ingest.gateway.boxes import BoxFolder

    mapping = None if events is None else open_json_mapping(Path(events))
    return BoxFolder(Path(folder)), mapping


def parts_of(intake: Intake, box_folder: BoxFolder | None) -> list[Part]:
    """What is open while the gateway serves, in this order."""
    from ingest.gateway.loop_steps import LoopSteps
    from ingest.gateway.recall import Recall

    boxes = [] if box_folder is None else [box_folder]
    memory = None if box_folder is None else box_folder.memory
    recall = Recall(intake.log, intake.traces, intake.repeats, memory)
    return [intake.log, *boxes, recall, LoopSteps(intake.metrics)]


def options_of(asked: Mapping[str, Any]) -> Options:
    """What the operator has set. Raises: UsageError."""
    from ingest.adapters.cmcd import Options as CmcdOptions
    from ingest.gateway.intake import Options
    from ingest.gateway.limits import Limit

    key_limit, account_limit = asked["key_limit"], asked["account_limit"]
    return Options(
        body_bytes_max=asked["body_max"],
        requests_max=asked["requests_max"],
        bytes_max=asked["memory_max"],
        key_limit=Limit(key_limit, 4 * key_limit),
        account_limit=Limit(account_limit, 100 * account_limit),
        takes_anonymous=asked["unbound"] == "keep",
        origins=asked["origins"],
        access_log=asked["access_log"],
        cmcd=CmcdOptions(rungs(asked["ladder"] or ""), asked["kind"]),
        mappings=mappings_of(asked["mappings"]),
        token_grace_s=asked["token_grace"],
    )


def mappings_of(files: Sequence[str]) -> dict[str, JsonMapping]:
    """The mappings in some files, by their ids. Raises: UsageError, MappingError, OSError."""
    from pathlib import Path

    from ingest.adapters.mapped_json import open_json_mapping

    found: dict[str, JsonMapping] = {}
    for file in files:
        mapping = open_json_mapping(Path(file))
        if mapping.id in found:
            raise click.UsageError(f"--mapping {file}: another one has the id {mapping.id!r}, too")
        found[mapping.id] = mapping
    return found


def chosen_log(
    folder: str | None,
    access: KafkaAccess | None,
    topic: str,
    segment_bytes: int,
    metrics: Metrics,
    *,
    is_packed: bool,
) -> UsageLog:
    """The log that is written. Raises: UsageError where none is named; KafkaAccessError."""
    from pathlib import Path

    if folder is not None:
        from ingest.gateway.folder_log import FolderLog

        return FolderLog(
            Path(folder), segment_bytes_max=segment_bytes, on_group=metrics.count_group
        )
    if access is not None:
        from ingest.gateway.kafka_log import KafkaLog

        return KafkaLog(
            access.client_options(), topic, is_packed=is_packed, on_group=metrics.count_group
        )
    raise click.UsageError("give --log DIR or --kafka HOST:PORT")


def rungs(ladder: str) -> tuple[tuple[int, str], ...]:
    """The rungs of a ladder, ascending. Raises: UsageError."""
    found = []
    for rung in filter(None, ladder.split(",")):
        kbps, equals, word = rung.partition("=")
        if not kbps.isdigit() or not equals or not word:
            raise click.UsageError(f"--ladder {rung}: give KBPS=WORD, such as 2500=hd")
        found.append((int(kbps), word))
    return tuple(sorted(found))
