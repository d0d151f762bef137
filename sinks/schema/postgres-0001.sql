-- The billing store in PostgreSQL, version 1. Times are UTC milliseconds since the epoch, money is
-- micro-units (millionths of the currency), both bigint; docs/store.md explains every column, and
-- docs/adr/0007-postgres.md why it is built like this.
--
-- Texts compare by their bytes, so that pages and sorted merges agree with every other store. They
-- hold U+0000 as U+0001 U+0001 and U+0001 as U+0001 U+0002, since PostgreSQL knows no U+0000.

CREATE SCHEMA ratecast;
COMMENT ON SCHEMA ratecast IS 'Billing store of ratecast';
SET LOCAL search_path = ratecast;

CREATE TABLE store (
    id text NOT NULL,  -- drawn once; what is made from a store says from which
    version int NOT NULL  -- of this schema
);

INSERT INTO store (id, version) VALUES (replace(gen_random_uuid()::text, '-', ''), 0);

CREATE TABLE books (
    id text COLLATE "C" PRIMARY KEY,
    effective_from_ms bigint NOT NULL,
    currency text NOT NULL,
    timezone text NOT NULL,
    fingerprint text NOT NULL,
    text text NOT NULL  -- the file, as it was read
);

CREATE TABLE partitions (
    partition bigint PRIMARY KEY,
    next_offset bigint NOT NULL,
    clock_ms bigint,  -- null before the first well-formed usage record
    counts jsonb NOT NULL,
    sessions_open bigint NOT NULL
) WITH (fillfactor = 50);  -- changed by every commit: room for its next form in the same page

CREATE TABLE sources (
    partition bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    head_bytes bigint NOT NULL,
    head_digest bytea NOT NULL,
    taken_bytes bigint NOT NULL,
    taken_lines bigint NOT NULL,
    taken_digest bytea NOT NULL,
    turn bigint GENERATED ALWAYS AS IDENTITY,  -- the one last read from has the highest
    PRIMARY KEY (partition, name, head_digest)
);

-- One row for each (partition, name, seq): the last step of a commit removes the others. The batch is
-- in the key so that a row can be brought before that step without waiting for anybody.
CREATE TABLE state (
    partition bigint NOT NULL,
    name text COLLATE "C" NOT NULL,
    seq bigint NOT NULL,
    batch bigint NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (partition, name, seq, batch)
);
ALTER TABLE state ALTER COLUMN payload SET STORAGE EXTERNAL;  -- compressed already

-- --- what happened --------------------------------------------------------------------------------

-- Rows arrive before they are numbered: each carries its batch and its place therein. The last step
-- of a commit gives the batch a span of numbers, and seq is upto - rows + line.
CREATE SEQUENCE batch_numbers;

CREATE TABLE spans (
    kind text COLLATE "C" NOT NULL,  -- charges, suspense, signals
    upto bigint NOT NULL,  -- seq of the batch's last row
    rows bigint NOT NULL,
    batch bigint NOT NULL,
    slot_min bigint,  -- of charges: where to look for them
    slot_max bigint,
    PRIMARY KEY (kind, upto),
    UNIQUE (batch, kind)
);

CREATE TABLE charges (
    batch bigint NOT NULL,
    line bigint NOT NULL,
    charge_id uuid NOT NULL,
    type text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    content text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    quality text COLLATE "C" NOT NULL,
    plan text COLLATE "C" NOT NULL,
    book text COLLATE "C" NOT NULL,
    rule text COLLATE "C" NOT NULL,
    start bigint NOT NULL,
    "end" bigint NOT NULL,
    slot bigint NOT NULL,
    watched_ms bigint NOT NULL,
    billed_ms bigint NOT NULL,
    free_ms bigint NOT NULL,
    gross bigint NOT NULL,
    discount bigint NOT NULL,
    capped bigint NOT NULL,
    net bigint NOT NULL,
    tax bigint NOT NULL,
    total bigint NOT NULL,
    unfunded bigint NOT NULL,
    currency text COLLATE "C" NOT NULL,
    segment bigint NOT NULL,
    region text COLLATE "C" NOT NULL,
    paid bigint NOT NULL,
    local_date date NOT NULL,
    steps text NOT NULL
) PARTITION BY RANGE (slot);

