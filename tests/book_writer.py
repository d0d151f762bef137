"""Writes a book as TOML, so that the loader can be held against the model.

Source: spec sections 3 and 5.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tariffs.model import EVER_MS, NEVER_MS, Band, Book, Offer, Plan, Price, Rule, Tier

if TYPE_CHECKING:
    from random import Random

UNITS = {1_000: "second", 60_000: "minute", 3_600_000: "hour"}
HOUR_MS = 3_600_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CONDITIONS = ("kind", "content", "package", "quality", "region", "band")


def write_book(book: Book, random: Random) -> str:
    """The TOML text of a book; `random` picks among ways of writing that mean the same."""
    writer = _Writer(random)
    writer.head("[book]", id=text(book.id), currency=text(book.currency))
    writer.put("timezone", text(book.timezone))
    if book.effective_from_ms != EVER_MS:
        writer.put("effective_from", writer.instant(book.effective_from_ms))
    writer.put("prices_include_tax", "true" if book.prices_include_tax else None)
    writer.put("default_plan", book.default_plan and text(book.default_plan))
    writer.head("[session]", heartbeat_timeout_s=number(book.heartbeat_timeout_ms, 1_000))
    writer.put("idle_s", number(book.idle_ms, 1_000))
    writer.put("repeat_s", number(book.repeat_ms, 1_000))
    writer.head("[tax]", **{text(region): percent(rate) for region, rate in book.tax})
    for band in book.bands:
        writer.band(band)
    writer.head("[packages]", **{text(name): texts(held) for name, held in book.packages})
    for plan in book.plans:
        writer.plan(plan)
    for offer in book.offers:
        writer.offer(offer)
    return "\n".join(writer.lines) + "\n"


class _Writer:
    """Gathers lines; a value of None is left out."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []

    def head(self, header: str, **values: str | None) -> None:
        self.lines += ["", header]
        for key, value in values.items():
            self.put(key, value)

    def put(self, key: str, value: str | None) -> None:
        if value is not None:
            self.lines.append(f"{key} = {value}")

    def instant(self, time_ms: int) -> str:
        """An instant in UTC or with an offset."""
        minutes = self.random.choice((0, 0, 60, -210, 345))
        local = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(
            timezone(timedelta(minutes=minutes))
        )
        written = local.isoformat(timespec="milliseconds" if time_ms % 1_000 else "seconds")
        return written if minutes else written.replace("+00:00", "Z")

    def one_or_many(self, values: tuple[str, ...] | None) -> str | None:
        if values is not None and len(values) == 1 and self.random.random() < 0.5:
            return text(values[0])
        return None if values is None else texts(values)

    def band(self, band: Band) -> None:
        days = [DAYS[day] for day in sorted(band.days)]
        self.head(f"[bands.{text(band.id)}]", days=None if len(days) == 7 else texts(days))
        for key, dates in (("dates", band.dates), ("except_dates", band.except_dates)):
            listed = ", ".join(day.isoformat() for day in sorted(dates))
            self.put(key, f"[{listed}]" if dates else None)
        self.put("from", clock(band.from_minute) if band.from_minute else None)
        to_minute = band.to_minute if band.to_minute <= 1440 else band.to_minute - 1440
        if (band.from_minute, to_minute) != (0, 1440):
            self.put("to", clock(to_minute))

    def plan(self, plan: Plan) -> None:
        self.head("[[plans]]", id=text(plan.id), mode=text(plan.mode))
        if plan.mode == "prepaid":
            self.put("credit_limit", money(plan.credit_limit_micros))
        self.put("includes", texts(plan.includes) if plan.includes else None)
        for rule in plan.rules:
            self.rule(rule)
        for allowance in plan.allowances:
            unit_ms = self.random.choice(tuple(UNITS)[:2])
            quantity = number(allowance.quantity_ms, unit_ms)
            self.head("[[plans.allowances]]", id=text(allowance.id), quantity=quantity)
            self.put("unit", text(UNITS[unit_ms]))
            self.put("per", text(allowance.per))
            self.put("rules", texts(allowance.rules) if allowance.rules else None)
        for discount in plan.discounts:
            self.head("[[plans.discounts]]", id=text(discount.id))
            self.put("percent", percent(discount.percent_micros))
            self.put("rules", texts(discount.rules) if discount.rules else None)
            if discount.from_ms != EVER_MS:
                self.put("from", self.instant(discount.from_ms))
            if discount.until_ms != NEVER_MS:
                self.put("until", self.instant(discount.until_ms))
        for cap in plan.caps:
            self.head("[[plans.caps]]", id=text(cap.id), amount=money(cap.amount_micros))
            self.put("per", text(cap.per))
            self.put("rules", texts(cap.rules) if cap.rules else None)

    def rule(self, rule: Rule) -> None:
        self.head("[[plans.rules]]", id=text(rule.id))
        for condition in CONDITIONS:
            self.put(condition, self.one_or_many(getattr(rule, condition)))
        self.put("per", None if rule.per == "segment" else text(rule.per))
        self.put("counter", None if rule.counter == rule.id else text(rule.counter))
        self.put(
            "increment_s", None if rule.increment_ms == 1 else number(rule.increment_ms, 1_000)
        )
        for key, value_ms in (("minimum_s", rule.minimum_ms), ("free_below_s", rule.free_below_ms)):
            self.put(key, number(value_ms, 1_000) if value_ms else None)
        self.put("price", price(rule.price))

    def offer(self, offer: Offer) -> None:
        self.head("[[offers]]", id=text(offer.id), kind=text(offer.kind))
        self.put("content", texts(offer.content) if offer.content else None)
        self.put("package", offer.package and text(offer.package))
        if offer.prices[0][0] is None:
            self.put("price", money(offer.prices[0][1]))
        else:
            prices = (
                f"{text(quality or '')} = {money(micros)}" for quality, micros in offer.prices
            )
            self.put("price", "{ " + ", ".join(prices) + " }")
        instants = (
            ("sale_from", offer.sale_from_ms, EVER_MS),
            ("sale_until", offer.sale_until_ms, NEVER_MS),
            ("starts", offer.starts_ms, None),
            ("ends", offer.ends_ms, None),
        )
        for key, time_ms, absent in instants:
            if time_ms is not None and time_ms != absent:
                self.put(key, self.instant(time_ms))
        self.put("cancel", None if offer.cancel == "never" else text(offer.cancel))
        if offer.kind == "rental":
            self.put("start_within_h", number(offer.start_within_ms, HOUR_MS))
            self.put("watch_within_h", number(offer.watch_within_ms, HOUR_MS))
        self.put("hours", number(offer.duration_ms, HOUR_MS) if offer.duration_ms else None)


