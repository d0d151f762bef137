"""A tariff book as a person reads a price list."""

from __future__ import annotations

import textwrap
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from tariffs.model import EVER_MS, NEVER_MS, UNIT_MS
from tariffs.money import format_micros, format_percent
from tariffs.values import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date

    from tariffs.model import Band, Book, Offer, Plan, Price, Rule

WIDTH = 100
LABEL_MAX = 24  # Longer labels stand on a line of their own.
NAMES_SHOWN_MAX = 8
INDENT = "  "
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
KINDS = {
    "channel": "live channels",
    "vod": "video on demand",
    "ppv": "pay-per-view",
    "catchup": "catch-up",
}
OFFER_KINDS = {"ppv": "pay-per-view", "rental": "rental", "est": "to own", "pass": "pass"}
CANCELS = {
    "before_start": "may be cancelled before it starts",
    "before_play": "may be cancelled before it is first played",
    "never": "cannot be cancelled",
}

EACH = {UNIT_MS["hour"]: "an hour", UNIT_MS["minute"]: "a minute", UNIT_MS["second"]: "a second"}

Row = tuple[str, list[str]]
"""A label and what stands beside it, line by line."""


def show(book: Book) -> str:
    """Write the book out: what is sold, when, for how much and on which terms."""
    sections = [_heading(book)]
    if book.bands:
        title = f"TIME BANDS, in the local time of {book.timezone}"
        sections.append([title, *_table([(band.id, [_band(band)]) for band in book.bands])])
    if book.packages:
        rows = [(name, [_contents(content)]) for name, content in book.packages]
        sections.append(["PACKAGES", *_table(rows)])
    sections.extend(_plan(book, plan) for plan in book.plans)
    if book.offers:
        rows = [(offer.id, _offer(book, offer)) for offer in book.offers]
        sections.append(["OFFERS", *_table(rows)])
    return "\n\n".join("\n".join(section) for section in sections)


# --- layout --------------------------------------------------------------------------------------


def _table(rows: Sequence[Row], indent: str = INDENT) -> list[str]:
    """Labels in one column, their lines beside them, folded to the page."""
    width = max([len(label) for label, _ in rows if len(label) <= LABEL_MAX], default=0)
    lines = []
    for label, texts in rows:
        margin = indent + " " * width + "   "
        folded = [
            part
            for text in texts
            for part in textwrap.wrap(
                text, WIDTH, initial_indent=margin, subsequent_indent=margin + INDENT
            )
        ]
        if len(label) <= width and folded:
            folded[0] = indent + label.ljust(width) + folded[0][len(indent) + width :]
        else:
            lines.append(indent + label)
        lines.extend(folded)
    return lines


def _listing(names: Iterable[str], last: str = "and") -> str:
    """Names as a sentence lists them: "a, b and c"."""
    *rest, end = names
    return f"{', '.join(rest)} {last} {end}" if rest else end


def _contents(names: Sequence[str]) -> str:
    """Name the first of many contents, and how many there are."""
    if not names:
        return "nothing yet"
    if len(names) <= NAMES_SHOWN_MAX:
        return ", ".join(names)
    return f"{', '.join(names[:NAMES_SHOWN_MAX])} and {len(names) - NAMES_SHOWN_MAX:,} more"


# --- words ---------------------------------------------------------------------------------------


def _money(micros: int) -> str:
    return "free" if micros == 0 else format_micros(micros)


def _span(ms: int) -> str:
    """Word a quantity as its whole hours, minutes and seconds: "1 hour 30 minutes"."""
    hours, ms_left = divmod(ms, UNIT_MS["hour"])
    minutes, ms_left = divmod(ms_left, UNIT_MS["minute"])
    parts = [(hours, "hour"), (minutes, "minute"), (Decimal(ms_left) / 1000, "second")]
    words = [f"{count:,} {unit}{'' if count == 1 else 's'}" for count, unit in parts if count]
    return " ".join(words) or "nothing"


def _term(ms: int) -> str:
    """Word a span in days where it is some whole ones: "30 days", but "48 hours"."""
    days, ms_left = divmod(ms, 24 * UNIT_MS["hour"])
    return f"{days:,} days" if days > 2 and not ms_left else _span(ms)


def _begun(ms: int) -> str:
    """Word a span that counts whole once begun: "minute", "30 minutes"."""
    return _span(ms).removeprefix("1 ") if ms in UNIT_MS.values() else _span(ms)


