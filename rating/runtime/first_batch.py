"""Whether what was given to be rated is a usage log at all.

A tariff book given as a log, or the topic of another program, would leave one suspense row for each
of its lines. So what is read first is judged before anything of it is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ingest.adapters.doors import read_lines

if TYPE_CHECKING:
    from ingest.adapters.doors import Door
    from rating.schemas import UsageBatch

LINE_END = b"\n"
JUDGED_RECORDS_MIN = 10
"""Fewer records say too little, and do little harm in suspense."""


def nearly_all_malformed(records: int, malformed: int) -> bool:
    """Whether so many malformed records out of so many mean that this is no usage log.

    records: those read so far, all together where they came in several small batches.
    Nine tenths is what no sender's mistake reaches in a log that also has good senders.
    """
    return records >= JUDGED_RECORDS_MIN and 10 * malformed >= 9 * records


def malformed_rows(batch: UsageBatch, door: Door | None) -> set[int]:
    """The malformed records of a batch, but for those that were suspended before the log.

    The latter are lines of type `ingest.suspended`, which only a gateway writes. A log in another
    format has passed no gateway: there they are what its door could not read.
    """
    return batch.malformed.keys() - (() if door else batch.suspended_before.keys())


def why_no_usage_log(lines: bytes, door: Door | None) -> str:
    """Why these first lines of a log are not those of a usage log; "" where they may be.

    door: how they are understood; None: they are usage records.
    """
    raw = np.frombuffer(lines, np.uint8)
    batch = read_lines(raw, lambda at: f"line {lines.count(LINE_END, 0, at) + 1}", door)
    records, malformed = len(batch.events), malformed_rows(batch, door)
    if not nearly_all_malformed(records, len(malformed)):
        return ""
    first = min(malformed)
    return (
        f"{len(malformed)} of its first {records} lines are no usage records "
        f"({batch.locate(first)}: {batch.malformed[first].rstrip('.')})"
    )
