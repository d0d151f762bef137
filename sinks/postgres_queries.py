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

# Has one of a batch's charges an id that is stored already in its hour? (In another one: the last step
# of a commit finds it in charged_once.) The server knows nothing yet about rows that it was just given,
# so it is told to look each of them up: anything else would cost what is stored, not what is new.
IDS_TAKEN = """
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SET LOCAL enable_hashjoin = off;
SET LOCAL enable_mergejoin = off;
SELECT EXISTS (
    SELECT FROM charges AS new JOIN charges AS old
        ON old.slot = new.slot AND old.account = new.account AND old.charge_id = new.charge_id
    WHERE new.batch = {batch} AND new.slot BETWEEN {slot_min} AND {slot_max}
        AND old.slot BETWEEN {slot_min} AND {slot_max}
        AND (old.batch, old.line) <> (new.batch, new.line)
);
SET LOCAL enable_seqscan TO DEFAULT;
SET LOCAL enable_bitmapscan TO DEFAULT;
SET LOCAL enable_hashjoin TO DEFAULT;
SET LOCAL enable_mergejoin TO DEFAULT
"""

# Those of some charges' ids that are stored.
STORED_ALREADY = """
SELECT charge_id::text FROM charged_once WHERE charge_id = ANY ({ids}::uuid[])
UNION
SELECT old.charge_id::text
FROM unnest({slots}::bigint[], {accounts}::text[], {ids}::uuid[]) AS new (slot, account, charge_id)
JOIN charges AS old USING (slot, account, charge_id)
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
SELECT currency, type, count(*), sum(watched_ms), sum(billed_ms), sum(free_ms), sum(gross),
    sum(discount), sum(capped), sum(net), sum(tax), sum(total), sum(unfunded)
FROM charges GROUP BY currency, type ORDER BY currency, type
"""

SUSPENSE_BY_REASON = """
SELECT reason, count(*), coalesce(sum(watched_ms), 0)
FROM suspense GROUP BY reason ORDER BY reason
"""

SIGNALS_BY_TYPE = "SELECT type, count(*) FROM signals GROUP BY type ORDER BY type"

# What was charged, also where the charge is held back in suspense because its id is taken.
CHARGED = """(
    SELECT account, type, paid FROM charges
    UNION ALL
    SELECT account, type, (convert_from(raw, 'UTF8')::json ->> 'paid')::bigint FROM suspense
    WHERE reason = 'charge_id_taken'
) AS charged"""

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

# One number each, named as in LawInputs. Sums of bigint are numeric, and as wide as they need be.
LAWS = {
    "sessions_open": "SELECT sum(sessions_open) FROM partitions",
    "charges": "SELECT count(*) FROM charges",
    "records_suspended": """
        SELECT count(*) FROM suspense
        WHERE type IS DISTINCT FROM 'usage' AND reason <> 'charge_id_taken'
    """,
    "charged_ms": "SELECT sum(watched_ms) FROM charges",
    "suspended_ms": "SELECT sum(watched_ms) FROM suspense",
    "paid_open_micros": f"""
        SELECT (SELECT coalesce(sum(paid), 0) FROM accounts)
            - (SELECT coalesce(sum(paid), 0) FROM {CHARGED} WHERE type = 'usage')
    """,  # noqa: S608 - a statement of our own
    "balances_wrong": """
        SELECT count(*) FROM accounts WHERE balance <> topups - paid - purchases + refunds
    """,
    "orders_wrong": f"""
        SELECT count(*) FROM accounts LEFT JOIN (
            SELECT account,
                sum(CASE type WHEN 'purchase' THEN paid ELSE 0 END) AS purchases,
                -sum(CASE type WHEN 'refund' THEN paid ELSE 0 END) AS refunds
            FROM {CHARGED} WHERE type <> 'usage' GROUP BY account
        ) AS charged USING (account)
        WHERE accounts.purchases <> coalesce(charged.purchases, 0)
            OR accounts.refunds <> coalesce(charged.refunds, 0)
    """,  # noqa: S608 - a statement of our own
}
