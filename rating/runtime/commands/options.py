"""Options that several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_STORE = "ratecast.db"
PORT_MAX = 65_535


def store_option(function: Any) -> Any:
    """`--store`, the billing store."""
    return click.option(
        "--store",
        metavar="URL",
        default=DEFAULT_STORE,
        show_default="ratecast.db in the current folder",
        envvar="RATECAST_STORE",
        show_envvar=True,
        help="The billing store: a file, or sqlite:///path/to/file.db.",
    )(function)


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


def metrics_option(function: Any) -> Any:
    """`--metrics`, where Prometheus and Kubernetes ask how the process is."""
    return click.option(
        "--metrics",
        metavar="HOST:PORT",
        callback=_address,
        envvar="RATECAST_METRICS",
        show_envvar=True,
        help="Answer /metrics, /healthz and /readyz there, such as 0.0.0.0:9464.",
    )(function)


def _address(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> tuple[str, int] | None:
    """Part an address. Raises: BadParameter."""
    del context, parameter
    if value is None:
        return None
    host, _, port = value.rpartition(":")
    if not port.isdecimal() or int(port) > PORT_MAX:
        raise click.BadParameter(f"{value!r} is no address; write HOST:PORT, such as 0.0.0.0:9464")
    return host, int(port)
