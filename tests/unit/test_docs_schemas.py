"""The schemas in docs/, and the document that leads to them, say what is really sent."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import stored
import yaml
from jsonschema import Draft202012Validator, ValidationError

from ingest.json_exact import read_line
from ingest.simulator import Faults, Simulation
from rating.schemas import MALFORMED
from sinks.topics.messages import FIELDS, message_values
from sinks.topics.publisher import TOPICS

DOCS = Path(__file__).parents[2] / "docs"


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((DOCS / "schemas" / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.mark.parametrize("kind", TOPICS)
def test_a_schema_names_the_fields_of_a_message_in_their_order(kind: Any) -> None:
    schema: Any = validator(kind).schema
    assert tuple(schema["properties"]) == FIELDS[kind]
    assert schema["required"] == list(FIELDS[kind])


def test_charges_of_every_kind_hold_to_their_schema() -> None:
    refund = stored.charge(type="refund", gross=-99_000_000, tax=-1, session="", paid=-99_000_000)
    rows = pl.concat([stored.many_charges(300), stored.charges(refund)])
    numbered = rows.with_row_index("seq", offset=1)
    for value in message_values("charges", numbered):
        validator("charges").validate(json.loads(value))


def test_a_float_for_money_is_no_charge() -> None:
    rows = stored.charges(stored.charge()).with_row_index("seq", offset=1)
    (value,) = message_values("charges", rows)
    for wrong in ({"total": 1.5}, {"owed": 5.0}, {"owed": "5"}, {"more": 1}, {"currency": "kr"}):
        with pytest.raises(ValidationError):
            validator("charges").validate(json.loads(value) | wrong)


def test_usage_records_of_the_simulator_hold_to_their_schema() -> None:
    simulation = Simulation(60, 0.5, 3, faults=Faults.parse("typical"))
    lines = b"".join(simulation.blocks()).splitlines()
    assert len(lines) > 1000
    for line in lines:
        if read_line(line).type != MALFORMED:
            validator("usage").validate(json.loads(line))


NOON = 1_772_794_800_000
VIEW = {
    "type": "view",
    "time": NOON,
    "account": "anna",
    "device": "tv",
    "session": "s1",
    "content": "c1",
    "kind": "channel",
    "state": "playing",
}


TOPUP = {"type": "balance.topup", "id": "t"}


@pytest.mark.parametrize(
    "change",
    [
        {"time": "yesterday"},
        {"account": ""},
        {"account": "a" * 129},
        {"state": "sleeping"},
        {"device": None},
        {"playhead_ms": 1.5},
        {"type": "glance"},
        {"content": ""},
        {"quality": 4},
        {"session": "s" * 513},
        {"quality": "q" * 513},
        {"time": 946_684_799_999},
        {"received": 7_258_118_400_000},
        {"playhead_ms": 10**15 + 1},
        {"rate": 1_000_001},
        TOPUP | {"amount": "0"},
        TOPUP | {"amount": "0.000"},
        TOPUP | {"amount": "1000000000.000001"},
        TOPUP | {"amount": "2000000000"},
        TOPUP | {"amount": "0" * 512 + "1"},
    ],
    ids=lambda change: str(change)[:80],
)
def test_the_schema_and_the_reader_refuse_the_same(change: dict[str, Any]) -> None:
    usage = VIEW | change
    assert read_line(json.dumps(usage).encode()).type == MALFORMED
    if change != {"time": "yesterday"}:  # whether a format is checked is up to the validator
        with pytest.raises(ValidationError):
            validator("usage").validate(usage)


@pytest.mark.parametrize(
    "usage",
    [
        VIEW,
        VIEW | {"time": "2026-03-06T12:00:00+01:00", "quality": "", "rate": 1.25, "more": []},
        {"type": "account.open", "time": NOON, "account": "a", "plan": "p", "bill_day": 28},
        {"type": "account.unsubscribe", "time": NOON, "account": "a", "package": "p"},
        {"type": "balance.topup", "time": NOON, "account": "a", "id": "t", "amount": "10.5"},
        {"type": "balance.topup", "time": NOON, "account": "a", "id": "t", "amount": "0.000001"},
        {"type": "balance.topup", "time": NOON, "account": "a", "id": "t", "amount": "01000000000"},
        {"type": "order.purchase", "time": NOON, "account": "a", "id": "o", "offer": "f"},
        {"type": "order.cancel", "time": NOON, "account": "a", "id": "c", "order": "o"},
    ],
    ids=lambda usage: usage["type"],
)
def test_the_schema_and_the_reader_take_the_same(usage: dict[str, Any]) -> None:
    assert read_line(json.dumps(usage).encode()).type != MALFORMED
    validator("usage").validate(usage)


def test_a_report_suspended_before_the_log_has_a_schema() -> None:
    validator("usage").validate(
        {"type": "ingest.suspended", "reason": "unbound", "detail": "no account", "raw": "AA=="}
    )


def pointed_to(document: Any, pointer: str) -> Any:
    """What "#/a/b" points to. "~1" is a slash within a name."""
    found = document
    for part in pointer.removeprefix("#/").split("/"):
        found = found[part.replace("~1", "/")]
    return found


def references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [each for value in part.values() for each in references(value)]
    if isinstance(part, list):
        return [each for value in part for each in references(value)]
    return []


def test_the_asyncapi_document_leads_to_every_topic_and_schema() -> None:
    document = yaml.safe_load((DOCS / "asyncapi.yaml").read_text())
    assert document["asyncapi"].startswith("3.")
    assert set(document["channels"]) == {"usage", *TOPICS}
    for reference in references(document):
        if reference.startswith("#"):
            assert pointed_to(document, reference) is not None
        else:
            assert (DOCS / reference).is_file(), reference
    directions = {
        pointed_to(document, operation["channel"]["$ref"])["address"]: operation["action"]
        for operation in document["operations"].values()
    }
    # An operation is told from where the program itself stands.
    assert directions == {"usage": "receive", **dict.fromkeys(TOPICS, "send")}
