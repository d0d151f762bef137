"""From the tables of one TOML document to a book, noting every mistake on the way.

Source: spec section 3; plans are in tariffs/read_plans.py, offers in tariffs/read_offers.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tariffs import values
from tariffs.errors import UnfitError, quote
from tariffs.model import EVER_MS, UNIT_MS, Band, Book
from tariffs.read_offers import read_offers
from tariffs.read_plans import read_plans

if TYPE_CHECKING:
    from tariffs.reading import Table

TAX_PERCENT_MAX = 1000
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

_positive_seconds = values.span_ms(UNIT_MS["second"], positive=True)


def read_book(top: Table, text: str) -> Book:
    """Read a document's top table; the book is whole only if the page then has no mistakes."""
    head = top.table("book", "[book]")
    session = top.table("session", "[session]")
    tax = _read_tax(top)
    bands = _read_bands(top)
    packages = _read_packages(top)
    plans = read_plans(top, dict(packages), [band.id for band in bands])
    book = Book(
        id=head.need("id", values.name, "", '"…", a name that no other book has'),
        currency=head.need("currency", values.currency, "", '"SEK"'),
        timezone=head.need("timezone", values.timezone, "", '"Europe/Stockholm"'),
        effective_from_ms=head.one("effective_from", values.instant_ms, EVER_MS),
        prices_include_tax=head.one("prices_include_tax", values.flag, False),
        default_plan=head.one(
            "default_plan", values.known("plan", [plan.id for plan in plans if plan.id]), None
        ),
        heartbeat_timeout_ms=session.one("heartbeat_timeout_s", _positive_seconds, 90_000),
        idle_ms=session.one("idle_s", _positive_seconds, 300_000),
        repeat_ms=session.one("repeat_s", _positive_seconds, 604_800_000),
        tax=tax,
        bands=bands,
        packages=packages,
        plans=plans,
        offers=read_offers(top, [name for name, _ in packages]),
        text=text,
        source=top.page.file,
    )
    _check_timeouts(session, book)
    head.close()
    session.close()
    return book


def _check_timeouts(session: Table, book: Book) -> None:
    """Doubt a session that closes before its next heartbeat has to come."""
    if book.idle_ms < book.heartbeat_timeout_ms and not session.page.flawed("session"):
        key = "idle_s" if "idle_s" in session else "heartbeat_timeout_s"
        session.doubt(
            f"a session is idle after {book.idle_ms / 1000:g} s, before the heartbeat timeout of "
            f"{book.heartbeat_timeout_ms / 1000:g} s",
            "let `idle_s` (default 300) be no less than `heartbeat_timeout_s` (default 90)",
            key,
        )


def _read_tax(top: Table) -> tuple[tuple[str, int], ...]:
    table = top.table("tax", "[tax]", '[tax] with lines such as SE = "25"')
    if "" in table:
        table.report("a region is empty", 'name it, or write "*" for all others', "")
    parse = values.percent(TAX_PERCENT_MAX)
    return tuple((region, table.one(region, parse, 0)) for region in table.values)


def _key(name: str) -> str:
    """Write a key as it stands in a header."""
    return name if _BARE_KEY.fullmatch(name) else quote(name)


def _named(table: Table, noun: str) -> list[str]:
    """Check the keys of a table whose keys are names that its author chose."""
    for name in table.values:
        try:
            values.name(name)
        except UnfitError as unfit:
            table.report(f"the name of a {noun} {unfit.what}", unfit.mend, name)
    return list(table.values)


def _read_bands(top: Table) -> tuple[Band, ...]:
    table = top.table("bands", "[bands.…]", '[bands.evening] with from = "18:00"')
    return tuple(
        _read_band(table.table(name, f"[bands.{_key(name)}]"), name)
        for name in _named(table, "band")
    )


def _read_band(table: Table, band_id: str) -> Band:
    days = table.many("days", values.choice(*values.DAYS), '["mon", "tue"]')
    dates = frozenset(table.many("dates", values.local_date, "[2026-12-25]") or ())
    except_dates = frozenset(table.many("except_dates", values.local_date, "[2026-12-25]") or ())
    from_minute = table.one("from", values.minute_of_day, 0)
    to_minute = table.one("to", values.minute_of_day, values.DAY_MINUTES)
    for day in sorted(dates & except_dates):
        mend = "keep it in one of them"
        table.report(f"{day} is in `dates` and in `except_dates`", mend, "except_dates")
    if days == () and not dates and not table.page.flawed(*table.path):
        table.report("the band has neither days nor dates", "leave `days` out for every day")
    if from_minute == values.DAY_MINUTES:
        table.report('`from` is "24:00", where no day begins', 'write "00:00"', "from")
    table.close()
    return Band(
        id=band_id,
        days=frozenset(range(7) if days is None else map(values.DAYS.index, days)),
        dates=dates,
        except_dates=except_dates,
        from_minute=from_minute,
        to_minute=to_minute if to_minute > from_minute else to_minute + values.DAY_MINUTES,
    )


def _read_packages(top: Table) -> tuple[tuple[str, tuple[str, ...]], ...]:
    table = top.table("packages", "[packages]", '[packages] with lines such as basic = ["ch-1"]')
    return tuple((name, table.many(name, values.name) or ()) for name in _named(table, "package"))
