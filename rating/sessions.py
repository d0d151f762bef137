"""Sessions: which time was watched. No evidence, no charge.

Source: spec section 2; the numbers in the comments are its numbered steps.
"""

from __future__ import annotations

from typing import Any

from rating.jit import int64, jit, jit_once
from rating.lines import end_segment
from rating.names import find_session, intern, intern_near, kept_session_hash
from rating.pieces import book_at, rate_interval
from rating.repeats import CLOCK_AHEAD_MS, key_mark, remember, was_watched
from rating.schemas import HAS_PLAYHEAD, PLAYING, STOPPED
from rating.scratch import CLOSED_LEN, OPENED_LEN, TOO_LATE_TO_OPEN, closed, opened
from rating.state import (
    APPLIED,
    CLOCK_MS,
    DUPLICATES,
    ORPHAN_STOPS,
    OUT_OF_ORDER,
    SESSIONS,
    TEXTS,
    WATCHED_MS,
    sessions,
    texts,
)
from rating.tables import NONE, append_text, give, index_of, insert, remove, take, touch
from tariffs.compiled import books

RATE_WHOLE = 1000  # thousandths


@jit
def close_session(s: Any, session: int) -> None:
    """End a session where its evidence ends, and remember it.

    Its slot is freed once its lines are gathered.
    """
    end_segment(s, session)
    row = sessions(s)[session]
    key_at = int64(row.at) + int64(row.device_len)
    mark = key_mark(texts(s), int64(row.at), int64(row.device_len), key_at, int64(row.session_len))
    remember(s, int64(row.account), mark, int64(row.seen_ms), int64(row.last_ms))
    remove(index_of(s, SESSIONS), kept_session_hash(s, session), session)
    row.live = 0
    touch(s, SESSIONS, session)
    closed(s)[s[CLOSED_LEN]] = session
    s[CLOSED_LEN] += 1


@jit
def close_sessions(s: Any, slots: Any) -> None:
    """Close many sessions."""
    for place in range(len(slots)):
        close_session(s, int64(slots[place]))


@jit
def free_sessions(s: Any, slots: Any) -> None:
    """Free the slots of closed sessions."""
    for place in range(len(slots)):
        give(s, SESSIONS, int64(slots[place]))


@jit
def _open_session(s: Any, event: Any, text: Any, account: int, hashed: int) -> int:
    """A session that starts with this record."""
    session = take(s, SESSIONS)
    row = sessions(s)[session]
    row.account = account
    row.at = append_text(s, TEXTS, text, int64(event.device_at), int64(event.device_len))
    append_text(s, TEXTS, text, int64(event.key_at), int64(event.key_len))
    row.device_len = event.device_len
    row.session_len = event.key_len
    row.lines = NONE
    row.tallies = NONE
    row.start_ms = event.time_ms
    insert(index_of(s, SESSIONS), hashed, session)
    opened(s)[s[OPENED_LEN]] = session
    s[OPENED_LEN] += 1
    return session


@jit
def _watched_until(row: Any, event: Any, same_content: bool) -> int:
    """Step 4: where the watched interval that begins at `last` ends."""
    last, time_ms = int64(row.last_ms), int64(event.time_ms)
    if row.has_playhead == 0 or event.flags & HAS_PLAYHEAD == 0 or not same_content:
        return time_ms
    rate = int64(row.rate_milli)
    if rate <= 0:
        return last
    advance = max(int64(0), int64(event.playhead_ms) - int64(row.playhead_ms))
    return last + min(time_ms - last, advance * RATE_WHOLE // rate)


@jit
def _take_record(s: Any, row: Any, event: Any, content: int, kind: int, quality: int) -> None:
    """Step 6: the session takes the record's content, kind, quality, state and time."""
    row.content = content
    row.kind = kind
    row.quality = quality
    row.state = event.state
    row.playing = 1 if event.state == PLAYING else 0
    row.has_playhead = event.flags & HAS_PLAYHEAD
    row.playhead_ms = event.playhead_ms
    row.rate_milli = event.rate_milli
    row.last_ms = event.time_ms
    row.seen_ms = s[CLOCK_MS]


@jit
def _view_of_none(s: Any, event: Any, text: Any, account: int, hashed: int, repeat_ms: int) -> int:
    """Step 2: apply a record that finds no session; returns its outcome, or minus a reason."""
    clock_ms, time_ms = s[CLOCK_MS], int64(event.time_ms)
    at, length = int64(event.device_at), int64(event.device_len)
    mark = key_mark(text, at, length, int64(event.key_at), int64(event.key_len))
    if was_watched(s, account, mark, time_ms, clock_ms - repeat_ms - CLOCK_AHEAD_MS):
        return int64(DUPLICATES)
    if event.state == STOPPED:
        return int64(ORPHAN_STOPS)
    if time_ms < clock_ms - repeat_ms:
        return int64(-TOO_LATE_TO_OPEN)
    content = intern(s, text, int64(event.subject_at), int64(event.subject_len))
    kind = intern(s, text, int64(event.kind_at), int64(event.kind_len))
    quality = intern(s, text, int64(event.quality_at), int64(event.quality_len))
    session = _open_session(s, event, text, account, hashed)
    _take_record(s, sessions(s)[session], event, content, kind, quality)
    return int64(APPLIED)


@jit_once
def apply_view(
    s: Any, b: Any, event: Any, text: Any, account: int, session: int, hashed: int
) -> int:
    """Apply a `view` record; returns its outcome, or minus a reason to suspend it.

    session: its slot if one is known.
    """
    clock_ms, time_ms = s[CLOCK_MS], int64(event.time_ms)
    timeouts = books(b)[book_at(b, time_ms)]
    if session == NONE or sessions(s)[session].live == 0:
        session = find_session(s, text, account, event, hashed)
    if session != NONE and clock_ms - sessions(s)[session].seen_ms > timeouts.idle_ms:
        close_session(s, session)  # 1
        session = int64(NONE)
    if session == NONE:  # 2
        return _view_of_none(s, event, text, account, hashed, int64(timeouts.repeat_ms))
    row = sessions(s)[session]
    touch(s, SESSIONS, session)
    at, length = int64(event.subject_at), int64(event.subject_len)
    content = intern_near(s, text, at, length, int64(row.content))
    last = int64(row.last_ms)
    same_content = row.content == content
    if time_ms < last or (event.state == STOPPED and not same_content):  # 3
        row.seen_ms = clock_ms
        return int64(OUT_OF_ORDER)
    at, length = int64(event.kind_at), int64(event.kind_len)
    kind = intern_near(s, text, at, length, int64(row.kind))
    at, length = int64(event.quality_at), int64(event.quality_len)
    quality = intern_near(s, text, at, length, int64(row.quality))
    outcome = DUPLICATES if time_ms == last else APPLIED
    silent = False
    if row.playing == 1 and time_ms > last:  # 4
        if time_ms - last <= timeouts.heartbeat_timeout_ms:
            until = _watched_until(row, event, same_content)
            s[WATCHED_MS] += until - last
            rate_interval(s, b, session, last, until, time_ms)
        else:
            silent = True
    if silent or not same_content:  # 4, 5
        end_segment(s, session)
        row.start_ms = time_ms
    _take_record(s, row, event, content, kind, quality)  # 6
    if event.state == STOPPED:
        close_session(s, session)
    return int64(outcome)
