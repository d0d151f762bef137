"""tariffs/examples.py: examples are read, written out as a usage log, and compared."""

from __future__ import annotations

from typing import Any

import pytest

from tariffs.examples import Example, differences, examples_of, expand
from tariffs.load import BookErrors, load_text

BOOK = """\
[book]
id = "b"
currency = "SEK"
timezone = "UTC"
[session]
heartbeat_timeout_s = 45
[[plans]]
id = "family"
mode = "prepaid"
"""
NOON_MS = 1_772_798_400_000  # 2026-03-06T12:00:00Z


def example(body: str) -> Example:
    (found,) = examples_of(load_text(f'{BOOK}\n[[example]]\nname = "e"\n{body}'))
    return found


def mistakes(body: str) -> list[str]:
    with pytest.raises(BookErrors) as caught:
        load_text(f"{BOOK}[[example]]\n{body}", "b")
    return [str(mistake).removeprefix("b:") for mistake in caught.value.mistakes]


def test_a_watch_is_written_out_as_heartbeats_and_a_stop() -> None:
    log = expand(
        example("""
        plan = "family"
        region = "SE"
        balance = "10.00"
        packages = ["sport"]
        log = [{ watch = "c1", from = 2026-03-06T12:00:00Z, to = 2026-03-06T13:01:40+01:00 }]
        sums = { net = "0" }
        """)
    )
    view = {
        "type": "view",
        "account": "a",
        "device": "d",
        "session": "s",
        "content": "c1",
        "kind": "channel",
    }
    start = {"account": "a", "time": NOON_MS}
    assert log == [
        {**start, "type": "account.open", "plan": "family", "region": "SE", "bill_day": 1},
        {**start, "type": "account.subscribe", "package": "sport"},
        {**start, "type": "balance.topup", "id": "opening balance", "amount": "10.00"},
        # The book wants a heartbeat every 45 s.
        {**view, "time": NOON_MS, "state": "playing"},
        {**view, "time": NOON_MS + 45_000, "state": "playing"},
        {**view, "time": NOON_MS + 90_000, "state": "playing"},
        {**view, "time": NOON_MS + 100_000, "state": "stopped"},
    ]


def test_usage_records_are_written_out_with_their_defaults_by_ascending_time() -> None:
    log = expand(
        example("""
        log = [
            { type = "order.cancel", time = 2026-03-06T12:00:03Z, id = "x", order = "o" },
            { time = 2026-03-06T12:00:00.5Z, content = "c1", quality = "", rate = 1.5 },
            { time = 1772798402000, content = "c1", state = "paused", rate = 2, playhead_ms = -5 },
            { type = "order.purchase", time = 2026-03-06T12:00:01Z, id = "o", offer = "film" },
            { type = "account.open", time = 2026-03-06T12:00:00Z, plan = "p", account = "bo" },
        ]
        balances = { a = "0" }
        """)
    )
    view = {"type": "view", "account": "a", "device": "d", "session": "s", "kind": "channel"}
    assert log == [
        {"type": "account.open", "time": NOON_MS, "account": "bo", "plan": "p"},
        {
            **view,
            "time": NOON_MS + 500,
            "content": "c1",
            "state": "playing",
            "quality": "",
            "rate": 1.5,
        },
        {"type": "order.purchase", "time": NOON_MS + 1000, "account": "a", "id": "o"}
        | {"offer": "film"},
        {
            **view,
            "time": NOON_MS + 2000,
            "content": "c1",
            "state": "paused",
            "rate": 2,
            "playhead_ms": -5,
        },
        {"type": "order.cancel", "time": NOON_MS + 3000, "account": "a", "id": "x", "order": "o"},
    ]


