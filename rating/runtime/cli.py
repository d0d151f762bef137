"""The command `ratecast`: what it offers, and how it fails.

Commands import what they need when they run, so that `ratecast --help` is quick.
"""

from __future__ import annotations

from typing import Any

import click

from rating.runtime.commands.delivery import delivery
from rating.runtime.commands.demo import demo
from rating.runtime.commands.explain import explain
from rating.runtime.commands.export import export
from rating.runtime.commands.gateway import gateway
from rating.runtime.commands.keys import keys
from rating.runtime.commands.prepare import prepare
from rating.runtime.commands.produce import produce
from rating.runtime.commands.publish import publish
from rating.runtime.commands.rate import rate
from rating.runtime.commands.reconcile import reconcile
from rating.runtime.commands.sessions import sessions
from rating.runtime.commands.simulate import simulate
from rating.runtime.commands.status import status
from rating.runtime.commands.tariffs import tariffs
from rating.runtime.commands.topics import topics
from rating.runtime.commands.verify import verify
from rating.runtime.commands.worker import worker
from rating.runtime.failures import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    LAWLESS,
    is_law_broken,
    nobody_reads,
    sentence,
)
from tariffs.errors import printable


class Ratecast(click.Group):
    """The commands in the order of a day's work, and errors in one sentence.

    An error that is the user's to mend ends as a sentence on standard error; any other one is a
    bug and keeps its traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The order they were added in."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Raises: Exit or ClickException where it failed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo(
                "Interrupted. What was committed is kept; the same command goes on from there.",
                err=True,
            )
            raise click.exceptions.Exit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if nobody_reads(error):
                raise click.exceptions.Exit(BROKEN_PIPE) from None
            said = sentence(error)
            if said is None:
                raise
            click.echo("\n".join(map(printable, f"Error: {said}".split("\n"))), err=True)
            raise click.exceptions.Exit(LAWLESS if is_law_broken(error) else FAILED) from error


@click.group(
    cls=Ratecast,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="ratecast", message="ratecast %(version)s")
def main() -> None:
    """Rates television: viewing events in, exact charges out.

    A tariff book (TOML) says what things cost, a usage log (JSON lines) says what was watched and
    ordered. Ratecast turns both into charges in a billing store, and can show how each came about.

    \b
    See it work:          ratecast demo
    Check a book:         ratecast tariffs check book.toml
    Rate a log:           ratecast rate --tariffs book.toml events.ndjson
    Look at the result:   ratecast status
    Take the charges on:  ratecast export charges --format csv --out charges.csv

    \b
    Exit codes: 0 done; 1 an error, said in one sentence; 2 the command was misused;
    3 done, but some input could not be read; 4 a law of rating does not hold;
    5 done, but most of a log was not charged.

    \b
    Tab completion, for bash (zsh and fish likewise):
    eval "$(_RATECAST_COMPLETE=bash_source ratecast)"
    """


for command in (
    demo,
    rate,
    worker,
    publish,
    produce,
    topics,
    gateway,
    keys,
    status,
    verify,
    explain,
    export,
    sessions,
    delivery,
    reconcile,
    tariffs,
    simulate,
    prepare,
):
    main.add_command(command)
