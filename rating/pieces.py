"""Pieces: a watched interval cut at quarters and book changes, and each piece rated.

The steps stand in the order of the table in spec section 4: measure, allow, price, discount, cap,
tax, balance.
"""

from __future__ import annotations

from typing import Any

from rating.balances import debit_usage
from rating.counters import counter_of, find_counter, find_tally, tally_of
from rating.jit import int64, jit, jit_once
from rating.lines import add_piece, line_for, money_of, note_step
from rating.orders import covering_order
from rating.scratch import CANDIDATES_AT, CANDIDATES_LEN, candidates, matches
from rating.state import (
    ACCOUNTS,
    ALLOW,
    BALANCE,
    CAP,
    COUNTERS,
    DISCOUNT,
    MATCHES,
    MEASURE,
    MONEYS,
    NO_BOOK,
    NO_RULE,
    OUT_OF_BOUNDS,
    PRICE,
    RATED_MS,
    TALLIES,
    UNFUNDED,
    UNKNOWN_PLAN,
    accounts,
    counters,
    lines,
    moneys,
    names,
    orders,
    sessions,
    tallies,
    words,
)
from rating.tables import (
    CAPACITY,
    EMPTY,
    LIVE,
    NONE,
    SLOT_MASK,
    TABLE_PLACES,
    hash_numbers,
    index_of,
    insert,
    take,
    touch,
)
from tariffs.calendar import CONTENT, DAY_MS, MONTH, QUARTER_MS, SEGMENT, local_ms, period_of
from tariffs.compiled import (
    CALENDAR_AT,
    PREPAID,
    allowances,
    books,
    caps,
    discounts,
    lists,
    offers,
    plans,
    prices,
    rules,
    tiers,
)
from tariffs.matching import COVERED, Words, first_rule, resolve, tax_percent_micros
from tariffs.matching import UNKNOWN_PLAN as NO_SUCH_PLAN
from tariffs.money import COUNTER_MICROS_MAX, COUNTER_MS_MAX
from tariffs.prices import billed_ms, percent_of, price_micros, tax_micros


@jit
def book_at(b: Any, time_ms: int) -> int:
    """The last book with effective_from <= time; where none is in force yet, the first."""
    for book in range(len(books(b)) - 1, 0, -1):
        if books(b)[book].effective_from_ms <= time_ms:
            return book
    return 0


@jit
def first_book_ms(b: Any) -> int:
    """The instant before which no book is in force (section 2)."""
    return int64(books(b)[0].effective_from_ms)


@jit
def find_match(s: Any, b: Any, book: int, plan: int, region: int, packages: int, row: Any) -> int:
    """The slot of the match of a session's content now, worked out where it is new."""
    content, kind, quality = int64(row.content), int64(row.kind), int64(row.quality)
    hashed = hash_numbers(
        content, quality * 1_000_003 + kind, plan * 4_099 + book, region * 1_000_003 + packages
    )
    index = index_of(s, MATCHES)
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        slot = index[place] & SLOT_MASK
        match = matches(s)[slot]
        if (
            index[place] >> 32 == hashed
            and match.content == content
            and match.quality == quality
            and match.kind == kind
            and match.plan == plan
            and match.book == book
            and match.region == region
            and match.packages == packages
        ):
            return slot
        place = (place + 1) & mask
    slot = take(s, MATCHES)
    match = matches(s)[slot]
    match.book = book
    match.plan = plan
    match.region = region
    match.packages = packages
    match.content = content
    match.kind = kind
    match.quality = quality
    known = Words(names(s), words(s))
    s[CANDIDATES_LEN] = resolve(b, known, match, candidates(s), s[CANDIDATES_LEN])
    insert(index, hashed, slot)
    return slot


@jit
def note_bounds(s: Any, account: int, value: int, bound: int) -> None:
    """Mark an account one of whose counters has come past its bound: nothing more is priced for it.

    One piece more could otherwise pass 64 bits, and what wraps around there is a wrong charge.
    """
    if value > bound or value < -bound:
        accounts(s)[account].out_of_bounds = 1
        touch(s, ACCOUNTS, account)


