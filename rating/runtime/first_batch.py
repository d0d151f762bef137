"""Whether what was given to be rated is a usage log at all.

A tariff book given as a log, or the topic of another program, would leave one suspense row for each
of its lines. So what is read first is judged before anything of it is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rating.schemas import UsageBatch

JUDGED_RECORDS_MIN = 10
"""Fewer records say too little, and do little harm in suspense."""


def nearly_all_malformed(records: int, malformed: int) -> bool:
    """Whether so many malformed records out of so many mean that this is no usage log.

    records: those read so far, all together where they came in several small batches.
    Nine tenths is what no sender's mistake reaches in a log that also has good senders.
    """
    return records >= JUDGED_RECORDS_MIN and 10 * malformed >= 9 * records


def malformed_count(batch: UsageBatch) -> int:
    """How many records of a batch are malformed, but for those that were suspended before the log.

    The latter are lines of type `ingest.suspended`, which only a gateway writes.
    """
    return len(batch.malformed) - len(batch.suspended_before)
