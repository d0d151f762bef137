"""The OpenAPI document of the gateway: what each route takes and how it answers.

    python -m ingest.gateway.openapi > docs/openapi.json

Source: OpenAPI 3.1.1; docs/openapi.json is this document, and a test keeps them equal.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from ingest.gateway.boxes import ACCOUNT_HEADER
from ingest.gateway.problems import MEDIA_TYPE
from ingest.gateway.sent import SECONDS, SENT_HEADER
from ingest.gateway.sent import TIME_MS_MAX as SENT_MS_MAX
from ingest.gateway.tokens import (
    BOX_LIFE_S,
    BOX_LIFE_S_MAX,
    LIFE_S,
    LIFE_S_MAX,
    TEXT_CHARACTERS_MAX,
)
from rating.schemas import TIME_MS_MAX, TIME_MS_MIN

VERSION: Final = "1"
JsonObject = dict[str, Any]

TEXT: JsonObject = {"type": "string", "minLength": 1, "maxLength": TEXT_CHARACTERS_MAX}
ANY_TEXT: JsonObject = {"type": "string", "minLength": 1}
MAY_BE_EMPTY: JsonObject = {"type": "string"}
TIME: JsonObject = {
    "description": "Milliseconds since 1970, or RFC 3339 with a zone. Absent: now.",
    "anyOf": [
        {"type": "integer", "minimum": TIME_MS_MIN, "maximum": TIME_MS_MAX},
        # In UTC it lies in the years 2000 to 2199, so the first and the last day are left out here.
        {
            "type": "string",
            "format": "date-time",
            "pattern": "^(?!2000-01-01|2199-12-31)(20|21)",
        },
    ],
}
AMOUNT: JsonObject = {
    "description": "A decimal above 0 with at most 6 decimals.",
    "type": "string",
    "pattern": "^(?=.*[1-9])(0*[0-9]{1,9}(\\.[0-9]{1,6})?|0*1000000000(\\.0{1,6})?)$",
}


def record(
    type_: str, required: tuple[str, ...], *, is_default: bool = False, **fields: JsonObject
) -> JsonObject:
    """The schema of one record type. is_default: meant where a record says no type."""
    return {
        "type": "object",
        "required": [*([] if is_default else ["type"]), "account", *required],
        "properties": {"type": {"const": type_}, "account": TEXT, "time": TIME, **fields},
    }


SCHEMAS: JsonObject = {
    "UsageRecord": {
        "description": (
            "An object: any record of the usage log, docs/rules.md. One that breaks the rules "
            "is not refused: it is logged, suspended with its reason when it is rated, and named "
            "in the answer. So this schema allows anything."
        ),
        "examples": [
            {
                "type": "view",
                "time": 1772820000000,
                "account": "anna",
                "device": "tv",
                "session": "s1",
                "content": "sport-hd",
                "kind": "channel",
                "state": "playing",
            }
        ],
    },
    "Order": {
        "oneOf": [
            record("order.purchase", ("id", "offer"), is_default=True, id=ANY_TEXT, offer=ANY_TEXT,
                   quality=MAY_BE_EMPTY, device=ANY_TEXT),
            record("order.cancel", ("id", "order"), id=ANY_TEXT, order=ANY_TEXT),
        ]
    },
    "AccountChange": {
        "oneOf": [
            record("account.open", ("plan",), is_default=True, plan=ANY_TEXT,
                   region=MAY_BE_EMPTY,
                   bill_day={"type": "integer", "minimum": 1, "maximum": 28}),
            record("account.subscribe", ("package",), package=ANY_TEXT),
            record("account.unsubscribe", ("package",), package=ANY_TEXT),
        ]
    },
    "TopUp": record("balance.topup", ("id", "amount"), is_default=True, id=ANY_TEXT, amount=AMOUNT,
                    currency=ANY_TEXT),
    "TokenRequest": {
        "oneOf": [
            {"$ref": "#/components/schemas/SessionTokenRequest"},
            {"$ref": "#/components/schemas/BoxTokenRequest"},
        ]
    },
    "BoxTokenRequest": {
        "description": "For a set-top box that sends bulk data: it has many sessions.",
        "type": "object",
        "required": ["account", "device", "box"],
        "additionalProperties": False,
        "properties": {
            "account": TEXT,
            "device": TEXT,
            "box": {"const": True},
            "expires_in_s": {
                "type": "integer", "minimum": 1, "maximum": BOX_LIFE_S_MAX, "default": BOX_LIFE_S,
            },
        },
    },
    "SessionTokenRequest": {
        "type": "object",
        "required": ["account", "device"],
        "additionalProperties": False,
        "properties": {
            "account": TEXT,
            "device": TEXT,
            "session": TEXT | {"description": "Absent: a new one."},
            "content": TEXT | {"description": "What is played, whatever the player says."},
            "kind": TEXT,
            "quality": TEXT,
            "box": {"const": False},
            "expires_in_s": {
                "type": "integer", "minimum": 1, "maximum": LIFE_S_MAX, "default": LIFE_S,
            },
        },
    },
    "Token": {
        "type": "object",
        "required": ["token", "expires", "report_path"],
        "properties": {
            "token": {"type": "string"},
            "session": {"type": "string", "description": "Absent for a box."},
            "expires": {"type": "string", "format": "date-time"},
            "report_path": {"type": "string", "description": "Where it reports to."},
        },
    },
    "EventsTaken": {
        "type": "object",
        "required": ["accepted", "suspended"],
        "properties": {
            "accepted": {"type": "integer", "description": "Lines that are in the log now."},
            "suspended": {
                "type": "integer",
                "description": "Those of them that will be suspended when they are rated.",
            },
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/RecordProblem"}},
        },
    },
    "BulkTaken": {
        "type": "object",
        "required": ["accepted", "suspended", "repeats", "counters"],
        "properties": {
            "accepted": {"type": "integer", "description": "Lines that are in the log now."},
            "suspended": {"type": "integer", "description": "Those of them that are suspended."},
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/RecordProblem"}},
            "repeats": {"type": "integer", "description": "Entries that had come before."},
            "counters": {"type": "integer", "description": "Audience counters that were kept."},
        },
    },
    "RecordsTaken": {
        "type": "object",
        "required": ["accepted", "received"],
        "properties": {
            "accepted": {"type": "integer"},
            "received": {"type": "integer", "description": "ms since 1970."},
        },
    },
    "RecordProblem": {
        "type": "object",
        "required": ["detail"],
        "properties": {
            "record": {"type": "integer", "description": "Counted from 1."},
            "detail": {"type": "string"},
        },
    },
    "Problem": {
        "description": "Problem details (RFC 9457): what is wrong, where, how to mend it.",
        "type": "object",
        "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "problems": {"type": "array", "items": {"$ref": "#/components/schemas/RecordProblem"}},
        },
    },
}  # fmt: skip

REFUSALS = {
    "400": "The body cannot be read.",
    "401": "Credentials are missing, or not known.",
    "403": "The key lacks the scope.",
    "404": "This gateway does not take it, or the path holds a control character.",
    "408": "The body came too slowly.",
    "410": "The session is over: stop reporting. What happened before its end is in the log.",
    "413": "The body is too large.",
    "415": "The content type or encoding is not supported.",
    "422": "A record is malformed; none is in the log.",
    "429": "Too much at once: send the same again after Retry-After.",
    "503": "The log cannot be written now: send the same again.",
}
RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}


def refusals(*statuses: str) -> JsonObject:
    """The answers of a route that refuses."""
    return {
        status: {
            "description": REFUSALS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            **({"headers": RETRY} if status in {"429", "503"} else {}),
        }
        for status in statuses
    }


def answer(description: str, schema: str) -> JsonObject:
    """A JSON answer."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}
    return {"description": description, "content": content}


