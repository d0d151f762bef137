"""tariffs/show.py: a book as a price list."""

from __future__ import annotations

from pathlib import Path

import pytest

from tariffs.load import load_text
from tariffs.show import WIDTH, show

NORDIC = Path(__file__).parents[1] / "golden" / "nordic" / "nordic-2026-01.toml"

NORDIC_SHOWN = """\
TARIFF BOOK nordic-2026-01
  In force           from Thursday 1 January 2026 01:00 (Europe/Stockholm)
  Prices             in SEK, tax included
  Tax                SE 25 %, NO 25 %, FI 25.5 %, elsewhere 0 %
  Sessions           heartbeats at most 1 minute 30 seconds apart; ended by 5 minutes of silence
                     known again for 7 days after their end
  Unknown accounts   are on the plan payg

TIME BANDS, in the local time of Europe/Stockholm
  evening   Monday to Friday, 18:00 to 23:00

PACKAGES
  basic     svt1, svt2, tv4
  premium   cinema, sport-hd

PLAN family (postpaid)
  Included at no charge:   basic
  What is watched is charged by the first of these that fits:
    premium-hours   live channels, in package premium
                    6.00 an hour up to 2 hours in a month, then 4.00 an hour
                    every minute begun counts whole; less than 10 seconds is free
    catchup         catch-up
                    9.00 for a day with any viewing
  What fits nothing here has no price and is kept in suspense.
  Free:
    welcome-half-hour   30 minutes a month, of premium-hours
  Never more than:
    premium-cap   99.00 a month, of premium-hours

PLAN payg (prepaid, no credit)
  What is watched is charged by the first of these that fits:
    evening   live channels, during evening
              12.00 an hour
    channel   live channels
              6.00 an hour
  What fits nothing here has no price and is kept in suspense.

OFFERS
  cup-final   pay-per-view, final-2026: hd 99.00, uhd 129.00
              starts Friday 6 March 2026 19:00; ends Friday 6 March 2026 23:00; may be cancelled
                before it starts
  new-film    rental, film-7: 49.00
              to be started within 30 days of the order, then watched within 48 hours; may be
                cancelled before it is first played"""

BOOK = """
[book]
id = "b"
currency = "INR"
timezone = "Asia/Kolkata"
[packages]
many = ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8", "c9"]
none = []
[[plans]]
id = "p"
mode = "prepaid"
credit_limit = "50"
"""


def test_the_nordic_book_reads_as_a_price_list() -> None:
    assert show(load_text(NORDIC.read_text(encoding="utf-8"))) == NORDIC_SHOWN


def shown(body: str) -> list[str]:
    """The lines of a book, without their indentation."""
    lines = show(load_text(BOOK + body)).splitlines()
    assert all(len(line) <= WIDTH for line in lines)
    return [line.strip() for line in lines]


@pytest.mark.parametrize(
    ("price", "per", "words"),
    [
        ('model = "flat", amount = "9"', "month", "9.00 for a month with any viewing"),
        ('model = "flat", amount = "0"', "month", "free"),
        ('model = "flat", amount = "9"', "content", "9.00 once for each content"),
        ('model = "per_unit", unit = "second", amount = "0"', "day", "free"),
        ('model = "per_unit", unit = "minute", amount = "0.1"', "day", "0.10 a minute"),
        (
            'model = "package", unit = "minute", size = 90, amount = "2"',
            "week",
            "2.00 for every 1 hour 30 minutes begun in a week",
        ),
        (
            'model = "package", unit = "hour", size = 1, amount = "2"',
            "segment",
            "2.00 for every hour begun in one viewing",
        ),
        (
            (
                'model = "graduated", unit = "hour", tiers = [{ up_to = 1, amount = "0" }, '
                '{ up_to = 2, flat = "5", amount = "1" }, { flat = "7" }]'
            ),
            "day",
            (
                "free up to 1 hour in a day, then 1.00 an hour and 5.00 once up to 2 hours, "
                "then 7.00 once"
            ),
        ),
        (
            (
                'model = "volume", unit = "hour", tiers = [{ up_to = 1, amount = "3" }, '
                '{ amount = "2" }]'
            ),
            "month",
            "all at one price: 3.00 an hour up to 1 hour in a month; 2.00 an hour beyond",
        ),
    ],
)
def test_each_price_is_told_in_words(price: str, per: str, words: str) -> None:
    lines = shown(f'[[plans.rules]]\nid = "r"\nper = "{per}"\nprice = {{ {price} }}')
    assert lines[lines.index("r   everything") + 1] == words


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ('kind = ["ppv", "radio"]', "pay-per-view or radio"),
        (
            'content = "x"\nquality = ["uhd", ""]\nregion = ["SE", "NO", ""]',
            "x, in uhd or no quality, for SE, NO or no region",
        ),
        ('package = "many"\nincrement_s = 60', "in package many"),
    ],
)
def test_conditions_are_told_in_words(conditions: str, words: str) -> None:
    rule = f'[[plans.rules]]\nid = "r"\n{conditions}\nprice = {{ model = "flat", amount = "1" }}'
    lines = shown(rule)
    assert f"r   {words}" in lines
    assert "What fits nothing here has no price and is kept in suspense." in lines


