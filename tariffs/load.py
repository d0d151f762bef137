"""Loading tariff books: every book whole and checked, or every mistake of all of them at once.

Source: spec section 3.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import tomllib
from datetime import date
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tariffs.errors import BookErrors, Mistake, quote
from tariffs.examples import read_examples
from tariffs.model import EVER_MS, Book, Plan, Price
from tariffs.read_book import read_book
from tariffs.reading import Page, Table
from tariffs.toml_lines import lines_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BookErrors", "Mistake", "fingerprint", "load_books", "load_text"]

KEY_PARTS_MAX = 64  # Reading a dotted key takes the square of its parts.
BOOK_BYTES_MAX = 64 * 1024 * 1024
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{KEY_PARTS_MAX}}}")
_AT_LINE = re.compile(r" \(at line (\d+), column \d+\)$")


def load_books(paths: Sequence[str | Path], *, strict: bool = True) -> tuple[Book, ...]:
    """Load books from files, ascending by effective_from.

    strict: a rule that no piece can ever reach is a mistake too. It can be rated by, so that a
    rating run is not the place to refuse it.
    Raises: BookErrors with every mistake of every file, and where books contradict each other.
    """
    if not paths:
        raise BookErrors([Mistake("", 1, "", "no tariff book was given", "name at least one file")])
    return _together([_read_file(path) for path in paths], strict)


def load_texts(texts: Sequence[tuple[str, str]], *, strict: bool = True) -> tuple[Book, ...]:
    """Load books from (text, source) as `load_books` does from files."""
    return _together([_read(text, source) for text, source in texts], strict)


def load_text(text: str, source: str = "", *, strict: bool = True) -> Book:
    """Load one book from its text. `source` says where it was read, for messages.

    Raises: BookErrors with every mistake of the book.
    """
    return load_texts([(text, source)], strict=strict)[0]


def _together(readings: Sequence[tuple[Book | None, Page]], strict: bool) -> tuple[Book, ...]:
    _check_together(readings)
    books = _whole(readings, strict)
    return tuple(sorted(books, key=lambda book: book.effective_from_ms))


def _whole(readings: Sequence[tuple[Book | None, Page]], strict: bool) -> list[Book]:
    """Hand the books over if none has a mistake."""
    mistakes = [
        mistake
        for _, page in readings
        for mistake in sorted(
            page.mistakes + (page.doubts if strict else []), key=lambda mistake: mistake.line
        )
    ]
    if mistakes:
        raise BookErrors(mistakes)
    return [book for book, _ in readings if book is not None]


def _read_file(path: str | Path) -> tuple[Book | None, Page]:
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return _unreadable(path, line, "the text is not UTF-8", "save the file as UTF-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        mend = "give the path of a TOML file that you may read"
        return _unreadable(path, 1, f"the file cannot be read ({reason})", mend)
    return _read(text, str(path))


def _unreadable(file: str | Path, line: int, what: str, mend: str) -> tuple[None, Page]:
    page = Page(str(file), lambda: {(): line})
    page.report((), "", what, mend)
    return None, page


def _read(text: str, source: str) -> tuple[Book | None, Page]:
    """Read a book with its page; the book counts only if the page has no mistakes."""
    text = text.removeprefix("\ufeff")
    try:
        return _read_toml(text, source)
    except tomllib.TOMLDecodeError as error:
        at_line = _AT_LINE.search(str(error))
        line = int(at_line[1]) if at_line else text.count("\n") + 1
        what = f"not TOML: {_AT_LINE.sub('', str(error))}"
        mend = "correct it there; texts and money need quotes, dates and numbers none"
        return _unreadable(source, line, what, mend)
    except RecursionError:
        mend = "write it flat; a book needs few levels"
        return _unreadable(source, 1, "lists or tables are nested too deeply", mend)


def _read_toml(text: str, source: str) -> tuple[Book | None, Page]:
    if len(text) > BOOK_BYTES_MAX:
        what = f"the file is larger than {BOOK_BYTES_MAX // 1024**2} MiB"
        return _unreadable(source, 1, what, "give a tariff book; packages make long rules short")
    if long_key := _LONG_KEY.search(text):
        line = text.count("\n", 0, long_key.start()) + 1
        what = f"a key has more than {KEY_PARTS_MAX} parts"
        return _unreadable(source, line, what, "write it flat; a book needs few levels")
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError:
        raise
    except (ValueError, InvalidOperation):  # Python's own limits on the length of numbers
        mend = "write numbers with fewer digits"
        return _unreadable(source, 1, "a number is too long to be read", mend)
    if not document:
        mend = "begin with [book] and its id, currency and timezone"
        return _unreadable(source, 1, "the file has no tables", mend)
    page = Page(source, lambda: lines_of(text))
    top = Table(page, (), "", document)
    book = read_book(top, text)
    read_examples(top, book.heartbeat_timeout_ms)
    top.close()
    return book, page


def _check_together(readings: Sequence[tuple[Book | None, Page]]) -> None:
    """Report books that cannot be told apart by their id or by when they come into force."""
    by_id: dict[str, Page] = {}
    by_start: dict[int, Page] = {}
    for book, page in readings:
        if book is None:
            continue
        first = by_id.setdefault(book.id, page) if book.id else page
        if first is not page:
            what = f"the id {quote(book.id)} is also that of {first.file}"
            page.report(("book", "id"), "[book]", what, "give every version an id of its own")
        if page.flawed("book", "effective_from"):
            continue
        first = by_start.setdefault(book.effective_from_ms, page)
        if first is not page:
            since = "from ever" if book.effective_from_ms == EVER_MS else "at the same instant"
            what = f"it comes into force {since}, and so does {first.file}"
            mend = "give each book an `effective_from` of its own; one may have none"
            page.report(("book", "effective_from"), "[book]", what, mend)


def fingerprint(book: Book) -> str:
    """Digest (SHA-256, hex) what the book says; layout, comments and examples do not count.

    Values equal to their defaults are left out, so that a key which a later version of this
    program learns changes no fingerprint of the books that do without it.
    """
    canonical = json.dumps(
        _canonical(dataclasses.replace(book, text="", source=""), Book),
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    )
    return hashlib.sha256(canonical.encode()).hexdigest()


def _canonical(value: Any, owner: type) -> Any:
    """Make a JSON value. Lists of plans and prices keep their order, all others are sets."""
    if dataclasses.is_dataclass(value):
        return {
            field.name: _canonical(getattr(value, field.name), type(value))
            for field in dataclasses.fields(value)
            if getattr(value, field.name) != field.default
        }
    if isinstance(value, tuple | frozenset):
        items = [_canonical(item, owner) for item in value]
        if owner in (Plan, Price) or _is_pair(value):
            return items
        distinct = {json.dumps(item, sort_keys=True): item for item in items}
        return [distinct[text] for text in sorted(distinct)]
    return value.isoformat() if isinstance(value, date) else value


def _is_pair(value: Sequence[Any] | frozenset[Any]) -> bool:
    """Whether it is a name with what belongs to it, such as a region with its tax rate."""
    if not isinstance(value, tuple) or len(value) != 2:
        return False
    return isinstance(value[0], str | None) and not isinstance(value[1], str)