@jit
def _measure(s: Any, rule: Any, session: int, money: int, watched: int) -> int:
    """Watched to billed."""
    row = sessions(s)[session]
    account, name = int64(row.account), int64(rule.name)
    if rule.per == CONTENT:
        content = int64(row.content)
        slot = counter_of(s, account, MEASURE, name, CONTENT, content)
        before = int64(counters(s)[slot].value)
        counters(s)[slot].value = before + watched
        touch(s, COUNTERS, slot)
        note_step(s, money, MEASURE, name, CONTENT, content, before, before + watched)
    else:
        slot = tally_of(s, session, MEASURE, name)
        before = int64(tallies(s)[slot].value)
        tallies(s)[slot].value = before + watched
        touch(s, TALLIES, slot)
        note_step(s, money, MEASURE, name, SEGMENT, 0, before, before + watched)
    increment, minimum = int64(rule.increment_ms), int64(rule.minimum_ms)
    free_below = int64(rule.free_below_ms)
    return billed_ms(before + watched, increment, minimum, free_below) - billed_ms(
        before, increment, minimum, free_below
    )


@jit
def _move(
    s: Any, account: int, step: int, name: int, per: int, period: int, money: int, by: int
) -> int:
    """Move a counter of a period; returns what it was."""
    slot = counter_of(s, account, step, name, per, period)
    row = counters(s)[slot]
    before = int64(row.value)
    row.value = before + by
    touch(s, COUNTERS, slot)
    note_step(s, money, step, name, per, period, before, before + by)
    return before


@jit
def _allow(s: Any, b: Any, rule: Any, account: int, day: int, money: int, billed: int) -> int:
    """Billed less what the allowances give free."""
    bill_day = int64(accounts(s)[account].bill_day)
    rest = billed
    for number in range(rule.allowances_at, rule.allowances_at + rule.allowances_len):
        if rest <= 0:
            break
        allowance = allowances(b)[lists(b)[number]]
        per = int64(allowance.per)
        period = period_of(per, day, bill_day)
        name = int64(allowance.name)
        slot = counter_of(s, account, ALLOW, name, per, period)
        used = int64(counters(s)[slot].value)
        free = min(rest, max(int64(0), int64(allowance.quantity_ms) - used))
        counters(s)[slot].value = used + free
        touch(s, COUNTERS, slot)
        note_step(s, money, ALLOW, name, per, period, used, used + free)
        rest -= free
    return rest


@jit
def _period(s: Any, per: int, session: int, day: int) -> int:
    """The period of a price's counter, which is not of the segment."""
    row = sessions(s)[session]
    if per == CONTENT:
        return int64(row.content)
    return period_of(per, day, int64(accounts(s)[int64(row.account)].bill_day))


@jit
def _price(s: Any, b: Any, rule: Any, session: int, day: int, money: int, quantity: int) -> int:
    """P at the counter's new value less P at its old one."""
    account, counter = int64(sessions(s)[session].account), int64(rule.counter)
    per = int64(rule.per)
    if per == SEGMENT:
        slot = tally_of(s, session, PRICE, counter)
        before = int64(tallies(s)[slot].value)
        tallies(s)[slot].value = before + quantity
        touch(s, TALLIES, slot)
        note_step(s, money, PRICE, counter, per, 0, before, before + quantity)
    else:
        period = _period(s, per, session, day)
        before = _move(s, account, PRICE, counter, per, period, money, quantity)
    price = prices(b)[rule.price]
    after_micros = price_micros(price, tiers(b), before + quantity)
    note_bounds(s, account, before + quantity, COUNTER_MS_MAX)
    note_bounds(s, account, after_micros, COUNTER_MICROS_MAX)
    return after_micros - price_micros(price, tiers(b), before)


@jit
def _discount(
    s: Any, b: Any, rule: Any, account: int, t0_ms: int, day: int, money: int, amount: int
) -> int:
    """The amount less the discounts in force."""
    for number in range(rule.discounts_at, rule.discounts_at + rule.discounts_len):
        discount = discounts(b)[lists(b)[number]]
        if discount.from_ms <= t0_ms < discount.until_ms:
            period = period_of(MONTH, day, int64(accounts(s)[account].bill_day))
            name = int64(discount.name)
            before = _move(s, account, DISCOUNT, name, MONTH, period, money, amount)
            note_bounds(s, account, before + amount, COUNTER_MICROS_MAX)
            percent = int64(discount.percent_micros)
            amount -= percent_of(before + amount, percent) - percent_of(before, percent)
    return amount


