"""What most of a log came to where it was not charged: how much, from which record on, and why.

A log out of order, one with a clock that ran ahead, or one of another kind is rated without an error,
and charges nothing. Each record is accounted for, but nobody would look; so a run says it at its end.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from rating.runtime.figures import count, watched
from rating.schemas import MALFORMED, STOPPED, VIEW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.files import LogChunk
    from rating.schemas import BatchResult, UsageBatch

THE_RUN = ""  # the name under which all logs of a run are counted together
TELLING_RECORDS_MIN = 10  # fewer records that were not charged are said, and change no exit code
LOGS_SAID_MAX = 5
DUPLICATES, OUT_OF_ORDER, ORPHAN_STOPS = "duplicates", "out_of_order", "orphan_stops"
COUNTED_ALONE = (DUPLICATES, OUT_OF_ORDER, ORPHAN_STOPS)  # without a row for each
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LATE = ("too_late", "clock_leap")

LIKELY = {
    "malformed": (
        "this is no usage log, or its sender writes one field in another form",
        "mend where the log comes from what the detail names, and rate that log under a new name",
    ),
    "too_late": (
        "a clock ran ahead, or the log is older than what the store has seen before it",
        "take the record out whose clock ran ahead, rate old logs before new ones, into a new store",
    ),
    "clock_leap": (
        "a clock was wrong, or the log was silent for more than 35 days",
        "mend the time of the record where the log comes from",
    ),
    "clock_ahead": (
        "the sender's clock or zone is wrong: the times lie after the arrival",
        "set the sender's clock right",
    ),
    OUT_OF_ORDER: (
        "the log is not in the order of time: joined, sorted otherwise, or the newest first",
        "sort its records by time for each session, and rate them into a new store",
    ),
    ORPHAN_STOPS: (
        "the records before the stops are missing, or stand behind them",
        "look for the rest of the log, and sort it by time",
    ),
    DUPLICATES: (
        "the records came before, in this log or another one, and were charged then",
        "nothing has to be done",
    ),
}
BOOK_MISSES = (
    "the tariff book does not have what the log names",
    "add it to the book, or give the book that this log belongs to",
)
UNKNOWN_CAUSE = ("the detail says why", "see all of them with: ratecast export suspense")


@dataclass(frozen=True, slots=True)
class Uncharged:
    """What a log, or a run, mostly came to in place of charges.

    log: its name; THE_RUN: all of them. reason: why, in most cases. amount, of: in records, or for
    pieces of viewing in watched_ms. first: the record from which on ("file:line"), "" if unknown.
    """

    log: str
    reason: str
    amount: int
    of: int
    unit: str
    first: str
    detail: str

    @property
    def is_telling(self) -> bool:
        """Whether the run's exit code says it: not of a few records, nor of known repeats."""
        if self.reason == DUPLICATES:
            return False
        return self.unit != "records" or self.amount >= TELLING_RECORDS_MIN

    @property
    def likely(self) -> tuple[str, str]:
        """What happened, as far as one can tell, and what to do."""
        is_missing = self.reason.startswith("unknown_") or self.reason in {"no_rule", "no_book"}
        return LIKELY.get(self.reason, BOOK_MISSES if is_missing else UNKNOWN_CAUSE)

    def __str__(self) -> str:
        """In a few sentences, for a person."""
        show = watched if self.unit == "watched_ms" else count
        likely, mend = self.likely
        of = f"{show(self.of)} {'watched' if self.unit == 'watched_ms' else 'records'}"
        became = "came before" if self.reason == DUPLICATES else "were not charged"
        sentences = [
            f"{self.log or 'all logs'}: {show(self.amount)} of {of} {became}, mostly {self.reason}",
            f"the first is {self.first}" if self.first else "",
            self.detail.rstrip("."),
            f"likely {likely}",
            mend,
        ]
        return "; ".join(filter(None, sentences)) + "."

    def as_json(self) -> dict[str, Any]:
        """For a program."""
        likely, mend = self.likely
        return {
            "log": self.log or None,
            "reason": self.reason,
            "amount": self.amount,
            "of": self.of,
            "unit": self.unit,
            "first": self.first or None,
            "detail": self.detail or None,
            "likely": likely,
            "mend": mend,
        }


