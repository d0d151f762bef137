-- Version 2: the hash chain over commits (docs/adr/0014), and the topic that a store is rated from.

SET LOCAL search_path = ratecast;

CREATE TABLE chain (
    partition bigint NOT NULL,  -- -1: of what belongs to no partition
    number bigint NOT NULL,  -- 1, 2, ... in each chain
    charges_upto bigint NOT NULL,  -- seq of the last row added; 0 for none
    charges_rows bigint NOT NULL,
    suspense_upto bigint NOT NULL,
    suspense_rows bigint NOT NULL,
    signals_upto bigint NOT NULL,
    signals_rows bigint NOT NULL,
    facts bytea NOT NULL,  -- digests of the rows added, by kind
    changes bytea NOT NULL,  -- keys and digests of the rows changed elsewhere
    digest bytea NOT NULL,  -- of all this and of the link before
    PRIMARY KEY (partition, number)
);
ALTER TABLE chain ALTER COLUMN changes SET STORAGE EXTERNAL;  -- digests do not compress

CREATE TABLE origin (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    cluster text COLLATE "C" NOT NULL,  -- Kafka's own id of it
    topic text COLLATE "C" NOT NULL
);

ALTER TABLE projections ADD COLUMN digest bytea;

CREATE FUNCTION add_link(
    in_partition bigint,
    in_charges_upto bigint, in_charges_rows bigint,
    in_suspense_upto bigint, in_suspense_rows bigint,
    in_signals_upto bigint, in_signals_rows bigint,
    in_facts bytea, in_changes bytea
) RETURNS void
LANGUAGE plpgsql SET search_path = ratecast, pg_temp
AS $$
-- The next link of a chain; the caller has locked what makes it the only one to add to it. The
-- digest is that of sinks/chain.py.
DECLARE
    last_number bigint;
    last_digest bytea;
BEGIN
    SELECT number, digest INTO last_number, last_digest
    FROM chain WHERE partition = in_partition ORDER BY number DESC LIMIT 1;
    last_number := coalesce(last_number, 0);
    last_digest := coalesce(last_digest, decode(repeat('00', 32), 'hex'));
    INSERT INTO chain VALUES (
        in_partition, last_number + 1,
        in_charges_upto, in_charges_rows, in_suspense_upto, in_suspense_rows,
        in_signals_upto, in_signals_rows, in_facts, in_changes,
        sha256(
            last_digest || int8send(in_partition) || int8send(last_number + 1)
            || int8send(in_charges_upto) || int8send(in_charges_rows)
            || int8send(in_suspense_upto) || int8send(in_suspense_rows)
            || int8send(in_signals_upto) || int8send(in_signals_rows)
            || in_facts || sha256(in_changes)
        )
    );
END $$;

CREATE FUNCTION note_origin(in_cluster text, in_topic text, in_moves boolean) RETURNS void
LANGUAGE plpgsql SET search_path = ratecast, pg_temp
AS $$
-- The first commit says which topic a store is rated from; every later one must say the same, or
-- that the same messages are in another one now.
DECLARE
    kept text;
BEGIN
    IF in_topic IS NULL THEN
        RETURN;
    END IF;
    IF NOT EXISTS (SELECT FROM origin) THEN
        INSERT INTO origin (cluster, topic) VALUES (in_cluster, in_topic) ON CONFLICT DO NOTHING;
    END IF;
    IF in_moves THEN
        UPDATE origin SET cluster = in_cluster, topic = in_topic
        WHERE (cluster, topic) <> (in_cluster, in_topic);
        RETURN;
    END IF;
    SELECT topic || ' of cluster ' || cluster INTO kept FROM origin;
    IF kept <> in_topic || ' of cluster ' || in_cluster THEN
        RAISE EXCEPTION 'another origin' USING ERRCODE = 'RC002', DETAIL = kept;
    END IF;
END $$;

DROP FUNCTION commit_batch;
DROP FUNCTION number_rows;

CREATE FUNCTION number_rows(
    in_kind text, in_rows bigint, in_batch bigint, in_slot_min bigint, in_slot_max bigint
) RETURNS bigint
LANGUAGE plpgsql SET search_path = ratecast, pg_temp
AS $$
-- Give a batch's rows their numbers. Returns the last of them; 0 where there is no row.
DECLARE
    last_seq bigint;
BEGIN
    IF in_rows = 0 THEN
        RETURN 0;
    END IF;
    last_seq := coalesce((SELECT max(upto) FROM spans WHERE kind = in_kind), 0) + in_rows;
    INSERT INTO spans (kind, upto, rows, batch, slot_min, slot_max)
    VALUES (in_kind, last_seq, in_rows, in_batch, in_slot_min, in_slot_max);
    RETURN last_seq;
END $$;

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
    in_signals bigint,
    in_facts bytea,
    in_changes bytea,
    in_cluster text,
    in_topic text,
    in_moves_origin boolean
) RETURNS void
LANGUAGE plpgsql SET search_path = ratecast, pg_temp
AS $$
-- The last step of a commit, and the first that others could have to wait for. Everything that it
-- needs is here already: in the charges, suspense, signals and state of the batch, and in the
-- session's own tables new_accounts, new_orders, new_sources and old_state.
DECLARE
    charges_upto bigint := 0;
    suspense_upto bigint := 0;
    signals_upto bigint := 0;
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
    PERFORM note_origin(in_cluster, in_topic, in_moves_origin);

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
        charges_upto := number_rows('charges', in_charges, in_batch, in_slot_min, in_slot_max);
        suspense_upto := number_rows('suspense', in_suspense, in_batch, NULL, NULL);
        signals_upto := number_rows('signals', in_signals, in_batch, NULL, NULL);
    END IF;
    -- The partition's row is locked, so nobody else adds to its chain.
    PERFORM add_link(
        in_partition, charges_upto, in_charges, suspense_upto, in_suspense,
        signals_upto, in_signals, in_facts, in_changes
    );
END $$;

REVOKE ALL ON FUNCTION add_link FROM PUBLIC;
REVOKE ALL ON FUNCTION note_origin FROM PUBLIC;
REVOKE ALL ON FUNCTION number_rows FROM PUBLIC;
REVOKE ALL ON FUNCTION commit_batch FROM PUBLIC;

-- What a signal leaves out is '' (edition 2 of the specification, section 7); before, it was null.
UPDATE signals SET "order" = '' WHERE "order" IS NULL;
UPDATE signals SET reason = '' WHERE reason IS NULL;
