"""tariffs/compare.py: what a later book lost is told, at the place where it would be."""

from __future__ import annotations

import pytest

from tariffs.compare import warnings
from tariffs.load import load_texts

OLDER = """\
[book]
id = "2025"
currency = "BGN"
timezone = "Europe/Sofia"
[packages]
sport = ["s1"]
film = ["f1"]
[[plans]]
id = "basic"
mode = "prepaid"
[[plans.rules]]
id = "channels"
kind = "channel"
price = { model = "flat", amount = "1" }
[[plans.rules]]
id = "rest"
price = { model = "flat", amount = "1" }
[[plans]]
id = "gold"
mode = "postpaid"
[[offers]]
id = "final"
kind = "ppv"
content = ["e1"]
price = "3"
ends = 2025-12-24T22:00:00Z
[[offers]]
id = "library"
kind = "est"
content = ["f1"]
price = "9"
"""
NEWER = OLDER.replace('id = "2025"', 'id = "2026"\neffective_from = 2025-12-31T22:00:00Z')


def told(older: str, newer: str) -> list[str]:
    return [str(warning) for warning in warnings(load_texts([(newer, "new"), (older, "old")]))]


def test_a_book_that_loses_nothing_is_passed_in_silence() -> None:
    assert told(OLDER, NEWER) == []


@pytest.mark.parametrize(
    ("lost", "warning"),
    [
        (
            '[[plans]]\nid = "gold"\nmode = "postpaid"\n',
            (
                'new:1: the plan "gold" of old is gone; accounts that have it are suspended as '
                "unknown_plan"
            ),
        ),
        (
            'film = ["f1"]\n',
            'new:6: [packages]: the package "film" of old is gone; it covers nothing any more',
        ),
        (
            (
                '[[plans.rules]]\nid = "channels"\nkind = "channel"\n'
                'price = { model = "flat", amount = "1" }\n'
            ),
            (
                'new:9: [[plans]] "basic": the rule "channels" of old is gone; what it priced goes to '
                "the next rule that matches, or is suspended as no_rule"
            ),
        ),
        (
            '[[offers]]\nid = "library"\nkind = "est"\ncontent = ["f1"]\nprice = "9"\n',
            (
                'new:22: the offer "library" of old is gone while it is still on sale; orders of it are '
                "suspended as unknown_offer"
            ),
        ),
    ],
)
def test_what_got_lost_is_told(lost: str, warning: str) -> None:
    assert NEWER.count(lost) == 1
    assert told(OLDER, NEWER.replace(lost, "")) == [warning]


def test_an_offer_whose_event_is_over_may_go() -> None:
    first = NEWER.index('[[offers]]\nid = "final"')
    assert told(OLDER, NEWER[:first] + NEWER[NEWER.rindex("[[offers]]") :]) == []


def test_balances_do_not_follow_a_change_of_currency() -> None:
    in_euro = NEWER.replace('"BGN"', '"EUR"')
    (warning,) = told(OLDER, in_euro)
    assert warning.startswith("new:4: [book]: the currency changes from BGN to EUR, but balances")
    assert 'prepaid plans ("basic")' in warning
    assert told(OLDER.replace("prepaid", "postpaid"), in_euro.replace("prepaid", "postpaid")) == []


def test_a_book_that_begins_in_a_currency_that_is_gone_is_told() -> None:
    late = NEWER.replace("2025-12-31T22:00:00Z", "2026-01-01T00:00:00Z")
    (warning,) = told(OLDER, late)
    assert warning.startswith(
        "new:4: [book]: BGN was withdrawn in 2026-01, and the book comes into"
    )