class Outcomes:
    """How the records of each log ended, batch by batch; a log of one run is known by its name."""

    def __init__(self) -> None:
        self._records: Counter[str] = Counter()
        self._ended: dict[str, Counter[str]] = {}
        self._first: dict[tuple[str, str], tuple[str, str]] = {}  # log, reason: where, detail
        self._watched: Counter[str] = Counter()  # suspended, by reason
        self._watched_first: dict[str, str] = {}
        self._clock_ms: int | None = None
        self._clock_set_at = "an earlier run"

    def add(
        self,
        chunk: LogChunk,
        batch: UsageBatch,
        result: BatchResult,
        counts_before: dict[str, int],
    ) -> None:
        """Count a batch. counts_before: the partition's before it."""
        self._notice_clock(batch, result)
        logs = [segment.name for segment in chunk.segments]
        begins = [segment.at for segment in chunk.segments]
        at = np.searchsorted(begins, batch.events["raw_at"], side="right") - 1
        for log, records in zip(logs, np.bincount(at, minlength=len(logs)).tolist(), strict=True):
            self._records[log] += records
        self._records[THE_RUN] += len(batch.events)
        self.add_suspense(result.suspense)
        for outcome in COUNTED_ALONE:
            more = result.counts.get(outcome, 0) - counts_before.get(outcome, 0)
            if more:
                where = _first_place(batch, outcome) if 2 * more > len(batch.events) else ""
                # Which log of several they came from is not known.
                self._end(THE_RUN, outcome, more, where, "")
                if len(logs) == 1:
                    self._end(logs[0], outcome, more, where, "")

    def _notice_clock(self, batch: UsageBatch, result: BatchResult) -> None:
        """Remember which record put the log clock where it stands now."""
        if result.clock_ms == self._clock_ms:
            return
        self._clock_ms = result.clock_ms
        events = batch.events
        setting = (events["received_ms"] == result.clock_ms) & (events["type"] != MALFORMED)
        if setting.any():
            self._clock_set_at = batch.locate(int(setting.argmax()))

    def add_suspense(self, suspense: pl.DataFrame) -> None:
        """Count what a batch, or closing, suspended."""
        records = suspense.filter(pl.col("source").is_not_null())
        ended = records.group_by(
            pl.col("source").str.replace(r":\d+$", "").alias("log"), "reason", maintain_order=True
        ).agg(pl.len(), pl.col("source").first().alias("first"), pl.col("detail").first())
        for log, reason, rows, where, detail in ended.iter_rows():
            for name in (log, THE_RUN):
                self._end(name, reason, rows, where, self._explained(reason, detail))
        pieces = suspense.filter(pl.col("source").is_null())
        for row in pieces.iter_rows(named=True):
            self._watched[row["reason"]] += row["watched_ms"] or 0
            self._watched_first.setdefault(
                row["reason"],
                f"account {row['account']}, session {row['session']}, content {row['content']}",
            )

    def _explained(self, reason: str, detail: str) -> str:
        """The detail, and for late records where the log clock stands and by which record."""
        if reason not in LATE or self._clock_ms is None:
            return detail
        clock = EPOCH + timedelta(milliseconds=self._clock_ms)
        return f"{detail.rstrip('.')}; the log clock stands at {clock:%Y-%m-%d %H:%M:%S} UTC, set by {self._clock_set_at}"

    def _end(self, log: str, reason: str, records: int, where: str, detail: str) -> None:
        """Count records that ended so."""
        self._ended.setdefault(log, Counter())[reason] += records
        if where or detail:
            self._first.setdefault((log, reason), (where, detail))

    def uncharged(self, watched_ms: int) -> list[Uncharged]:
        """Each log of which most was not charged; the run as a whole where no log tells it.

        watched_ms: of the run, suspended pieces included.
        """
        found = [said for log in self._records if log != THE_RUN for said in self._mostly(log)]
        found.sort(key=lambda said: -said.amount)
        found = found[:LOGS_SAID_MAX] or list(self._mostly(THE_RUN))
        suspended_ms = sum(self._watched.values())
        if 2 * suspended_ms > watched_ms:
            reason, _ = self._watched.most_common(1)[0]
            first = self._watched_first[reason]
            found.append(
                Uncharged(THE_RUN, reason, suspended_ms, watched_ms, "watched_ms", first, "")
            )
        return found

    def _mostly(self, log: str) -> Iterator[Uncharged]:
        """What a log mostly came to, if that is not charges."""
        ended, of = self._ended.get(log, Counter()), self._records[log]
        repeats = ended[DUPLICATES]
        lost = ended.total() - repeats
        amount = lost if 2 * lost > of else repeats if 2 * repeats > of else 0
        if amount:
            reasons = ended if amount == repeats else ended - Counter({DUPLICATES: repeats})
            reason, _ = reasons.most_common(1)[0]
            where, detail = self._first.get((log, reason), ("", ""))
            yield Uncharged(log, reason, amount, of, "records", where, detail)


def _first_place(batch: UsageBatch, outcome: str) -> str:
    """Where the first record stands that is likely to have ended so."""
    events = batch.events
    if outcome == ORPHAN_STOPS:
        rows = np.flatnonzero((events["type"] == VIEW) & (events["state"] == STOPPED))
    elif outcome == OUT_OF_ORDER:
        rows = _steps_back(batch)
    else:
        rows = np.arange(len(events))
    return batch.locate(int(rows[0])) if len(rows) else ""


def _steps_back(batch: UsageBatch) -> np.ndarray:
    """Rows of views whose time is before that of an earlier row of their session."""
    rows = np.flatnonzero(batch.events["type"] == VIEW)
    views, text = batch.events[rows], batch.text.tobytes()
    session = {
        field: [
            text[at : at + length]
            for at, length in zip(
                views[f"{field}_at"].tolist(), views[f"{field}_len"].tolist(), strict=True
            )
        ]
        for field in ("account", "device", "key")
    }
    frame = pl.DataFrame({"row": rows, "time": views["time_ms"], **session})
    latest_before = pl.col("time").cum_max().shift(1).over("account", "device", "key")
    return frame.filter(pl.col("time") < latest_before)["row"].to_numpy()
