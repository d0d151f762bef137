"""`ratecast verify`: whether a store still holds what its commits stored."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rating.runtime.commands.options import json_option, store_option
from rating.runtime.failures import FAILED


@click.command()
@store_option
@click.option(
    "--from",
    "kept",
    metavar="HEAD|@FILE",
    multiple=True,
    help="A head that was kept elsewhere, as this command prints it; @FILE has one a line. It must "
    "still be in the chain, and charges up to it are not read again.",
)
@click.argument("logs", metavar="[LOG]...", nargs=-1)
@json_option
def verify(store: str, kept: tuple[str, ...], logs: tuple[str, ...], as_json: bool) -> None:
    """Check that nothing in the billing store was changed since it was committed.

    Walks the store's hash chain and reads everything that it vouches for. Of each LOG, a file or a
    folder, it checks that what was rated of it is still there. At the end it prints the heads of the
    chain: keep them where nobody who can write to the store can write, and give them to --from next
    time. Without them, whoever can write everything may have written another chain as well.

    \b
    ratecast verify --store bills.db > heads.txt
    ratecast verify --store bills.db --from @heads.txt
    ratecast verify --store bills.db /var/lib/ratecast/log

    Exit codes: 0 all is as it was committed; 1 something is not, or an error.
    """
    from rating.runtime.verified_logs import changed_logs
    from sinks.store import open_store
    from sinks.verification import read_heads
    from sinks.verification import verify as walk

    try:
        heads = read_heads([text for each in kept for text in _texts(each)])
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--from") from error
    with open_store(store, create=False) as opened:
        found = walk(opened, heads)
        same_logs, changed = changed_logs(opened, logs) if logs else (0, [])
    wrong = [*found.findings, *changed]
    if as_json:
        click.echo(
            json.dumps(
                {
                    "heads": [str(head) for head in found.heads],
                    "links": found.links,
                    "rows": found.rows,
                    "older_rows": found.older,
                    "logs": same_logs,
                    "findings": wrong,
                }
            )
        )
    else:
        for sentence in wrong:
            click.echo(sentence, err=True)
        older = f", {found.older:,} older rows were not read" if found.older else ""
        logs_said = f" and {same_logs:,} logs" if logs else ""
        checked = f"{found.links:,} links, {found.rows:,} rows{logs_said} were checked{older}"
        verdict = f"not as committed: {len(wrong):,}" if wrong else "all is as it was committed"
        click.echo(f"{checked}: {verdict}", err=True)
        for head in found.heads:
            click.echo(str(head))
    if wrong:
        raise click.exceptions.Exit(FAILED)


def _texts(given: str) -> list[str]:
    """The heads that an option names: itself, or the lines of a file."""
    if not given.startswith("@"):
        return [given]
    return Path(given[1:]).read_text(encoding="utf-8").split()
