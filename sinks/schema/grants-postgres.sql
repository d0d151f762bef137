-- Who may do what in a billing store in PostgreSQL. Run it once as the owner of the store, who may
-- create roles, after `ratecast prepare` has made it, and again after an upgrade with a new schema:
--
--     ratecast prepare --grants | psql --set ON_ERROR_STOP=1 postgresql://owner@host/billing
--
-- Then give the roles to the users that log in: GRANT ratecast_writer TO worker;

DO $$
BEGIN
    IF to_regrole('ratecast_writer') IS NULL THEN
        CREATE ROLE ratecast_writer NOLOGIN;
    END IF;
    IF to_regrole('ratecast_reader') IS NULL THEN
        CREATE ROLE ratecast_reader NOLOGIN;
    END IF;
END $$;

-- Reads everything, changes nothing: `ratecast status`, `explain`, `export`, dashboards, analysts.
GRANT USAGE ON SCHEMA ratecast TO ratecast_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA ratecast TO ratecast_reader;

-- Commits: `ratecast rate`, `worker` and whatever keeps a cursor in the store. Facts are added and
-- never changed or deleted; the schema stays as it is. Its new rows wait in temporary tables.
GRANT ratecast_reader TO ratecast_writer;
GRANT INSERT ON
    ratecast.books, ratecast.charges, ratecast.charged_once, ratecast.suspense, ratecast.signals,
    ratecast.spans, ratecast.chain
    TO ratecast_writer;
GRANT INSERT, UPDATE ON
    ratecast.accounts, ratecast.orders, ratecast.partitions, ratecast.projections, ratecast.origin
    TO ratecast_writer;
GRANT INSERT, UPDATE, DELETE ON ratecast.state, ratecast.sources TO ratecast_writer;
GRANT INSERT, DELETE ON ratecast.open_sessions TO ratecast_writer;
GRANT USAGE ON SEQUENCE ratecast.batch_numbers TO ratecast_writer;
GRANT EXECUTE ON FUNCTION
    ratecast.make_month, ratecast.number_rows, ratecast.commit_batch, ratecast.add_link,
    ratecast.note_origin
    TO ratecast_writer;
DO $$
BEGIN
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO ratecast_writer', current_database());
END $$;
