-- Version 2: the hash chain over commits (docs/adr/0014), and the topic that a store is rated from.

CREATE TABLE chain (
    partition INTEGER NOT NULL,  -- -1: of what belongs to no partition
    number INTEGER NOT NULL,  -- 1, 2, ... in each chain
    charges_upto INTEGER NOT NULL,  -- seq of the last row added; 0 for none
    charges_rows INTEGER NOT NULL,
    suspense_upto INTEGER NOT NULL,
    suspense_rows INTEGER NOT NULL,
    signals_upto INTEGER NOT NULL,
    signals_rows INTEGER NOT NULL,
    facts BLOB NOT NULL,  -- digests of the rows added, by kind
    changes BLOB NOT NULL,  -- keys and digests of the rows changed elsewhere
    digest BLOB NOT NULL,  -- of all this and of the link before
    UNIQUE (partition, number)
) STRICT;

CREATE TABLE origin (
    cluster TEXT NOT NULL,  -- Kafka's own id of it
    topic TEXT NOT NULL
) STRICT;

ALTER TABLE projections ADD COLUMN digest BLOB;

-- What a signal leaves out is '' (edition 2 of the specification, section 7); before, it was null.
UPDATE signals SET "order" = '' WHERE "order" IS NULL;
UPDATE signals SET reason = '' WHERE reason IS NULL;
