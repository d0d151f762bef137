"""A batch of usage records, applied in log order.

The records are taken in windows. A window's accounts and sessions are looked up first, in loops
without dependence from one record to the next, so that the memory reads of many look-ups overlap;
then each record is applied in turn. Compiled code cannot grow a table or look into a time zone:
where room or a calendar day is missing it stops before the record, says so, and is called again.
Source: spec section 1.
"""

from __future__ import annotations

from typing import Any

from rating.accounts import change_packages, open_account, plan_known, top_up
from rating.ahead import is_crowded, read_ahead
from rating.jit import int64, jit, jit_once
from rating.names import add_account, find_account, find_session, session_hash
from rating.orders import cancel, purchase
from rating.pieces import book_at, first_book_ms, matches_full
from rating.repeats import CLOCK_AHEAD_MS, TOO_LATE_MS, repeats_short
from rating.schemas import (
    ACCOUNT_OPEN,
    ACCOUNT_SUBSCRIBE,
    ACCOUNT_UNSUBSCRIBE,
    BALANCE_TOPUP,
    HAS_RECEIVED,
    MALFORMED,
    ORDER_PURCHASE,
    VIEW,
)
from rating.scratch import (
    CLOCK_AHEAD,
    CLOCK_LEAP,
    LAST_DAY,
    MALFORMED_RECORD,
    NEEDED_DAY,
    NO_BOOK,
    SUSPENDED_LEN,
    TOO_LATE,
    UNKNOWN_ACCOUNT,
    UNKNOWN_PLAN,
    account_slots,
    forget_matches,
    session_hashes,
    session_slots,
    suspended,
)
from rating.sessions import apply_view
from rating.state import (
    ACCOUNTS,
    CLOCK_MS,
    CLOCK_UNSET,
    COUNTERS,
    LEAPT,
    LINES,
    MONEYS,
    NAMES,
    ORDERS,
    RECORDS,
    SESSIONS,
    STEPS,
    SUSPENDED,
    TALLIES,
    TEXTS,
    TOPUPS,
    WORDS,
    accounts,
    names,
)
from rating.tables import NONE, TEXT_CAPACITY, USED, free_rows, hash_text, is_short, touch
from tariffs.blocks import borrowed
from tariffs.calendar import DAY_MS, has_day
from tariffs.compiled import CALENDAR_AT, books

WINDOW = 2048  # records looked up ahead; their rows stay in the processor's cache

DONE, NEEDS_ROOM, NEEDS_DAY = range(3)


@jit
def find_slots(s: Any, events: Any, text: Any, first: int, past: int) -> None:
    """Look up the account and session of each record of a window."""
    for number in range(first, past):
        event = events[number]
        at, length = int64(event.account_at), int64(event.account_len)
        session_hashes(s)[number - first] = hash_text(0, text, at, length)
    for number in range(first, past):
        event = events[number]
        at, length = int64(event.account_at), int64(event.account_len)
        hashed = session_hashes(s)[number - first]
        account_slots(s)[number - first] = find_account(s, text, at, length, hashed)
    for number in range(first, past):
        event = events[number]
        account = account_slots(s)[number - first]
        session_slots(s)[number - first] = NONE
        if event.type == VIEW and account != NONE:
            hashed = session_hash(account, text, event)
            session_hashes(s)[number - first] = hashed
            session_slots(s)[number - first] = find_session(s, text, account, event, hashed)


@jit
def suspend(s: Any, number: int, reason: int) -> None:
    """Hold a record back, with a reason."""
    row = suspended(s)[s[SUSPENDED_LEN]]
    row.event = number
    row.reason = reason
    s[SUSPENDED_LEN] += 1
    s[SUSPENDED] += 1


@jit
def days_missing(s: Any, b: Any, time_ms: int, book: int) -> bool:
    """Whether the calendar lacks a day on which a piece of this record could lie."""
    past_day = time_ms // DAY_MS
    day = (time_ms - int64(books(b)[book].heartbeat_timeout_ms)) // DAY_MS
    if day == past_day and s[LAST_DAY] == day:
        return False
    while day <= past_day:
        if not has_day(b, CALENDAR_AT, day):
            s[NEEDED_DAY] = day
            return True
        day += 1
    s[LAST_DAY] = past_day
    return False


