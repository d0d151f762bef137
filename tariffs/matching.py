"""Which rule prices a piece: packages that cover it first, then the plan's rules in order.

What depends only on the book, the plan, the region, the packages, the content, its kind and its
quality is worked out once and kept as a `Match`; what depends on the time of day (bands) is looked
at for each piece.
Source: spec section 3 (conditions) and section 4 (first that applies).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tariffs.compiled import NONE, bands, books, lists, packages, plans, rules, taxes
from tariffs.jit import int64, jit

UNKNOWN_PLAN, COVERED, RULES = range(3)
SEPARATOR = 0x1F  # between the package names of an account's list
DAY_MS = 86_400_000
MINUTE_MS = 60_000

MATCH = np.dtype(
    [
        ("live", "u1"),
        ("outcome", "u1"),
        ("hash", "<u4"),
        ("book", "<i4"),
        ("plan", "<i4"),
        ("region", "<i4"),
        ("packages", "<i4"),
        ("content", "<i4"),
        ("kind", "<i4"),
        ("quality", "<i4"),
        ("plan_row", "<i4"),
        ("covered_by", "<i4"),  # the package's rule name
        ("rules_at", "<i4"),  # range of Candidates.rules
        ("rules_len", "<i4"),
    ]
)


class Words(NamedTuple):
    """The texts of names: `rows` has `at` and `len` into `data`."""

    rows: Any
    data: Any


@jit
def listed(numbers: Any, at: int, length: int, number: int) -> bool:
    """Whether a sorted list holds a number."""
    low = int64(at)
    past = low + int64(length)
    end = past
    while low < past:
        middle = (low + past) // 2
        if numbers[middle] < number:
            low = middle + 1
        else:
            past = middle
    return bool(low < end and numbers[low] == number)


@jit
def holds(numbers: Any, at: int, length: int, number: int) -> bool:
    """Whether a condition holds: absent (length NONE), or its list has the number."""
    return length == NONE or listed(numbers, at, length, number)


@jit
def same_name(words: Any, name: int, data: Any, at: int, length: int) -> bool:
    """Whether a name's text equals a range of other bytes."""
    row = words.rows[name]
    if int64(row.len) != length:
        return False
    for step in range(length):  # noqa: SIM110 - compiled code has no generators
        if words.data[int64(row.at) + step] != data[at + step]:
            return False
    return True


@jit
def is_region_or_parent(words: Any, parent: int, region: int) -> bool:
    """Whether `parent` is the region, or "SE" to its "SE-AB"."""
    if parent == region:
        return True
    length = int64(words.rows[parent].len)
    row = words.rows[region]
    if length == 0 or int64(row.len) <= length or words.data[int64(row.at) + length] != 45:
        return False
    return same_name(words, parent, words.data, int64(row.at), length)


@jit
def tax_percent_micros(b: Any, words: Any, book: int, region: int) -> int:
    """The rate of the longest region name that fits, else of "*", else 0 (section 3)."""
    row = books(b)[book]
    longest = -1
    percent_micros = int64(0)
    for number in range(row.taxes_at, row.taxes_at + row.taxes_len):
        tax = taxes(b)[number]
        name = words.rows[tax.region]
        any_region = name.len == 1 and words.data[name.at] == 42
        length = int64(0) if any_region else int64(name.len)
        fits = any_region or is_region_or_parent(words, int64(tax.region), region)
        if fits and length > longest:
            longest = length
            percent_micros = int64(tax.percent_micros)
    return percent_micros


@jit
def package_row(b: Any, book: int, name: int) -> int:
    """A package of a book, or NONE."""
    row = books(b)[book]
    for number in range(row.packages_at, row.packages_at + row.packages_len):
        if packages(b)[number].name == name:
            return int64(number)
    return int64(NONE)


@jit
def in_package(b: Any, package: int, content: int) -> bool:
    """Whether a package (a row) holds a content."""
    row = packages(b)[package]
    return listed(lists(b), row.content_at, row.content_len, content)


@jit
def plan_row(b: Any, book: int, plan: int) -> int:
    """A plan of a book, or NONE."""
    row = books(b)[book]
    for number in range(row.plans_at, row.plans_at + row.plans_len):
        if plans(b)[number].name == plan:
            return int64(number)
    return int64(NONE)


