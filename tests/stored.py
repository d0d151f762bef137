"""Rows and commits made by hand, for tests of what is stored and made from the store."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

import polars as pl

from rating.schemas import (
    ACCOUNTS,
    CHARGE_EVIDENCE,
    CHARGES,
    ORDERS,
    SESSIONS,
    SIGNALS,
    SUSPENSE,
    BatchResult,
    Commit,
)
from sinks.store import StoredBook

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMESPACE = UUID("6e1e2545-0000-5000-8000-000000000000")
HOUR_MS = 3_600_000
NOON_MS = 1_772_794_800_000  # 2026-03-06 11:00 UTC, 12:00 in Stockholm
BOOK = StoredBook("nordic", 0, "SEK", "Europe/Stockholm", "f1", "[book]\nid = 'nordic'\n")


def local_date(time_ms: int, timezone: str = "Europe/Stockholm") -> date:
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(timezone)).date()


def charge(**given: Any) -> dict[str, Any]:
    """A usage charge of ten minutes for 5.00, with whatever is given in its place."""
    row: dict[str, Any] = {
        "type": "usage",
        "account": "anna",
        "device": "tv",
        "session": "s1",
        "content": "svt1",
        "kind": "channel",
        "quality": "hd",
        "plan": "family",
        "book": "nordic",
        "rule": "premium",
        "start": NOON_MS,
        "watched_ms": 600_000,
        "free_ms": 0,
        "gross": 5_000_000,
        "discount": 0,
        "capped": 0,
        "tax": 1_000_000,
        "unfunded": 0,
        "currency": "SEK",
        "region": "SE",
        "paid": 0,
        "steps": "[]",
        **given,
    }
    row.setdefault("end", row["start"] + row["watched_ms"])
    row.setdefault("slot", row["start"] - row["start"] % HOUR_MS)
    row.setdefault("segment", row["start"])
    row.setdefault("billed_ms", row["watched_ms"])
    row.setdefault("net", row["gross"] - row["discount"] - row["capped"])
    row.setdefault("total", row["net"])
    row.setdefault("local_date", local_date(row["start"]))
    name = "|".join(str(row[part]) for part in ("type", "account", "session", "segment", "slot"))
    row.setdefault("charge_id", str(uuid5(NAMESPACE, name)))
    return row


def charges(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema={**CHARGES, **CHARGE_EVIDENCE}, orient="row")


def many_charges(count: int, seed: int = 0) -> pl.DataFrame:
    """Charges of a few hundred accounts over two days, with texts and amounts of every length."""
    chance = random.Random(seed)
    rows = []
    for number in range(count):
        channel = chance.random() < 0.7
        short = chance.random() < 0.2
        gross = chance.choice([0, 1, 127, 128, 40_000, 5_000_000, 99_000_000, 3 * 10**12])
        rows.append(
            charge(
                account=f"household-{chance.randrange(300):03d}",
                device=chance.choice(["tv", "tablet", "téléphone", "x" * 70]),
                session=f"{seed}-{number}",
                content=f"ch-{chance.randrange(9)}" if channel else f"film-{chance.randrange(40)}",
                kind="channel" if channel else "vod",
                quality=chance.choice(["sd", "hd", "uhd", ""]),
                plan=chance.choice(["family", "payg", "sport"]),
                start=NOON_MS + chance.randrange(48 * HOUR_MS),
                watched_ms=chance.randrange(10_000) if short else chance.randrange(HOUR_MS),
                gross=gross,
                tax=gross // 5,
                unfunded=chance.choice([0, 0, 0, gross]),
                steps='[["price","premium","month","2026-03",0,600000,600000]]',
            )
        )
    return charges(*rows).sort("slot", "account", "start", "charge_id")


def suspense(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SUSPENSE, orient="row")


def signals(*rows: Mapping[str, Any]) -> pl.DataFrame:
    whole = [{"order": "", "reason": "", **row} for row in rows]
    return pl.DataFrame(whole, schema=SIGNALS, orient="row")


def account(name: str, balance: int = 0, **given: Any) -> dict[str, Any]:
    """An account that has topped up exactly its balance."""
    return {
        "account": name,
        "plan": "payg",
        "region": "SE",
        "bill_day": 1,
        "packages": "[]",
        "currency": "SEK",
        "balance": balance,
        "exhausted": balance <= 0,
        "topups": balance,
        "paid": 0,
        "purchases": 0,
        "refunds": 0,
        **given,
    }


def accounts(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ACCOUNTS, orient="row")


def order(name: str, **given: Any) -> dict[str, Any]:
    return {
        "account": "anna",
        "order": name,
        "offer": "cup-final",
        "kind": "ppv",
        "quality": "hd",
        "book": "nordic",
        "time": NOON_MS,
        "total": 99_000_000,
        "status": "active",
        "first_play": None,
        **given,
    }


def orders(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=ORDERS, orient="row")


def session(**given: Any) -> dict[str, Any]:
    """A session that plays, with whatever is given in its place."""
    row: dict[str, Any] = {
        "account": "anna",
        "device": "tv",
        "session": "s",
        "content": "svt1",
        "kind": "channel",
        "quality": "",
        "playing": True,
        "start": 1,
        "last": 2,
        "seen": 3,
        "watched_ms": 1,
    }
    return row | given


def sessions(*rows: Mapping[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(rows), schema=SESSIONS, orient="row")


def result(**given: Any) -> BatchResult:
    """A batch that came to nothing, but for what is given."""
    return BatchResult(
        **{
            "charges": charges(),
            "suspense": suspense(),
            "signals": signals(),
            "accounts": accounts(),
            "orders": orders(),
            "counts": {"records": 0},
            "clock_ms": NOON_MS,
            "sessions_open": 0,
            **given,
        }
    )


def commit(
    expected_offset: int = 0,
    next_offset: int | None = None,
    partition: int = 0,
    sources: Sequence[Any] = (),
    **given: Any,
) -> Commit:
    """A commit of ten records, of whose result the rest is given."""
    return Commit(
        partition,
        expected_offset,
        expected_offset + 10 if next_offset is None else next_offset,
        result(**given),
        tuple(sources),
    )
