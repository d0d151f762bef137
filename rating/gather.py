"""From slots to frames: what a batch left in the scratch becomes charges, suspense and signals.

Source: spec sections 1 (suspense), 6 (charges and their names) and 7 (signals).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow as pa

from rating.charge_ids import charge_id, charge_name, usage_ids
from rating.jit import jit
from rating.names import name_text
from rating.schemas import (
    ACCOUNTS,
    BALANCE_MICROS_MAX,
    CHARGE_EVIDENCE,
    CHARGES,
    ORDERS,
    RECORD_TYPES,
    SESSIONS,
    SIGNALS,
    SUSPENSE,
)
from rating.scratch import (
    BALANCE_OUT_OF_BOUNDS,
    CLOCK_AHEAD,
    CLOCK_LEAP,
    CURRENCY_MISMATCH,
    REASONS,
    SIGNAL_REASONS,
    SIGNAL_TYPES,
    TOO_LATE,
    TOO_LATE_TO_OPEN,
    UNKNOWN_ACCOUNT,
    UNKNOWN_OFFER,
    UNKNOWN_ORDER,
    UNKNOWN_PACKAGE,
)
from rating.scratch import NO_BOOK as NO_BOOK_RECORD
from rating.scratch import UNKNOWN_PLAN as UNKNOWN_PLAN_RECORD
from rating.snapshot import gather_text
from rating.state import (
    DECLINED,
    HOUR_MS,
    NO_BOOK,
    NO_RULE,
    ORDER_STATUS,
    OUT_OF_BOUNDS,
    UNKNOWN_PLAN,
    UNSET_MS,
)
from rating.steps import lines_steps
from rating.tables import NONE
from tariffs.money import COUNTER_MICROS_MAX, MICROS
from tariffs.prices import tax_micros

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rating.schemas import UsageBatch
    from rating.scratch import Scratch
    from rating.state import State
    from tariffs.calendar import Calendar
    from tariffs.model import Book

# Polars looks for numpy when it first meets an array, and fails where two threads do so at once.
pl.DataFrame({"": np.empty(0)})

CHARGE_FRAME = pl.Schema({**CHARGES, **CHARGE_EVIDENCE})
NO_TEXT = pl.Series([None], dtype=pl.String)
NO_CHARGES, NO_SUSPENSE = CHARGE_FRAME.to_frame(), SUSPENSE.to_frame()
MONEY_FIELDS = {
    "billed_ms": "billed_ms",
    "free_ms": "free_ms",
    "gross": "gross_micros",
    "discount": "discount_micros",
    "capped": "capped_micros",
    "unfunded": "unfunded_micros",
    "paid": "paid_micros",
}


class Gatherer:
    """Turns slots into frames; knows the books' texts and keeps the names it has decoded."""

    def __init__(self, books: Sequence[Book], zones: Sequence[str]) -> None:
        self._books = {book.id: book for book in books}
        self._zones = tuple(zones)
        self._texts: list[str] = []
        self._array = pa.array([], pa.large_string())  # the same

    def text_of(self, state: State, name: int) -> str:
        """The text of a name."""
        self._know(state)
        return self._texts[name]

    def _know(self, state: State) -> None:
        """Decode the names that are new."""
        for name in range(len(self._texts), state.names.high):
            self._texts.append(name_text(state, name))
        if len(self._array) < len(self._texts):
            self._array = pa.array(self._texts, pa.large_string())

    def _names(self, state: State, numbers: NDArray[Any]) -> pl.Series:
        """The texts of many names."""
        self._know(state)
        return pl.Series(self._array.take(pa.array(numbers)), dtype=pl.String)

    def _book_facts(
        self, state: State, books: NDArray[Any], times_ms: NDArray[np.int64], calendar: Calendar
    ) -> dict[str, pl.Series]:
        """What follows from a book: its currency, and the local date of each instant.

        books: their ids as names.
        """
        names, which = np.unique(books, return_inverse=True)
        found = [self._books[self.text_of(state, name)] for name in names.tolist()]
        currencies = pa.array([book.currency for book in found], pa.large_string())
        zones = np.array([self._zones.index(book.timezone) for book in found])
        days = calendar.local_days(zones[which], times_ms).astype(np.int32)
        return {
            "currency": pl.Series(currencies.take(pa.array(which)), dtype=pl.String),
            "local_date": pl.Series(days, dtype=pl.Int32).cast(pl.Date),
        }

    def lines(
        self, state: State, scratch: Scratch, calendar: Calendar
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The lines that ended: charges, and suspense rows of those that no rule prices."""
        ended = scratch.taken("ended")
        frame = self._line_frame(state, ended)
        suspended = frame["rule_name"] < 0
        if not suspended.any():
            return self._usage(state, frame, calendar), NO_SUSPENSE
        return self._usage(state, frame.filter(~suspended), calendar), _piece_suspense(
            frame.filter(suspended)
        )

    def _line_frame(self, state: State, ended: NDArray[np.void]) -> pl.DataFrame:
        """Ended lines with their session's key; names still as numbers where not shared."""
        lines = state.lines.copies(ended["line"])
        sessions = state.sessions.copies(ended["session"])
        accounts = state.accounts.copies(sessions["account"])
        texts = state.texts.data
        slot_ms = lines["hour"].astype(np.int64) * HOUR_MS
        device_len = sessions["device_len"].astype(np.int64)
        account = gather_text(texts, accounts["at"], accounts["len"].astype(np.int64))
        device = gather_text(texts, sessions["at"], device_len)
        session = gather_text(
            texts, sessions["at"] + device_len, sessions["session_len"].astype(np.int64)
        )
        return pl.DataFrame(
            {
                "account": pl.Series(account, dtype=pl.String),
                "device": pl.Series(device, dtype=pl.String),
                "session": pl.Series(session, dtype=pl.String),
                "content": self._names(state, ended["content"]),
                "kind": self._names(state, lines["kind"]),
                "quality": self._names(state, lines["quality"]),
                "plan": self._names(state, lines["plan"]),
                "book": self._names(state, lines["book"]),
                "book_name": lines["book"],
                "region": self._names(state, lines["region"]),
                "rule_name": lines["rule"],
                "money": lines["money"],
                "segment": ended["segment_ms"],
                "slot": slot_ms,
                "start": slot_ms + lines["start_in_hour_ms"],
                "end": slot_ms + lines["end_in_hour_ms"],
                "watched_ms": lines["watched_ms"].astype(np.int64),
            }
        )

    def _usage(self, state: State, frame: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
        """Usage charges from their lines."""
        if frame.is_empty():
            return NO_CHARGES
        money = frame["money"].to_numpy().astype(np.int64)
        priced = money != NONE
        rows = state.moneys.copies(np.where(priced, money, 0))
        amounts = {
            column: np.where(priced, rows[field], 0).astype(np.int64)
            for column, field in MONEY_FIELDS.items()
        }
        net = amounts["gross"] - amounts["discount"] - amounts["capped"]
        inclusive = np.where(priced, rows["inclusive"], 1) == 1
        tax = np.empty(len(money), np.int64)
        _line_taxes(net, np.where(priced, rows["percent_micros"], 0), inclusive, tax)
        amounts |= {"net": net, "tax": tax, "total": net + np.where(inclusive, 0, tax)}
        columns = {each.name: each for each in frame.get_columns()}
        columns |= {name: pl.Series(values, dtype=pl.Int64) for name, values in amounts.items()}
        columns |= {
            "type": pl.Series(["usage"]).new_from_index(0, len(money)),
            "rule": self._names(state, frame["rule_name"].to_numpy()),
            "steps": lines_steps(state, money, lambda name: self.text_of(state, name)),
        }
        books, starts_ms = frame["book_name"].to_numpy(), frame["start"].to_numpy()
        columns |= self._book_facts(state, books, starts_ms, calendar)
        columns["charge_id"] = usage_ids(columns)
        return pl.DataFrame({name: columns[name] for name in CHARGE_FRAME})

    def postings(self, state: State, scratch: Scratch, calendar: Calendar) -> pl.DataFrame:
        """Purchases and refunds."""
        taken = scratch.taken("postings").tolist()
        if not taken:
            return NO_CHARGES
        rows = [
            self._posting(state, int(slot), bool(refund), int(time_ms))
            for refund, slot, time_ms in taken
        ]
        slots = np.array([slot for _, slot, _ in taken])
        times_ms = np.array([time_ms for *_, time_ms in taken], np.int64)
        books = state.orders.rows["book"][slots]
        facts = self._book_facts(state, books, times_ms, calendar)
        told = {name: kind for name, kind in CHARGE_FRAME.items() if name not in facts}
        frame = pl.DataFrame(rows, schema=told, orient="row").with_columns(**facts)
        return frame.select(CHARGE_FRAME.names())

    def _posting(self, state: State, slot: int, refund: bool, time_ms: int) -> tuple[Any, ...]:
        """One purchase or refund, in the order of CHARGE_FRAME but for what its book says."""
        row = state.orders.rows[slot]
        account, order, device = self._order_texts(state, slot)
        kind = "refund" if refund else "purchase"
        sign = -1 if refund else 1
        book = self.text_of(state, int(row["book"]))
        offer = self.text_of(state, int(row["offer"]))
        price, tax = sign * int(row["price_micros"]), sign * int(row["tax_micros"])
        total = sign * int(row["total_micros"])
        terms = next(item for item in self._books[book].offers if item.id == offer)
        return (
            charge_id(charge_name(kind, account, order)),
            kind,
            account,
            device,
            "",
            "",
            terms.kind,
            self.text_of(state, int(row["quality"])),
            self.text_of(state, int(row["plan"])),
            book,
            f"offer:{offer}",
            time_ms,
            time_ms,
            time_ms // HOUR_MS * HOUR_MS,
            *(0, 0, 0),
            price,
            *(0, 0),
            price,
            tax,
            total,
            0,
            time_ms,
            self.text_of(state, int(row["region"])),
            total if row["prepaid"] else 0,
            json.dumps([["order", order, "", "", 0, 0, 0]], separators=(",", ":")),
        )

    def _order_texts(self, state: State, slot: int) -> tuple[str, str, str]:
        """An order's account, id and device."""
        row = state.orders.rows[slot]
        account = state.accounts.rows[int(row["account"])]
        at, length = int(row["at"]), int(row["len"])
        texts = state.texts.data
        return (
            bytes(texts[int(account["at"]) :][: int(account["len"])]).decode(),
            bytes(texts[at : at + length]).decode(),
            bytes(texts[at + length :][: int(row["device_len"])]).decode(),
        )

    def signals(self, state: State, scratch: Scratch) -> pl.DataFrame:
        """Signals in the order in which they were given."""
        signals = scratch.taken("signals")
        accounts = state.accounts.copies(signals["account"])
        names = gather_text(state.texts.data, accounts["at"], accounts["len"].astype(np.int64))
        slots = signals["order"].tolist()
        return pl.DataFrame(
            {
                "type": [SIGNAL_TYPES[kind] for kind in signals["type"].tolist()],
                "account": pl.Series(names, dtype=pl.String),
                "time": signals["time_ms"],
                "order": [
                    "" if slot == NONE else self._order_texts(state, slot)[1] for slot in slots
                ],
                "reason": [SIGNAL_REASONS[reason] for reason in signals["reason"].tolist()],
            },
            schema=SIGNALS,
        )

    def accounts(self, state: State, currency: str) -> pl.DataFrame:
        """The accounts that changed since the last save."""
        table = state.accounts
        slots = table.touched
        rows = table.copies(slots)
        names = gather_text(state.texts.data, rows["at"], rows["len"].astype(np.int64))
        opened = rows["plan"] != NONE
        plans = self._names(state, np.where(opened, rows["plan"], 0))
        packages = self._names(state, rows["packages"]).to_list()
        listed = {
            text: json.dumps(text.split("\x1f") if text else [], ensure_ascii=False)
            for text in set(packages)
        }
        columns = {
            "account": pl.Series(names, dtype=pl.String),
            "plan": plans.zip_with(pl.Series(opened), NO_TEXT),
            "region": self._names(state, rows["region"]),
            "bill_day": rows["bill_day"].astype(np.int64),
            "packages": [listed[text] for text in packages],
            "currency": pl.Series([currency], dtype=pl.String).new_from_index(0, len(rows)),
            "balance": rows["balance_micros"],
            "exhausted": rows["exhausted"] == 1,
            "topups": rows["topups_micros"],
            "paid": rows["paid_micros"],
            "purchases": rows["purchases_micros"],
            "refunds": rows["refunds_micros"],
        }
        return pl.DataFrame(columns, schema=ACCOUNTS)

    def orders(self, state: State) -> pl.DataFrame:
        """The orders that changed since the last save."""
        rows = [self._order_row(state, slot) for slot in state.orders.touched.tolist()]
        return pl.DataFrame(rows, schema=ORDERS, orient="row")

    def _order_row(self, state: State, slot: int) -> tuple[Any, ...]:
        row = state.orders.rows[slot]
        account, order, _ = self._order_texts(state, slot)
        book, offer = self.text_of(state, int(row["book"])), self.text_of(state, int(row["offer"]))
        terms = next(item for item in self._books[book].offers if item.id == offer)
        first_play = int(row["first_play_ms"])
        return (
            account,
            order,
            offer,
            terms.kind,
            self.text_of(state, int(row["quality"])),
            book,
            int(row["time_ms"]),
            int(row["total_micros"]),
            ORDER_STATUS[int(row["status"])],
            None if first_play == UNSET_MS or row["status"] == DECLINED else first_play,
        )

    def sessions(self, state: State) -> pl.DataFrame:
        """Every open session; costs what the state holds."""
        rows = state.sessions.copies(state.sessions.live_slots())
        accounts = state.accounts.copies(rows["account"])
        texts = state.texts.data
        device_len = rows["device_len"].astype(np.int64)
        session_len = rows["session_len"].astype(np.int64)
        names = {
            "account": gather_text(texts, accounts["at"], accounts["len"].astype(np.int64)),
            "device": gather_text(texts, rows["at"], device_len),
            "session": gather_text(texts, rows["at"] + device_len, session_len),
        }
        return pl.DataFrame(
            {
                **{name: pl.Series(text, dtype=pl.String) for name, text in names.items()},
                **{name: self._names(state, rows[name]) for name in ("content", "kind", "quality")},
                "playing": rows["playing"] == 1,
                "start": rows["start_ms"],
                "last": rows["last_ms"],
                "seen": rows["seen_ms"],
                "watched_ms": open_watched(state, rows),
            }
        ).cast(SESSIONS)


def open_watched(state: State, sessions: NDArray[np.void]) -> NDArray[np.int64]:
    """The watched time of each session's open lines."""
    watched = np.zeros(len(sessions), np.int64)
    lines = sessions["lines"].astype(np.int64)
    while (open_now := lines != NONE).any():
        rows = state.lines.rows[np.where(open_now, lines, 0)]
        watched += np.where(open_now, rows["watched_ms"], 0)
        lines = np.where(open_now, rows["next"].astype(np.int64), NONE)
    return watched


@jit
def _line_taxes(nets: Any, percents_micros: Any, inclusive: Any, taxes: Any) -> None:
    """The tax of each line; 0 on covered ones, which have no percentage."""
    for line in range(len(nets)):
        taxes[line] = tax_micros(nets[line], percents_micros[line], inclusive[line])


def _piece_suspense(frame: pl.DataFrame) -> pl.DataFrame:
    """Suspense rows of pieces that could not be priced."""
    unknown_plan = pl.col("rule_name") == UNKNOWN_PLAN
    # Plans have names: without one the account was never opened, and this book has no default.
    unknown_account = unknown_plan & (pl.col("plan") == "")
    no_book = pl.col("rule_name") == NO_BOOK
    out_of_bounds = pl.col("rule_name") == OUT_OF_BOUNDS
    assert frame["rule_name"].is_in([UNKNOWN_PLAN, NO_RULE, NO_BOOK, OUT_OF_BOUNDS]).all()
    detail_plan = pl.format("the book {} has no plan '{}'", "book", "plan")
    detail_rule = pl.format(
        "no rule of plan '{}' in book {} fits content '{}', kind '{}', quality '{}'",
        "plan",
        "book",
        "content",
        "kind",
        "quality",
    )
    return frame.select(
        reason=pl.when(unknown_account)
        .then(pl.lit("unknown_account"))
        .when(unknown_plan)
        .then(pl.lit("unknown_plan"))
        .when(no_book)
        .then(pl.lit("no_book"))
        .when(out_of_bounds)
        .then(pl.lit("amount_out_of_bounds"))
        .otherwise(pl.lit("no_rule")),
        detail=pl.when(unknown_account)
        .then(pl.lit(DETAILS[UNKNOWN_ACCOUNT]))
        .when(unknown_plan)
        .then(detail_plan)
        .when(no_book)
        .then(pl.lit("it was watched before the first book came into force"))
        .when(out_of_bounds)
        .then(pl.lit(OUT_OF_BOUNDS_DETAIL))
        .otherwise(detail_rule),
        account="account",
        time="start",
        type=pl.lit("usage"),
        device="device",
        session="session",
        content="content",
        kind="kind",
        quality="quality",
        plan="plan",
        book="book",
        end="end",
        watched_ms="watched_ms",
        source=pl.lit(None, pl.String),
        raw=pl.lit(None, pl.Binary),
    ).cast(SUSPENSE)


OUT_OF_BOUNDS_DETAIL = (
    f"what the account watched before comes to more than {COUNTER_MICROS_MAX // MICROS} currency "
    "units in one of its counters, and nothing more can be priced for it"
)
DETAILS = {
    CLOCK_AHEAD: "its time is more than 5 minutes ahead of the log's clock",
    CLOCK_LEAP: "it has no `received`, and its time is more than 35 days ahead of the log's clock; "
    "the clock follows once the next record says so, too",
    TOO_LATE: "its time is more than 35 days behind the log's clock",
    TOO_LATE_TO_OPEN: "it would open a session, and its time is further behind the log's clock than "
    "the book's repeat_s, so it may be a repeat that is forgotten",
    NO_BOOK_RECORD: "its time is before the first book comes into force",
    UNKNOWN_ACCOUNT: "the account was never opened, and the book has no default_plan",
    UNKNOWN_PLAN_RECORD: "the book in force at its time has no such plan",
    UNKNOWN_PACKAGE: "the book in force at its time has no such package",
    CURRENCY_MISMATCH: "the top-up is in another currency than the book in force at its time",
    UNKNOWN_OFFER: "the book in force at its time has no such offer, or not in that quality",
    UNKNOWN_ORDER: "the account has no such order",
    BALANCE_OUT_OF_BOUNDS: (
        "the account's top-ups, or its purchases, would come to more than "
        f"{BALANCE_MICROS_MAX // MICROS} currency units over its life"
    ),
}
assert all(number in DETAILS for number in range(2, len(REASONS)))  # beside malformed ones


def record_suspense(batch: UsageBatch, scratch: Scratch) -> pl.DataFrame:
    """Suspense rows of the usage records that were held back."""
    rows = scratch.taken("suspended")
    if not len(rows):
        return NO_SUSPENSE
    fields = batch.events.dtype.names or ()
    # As plain integers at once: reading the fields of a row one by one takes far longer.
    events = [dict(zip(fields, row, strict=True)) for row in batch.events[rows["event"]].tolist()]
    text = batch.text.data
    return pl.DataFrame(
        [
            _suspended(batch, text, number, event, reason)
            for (number, reason), event in zip(rows.tolist(), events, strict=True)
        ],
        schema=SUSPENSE,
        orient="row",
    )


def _suspended(
    batch: UsageBatch, texts: memoryview, number: int, event: dict[str, int], reason: int
) -> tuple[Any, ...]:
    """One record's suspense row, in the order of SUSPENSE."""

    def text(field: str) -> str | None:
        at, length = event[f"{field}_at"], event[f"{field}_len"]
        return texts[at : at + length].tobytes().decode() if length else None

    kind = event["type"]
    view = kind == 1
    time_ms = event["time_ms"]
    malformed = kind == 0
    before = batch.suspended_before.get(number) if malformed else None
    return (
        before.reason if before else REASONS[reason],
        batch.malformed.get(number, "") if malformed else DETAILS[reason],
        text("account"),
        None if malformed and time_ms == 0 else time_ms,
        RECORD_TYPES[kind] or None,
        text("device"),
        text("key") if view else None,
        text("subject") if view else None,
        text("kind") if view else None,
        text("quality") if view else None,
        None,
        None,
        None,
        None,
        batch.locate(number),
        before.raw if before else batch.raw(number),
    )


def open_lines_watched(state: State) -> int:
    """The watched time of all open lines; costs what the state holds."""
    return int(state.lines.rows["watched_ms"][state.lines.live_slots()].sum())
