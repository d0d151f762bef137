"""`ratecast tariffs`: books checked and shown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from rating.runtime.commands.options import json_option
from rating.runtime.failures import FAILED

if TYPE_CHECKING:
    from tariffs.errors import Mistake
    from tariffs.model import Book

    Proof = tuple[int, list[list[Mistake]]]  # how many examples, and where some do not hold


@click.group()
def tariffs() -> None:
    """Check and show tariff books.

    docs/tariff-books.md is the manual of their format.
    """


@tariffs.command()
@json_option
@click.argument("books", metavar="BOOK...", nargs=-1, required=True)
def check(books: tuple[str, ...], as_json: bool) -> None:
    """Check books, rate their examples, and say every mistake at once.

    Several books are also checked together, as `ratecast rate` would take them; what a later one
    lost of the one before is a warning.

    \b
    ratecast tariffs check book.toml
    ratecast tariffs check 2025.toml 2026.toml --json

    Exit codes: 0 no mistakes, and every example holds; 1 mistakes, one a line on standard error
    (with --json: on standard output). Warnings change no exit code.
    """
    from rating.runtime.proofs import failed_examples
    from tariffs.compare import warnings
    from tariffs.load import BookErrors, load_books

    try:
        loaded = load_books(books)
    except BookErrors as errors:
        if as_json:
            found = {"books": [], "mistakes": errors.as_json(), "warnings": []}
            click.echo(json.dumps(found))
        else:
            click.echo(str(errors), err=True)
        raise click.exceptions.Exit(FAILED) from errors
    proofs = [failed_examples(book) for book in loaded]
    mistakes = [mistake for _, failed in proofs for example in failed for mistake in example]
    warned = warnings(loaded)
    if as_json:
        found = {
            "books": [_book_json(*each) for each in zip(loaded, proofs, strict=True)],
            "mistakes": [mistake.as_json() for mistake in mistakes],
            "warnings": [warning.as_json() for warning in warned],
        }
        click.echo(json.dumps(found))
    else:
        for book, proof in zip(loaded, proofs, strict=True):
            click.echo(_book_line(book, proof))
        for warning in warned:
            click.echo(f"Warning: {warning}", err=True)
        for mistake in mistakes:
            click.echo(str(mistake), err=True)
    if mistakes:
        raise click.exceptions.Exit(FAILED)


def _book_json(book: Book, proof: Proof) -> dict[str, str | int]:
    """For a program."""
    from tariffs.load import fingerprint

    examples, failed = proof
    return {
        "file": book.source,
        "id": book.id,
        "fingerprint": fingerprint(book),
        "examples": examples,
        "examples_held": examples - len(failed),
    }


def _book_line(book: Book, proof: Proof) -> str:
    """For a person."""
    from rating.runtime.figures import plural

    examples, failed = proof
    rules = sum(len(plan.rules) for plan in book.plans)
    held = f"; examples: {examples - len(failed)} of {examples} hold" if examples else ""
    return (
        f"{book.source}: {book.id} is {'not ' if failed else ''}sound "
        f"({plural(len(book.plans), 'plan')}, {plural(rules, 'rule')}, "
        f"{plural(len(book.offers), 'offer')}, {book.currency}){held}"
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
