"""What every adapter turns its input into, and how that becomes lines of the usage log.

An adapter is a pure function of bytes and its options: no clock, no network. What it understood
comes as columns named like the fields of a usage record; what it did not is suspended, with a
reason, a sentence and the bytes as they came. Nothing is left out of both. Where few records come
at once they are `Rows`, since to build frames of one report takes longer than all else.
Source: spec section 1.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

USAGE_FIELDS = pl.Schema(
    {
        "type": pl.String,
        "time": pl.Int64,  # ms since the epoch, by the sender's clock
        "received": pl.Int64,  # ms since the epoch; null: stamped when it becomes a line
        "account": pl.String,  # null: bound to nobody, and never charged
        "id": pl.String,
        "device": pl.String,
        "session": pl.String,
        "content": pl.String,
        "kind": pl.String,
        "quality": pl.String,
        "state": pl.String,
        "playhead_ms": pl.Int64,
        "rate": pl.String,  # decimal text, so that no float comes near it
        "plan": pl.String,
        "region": pl.String,
        "bill_day": pl.Int64,
        "package": pl.String,
        "amount": pl.String,  # decimal text
        "currency": pl.String,
        "offer": pl.String,
        "order": pl.String,
    }
)
"""The fields of a usage record under the names of spec section 1; null means absent."""

SUSPENDED = pl.Schema(
    {
        "reason": pl.String,
        "detail": pl.String,
        "raw": pl.Binary,
        "account": pl.String,  # null where it could not be read
        "time": pl.Int64,  # ms since the epoch; null where it could not be read
    }
)
"""One row for each thing that came in and is no usage record."""

SUSPENDED_TYPE = "ingest.suspended"
UNBOUND = "unbound"
MALFORMED = "malformed"
SAMPLED = "sampled"

RAW_BYTES_MAX = 8 * 2**20
"""Base64 makes four bytes of three, and a line of the log must stay below 16 MiB."""

UNBOUND_DETAIL = "the record names no account, and nothing binds it to one"

JSON_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"

RATE_TEXT = re.compile(rf'"rate":"({JSON_NUMBER})"')
ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


class LogLine(NamedTuple):
    """One line of the usage log, without its line end.

    account: the key of its partition; empty where none is known. type: the record type.
    """

    account: str
    line: bytes
    type: str = ""


def empty_usage() -> pl.DataFrame:
    """No usage records."""
    return USAGE_FIELDS.to_frame()


def empty_suspended() -> pl.DataFrame:
    """Nothing suspended."""
    return SUSPENDED.to_frame()


@dataclass(frozen=True, slots=True)
class Reading:
    """What an adapter made of its input, each frame in the order of the input.

    usage: columns of USAGE_FIELDS. suspended: columns of SUSPENDED.
    """

    usage: pl.DataFrame = field(default_factory=empty_usage)
    suspended: pl.DataFrame = field(default_factory=empty_suspended)


class Rows(NamedTuple):
    """What an adapter made of its input, one mapping each; a field that is missing or None is absent.

    usage: fields of USAGE_FIELDS, and of the adapter's own. suspended: as `suspended_row` makes them.
    """

    usage: list[dict[str, Any]]
    suspended: list[dict[str, Any]]


def usage_frame(columns: Mapping[str, Any] | pl.DataFrame) -> pl.DataFrame:
    """Usage records from some of their fields; the others are absent throughout."""
    given = columns if isinstance(columns, pl.DataFrame) else pl.DataFrame(columns, strict=True)
    return given.select(
        (pl.col(name) if name in given.columns else pl.lit(None)).cast(kind).alias(name)
        for name, kind in USAGE_FIELDS.items()
    )


def usage_of_rows(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Usage records from one mapping each; a field that is missing or None is absent."""
    return pl.DataFrame(
        {name: [row.get(name) for row in rows] for name in USAGE_FIELDS},
        schema=USAGE_FIELDS,
    )


def suspended_row(
    reason: str, detail: str, raw: bytes, *, account: str | None = None, time: int | None = None
) -> dict[str, Any]:
    """One row of SUSPENDED; the bytes are cut short where no line of the log could hold them."""
    if len(raw) > RAW_BYTES_MAX:
        detail += f"; only the first {RAW_BYTES_MAX} of its {len(raw)} bytes are kept here"
        raw = raw[:RAW_BYTES_MAX]
    return {"reason": reason, "detail": detail, "raw": raw, "account": account, "time": time}


