"""Orders: buying an offer, cancelling it, and what an order covers.

Source: spec section 5.
"""

from __future__ import annotations

from typing import Any

from rating.balances import credit, credit_limit, exhaust, give_signal
from rating.jit import int64, jit
from rating.names import find_order, id_hash, intern
from rating.schemas import BALANCE_MICROS_MAX
from rating.scratch import (
    BALANCE_OUT_OF_BOUNDS,
    HORIZON_MS,
    INSUFFICIENT_BALANCE,
    NO_REASON,
    NOT_CANCELLABLE,
    NOT_ON_SALE,
    ORDER_ACCEPTED,
    ORDER_CANCEL_REJECTED,
    ORDER_CANCELLED,
    ORDER_DECLINED,
    PLAYED,
    POSTINGS_LEN,
    STARTED,
    UNKNOWN_OFFER,
    UNKNOWN_ORDER,
    UNKNOWN_PLAN,
    postings,
)
from rating.state import (
    ACCOUNTS,
    ACTIVE,
    APPLIED,
    CANCELLED,
    DECLINED,
    DUPLICATES,
    ORDERS,
    TEXTS,
    UNSET_MS,
    accounts,
    names,
    orders,
    words,
)
from rating.tables import NONE, append_text, index_of, insert, take, touch
from tariffs.compiled import (
    BEFORE_PLAY,
    BEFORE_START,
    EST,
    PASS,
    PPV,
    PREPAID,
    books,
    lists,
    offer_prices,
    offers,
    plans,
)
from tariffs.matching import (
    Words,
    in_package,
    listed,
    package_row,
    plan_row,
    same_name,
    tax_percent_micros,
)
from tariffs.prices import tax_micros


@jit
def find_offer(s: Any, b: Any, book: int, text: Any, at: int, length: int) -> int:
    """An offer of a book by its id, or NONE."""
    known = Words(names(s), words(s))
    row = books(b)[book]
    for number in range(row.offers_at, row.offers_at + row.offers_len):
        if same_name(known, int64(offers(b)[number].name), text, at, length):
            return int64(number)
    return int64(NONE)


@jit
def offer_price(b: Any, offer: int, quality: int) -> int:
    """The row of the price for a quality, or NONE where the offer lacks it."""
    row = offers(b)[offer]
    for number in range(row.prices_at, row.prices_at + row.prices_len):
        priced = int64(offer_prices(b)[number].quality)
        if priced in (NONE, quality):
            return int64(number)
    return int64(NONE)


@jit
def _new_order(s: Any, text: Any, event: Any, account: int) -> int:
    """An order row with its id and its device."""
    slot = take(s, ORDERS)
    row = orders(s)[slot]
    at = int64(event.key_at)
    row.account = account
    row.at = append_text(s, TEXTS, text, at, int64(event.key_len))
    append_text(s, TEXTS, text, int64(event.device_at), int64(event.device_len))
    row.len = event.key_len
    row.device_len = event.device_len
    row.time_ms = event.time_ms
    row.next = NONE
    row.first_play_ms = UNSET_MS
    insert(index_of(s, ORDERS), id_hash(account, text, at, int64(event.key_len)), slot)
    return slot


@jit
def _activate(s: Any, account: int, order: int) -> None:
    """Append an order to its account's active ones, which stand in order of purchase."""
    owner = accounts(s)[account]
    touch(s, ACCOUNTS, account)
    last = int64(owner.orders)
    if last == NONE:
        owner.orders = order
        return
    while orders(s)[last].next != NONE:
        last = int64(orders(s)[last].next)
    orders(s)[last].next = order
    touch(s, ORDERS, last)


@jit
def _post(s: Any, refund: int, order: int, time_ms: int) -> None:
    """Leave a purchase or a refund to become a charge."""
    posting = postings(s)[s[POSTINGS_LEN]]
    posting.refund = refund
    posting.order = order
    posting.time_ms = time_ms
    s[POSTINGS_LEN] += 1


@jit
def purchase(s: Any, b: Any, book: int, event: Any, text: Any, account: int) -> int:
    """Apply an `order.purchase`; returns DUPLICATES, APPLIED, or minus a reason to suspend it."""
    at, length = int64(event.key_at), int64(event.key_len)
    if find_order(s, account, text, at, length) != NONE:
        return int64(DUPLICATES)
    owner = accounts(s)[account]
    plan = int64(owner.plan)
    plan_at = plan_row(b, book, plan)
    if plan_at == NONE:
        return int64(-UNKNOWN_PLAN)
    offer = find_offer(s, b, book, text, int64(event.subject_at), int64(event.subject_len))
    if offer == NONE:
        return int64(-UNKNOWN_OFFER)
    quality = intern(s, text, int64(event.quality_at), int64(event.quality_len))
    price = offer_price(b, offer, quality)
    if price == NONE:
        return int64(-UNKNOWN_OFFER)
    terms = offers(b)[offer]
    percent = tax_percent_micros(b, Words(names(s), words(s)), book, int64(owner.region))
    inclusive = books(b)[book].inclusive == 1
    net = int64(offer_prices(b)[price].amount_micros)
    tax = tax_micros(net, percent, inclusive)
    total = net if inclusive else net + tax
    prepaid = plans(b)[plan_at].mode == PREPAID
    if prepaid and owner.purchases_micros > BALANCE_MICROS_MAX - total:
        return int64(-BALANCE_OUT_OF_BOUNDS)
    order = _new_order(s, text, event, account)
    row = orders(s)[order]
    row.book = books(b)[book].name
    row.offer = terms.name
    row.offer_row = offer
    row.quality = quality
    row.plan = plan
    row.region = owner.region
    row.price_micros = net
    row.tax_micros = tax
    row.total_micros = total
    row.prepaid = 1 if prepaid else 0
    row.status = DECLINED
    time_ms = int64(event.time_ms)
    room = int64(owner.balance_micros) + int64(plans(b)[plan_at].credit_limit_micros)
    if not terms.sale_from_ms <= time_ms < terms.sale_until_ms:
        give_signal(s, ORDER_DECLINED, NOT_ON_SALE, account, order, time_ms)
    elif row.prepaid == 1 and row.total_micros > room:
        give_signal(s, ORDER_DECLINED, INSUFFICIENT_BALANCE, account, order, time_ms)
    else:
        row.status = ACTIVE
        _activate(s, account, order)
        _post(s, 0, order, time_ms)
        give_signal(s, ORDER_ACCEPTED, NO_REASON, account, order, time_ms)
        if row.prepaid == 1 and row.total_micros > 0:
            touch(s, ACCOUNTS, account)
            owner.balance_micros -= row.total_micros
            owner.purchases_micros += row.total_micros
            if room - int64(row.total_micros) <= 0:
                exhaust(s, account, time_ms)
    return int64(APPLIED)


