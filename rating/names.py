"""Finding and adding the texts that the state knows: names, accounts, sessions, orders, top-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rating.jit import int64, jit
from rating.state import (
    ACCOUNTS,
    COUNTERS,
    NAMES,
    ORDERS,
    SESSIONS,
    TEXTS,
    TOPUPS,
    WORDS,
    accounts,
    counters,
    names,
    orders,
    sessions,
    texts,
    topups,
    words,
)
from rating.tables import (
    EMPTY,
    HIGH,
    NONE,
    SLOT_MASK,
    TABLE_PLACES,
    append_text,
    hash_numbers,
    hash_text,
    index_of,
    insert,
    same_text,
    take,
)

if TYPE_CHECKING:
    from rating.state import State


@jit
def find_name(s: Any, text: Any, at: int, length: int, hashed: int) -> int:
    """A name by its text, or NONE."""
    index = index_of(s, NAMES)
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        if index[place] >> 32 == hashed:
            slot = index[place] & SLOT_MASK
            row = names(s)[slot]
            if row.len == length and same_text(words(s), row.at, text, at, length):
                return slot
        place = (place + 1) & mask
    return NONE


@jit
def intern(s: Any, text: Any, at: int, length: int) -> int:
    """A name by its text, added where it is new. The empty text is name 0."""
    hashed = hash_text(0, text, at, length)
    slot = find_name(s, text, at, length, hashed)
    if slot == NONE:
        slot = take(s, NAMES)
        row = names(s)[slot]
        row.at = append_text(s, WORDS, text, at, length)
        row.len = length
        insert(index_of(s, NAMES), hashed, slot)
    return slot


@jit
def intern_near(s: Any, text: Any, at: int, length: int, known: int) -> int:
    """As `intern`, for a text that is nearly always that of a known name."""
    row = names(s)[known]
    if row.len == length and same_text(words(s), int64(row.at), text, at, length):
        return known
    return intern(s, text, at, length)


@jit
def find_account(s: Any, text: Any, at: int, length: int, hashed: int) -> int:
    """An account by its text, or NONE."""
    index = index_of(s, ACCOUNTS)
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        if index[place] >> 32 == hashed:
            slot = index[place] & SLOT_MASK
            row = accounts(s)[slot]
            if row.len == length and same_text(texts(s), row.at, text, at, length):
                return slot
        place = (place + 1) & mask
    return NONE


@jit
def add_account(s: Any, text: Any, at: int, length: int) -> int:
    """A new account, never opened, without money."""
    slot = take(s, ACCOUNTS)
    row = accounts(s)[slot]
    row.exhausted = 0
    row.bill_day = 1
    row.out_of_bounds = 0
    row.at = append_text(s, TEXTS, text, at, length)
    row.len = length
    row.plan = NONE
    row.region = 0
    row.packages = 0
    row.orders = NONE
    row.balance_micros = 0
    row.topups_micros = 0
    row.paid_micros = 0
    row.purchases_micros = 0
    row.refunds_micros = 0
    insert(index_of(s, ACCOUNTS), hash_text(0, text, at, length), slot)
    return slot


@jit
def session_hash(account: int, text: Any, event: Any) -> int:
    """The hash of a session key (account, device, session)."""
    device = hash_text(account, text, int64(event.device_at), int64(event.device_len))
    return hash_text(device, text, int64(event.key_at), int64(event.key_len))


@jit
def find_session(s: Any, text: Any, account: int, event: Any, hashed: int) -> int:
    """A session by its key, or NONE."""
    index = index_of(s, SESSIONS)
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        if index[place] >> 32 == hashed:
            slot = index[place] & SLOT_MASK
            row = sessions(s)[slot]
            session_at = int64(row.at) + int64(row.device_len)
            if (
                row.account == account
                and row.device_len == event.device_len
                and row.session_len == event.key_len
                and same_text(texts(s), row.at, text, event.device_at, row.device_len)
                and same_text(texts(s), session_at, text, event.key_at, row.session_len)
            ):
                return slot
        place = (place + 1) & mask
    return NONE


@jit
def kept_session_hash(s: Any, slot: int) -> int:
    """The hash of an open session's key, from its own text."""
    row = sessions(s)[slot]
    at, device_len = int64(row.at), int64(row.device_len)
    device = hash_text(int64(row.account), texts(s), at, device_len)
    return hash_text(device, texts(s), at + device_len, int64(row.session_len))


