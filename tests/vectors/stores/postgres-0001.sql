-- The rows of a store as version 1 wrote them; the script 0001 makes its tables.
DELETE FROM store;
SELECT make_month('2026-03-01');
SELECT make_month('2026-04-01');
INSERT INTO store ("id", "version") VALUES ('3869dfdf68d64cc0ac3892471b622094', 1);
INSERT INTO books ("id", "effective_from_ms", "currency", "timezone", "fingerprint", "text") VALUES ('nordic', 0, 'SEK', 'Europe/Stockholm', 'f1', '[book]
id = ''nordic''
');
INSERT INTO partitions ("partition", "next_offset", "clock_ms", "counts", "sessions_open") VALUES (0, 10, 1772794800000, '{"applied": 9, "records": 10}', 0);
INSERT INTO partitions ("partition", "next_offset", "clock_ms", "counts", "sessions_open") VALUES (3, 10, 1772794800000, '{"records": 0}', 0);
INSERT INTO sources ("partition", "name", "head_bytes", "head_digest", "taken_bytes", "taken_lines", "taken_digest") VALUES (0, 'a.log', 4, '\x68656164'::bytea, 100, 3, '\x74616b656e'::bytea);
INSERT INTO state ("partition", "name", "seq", "batch", "payload") VALUES (0, 'delta', 1, 1, '\x6431'::bytea);
INSERT INTO spans ("kind", "upto", "rows", "batch", "slot_min", "slot_max") VALUES ('charges', 3, 3, 1, 1772794800000, 1772794800000);
INSERT INTO spans ("kind", "upto", "rows", "batch", "slot_min", "slot_max") VALUES ('suspense', 1, 1, 1, NULL, NULL);
INSERT INTO spans ("kind", "upto", "rows", "batch", "slot_min", "slot_max") VALUES ('signals', 1, 1, 1, NULL, NULL);
INSERT INTO spans ("kind", "upto", "rows", "batch", "slot_min", "slot_max") VALUES ('charges', 4, 1, 2, 1772794800000, 1772794800000);
INSERT INTO charges ("batch", "line", "charge_id", "type", "account", "device", "session", "content", "kind", "quality", "plan", "book", "rule", "start", "end", "slot", "watched_ms", "billed_ms", "free_ms", "gross", "discount", "capped", "net", "tax", "total", "unfunded", "currency", "segment", "region", "paid", "local_date", "steps") VALUES (1, 1, '1432714057e35bd2987499181193a11d'::uuid, 'purchase', 'anna', 'tv', '', 'svt1', 'channel', 'hd', 'family', 'nordic', 'premium', 1772794800000, 1772795400000, 1772794800000, 600000, 600000, 0, 5000000, 0, 0, 5000000, 1000000, 5000000, 0, 'SEK', 1772794800000, 'SE', 0, '2026-03-06'::date, '[]');
INSERT INTO charges ("batch", "line", "charge_id", "type", "account", "device", "session", "content", "kind", "quality", "plan", "book", "rule", "start", "end", "slot", "watched_ms", "billed_ms", "free_ms", "gross", "discount", "capped", "net", "tax", "total", "unfunded", "currency", "segment", "region", "paid", "local_date", "steps") VALUES (1, 2, '539280085b995d168afa1390665eb8e9'::uuid, 'usage', 'anna', 'tv', 's1', 'svt1', 'channel', 'hd', 'family', 'nordic', 'premium', 1772794800000, 1772795400000, 1772794800000, 600000, 600000, 0, 5000000, 0, 0, 5000000, 1000000, 5000000, 0, 'SEK', 1772794800000, 'SE', 0, '2026-03-06'::date, '[]');
INSERT INTO charges ("batch", "line", "charge_id", "type", "account", "device", "session", "content", "kind", "quality", "plan", "book", "rule", "start", "end", "slot", "watched_ms", "billed_ms", "free_ms", "gross", "discount", "capped", "net", "tax", "total", "unfunded", "currency", "segment", "region", "paid", "local_date", "steps") VALUES (1, 3, 'fa172b60ec99580caed6f8a9b073f14d'::uuid, 'usage', 'anna', 'tv', 's2', 'svt1', 'channel', 'hd', 'family', 'nordic', 'premium', 1772794800000, 1772795400000, 1772794800000, 600000, 600000, 0, 5000000, 0, 0, 5000000, 1000000, 5000000, 0, 'SEK', 1772794800000, 'SE', 0, '2026-03-06'::date, '[]');
INSERT INTO charges ("batch", "line", "charge_id", "type", "account", "device", "session", "content", "kind", "quality", "plan", "book", "rule", "start", "end", "slot", "watched_ms", "billed_ms", "free_ms", "gross", "discount", "capped", "net", "tax", "total", "unfunded", "currency", "segment", "region", "paid", "local_date", "steps") VALUES (2, 1, 'db4e7b2b162f539087c19afdff5afe5b'::uuid, 'usage', 'anna', 'tv', 't', 'svt1', 'channel', 'hd', 'family', 'nordic', 'premium', 1772794800000, 1772795400000, 1772794800000, 600000, 600000, 0, 5000000, 0, 0, 5000000, 1000000, 5000000, 0, 'SEK', 1772794800000, 'SE', 0, '2026-03-06'::date, '[]');
INSERT INTO charged_once ("charge_id") VALUES ('1432714057e35bd2987499181193a11d'::uuid);
INSERT INTO suspense ("batch", "line", "reason", "detail", "account", "time", "type", "device", "session", "content", "kind", "quality", "plan", "book", "end", "watched_ms", "source", "raw") VALUES (1, 1, 'malformed', 'no type', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'a.log:7', '\xff7b'::bytea);
INSERT INTO signals ("batch", "line", "type", "account", "time", "order", "reason") VALUES (1, 1, 'balance.exhausted', 'bo', 5, NULL, NULL);
INSERT INTO accounts ("account", "plan", "region", "bill_day", "packages", "currency", "balance", "exhausted", "topups", "paid", "purchases", "refunds") VALUES ('anna', 'payg', 'SE', 1, '[]', 'SEK', 5, false, 5, 0, 0, 0);
INSERT INTO accounts ("account", "plan", "region", "bill_day", "packages", "currency", "balance", "exhausted", "topups", "paid", "purchases", "refunds") VALUES ('bo', 'payg', 'SE', 1, '[]', 'SEK', 7, false, 7, 0, 0, 0);
INSERT INTO orders ("account", "order", "offer", "kind", "quality", "book", "time", "total", "status", "first_play") VALUES ('anna', 'o1', 'cup-final', 'ppv', 'hd', 'nordic', 1772794800000, 99000000, 'active', NULL);
INSERT INTO open_sessions ("partition", "as_of_ms", "account", "device", "session", "content", "kind", "quality", "playing", "start", "last", "seen", "watched_ms") VALUES (0, 5, 'anna', 'tv', 's', 'svt1', 'channel', '', true, 1, 2, 3, 1);
INSERT INTO projections ("name", "seq", "payload") VALUES ('charges', 3, '\x6d61726b'::bytea);
SELECT setval('batch_numbers', 2);