@jit
def cancel(s: Any, b: Any, book: int, event: Any, text: Any, account: int) -> int:
    """Apply an `order.cancel`; returns DUPLICATES, APPLIED, or minus a reason to suspend it."""
    at, length = int64(event.subject_at), int64(event.subject_len)
    order = find_order(s, account, text, at, length)
    if order == NONE or orders(s)[order].status == DECLINED:
        return int64(-UNKNOWN_ORDER)
    row = orders(s)[order]
    if row.status == CANCELLED:
        return int64(DUPLICATES)
    terms = offers(b)[row.offer_row]
    time_ms = int64(event.time_ms)
    rejected = _cancel_rejection(terms, row, time_ms)
    if rejected != NO_REASON:
        give_signal(s, ORDER_CANCEL_REJECTED, rejected, account, order, time_ms)
        return int64(APPLIED)
    row.status = CANCELLED
    touch(s, ORDERS, order)
    _unlink(s, account, order)
    _post(s, 1, order, time_ms)
    give_signal(s, ORDER_CANCELLED, NO_REASON, account, order, time_ms)
    if row.prepaid == 1:
        accounts(s)[account].refunds_micros += row.total_micros
        limit = credit_limit(s, b, book, account)
        credit(s, account, int64(row.total_micros), limit, time_ms)
    return int64(APPLIED)


@jit
def _cancel_rejection(terms: Any, row: Any, time_ms: int) -> int:
    """Give why an order cannot be cancelled at a time, or NO_REASON where it can."""
    if terms.cancel == BEFORE_START:
        return int64(NO_REASON if time_ms < terms.starts_ms else STARTED)
    if terms.cancel == BEFORE_PLAY:
        return int64(NO_REASON if row.first_play_ms == UNSET_MS else PLAYED)
    return int64(NOT_CANCELLABLE)


@jit
def _unlink(s: Any, account: int, order: int) -> None:
    """Take an order out of its account's active ones."""
    owner = accounts(s)[account]
    touch(s, ACCOUNTS, account)
    touch(s, ORDERS, order)
    if owner.orders == order:
        owner.orders = orders(s)[order].next
        return
    before = int64(owner.orders)
    while before != NONE and orders(s)[before].next != order:
        before = int64(orders(s)[before].next)
    if before != NONE:
        orders(s)[before].next = orders(s)[order].next
        touch(s, ORDERS, before)


@jit
def past_ms(b: Any, row: Any) -> int:
    """The instant from which an order covers nothing any more."""
    terms = offers(b)[row.offer_row]
    if terms.kind == EST:
        return int64(-UNSET_MS)
    if terms.kind == PPV:
        return int64(terms.ends_ms)
    if terms.kind == PASS:
        return int64(row.time_ms + terms.duration_ms)
    if row.first_play_ms == UNSET_MS:
        return int64(row.time_ms + terms.start_within_ms)
    return int64(row.first_play_ms + terms.watch_within_ms)


@jit
def holds_content(b: Any, book: int, row: Any, content: int) -> bool:
    """Whether an order is for a content; a pass's package is read in the book given."""
    terms = offers(b)[row.offer_row]
    if terms.kind != PASS:
        return listed(lists(b), terms.content_at, terms.content_len, content)
    package = package_row(b, book, int64(terms.package))
    return package != NONE and in_package(b, package, content)


@jit
def covering_order(s: Any, b: Any, book: int, account: int, content: int, t0_ms: int) -> int:
    """The first active order that covers a piece, or NONE; starts a rental's watching time."""
    order = int64(accounts(s)[account].orders)
    while order != NONE:
        row = orders(s)[order]
        following = int64(row.next)
        past = past_ms(b, row)
        if past <= s[HORIZON_MS]:
            _unlink(s, account, order)
        elif row.time_ms <= t0_ms < past and holds_content(b, book, row, content):
            if row.first_play_ms == UNSET_MS:
                row.first_play_ms = t0_ms
                touch(s, ORDERS, order)
            return order
        order = following
    return int64(NONE)
