"""Routes for middleware and back ends: orders, accounts, top-ups, and tokens for sessions.

All records of a request are right, or none is in the log: whoever sends an order waits to hear.
"""

from __future__ import annotations

import json
import time
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from ingest.adapters.canonical import LogLine
from ingest.gateway.problems import Problem
from ingest.gateway.records import check_sizes
from ingest.gateway.senders import need_backend
from ingest.gateway.tokens import (
    BOX_LIFE_S,
    BOX_LIFE_S_MAX,
    LIFE_S,
    LIFE_S_MAX,
    OPTIONAL,
    SESSION,
    TEXT_CHARACTERS_MAX,
    mint,
)
from ingest.json_exact import TEXTS_OF_TYPES, MalformedError, Number, parse_json, read_object

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from ingest.gateway.intake import Intake
    from ingest.gateway.senders import Backend

TYPES_OF_SCOPES: dict[str, tuple[str, ...]] = {
    "orders": ("order.purchase", "order.cancel"),
    "accounts": ("account.open", "account.subscribe", "account.unsubscribe"),
    "topups": ("balance.topup",),
}
NUMBER_CHARACTERS_MAX = 40
NUMBER_FIELDS = ("time", "bill_day", "amount")
LIFE = "expires_in_s"
TOKEN_TEXTS = ("account", "device", SESSION, *OPTIONAL)
TOKEN_FIELDS = (*TOKEN_TEXTS, "box", LIFE)


