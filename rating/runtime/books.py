"""The books that a run rates by: those given now, and those that the store was charged with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sinks.store import StoredBook
from tariffs.load import fingerprint, load_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinks.store import BillingStore
    from tariffs.model import Book


def books_in_force(books: Sequence[Book], store: BillingStore) -> tuple[Book, ...]:
    """The books given and those that charges were made with, kept in the store from now on.

    Raises: BookErrors, StoreError.
    """
    store.add_books(
        [
            StoredBook(
                book.id,
                book.effective_from_ms,
                book.currency,
                book.timezone,
                fingerprint(book),
                book.text,
            )
            for book in books
        ]
    )
    known = {book.id for book in books}
    kept = [
        (book.text, f"{store.url} (book {book.id})")
        for book in store.books()
        if book.id not in known
    ]
    return load_texts([*((book.text, book.source) for book in books), *kept], strict=False)
