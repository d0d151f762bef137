"""From `[[plans]]` tables to plans: rules and prices, allowances, discounts and caps.

Source: spec section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tariffs import values
from tariffs.check_reach import unreachable_rules
from tariffs.model import (
    EVER_MS,
    NEVER_MS,
    UNIT_MS,
    Allowance,
    Cap,
    Discount,
    Plan,
    Price,
    Rule,
    Tier,
)
from tariffs.money import AMOUNT_MICROS_MAX, MICROS, PRICE_MICROS_MAX
from tariffs.reading import Table, with_ids

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tariffs.model import Per
    from tariffs.reading import Parse

SECOND_MS, HOUR_MS = UNIT_MS["second"], UNIT_MS["hour"]
CONDITIONS = ("kind", "content", "package", "quality", "region", "band")
MODELS = ("per_unit", "graduated", "volume", "package", "flat")
PERIODS = ("segment", "day", "week", "month", "content")
DISCOUNT_PERCENT_MAX = 100
PRICE_EXAMPLE = 'price = { model = "per_unit", amount = "6.00", unit = "hour" }'
TIERS_EXAMPLE = 'tiers = [{ up_to = 10, amount = "2.00" }, { amount = "1.00" }]'

_period = values.choice("day", "week", "month")
_seconds = values.span_ms(SECOND_MS)
_amount = values.amount(PRICE_MICROS_MAX)
_large_amount = values.amount(AMOUNT_MICROS_MAX)


@dataclass(frozen=True, slots=True)
class _Names:
    """How the plans of a book name its packages and bands."""

    package: Parse[str]
    band: Parse[str]


def read_plans(
    top: Table, packages: Mapping[str, tuple[str, ...]], bands: Iterable[str]
) -> tuple[Plan, ...]:
    """Read the plans of a book whose packages and bands are known."""
    if not top.values.get("plans"):
        top.report("there is no plan", "add [[plans]] with id, mode and [[plans.rules]]")
    names = _Names(values.known("package", packages), values.known("band", tuple(bands)))
    plans = []
    for table, plan_id in with_ids(top.tables("plans", "[[plans]]"), "plan"):
        rule_tables = table.tables("rules", "[[plans.rules]]")
        plan = _read_plan(table, plan_id, _read_rules(rule_tables, names), names)
        _check_reach(rule_tables, plan, packages)
        plans.append(plan)
    return tuple(plans)


def _read_plan(table: Table, plan_id: str, rules: tuple[Rule, ...], names: _Names) -> Plan:
    rule = values.known("rule", [rule.id for rule in rules if rule.id])
    plan = Plan(
        id=plan_id,
        mode=table.need("mode", values.choice("postpaid", "prepaid"), "postpaid", '"postpaid"'),
        credit_limit_micros=table.one("credit_limit", _large_amount, 0),
        includes=table.many("includes", names.package) or (),
        rules=rules,
        allowances=_read_allowances(table, rule),
        discounts=_read_discounts(table, rule),
        caps=_read_caps(table, rule),
    )
    table.close()
    return plan


def _read_rules(tables: Sequence[Table], names: _Names) -> tuple[Rule, ...]:
    return tuple(
        _read_rule(table, rule_id, names)
        for table, rule_id in with_ids(tables, "rule", values.rule_id)
    )


def _read_rule(table: Table, rule_id: str, names: _Names) -> Rule:
    rule = Rule(
        id=rule_id,
        kind=table.one_or_many("kind", values.name),
        content=table.one_or_many("content", values.name),
        package=table.one_or_many("package", names.package),
        quality=table.one_or_many("quality", values.text),
        region=table.one_or_many("region", values.text),
        band=table.one_or_many("band", names.band),
        per=table.one("per", values.choice(*PERIODS), "segment"),
        counter=table.one("counter", values.name, rule_id),
        increment_ms=table.one("increment_s", values.span_ms(SECOND_MS, positive=True), 1),
        minimum_ms=table.one("minimum_s", _seconds, 0),
        free_below_ms=table.one("free_below_s", _seconds, 0),
        price=_read_price(table),
    )
    _check_step(table, rule)
    table.close()
    return rule


def _check_step(table: Table, rule: Rule) -> None:
    """Hold the bound of what one piece of viewing can cost, by which charges fit 64 bits.

    A piece is at most a quarter of an hour, and more only by an increment, a minimum, or the edge
    of a tier that prices anew all that was before it.
    """
    price = rule.price
    prices = [(tier.amount_micros, price.unit_ms) for tier in price.tiers]
    if price.model in ("per_unit", "package"):
        prices = [(price.amount_micros, price.size_ms or price.unit_ms)]
    span_ms = max(rule.increment_ms, rule.minimum_ms)
    steps = [span_ms * amount // for_ms for amount, for_ms in prices]
    if price.model == "volume":
        steps += [
            (lower.up_to_ms or 0) * abs(upper.amount_micros - lower.amount_micros) // price.unit_ms
            for lower, upper in pairwise(price.tiers)
        ]
    if max(steps, default=0) > AMOUNT_MICROS_MAX:
        table.report(
            f"a piece of viewing can cost more than {AMOUNT_MICROS_MAX // MICROS}",
            "lower `minimum_s`, `increment_s` or the price",
        )


def _read_price(rule: Table) -> Price:
    if "price" not in rule:
        rule.report("`price` is missing", f"add {PRICE_EXAMPLE}")
    table = rule.table("price", rule.inner("price"), PRICE_EXAMPLE)
    table.mute = table.mute or "price" not in rule
    model = table.need("model", values.choice(*MODELS), None, f'"{MODELS[0]}"')
    if model is None:
        return Price(model="flat")  # Which other keys belong here is not known.
    unit = "hour"
    if model != "flat":
        unit = table.need("unit", values.choice(*UNIT_MS), unit, '"hour"')
    unit_ms = UNIT_MS[unit]
    size_ms = 0
    amount_micros = 0
    tiers: tuple[Tier, ...] = ()
    if model == "package":
        size_ms = table.need("size", values.span_ms(unit_ms, positive=True), unit_ms, "1")
    if model in ("graduated", "volume"):
        tiers = _read_tiers(table, unit_ms)
    else:
        amount_micros = table.need("amount", _amount, 0, '"6.00"')
    if model in ("per_unit", "package"):
        _check_hourly(table, amount_micros, size_ms or unit_ms)
    table.close()
    return Price(model, amount_micros, unit_ms, size_ms, tiers)


def _check_hourly(table: Table, amount_micros: int, for_ms: int) -> None:
    """Hold the bound under which a price of any real quantity fits 64 bits."""
    if amount_micros * HOUR_MS > PRICE_MICROS_MAX * for_ms:
        most = PRICE_MICROS_MAX // MICROS
        table.report(f"the price is more than {most} an hour", "lower `amount`", "amount")


def _read_tiers(price: Table, unit_ms: int) -> tuple[Tier, ...]:
    if not price.values.get("tiers", True):
        price.report("`tiers` is empty", f"write {TIERS_EXAMPLE}", "tiers")
    elif "tiers" not in price:
        price.report("`tiers` is missing", f"add {TIERS_EXAMPLE}")
    tables = price.tables("tiers", "tier", TIERS_EXAMPLE)
    tiers = []
    below_ms = 0
    for table in tables:
        up_to_ms = table.one("up_to", values.span_ms(unit_ms, positive=True), None)
        if table is tables[-1] and up_to_ms is not None:
            table.report("the last tier ends", "leave its `up_to` out: it is open", "up_to")
        elif table is not tables[-1] and "up_to" not in table:
            table.report("only the last tier may be open", "give this one an `up_to`")
        if up_to_ms is not None and up_to_ms <= below_ms:
            mend = "let the tiers ascend, each `up_to` above the one before"
            table.report("`up_to` is not above the tier before", mend, "up_to")
        if "amount" not in table and "flat" not in table:
            table.report("the tier has no price", 'add amount = "…" or flat = "…"; "0" is free')
        amount_micros = table.one("amount", _amount, 0)
        _check_hourly(table, amount_micros, unit_ms)
        tiers.append(Tier(up_to_ms, amount_micros, table.one("flat", _amount, 0)))
        below_ms = max(below_ms, up_to_ms or 0)
        table.close()
    return tuple(tiers)


def _rules_named(table: Table, rule: Parse[str]) -> tuple[str, ...] | None:
    """Read the rules that a step of a plan names; None for all."""
    if table.values.get("rules") == []:
        mend = "leave `rules` out for all of the plan's rules"
        table.report("`rules` is empty, so it would hold for none", mend, "rules")
    return table.many("rules", rule)


def _read_allowances(plan: Table, rule: Parse[str]) -> tuple[Allowance, ...]:
    allowances = []
    for table, allowance_id in with_ids(
        plan.tables("allowances", "[[plans.allowances]]"), "allowance"
    ):
        unit = table.need("unit", values.choice(*UNIT_MS), "hour", '"hour"')
        quantity_ms = table.need("quantity", values.span_ms(UNIT_MS[unit]), 0, "10")
        per: Per = table.one("per", _period, "month")
        allowances.append(Allowance(allowance_id, quantity_ms, per, _rules_named(table, rule)))
        table.close()
    return tuple(allowances)


def _read_discounts(plan: Table, rule: Parse[str]) -> tuple[Discount, ...]:
    discounts = []
    for table, discount_id in with_ids(plan.tables("discounts", "[[plans.discounts]]"), "discount"):
        discount = Discount(
            id=discount_id,
            percent_micros=table.need("percent", values.percent(DISCOUNT_PERCENT_MAX), 0, '"10"'),
            rules=_rules_named(table, rule),
            from_ms=table.one("from", values.instant_ms, EVER_MS),
            until_ms=table.one("until", values.instant_ms, NEVER_MS),
        )
        if discount.from_ms >= discount.until_ms:
            table.report("`until` is not after `from`", "the discount would never hold", "until")
        discounts.append(discount)
        table.close()
    return tuple(discounts)


def _read_caps(plan: Table, rule: Parse[str]) -> tuple[Cap, ...]:
    caps = []
    for table, cap_id in with_ids(plan.tables("caps", "[[plans.caps]]"), "cap"):
        amount_micros = table.need("amount", _large_amount, 0, '"99.00"')
        per: Per = table.one("per", _period, "month")
        caps.append(Cap(cap_id, amount_micros, per, _rules_named(table, rule)))
        table.close()
    return tuple(caps)


def _check_reach(
    tables: Sequence[Table], plan: Plan, packages: Mapping[str, tuple[str, ...]]
) -> None:
    """Report the plan's rules that no piece reaches, as far as their conditions can be trusted."""
    if not tables:
        return
    page = tables[0].page
    packages_flawed = page.flawed("packages")
    trusted = [
        not any(page.flawed(*table.path, key) for key in CONDITIONS)
        and not (packages_flawed and rule.package is not None)
        for table, rule in zip(tables, plan.rules, strict=True)
    ]
    includes = () if packages_flawed else plan.includes
    for place, what, mend in unreachable_rules(plan.rules, trusted, includes, packages):
        tables[place].doubt(what, mend)