def one_or_many(schema: str) -> JsonObject:
    """One object, or an array of at least one."""
    one = {"$ref": f"#/components/schemas/{schema}"}
    return {"oneOf": [one, {"type": "array", "minItems": 1, "items": one}]}


def backend_route(
    summary: str, scope: str, schema: JsonObject, taken: JsonObject, status: str = "202"
) -> JsonObject:
    """A route for middleware."""
    return {
        "post": {
            "operationId": f"post_{scope}",
            "summary": summary,
            "description": f"Needs an API key with the scope `{scope}`.",
            "security": [{"api_key": []}],
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
            "responses": {
                status: taken,
                **refusals("400", "401", "403", "408", "413", "415", "422", "429", "503"),
            },
        }
    }


SENT: JsonObject = {
    "name": SENT_HEADER,
    "in": "header",
    "required": False,
    "schema": {
        "anyOf": [
            {"type": "integer", "minimum": SECONDS.stop, "maximum": SENT_MS_MAX - 1},
            {"type": "integer", "minimum": 0, "maximum": SECONDS.start - 1},
        ]
    },
    "description": (
        "When the player sent this, in milliseconds since 1970 by its own clock, set anew each time "
        "that it is sent. By it, a wrong clock is put right, and a late report is known for late."
    ),
}
MAPPING: JsonObject = {
    "name": "mapping",
    "in": "query",
    "required": False,
    "schema": {"type": "string"},
    "description": "The id of a mapping (`--mapping`): the body is the back end's own JSON.",
}
EVENTS: JsonObject = {
    "post": {
        "operationId": "post_events",
        "summary": "Usage records: native JSON, JSON lines, or CloudEvents by content type",
        "description": (
            "A back end sends with an API key of the scope `events`, a player with its session's "
            "token. It takes views only, unless the key has the scope `mixed` as well. Records are "
            "taken whole: one that is malformed is logged and suspended."
        ),
        "security": [{"api_key": []}, {"session_token": []}],
        "parameters": [SENT, MAPPING],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/UsageRecord"}},
                "application/x-ndjson": {"schema": {"type": "string", "minLength": 1}},
                "application/cloudevents+json": {"schema": {"description": "A CloudEvent."}},
                "application/cloudevents-batch+json": {
                    "schema": {"description": "An array of CloudEvents."}
                },
            },
        },
        "responses": {
            "202": answer("The log has every record.", "EventsTaken"),
            **refusals("400", "401", "403", "404", "408", "410", "413", "415", "429", "503"),
        },
    },
    "options": {
        "operationId": "allow_webhook",
        "summary": "The handshake of CloudEvents' webhooks: deliveries are welcome, with a key",
        "responses": {"200": {"description": "WebHook-Allowed-Origin repeats who asked."}},
    },
}
CMCD_BODY: JsonObject = {
    "required": True,
    "content": {
        "application/cmcd": {"schema": {"description": "One record a line."}},
        "text/cmcd": {"schema": {"description": "As application/cmcd, of before revision B."}},
        "application/json": {"schema": {"description": "The JSON of version 1."}},
        "text/plain": {"schema": {"description": "As application/cmcd, of sendBeacon."}},
        "application/x-www-form-urlencoded": {"schema": {"description": "The argument CMCD."}},
    },
}
NO_CONTENT: JsonObject = {"204": {"description": "The log has the report."}}