@jit
def covering_package(
    b: Any, words: Any, book: int, plan: int, subscribed_to: int, content: int
) -> int:
    """The first package that covers a content: the plan's own, then those subscribed to."""
    row = plans(b)[plan]
    for place in range(row.includes_at, row.includes_at + row.includes_len):
        package = package_row(b, book, int64(lists(b)[place]))
        if package != NONE and in_package(b, package, content):
            return package
    subscribed = words.rows[subscribed_to]
    at = int64(subscribed.at)
    end = at + int64(subscribed.len)
    start = at
    while start < end:
        past = start
        while past < end and words.data[past] != SEPARATOR:
            past += 1
        found = _package_of_text(b, words, book, start, past - start)
        if found != NONE and in_package(b, found, content):
            return found
        start = past + 1
    return int64(NONE)


@jit
def _package_of_text(b: Any, words: Any, book: int, at: int, length: int) -> int:
    """A book's package by a range of the names' own bytes, or NONE."""
    row = books(b)[book]
    for number in range(row.packages_at, row.packages_at + row.packages_len):
        name = int64(packages(b)[number].name)
        if same_name(words, name, words.data, at, length):
            return int64(number)
    return int64(NONE)


@jit
def rule_fits(b: Any, words: Any, book: int, rule: int, match: Any) -> bool:
    """Whether every condition of a rule but its bands holds."""
    row = rules(b)[rule]
    numbers = lists(b)
    if not (
        holds(numbers, row.kind_at, row.kind_len, match.kind)
        and holds(numbers, row.content_at, row.content_len, match.content)
        and holds(numbers, row.quality_at, row.quality_len, match.quality)
    ):
        return False
    if row.package_len != NONE:
        inside = False
        for place in range(row.package_at, row.package_at + row.package_len):
            package = package_row(b, book, int64(numbers[place]))
            inside = inside or (package != NONE and in_package(b, package, match.content))
        if not inside:
            return False
    if row.region_len == NONE:
        return True
    for place in range(row.region_at, row.region_at + row.region_len):
        if is_region_or_parent(words, int64(numbers[place]), int64(match.region)):
            return True
    return False


@jit
def resolve(b: Any, words: Any, match: Any, candidates: Any, used: int) -> int:
    """Work out a match whose key is filled in; returns how many candidates are used after it.

    Candidates past the first rule without bands can never be reached and are left out.
    """
    book = int64(match.book)
    plan = plan_row(b, book, int64(match.plan))
    match.plan_row = plan
    match.rules_at = used
    match.rules_len = 0
    if plan == NONE:
        match.outcome = UNKNOWN_PLAN
        return used
    package = covering_package(b, words, book, plan, int64(match.packages), int64(match.content))
    if package != NONE:
        match.outcome = COVERED
        match.covered_by = packages(b)[package].rule_name
        return used
    match.outcome = RULES
    row = plans(b)[plan]
    for rule in range(row.rules_at, row.rules_at + row.rules_len):
        if rule_fits(b, words, book, rule, match):
            candidates[used] = rule
            used += 1
            if rules(b)[rule].band_len == NONE:
                break
    match.rules_len = used - match.rules_at
    return used


@jit
def band_member(b: Any, band: Any, local_day: int) -> bool:
    """Whether a band begins on a local date."""
    weekday = (local_day + 3) % 7  # 1970-01-01 was a Thursday
    numbers = lists(b)
    if listed(numbers, band.except_dates_at, band.except_dates_len, local_day):
        return False
    return bool((int64(band.days) >> weekday) & 1) or listed(
        numbers, band.dates_at, band.dates_len, local_day
    )


@jit
def in_band(b: Any, band_row: int, local_ms: int) -> bool:
    """Whether a local wall-clock time lies in a band; one past midnight belongs to its first day."""
    band = bands(b)[band_row]
    day = local_ms // DAY_MS
    minute = (local_ms - day * DAY_MS) // MINUTE_MS
    if band.from_minute <= minute < band.to_minute and band_member(b, band, day):
        return True
    return minute + 1440 < band.to_minute and band_member(b, band, day - 1)


@jit
def first_rule(b: Any, match: Any, candidates: Any, local_ms: int) -> int:
    """The first candidate one of whose bands holds now, or NONE."""
    for place in range(match.rules_at, match.rules_at + match.rules_len):
        rule = int64(candidates[place])
        row = rules(b)[rule]
        if row.band_len == NONE:
            return rule
        for number in range(row.band_at, row.band_at + row.band_len):
            if in_band(b, int64(lists(b)[number]), local_ms):
                return rule
    return int64(NONE)
