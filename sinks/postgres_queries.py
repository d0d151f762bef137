"""The longer statements for a PostgreSQL store."""

from __future__ import annotations

STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS new_accounts (LIKE ratecast.accounts) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_orders (LIKE ratecast.orders) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS new_sources (LIKE ratecast.sources) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS old_state (
    partition bigint NOT NULL, name text COLLATE "C" NOT NULL, seq bigint NOT NULL
) ON COMMIT DELETE ROWS
"""

NEW_BATCH = """
SELECT
    nextval('batch_numbers'),
    coalesce((SELECT next_offset FROM partitions WHERE partition = %s), 0)
"""

# One small message ends a commit. So a worker can be frozen or cut off before it was sent, when it
# holds nothing that others wait for, or after, when the server needs nothing more from it.
FINISH = """
SELECT commit_batch(
    {batch}, {partition}, {expected_offset}, {next_offset}, {clock_ms}, {counts}, {sessions_open},
    {charges}, {slot_min}, {slot_max}, {charged_once}, {suspense}, {signals}, {facts}, {changes},
    {cluster}, {topic}, {moves_origin}
);
COMMIT
"""

HEADS = """
SELECT partition, number, digest FROM (
    SELECT -1 AS partition UNION ALL SELECT partition FROM partitions
) AS places CROSS JOIN LATERAL (
    SELECT number, digest FROM chain WHERE chain.partition = places.partition
    ORDER BY number DESC LIMIT 1
) AS last ORDER BY partition
"""

SPANS = """
SELECT batch, upto - rows AS before, upto, slot_min, slot_max FROM spans
WHERE kind = %s AND upto > %s AND upto - rows < %s ORDER BY upto
"""

SEQ_OF_CHARGE = """
(SELECT upto - rows FROM spans WHERE spans.kind = 'charges' AND spans.batch = charges.batch) + line
"""

# An account's charges lie together within each slot of charges_by_slot, so every slot that there is
# is looked up, rather than every charge.
OF_ACCOUNT = """
FROM (
    WITH RECURSIVE slots (slot) AS (
        (SELECT slot FROM charges WHERE slot >= {from_ms} ORDER BY slot LIMIT 1)
        UNION ALL
        SELECT (
            SELECT charges.slot FROM charges WHERE charges.slot > slots.slot
            ORDER BY charges.slot LIMIT 1
        )
        FROM slots WHERE slots.slot < {to_ms}
    )
    SELECT slot AS in_slot FROM slots WHERE slot < {to_ms}
) AS found CROSS JOIN LATERAL (
    SELECT * FROM charges WHERE slot = in_slot AND account = {account} OFFSET 0
) AS charges
ORDER BY start, 1
"""

CHARGES_BY_TYPE = """
SELECT currency, type, count(*), sum(watched_ms)::bigint, sum(billed_ms)::bigint,
    sum(free_ms)::bigint, sum(gross)::bigint, sum(discount)::bigint, sum(capped)::bigint,
    sum(net)::bigint, sum(tax)::bigint, sum(total)::bigint, sum(unfunded)::bigint
FROM charges GROUP BY currency, type ORDER BY currency, type
"""

SUSPENSE_BY_REASON = """
SELECT reason, count(*), coalesce(sum(watched_ms), 0)::bigint
FROM suspense GROUP BY reason ORDER BY reason
"""

SIGNALS_BY_TYPE = "SELECT type, count(*) FROM signals GROUP BY type ORDER BY type"

# Rows that no commit wrote, and that nothing else would show.
ORPHANS = {
    "rows of state of partitions that there are not": """
        SELECT count(*) FROM state WHERE partition NOT IN (SELECT partition FROM partitions)
    """,
    "sources of partitions that there are not": """
        SELECT count(*) FROM sources WHERE partition NOT IN (SELECT partition FROM partitions)
    """,
    "rows about the store itself, beside the one": "SELECT count(*) - 1 FROM store",
    "ids of purchases and refunds (charged_once) that are of no charge": """
        SELECT count(*) FROM charged_once AS once WHERE NOT EXISTS (
            SELECT FROM charges WHERE type <> 'usage' AND charges.charge_id = once.charge_id
        )
    """,
    "purchases and refunds whose ids are not in charged_once": """
        SELECT count(*) FROM charges WHERE type <> 'usage' AND NOT EXISTS (
            SELECT FROM charged_once AS once WHERE once.charge_id = charges.charge_id
        )
    """,
    "spans of numbers that are of no commit": """
        WITH given AS (
            SELECT 'charges' AS kind, charges_upto AS upto, charges_rows AS rows FROM chain
            UNION ALL SELECT 'suspense', suspense_upto, suspense_rows FROM chain
            UNION ALL SELECT 'signals', signals_upto, signals_rows FROM chain
        ), older AS (
            SELECT kind, max(upto) AS upto FROM (
                SELECT 'charges' AS kind, charges_upto AS upto FROM chain WHERE partition = -1
                UNION ALL SELECT 'suspense', suspense_upto FROM chain WHERE partition = -1
                UNION ALL SELECT 'signals', signals_upto FROM chain WHERE partition = -1
            ) AS firsts GROUP BY kind
        )
        SELECT count(*) FROM spans JOIN older USING (kind) WHERE spans.upto > older.upto
            AND NOT EXISTS (
                SELECT FROM given
                WHERE (given.kind, given.upto, given.rows) = (spans.kind, spans.upto, spans.rows)
            )
    """,
}

# One number each, named as in LawInputs.
LAWS = {
    "sessions_open": "SELECT sum(sessions_open)::bigint FROM partitions",
    "charges": "SELECT count(*) FROM charges",
    "records_suspended": "SELECT count(*) FROM suspense WHERE type IS DISTINCT FROM 'usage'",
    "charged_ms": "SELECT sum(watched_ms)::bigint FROM charges",
    "suspended_ms": "SELECT sum(watched_ms)::bigint FROM suspense",
    "paid_open_micros": """
        SELECT (
            (SELECT coalesce(sum(paid), 0) FROM accounts)
            - (SELECT coalesce(sum(paid), 0) FROM charges WHERE type = 'usage')
        )::bigint
    """,
    "balances_wrong": """
        SELECT count(*) FROM accounts WHERE balance <> topups - paid - purchases + refunds
    """,
    "orders_wrong": """
        SELECT count(*) FROM accounts LEFT JOIN (
            SELECT account,
                sum(CASE type WHEN 'purchase' THEN paid ELSE 0 END) AS purchases,
                -sum(CASE type WHEN 'refund' THEN paid ELSE 0 END) AS refunds
            FROM charges WHERE type <> 'usage' GROUP BY account
        ) AS charged USING (account)
        WHERE accounts.purchases <> coalesce(charged.purchases, 0)
            OR accounts.refunds <> coalesce(charged.refunds, 0)
    """,
}
