"""`ratecast tariffs`: books checked and shown."""

from __future__ import annotations

import json

import click

from rating.runtime.commands.options import json_option
from rating.runtime.failures import FAILED


@click.group()
def tariffs() -> None:
    """Check and show tariff books.

    docs/tariff-books.md is the manual of their format.
    """


@tariffs.command()
@json_option
@click.argument("books", metavar="BOOK...", nargs=-1, required=True)
def check(books: tuple[str, ...], as_json: bool) -> None:
    """Check books, and say every mistake at once.

    Several books are also checked together, as `ratecast rate` would take them.

    \b
    ratecast tariffs check book.toml
    ratecast tariffs check 2025.toml 2026.toml --json

    Exit codes: 0 no mistakes; 1 mistakes, one a line on standard error (with --json: on standard
    output).
    """
    from rating.runtime.figures import plural
    from tariffs.load import BookErrors, fingerprint, load_books

    try:
        loaded = load_books(books)
    except BookErrors as errors:
        if as_json:
            click.echo(json.dumps({"books": [], "mistakes": errors.as_json()}))
        else:
            click.echo(str(errors), err=True)
        raise click.exceptions.Exit(FAILED) from errors
    if as_json:
        sound = [
            {"file": book.source, "id": book.id, "fingerprint": fingerprint(book)}
            for book in loaded
        ]
        click.echo(json.dumps({"books": sound, "mistakes": []}))
        return
    for book in loaded:
        rules = sum(len(plan.rules) for plan in book.plans)
        click.echo(
            f"{book.source}: {book.id} is sound ({plural(len(book.plans), 'plan')}, "
            f"{plural(rules, 'rule')}, {plural(len(book.offers), 'offer')}, {book.currency})"
        )


@tariffs.command()
@click.argument("book")
def show(book: str) -> None:
    """Show a book as a price list that a person can read.

    \b
    ratecast tariffs show book.toml
    """
    from tariffs.load import load_books
    from tariffs.show import show as price_list

    (loaded,) = load_books([book])
    click.echo(price_list(loaded))