@jit
def apply_other(s: Any, b: Any, book: int, event: Any, text: Any, account: int) -> int:
    """Apply a record that is no view."""
    kind = event.type
    if kind == ACCOUNT_OPEN:
        return open_account(s, event, text, account)
    if kind in (ACCOUNT_SUBSCRIBE, ACCOUNT_UNSUBSCRIBE):
        return change_packages(s, b, book, event, text, account, kind == ACCOUNT_SUBSCRIBE)
    if kind == BALANCE_TOPUP:
        return top_up(s, b, book, event, text, account)
    if kind == ORDER_PURCHASE:
        return purchase(s, b, book, event, text, account)
    return cancel(s, b, book, event, text, account)


@jit
def leaps(s: Any, event: Any) -> bool:
    """Whether a record is more than 35 days past the log clock (section 1)."""
    clock_ms = s[CLOCK_MS]
    return bool(clock_ms != CLOCK_UNSET and int64(event.received_ms) > clock_ms + TOO_LATE_MS)


@jit
def apply_record(
    s: Any, b: Any, book: int, event: Any, text: Any, account: int, session: int, hashed: int
) -> int:
    """Apply a record of an account; returns its outcome, or minus a reason to suspend it.

    An account never opened keeps the default plan of its first record that is not suspended.
    """
    is_new = accounts(s)[account].plan == NONE
    if is_new:
        accounts(s)[account].plan = books(b)[book].default_plan
        touch(s, ACCOUNTS, account)
    if event.type == VIEW:
        outcome = apply_view(s, b, event, text, account, session, hashed)
    else:
        outcome = apply_other(s, b, book, event, text, account)
    if is_new and outcome < 0:
        accounts(s)[account].plan = NONE
    return outcome


@jit
def refusal(s: Any, b: Any, book: int, event: Any, text: Any, account: int) -> int:
    """Why a record cannot be applied whatever its account's state, or 0 (section 1)."""
    time_ms, clock_ms = int64(event.time_ms), s[CLOCK_MS]
    if time_ms > clock_ms + CLOCK_AHEAD_MS:
        return CLOCK_AHEAD
    if time_ms < clock_ms - TOO_LATE_MS:
        return TOO_LATE
    if event.type != VIEW and time_ms < first_book_ms(b):
        return NO_BOOK
    if event.type == ACCOUNT_OPEN:
        return 0 if plan_known(s, b, book, event, text) else UNKNOWN_PLAN
    has_plan = account != NONE and accounts(s)[account].plan != NONE
    if not has_plan and books(b)[book].default_plan == NONE:
        return UNKNOWN_ACCOUNT
    return 0


@jit
def room_short(
    s: Any, events: Any, text: Any, first: int, past: int, pieces: int, steps: int
) -> bool:
    """Whether a window's records might need more rows or text than are free.

    pieces: the most that one record can be cut into; steps: the most counters one piece moves.
    """
    window = past - first
    text_bytes, word_bytes = int64(0), _list_bytes(s, events, text, first, past)
    for number in range(first, past):
        event = events[number]
        text_bytes += int64(event.account_len) + int64(event.device_len)
        text_bytes += int64(event.key_len)
        word_bytes += int64(event.subject_len) + int64(event.kind_len)
        word_bytes += int64(event.quality_len)
    return bool(
        is_short(s, ACCOUNTS, window)
        or is_short(s, SESSIONS, window)
        or is_short(s, NAMES, 4 * window)
        or is_short(s, ORDERS, window)
        or is_short(s, TOPUPS, window)
        or is_short(s, COUNTERS, window * pieces * steps)
        or free_rows(s, LINES) < window * pieces
        or free_rows(s, MONEYS) < window * pieces
        or free_rows(s, TALLIES) < 3 * window * pieces
        or repeats_short(s, window)
        or free_rows(s, STEPS) < (steps + 3) * window * pieces
        or s[TEXTS + USED] + text_bytes > s[TEXTS + TEXT_CAPACITY]
        or s[WORDS + USED] + word_bytes > s[WORDS + TEXT_CAPACITY]
    )


