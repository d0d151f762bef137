"""Exports: exactly the columns that were agreed, in CSV and in JSON lines."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import pytest
import stored
from stored import HOUR_MS, NOON_MS

from rating.schemas import CHARGES
from sinks import export as export_module
from sinks.export import Format, What, export
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore

NORDIC_CHARGES = Path(__file__).parents[1] / "golden" / "nordic" / "charges.csv"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BillingStore]:
    with open_store(str(tmp_path / "store.db")) as opened:
        yield opened


def text(store: BillingStore, what: What, file_format: Format) -> str:
    out = io.BytesIO()
    rows = export(store, what, file_format, out)
    written = out.getvalue().decode()
    assert rows == (
        len(list(csv.DictReader(io.StringIO(written))))
        if file_format == "csv"
        else len(written.splitlines())
    )
    return written


def test_the_nordic_charges_are_exported_to_the_byte(store: BillingStore) -> None:
    rows = pl.read_csv(NORDIC_CHARGES, schema=CHARGES).with_columns(pl.col(pl.String).fill_null(""))
    evidence = [{"segment": 0, "region": "SE", "paid": 0, "steps": "[]"}] * rows.height
    dates = [stored.local_date(start) for start in rows["start"]]
    charges = pl.concat([rows, pl.DataFrame(evidence)], how="horizontal")
    store.commit(stored.commit(charges=charges.with_columns(local_date=pl.Series(dates))))
    header, *lines = text(store, "charges", "csv").splitlines()
    wanted_header, *wanted = NORDIC_CHARGES.read_text().splitlines()
    assert header == wanted_header
    assert sorted(lines) == sorted(wanted)


def test_charges_come_in_the_order_of_the_store_over_many_pages(
    store: BillingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "PAGE_ROWS", 30)
    charges = stored.many_charges(100)
    store.commit(stored.commit(charges=charges))
    found = [json.loads(line) for line in text(store, "charges", "ndjson").splitlines()]
    assert found == charges.select(list(CHARGES)).to_dicts()
    in_csv = list(csv.DictReader(io.StringIO(text(store, "charges", "csv"))))
    assert [row["charge_id"] for row in in_csv] == charges["charge_id"].to_list()
    assert [row["device"] for row in in_csv] == charges["device"].to_list()


def test_suspense_shows_raw_bytes_as_text(store: BillingStore) -> None:
    raw = 'né"\n,'.encode() + b"\xff\x00"
    store.commit(
        stored.commit(
            suspense=stored.suspense(
                {"reason": "malformed", "detail": "d", "source": "a.log:7", "raw": raw},
                {
                    "reason": "no_rule",
                    "detail": "d",
                    "type": "usage",
                    "account": "anna",
                    "time": NOON_MS,
                    "watched_ms": HOUR_MS,
                },
            )
        )
    )
    names = ["reason", "account", "time", "type", "watched_ms", "source", "raw"]
    shown = 'né"\n,\\xff\x00'
    malformed = dict.fromkeys(names) | {"reason": "malformed", "source": "a.log:7", "raw": shown}
    pieces = {
        **dict.fromkeys(names),
        "reason": "no_rule",
        "account": "anna",
        "time": NOON_MS,
        "type": "usage",
        "watched_ms": HOUR_MS,
    }
    in_json = [json.loads(line) for line in text(store, "suspense", "ndjson").splitlines()]
    assert in_json == [malformed, pieces]
    assert list(in_json[0]) == names
    in_csv = list(csv.DictReader(io.StringIO(text(store, "suspense", "csv"), newline="")))
    assert in_csv == [
        {name: "" if value is None else str(value) for name, value in row.items()}
        for row in (malformed, pieces)
    ]


def test_signals_and_balances(store: BillingStore) -> None:
    store.commit(
        stored.commit(
            signals=stored.signals(
                {"type": "order.declined", "account": "bo", "time": 5, "order": "o", "reason": "r"},
                {"type": "balance.exhausted", "account": "bo", "time": 6},
            ),
            accounts=stored.accounts(stored.account("bo", -5), stored.account("Åsa, B", 7)),
        )
    )
    assert text(store, "signals", "csv") == (
        "type,account,time,order,reason\norder.declined,bo,5,o,r\nbalance.exhausted,bo,6,,\n"
    )
    assert text(store, "balances", "csv") == (
        'account,currency,balance\nbo,SEK,-5\n"Åsa, B",SEK,7\n'
    )
    assert text(store, "balances", "ndjson").splitlines()[0] == (
        '{"account":"bo","currency":"SEK","balance":-5}'
    )


def test_orders_and_open_sessions(store: BillingStore) -> None:
    store.commit(stored.commit(orders=stored.orders(stored.order("o1"))))
    store.replace_open_sessions(
        stored.sessions(stored.session()),
        NOON_MS,
    )
    assert text(store, "orders", "csv") == (
        "account,order,offer,kind,quality,book,time,total,status,first_play\n"
        f"anna,o1,cup-final,ppv,hd,nordic,{NOON_MS},99000000,active,\n"
    )
    assert text(store, "sessions", "csv") == (
        "account,device,session,content,kind,quality,playing,start,last,seen,watched_ms\n"
        "anna,tv,s,svt1,channel,,true,1,2,3,1\n"
    )


@pytest.mark.parametrize(
    "what", ["charges", "suspense", "signals", "balances", "sessions", "orders"]
)
def test_an_empty_store_exports_a_header_or_nothing(store: BillingStore, what: What) -> None:
    header = ",".join(export_module.COLUMNS[what])
    assert text(store, what, "csv") == f"{header}\n"
    assert text(store, what, "ndjson") == ""
