"""Books as flat arrays of integers, bound to a block (tariffs/blocks.py): `b` in compiled code.

Every text is the number that `intern` gave it; a list is a range (`_at`, `_len`) of `lists`;
a length of -1 is a condition that any piece fulfils. Lists that are searched are sorted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tariffs.blocks import Block, carray, pointer
from tariffs.calendar import CALENDAR_PLACES, PERIODS
from tariffs.jit import jit
from tariffs.model import EVER_MS, NEVER_MS, Book, Offer, Plan, Price, Rule
from tariffs.prices import FLAT, MODELS, PER_UNIT, PRICE, TIER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

NONE = -1
POSTPAID, PREPAID = 0, 1
PPV, RENTAL, EST, PASS = range(4)
OFFER_KINDS = ("ppv", "rental", "est", "pass")
NEVER, BEFORE_START, BEFORE_PLAY = range(3)
CANCEL_TERMS = ("never", "before_start", "before_play")


def _range(*names: str) -> list[tuple[str, str]]:
    """Fields of ranges of `lists` or of another array."""
    return [(f"{name}_{part}", "<i4") for name in names for part in ("at", "len")]


BOOK = np.dtype(
    [
        ("name", "<i4"),
        ("zone", "<i4"),
        ("effective_from_ms", "<i8"),
        ("heartbeat_timeout_ms", "<i8"),
        ("idle_ms", "<i8"),
        ("repeat_ms", "<i8"),
        ("inclusive", "u1"),
        ("default_plan", "<i4"),  # NONE where the book has none
        ("currency", "<i4"),
        *_range("plans", "offers", "packages", "taxes"),
    ]
)
PLAN = np.dtype(
    [
        ("name", "<i4"),
        ("mode", "u1"),
        ("credit_limit_micros", "<i8"),
        *_range("includes", "rules"),
    ]
)
RULE = np.dtype(
    [
        ("name", "<i4"),
        ("counter", "<i4"),
        ("price", "<i4"),
        ("per", "u1"),
        ("increment_ms", "<i8"),
        ("minimum_ms", "<i8"),
        ("free_below_ms", "<i8"),
        *_range("kind", "content", "package", "quality", "region", "band"),
        *_range("allowances", "discounts", "caps"),  # those that name the rule, in the book's order
    ]
)
ALLOWANCE = np.dtype([("name", "<i4"), ("per", "u1"), ("quantity_ms", "<i8")])
DISCOUNT = np.dtype(
    [("name", "<i4"), ("percent_micros", "<i8"), ("from_ms", "<i8"), ("until_ms", "<i8")]
)
CAP = np.dtype([("name", "<i4"), ("per", "u1"), ("amount_micros", "<i8")])
BAND = np.dtype(
    [
        ("days", "u1"),  # bit 0 is Monday
        ("from_minute", "<i4"),
        ("to_minute", "<i4"),
        *_range("dates", "except_dates"),  # days since the epoch
    ]
)
PACKAGE_ROW = np.dtype([("name", "<i4"), ("rule_name", "<i4"), *_range("content")])
TAX = np.dtype([("region", "<i4"), ("percent_micros", "<i8")])
OFFER = np.dtype(
    [
        ("name", "<i4"),
        ("rule_name", "<i4"),
        ("kind_name", "<i4"),
        ("kind", "u1"),
        ("cancel", "u1"),
        ("package", "<i4"),
        *_range("content", "prices"),  # prices: rows of `offer_prices`
        *((f"{name}_ms", "<i8") for name in ("sale_from", "sale_until", "starts", "ends")),
        ("start_within_ms", "<i8"),
        ("watch_within_ms", "<i8"),
        ("duration_ms", "<i8"),
    ]
)
OFFER_PRICE = np.dtype([("quality", "<i4"), ("amount_micros", "<i8")])  # NONE: any quality


ROW_TYPES = {
    "books": BOOK,
    "plans": PLAN,
    "rules": RULE,
    "prices": PRICE,
    "tiers": TIER,
    "allowances": ALLOWANCE,
    "discounts": DISCOUNT,
    "caps": CAP,
    "bands": BAND,
    "packages": PACKAGE_ROW,
    "taxes": TAX,
    "offers": OFFER,
    "offer_prices": OFFER_PRICE,
    "lists": np.dtype(np.int32),
}
# Each array's address and length stand at these places; the calendar's stand behind them.
PLACE_OF = {name: 2 * number for number, name in enumerate(ROW_TYPES)}
(
    BOOKS,
    PLANS,
    RULES,
    PRICES,
    TIERS,
    ALLOWANCES,
    DISCOUNTS,
    CAPS,
    BANDS,
    PACKAGES,
    TAXES,
    OFFERS,
    OFFER_PRICES,
    LISTS,
) = PLACE_OF.values()
CALENDAR_AT = 2 * len(ROW_TYPES)


class _Compiler:
    """Gathers rows while it walks the books."""

    def __init__(self, intern: Callable[[str], int]) -> None:
        self.intern = intern
        self.rows: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in ROW_TYPES if name != "lists"
        }
        self.lists: list[int] = []

    def add(self, table: str, row: tuple[Any, ...]) -> int:
        self.rows[table].append(row)
        return len(self.rows[table]) - 1

    def listed(self, numbers: Iterable[int]) -> tuple[int, int]:
        at = len(self.lists)
        self.lists.extend(numbers)
        return at, len(self.lists) - at

    def names(self, texts: Sequence[str] | None, *, ordered: bool = False) -> tuple[int, int]:
        """A list of names, sorted for searching unless its order means something."""
        if texts is None:
            return 0, NONE
        numbers = [self.intern(text) for text in texts]
        return self.listed(numbers if ordered else sorted(set(numbers)))

    def price(self, price: Price) -> int:
        at = len(self.rows["tiers"])
        lower, numerator, flats = 0, 0, 0
        for tier in price.tiers:
            flats += tier.flat_micros
            below, rest = divmod(numerator, price.unit_ms)
            upper = NEVER_MS if tier.up_to_ms is None else tier.up_to_ms
            self.add(
                "tiers",
                (lower, upper, tier.amount_micros, tier.flat_micros, below + flats, rest),
            )
            numerator += (upper - lower) * tier.amount_micros
            lower = upper
        model = MODELS.index(price.model)
        unit_ms = price.unit_ms if model != FLAT else 1
        assert model != PER_UNIT or unit_ms > 0
        row = (model, price.amount_micros, unit_ms, max(1, price.size_ms), at, len(price.tiers))
        return self.add("prices", row)

    def rule(self, book: Book, rule: Rule, plan: Plan, steps: dict[str, list[int]]) -> None:
        def naming(items: Sequence[Any], rows: list[int]) -> tuple[int, int]:
            return self.listed(
                row
                for item, row in zip(items, rows, strict=True)
                if item.rules is None or rule.id in item.rules
            )

        bands_at = len(self.rows["bands"]) - len(book.bands)
        band_row = {band.id: bands_at + number for number, band in enumerate(book.bands)}
        bands = (0, NONE) if rule.band is None else self.listed(band_row[b] for b in rule.band)
        self.add(
            "rules",
            (
                self.intern(rule.id),
                self.intern(rule.counter or rule.id),
                self.price(rule.price),
                PERIODS.index(rule.per),
                rule.increment_ms,
                rule.minimum_ms,
                rule.free_below_ms,
                *self.names(rule.kind),
                *self.names(rule.content),
                *self.names(rule.package),
                *self.names(rule.quality),
                *self.names(rule.region),
                *bands,
                *naming(plan.allowances, steps["allowances"]),
                *naming(plan.discounts, steps["discounts"]),
                *naming(plan.caps, steps["caps"]),
            ),
        )

    def plan(self, book: Book, plan: Plan) -> tuple[Any, ...]:
        steps = {
            "allowances": [
                self.add("allowances", (self.intern(a.id), PERIODS.index(a.per), a.quantity_ms))
                for a in plan.allowances
            ],
            "discounts": [
                self.add("discounts", (self.intern(d.id), d.percent_micros, d.from_ms, d.until_ms))
                for d in plan.discounts
            ],
            "caps": [
                self.add("caps", (self.intern(c.id), PERIODS.index(c.per), c.amount_micros))
                for c in plan.caps
            ],
        }
        rules_at = len(self.rows["rules"])
        for rule in plan.rules:
            self.rule(book, rule, plan, steps)
        return (
            self.intern(plan.id),
            PREPAID if plan.mode == "prepaid" else POSTPAID,
            plan.credit_limit_micros,
            *self.names(plan.includes, ordered=True),
            rules_at,
            len(plan.rules),
        )

    def offer(self, offer: Offer) -> None:
        prices_at = len(self.rows["offer_prices"])
        for quality, amount_micros in offer.prices:
            self.add(
                "offer_prices", (NONE if quality is None else self.intern(quality), amount_micros)
            )
        self.add(
            "offers",
            (
                self.intern(offer.id),
                self.intern(f"offer:{offer.id}"),
                self.intern(offer.kind),
                OFFER_KINDS.index(offer.kind),
                CANCEL_TERMS.index(offer.cancel),
                NONE if offer.package is None else self.intern(offer.package),
                *self.names(offer.content),
                prices_at,
                len(offer.prices),
                offer.sale_from_ms,
                offer.sale_until_ms,
                EVER_MS if offer.starts_ms is None else offer.starts_ms,
                NEVER_MS if offer.ends_ms is None else offer.ends_ms,
                offer.start_within_ms,
                offer.watch_within_ms,
                offer.duration_ms,
            ),
        )

    def book(self, book: Book, zone: int) -> None:
        epoch = np.datetime64("1970-01-01", "D")
        for band in book.bands:
            dates = [
                self.listed(sorted(int((np.datetime64(d, "D") - epoch).astype(int)) for d in days))
                for days in (band.dates, band.except_dates)
            ]
            days = sum(1 << day for day in band.days)
            self.add("bands", (days, band.from_minute, band.to_minute, *dates[0], *dates[1]))
        at = {name: len(self.rows[name]) for name in ("offers", "packages", "taxes")}
        for name, content in book.packages:
            row = (self.intern(name), self.intern(f"package:{name}"), *self.names(content))
            self.add("packages", row)
        for region, percent_micros in book.tax:
            self.add("taxes", (self.intern(region), percent_micros))
        for offer in book.offers:
            self.offer(offer)
        plans = [self.plan(book, plan) for plan in book.plans]
        plans_at = len(self.rows["plans"])
        self.rows["plans"].extend(plans)
        default = NONE if book.default_plan is None else self.intern(book.default_plan)
        self.add(
            "books",
            (
                self.intern(book.id),
                zone,
                book.effective_from_ms,
                book.heartbeat_timeout_ms,
                book.idle_ms,
                book.repeat_ms,
                int(book.prices_include_tax),
                default,
                self.intern(book.currency),
                *(plans_at, len(plans)),
                *(at["offers"], len(book.offers)),
                *(at["packages"], len(book.packages)),
                *(at["taxes"], len(book.tax)),
            ),
        )


def compile_books(
    books: Sequence[Book], zones: Sequence[str], intern: Callable[[str], int]
) -> Block:
    """Flatten books (ascending by effective_from), with an empty calendar of their time zones."""
    compiler = _Compiler(intern)
    for book in books:
        compiler.book(book, zones.index(book.timezone))
    block = Block(CALENDAR_AT + CALENDAR_PLACES)
    for name, dtype in ROW_TYPES.items():
        rows = compiler.lists if name == "lists" else compiler.rows[name]
        block.bind(PLACE_OF[name], np.array(rows, dtype) if rows else np.empty(0, dtype))
    return block


# --- views for compiled functions ---------------------------------------------------------------


@jit
def books(b: Any) -> Any:
    """All books."""
    return carray(pointer(b[BOOKS]), b[BOOKS + 1], BOOK)


@jit
def plans(b: Any) -> Any:
    """All plans."""
    return carray(pointer(b[PLANS]), b[PLANS + 1], PLAN)


@jit
def rules(b: Any) -> Any:
    """All rules."""
    return carray(pointer(b[RULES]), b[RULES + 1], RULE)


@jit
def prices(b: Any) -> Any:
    """All prices."""
    return carray(pointer(b[PRICES]), b[PRICES + 1], PRICE)


@jit
def tiers(b: Any) -> Any:
    """All tiers."""
    return carray(pointer(b[TIERS]), b[TIERS + 1], TIER)


@jit
def allowances(b: Any) -> Any:
    """All allowances."""
    return carray(pointer(b[ALLOWANCES]), b[ALLOWANCES + 1], ALLOWANCE)


@jit
def discounts(b: Any) -> Any:
    """All discounts."""
    return carray(pointer(b[DISCOUNTS]), b[DISCOUNTS + 1], DISCOUNT)


@jit
def caps(b: Any) -> Any:
    """All caps."""
    return carray(pointer(b[CAPS]), b[CAPS + 1], CAP)


@jit
def bands(b: Any) -> Any:
    """All bands."""
    return carray(pointer(b[BANDS]), b[BANDS + 1], BAND)


@jit
def packages(b: Any) -> Any:
    """All packages."""
    return carray(pointer(b[PACKAGES]), b[PACKAGES + 1], PACKAGE_ROW)


@jit
def taxes(b: Any) -> Any:
    """All taxes."""
    return carray(pointer(b[TAXES]), b[TAXES + 1], TAX)


@jit
def offers(b: Any) -> Any:
    """All offers."""
    return carray(pointer(b[OFFERS]), b[OFFERS + 1], OFFER)


@jit
def offer_prices(b: Any) -> Any:
    """All offer prices."""
    return carray(pointer(b[OFFER_PRICES]), b[OFFER_PRICES + 1], OFFER_PRICE)


@jit
def lists(b: Any) -> Any:
    """All lists."""
    return carray(pointer(b[LISTS]), b[LISTS + 1], np.int32)
