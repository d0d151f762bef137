"""`ratecast export`: what the store holds, for other programs and for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import click

from rating.runtime.commands.options import store_option

if TYPE_CHECKING:
    from sinks.export import Selection
    from sinks.readable import Reader
    from sinks.store import BillingStore

WHAT = ("charges", "suspense", "signals", "balances", "orders", "sessions")


@click.command()
@click.argument("what", type=click.Choice(WHAT))
@store_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["ndjson", "csv"]),
    default="ndjson",
    show_default=True,
    help="JSON lines, or CSV with a header.",
)
@click.option(
    "--out",
    metavar="FILE",
    default="-",
    show_default="standard output",
    help="Where to; the file appears only when it is whole. .gz and .zst are compressed.",
)
@click.option("--account", metavar="ID", help="Of this account only.")
@click.option(
    "--from",
    "from_text",
    metavar="TIME",
    help="What started then or later: 2026-03-01 (a date of the book), or 2026-03-01T18:00:00Z.",
)
@click.option("--to", "to_text", metavar="TIME", help="What started before then.")
@click.option("--rule", metavar="ID", help="Charges of this rule only, such as package:basic.")
@click.option(
    "--readable",
    is_flag=True,
    help="Money as decimals and times as local ones, for people.",
)
@click.option(
    "--spreadsheet",
    is_flag=True,
    help="With csv: put ' before texts that a spreadsheet would calculate.",
)
def export(
    what: str,
    store: str,
    form: str,
    out: str,
    account: str | None,
    from_text: str | None,
    to_text: str | None,
    rule: str | None,
    readable: bool,
    spreadsheet: bool,
) -> None:
    """Write charges, suspense, signals, balances, orders or open sessions.

    Money is in micro-units (1.50 is 1500000) and time in UTC milliseconds, so that nothing is
    rounded. Charges come in the order in which they were committed. JSON lines hold every text as
    it is; in CSV control characters are written as \\n or \\x1b.

    \b
    ratecast export charges --format csv --out charges.csv
    ratecast export charges --account anna --from 2026-03-01 --to 2026-04-01 --readable
    ratecast export suspense | jq -r .reason | sort | uniq -c
    ratecast export balances --store bills.db --out balances.ndjson.zst
    """
    from rating.runtime.outputs import opened_output
    from sinks.export import Style
    from sinks.export import export as write
    from sinks.store import open_store

    if spreadsheet and form != "csv":
        raise click.UsageError("--spreadsheet is about CSV; add --format csv")
    if rule is not None and what != "charges":
        raise click.UsageError(f"--rule is about charges; {what} have none")
    if what == "balances" and (from_text or to_text):
        raise click.UsageError("balances are those of now; leave --from and --to out")
    with open_store(store, create=False) as opened:
        reader = _reader(opened) if readable else None
        style = Style(cast("Any", form), reader, formulas=not spreadsheet)
        selection = _selection(opened, account, from_text, to_text, rule)
        with opened_output(out) as stream:
            write(opened, cast("Any", what), style, stream, selection)


def _reader(store: BillingStore) -> Reader:
    """By which the rows of a store are made readable."""
    from sinks.readable import Reader
    from tariffs.currencies import decimals_of

    books = store.books()
    return Reader(books, {book.currency: decimals_of(book.currency) for book in books})


def _selection(
    store: BillingStore,
    account: str | None,
    from_text: str | None,
    to_text: str | None,
    rule: str | None,
) -> Selection:
    """Read which rows are wanted; dates are those of the store's last book. Raises: BadParameter."""
    from rating.runtime.instants import instant_ms
    from sinks.export import Selection

    books = store.books() if from_text or to_text else []
    zone = books[-1].timezone if books else "UTC"
    spans = []
    for option, text in (("--from", from_text), ("--to", to_text)):
        try:
            spans.append(None if text is None else instant_ms(text, zone))
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint=option) from error
    return Selection(account, spans[0], spans[1], rule)
