"""tariffs/money.py: exact integers from what a book says, and back."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.errors import UnfitError
from tariffs.money import (
    PRICE_MICROS_MAX,
    QUANTITY_MS_MAX,
    format_micros,
    format_percent,
    half_up,
    parse_money,
    parse_percent,
    scaled,
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("12.50", 12_500_000),
        ("0", 0),
        ("-0.000001", -1),
        ("0.1", 100_000),
        ("1000000", 10**12),
        ("007.5", 7_500_000),
    ],
)
def test_money_is_read_in_micro_units(text: str, micros: int) -> None:
    assert parse_money(text) == micros


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1,50",
        "1_000",
        "+1",
        ".5",
        "5.",
        "1e3",
        "nan",
        "--1",
        "1.0000000",
        "٣",
        "1\n",
    ],
)
def test_what_is_no_plain_decimal_of_six_decimals_is_no_money(text: str) -> None:
    with pytest.raises(UnfitError):
        parse_money(text)


def test_a_number_of_five_thousand_digits_is_refused_and_not_computed() -> None:
    with pytest.raises(UnfitError, match="too large"):
        parse_money("9" * 5000)


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        (1_733_333, "1.733333"),
        (0, "0.00"),
        (-200_000, "-0.20"),
        (10**12, "1000000.00"),
        (1, "0.000001"),
    ],
)
def test_money_is_written_with_two_to_six_decimals(micros: int, text: str) -> None:
    assert format_micros(micros) == text


@given(st.integers(-(10**18), 10**18))
def test_money_survives_writing_and_reading(micros: int) -> None:
    assert parse_money(format_micros(micros)) == micros


@pytest.mark.parametrize(
    ("a", "b", "rounded"),
    [(5, 2, 3), (-5, 2, -2), (4, 3, 1), (-1, 2, 0), (7, 1, 7), (0, 9, 0)],
)
def test_halves_round_up_also_below_zero(a: int, b: int, rounded: int) -> None:
    assert half_up(a, b) == rounded


@pytest.mark.parametrize(
    ("value", "percent_micros"),
    [("25", 25_000_000), (25, 25_000_000), (Decimal("25.5"), 25_500_000), ("0.000001", 1)],
)
def test_a_percentage_is_read_in_millionths_of_a_percent(
    value: str | int | Decimal, percent_micros: int
) -> None:
    assert parse_percent(value) == percent_micros


def test_a_percentage_has_six_decimals_at_most() -> None:
    with pytest.raises(UnfitError, match="more than 6 decimals"):
        parse_percent(Decimal("0.0000001"))


@pytest.mark.parametrize(
    ("percent_micros", "text"),
    [(25_000_000, "25"), (25_500_000, "25.5"), (1, "0.000001"), (0, "0")],
)
def test_a_percentage_is_written_without_needless_zeros(percent_micros: int, text: str) -> None:
    assert format_percent(percent_micros) == text


@pytest.mark.parametrize(
    ("number", "by", "product"),
    [
        (Decimal("0.5"), 3_600_000, 1_800_000),
        (Decimal("0.1"), 1000, 100),
        (Decimal("0.0001"), 1000, None),
        (Decimal("-0.0"), 1000, 0),
        (Decimal("1.000000000000000000000000000000000"), 1000, 1000),
        (Decimal("1.000000000000000000000000000000001"), 1000, None),
        (Decimal("NaN"), 1000, None),
        (Decimal("Infinity"), 1000, None),
        (Decimal("1E+999999"), 1000, None),
        (Decimal("1E-999999"), 1000, None),
        (7, 1000, 7000),
    ],
)
def test_a_quantity_is_scaled_exactly_or_not_at_all(
    number: int | Decimal, by: int, product: int | None
) -> None:
    assert scaled(number, by) == product


def test_the_bounds_keep_every_price_in_64_bits() -> None:
    hour_ms = 3_600_000
    # The longest quantity at the highest hourly price, and a rounded remainder below an hour.
    assert QUANTITY_MS_MAX // hour_ms * PRICE_MICROS_MAX < 2**63
    assert 2 * (hour_ms - 1) * PRICE_MICROS_MAX + hour_ms < 2**63
