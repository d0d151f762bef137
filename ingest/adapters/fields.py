"""The fields of one usage record, however they were found, checked and put into a row.

The exact reader of the log is asked, so that an adapter lets through just what the log takes.
Source: spec section 1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ingest.adapters.canonical import USAGE_FIELDS
from ingest.json_exact import TEXTS_OF_TYPES, MalformedError, Number, read_object
from ingest.json_lines import decode_lines
from rating.schemas import HAS_PLAYHEAD, MALFORMED, VIEW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOBODY = "-"  # stands for an account while the other fields are checked
ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
CHECKED = USAGE_FIELDS.keys() - {"received"}
TEXTS = {
    type_: tuple(name for name, _ in texts.values()) for type_, texts in TEXTS_OF_TYPES.items()
}

VIEW_TEXTS = ("type", "state", *TEXTS["view"])


def usage_row(fields: Mapping[str, Any]) -> dict[str, Any]:
    """One row of USAGE_FIELDS from the fields of a usage record as JSON has them.

    Numbers are as `parse_json` leaves them. A missing or null account stays null: whether somebody
    can be found who pays is not decided here. `received` is never taken from a sender.
    Raises: MalformedError with a sentence that names every mistake.
    """
    given = {name: value for name, value in fields.items() if name != "received"}
    account = given.pop("account", None)
    usage = read_object(given | {"account": NOBODY if account is None else account})
    if usage.type == MALFORMED:
        raise MalformedError(usage.malformed)
    type_ = given["type"]
    row: dict[str, Any] = {"type": type_, "time": usage.time_ms, "account": account}
    row |= {name: given[name] for name in TEXTS[type_] if name in given}
    if type_ == "view":
        row["state"] = given["state"]
        if usage.flags & HAS_PLAYHEAD:
            row["playhead_ms"] = usage.playhead_ms
        if "rate" in given:
            rate = given["rate"]
            row["rate"] = rate.text if isinstance(rate, Number) else str(rate)
    elif type_ == "account.open" and "bill_day" in given:
        row["bill_day"] = usage.bill_day
    elif type_ == "balance.topup":
        row["amount"] = given["amount"]
    assert row.keys() <= USAGE_FIELDS.keys()
    return row


def usage_rows(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | MalformedError]:
    """A row of USAGE_FIELDS for each record's fields, or what `usage_row` would raise.

    The log's own decoder reads them all at once; what it does not take is read one by one, which
    gives the sentence.
    """
    batch = decode_lines(b"\n".join(map(as_line, found)), str)
    assert len(batch.events) == len(found)
    columns = (batch.events["type"], batch.events["time_ms"], batch.events["playhead_ms"])
    rows: list[dict[str, Any] | MalformedError] = []
    for fields, type_, time_ms, playhead_ms in zip(
        found, *(column.tolist() for column in columns), strict=True
    ):
        # Views are nearly all of it, so only they are worth a way of their own.
        if type_ == VIEW and "rate" not in fields:
            row = {name: fields[name] for name in VIEW_TEXTS if name in fields}
            row |= {"time": time_ms, "account": fields.get("account")}
            if "playhead_ms" in fields:
                row["playhead_ms"] = playhead_ms
            rows.append(row)
        else:
            rows.append(row_or_error(fields))
    return rows


def settled(
    found: Sequence[tuple[bytes, dict[str, Any], MalformedError | None]],
) -> tuple[list[dict[str, Any]], list[tuple[bytes, dict[str, Any], MalformedError]]]:
    """Rows of USAGE_FIELDS, and what is refused, each in the order of the input.

    found: the bytes of each thing that came, the fields understood of it, and what was wrong so far.
    """
    checked = iter(usage_rows([fields for _, fields, error in found if error is None]))
    rows, refused = [], []
    for raw, fields, error in found:
        row = next(checked) if error is None else error
        if isinstance(row, MalformedError):
            refused.append((raw, fields, row))
        else:
            rows.append(row)
    return rows, refused


def as_line(fields: Mapping[str, Any]) -> bytes:
    """The fields of a record as a line of the log; one that is no record where JSON has no word."""
    given = {name: fields[name] for name in fields if name in CHECKED}
    if fields.get("account") is None:
        given["account"] = NOBODY
    try:
        return ENCODE(given).encode()
    except (TypeError, UnicodeEncodeError, RecursionError):  # an odd number, half a surrogate pair
        return b"0"


def row_or_error(fields: Mapping[str, Any]) -> dict[str, Any] | MalformedError:
    """What `usage_row` returns or raises."""
    try:
        return usage_row(fields)
    except MalformedError as error:
        return error


def known_account(fields: Mapping[str, Any]) -> str | None:
    """The account that some fields name, for a suspended row; None where they name none."""
    account = fields.get("account")
    return account if isinstance(account, str) and account.isprintable() else None


def known_time(fields: Mapping[str, Any]) -> int | None:
    """The time in ms that some fields give, for a suspended row; None where they give none."""
    usage = read_object({"type": "", "account": NOBODY, "time": fields.get("time")})
    return usage.time_ms or None