CREATE INDEX charges_by_batch ON charges (batch, line);

-- To find a charge. The slot comes first, so that a commit touches the pages of its own hours, and
-- costs the same however much is stored.
CREATE INDEX charges_by_slot ON charges (slot, account, charge_id);

-- Months that no bill is about. Without a default partition, a new one is attached while others
-- read and write.
CREATE TABLE charges_before_2000 PARTITION OF charges FOR VALUES FROM (MINVALUE) TO (946684800000);
CREATE TABLE charges_from_2100 PARTITION OF charges FOR VALUES FROM (4102444800000) TO (MAXVALUE);

-- Purchases and refunds, in whatever month they are: no order is charged twice.
CREATE TABLE charged_once (
    charge_id uuid PRIMARY KEY
);

CREATE TABLE suspense (
    batch bigint NOT NULL,
    line bigint NOT NULL,
    reason text COLLATE "C" NOT NULL,
    detail text NOT NULL,
    account text COLLATE "C",
    time bigint,
    type text COLLATE "C",
    device text COLLATE "C",
    session text COLLATE "C",
    content text COLLATE "C",
    kind text COLLATE "C",
    quality text COLLATE "C",
    plan text COLLATE "C",
    book text COLLATE "C",
    "end" bigint,
    watched_ms bigint,
    source text COLLATE "C",
    raw bytea
);

CREATE INDEX suspense_by_batch ON suspense (batch, line);

CREATE TABLE signals (
    batch bigint NOT NULL,
    line bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    account text COLLATE "C" NOT NULL,
    time bigint NOT NULL,
    "order" text COLLATE "C",
    reason text COLLATE "C"
);

CREATE INDEX signals_by_batch ON signals (batch, line);

-- --- what is so now -------------------------------------------------------------------------------

CREATE TABLE accounts (
    account text COLLATE "C" PRIMARY KEY,
    plan text COLLATE "C",  -- null: never opened
    region text COLLATE "C",
    bill_day bigint NOT NULL,
    packages text NOT NULL,  -- JSON array
    currency text COLLATE "C",
    balance bigint NOT NULL,
    exhausted boolean NOT NULL,
    topups bigint NOT NULL,
    paid bigint NOT NULL,
    purchases bigint NOT NULL,
    refunds bigint NOT NULL
) WITH (fillfactor = 80);

CREATE TABLE orders (
    account text COLLATE "C" NOT NULL,
    "order" text COLLATE "C" NOT NULL,
    offer text COLLATE "C" NOT NULL,
    kind text COLLATE "C",
    quality text COLLATE "C",
    book text COLLATE "C",
    time bigint NOT NULL,
    total bigint,
    status text COLLATE "C" NOT NULL,
    first_play bigint,
    PRIMARY KEY (account, "order")
) WITH (fillfactor = 80);

CREATE TABLE open_sessions (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partition bigint NOT NULL,
    as_of_ms bigint NOT NULL,  -- the log clock when this was written
    account text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    session text COLLATE "C" NOT NULL,
    content text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    quality text COLLATE "C" NOT NULL,
    playing boolean NOT NULL,
    start bigint NOT NULL,
    last bigint NOT NULL,
    seen bigint NOT NULL,
    watched_ms bigint NOT NULL
);

CREATE INDEX open_sessions_by_partition ON open_sessions (partition);

CREATE TABLE projections (
    name text COLLATE "C" PRIMARY KEY,
    seq bigint NOT NULL,
    payload bytea NOT NULL
);

-- --- writing --------------------------------------------------------------------------------------

