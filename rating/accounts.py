"""Account records: opening, packages and top-ups.

Source: spec section 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rating.balances import credit, credit_limit
from rating.jit import int64, jit
from rating.names import find_name, find_topup, id_hash, intern
from rating.schemas import BALANCE_MICROS_MAX, HAS_BILL_DAY, HAS_REGION
from rating.scratch import BALANCE_OUT_OF_BOUNDS, CURRENCY_MISMATCH, UNKNOWN_PACKAGE
from rating.state import (
    ACCOUNTS,
    APPLIED,
    DUPLICATES,
    TEXTS,
    TOPUPS,
    accounts,
    names,
    topups,
    words,
)
from rating.tables import NONE, append_text, hash_text, index_of, insert, take, touch
from tariffs.compiled import books
from tariffs.matching import SEPARATOR, Words, package_row, plan_row, same_name


@jit
def known_name(s: Any, text: Any, at: int, length: int) -> int:
    """A text's name, or NONE where no book and no record has used it."""
    return find_name(s, text, at, length, hash_text(0, text, at, length))


@jit
def open_account(s: Any, event: Any, text: Any, account: int) -> int:
    """Apply an `account.open`, whose plan the book has. What it does not name stays."""
    row = accounts(s)[account]
    touch(s, ACCOUNTS, account)
    row.plan = intern(s, text, int64(event.subject_at), int64(event.subject_len))
    if event.flags & HAS_REGION:
        row.region = intern(s, text, int64(event.quality_at), int64(event.quality_len))
    if event.flags & HAS_BILL_DAY:
        row.bill_day = event.bill_day
    return int64(APPLIED)


@jit
def plan_known(s: Any, b: Any, book: int, event: Any, text: Any) -> bool:
    """Whether the book has the plan that an `account.open` names."""
    name = known_name(s, text, int64(event.subject_at), int64(event.subject_len))
    return name != NONE and plan_row(b, book, name) != NONE


@jit
def change_packages(
    s: Any, b: Any, book: int, event: Any, text: Any, account: int, adds: bool
) -> int:
    """Apply an `account.subscribe` or `account.unsubscribe`."""
    at, length = int64(event.subject_at), int64(event.subject_len)
    name = known_name(s, text, at, length)
    if adds and (name == NONE or package_row(b, book, name) == NONE):
        return int64(-UNKNOWN_PACKAGE)
    row = accounts(s)[account]
    old = names(s)[row.packages]
    old_at, old_len = int64(old.at), int64(old.len)
    kept = np.empty(old_len + length + 1, np.uint8)
    used, found = 0, False
    start = int64(0)
    while start < old_len:
        past = start
        while past < old_len and words(s)[old_at + past] != SEPARATOR:
            past += 1
        same = past - start == length
        for step in range(min(length, past - start)):
            same = same and words(s)[old_at + start + step] == text[at + step]
        found = found or same
        if adds or not same:
            if used > 0:
                kept[used] = SEPARATOR
                used += 1
            for step in range(past - start):
                kept[used] = words(s)[old_at + start + step]
                used += 1
        start = past + 1
    if adds and not found:
        if used > 0:
            kept[used] = SEPARATOR
            used += 1
        for step in range(length):
            kept[used] = text[at + step]
            used += 1
    row.packages = intern(s, kept, 0, used)
    touch(s, ACCOUNTS, account)
    return int64(APPLIED)


@jit
def top_up(s: Any, b: Any, book: int, event: Any, text: Any, account: int) -> int:
    """Apply a `balance.topup`."""
    at, length = int64(event.key_at), int64(event.key_len)
    if find_topup(s, account, text, at, length) != NONE:
        return int64(DUPLICATES)
    known = Words(names(s), words(s))
    currency_at, currency_len = int64(event.quality_at), int64(event.quality_len)
    currency = int64(books(b)[book].currency)
    if currency_len > 0 and not same_name(known, currency, text, currency_at, currency_len):
        return int64(-CURRENCY_MISMATCH)
    amount = int64(event.amount_micros)
    if accounts(s)[account].topups_micros > BALANCE_MICROS_MAX - amount:
        return int64(-BALANCE_OUT_OF_BOUNDS)
    slot = take(s, TOPUPS)
    row = topups(s)[slot]
    row.account = account
    row.at = append_text(s, TEXTS, text, at, length)
    row.len = length
    insert(index_of(s, TOPUPS), id_hash(account, text, at, length), slot)
    accounts(s)[account].topups_micros += amount
    credit(s, account, amount, credit_limit(s, b, book, account), int64(event.time_ms))
    return int64(APPLIED)
