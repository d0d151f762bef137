"""The fields of one usage record, however they were found, checked and put into a row.

The exact reader of the log is asked, so that an adapter lets through just what the log takes.
Source: spec section 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.adapters.canonical import USAGE_FIELDS
from ingest.json_exact import TEXTS_OF_TYPES, MalformedError, Number, read_object
from rating.schemas import HAS_PLAYHEAD, MALFORMED

if TYPE_CHECKING:
    from collections.abc import Mapping

NOBODY = "-"  # stands for an account while the other fields are checked
TEXTS = {
    type_: tuple(name for name, _ in texts.values()) for type_, texts in TEXTS_OF_TYPES.items()
}


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


def known_account(fields: Mapping[str, Any]) -> str | None:
    """The account that some fields name, for a suspended row; None where they name none."""
    account = fields.get("account")
    return account if isinstance(account, str) and account.isprintable() else None


def known_time(fields: Mapping[str, Any]) -> int | None:
    """The time in ms that some fields give, for a suspended row; None where they give none."""
    usage = read_object({"type": "", "account": NOBODY, "time": fields.get("time")})
    return usage.time_ms or None
