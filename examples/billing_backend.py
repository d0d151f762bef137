"""An example of a billing back end: what every account owes, from topic `charges`, each charge once.

    python examples/billing_backend.py localhost:9092 billing.db

It needs kafka-python alone. A message may come twice, then with the same id: the primary key drops
it. Kafka's offset is committed only after the database's own commit, so nothing is missed.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from decimal import Decimal

from kafka import KafkaConsumer

TABLES = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owed (
    account TEXT, currency TEXT, micros INTEGER, PRIMARY KEY (account, currency)
);
"""
ADD = """
INSERT INTO owed VALUES (:account, :currency, :micros)
ON CONFLICT DO UPDATE SET micros = micros + excluded.micros
"""


def take(database: sqlite3.Connection, charge: dict[str, str]) -> None:
    """Add a charge to its account's bill, unless it was added before."""
    if database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (charge["id"],)).rowcount:
        # An exact decimal, never a float: "0.040000" is 40,000 millionths.
        micros = int(Decimal(charge["owed"]).scaleb(6))
        database.execute(ADD, {**charge, "micros": micros})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kafka", help="host:port")
    parser.add_argument("database", help="an SQLite file")
    parser.add_argument("--topic", default="charges")
    parser.add_argument("--idle-s", type=float, help="stop once nothing came for so long")
    given = parser.parse_args()
    database = sqlite3.connect(given.database)
    database.executescript(TABLES)
    consumer = KafkaConsumer(
        given.topic,
        bootstrap_servers=given.kafka,
        group_id="billing-backend",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    wait_ms = round(given.idle_s * 1000) if given.idle_s else 3_600_000
    while records := consumer.poll(timeout_ms=wait_ms):
        with database:  # all of them, or none
            for message in (each for partition in records.values() for each in partition):
                take(database, json.loads(message.value))
        consumer.commit()
    consumer.close()
    for account, currency, micros in database.execute("SELECT * FROM owed ORDER BY 1, 2"):
        print(f"{account} owes {Decimal(micros).scaleb(-6)} {currency}")


if __name__ == "__main__":
    main()
