"""The rater: batches of usage records in, charges, suspense, signals and changed state out.

`Rater` owns one partition's state. A call is a function of (books, state, batch) and reads nothing
else: no clock, no database. If what it returns cannot be committed, the rater must be thrown away
and loaded again, since its state has moved on.
Source: spec sections 1 to 8.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from rating.batch import DONE, NEEDS_DAY, WINDOW, rate_events
from rating.compact import compact_texts
from rating.counters import drop_counters
from rating.expiry import (
    MINUTE_MS,
    NOT_DUE,
    Buckets,
    clock_of,
    counter_past_days,
    horizon_day,
    live_counters,
    mark_due,
    sort_due,
)
from rating.gather import Gatherer, open_lines_watched, record_suspense
from rating.laws import check_batch, check_watched
from rating.lines import release_lines
from rating.names import name_of
from rating.repeats import CLOCK_AHEAD_MS, TOO_LATE_MS
from rating.schemas import (
    ACCOUNT_SUBSCRIBE,
    ACCOUNT_UNSUBSCRIBE,
    OUTCOMES,
    TEXT_BYTES_MAX,
    TEXT_FIELDS,
    USAGE,
    BatchResult,
    StateChunk,
    UsageBatch,
)
from rating.scratch import HORIZON_MS, LAST_DAY, NEEDED_DAY, Scratch
from rating.seals import opened, sealed
from rating.sessions import close_sessions, free_sessions
from rating.snapshot import Saver, load_state
from rating.state import DECLARED, TEXTS, State
from rating.tables import GARBAGE
from tariffs.calendar import QUARTER_MS, Calendar
from tariffs.compiled import CALENDAR_AT, PLACE_OF, compile_books
from tariffs.model import book_in_force

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from tariffs.model import Book

COUNTERS_A_WINDOW_MAX = 1 << 18  # bounds the room that a window must find free
EMPTY_BATCH = UsageBatch(np.empty(0, USAGE), np.empty(0, np.uint8), {}, lambda _: "")


@dataclass(frozen=True, slots=True)
class _Bounds:
    """How much one usage record can need."""

    pieces: int  # that its interval is cut into
    steps: int  # counters that one piece moves
    rules: int  # candidates of one match
    window: int  # records looked up at a time

    @classmethod
    def of(cls, books: Sequence[Book]) -> _Bounds:
        longest_ms = max(book.heartbeat_timeout_ms for book in books)
        plans = [plan for book in books for plan in book.plans]
        pieces = longest_ms // QUARTER_MS + 2 + len(books)
        steps = 3 + max(
            (len(plan.allowances) + len(plan.discounts) + len(plan.caps) for plan in plans),
            default=0,
        )
        rules = max((len(plan.rules) for plan in plans), default=0) + 1
        window = max(1, min(WINDOW, COUNTERS_A_WINDOW_MAX // (pieces * steps)))
        return cls(pieces, steps, rules, window)


def _check_widths(batch: UsageBatch) -> None:
    """Assert what every row of the state takes for granted: no text of a record is cut there."""
    assert len(batch.text) < 2**32, "more text than a row's ranges can point to"
    for name in TEXT_FIELDS:
        longest = int(batch.events[f"{name}_len"].max(initial=0))
        assert longest <= TEXT_BYTES_MAX, f"a reader let a text of {longest} bytes through"


class Rater:
    """Rates one partition.

    books: ascending by effective_from; all that the partition has been rated by, and new ones.
    chunks: the partition's stored state; none for a partition that has seen nothing. Raises
    StateDamaged where one is not what was stored.
    """

    def __init__(self, books: Sequence[Book], chunks: Iterable[StateChunk] = ()) -> None:
        assert books, "a rater needs at least one tariff book"
        chunks = [opened(chunk) for chunk in chunks]
        self._books = tuple(sorted(books, key=lambda book: book.effective_from_ms))
        self._state = load_state(chunks) if chunks else State()
        self._saver = Saver([(chunk.name, chunk.seq) for chunk in chunks])
        assert name_of(self._state, "") == 0  # rows whose text is absent say 0
        zones = sorted({book.timezone for book in self._books})
        self._compiled = compile_books(self._books, zones, lambda text: name_of(self._state, text))
        self._calendar = Calendar(self._compiled, CALENDAR_AT, zones)
        self._gatherer = Gatherer(self._books, zones)
        self._bounds = _Bounds.of(self._books)
        rules_max = self._bounds.rules * self._bounds.pieces
        self._scratch = Scratch(self._state.block, rules_max, self._bounds.window)
        self._idle_ms = max(book.idle_ms for book in self._books)
        # A record is no more than 35 days late, so nothing is compared with what is older.
        longest_ms = min(TOO_LATE_MS, max(book.repeat_ms for book in self._books))
        self._remembered_ms = longest_ms + CLOCK_AHEAD_MS
        self._idle = Buckets()
        self._periods = Buckets()
        self._restore_derived()

    def _restore_derived(self) -> None:
        """What is not stored: the orders' rows of compiled offers, and the waiting buckets."""
        books = self._compiled.array(PLACE_OF["books"])
        offers = self._compiled.array(PLACE_OF["offers"])
        rows_of = {
            (int(book["name"]), int(offers[number]["name"])): number
            for book in books
            for number in range(book["offers_at"], book["offers_at"] + book["offers_len"])
        }
        orders = self._state.orders.rows
        for slot in self._state.orders.live_slots().tolist():
            order = orders[slot]
            order["offer_row"] = rows_of[int(order["book"]), int(order["offer"])]
        self._state.repeats.restore(self._forgotten_ms())
        self._wait_idle(self._state.sessions.live_slots())
        counters = live_counters(self._state)
        self._periods.add(counter_past_days(self._state, counters), counters)

    def _forgotten_ms(self) -> int:
        """The instant from which on what was seen matters: by any book, for any record to come."""
        clock_ms = clock_of(self._state)
        return -(2**61) if clock_ms is None else clock_ms - self._remembered_ms

    @property
    def sessions_open(self) -> int:
        """How many sessions are open."""
        return self._state.sessions.live

    @property
    def state(self) -> State:
        """The state, to be read only."""
        return self._state

    def rate(self, batch: UsageBatch) -> BatchResult:
        """Apply a batch. Raises LawBroken if the result breaks a law of section 8."""
        _check_widths(batch)
        self._make_room(len(batch.events))
        self._set_horizon()
        bounds = self._bounds
        position = np.zeros(2, np.int64)
        while True:
            need = rate_events(
                self._state.places,
                self._compiled.places,
                batch.events,
                batch.text,
                position,
                bounds.pieces,
                bounds.steps,
                bounds.rules,
                bounds.window,
            )
            if need == DONE:
                break
            if need == NEEDS_DAY:
                self._calendar.add(int(self._state.places[NEEDED_DAY]))
            else:
                self._grow(batch, int(position[1]))
        self._close_idle()
        return self._result(batch)

    def close(self) -> BatchResult:
        """End every open session where its evidence ends."""
        self._make_room(0)
        self._close(self._state.sessions.live_slots())
        return self._result(EMPTY_BATCH)

    def _close(self, slots: NDArray[np.int32]) -> None:
        """Close sessions by their slots."""
        self._state.repeats.make_room(len(slots))
        close_sessions(self._state.places, slots)

    def counts(self) -> dict[str, int]:
        """The partition's sums over its whole life, by outcome."""
        totals = self._state.totals()
        return {name: totals[name] for name in ("records", *OUTCOMES, "watched_ms")}

    def open_sessions(self) -> pl.DataFrame:
        """Every open session (SESSIONS); costs what the state holds."""
        return self._gatherer.sessions(self._state)

    def check_watched(self) -> None:
        """Check the law of watched time over all open lines; costs what the state holds."""
        check_watched(self._state, open_lines_watched(self._state))

    def _make_room(self, events: int) -> None:
        """Scratch lists as long as a batch of so many records can need."""
        state, scratch = self._state, self._scratch
        for name in ("opened", "suspended", "postings"):
            scratch.make_room(name, events)
        scratch.make_room("signals", 2 * events)
        scratch.make_room("ended", len(state.lines.rows))
        scratch.make_room("closed", len(state.sessions.rows))
        scratch.make_room("born", len(state.counters.rows))

    def _grow(self, batch: UsageBatch, first: int) -> None:
        """Room in the state for the next window of a batch."""
        bounds = self._bounds
        events = batch.events[first : first + bounds.window]
        window = len(events)
        pieces = window * bounds.pieces
        texts = sum(int(events[f"{name}_len"].sum()) for name in ("account", "device", "key"))
        words = sum(int(events[f"{name}_len"].sum()) for name in ("subject", "kind", "quality"))
        lists = events[np.isin(events["type"], (ACCOUNT_SUBSCRIBE, ACCOUNT_UNSUBSCRIBE))]
        longest = int(self._state.names.rows["len"].max(initial=0))
        words += len(lists) * (longest + int(lists["subject_len"].sum()) + len(lists))
        rows = {
            name: declared.growth.rows(window, pieces, pieces * bounds.steps)
            for name, declared in DECLARED.items()
            if any(declared.growth)
        }
        self._state.make_room(rows, words, texts)
        self._make_room(0)

    def _set_horizon(self) -> None:
        """The instant before which no piece of this batch or a later one can begin."""
        clock_ms = clock_of(self._state)
        longest_ms = max(book.heartbeat_timeout_ms for book in self._books)
        horizon_ms = -(2**61) if clock_ms is None else clock_ms - TOO_LATE_MS - longest_ms
        self._state.places[HORIZON_MS] = horizon_ms
        self._state.places[LAST_DAY] = -(2**61)

    def _wait_idle(self, slots: NDArray[np.int32]) -> None:
        """Put sessions into the buckets that will look at them when they fell silent."""
        minutes = np.empty(len(slots), np.int64)
        mark_due(self._state.places, slots, minutes)
        waiting = minutes != NOT_DUE
        self._idle.add(minutes[waiting], slots[waiting])

    def _close_idle(self) -> None:
        """Close the sessions that only their closing can come to."""
        self._wait_idle(self._scratch.taken("opened"))
        self._scratch.empty("opened")
        clock_ms = clock_of(self._state)
        if clock_ms is None:
            return
        idle_before_ms = clock_ms - self._idle_ms
        minutes, slots = self._idle.pop_to(idle_before_ms // MINUTE_MS + 1)
        idle = np.empty(len(slots), np.int32)
        found = sort_due(self._state.places, minutes, slots, idle_before_ms, idle)
        self._close(idle[:found])
        waiting = minutes != NOT_DUE
        self._idle.add(minutes[waiting], slots[waiting])

    def _drop_past_periods(self) -> None:
        """Free the counters of periods that no piece can reach any more."""
        born = self._scratch.taken("born").copy()
        self._scratch.empty("born")
        self._periods.add(counter_past_days(self._state, born), born)
        if clock_of(self._state) is not None:
            horizon_ms = int(self._state.places[HORIZON_MS])
            _, past = self._periods.pop_to(horizon_day(horizon_ms))
            drop_counters(self._state.places, past)

    def _result(self, batch: UsageBatch) -> BatchResult:
        """Gather what the batch left, check the laws, free what ended, and save."""
        state, scratch, gatherer = self._state, self._scratch, self._gatherer
        usage, piece_suspense = gatherer.lines(state, scratch, self._calendar)
        charges = pl.concat([usage, gatherer.postings(state, scratch, self._calendar)])
        suspense = pl.concat([record_suspense(batch, scratch), piece_suspense])
        signals = gatherer.signals(state, scratch)
        release_lines(state.places)
        self._release_sessions()
        self._drop_past_periods()
        scratch.empty("suspended", "signals", "postings")
        accounts = gatherer.accounts(state, self._currency())
        orders = gatherer.orders(state)
        check_batch(state, accounts)
        added, dropped = self._saver.save(state)
        state.repeats.forget(self._forgotten_ms(), state.repeats.settle())
        return BatchResult(
            charges=charges,
            suspense=suspense,
            signals=signals,
            accounts=accounts,
            orders=orders,
            counts=self.counts(),
            clock_ms=clock_of(state),
            sessions_open=self.sessions_open,
            state_added=tuple(map(sealed, added)),
            state_dropped=dropped,
        )

    def _release_sessions(self) -> None:
        """Free closed sessions' slots, and their text once half of the arena is garbage."""
        closed = self._scratch.taken("closed")
        rows = self._state.sessions.rows[closed]
        freed = int(rows["device_len"].sum()) + int(rows["session_len"].sum())
        self._state.places[TEXTS + GARBAGE] += freed
        free_sessions(self._state.places, closed)
        self._scratch.empty("closed")
        compact_texts(self._state)

    def _currency(self) -> str:
        """The currency of balances: that of the book in force at the log clock."""
        clock_ms = clock_of(self._state)
        return book_in_force(self._books, -(2**61) if clock_ms is None else clock_ms).currency
