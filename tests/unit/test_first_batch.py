"""What is no usage log is known by its first records."""

from __future__ import annotations

import pytest

from ingest.adapters.doors import door_of
from ingest.json_lines import decode_lines
from rating.runtime.first_batch import malformed_rows, nearly_all_malformed, why_no_usage_log

VIEW = (
    b'{"type":"view","time":1767614400000,"account":"a","device":"d","session":"s","content":"c",'
    b'"kind":"vod","state":"playing"}\n'
)
PASSED_ON = b'{"type":"ingest.suspended","reason":"unbound","detail":"No token.","raw":"e30="}\n'


@pytest.mark.parametrize(
    ("records", "malformed", "expected"),
    [
        (0, 0, False),
        (9, 9, False),
        (10, 10, True),
        (10, 9, True),
        (10, 8, False),
        (500, 449, False),
    ],
)
def test_nine_tenths_of_at_least_ten(records: int, malformed: int, expected: bool) -> None:
    assert nearly_all_malformed(records, malformed) is expected


def test_what_a_gateway_suspended_is_not_malformed() -> None:
    batch = decode_lines(VIEW + PASSED_ON * 20 + b"[book]\n", str)
    assert len(malformed_rows(batch, None)) == 1


def test_what_another_format_could_not_read_is_malformed() -> None:
    """No gateway has passed it on: the wrong mapping suspends every line."""
    lines = b'{"some": "thing"}\n' * 20
    assert "20 of its first 20 lines" in why_no_usage_log(lines, door_of("cloudevents"))
    assert why_no_usage_log(VIEW * 20, None) == ""
