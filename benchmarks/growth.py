"""Whether a batch costs the same however many sessions are open, and what they take of memory.

Goals: at five million open sessions at least 0.7 of the rate at fifty thousand, for batches of the
same size whose records come from all viewers at random; at most 150 bytes an open session, and 100
an account counter. Memory is what the system counts as resident, as it grows.

    python benchmarks/growth.py           # a few minutes, and some 6 GB of memory
    python benchmarks/growth.py --smoke   # seconds; for tests

Checked: every record was applied, and all watched time is in charges and open lines.
"""

from __future__ import annotations

import gc
import hashlib
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from crowd import BEAT_MS, CHANNELS, START_MS, batch, books, channel_books
from report import Report, core_s, median, options, publish, resident_bytes

from rating.rater import Rater

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 7
SESSIONS_AN_ACCOUNT = 5


def open_sessions(rater: Rater, viewers: int, records: int) -> float:
    """Open so many; returns the memory that each one took.

    The first session of each account comes before the measuring, with whatever grows only once.
    """
    accounts = viewers // SESSIONS_AN_ACCOUNT
    for first in range(0, viewers, records):
        if first == accounts:
            before_bytes = settled_bytes()
        rater.rate(batch(np.arange(first, first + records), START_MS, accounts=accounts))
    return (settled_bytes() - before_bytes) / (viewers - accounts)


def settled_bytes() -> int:
    """The memory in use once what is not needed was given back."""
    gc.collect()
    return resident_bytes()


def beats_s(rater: Rater, viewers: int, records: int, rounds: int) -> list[float]:
    """The seconds of a core that batches of heartbeats take, once everyone's line has begun."""
    accounts = viewers // SESSIONS_AN_ACCOUNT
    order = np.random.default_rng(SEED).permutation(viewers)
    for first in range(0, viewers, records):
        part = order[first : first + records]
        rater.rate(batch(part, START_MS + BEAT_MS, accounts=accounts))
    taken_s = []
    for number in range(rounds):
        beat, first = divmod(number * records, viewers)
        part = order[first : first + records]
        beats = batch(part, START_MS + (2 + beat) * BEAT_MS, accounts=accounts)
        taken_s.append(core_s(partial(rater.rate, beats)))
    return taken_s


def counter_bytes(accounts: int) -> float:
    """The memory that a counter takes: one for each channel that an account watches."""
    rater = Rater(channel_books())
    warm = CHANNELS // 5
    for channel in range(CHANNELS):
        if channel == warm:
            before, before_bytes = rater.state.counters.live, settled_bytes()
        time_ms = START_MS + channel * BEAT_MS
        rater.rate(batch(np.arange(accounts), time_ms, accounts=accounts, channel=channel))
    return (settled_bytes() - before_bytes) / (rater.state.counters.live - before)


def outcome(rater: Rater) -> tuple[bool, str]:
    """Whether everything was applied, and is in charges and open lines; and a digest of it."""
    rater.check_watched()
    counts = rater.counts()
    totals = f"{sorted(counts.items())} {rater.sessions_open}"
    digest = hashlib.blake2b(totals.encode(), digest_size=8).hexdigest()
    return counts["applied"] == counts["records"], digest


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure few and many open sessions, and what they and their counters take."""
    asked = options(__doc__).parse_args(arguments)
    few, many, records, rounds = (
        (1_000, 10_000, 200, 3) if asked.smoke else (50_000, 5_000_000, 50_000, 20)
    )
    report = Report("growth", f"batches of {records:,} heartbeats, seed {SEED}")
    counter = counter_bytes(few)
    names = {viewers: f"{viewers:,} open sessions" for viewers in (few, many)}
    for viewers, name in names.items():
        rater = Rater(books())
        session = open_sessions(rater, viewers, min(records, viewers // SESSIONS_AN_ACCOUNT))
        rate = records / median(beats_s(rater, viewers, records, rounds))
        baseline, aim = (names[few], "0.7") if viewers == many else ("", "")
        report.add(name, rate, "records/s of a core", baseline=baseline, aim=aim)
        holds, digest = outcome(rater)
        report.check(f"all applied, {name}", digest, holds=holds)
    state = rater.state
    report.add("an open session, resident", session, "bytes", aim="at most 150")
    report.add("an account counter, resident", counter, "bytes", aim="at most 100")
    report.add("all state, open lines included", state.size_bytes() / many, "bytes a session")
    publish(report, asked)


if __name__ == "__main__":
    main()