def test_expectations_are_read_as_micro_units_and_milliseconds() -> None:
    found = example("""
    log = [{ time = 0, content = "c" }]
    charges = [{ rule = "r", watched_s = 1.5, net = "-1.25", start = 1970-01-01T00:00:01Z }, {}]
    sums = { billed_s = 60, total = "3" }
    suspense = [{ reason = "no_rule", watched_s = 2 }]
    signals = [{ type = "balance.exhausted" }]
    balances = { a = "-0.5", "b c" = "1" }
    """)
    assert found.charges == (
        {"rule": "r", "watched_ms": 1500, "net": -1_250_000, "start": 1000},
        {},
    )
    assert found.sums == {"billed_ms": 60_000, "total": 3_000_000}
    assert found.suspense == ({"reason": "no_rule", "watched_ms": 2000},)
    assert found.signals == ({"type": "balance.exhausted"},)
    assert found.balances == {"a": -500_000, "b c": 1_000_000}
    assert (found.name, found.line) == ("e", 11)


def test_what_is_not_expected_is_not_looked_at_but_suspense() -> None:
    found = example('log = [{ time = 0, content = "c" }]\nbalances = {}')
    assert (found.charges, found.sums, found.signals) == (None, None, None)
    assert found.suspense == ()


WATCH = "{ watch = 'c', from = 2026-03-06T12:00:00Z, to = 2026-03-06T13:00:00Z }"
LATER = "{ watch = 'd', from = 2026-03-06T12:59:00Z, to = 2026-03-06T13:30:00Z }"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            f'name = "e"\nlog = [{WATCH}]',
            ["it expects nothing; add charges, sums, suspense, signals or balances"],
        ),
        (
            f"log = [{WATCH}]\nsums = {{}}",
            ['`name` is missing; add name = "what this shows"'],
        ),
        (
            'name = "e"\nsums = {}',
            ['`log` has no usage; write log = [{ watch = "…", from = …, to = … }]'],
        ),
        (
            f'name = "e"\nlog = [{WATCH}, {LATER}]\nsums = {{}}',
            [
                (
                    'session "s" is still watching something else; '
                    'give one of the two its own session = "…"'
                )
            ],
        ),
        (
            f'name = "e"\nlog = [{WATCH.replace("13:00", "12:00")}]\nsums = {{}}',
            ["`to` is not after `from`; correct one of them"],
        ),
        (
            f'name = "e"\nlog = [{WATCH.replace("2026-03-06T13", "2027-03-06T13")}]\nsums = {{}}',
            ["`log` takes more than 100,000 heartbeats; watch for a shorter time"],
        ),
        (
            f'name = "e"\nlog = [{WATCH}]\nsignals = [{", ".join(["{}"] * 201)}]',
            ["`signals` has more than 200 rows; write `sums`, or less usage"],
        ),
        (
            f'name = "e"\nlog = [{WATCH}]\nregion = "SE"\nbill_day = 32\nsums = {{}}',
            [
                '`region` needs a plan; add plan = "…"',
                "`bill_day` is the whole number 32; use 1 to 31",
                '`bill_day` needs a plan; add plan = "…"',
            ],
        ),
        (
            'name = "e"\nlog = [{ type = "veiw", time = 0, colour = 1 }]\nsums = {}',
            ['`type` "veiw" is no word for this; did you mean "view"?'],
        ),
        (
            'name = "e"\nlog = [{ time = 0, content = "c", rate = "1", stat = "x" }]\nsums = {}',
            [
                '`rate` is the text "1", not a playback rate; write 1 or 1.5',
                'unknown key "stat"; did you mean "state"?',
            ],
        ),
        (
            f'name = "e"\nlog = [{WATCH}]\ncharges = [{{ watched_ms = 1, net = 1.5 }}]',
            [
                '`net` is the float 1.5, but money is a quoted decimal; put it in quotes: "1.5"',
                'unknown key "watched_ms"; did you mean "watched_s"?',
            ],
        ),
        (
            f'name = "e"\nlog = [{WATCH}]\nbalance = 5\ncharges = 1',
            [
                (
                    "`balance` is the whole number 5, but money is a quoted decimal; "
                    'put it in quotes: "5"'
                ),
                "`charges` is the whole number 1, not a list of tables; write charges = [{ … }]",
            ],
        ),
    ],
)
def test_an_example_is_checked_like_all_else_in_a_book(body: str, expected: list[str]) -> None:
    assert [mistake.split(": ", 2)[-1] for mistake in mistakes(body)] == expected


