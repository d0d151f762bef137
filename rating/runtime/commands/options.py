"""Options that several commands share."""

from __future__ import annotations

from typing import Any

import click

DEFAULT_STORE = "ratecast.db"


def store_option(function: Any) -> Any:
    """`--store`, the billing store."""
    return click.option(
        "--store",
        metavar="URL",
        default=DEFAULT_STORE,
        show_default="ratecast.db in the current folder",
        envvar="RATECAST_STORE",
        show_envvar=True,
        help="The billing store: a file, sqlite:///path/to/file.db or postgresql://host/database.",
    )(function)


def json_option(function: Any) -> Any:
    """`--json`, for programs."""
    return click.option(
        "--json", "as_json", is_flag=True, help="JSON on standard output, for programs."
    )(function)