def cmcd_route(operation: str, parameters: list[JsonObject]) -> JsonObject:
    """A route for players' reports."""
    return {
        "post": {
            "operationId": operation,
            "summary": "A player's CMCD report, event mode",
            "description": (
                "Account, device and session are the token's. A report without a good token is "
                "kept in suspense and never charged; its sender is told 204 all the same."
            ),
            "security": [{}, {"session_token": []}],
            "parameters": [*parameters, SENT],
            "requestBody": CMCD_BODY,
            "responses": {
                **NO_CONTENT,
                **refusals("400", "401", "404", "408", "410", "413", "415", "429", "503"),
            },
        },
        "get": mirrored(
            operation.replace("post", "get"),
            "A player's CMCD report by GET, in the query or in CMCD's headers",
            parameters,
        ),
    }


def mirror_route() -> JsonObject:
    """The route that an edge mirrors requests to."""
    path = {"name": "path", "in": "path", "required": True, "schema": {"type": "string"}}
    what = "A media request as an edge mirrors it, with CMCD in its query or headers"
    return {"get": mirrored("mirror", what, [path])}


def mirrored(operation: str, summary: str, parameters: list[JsonObject]) -> JsonObject:
    """One that takes CMCD in the query or in headers."""
    query = {"name": "CMCD", "in": "query", "required": False, "schema": {"type": "string"}}
    return {
        "operationId": operation,
        "summary": summary,
        "security": [{}, {"session_token": []}, {"api_key": []}],
        "parameters": [*parameters, query, SENT],
        "responses": {
            **NO_CONTENT,
            **refusals("400", "401", "404", "410", "413", "429", "503"),
        },
    }