@jit
def id_hash(account: int, text: Any, at: int, length: int) -> int:
    """The hash of an order's or a top-up's id within its account."""
    return hash_numbers(account, hash_text(0, text, at, length), 0, 0)


@jit
def find_id(s: Any, table: int, rows: Any, account: int, text: Any, at: int, length: int) -> int:
    """The slot of an account's own id among a table's rows, or NONE."""
    index = index_of(s, table)
    hashed = id_hash(account, text, at, length)
    mask = len(index) - 1
    place = hashed & mask
    while index[place] != EMPTY:
        if index[place] >> 32 == hashed:
            slot = index[place] & SLOT_MASK
            row = rows[slot]
            if (
                row.account == account
                and row.len == length
                and same_text(texts(s), row.at, text, at, length)
            ):
                return slot
        place = (place + 1) & mask
    return NONE


@jit
def find_order(s: Any, account: int, text: Any, at: int, length: int) -> int:
    """An order by its id, or NONE."""
    return find_id(s, ORDERS, orders(s), account, text, at, length)


@jit
def find_topup(s: Any, account: int, text: Any, at: int, length: int) -> int:
    """A top-up by its id, or NONE."""
    return find_id(s, TOPUPS, topups(s), account, text, at, length)


@jit
def insert_ids(index: Any, high: int, rows: Any, text: Any) -> None:
    """Fill an index from the live rows of orders or of top-ups."""
    for slot in range(high):
        row = rows[slot]
        if row.live == 1:
            at, length = int64(row.at), int64(row.len)
            insert(index, id_hash(int64(row.account), text, at, length), slot)


@jit
def reindex(s: Any, table: int) -> None:
    """Fill a table's index from its live rows, after they were loaded. The index is empty."""
    index = index_of(s, table)
    if table == NAMES:
        for slot in range(s[table_high(table)]):
            row = names(s)[slot]
            if row.live == 1:
                insert(index, hash_text(0, words(s), int64(row.at), int64(row.len)), slot)
    elif table == ACCOUNTS:
        for slot in range(s[table_high(table)]):
            row = accounts(s)[slot]
            if row.live == 1:
                insert(index, hash_text(0, texts(s), int64(row.at), int64(row.len)), slot)
    elif table == SESSIONS:
        for slot in range(s[table_high(table)]):
            if sessions(s)[slot].live == 1:
                insert(index, kept_session_hash(s, slot), slot)
    elif table == COUNTERS:
        for slot in range(s[table_high(table)]):
            row = counters(s)[slot]
            if row.live == 1:
                insert(index, counter_hash(row), slot)
    elif table == ORDERS:
        insert_ids(index, s[table_high(table)], orders(s), texts(s))
    else:
        insert_ids(index, s[table_high(table)], topups(s), texts(s))


@jit
def table_high(table: int) -> int:
    """The place of a table's count of slots ever used."""
    return table * TABLE_PLACES + HIGH


@jit
def counter_hash(row: Any) -> int:
    """The hash of a counter's key."""
    kind = int64(row.step) * 8 + int64(row.per)
    return hash_numbers(int64(row.account), int64(row.name), kind, int64(row.period))


def name_of(state: State, text: str) -> int:
    """A name's number, added where it is new."""
    encoded = np.frombuffer(text.encode(), np.uint8)
    state.make_room({"names": 1}, len(encoded), 0)
    return int(intern(state.places, encoded, 0, len(encoded)))


def name_text(state: State, name: int) -> str:
    """The text of a name."""
    row = state.names.rows[name]
    return bytes(state.words.data[int(row["at"]) :][: int(row["len"])]).decode()
