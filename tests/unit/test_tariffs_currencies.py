"""tariffs/currencies.py: money of today and of the day before, and nothing that is no money."""

from __future__ import annotations

import pytest

from tariffs.currencies import WITHDRAWN, currency, decimals_of
from tariffs.errors import UnfitError


@pytest.mark.parametrize("code", ["SEK", "EUR", "XCG", "BGN", "HRK", "ANG", "SLL", "DEM", "XAU"])
def test_a_currency_is_taken_whether_or_not_it_is_still_in_use(code: str) -> None:
    assert currency(code) == code


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("X" * 3, "is the code for no currency"),
        ("XTS", "is a code for tests"),
        ("bgn", 'such as "BGN"'),
        ("SEX", 'such as "SEK"'),
        ("", "is not an ISO 4217 currency"),
    ],
)
def test_what_is_no_money_is_refused(code: str, message: str) -> None:
    with pytest.raises(UnfitError, match=message):
        currency(code)


@pytest.mark.parametrize(
    ("code", "decimals"), [("SEK", 2), ("JPY", 0), ("KWD", 3), ("ITL", 0), ("BGN", 2), ("XAU", 2)]
)
def test_decimals_are_those_of_the_standard(code: str, decimals: int) -> None:
    assert decimals_of(code) == decimals


def test_months_of_withdrawal_are_months() -> None:
    months = [month for month, _ in WITHDRAWN.values()]
    assert all(
        len(month) == 7 and month[4] == "-" and 1 <= int(month[5:]) <= 12 for month in months
    )
    assert min(months) >= "2002-01"
