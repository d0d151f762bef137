"""What an author should know of sound books: what a version loses, and what it may not mean.

Nothing here keeps a book from being used: a plan may well end with the year.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from tariffs.currencies import WITHDRAWN
from tariffs.errors import Mistake, quote
from tariffs.model import NEVER_MS
from tariffs.toml_lines import lines_of
from tariffs.values import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from tariffs.model import Book, Offer, Plan
    from tariffs.toml_lines import Path

IF_MEANT = "pass this over if it is meant"
NAMED_MAX = 3


def warnings(books: Sequence[Book]) -> list[Mistake]:
    """Find what a later book lost of the one before, and currencies that are gone.

    books: sound ones, ascending by when they come into force.
    Returns: one warning each, by book and line.
    """
    pages = [_Lines(book) for book in books]
    found = [warning for page in pages for warning in _currency_gone(page)]
    for older, newer in pairwise(pages):
        found += sorted(_losses(older.book, newer), key=lambda warning: warning.line)
    return found


class _Lines:
    """A book, and where things stand in it."""

    def __init__(self, book: Book) -> None:
        self.book = book
        # Found once they are asked for, since a book that lost nothing needs none.
        self._lines: Callable[[], Mapping[Path, int]] = cache(lambda: lines_of(book.text))

    def warning(self, path: Path, what: str, mend: str, table: str = "") -> Mistake:
        """Warn at the place of a key or table."""
        return Mistake(self.book.source, self._lines().get(path, 1), table, what, mend)


def _currency_gone(page: _Lines) -> Iterator[Mistake]:
    """A currency that was withdrawn before the book comes into force."""
    book = page.book
    month = WITHDRAWN.get(book.currency, ("9999-12", 0))[0]
    gone_at = datetime.fromisoformat(f"{month}-01T00:00:00+00:00")
    if book.effective_from_ms >= (gone_at - EPOCH) // timedelta(milliseconds=1):
        what = f"{book.currency} was withdrawn in {month}, and the book comes into force after that"
        yield page.warning(("book", "currency"), what, IF_MEANT, "[book]")


def _losses(older: Book, page: _Lines) -> Iterator[Mistake]:
    """What the older book has and the newer one has not."""
    newer = page.book
    plans = {plan.id: number for number, plan in enumerate(newer.plans)}
    for plan_id in _lost((plan.id for plan in older.plans), plans):
        what = f"the plan {quote(plan_id)} of {older.source} is gone"
        yield page.warning((), what, "accounts that have it are suspended as unknown_plan")
    for package in _lost((name for name, _ in older.packages), dict(newer.packages)):
        what = f"the package {quote(package)} of {older.source} is gone"
        yield page.warning(("packages",), what, "it covers nothing any more", "[packages]")
    on_sale = (offer.id for offer in older.offers if _on_sale_at(offer, newer.effective_from_ms))
    for offer_id in _lost(on_sale, {offer.id for offer in newer.offers}):
        what = f"the offer {quote(offer_id)} of {older.source} is gone while it is still on sale"
        yield page.warning(("offers",), what, "orders of it are suspended as unknown_offer")
    for plan in older.plans:
        if plan.id in plans:
            yield from _rules_lost(older, page, plan, plans[plan.id])
    yield from _prepaid_in_two(older, page)


def _rules_lost(older: Book, page: _Lines, plan: Plan, number: int) -> Iterator[Mistake]:
    kept = {rule.id for rule in page.book.plans[number].rules}
    for rule_id in _lost((rule.id for rule in plan.rules), kept):
        what = f"the rule {quote(rule_id)} of {older.source} is gone"
        mend = "what it priced goes to the next rule that matches, or is suspended as no_rule"
        yield page.warning(("plans", number), what, mend, f"[[plans]] {quote(plan.id)}")


def _lost(names: Iterable[str], kept: Collection[str]) -> list[str]:
    return [name for name in names if name not in kept]


def _on_sale_at(offer: Offer, time_ms: int) -> bool:
    """Whether an offer could be bought, and be of use, from an instant on."""
    ends_ms = NEVER_MS if offer.ends_ms is None else offer.ends_ms
    return min(offer.sale_until_ms, ends_ms) > time_ms


def _prepaid_in_two(older: Book, page: _Lines) -> Iterator[Mistake]:
    """Prepaid plans whose balances would count in another currency."""
    newer = page.book
    prepaid = {plan.id for book in (older, newer) for plan in book.plans if plan.mode == "prepaid"}
    if older.currency != newer.currency and prepaid:
        named = ", ".join(quote(plan_id) for plan_id in sorted(prepaid)[:NAMED_MAX])
        more = ", …" if len(prepaid) > NAMED_MAX else ""
        what = (
            f"the currency changes from {older.currency} to {newer.currency}, but balances of "
            f"prepaid plans ({named}{more}) are not converted"
        )
        mend = "rate the new currency into a store of its own, and carry the balances over"
        yield page.warning(("book", "currency"), what, mend, "[book]")
