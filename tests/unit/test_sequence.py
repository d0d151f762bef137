"""A number that has come is known, in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.sequence import MISSING_MAX, Numbers, numbers_with


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(0, 60))
def test_those_that_have_come_are_those_it_has(came: list[int], asked: int) -> None:
    numbers: Numbers | None = None
    for number in came:
        numbers = numbers_with(numbers, number)
    assert (numbers is not None and numbers.has(asked)) == (asked in came)


@given(st.lists(st.integers(0, 10**15), max_size=8))
def test_a_leap_costs_little(came: list[int]) -> None:
    numbers: Numbers | None = None
    for number in came:
        numbers = numbers_with(numbers, number)
        assert numbers.has(number)
        assert len(numbers.missing) <= MISSING_MAX