@jit
def _cap(s: Any, b: Any, rule: Any, account: int, day: int, money: int, amount: int) -> int:
    """The amount as far as the caps let it through."""
    bill_day = int64(accounts(s)[account].bill_day)
    for number in range(rule.caps_at, rule.caps_at + rule.caps_len):
        cap = caps(b)[lists(b)[number]]
        per, limit = int64(cap.per), int64(cap.amount_micros)
        period = period_of(per, day, bill_day)
        before = _move(s, account, CAP, int64(cap.name), per, period, money, amount)
        note_bounds(s, account, before + amount, COUNTER_MICROS_MAX)
        amount = min(limit, before + amount) - min(limit, before)
    return amount


@jit
def total_micros(row: Any) -> int:
    """What a line's net comes to with tax (section 4, tax)."""
    net = int64(row.gross_micros - row.discount_micros - row.capped_micros)
    if row.inclusive == 1:
        return net
    return net + tax_micros(net, int64(row.percent_micros), False)


@jit
def _pay(
    s: Any, rule: Any, session: int, day: int, total: int, limit_micros: int, time_ms: int
) -> int:
    """What a prepaid balance pays of a piece; the rest is unfunded (section 4, who pays)."""
    account, counter = int64(sessions(s)[session].account), int64(rule.counter)
    per, period = int64(rule.per), int64(0)
    unfunded = int64(0)
    if per == SEGMENT:
        slot = find_tally(s, session, UNFUNDED, counter)
        if slot != NONE:
            unfunded = int64(tallies(s)[slot].value)
    else:
        period = _period(s, per, session, day)
        slot = find_counter(s, account, UNFUNDED, counter, per, period)
        if slot != NONE:
            unfunded = int64(counters(s)[slot].value)
    paid = debit_usage(s, account, total, unfunded, limit_micros, time_ms)
    if paid == total:
        return paid
    if per == SEGMENT:
        slot = tally_of(s, session, UNFUNDED, counter)
        tallies(s)[slot].value = unfunded + total - paid
        touch(s, TALLIES, slot)
    else:
        slot = counter_of(s, account, UNFUNDED, counter, per, period)
        counters(s)[slot].value = unfunded + total - paid
        touch(s, COUNTERS, slot)
    return paid


@jit_once
def _rate_priced(
    s: Any,
    b: Any,
    rule_row: int,
    plan_row: int,
    session: int,
    line: int,
    day: int,
    t0_ms: int,
    t1_ms: int,
    time_ms: int,
) -> None:
    """A piece that a rule prices, through all its steps."""
    rule = rules(b)[rule_row]
    account = int64(sessions(s)[session].account)
    money = int64(lines(s)[line].money)
    billed = _measure(s, rule, session, money, t1_ms - t0_ms)
    rest = _allow(s, b, rule, account, day, money, billed)
    gross = _price(s, b, rule, session, day, money, rest)
    discounted = _discount(s, b, rule, account, t0_ms, day, money, gross)
    passed = _cap(s, b, rule, account, day, money, discounted)
    row = moneys(s)[money]
    total = -total_micros(row)
    row.billed_ms += billed
    row.free_ms += billed - rest
    row.gross_micros += gross
    row.discount_micros += gross - discounted
    row.capped_micros += discounted - passed
    total += total_micros(row)
    plan = plans(b)[plan_row]
    if plan.mode == PREPAID:
        before = int64(accounts(s)[account].balance_micros)
        limit = int64(plan.credit_limit_micros)
        paid = _pay(s, rule, session, day, total, limit, time_ms)
        row.paid_micros += paid
        row.unfunded_micros += total - paid
        note_step(s, money, BALANCE, 0, SEGMENT, 0, before, before - paid)