def suspended_frame(rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Suspended input from rows as `suspended_row` makes them."""
    return pl.DataFrame(list(rows), schema=SUSPENDED)


def joined(readings: Iterable[Reading]) -> Reading:
    """Several readings as one, in their order."""
    parts = list(readings)
    return Reading(
        pl.concat([empty_usage(), *(part.usage for part in parts)]),
        pl.concat([empty_suspended(), *(part.suspended for part in parts)]),
    )


def to_log_lines(reading: Reading, received_ms: int) -> list[LogLine]:
    """The lines of the usage log that a reading comes to: usage records first, then suspended.

    Absent fields are left out, and `received` is `received_ms` where a record has none. A record
    without an account belongs to nobody: it becomes a suspended line and can never be charged.
    """
    bound = reading.usage["account"].is_not_null()
    usage = reading.usage.filter(bound)
    lines = [
        LogLine(*row)
        for row in zip(
            usage["account"].to_list(),
            encoded(usage, received_ms).to_list(),
            usage["type"].fill_null("").to_list(),
            strict=True,
        )
    ]
    unbound = unbound_as_suspended(reading.usage.filter(~bound), received_ms)
    return lines + suspended_lines(pl.concat([unbound, reading.suspended]), received_ms)


def encoded(usage: pl.DataFrame, received_ms: int) -> pl.Series:
    """Each row as a JSON object in UTF-8.

    `received` is the last field and never null, so that a null is always followed by a comma. No
    text can hold what the patterns look for, since a quotation mark in it is escaped.
    """
    # Most records have few of the fields, so those that none of them has are left out beforehand.
    fields = [
        name
        for name in usage.columns
        if name != "received" and usage[name].null_count() < len(usage)
    ]
    return usage.select(
        pl.struct(*fields, pl.col("received").fill_null(received_ms))
        .struct.json_encode()
        .str.replace_all(r'"[a-z_]+":null,', "")
        .str.replace_all(rf'"rate":"({JSON_NUMBER})"', '"rate":${1}')
        .cast(pl.Binary)
        .alias("line")
    )["line"]


def unbound_as_suspended(usage: pl.DataFrame, received_ms: int) -> pl.DataFrame:
    """Suspended rows in place of usage records that nobody was found to pay for."""
    return pl.DataFrame(
        {
            "reason": pl.Series([UNBOUND] * len(usage), dtype=pl.String),
            "detail": UNBOUND_DETAIL,
            "raw": encoded(usage, received_ms),
            "account": pl.Series([None] * len(usage), dtype=pl.String),
            "time": usage["time"],
        },
        schema=SUSPENDED,
    )


def suspended_lines(suspended: pl.DataFrame, received_ms: int) -> list[LogLine]:
    """Suspended input as lines of the type `ingest.suspended`, its bytes in Base64."""
    lines = suspended.select(
        pl.struct(
            pl.lit(SUSPENDED_TYPE).alias("type"),
            "reason",
            "detail",
            pl.col("raw").fill_null(b"").bin.encode("base64"),
            "account",
            "time",
            pl.lit(received_ms).alias("received"),
        )
        .struct.json_encode()
        .str.replace_all(r'"[a-z_]+":null,', "")
        .cast(pl.Binary)
        .alias("line")
    )["line"]
    accounts = suspended["account"].fill_null("").to_list()
    return [
        LogLine(account, line, SUSPENDED_TYPE)
        for account, line in zip(accounts, lines.to_list(), strict=True)
    ]


# --- the same of rows ------------------------------------------------------------------------------


def lines_of_rows(rows: Rows, fields: Iterable[str], received_ms: int) -> list[LogLine]:
    """The lines that `to_log_lines` would make of the same rows, byte for byte.

    fields: in what order a record's fields stand.
    """
    lines = []
    unbound = []
    for row in rows.usage:
        line = encoded_row(row, fields, received_ms)
        if row.get("account") is None:
            unbound.append(suspended_row(UNBOUND, UNBOUND_DETAIL, line, time=row.get("time")))
        else:
            lines.append(LogLine(row["account"], line, row.get("type") or ""))
    return lines + [suspended_line(row, received_ms) for row in (*unbound, *rows.suspended)]


def encoded_row(row: Mapping[str, Any], fields: Iterable[str], received_ms: int) -> bytes:
    """One row as a JSON object in UTF-8, as `encoded` writes it."""
    present = {
        name: value
        for name in fields
        if (value := row.get(name)) is not None and name != "received"
    }
    received = row.get("received")
    present["received"] = received_ms if received is None else received
    line = ENCODE(present)
    return (RATE_TEXT.sub(r'"rate":\1', line) if "rate" in present else line).encode()


def suspended_line(row: Mapping[str, Any], received_ms: int) -> LogLine:
    """One row of SUSPENDED as a line, as `suspended_lines` writes it."""
    raw = base64.b64encode(row["raw"] or b"").decode()
    fields = {
        "type": SUSPENDED_TYPE,
        "reason": row["reason"],
        "detail": row["detail"],
        "raw": raw,
        "account": row["account"],
        "time": row["time"],
        "received": received_ms,
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return LogLine(row["account"] or "", ENCODE(present).encode(), SUSPENDED_TYPE)
