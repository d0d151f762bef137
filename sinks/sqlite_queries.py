"""The longer questions to an SQLite store, with the columns that they answer in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinks.totals import CHARGE_TOTALS, SIGNAL_TOTALS, SUSPENSE_TOTALS

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, slots=True)
class Totals:
    """A grouped sum: the columns that it gives, and its statement."""

    schema: pl.Schema
    statement: str


ADVANCE = """
UPDATE partitions
SET next_offset = :next_offset, clock_ms = :clock_ms, counts = :counts,
    sessions_open = :sessions_open
WHERE partition = :partition AND next_offset = :expected_offset
"""

BEGIN_PARTITION = """
INSERT INTO partitions (partition, next_offset, clock_ms, counts, sessions_open)
VALUES (:partition, :next_offset, :clock_ms, :counts, :sessions_open)
"""

HEADS = """
SELECT chain.partition, number, digest FROM (
    SELECT -1 AS partition UNION ALL SELECT partition FROM partitions
) AS places JOIN chain ON chain.partition = places.partition
    AND number = (SELECT max(number) FROM chain WHERE chain.partition = places.partition)
ORDER BY chain.partition
"""

# Is a charge stored already? In the order of charges_once; then wherever an order's charge is.
STORED_ALREADY = """
SELECT 1 FROM charges WHERE slot = ?1 AND account = ?2 AND charge_id = ?3
UNION ALL
SELECT 1 FROM charges WHERE charge_id = ?3 AND type <> 'usage'
"""

# An account's charges lie together within each slot of charges_once, so every slot that there is
# is looked up, rather than every charge. Values: from_ms, to_ms, account.
OF_ACCOUNT = """
FROM (
    WITH RECURSIVE slots (slot) AS (
        SELECT min(slot) FROM charges WHERE slot >= ?1
        UNION ALL
        SELECT (SELECT min(slot) FROM charges WHERE slot > slots.slot)
        FROM slots WHERE slots.slot < ?2
    )
    SELECT slot FROM slots WHERE slot < ?2
) CROSS JOIN charges USING (slot)
WHERE account = ?3
ORDER BY start, seq
"""

CHARGES_BY_TYPE = Totals(
    CHARGE_TOTALS,
    """
    SELECT currency, type, count(*), sum(watched_ms), sum(billed_ms), sum(free_ms), sum(gross),
        sum(discount), sum(capped), sum(net), sum(tax), sum(total), sum(unfunded)
    FROM charges GROUP BY currency, type ORDER BY currency, type
    """,
)

SUSPENSE_BY_REASON = Totals(
    SUSPENSE_TOTALS,
    """
    SELECT reason, count(*), coalesce(sum(watched_ms), 0)
    FROM suspense GROUP BY reason ORDER BY reason
    """,
)

SIGNALS_BY_TYPE = Totals(
    SIGNAL_TOTALS,
    "SELECT type, count(*) FROM signals GROUP BY type ORDER BY type",
)

# Rows that no commit wrote, and that nothing else would show.
ORPHANS = {
    "rows of state of partitions that there are not": """
        SELECT count(*) FROM state WHERE partition NOT IN (SELECT partition FROM partitions)
    """,
    "sources of partitions that there are not": """
        SELECT count(*) FROM sources WHERE partition NOT IN (SELECT partition FROM partitions)
    """,
    "rows about the store itself or its topic, beside the one of each": """
        SELECT (SELECT count(*) - 1 FROM store) + max((SELECT count(*) - 1 FROM origin), 0)
    """,
}

# One number each, named as in LawInputs.
LAWS = {
    "sessions_open": "SELECT sum(sessions_open) FROM partitions",
    "charges": "SELECT count(*) FROM charges",
    "records_suspended": "SELECT count(*) FROM suspense WHERE type IS NOT 'usage'",
    "charged_ms": "SELECT sum(watched_ms) FROM charges",
    "suspended_ms": "SELECT sum(watched_ms) FROM suspense",
    "paid_open_micros": """
        SELECT (SELECT coalesce(sum(paid), 0) FROM accounts)
            - (SELECT coalesce(sum(paid), 0) FROM charges WHERE type = 'usage')
    """,
    "balances_wrong": """
        SELECT count(*) FROM accounts WHERE balance <> topups - paid - purchases + refunds
    """,
    "orders_wrong": """
        SELECT count(*) FROM accounts LEFT JOIN (
            SELECT account,
                sum(iif(type = 'purchase', paid, 0)) AS purchases,
                -sum(iif(type = 'refund', paid, 0)) AS refunds
            FROM charges WHERE type <> 'usage' GROUP BY account
        ) AS charged USING (account)
        WHERE accounts.purchases <> coalesce(charged.purchases, 0)
            OR accounts.refunds <> coalesce(charged.refunds, 0)
    """,
}
