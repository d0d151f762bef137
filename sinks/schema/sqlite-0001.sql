-- The billing store in SQLite, version 1. Times are UTC milliseconds since the epoch, money is
-- micro-units (millionths of the currency), both integers; docs/store.md explains every column.

CREATE TABLE store (
    id TEXT NOT NULL  -- drawn once; what is made from a store says from which
) STRICT;

INSERT INTO store (id) VALUES (lower(hex(randomblob(16))));

CREATE TABLE books (
    id TEXT PRIMARY KEY,
    effective_from_ms INTEGER NOT NULL,
    currency TEXT NOT NULL,
    timezone TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    text TEXT NOT NULL  -- the file, as it was read
) STRICT, WITHOUT ROWID;

CREATE TABLE partitions (
    partition INTEGER PRIMARY KEY,
    next_offset INTEGER NOT NULL,
    clock_ms INTEGER,  -- null before the first well-formed usage record
    counts TEXT NOT NULL,  -- JSON object
    sessions_open INTEGER NOT NULL
) STRICT;

CREATE TABLE sources (
    partition INTEGER NOT NULL,
    name TEXT NOT NULL,
    head_bytes INTEGER NOT NULL,
    head_digest BLOB NOT NULL,
    taken_bytes INTEGER NOT NULL,
    taken_lines INTEGER NOT NULL,
    taken_digest BLOB NOT NULL,
    PRIMARY KEY (partition, name, head_digest)
) STRICT;

CREATE TABLE state (
    partition INTEGER NOT NULL,
    name TEXT NOT NULL,
    seq INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (partition, name, seq)
) STRICT;

CREATE TABLE charges (
    seq INTEGER PRIMARY KEY,
    charge_id BLOB NOT NULL,  -- the UUID's 16 bytes
    type TEXT NOT NULL,
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    session TEXT NOT NULL,
    content TEXT NOT NULL,
    kind TEXT NOT NULL,
    quality TEXT NOT NULL,
    plan TEXT NOT NULL,
    book TEXT NOT NULL,
    rule TEXT NOT NULL,
    start INTEGER NOT NULL,
    "end" INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    watched_ms INTEGER NOT NULL,
    billed_ms INTEGER NOT NULL,
    free_ms INTEGER NOT NULL,
    gross INTEGER NOT NULL,
    discount INTEGER NOT NULL,
    capped INTEGER NOT NULL,
    net INTEGER NOT NULL,
    tax INTEGER NOT NULL,
    total INTEGER NOT NULL,
    unfunded INTEGER NOT NULL,
    currency TEXT NOT NULL,
    segment INTEGER NOT NULL,
    region TEXT NOT NULL,
    paid INTEGER NOT NULL,
    local_date INTEGER NOT NULL,  -- days since 1970-01-01
    steps TEXT NOT NULL
) STRICT;

-- To find a charge. The slot comes first, so that a commit touches the pages of its own hours, and
-- costs the same however much is stored. Not unique: a session that is opened again at the same
-- instant by late copies of its records makes another charge of the same name.
CREATE INDEX charges_by_slot ON charges (slot, account, charge_id);

-- A purchase given twice might have another time, hence another slot; there are few of them.
CREATE UNIQUE INDEX charges_once_ordered ON charges (charge_id) WHERE type <> 'usage';

CREATE TABLE suspense (
    seq INTEGER PRIMARY KEY,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    account TEXT,
    time INTEGER,
    type TEXT,
    device TEXT,
    session TEXT,
    content TEXT,
    kind TEXT,
    quality TEXT,
    plan TEXT,
    book TEXT,
    "end" INTEGER,
    watched_ms INTEGER,
    source TEXT,
    raw BLOB
) STRICT;

CREATE TABLE signals (
    seq INTEGER PRIMARY KEY,
    type TEXT NOT NULL,
    account TEXT NOT NULL,
    time INTEGER NOT NULL,
    "order" TEXT,
    reason TEXT
) STRICT;

CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    plan TEXT,  -- null: never opened
    region TEXT,
    bill_day INTEGER NOT NULL,
    packages TEXT NOT NULL,  -- JSON array
    currency TEXT,
    balance INTEGER NOT NULL,
    exhausted INTEGER NOT NULL,  -- 1 or 0
    topups INTEGER NOT NULL,
    paid INTEGER NOT NULL,
    purchases INTEGER NOT NULL,
    refunds INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE orders (
    account TEXT NOT NULL,
    "order" TEXT NOT NULL,
    offer TEXT NOT NULL,
    kind TEXT,
    quality TEXT,
    book TEXT,
    time INTEGER NOT NULL,
    total INTEGER,
    status TEXT NOT NULL,
    first_play INTEGER,
    PRIMARY KEY (account, "order")
) STRICT, WITHOUT ROWID;

CREATE TABLE open_sessions (
    partition INTEGER NOT NULL,
    as_of_ms INTEGER NOT NULL,  -- the log clock when this was written
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    session TEXT NOT NULL,
    content TEXT NOT NULL,
    kind TEXT NOT NULL,
    quality TEXT NOT NULL,
    playing INTEGER NOT NULL,  -- 1 or 0
    start INTEGER NOT NULL,
    last INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    watched_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE projections (
    name TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    payload BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- For people. Sums belong to the tables: the decimals here are text, exact to the micro-unit.

CREATE VIEW charges_readable AS
SELECT
    seq,
    substr(lower(hex(charge_id)), 1, 8) || '-' || substr(lower(hex(charge_id)), 9, 4) || '-'
        || substr(lower(hex(charge_id)), 13, 4) || '-' || substr(lower(hex(charge_id)), 17, 4) || '-'
        || substr(lower(hex(charge_id)), 21) AS charge_id,
    type, account, device, session, content, kind, quality, plan, book, rule,
    strftime('%Y-%m-%dT%H:%M:%fZ', start / 1000.0, 'unixepoch') AS start_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', "end" / 1000.0, 'unixepoch') AS end_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', slot / 1000.0, 'unixepoch') AS slot_at,
    date(local_date * 86400, 'unixepoch') AS local_date,
    watched_ms, billed_ms, free_ms,
    printf('%s%d.%06d', iif(gross < 0, '-', ''), abs(gross) / 1000000, abs(gross) % 1000000)
        AS gross,
    printf('%s%d.%06d', iif(discount < 0, '-', ''), abs(discount) / 1000000, abs(discount) % 1000000)
        AS discount,
    printf('%s%d.%06d', iif(capped < 0, '-', ''), abs(capped) / 1000000, abs(capped) % 1000000)
        AS capped,
    printf('%s%d.%06d', iif(net < 0, '-', ''), abs(net) / 1000000, abs(net) % 1000000)
        AS net,
    printf('%s%d.%06d', iif(tax < 0, '-', ''), abs(tax) / 1000000, abs(tax) % 1000000)
        AS tax,
    printf('%s%d.%06d', iif(total < 0, '-', ''), abs(total) / 1000000, abs(total) % 1000000)
        AS total,
    printf('%s%d.%06d', iif(unfunded < 0, '-', ''), abs(unfunded) / 1000000, abs(unfunded) % 1000000)
        AS unfunded,
    printf('%s%d.%06d', iif((total - unfunded) < 0, '-', ''), abs((total - unfunded)) / 1000000, abs((total - unfunded)) % 1000000)
        AS owed,
    currency,
    gross AS gross_micros, discount AS discount_micros, capped AS capped_micros, net AS net_micros,
    tax AS tax_micros, total AS total_micros, unfunded AS unfunded_micros,
    total - unfunded AS owed_micros,
    strftime('%Y-%m-%dT%H:%M:%fZ', segment / 1000.0, 'unixepoch') AS segment_at,
    region, paid AS paid_micros, steps
FROM charges;

CREATE VIEW suspense_readable AS
SELECT
    seq, reason, detail, account,
    strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') AS time_at,
    type, device, session, content, kind, quality, plan, book,
    strftime('%Y-%m-%dT%H:%M:%fZ', "end" / 1000.0, 'unixepoch') AS end_at,
    watched_ms, source, CAST(raw AS TEXT) AS raw
FROM suspense;

CREATE VIEW signals_readable AS
SELECT
    seq, type, account,
    strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') AS time_at,
    "order", reason
FROM signals;

CREATE VIEW balances AS
SELECT
    account, currency,
    printf('%s%d.%06d', iif(balance < 0, '-', ''), abs(balance) / 1000000, abs(balance) % 1000000)
        AS balance,
    balance AS balance_micros, exhausted
FROM accounts;