CREATE FUNCTION make_month(month date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = ratecast, pg_temp
AS $$
-- Make the partition for the charges of a month, unless it is there. It belongs to the schema's
-- owner, so that a writer needs no right to change the schema.
DECLARE
    begins date := date_trunc('month', month::timestamp)::date;
    made text := format('charges_%s', to_char(begins, 'YYYY_MM'));
BEGIN
    IF begins < date '2000-01-01' OR begins >= date '2100-01-01' THEN
        RETURN;
    END IF;
    -- Of several writers that need it, one makes it. A query sees what another has committed
    -- meanwhile; to_regclass would answer from what this session remembers.
    PERFORM pg_advisory_xact_lock(hashtext('ratecast'), 1);
    IF EXISTS (
        SELECT FROM pg_class WHERE relname = made AND relnamespace = 'ratecast'::regnamespace
    ) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE charges INCLUDING ALL)', made);
    EXECUTE format(
        'ALTER TABLE charges ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
        made,
        extract(epoch FROM begins)::bigint * 1000,
        extract(epoch FROM begins + interval '1 month')::bigint * 1000
    );
END $$;

CREATE FUNCTION number_rows(
    in_kind text, in_rows bigint, in_batch bigint, in_slot_min bigint, in_slot_max bigint
) RETURNS void
LANGUAGE sql SET search_path = ratecast, pg_temp
AS $$
INSERT INTO spans (kind, upto, rows, batch, slot_min, slot_max)
SELECT
    in_kind,
    coalesce((SELECT max(upto) FROM spans WHERE kind = in_kind), 0) + in_rows,
    in_rows, in_batch, in_slot_min, in_slot_max
WHERE in_rows > 0
$$;

CREATE FUNCTION commit_batch(
    in_batch bigint,
    in_partition bigint,
    in_expected_offset bigint,
    in_next_offset bigint,
    in_clock_ms bigint,
    in_counts jsonb,
    in_sessions_open bigint,
    in_charges bigint,
    in_slot_min bigint,
    in_slot_max bigint,
    in_charged_once bigint,
    in_suspense bigint,
    in_signals bigint
) RETURNS void
LANGUAGE plpgsql SET search_path = ratecast, pg_temp
AS $$
-- The last step of a commit, and the first that others could have to wait for. Everything that it
-- needs is here already: in the charges, suspense, signals and state of the batch, and in the
-- session's own tables new_accounts, new_orders, new_sources and old_state.
BEGIN
    UPDATE partitions
    SET next_offset = in_next_offset, clock_ms = in_clock_ms, counts = in_counts,
        sessions_open = in_sessions_open
    WHERE partition = in_partition AND next_offset = in_expected_offset;
    IF NOT FOUND AND in_expected_offset = 0 THEN
        INSERT INTO partitions (partition, next_offset, clock_ms, counts, sessions_open)
        VALUES (in_partition, in_next_offset, in_clock_ms, in_counts, in_sessions_open)
        ON CONFLICT DO NOTHING;
    END IF;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'offset moved' USING ERRCODE = 'RC001', DETAIL = coalesce(
            (SELECT next_offset FROM partitions WHERE partition = in_partition), 0
        );
    END IF;

    IF in_charged_once > 0 THEN
        INSERT INTO charged_once
        SELECT charge_id FROM charges
        WHERE batch = in_batch AND slot BETWEEN in_slot_min AND in_slot_max AND type <> 'usage';
    END IF;
    INSERT INTO accounts SELECT * FROM new_accounts
    ON CONFLICT (account) DO UPDATE
    SET plan = excluded.plan, region = excluded.region, bill_day = excluded.bill_day,
        packages = excluded.packages, currency = excluded.currency, balance = excluded.balance,
        exhausted = excluded.exhausted, topups = excluded.topups, paid = excluded.paid,
        purchases = excluded.purchases, refunds = excluded.refunds;
    INSERT INTO orders SELECT * FROM new_orders
    ON CONFLICT (account, "order") DO UPDATE
    SET offer = excluded.offer, kind = excluded.kind, quality = excluded.quality,
        book = excluded.book, time = excluded.time, total = excluded.total,
        status = excluded.status, first_play = excluded.first_play;
    DELETE FROM state USING old_state AS old
    WHERE (state.partition, state.name, state.seq) = (old.partition, old.name, old.seq)
        AND state.batch <> in_batch;
    DELETE FROM sources USING new_sources AS new
    WHERE (sources.partition, sources.name, sources.head_digest)
        = (new.partition, new.name, new.head_digest);
    INSERT INTO sources (
        partition, name, head_bytes, head_digest, taken_bytes, taken_lines, taken_digest
    )
    SELECT partition, name, head_bytes, head_digest, taken_bytes, taken_lines, taken_digest
    FROM new_sources ORDER BY turn;

    IF in_charges + in_suspense + in_signals > 0 THEN
        -- Held until the commit is visible, so that numbers ascend in the order of commits.
        PERFORM pg_advisory_xact_lock(hashtext('ratecast'), 2);
        PERFORM number_rows('charges', in_charges, in_batch, in_slot_min, in_slot_max);
        PERFORM number_rows('suspense', in_suspense, in_batch, NULL, NULL);
        PERFORM number_rows('signals', in_signals, in_batch, NULL, NULL);
    END IF;