@jit_once
def rate_piece(
    s: Any, b: Any, session: int, book: int, t0_ms: int, t1_ms: int, time_ms: int
) -> None:
    """Rate one piece [t0, t1) of a session, by the book in force at t0, into its line."""
    row = sessions(s)[session]
    account = int64(row.account)
    owner = accounts(s)[account]
    name = int64(books(b)[book].name)
    plan, region = int64(owner.plan), int64(owner.region)
    match = matches(s)[find_match(s, b, book, plan, region, int64(owner.packages), row)]
    s[RATED_MS] += t1_ms - t0_ms
    if match.outcome == NO_SUCH_PLAN:
        line = line_for(s, session, t0_ms, plan, name, UNKNOWN_PLAN, region)
        add_piece(s, line, t0_ms, t1_ms)
        return
    if match.outcome == COVERED:
        line = line_for(s, session, t0_ms, plan, name, int64(match.covered_by), region)
        add_piece(s, line, t0_ms, t1_ms)
        return
    order = int64(NONE)
    if owner.orders != NONE:
        order = covering_order(s, b, book, account, int64(row.content), t0_ms)
    if order != NONE:
        covered_by = int64(offers(b)[orders(s)[order].offer_row].rule_name)
        line = line_for(s, session, t0_ms, plan, name, covered_by, region)
        add_piece(s, line, t0_ms, t1_ms)
        return
    wall_ms = local_ms(b, CALENDAR_AT, int64(books(b)[book].zone), t0_ms)
    rule = first_rule(b, match, candidates(s), wall_ms)
    if rule == NONE or owner.out_of_bounds == 1:
        reason = NO_RULE if rule == NONE else OUT_OF_BOUNDS
        line = line_for(s, session, t0_ms, plan, name, reason, region)
        add_piece(s, line, t0_ms, t1_ms)
        return
    line = line_for(s, session, t0_ms, plan, name, int64(rules(b)[rule].name), region)
    add_piece(s, line, t0_ms, t1_ms)
    if lines(s)[line].money == NONE:
        percent = tax_percent_micros(b, Words(names(s), words(s)), book, region)
        prepaid = 1 if plans(b)[match.plan_row].mode == PREPAID else 0
        money_of(s, line, prepaid, int64(books(b)[book].inclusive), percent)
    touch(s, MONEYS, int64(lines(s)[line].money))
    _rate_priced(
        s,
        b,
        rule,
        int64(match.plan_row),
        session,
        line,
        wall_ms // DAY_MS,
        t0_ms,
        t1_ms,
        time_ms,
    )


@jit
def hold_piece(s: Any, session: int, t0_ms: int, t1_ms: int) -> None:
    """Gather a piece that no book rates into a suspended line."""
    owner = accounts(s)[int64(sessions(s)[session].account)]
    s[RATED_MS] += t1_ms - t0_ms
    line = line_for(s, session, t0_ms, int64(owner.plan), 0, NO_BOOK, int64(owner.region))
    add_piece(s, line, t0_ms, t1_ms)


@jit_once
def rate_interval(s: Any, b: Any, session: int, from_ms: int, to_ms: int, time_ms: int) -> None:
    """Cut a watched interval at UTC quarters and where another book comes into force; rate each."""
    t0_ms = from_ms
    while t0_ms < to_ms:
        t1_ms = min(to_ms, (t0_ms // QUARTER_MS + 1) * QUARTER_MS)
        if t0_ms < first_book_ms(b):
            t1_ms = min(t1_ms, first_book_ms(b))
            hold_piece(s, session, t0_ms, t1_ms)
        else:
            book = book_at(b, t0_ms)
            if book + 1 < len(books(b)):
                t1_ms = min(t1_ms, int64(books(b)[book + 1].effective_from_ms))
            rate_piece(s, b, session, book, t0_ms, t1_ms, time_ms)
        t0_ms = t1_ms


@jit
def matches_full(s: Any, room: int, rules_max: int) -> bool:
    """Whether `room` more matches might not fit; the caller then forgets them all."""
    base = MATCHES * TABLE_PLACES
    return bool(
        s[base + LIVE] + room > s[base + CAPACITY]
        or s[CANDIDATES_LEN] + room * rules_max > s[CANDIDATES_AT + 1]
    )