def test_two_watches_at_a_time_need_two_sessions() -> None:
    other = LATER.replace("{ ", "{ device = 'phone', ")
    assert len(expand(example(f"log = [{WATCH}, {other}]\nsums = {{}}"))) > 2


# --- comparing -----------------------------------------------------------------------------------

CHARGE: dict[str, Any] = {
    "type": "usage",
    "account": "a",
    "content": "c1",
    "rule": "hours",
    "start": NOON_MS,
    "watched_ms": 60_000,
    "net": 1_500_000,
    "total": 1_875_000,
}


def compared(body: str, *charges: dict[str, Any], **other: Any) -> list[str]:
    """What an example expects against an outcome of these charges."""
    found = example(f"log = [{WATCH}]\n{body}")
    outcome = {"suspense": [], "signals": [], "balances": {}} | other
    return differences(found, charges, **outcome)


def test_an_outcome_as_expected_has_no_differences() -> None:
    body = """
    charges = [{ rule = "package:basic", net = "0" }, { rule = "hours", watched_s = 60 }]
    sums = { net = "1.5", watched_s = 120 }
    suspense = [{ reason = "no_rule" }]
    signals = [{ type = "order.accepted", order = "o" }]
    balances = { a = "-1" }
    """
    free = CHARGE | {"rule": "package:basic", "net": 0}
    found = compared(
        body,
        CHARGE,
        free,
        suspense=[{"reason": "no_rule", "account": None}],
        signals=[{"type": "order.accepted", "order": "o"}],
        balances={"a": -1_000_000, "b": 7},
    )
    assert found == []


def test_a_charge_that_differs_is_told_column_by_column() -> None:
    found = compared('charges = [{ rule = "hours", net = "1.6", watched_s = 61.5 }]', CHARGE)
    assert found == ["charge 1: watched_s is 60, expected 61.5; net is 1.50, expected 1.60"]


def test_a_missing_charge_and_one_too_many_are_told() -> None:
    assert compared('charges = [{ rule = "hours", net = "1" }]') == [
        'charge 1 (rule "hours", net 1.00) is missing'
    ]
    assert compared("charges = []", CHARGE, CHARGE) == [
        (
            'charge not expected: type "usage", account "a", content "c1", rule "hours", '
            "start 2026-03-06T12:00:00+00:00, net 1.50 (2 times)"
        )
    ]


def test_expected_rows_are_paired_so_that_as_many_as_can_be_fit() -> None:
    """The first expectation fits both charges, the second only the one that it would take."""
    other = CHARGE | {"net": 7}
    body = 'charges = [{ rule = "hours" }, { net = "1.5" }]'
    assert compared(body, CHARGE, other) == []
    assert compared(body, other, CHARGE) == []


def test_suspense_that_no_one_expects_is_always_told() -> None:
    suspended = {"reason": "no_rule", "account": "a", "time": NOON_MS, "content": ""}
    assert compared("sums = {}", suspense=[suspended]) == [
        'suspense row not expected: reason "no_rule", account "a"'
    ]


def test_sums_signals_and_balances_that_differ_are_told() -> None:
    found = compared(
        """
        sums = { net = "3", watched_s = 120 }
        signals = [{ type = "balance.exhausted", account = "a" }]
        balances = { a = "1", bo = "2" }
        """,
        CHARGE,
        CHARGE,
        signals=[{"type": "balance.restored", "account": "a", "order": None}],
        balances={"a": 1_250_000},
    )
    assert found == [
        'signal 1: type is "balance.restored", expected "balance.exhausted"',
        'balance of "a" is 1.25, expected 1.00',
        'there is no account "bo", whose balance should be 2.00',
    ]
    assert compared('sums = { net = "3.1" }', CHARGE, CHARGE) == [
        "of all charges together, net is 3.00, expected 3.10"
    ]


def test_a_column_without_a_value_is_told_as_nothing() -> None:
    found = compared('signals = [{ order = "o" }]', signals=[{"type": "x", "order": None}])
    assert found == ['signal 1: order is nothing, expected "o"']