def _date(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def _instant(book: Book, time_ms: int) -> str:
    """Word an instant by the clock on the wall: "Friday 6 March 2026 19:00"."""
    local = (EPOCH + timedelta(milliseconds=time_ms)).astimezone(ZoneInfo(book.timezone))
    clock = f"{local:%H:%M}" if not (local.second or local.microsecond) else f"{local:%H:%M:%S.%f}"
    return f"{DAYS[local.weekday()]} {_date(local)} {clock.rstrip('0') if '.' in clock else clock}"


def _between(book: Book, from_ms: int, until_ms: int) -> str:
    """Word a stretch of time, "" where it is all of it."""
    start = f"from {_instant(book, from_ms)}" if from_ms != EVER_MS else ""
    end = f"until {_instant(book, until_ms)}" if until_ms != NEVER_MS else ""
    return f"{start} {end}".strip()


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _weekdays(days: Iterable[int]) -> list[str]:
    """Days of the week, three or more in a row as "Monday to Friday"."""
    runs: list[list[int]] = []
    for day in sorted(days):
        if runs and runs[-1][-1] == day - 1:
            runs[-1].append(day)
        else:
            runs.append([day])
    words: list[str] = []
    for run in runs:
        if len(run) > 2:
            words.append(f"{DAYS[run[0]]} to {DAYS[run[-1]]}")
        else:
            words.extend(DAYS[day] for day in run)
    return words


def _band(band: Band) -> str:
    if len(band.days) == len(DAYS):
        when = "every day"
    else:
        dates = [_date(day) for day in sorted(band.dates)]
        when = _listing([*_weekdays(band.days), *dates])
    if band.except_dates:
        when += f" (not on {_listing(_date(day) for day in sorted(band.except_dates))})"
    if (band.from_minute, band.to_minute) == (0, 1440):
        return f"{when}, all day"
    past = band.to_minute > 1440
    end = _clock(band.to_minute - 1440) + " of the next day" if past else _clock(band.to_minute)
    return f"{when}, {_clock(band.from_minute)} to {end}"


def _tax(book: Book) -> str:
    if not book.tax:
        return "none"
    rates = [
        f"{region} {format_percent(rate)} %"
        if region != "*"
        else f"elsewhere {format_percent(rate)} %"
        for region, rate in sorted(book.tax, key=lambda pair: pair[0] == "*")
    ]
    return ", ".join(rates if "*" in dict(book.tax) else [*rates, "elsewhere none"])


def _heading(book: Book) -> list[str]:
    included = "tax included" if book.prices_include_tax else "tax to be added"
    since = "from ever"
    if book.effective_from_ms != EVER_MS:
        since = f"from {_instant(book, book.effective_from_ms)} ({book.timezone})"
    beat, idle = _span(book.heartbeat_timeout_ms), _span(book.idle_ms)
    repeat = _term(book.repeat_ms)
    rows: list[Row] = [
        ("In force", [since]),
        ("Prices", [f"in {book.currency}, {included}"]),
        ("Tax", [_tax(book)]),
        (
            "Sessions",
            [
                f"heartbeats at most {beat} apart; ended by {idle} of silence",
                f"known again for {repeat} after their end",
            ],
        ),
    ]
    if book.default_plan is not None:
        rows.append(("Unknown accounts", [f"are on the plan {book.default_plan}"]))
    return [f"TARIFF BOOK {book.id}", *_table(rows)]


# --- plans ---------------------------------------------------------------------------------------


def _plan(book: Book, plan: Plan) -> list[str]:
    mode: str = plan.mode
    if plan.mode == "prepaid":
        credit = plan.credit_limit_micros
        mode += f", down to a balance of {format_micros(-credit)}" if credit else ", no credit"
    lines = [f"PLAN {plan.id} ({mode})"]
    if plan.includes:
        lines.extend(_table([("Included at no charge:", [_listing(plan.includes)])]))
    if plan.rules:
        lines.append(f"{INDENT}What is watched is charged by the first of these that fits:")
        lines.extend(_table([(rule.id, rule_lines(rule)) for rule in plan.rules], INDENT * 2))
    if all(_conditions(rule) for rule in plan.rules):
        lines.append(f"{INDENT}What fits nothing here has no price and is kept in suspense.")
    free: list[Row] = [
        (step.id, [f"{_span(step.quantity_ms)} a {step.per}{_of(step.rules)}"])
        for step in plan.allowances
    ]
    off: list[Row] = [
        (
            step.id,
            [
                f"{format_percent(step.percent_micros)} %{_of(step.rules)}",
                _between(book, step.from_ms, step.until_ms),
            ],
        )
        for step in plan.discounts
    ]
    most: list[Row] = [
        (step.id, [f"{format_micros(step.amount_micros)} a {step.per}{_of(step.rules)}"])
        for step in plan.caps
    ]
    for title, rows in (("Free", free), ("Off the price", off), ("Never more than", most)):
        if rows:
            lines.extend([f"{INDENT}{title}:", *_table(rows, INDENT * 2)])
    return lines


def _of(rules: Sequence[str] | None) -> str:
    return "" if rules is None else f", of {_listing(rules)}"


def rule_lines(rule: Rule) -> list[str]:
    """What the rule is for, its price, and its further terms ("" where there are none)."""
    terms = []
    if rule.counter != rule.id:
        terms.append(f"counted together under {rule.counter}")
    if rule.increment_ms > 1:
        terms.append(f"every {_begun(rule.increment_ms)} begun counts whole")
    if rule.minimum_ms:
        terms.append(f"at least {_span(rule.minimum_ms)}")
    if rule.free_below_ms:
        terms.append(f"less than {_span(rule.free_below_ms)} is free")
    return [_conditions(rule) or "everything", _price(rule.price, rule.per), "; ".join(terms)]


def _conditions(rule: Rule) -> str:
    """Say what a piece must be, "" where anything will do."""
    parts = []
    if rule.kind is not None:
        parts.append(_listing([KINDS.get(kind, kind) for kind in rule.kind], "or"))
    if rule.content is not None:
        parts.append(_contents(rule.content))
    if rule.package is not None:
        parts.append(f"in package {_listing(rule.package, 'or')}")
    if rule.quality is not None:
        parts.append(f"in {_listing([quality or 'no quality' for quality in rule.quality], 'or')}")
    if rule.region is not None:
        parts.append(f"for {_listing([region or 'no region' for region in rule.region], 'or')}")
    if rule.band is not None:
        parts.append(f"during {_listing(rule.band, 'or')}")
    return ", ".join(parts)


SCOPES = {
    "segment": "in one viewing",
    "day": "in a day",
    "week": "in a week",
    "month": "in a month",
    "content": "of one content",
}
FLATS = {
    "segment": "for each viewing",
    "day": "for a day with any viewing",
    "week": "for a week with any viewing",
    "month": "for a month with any viewing",
    "content": "once for each content",
}


def _price(price: Price, per: str) -> str:
    if price.model == "flat":
        return f"{_money(price.amount_micros)} {FLATS[per]}" if price.amount_micros else "free"
    if price.model == "per_unit":
        return (
            f"{_money(price.amount_micros)} {EACH[price.unit_ms]}"
            if price.amount_micros
            else "free"
        )
    if price.model == "package":
        return (
            f"{_money(price.amount_micros)} for every {_begun(price.size_ms)} begun {SCOPES[per]}"
        )
    return _tiers(price, per)


def _tiers(price: Price, per: str) -> str:
    """Graduated: one tier after the other. Volume: one of them, for all."""
    graduated = price.model == "graduated"
    words = []
    for number, tier in enumerate(price.tiers):
        text = _money(tier.amount_micros)
        if tier.amount_micros:
            text += f" {EACH[price.unit_ms]}"
        if tier.flat_micros:
            flat = f"{format_micros(tier.flat_micros)} once"
            text = f"{text} and {flat}" if tier.amount_micros else flat
        if tier.up_to_ms is None:
            text = f"{text} beyond" if number and not graduated else text
        else:
            text += f" up to {_span(tier.up_to_ms)}"
            text += f" {SCOPES[per]}" if number == 0 else ""
        words.append(text)
    if graduated:
        return ", then ".join(words)
    return f"all at one price: {'; '.join(words)}"


# --- offers --------------------------------------------------------------------------------------


def _offer(book: Book, offer: Offer) -> list[str]:
    what = f"package {offer.package}" if offer.kind == "pass" else _contents(offer.content)
    prices = [
        f"{quality} {_money(micros)}" if quality is not None else _money(micros)
        for quality, micros in offer.prices
    ]
    terms = []
    if offer.starts_ms is not None:
        terms.append(f"starts {_instant(book, offer.starts_ms)}")
    if offer.ends_ms is not None:
        terms.append(f"ends {_instant(book, offer.ends_ms)}")
    if offer.kind == "rental":
        within, then = _term(offer.start_within_ms), _term(offer.watch_within_ms)
        terms.append(f"to be started within {within} of the order, then watched within {then}")
    if offer.kind == "pass":
        terms.append(f"for {_term(offer.duration_ms)} from the order")
    terms.append(CANCELS[offer.cancel])
    sale = _between(book, offer.sale_from_ms, offer.sale_until_ms)
    return [
        f"{OFFER_KINDS[offer.kind]}, {what}: {', '.join(prices)}",
        "; ".join(terms),
        f"on sale {sale}" if sale else "",
    ]