def bulk_route(method: str, parameters: list[JsonObject]) -> JsonObject:
    """The route for set-top boxes."""
    suffix = "_with_token" if parameters else ""
    identity = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"},
         "description": f"{what}. One who lacks it is known by its token's device alone."}
        for name, what in (
            ("oui", "Manufacturer"), ("pc", "Product class"), ("sn", "Serial number"),
        )
    ]  # fmt: skip
    form = {
        "name": "BBF-Report-Format", "in": "header", "required": False,
        "schema": {"type": "string"},
        "description": (
            "NameValuePair, ObjectHierarchy, ParameterPerRow or ParameterPerColumn. Where it is "
            "none of them, the body tells."
        ),
    }  # fmt: skip
    account = {
        "name": ACCOUNT_HEADER, "in": "header", "required": False, "schema": TEXT,
        "description": "Who pays for the box, by the word of the back end that passes it on.",
    }  # fmt: skip
    return {
        "operationId": f"{method}_bulk{suffix}",
        "summary": "Bulk data of a set-top box: TR-069 or TR-369, JSON or CSV",
        "description": (
            "The account and device are the token's; or a back end with an API key of the scope "
            "`bulk` names the account. Bearer, or Basic with the token or key as the password. What "
            "cannot be read is kept in suspense and answered 200, since to send it again would not "
            "mend it."
        ),
        "security": [{"api_key": []}, {"session_token": []}, {"basic": []}],
        "parameters": [*(parameters or [account]), *identity, form, SENT],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"description": 'An array "Report" of objects.'}},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": answer("The log has what was new.", "BulkTaken"),
            **refusals("400", "401", "403", "404", "408", "413", "415", "429", "503"),
        },
    }


def plain(description: str, media: str = "text/plain") -> JsonObject:
    """An answer in plain text."""
    return {"description": description, "content": {media: {"schema": {"type": "string"}}}}


def probes() -> JsonObject:
    """Routes for those who run the gateway."""
    return {
        "/healthz": {
            "get": {"operationId": "healthz", "responses": {"200": plain("The process lives.")}}
        },
        "/readyz": {
            "get": {
                "operationId": "readyz",
                "responses": {"200": plain("The log takes lines."), "503": plain("It does not.")},
            }
        },
        "/metrics": {
            "get": {"operationId": "metrics", "responses": {"200": plain("For Prometheus.")}}
        },
    }


def document() -> JsonObject:
    """The whole document."""
    token = {"name": "token", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "ratecast gateway",
            "version": VERSION,
            "description": (
                "Reports of viewing, orders, account changes and top-ups, into the usage log. A "
                "request that is answered with success is in the log, whatever happens then; to "
                "send one again that was not is harmless. Bodies may be compressed: "
                "Content-Encoding gzip or zstd."
            ),
        },
        "paths": {
            "/v1/events": EVENTS,
            "/v1/cmcd": cmcd_route("post_cmcd", []),
            "/v1/cmcd/{token}": cmcd_route("post_cmcd_with_token", [token]),
            "/v1/mirror/{path}": mirror_route(),
            "/v1/bulk": {method: bulk_route(method, []) for method in ("post", "put")},
            "/v1/bulk/{token}": {method: bulk_route(method, [token]) for method in ("post", "put")},
            "/v1/orders": backend_route(
                "Purchases and cancellations",
                "orders",
                one_or_many("Order"),
                answer("The log has every record.", "RecordsTaken"),
            ),
            "/v1/accounts": backend_route(
                "Account changes",
                "accounts",
                one_or_many("AccountChange"),
                answer("The log has every record.", "RecordsTaken"),
            ),
            "/v1/topups": backend_route(
                "Top-ups of prepaid balances",
                "topups",
                one_or_many("TopUp"),
                answer("The log has every record.", "RecordsTaken"),
            ),
            "/v1/tokens": backend_route(
                "A token for one session of one account on one device, or for a set-top box",
                "tokens",
                {"$ref": "#/components/schemas/TokenRequest"},
                answer("The token.", "Token"),
                "201",
            ),
            **probes(),
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "api_key": {"type": "http", "scheme": "bearer", "description": "rc_..."},
                "session_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "basic": {
                    "type": "http",
                    "scheme": "basic",
                    "description": "Of boxes: the password is the token.",
                },
            },
        },
    }


def text() -> str:
    """The document as it is written to a file."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text())
