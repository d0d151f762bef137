"""The tariff book as the rest of the program sees it: checked, in integers, without text to parse.

Quantities are milliseconds, money is micro-units of the book's currency, percentages are
millionths of a percent (25 % is 25_000_000). Instants are UTC milliseconds since the epoch.
Source: spec sections 3 and 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

Per = Literal["segment", "day", "week", "month", "content"]
Mode = Literal["postpaid", "prepaid"]
PriceModel = Literal["per_unit", "graduated", "volume", "package", "flat"]
OfferKind = Literal["ppv", "rental", "est", "pass"]
CancelTerm = Literal["before_start", "before_play", "never"]

UNIT_MS = {"second": 1_000, "minute": 60_000, "hour": 3_600_000}
PERCENT_MICROS_WHOLE = 100_000_000  # 100 percent in millionths of a percent
EVER_MS = -(2**62)  # "from ever"
NEVER_MS = 2**62  # "until never"


@dataclass(frozen=True, slots=True)
class Tier:
    """One step of a graduated or volume price; `up_to_ms` None on the last."""

    up_to_ms: int | None
    amount_micros: int = 0
    flat_micros: int = 0


@dataclass(frozen=True, slots=True)
class Price:
    """P(x) of section 4. `amount_micros` is for `unit_ms` (per_unit) or `size_ms` (package)."""

    model: PriceModel
    amount_micros: int = 0
    unit_ms: int = 3_600_000
    size_ms: int = 0
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, slots=True)
class Band:
    """A part of the local week. `to_minute` may pass 1440: the band then runs past midnight."""

    id: str
    days: frozenset[int]  # 0 is Monday
    dates: frozenset[date]
    except_dates: frozenset[date]
    from_minute: int
    to_minute: int


@dataclass(frozen=True, slots=True)
class Rule:
    """What a piece must be, and what it then costs. A condition of None holds for any piece."""

    id: str
    price: Price
    kind: tuple[str, ...] | None = None
    content: tuple[str, ...] | None = None
    package: tuple[str, ...] | None = None
    quality: tuple[str, ...] | None = None
    region: tuple[str, ...] | None = None
    band: tuple[str, ...] | None = None
    per: Per = "segment"
    counter: str = ""  # the loader fills in the rule's id
    increment_ms: int = 1
    minimum_ms: int = 0
    free_below_ms: int = 0


@dataclass(frozen=True, slots=True)
class Allowance:
    """Free quantity per period for the rules that it names (None: all)."""

    id: str
    quantity_ms: int
    per: Per = "month"
    rules: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Discount:
    """A percentage off the rules that it names, for pieces with from_ms <= t0 < until_ms."""

    id: str
    percent_micros: int
    rules: tuple[str, ...] | None = None
    from_ms: int = EVER_MS
    until_ms: int = NEVER_MS


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that the rules that it names may cost in a period."""

    id: str
    amount_micros: int
    per: Per = "month"
    rules: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What an account subscribes to."""

    id: str
    mode: Mode
    credit_limit_micros: int = 0
    includes: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    discounts: tuple[Discount, ...] = ()
    caps: tuple[Cap, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """Something sold by order. `prices` maps a quality to micro-units; None is every quality."""

    id: str
    kind: OfferKind
    prices: tuple[tuple[str | None, int], ...]
    content: tuple[str, ...] = ()
    package: str | None = None
    sale_from_ms: int = EVER_MS
    sale_until_ms: int = NEVER_MS
    starts_ms: int | None = None
    ends_ms: int | None = None
    cancel: CancelTerm = "never"
    start_within_ms: int = 720 * 3_600_000
    watch_within_ms: int = 48 * 3_600_000
    duration_ms: int = 0  # a pass's `hours`

    def price_micros(self, quality: str) -> int | None:
        """The price for a quality, or None where the offer lacks it."""
        for offered, price_micros in self.prices:
            if offered is None or offered == quality:
                return price_micros
        return None


@dataclass(frozen=True, slots=True)
class Book:
    """One version of a tariff. `text` is the file as read, `source` where it was read from."""

    id: str
    currency: str
    timezone: str
    effective_from_ms: int = EVER_MS
    prices_include_tax: bool = False
    default_plan: str | None = None
    heartbeat_timeout_ms: int = 90_000
    idle_ms: int = 300_000
    repeat_ms: int = 604_800_000
    tax: tuple[tuple[str, int], ...] = ()  # (region or "*", percent_micros)
    bands: tuple[Band, ...] = ()
    packages: tuple[tuple[str, tuple[str, ...]], ...] = ()
    plans: tuple[Plan, ...] = ()
    offers: tuple[Offer, ...] = ()
    text: str = ""
    source: str = ""


def book_in_force(books: Sequence[Book], time_ms: int) -> Book:
    """The last book with effective_from <= time, or the first of all. `books` ascend (section 2)."""
    found = books[0]
    for book in books:
        if book.effective_from_ms <= time_ms:
            found = book
    return found


def region_parents(region: str) -> list[str]:
    """The region and its parents, longest first: "SE-AB" gives "SE-AB", "SE"; "" gives nothing."""
    parts = region.split("-") if region else []
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]


def tax_percent_micros(book: Book, region: str) -> int:
    """The rate of the longest of "SE-AB", "SE", "*" that the book has; 0 where none fits."""
    rates = dict(book.tax)
    for name in [*region_parents(region), "*"]:
        if name in rates:
            return rates[name]
    return 0