class Backends:
    """The routes."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def post_orders(self, request: Request) -> Response:
        """Take purchases and cancellations."""
        return await self._take(request, "orders")

    async def post_accounts(self, request: Request) -> Response:
        """Take account changes."""
        return await self._take(request, "accounts")

    async def post_topups(self, request: Request) -> Response:
        """Take top-ups of prepaid balances."""
        return await self._take(request, "topups")

    async def _take(self, request: Request, scope: str) -> Response:
        sender = need_backend(request, self._intake.keys.now(), scope)
        self._intake.let_pass(request, sender)
        body = await self._json(request, sender)
        received_ms = self._intake.log.received_ms()
        lines = await self._intake.understand(
            sender,
            body,
            lambda: checked_lines(json_objects(parsed(body)), TYPES_OF_SCOPES[scope], received_ms),
        )
        received_ms = await self._intake.append(request, sender, lines, received_ms)
        return JSONResponse({"accepted": len(lines), "received": received_ms}, 202)

    async def post_tokens(self, request: Request) -> Response:
        """Mint a token for one session, or for a set-top box."""
        keys = self._intake.keys.now()
        sender = need_backend(request, keys, "tokens")
        self._intake.let_pass(request, sender)
        body = await self._json(request, sender)
        asked = await self._intake.understand(sender, body, lambda: parsed(body))
        if not isinstance(asked, dict):
            raise Problem(400, "bad-body", "the body is no JSON object")
        key = keys.signer()
        if key is None:
            raise Problem(
                503,
                "internal",
                "the key file has no key that signs; make one with `ratecast keys create --signing`",
                headers={"Retry-After": "60"},
            )
        texts, life_s = token_request(asked)
        expires_s = int(time.time()) + life_s
        session = texts.get(SESSION, "")
        more = {name: texts[name] for name in OPTIONAL if name in texts}
        token = mint(
            key,
            texts["account"],
            texts["device"],
            session,
            expires_s=expires_s,
            more=more,
        )
        answer = {
            "token": token,
            **({SESSION: session} if session else {}),
            "expires": datetime.fromtimestamp(expires_s, UTC).isoformat(),
            "report_path": f"/v1/{'cmcd' if session else 'bulk'}/{token}",
        }
        return JSONResponse(answer, 201, headers={"Cache-Control": "no-store"})

    async def _json(self, request: Request, sender: Backend) -> bytes:
        media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media != "application/json":
            raise Problem(
                415,
                "bad-type",
                f"Content-Type is {media or 'missing'}, expected application/json",
                headers={"Accept": "application/json"},
            )
        return await self._intake.body(request, sender)


def parsed(body: bytes) -> Any:
    """The JSON of a body. Raises: Problem."""
    try:
        return parse_json(body)
    except MalformedError as error:
        raise Problem(400, "bad-body", f"the body cannot be read: {error}") from error


def json_objects(parsed: Any) -> list[dict[str, Any]]:
    """One object, or an array of them. Raises: Problem."""
    records = parsed if isinstance(parsed, list) else [parsed]
    if not records or not all(isinstance(record, dict) for record in records):
        raise Problem(
            400, "bad-body", "the body is no JSON object and no array of at least one of them"
        )
    return records


def checked_lines(
    records: Sequence[dict[str, Any]], types: Sequence[str], received_ms: int
) -> list[LogLine]:
    """The lines of records, each of one of the types; the first is meant where none is given.

    A record without a time happened now. Raises: Problem 422 with every mistake, 413.
    """
    lines: list[LogLine] = []
    mistakes: list[dict[str, Any]] = []
    for number, record in enumerate(records, 1):
        given = {name: whole(value) for name, value in record.items()}
        fields: dict[str, Any] = {"type": types[0], "time": received_ms} | given
        fields["received"] = received_ms
        usage = read_object(fields)
        why = usage.malformed
        if fields["type"] not in types:
            why = f'field "type" is {fields["type"]!r}, expected one of {", ".join(types)}'
        if why:
            mistakes.append({"record": number, "detail": why})
        else:
            lines.append(LogLine(usage.texts["account"], encoded(fields), fields["type"]))
    check_sizes(lines)
    if mistakes:
        raise Problem(
            422,
            "bad-record",
            f"{len(mistakes)} of {len(records)} records are malformed, the first because "
            f"{mistakes[0]['detail']}; none is in the log, so mend them and send all again",
            more={"problems": mistakes[:20]},
        )
    return lines


def whole(value: Any) -> Any:
    """14.0 as 14: to JSON Schema it is an integer. Anything else as it is."""
    if not isinstance(value, Number) or len(value.text) > NUMBER_CHARACTERS_MAX:
        return value
    try:
        number = Decimal(value.text)
        # An exponent of some digits would be an integer of as many gigabytes.
        is_whole = abs(number) < 10**18 and number == number.to_integral_value()
    except ArithmeticError:  # an exponent that is beyond all arithmetic
        return value
    return int(number) if is_whole else value


def encoded(fields: Mapping[str, Any]) -> bytes:
    """A checked record with the fields that the log knows, and no others."""
    names = [name for name, _ in TEXTS_OF_TYPES[fields["type"]].values()]
    known = ("type", "account", *names, *NUMBER_FIELDS, "received")
    kept = {name: fields[name] for name in known if name in fields}
    return json.dumps(kept, separators=(",", ":")).encode()


def token_request(asked: Mapping[str, Any]) -> tuple[dict[str, str], int]:
    """What a token is to say, and its life in seconds. Raises: Problem 422.

    One for a set-top box has no session.
    """
    is_box = asked.get("box", False)
    known = ("account", "device", "box", LIFE) if is_box is True else TOKEN_FIELDS
    mistakes = [f"there is no field {name}" for name in asked if name not in known]
    if type(is_box) is not bool:
        mistakes.append('field "box" is neither true nor false')
    texts = {} if is_box is True else {SESSION: str(uuid.uuid4())}
    for name in TOKEN_TEXTS:
        if name not in asked and name not in ("account", "device"):
            continue
        text = asked.get(name)
        if not isinstance(text, str) or not 0 < len(text) <= TEXT_CHARACTERS_MAX:
            mistakes.append(f'field "{name}" is no text of 1 to {TEXT_CHARACTERS_MAX} characters')
        elif any("\ud800" <= character <= "\udfff" for character in text):
            mistakes.append(f'field "{name}" holds half of a surrogate pair')
        else:
            texts[name] = text
    usual_s, life_s_max = (BOX_LIFE_S, BOX_LIFE_S_MAX) if is_box is True else (LIFE_S, LIFE_S_MAX)
    life_s = whole(asked.get(LIFE, usual_s))
    if type(life_s) is not int or not 0 < life_s <= life_s_max:
        mistakes.append(f'field "{LIFE}" is no whole number from 1 to {life_s_max}')
    if mistakes:
        problems = [{"detail": why} for why in mistakes]
        raise Problem(422, "bad-record", "; ".join(mistakes[:5]), more={"problems": problems[:20]})
    return texts, life_s
