"""CMCD as players really wrote it: arguments given twice, numbers of every size, lost zeros."""

from __future__ import annotations

import json
from decimal import Decimal
from urllib.parse import quote

import pytest

from ingest import cmcd
from ingest.cmcd import KEYS, Rejected

OURS = 'cid="film-1",d=4000,ot=v,sid="s1"'
STALE = 'cid="film-1",ot=m,sid="s0"'

HUGE = [
    "1e1000000",
    "1e999999999",
    "-1e999999999",
    "1e-999999999",
    "1e99999999999999999999999",
    "9" * 5000,
    "-" + "9" * 4299,
    "0." + "1" * 5000,
    "1.5e400",
    '"\\ud800"',
    "NaN",
    "-Infinity",
    "true",
    "null",
    "{}",
    "[]",
    "[1e999999999]",
    '["\\udfff"]',
]
"""Values of JSON that no key holds, or that cost much where they are taken for one."""


def argument(text: str, name: str = "CMCD") -> str:
    return f"{name}={quote(text, safe='')}"


@pytest.mark.parametrize(
    "query",
    [
        argument(OURS),
        argument(OURS, "cmcd"),
        argument(OURS, "Common-Media-Client-Data"),
        f"CMCD={OURS}",
        f"{argument(STALE)}&{argument(OURS)}",  # as a player that adds to what a URL has
        f"{argument(OURS)}&{argument(STALE)}",
        f"{argument(OURS)}&CMCD=",
        f"token=1&amp;{argument(OURS)}",
        f"token=1;{argument(OURS)}",
        f"?{argument(OURS)}",
        argument(quote(OURS, safe="")),  # encoded twice
        f"cmcd=//1.0@V/{quote(OURS, safe='=,/')}",
        argument(OURS.replace("4000", "4000.0000000001")),
        argument(OURS.replace("4000", '"4000"')),
    ],
)
def test_the_argument_is_found_however_it_is_written(query: str) -> None:
    record = cmcd.read_query(query)
    assert record is not None
    found = {name: record.values[name] for name in ("cid", "d", "ot", "sid")}
    assert found == {"cid": "film-1", "d": 4000, "ot": "v", "sid": "s1"}


def test_of_two_arguments_the_last_counts() -> None:
    first, last = OURS, OURS.replace("4000", "6000")
    record = cmcd.read_query(f"{argument(first)}&{argument(last)}")
    assert record is not None
    assert record.values["d"] == 6000


@pytest.mark.parametrize("query", ["", "a=CMCD", "xCMCD=bs", "CMCD", "a=1&CMCDx=bs"])
def test_other_arguments_are_none(query: str) -> None:
    assert cmcd.read_query(query) is None


@pytest.mark.parametrize(
    ("text", "cid"),
    [
        ("cid=007,sid=0042", "007"),
        ("cid=007,sid=0042,nor=(a),,", "007"),
        ("sid=0042,cid=-0.50", "-0.50"),
        ('cid=1,nor="a,cid=2",sid=0042', "1"),
    ],
)
def test_zeros_of_an_identity_are_kept(text: str, cid: str) -> None:
    values = cmcd.read_record(text).values
    assert (values["cid"], values["sid"]) == (cid, "0042")


def test_a_line_of_a_body_may_be_an_argument_or_percent_encoded() -> None:
    body = "\n".join([OURS, argument(OURS), argument(OURS, "cmcd"), quote(OURS, safe="")])
    records = cmcd.read_body(body.encode())
    assert [getattr(record, "values", record) for record in records] == [
        cmcd.read_record(OURS).values
    ] * 4


@pytest.mark.parametrize("name", [*KEYS, "com.example-key"])
@pytest.mark.parametrize("huge", HUGE)
def test_no_number_of_json_stops_a_record_or_its_neighbours(name: str, huge: str) -> None:
    body = f'[{{"ot": "v", "{name}": {huge}}}, {{"d": 4000}}]'
    first, second = cmcd.read_json(body.encode())
    assert not isinstance(second, Rejected)
    assert second.values == {"d": 4000}
    if isinstance(first, Rejected):
        assert first.reason
    else:
        assert_bounded(dict(first.values))


def assert_bounded(values: dict[str, object]) -> None:
    for value in values.values():
        for one in (item.value for item in value) if isinstance(value, tuple) else (value,):
            if isinstance(one, Decimal):
                assert abs(one.adjusted()) <= 40
            elif type(one) is int:
                assert abs(one) < 10**41


def test_what_is_suspended_has_the_number_as_it_was_written() -> None:
    ((raw, _),) = cmcd.reading.json_elements(b'[{"ts": 1e999999999}]')
    assert json.loads(raw) == {"ts": "1e999999999"}


def test_json_that_nests_deep_is_rejected() -> None:
    for levels in (60, 990, 100_000):
        body = b'{"a":' * levels + b"1" + b"}" * levels
        with pytest.raises(Rejected):
            cmcd.read_json(body)
