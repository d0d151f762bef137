"""The examples against a real Kafka, with every message twice."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import polars as pl
import pytest
import stored
from click.testing import CliRunner
from kafka.admin import KafkaAdminClient, NewTopic
from patience import PATIENCE_S
from stored import NOON_MS

from rating.runtime.cli import main
from sinks.store import open_store
from sinks.topics.publisher import TOPICS, cursor_name

if TYPE_CHECKING:
    from sinks.store import BillingStore

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str, *words: str) -> list[str]:
    command = [sys.executable, str(EXAMPLES / name), *words, "--idle-s", "5"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def prefix(tmp_path: Path, kafka_address: str) -> str:
    """Topics in which all of a store's rows are twice."""
    drawn = f"e{uuid4().hex[:12]}."
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    admin.create_topics([NewTopic(f"{drawn}{topic}", 2, 1) for topic in TOPICS])
    admin.close()
    with open_store(str(tmp_path / "store.db")) as store:
        fill(store)
        for _ in range(2):
            words = ("publish", "--store", store.url, "--kafka", kafka_address, "--prefix", drawn)
            assert CliRunner().invoke(main, words).exit_code == 0
            for topic in TOPICS:
                store.set_cursor(cursor_name(f"{drawn}{topic}"), 0)
    return drawn


def fill(store: BillingStore) -> None:
    refund = stored.charge(type="refund", account="household-001", gross=-99_000_000, session="")
    told = ("anna", "balance.exhausted"), ("anna", "balance.restored"), ("bo", "balance.exhausted")
    signals = [{"account": who, "type": what, "time": NOON_MS} for who, what in told]
    signals.append(
        {
            "account": "bo",
            "type": "order.declined",
            "time": NOON_MS,
            "order": "o1",
            "reason": "insufficient_balance",
        }
    )
    charges = pl.concat([stored.many_charges(500), stored.charges(refund)])
    store.commit(stored.commit(charges=charges, signals=stored.signals(*signals)))


def test_the_billing_back_end_bills_each_charge_once(
    tmp_path: Path, kafka_address: str, prefix: str
) -> None:
    words = (kafka_address, str(tmp_path / "billing.db"), "--topic", f"{prefix}charges")
    said = example("billing_backend.py", *words)
    with open_store(str(tmp_path / "store.db"), create=False) as store:
        charges = store.charges_after(0, 10**6)
    owed = charges.group_by("account").agg(
        (pl.col("total") - pl.col("unfunded")).sum().alias("owed")
    )
    expected = [
        f"{account} owes {Decimal(micros).scaleb(-6)} SEK"
        for account, micros in sorted(owed.iter_rows())
    ]
    assert said == expected
    assert example("billing_backend.py", *words) == expected  # started again, it adds nothing


def test_the_entitlement_service_is_not_fooled_by_repeats(kafka_address: str, prefix: str) -> None:
    said = example("entitlement_consumer.py", kafka_address, "--topic", f"{prefix}signals")
    assert said[-1] == "1 accounts may not watch: bo"
    assert sorted(said[:-1]) == sorted(
        [
            "anna cut every stream that is paid by the minute ",
            "anna let streams start again ",
            "bo cut every stream that is paid by the minute ",
            "bo tell the viewer why o1 insufficient_balance",
        ]
    )