END $$;

REVOKE ALL ON FUNCTION make_month FROM PUBLIC;
REVOKE ALL ON FUNCTION number_rows FROM PUBLIC;
REVOKE ALL ON FUNCTION commit_batch FROM PUBLIC;

-- --- for people -----------------------------------------------------------------------------------

CREATE FUNCTION instant(time_ms bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN (
    timestamp 'epoch' + time_ms / 3600000 * interval '1 hour'
    + time_ms % 3600000 * interval '1 millisecond'
) AT TIME ZONE 'UTC';

CREATE FUNCTION amount(micros bigint) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN micros * 0.000001;

CREATE FUNCTION readable(raw bytea) RETURNS text
LANGUAGE plpgsql IMMUTABLE
AS $$
-- Bytes as text; where they are none, with whatever is no ASCII escaped.
BEGIN
    RETURN convert_from(raw, 'UTF8');
EXCEPTION WHEN character_not_in_repertoire THEN
    RETURN encode(raw, 'escape');
END $$;

CREATE VIEW charges_readable AS
SELECT
    spans.upto - spans.rows + line AS seq,
    charge_id, type, account, device, session, content, charges.kind, quality, plan, book, rule,
    instant(start) AS start_at, instant("end") AS end_at, instant(slot) AS slot_at,
    local_date, watched_ms, billed_ms, free_ms,
    amount(gross) AS gross, amount(discount) AS discount, amount(capped) AS capped,
    amount(net) AS net, amount(tax) AS tax, amount(total) AS total, amount(unfunded) AS unfunded,
    amount(total - unfunded) AS owed,
    currency,
    gross AS gross_micros, discount AS discount_micros, capped AS capped_micros, net AS net_micros,
    tax AS tax_micros, total AS total_micros, unfunded AS unfunded_micros,
    total - unfunded AS owed_micros,
    instant(segment) AS segment_at,
    region, paid AS paid_micros, steps
FROM charges JOIN spans ON spans.kind = 'charges' AND spans.batch = charges.batch;

CREATE VIEW suspense_readable AS
SELECT
    spans.upto - spans.rows + line AS seq,
    reason, detail, account, instant(time) AS time_at,
    type, device, session, content, suspense.kind, quality, plan, book,
    instant("end") AS end_at, watched_ms, source,
    readable(raw) AS raw
FROM suspense JOIN spans ON spans.kind = 'suspense' AND spans.batch = suspense.batch;

CREATE VIEW signals_readable AS
SELECT
    spans.upto - spans.rows + line AS seq,
    type, account, instant(time) AS time_at, "order", reason
FROM signals JOIN spans ON spans.kind = 'signals' AND spans.batch = signals.batch;

CREATE VIEW balances AS
SELECT account, currency, amount(balance) AS balance, balance AS balance_micros, exhausted
FROM accounts;
