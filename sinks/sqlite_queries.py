"""The longer questions to an SQLite store, with the columns that they answer in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sinks.totals import CHARGE_TOTALS, SIGNAL_TOTALS, SUMS, SUSPENSE_TOTALS

if TYPE_CHECKING:
    import polars as pl


LOW_BITS = 32


def wide_sum(value: str) -> str:
    """A sum that may pass 64 bits, where SQLite's own fails: of the upper words, and of the lower.

    What it comes to is `joined` of the two.
    """
    return f"coalesce(sum({value} >> {LOW_BITS}), 0), coalesce(sum({value} & {2**LOW_BITS - 1}), 0)"


def joined(high: int, low: int) -> int:
    """The sum of which `wide_sum` gave the words."""
    return (high << LOW_BITS) + low


@dataclass(frozen=True, slots=True)
class Totals:
    """A grouped sum: the columns that it gives, and its statement.

    wide: how many of the last columns are each two of the statement's, from `wide_sum`.
    """

    schema: pl.Schema
    statement: str
    wide: int = 0


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

# Has one of the charges numbered from ?1 on the id of another one?
IDS_TAKEN = """
SELECT EXISTS (
    SELECT 1 FROM charges AS new JOIN charges AS old INDEXED BY charges_by_slot
        ON old.slot = new.slot AND old.account = new.account AND old.charge_id = new.charge_id
    WHERE new.seq >= ?1 AND old.seq <> new.seq
)
"""

HEADS = """
SELECT chain.partition, number, digest FROM (
    SELECT -1 AS partition UNION ALL SELECT partition FROM partitions
) AS places JOIN chain ON chain.partition = places.partition
    AND number = (SELECT max(number) FROM chain WHERE chain.partition = places.partition)
ORDER BY chain.partition
"""

# Is a charge stored already? By charges_by_slot; then wherever an order's charge is.
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
    f"""
    SELECT currency, type, count(*), {", ".join(map(wide_sum, SUMS[1:]))}
    FROM charges GROUP BY currency, type ORDER BY currency, type
    """,  # noqa: S608 - columns of our own
    wide=len(SUMS[1:]),
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

# What was charged, also where the charge is held back in suspense because its id is taken.
CHARGED = """(
    SELECT account, type, paid FROM charges
    UNION ALL
    SELECT account, type, json_extract(CAST(raw AS TEXT), '$.paid') FROM suspense
    WHERE reason = 'charge_id_taken'
)"""

# The words of what accounts paid for usage, and of what their charges did.
PAID = (
    f"SELECT {wide_sum('paid')} FROM accounts",  # noqa: S608 - a column of our own
    f"SELECT {wide_sum('paid')} FROM {CHARGED} WHERE type = 'usage'",  # noqa: S608
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
    "records_suspended": """
        SELECT count(*) FROM suspense WHERE type IS NOT 'usage' AND reason <> 'charge_id_taken'
    """,
    "charged_ms": "SELECT sum(watched_ms) FROM charges",
    "suspended_ms": "SELECT sum(watched_ms) FROM suspense",
    "balances_wrong": """
        SELECT count(*) FROM accounts WHERE balance <> topups - paid - purchases + refunds
    """,
    "orders_wrong": f"""
        SELECT count(*) FROM accounts LEFT JOIN (
            SELECT account,
                sum(iif(type = 'purchase', paid, 0)) AS purchases,
                -sum(iif(type = 'refund', paid, 0)) AS refunds
            FROM {CHARGED} WHERE type <> 'usage' GROUP BY account
        ) AS charged USING (account)
        WHERE accounts.purchases <> coalesce(charged.purchases, 0)
            OR accounts.refunds <> coalesce(charged.refunds, 0)
    """,  # noqa: S608 - a statement of our own
}