def test_a_plan_whose_last_rule_fits_all_leaves_nothing_unpriced() -> None:
    lines = shown('[[plans.rules]]\nid = "r"\nprice = { model = "flat", amount = "1" }')
    assert not any("suspense" in line for line in lines)


def test_terms_of_a_rule_are_told() -> None:
    lines = shown(
        '[[plans.rules]]\nid = "r"\ncounter = "all"\nincrement_s = 1800\nminimum_s = 0.5\n'
        'free_below_s = 61\nprice = { model = "flat", amount = "1" }'
    )
    terms = lines[lines.index("r   everything") + 2 :][:2]
    assert " ".join(terms) == (
        "counted together under all; every 30 minutes begun counts whole; at least 0.5 seconds; "
        "less than 1 minute 1 second is free"
    )


@pytest.mark.parametrize(
    ("band", "words"),
    [
        ("", "every day, all day"),
        ('days = ["sat", "sun"]', "Saturday and Sunday, all day"),
        (
            'days = ["mon", "tue", "wed", "fri"]\nto = "12:00"',
            "Monday to Wednesday and Friday, 00:00 to 12:00",
        ),
        (
            'days = ["fri"]\ndates = [2026-12-25]\nfrom = "22:00"\nto = "02:00"',
            "Friday and 25 December 2026, 22:00 to 02:00 of the next day",
        ),
        (
            "except_dates = [2026-06-19, 2026-06-20]",
            "every day (not on 19 June 2026 and 20 June 2026), all day",
        ),
    ],
)
def test_a_band_is_told_in_words(band: str, words: str) -> None:
    assert f"b   {words}" in shown(f"[bands.b]\n{band}")


def test_a_pass_its_sale_and_a_discount_are_told_in_local_time() -> None:
    lines = shown("""
    [[plans.discounts]]
    id = "d"
    percent = "12.5"
    from = 2026-01-01T00:00:00.25Z
    [[offers]]
    id = "week"
    kind = "pass"
    package = "many"
    hours = 168
    price = "10"
    sale_from = 2025-12-31T18:30:00Z
    sale_until = 2026-01-01T00:00:00Z
    """)
    assert "d   12.5 %" in lines
    assert "from Thursday 1 January 2026 05:30:00.25" in lines
    assert "week   pass, package many: 10.00" in lines
    assert "for 7 days from the order; cannot be cancelled" in lines
    assert "on sale from Thursday 1 January 2026 00:00 until Thursday 1 January 2026 05:30" in lines


def test_long_lists_are_cut_and_empty_ones_told() -> None:
    lines = shown("")
    assert "many   c1, c2, c3, c4, c5, c6, c7, c8 and 1 more" in lines
    assert "none   nothing yet" in lines
    assert "PLAN p (prepaid, down to a balance of -50.00)" in lines
    assert "Tax        none" in lines


def test_a_label_too_long_for_its_column_has_a_line_of_its_own() -> None:
    rule = "r" * 80
    lines = shown(f'[[plans.rules]]\nid = "{rule}"\nprice = {{ model = "flat", amount = "1" }}')
    assert lines[lines.index(rule) + 1] == "everything"
