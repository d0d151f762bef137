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

from rating.schemas import CHARGES, SUSPENSE
from sinks import export as export_module
from sinks.export import Format, Selection, Style, What, export
from sinks.readable import TIMES, Reader
from sinks.store import StoredBook, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sinks.store import BillingStore

NORDIC_CHARGES = Path(__file__).parents[1] / "golden" / "nordic" / "charges.csv"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BillingStore]:
    with open_store(str(tmp_path / "store.db")) as opened:
        yield opened


def text(
    store: BillingStore,
    what: What,
    style: Format | Style,
    selection: Selection | None = None,
) -> str:
    out = io.BytesIO()
    style = style if isinstance(style, Style) else Style(style)
    rows = export(store, what, style, out, selection)
    written = out.getvalue().decode()
    assert rows == (
        len(list(csv.DictReader(io.StringIO(written))))
        if style.file_format == "csv"
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
    assert header == f"{wanted_header},ref"
    assert sorted(lines) == sorted(f"{line}," for line in wanted)


def test_charges_come_in_the_order_of_the_store_over_many_pages(
    store: BillingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_module, "PAGE_ROWS", 30)
    charges = stored.many_charges(100)
    store.commit(stored.commit(charges=charges))
    found = [json.loads(line) for line in text(store, "charges", "ndjson").splitlines()]
    assert found == [row | {"ref": ""} for row in charges.select(list(CHARGES)).to_dicts()]
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
    names = list(SUSPENSE)
    shown = 'né"\n,\\xff\x00'
    malformed = {
        **dict.fromkeys(names),
        "reason": "malformed",
        "detail": "d",
        "source": "a.log:7",
        "raw": shown,
    }
    pieces = {
        **dict.fromkeys(names),
        "reason": "no_rule",
        "detail": "d",
        "account": "anna",
        "time": NOON_MS,
        "type": "usage",
        "watched_ms": HOUR_MS,
    }
    in_json = [json.loads(line) for line in text(store, "suspense", "ndjson").splitlines()]
    assert in_json == [malformed, pieces]
    assert list(in_json[0]) == names
    in_csv = list(csv.DictReader(io.StringIO(text(store, "suspense", "csv"), newline="")))
    malformed["raw"] = 'né"\\n,\\xff\\x00'  # one line a row
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


def bought(order: str, **given: object) -> dict[str, object]:
    steps = json.dumps([["order", order, "", "", 0, 0, 0]], separators=(",", ":"))
    return stored.charge(type="purchase", session="", content="", steps=steps, **given)


def test_a_purchase_names_its_order(store: BillingStore) -> None:
    orders = ["o1", 'å"|\\\n', "\U0001f4fa"]
    rows = [bought(order, account=f"a{n}") for n, order in enumerate(orders)]
    store.commit(stored.commit(charges=stored.charges(*rows, stored.charge())))
    found = [json.loads(line) for line in text(store, "charges", "ndjson").splitlines()]
    refs = {row["account"]: row["ref"] for row in found}
    assert refs == {"a0": orders[0], "a1": orders[1], "a2": orders[2], "anna": ""}


NASTY = 'a\n\r\t\x1b[31m\x7f\x9b2J\u202e"b,c'


def test_a_row_is_a_line_of_csv_and_no_terminal_obeys_an_id(store: BillingStore) -> None:
    store.commit(stored.commit(signals=stored.signals({"type": "x", "account": NASTY, "time": 1})))
    in_csv = text(store, "signals", "csv")
    assert in_csv.count("\n") == 2
    assert (in_csv.replace("\n", "") + "x").isprintable()
    (row,) = csv.DictReader(io.StringIO(in_csv))
    assert row["account"] == r"a\n\r\t\x1b[31m\x7f\x9b2J\u202e" + '"b,c'
    in_json = text(store, "signals", "ndjson")
    assert json.loads(in_json)["account"] == NASTY
    assert not set(in_json[:-1]) & {*map(chr, range(32)), *map(chr, range(127, 160))}


def test_a_spreadsheet_calculates_nothing(store: BillingStore) -> None:
    ids = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a=1", "'=1", "1", ""]
    rows = [
        {"type": "x", "account": f"a{n}", "time": -5, "order": order} for n, order in enumerate(ids)
    ]
    store.commit(stored.commit(signals=stored.signals(*rows)))
    in_csv = text(store, "signals", Style("csv", formulas=False))
    found = list(csv.DictReader(io.StringIO(in_csv)))
    assert [row["order"] for row in found] == [
        *("'=1+1", "'+1", "'-1", "'@SUM(A1)", r"\t=1", r"\r=1", "a=1", "'=1", "1", "")
    ]
    assert {row["time"] for row in found} == {"-5"}


def test_people_read_decimals_and_local_times(store: BillingStore) -> None:
    tokyo = StoredBook("tokyo", 0, "JPY", "Asia/Tokyo", "f2", "")
    store.add_books([stored.BOOK, tokyo])
    reader = Reader(store.books(), {"SEK": 2, "JPY": 0, "KWD": 3})
    amounts = {"gross": 1_500_000, "discount": 1, "net": -2_000_000, "total": 10**15}
    rows = [
        stored.charge(account="a", **amounts),
        stored.charge(account="b", book="tokyo", currency="JPY", **amounts),
        stored.charge(account="c", currency="KWD", **amounts),
    ]
    store.commit(stored.commit(charges=stored.charges(*rows)))
    a, b, c = (
        json.loads(line) for line in text(store, "charges", Style("ndjson", reader)).splitlines()
    )
    assert a["start"] == "2026-03-06T12:00:00.000+01:00"
    assert b["start"] == "2026-03-06T20:00:00.000+09:00"
    assert [row["gross"] for row in (a, b, c)] == ["1.50", "1.5", "1.500"]
    assert [row["discount"] for row in (a, b, c)] == ["0.000001"] * 3
    assert [row["net"] for row in (a, b, c)] == ["-2.00", "-2", "-2.000"]
    assert a["total"] == "1000000000.00"
    assert a["watched_ms"] == 600_000


@pytest.mark.parametrize("what", export_module.COLUMNS)
def test_every_kind_can_be_read_by_people(store: BillingStore, what: What) -> None:
    store.add_books([stored.BOOK])
    store.commit(
        stored.commit(
            charges=stored.charges(stored.charge()),
            suspense=stored.suspense({"reason": "malformed", "detail": "d"}),
            signals=stored.signals({"type": "x", "account": "a", "time": NOON_MS}),
            accounts=stored.accounts(stored.account("bo", -5)),
            orders=stored.orders(stored.order("o1")),
        )
    )
    store.replace_open_sessions(stored.sessions(stored.session()), NOON_MS)
    reader = Reader(store.books(), {"SEK": 2})
    (row,) = csv.DictReader(io.StringIO(text(store, what, Style("csv", reader))))
    assert not [name for name in row if name in TIMES and row[name].isdigit()]
    if what == "balances":
        assert row["balance"] == "-0.000005"
    if what == "signals":
        assert row["time"] == "2026-03-06T12:00:00.000+01:00"


def test_rows_can_be_selected(store: BillingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "PAGE_ROWS", 30)
    charges = stored.many_charges(200)
    store.commit(stored.commit(charges=charges))
    from_ms, to_ms = charges["start"].sort()[50], charges["start"].sort()[150]
    account, rule = charges["account"][0], charges["rule"][0]

    def ids(selection: Selection) -> list[str]:
        lines = text(store, "charges", "ndjson", selection).splitlines()
        return [json.loads(line)["charge_id"] for line in lines]

    in_time = charges.filter(pl.col("start") >= from_ms, pl.col("start") < to_ms)
    assert ids(Selection(from_ms=from_ms, to_ms=to_ms)) == in_time["charge_id"].to_list()
    of_account = in_time.filter(pl.col("account") == account)
    assert not of_account.is_empty()
    assert ids(Selection(account, from_ms, to_ms)) == of_account["charge_id"].to_list()
    of_rule = charges.filter(pl.col("rule") == rule)
    assert ids(Selection(rule=rule)) == of_rule["charge_id"].to_list()
    assert ids(Selection(account="nobody")) == []