@jit
def _list_bytes(s: Any, events: Any, text: Any, first: int, past: int) -> int:
    """A bound on the bytes that the package lists of a window's subscriptions come to."""
    lists, added, old = int64(0), int64(0), int64(0)
    for number in range(first, past):
        event = events[number]
        if event.type in (ACCOUNT_SUBSCRIBE, ACCOUNT_UNSUBSCRIBE):
            lists += 1
            added += int64(event.subject_len) + 1
            at, length = int64(event.account_at), int64(event.account_len)
            account = find_account(s, text, at, length, hash_text(0, text, at, length))
            if account != NONE:
                old += int64(names(s)[accounts(s)[account].packages].len)
    return old + lists * added


@jit_once
def apply_window(
    s: Any,
    b: Any,
    events: Any,
    text: Any,
    first: int,
    past: int,
    start: int,
    pieces: int,
    rules_max: int,
) -> int:
    """Apply a window's records from `start` on; returns where it stopped for want of a day."""
    for number in range(start, past):
        event = events[number]
        if event.type == MALFORMED:
            s[RECORDS] += 1
            suspend(s, number, MALFORMED_RECORD)
            continue
        time_ms = int64(event.time_ms)
        leapt = leaps(s, event)
        if leapt and s[LEAPT] == 0 and event.flags & HAS_RECEIVED == 0:
            s[LEAPT] = 1
            s[RECORDS] += 1
            suspend(s, number, CLOCK_LEAP)
            continue
        clock_ms = max(s[CLOCK_MS], int64(event.received_ms))
        book = book_at(b, time_ms)
        near = clock_ms - TOO_LATE_MS <= time_ms <= clock_ms + CLOCK_AHEAD_MS
        if near and days_missing(s, b, time_ms, book):
            return number
        s[CLOCK_MS] = clock_ms
        s[LEAPT] = 1 if leapt else 0
        s[RECORDS] += 1
        account = account_slots(s)[number - first]
        at, length = int64(event.account_at), int64(event.account_len)
        if account == NONE:
            account = find_account(s, text, at, length, hash_text(0, text, at, length))
        reason = refusal(s, b, book, event, text, account)
        if reason != 0:
            suspend(s, number, reason)
            continue
        session = session_slots(s)[number - first]
        hashed = session_hashes(s)[number - first]
        if account == NONE:
            account = add_account(s, text, at, length)
        if matches_full(s, pieces, rules_max):
            forget_matches(s)
        if event.type == VIEW and account_slots(s)[number - first] == NONE:
            hashed = session_hash(account, text, event)
        outcome = apply_record(s, b, book, event, text, account, session, hashed)
        if outcome < 0:
            suspend(s, number, -outcome)
        else:
            s[outcome] += 1
    return past


@jit
def rate_events(
    s: Any,
    b: Any,
    events: Any,
    text: Any,
    position: Any,
    pieces: int,
    steps: int,
    rules_max: int,
    window: int,
) -> int:
    """Apply records from position[0] on; returns DONE, or what it needs before it can go on.

    position: [next record, first record of the window that was begun].
    """
    s, b, events, text = borrowed(s), borrowed(b), borrowed(events), borrowed(text)
    while position[0] < len(events):
        first = position[1]
        past = min(len(events), first + window)
        if position[0] == first:
            if room_short(s, events, text, first, past, pieces, steps):
                return NEEDS_ROOM
            find_slots(s, events, text, first, past)
            if is_crowded(s):
                read_ahead(s, past - first)
        position[0] = apply_window(s, b, events, text, first, past, position[0], pieces, rules_max)
        if position[0] < past:
            return NEEDS_DAY
        position[1] = past
    return DONE
