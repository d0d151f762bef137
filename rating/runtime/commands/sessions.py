"""`ratecast sessions`: what is being watched, into the billing store's list of open sessions."""

from __future__ import annotations

import json

import click

from rating.runtime.commands.options import Number, json_option, store_option


@click.command()
@store_option
@click.option(
    "--every",
    type=Number(1, 86_400),
    metavar="SECONDS",
    envvar="RATECAST_SESSIONS_EVERY",
    show_envvar=True,
    help="Do it again every so often, until stopped; of several programs one does.",
)
@json_option
def sessions(store: str, every: float | None, as_json: bool) -> None:
    """Write what is being watched into the store's list of open sessions.

    A run over files writes that list when it ends. Workers do not, since it would cost them more
    than the charges do: this makes it from the state of their last commits, beside them. `ratecast
    export sessions` and the table `open_sessions` then have it.

    \b
    ratecast sessions --store postgresql://db/ratecast
    ratecast sessions --store postgresql://db/ratecast --every 60
    """
    from rating.runtime.figures import plural
    from rating.runtime.running_sessions import SessionsList
    from rating.runtime.stopping import set_by_signals
    from sinks.store import open_store

    def say(count: int) -> None:
        text = f"{plural(count, 'open session')}."
        click.echo(json.dumps({"sessions_open": count}) if as_json else text)

    open_store(store, create=False).close()  # a mistyped name must not make a new store
    with open_store(store) as opened, set_by_signals(every is not None) as stop:
        written = SessionsList(opened)
        if every is None:
            say(written.write())
        else:
            written.follow(every, say, stop)