def text(value: str) -> str:
    """A TOML basic string; JSON's escapes are among TOML's."""
    return json.dumps(value, ensure_ascii=False)


def texts(values: Any) -> str:
    return f"[{', '.join(text(value) for value in values)}]"


def plain(value: Decimal) -> str:
    """A decimal without exponent and without needless zeros."""
    written = f"{value:f}"
    return written.rstrip("0").rstrip(".") if "." in written else written


def money(micros: int) -> str:
    return f'"{plain(Decimal(micros).scaleb(-6))}"'


def percent(percent_micros: int) -> str:
    return money(percent_micros)


def number(value_ms: int, unit_ms: int) -> str:
    """A quantity in units; exact, or it should not be written in this unit."""
    value = Decimal(value_ms) / unit_ms
    assert value * unit_ms == value_ms, (value_ms, unit_ms)
    return plain(value)


def clock(minute: int) -> str:
    return f'"{minute // 60:02d}:{minute % 60:02d}"'


def price(price: Price) -> str:
    """An inline table."""
    unit = f"unit = {text(UNITS[price.unit_ms])}"
    parts = [f"model = {text(price.model)}"]
    if price.model == "package":
        parts.append(f"size = {number(price.size_ms, price.unit_ms)}")
    if price.model in ("graduated", "volume"):
        parts.append(f"tiers = [{', '.join(tier(step, price.unit_ms) for step in price.tiers)}]")
    else:
        parts.append(f"amount = {money(price.amount_micros)}")
    return "{ " + ", ".join(parts if price.model == "flat" else [*parts, unit]) + " }"


def tier(step: Tier, unit_ms: int) -> str:
    parts = [f"amount = {money(step.amount_micros)}"]
    if step.up_to_ms is not None:
        parts.insert(0, f"up_to = {number(step.up_to_ms, unit_ms)}")
    if step.flat_micros:
        parts.append(f"flat = {money(step.flat_micros)}")
    return "{ " + ", ".join(parts) + " }"
