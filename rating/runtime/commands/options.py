"""Options that several commands share."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingest.adapters.doors import Door
    from rating.runtime.progress import Shown

DEFAULT_STORE = "ratecast.db"
PORT_MAX = 65_535
SEED_MAX = 2**64 - 1
HOUSEHOLDS_MAX = 9_999_999
HOURS_MAX = 366 * 24
RATE_MAX = 1_000_000_000
"""More records a second than any machine takes."""
PREFIX = re.compile(r"[A-Za-z0-9._-]{0,200}")


class Number(click.FloatRange):
    """A number between two bounds; "nan" lies between none."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number. Raises: BadParameter."""
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


def store_option(function: Any) -> Any:
    """`--store`, the billing store."""
    return click.option(
        "--store",
        metavar="URL",
        default=DEFAULT_STORE,
        show_default="ratecast.db in the current folder",
        envvar="RATECAST_STORE",
        show_envvar=True,
        callback=_from_file,
        help="The billing store: a file, sqlite:///path/to/file.db or postgresql://host/database. "
        "@FILE: what the file says.",
    )(function)


def _from_file(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Read a URL that begins with @ from a file, so that its password stands nowhere else."""
    del context, parameter
    if not value.startswith("@"):
        return value
    try:
        lines = Path(value[1:]).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"the file {value[1:]} cannot be read: {error}") from error
    if not lines or not lines[0].strip():
        raise click.BadParameter(
            f"the file {value[1:]} is empty; its first line is the store's URL"
        )
    return lines[0].strip()


def books_option(function: Any) -> Any:
    """`--tariffs`, the book's versions."""
    return click.option(
        "--tariffs",
        "books",
        metavar="BOOK",
        multiple=True,
        required=True,
        envvar="RATECAST_TARIFFS",
        show_envvar=True,
        help="A tariff book (TOML). Repeat it for every version that the log's time spans.",
    )(function)


def accept_malformed_option(function: Any) -> Any:
    """`--accept-malformed`, for what does not look like a usage log."""
    return click.option(
        "--accept-malformed",
        is_flag=True,
        help="Take also a log whose first lines are nearly all malformed. Otherwise it is asked "
        "about on a terminal, and left out anywhere else.",
    )(function)


def content_check(
    logs: Sequence[str], shown: Shown, *, accept_malformed: bool, door: Door | None
) -> Callable[[str, bytes], str] | None:
    """What says of a new log's first lines why they are no usage log's; it asks where it can.

    shown: is paused for the question. door: how the lines are understood.
    """
    from rating.runtime.first_batch import why_no_usage_log

    if accept_malformed:
        return None
    is_asking = "-" not in logs and sys.stdin.isatty() and sys.stderr.isatty()

    def why_no_log(name: str, lines: bytes) -> str:
        why = why_no_usage_log(lines, door)
        if not why or not is_asking:
            return why
        with shown.paused():
            is_taken = click.confirm(f"{name}: {why}. Take it all the same?", err=True)
        return "" if is_taken else why

    return why_no_log


def topic_option(said: str) -> Callable[[Any], Any]:
    """`--topic`, where usage records are; said: what the command does with it."""
    return click.option(
        "--topic",
        metavar="NAME",
        default="usage",
        show_default=True,
        envvar="RATECAST_TOPIC",
        show_envvar=True,
        help=said,
    )


def format_option(function: Any) -> Any:
    """`--format`, what the records are written in; the command is given a door for it."""
    return click.option(
        "--format",
        "door",
        metavar="FORMAT",
        default="usage",
        show_default=True,
        callback=_door,
        envvar="RATECAST_FORMAT",
        show_envvar=True,
        help="What is read: usage records, cloudevents (JSON), or JSON of your own by a mapping file "
        "(.toml).",
    )(function)


def _door(context: click.Context, parameter: click.Parameter, value: str) -> Door | None:
    """How records of a format are understood. Raises: BadParameter, MappingError."""
    del context, parameter
    if value == "usage":
        return None
    from ingest.adapters.doors import UnknownFormat, door_of

    try:
        return door_of(value)
    except UnknownFormat as error:
        raise click.BadParameter(str(error)) from error
    except OSError as error:
        raise click.BadParameter(f"{value}: {error.strerror}") from error


def evening_options(households: int, seed_said: str) -> Callable[[Any], Any]:
    """`--households`, `--hours` and `--seed` of the simulator; households: how many by default."""

    def add(function: Any) -> Any:
        for option in (
            click.option(
                "--seed",
                type=click.IntRange(0, SEED_MAX),
                default=1,
                show_default=True,
                help=seed_said,
            ),
            click.option(
                "--hours",
                type=Number(0, HOURS_MAX, min_open=True),
                default=5.0,
                show_default=True,
                help="How long; 5 is a whole evening.",
            ),
            click.option(
                "--households",
                type=click.IntRange(1, HOUSEHOLDS_MAX),
                default=households,
                show_default=True,
                help="How many accounts.",
            ),
        ):
            function = option(function)
        return function

    return add


def json_option(function: Any) -> Any:
    """`--json`, for programs."""
    return click.option(
        "--json", "as_json", is_flag=True, help="JSON on standard output, for programs."
    )(function)


def kafka_options(*, required: bool) -> Callable[[Any], Any]:
    """`--kafka` and `--kafka-config`: where Kafka is, and how to get in."""

    def add(function: Any) -> Any:
        config = click.option(
            "--kafka-config",
            metavar="FILE",
            envvar="RATECAST_KAFKA_CONFIG",
            show_envvar=True,
            help="TOML with what a secured Kafka asks for: TLS, SASL (docs/production.md).",
        )
        addresses = click.option(
            "--kafka",
            metavar="HOST:PORT",
            required=required,
            envvar="RATECAST_KAFKA",
            show_envvar=True,
            help="A Kafka broker; several with a comma between them.",
        )
        return addresses(config(function))

    return add


def prefix_option(function: Any) -> Any:
    """`--prefix`, before the names of the topics published to."""
    return click.option(
        "--prefix",
        metavar="TEXT",
        default="",
        callback=_prefix,
        envvar="RATECAST_PREFIX",
        show_envvar=True,
        help="Put this before charges, signals and suspense, where operators share one Kafka.",
    )(function)


def _prefix(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """Check a prefix. Raises: BadParameter."""
    del context, parameter
    if not PREFIX.fullmatch(value):
        raise click.BadParameter("a prefix has letters, digits, '.', '_' and '-' only")
    return value


def metrics_option(function: Any) -> Any:
    """`--metrics`, where Prometheus and Kubernetes ask how the process is."""
    return click.option(
        "--metrics",
        metavar="HOST:PORT",
        callback=address,
        envvar="RATECAST_METRICS",
        show_envvar=True,
        help="Answer /metrics, /healthz and /readyz there, such as 0.0.0.0:9464.",
    )(function)


def address(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    """Part an address. Raises: BadParameter."""
    del context, parameter
    if value is None:
        return None
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > PORT_MAX:
        raise click.BadParameter(f"{value!r} is no address; write HOST:PORT, such as 0.0.0.0:9464")
    return host.strip("[]"), int(port)
