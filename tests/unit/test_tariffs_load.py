"""tariffs/load.py with tariffs/read_book.py, read_plans.py, read_offers.py: sound books."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tariffs.load import BookErrors, fingerprint, load_books, load_text
from tariffs.model import (
    EVER_MS,
    NEVER_MS,
    Allowance,
    Band,
    Book,
    Cap,
    Discount,
    Offer,
    Plan,
    Price,
    Rule,
    Tier,
)

NORDIC = Path(__file__).parents[1] / "golden" / "nordic" / "nordic-2026-01.toml"
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
JANUARY_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z

SMALL = """
[book]
id = "small"
currency = "SEK"
timezone = "UTC"
[[plans]]
id = "basic"
mode = "postpaid"
"""


HOURLY = Price("per_unit", 6_000_000, HOUR_MS)
NORDIC_BOOK = Book(
    id="nordic-2026-01",
    currency="SEK",
    timezone="Europe/Stockholm",
    effective_from_ms=JANUARY_MS,
    prices_include_tax=True,
    default_plan="payg",
    tax=(("SE", 25_000_000), ("NO", 25_000_000), ("FI", 25_500_000), ("*", 0)),
    bands=(Band("evening", frozenset(range(5)), frozenset(), frozenset(), 18 * 60, 23 * 60),),
    packages=(("basic", ("svt1", "svt2", "tv4")), ("premium", ("cinema", "sport-hd"))),
    plans=(
        Plan(
            "family",
            "postpaid",
            includes=("basic",),
            rules=(
                Rule(
                    "premium-hours",
                    Price(
                        "graduated",
                        tiers=(Tier(2 * HOUR_MS, 6_000_000), Tier(None, 4_000_000)),
                    ),
                    kind=("channel",),
                    package=("premium",),
                    per="month",
                    counter="premium-hours",
                    increment_ms=60_000,
                    free_below_ms=10_000,
                ),
                Rule(
                    "catchup",
                    Price("flat", 9_000_000),
                    kind=("catchup",),
                    per="day",
                    counter="catchup",
                ),
            ),
            allowances=(Allowance("welcome-half-hour", 1_800_000, "month", ("premium-hours",)),),
            caps=(Cap("premium-cap", 99_000_000, "month", ("premium-hours",)),),
        ),
        Plan(
            "payg",
            "prepaid",
            rules=(
                Rule(
                    "evening",
                    replace(HOURLY, amount_micros=12_000_000),
                    kind=("channel",),
                    band=("evening",),
                    counter="evening",
                ),
                Rule("channel", HOURLY, kind=("channel",), counter="channel"),
            ),
        ),
    ),
    offers=(
        Offer(
            "cup-final",
            "ppv",
            (("hd", 99_000_000), ("uhd", 129_000_000)),
            content=("final-2026",),
            starts_ms=1_772_820_000_000,  # 2026-03-06T18:00:00Z
            ends_ms=1_772_834_400_000,
            cancel="before_start",
        ),
        Offer(
            "new-film",
            "rental",
            ((None, 49_000_000),),
            content=("film-7",),
            cancel="before_play",
        ),
    ),
)


def test_the_nordic_book_is_read_to_the_last_field() -> None:
    text = NORDIC.read_text(encoding="utf-8")
    assert load_books([NORDIC]) == (replace(NORDIC_BOOK, text=text, source=str(NORDIC)),)


def test_what_a_book_leaves_out_has_the_defaults_of_the_spec() -> None:
    book = load_text(SMALL, "here")
    assert book == Book(
        id="small",
        currency="SEK",
        timezone="UTC",
        effective_from_ms=EVER_MS,
        prices_include_tax=False,
        default_plan=None,
        heartbeat_timeout_ms=90_000,
        idle_ms=300_000,
        plans=(Plan("basic", "postpaid"),),
        text=SMALL,
        source="here",
    )


def test_every_key_of_a_rule_is_read() -> None:
    book = load_text(
        SMALL
        + """
        [[plans.rules]]
        id = "all"
        kind = "channel"
        content = ["c1", "c2"]
        package = "p"
        quality = ["", "uhd"]
        region = ["SE", "NO-03"]
        band = "night"
        per = "content"
        counter = "shared"
        increment_s = 0.25
        minimum_s = 120
        free_below_s = 10
        price = { model = "package", unit = "minute", size = 30, amount = "2.00" }
        [packages]
        p = ["c1"]
        [bands.night]
        """
    )
    assert book.plans[0].rules == (
        Rule(
            id="all",
            kind=("channel",),
            content=("c1", "c2"),
            package=("p",),
            quality=("", "uhd"),
            region=("SE", "NO-03"),
            band=("night",),
            per="content",
            counter="shared",
            increment_ms=250,
            minimum_ms=120_000,
            free_below_ms=10_000,
            price=Price("package", 2_000_000, 60_000, 1_800_000),
        ),
    )


@pytest.mark.parametrize(
    ("keys", "band"),
    [
        ("", (range(7), (), (), 0, 1440)),
        ('from = "18:00"\nto = "23:15"', (range(7), (), (), 1080, 1395)),
        ('from = "22:00"\nto = "02:00"', (range(7), (), (), 1320, 1560)),
        ('from = "06:00"\nto = "06:00"', (range(7), (), (), 360, 1800)),
        ('from = "06:00"\nto = "00:00"', (range(7), (), (), 360, 1440)),
        ('from = "06:00"\nto = "24:00"', (range(7), (), (), 360, 1440)),
        ('days = ["sun", "mon"]', ((0, 6), (), (), 0, 1440)),
        ("days = []\ndates = [2026-12-25]", ((), (date(2026, 12, 25),), (), 0, 1440)),
        ("except_dates = [2026-06-19]", (range(7), (), (date(2026, 6, 19),), 0, 1440)),
    ],
)
def test_a_band_is_days_dates_and_minutes(keys: str, band: tuple[object, ...]) -> None:
    days, dates, except_dates, from_minute, to_minute = band
    (found,) = load_text(f"{SMALL}\n[bands.b]\n{keys}").bands
    assert found == Band(
        "b",
        frozenset(days),  # type: ignore[call-overload]
        frozenset(dates),  # type: ignore[call-overload]
        frozenset(except_dates),  # type: ignore[call-overload]
        from_minute,  # type: ignore[arg-type]
        to_minute,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        ('model = "flat", amount = "9"', Price("flat", 9_000_000)),
        ('model = "per_unit", amount = "0.000001", unit = "second"', Price("per_unit", 1, 1000)),
        (
            'model = "volume", unit = "minute", tiers = [{ up_to = 1.5, flat = "1" }, { amount = "0" }]',
            Price("volume", 0, 60_000, 0, (Tier(90_000, 0, 1_000_000), Tier(None))),
        ),
        (
            'model = "graduated", unit = "hour", tiers = [{ amount = "1" }]',
            Price("graduated", 0, HOUR_MS, 0, (Tier(None, 1_000_000),)),
        ),
    ],
)
def test_each_price_model_is_read(price: str, expected: Price) -> None:
    book = load_text(f'{SMALL}\n[[plans.rules]]\nid = "r"\nprice = {{ {price} }}')
    assert book.plans[0].rules[0].price == expected


def test_steps_after_the_price_are_read_with_their_defaults() -> None:
    book = load_text(
        SMALL
        + """
        [[plans.rules]]
        id = "r"
        price = { model = "flat", amount = "1" }
        [[plans.allowances]]
        id = "a"
        quantity = 0.5
        unit = "minute"
        [[plans.discounts]]
        id = "d"
        percent = 12.5
        from = 2026-01-01T01:00:00+01:00
        rules = ["r"]
        [[plans.discounts]]
        id = "all of it"
        percent = "100"
        [[plans.caps]]
        id = "c"
        amount = "1000000000"
        per = "week"
        """
    )
    (plan,) = book.plans
    assert plan.allowances == (Allowance("a", 30_000, "month", None),)
    assert plan.discounts == (
        Discount("d", 12_500_000, ("r",), JANUARY_MS, NEVER_MS),
        Discount("all of it", 100_000_000, None, EVER_MS, NEVER_MS),
    )
    assert plan.caps == (Cap("c", 10**15, "week", None),)


def test_each_kind_of_offer_is_read() -> None:
    book = load_text(
        SMALL
        + """
        [packages]
        films = ["f1"]
        [[offers]]
        id = "open-end"
        kind = "ppv"
        content = ["e1"]
        price = "0"
        [[offers]]
        id = "rent"
        kind = "rental"
        content = ["f1", "f2"]
        price = { "" = "1", uhd = "2" }
        start_within_h = 24
        watch_within_h = 0.5
        sale_from = 2026-01-01T00:00:00Z
        sale_until = 2026-01-02T00:00:00.0019Z
        [[offers]]
        id = "keep"
        kind = "est"
        content = ["f1"]
        price = "99"
        starts = 2026-01-01T00:00:00Z
        cancel = "before_start"
        [[offers]]
        id = "day"
        kind = "pass"
        package = "films"
        price = "49"
        hours = 24
        """
    )
    assert book.offers == (
        Offer("open-end", "ppv", ((None, 0),), content=("e1",)),
        Offer(
            "rent",
            "rental",
            (("", 1_000_000), ("uhd", 2_000_000)),
            content=("f1", "f2"),
            start_within_ms=DAY_MS,
            watch_within_ms=1_800_000,
            sale_from_ms=JANUARY_MS,
            sale_until_ms=JANUARY_MS + DAY_MS + 1,
        ),
        Offer(
            "keep",
            "est",
            ((None, 99_000_000),),
            content=("f1",),
            starts_ms=JANUARY_MS,
            cancel="before_start",
        ),
        Offer("day", "pass", ((None, 49_000_000),), package="films", duration_ms=DAY_MS),
    )


def test_one_rule_id_may_stand_in_two_plans() -> None:
    rule = '[[plans.rules]]\nid = "r"\nprice = { model = "flat", amount = "1" }\n'
    book = load_text(f'{SMALL}{rule}[[plans]]\nid = "other"\nmode = "prepaid"\n{rule}')
    assert [plan.rules[0].id for plan in book.plans] == ["r", "r"]


def test_a_byte_order_mark_and_dos_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "book.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SMALL.replace("\n", "\r\n").encode())
    assert load_books([path])[0].plans == load_text("\ufeff" + SMALL).plans


def book_file(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def version(number: int, start: str = "") -> str:
    effective = f"effective_from = {start}" if start else ""
    return SMALL.replace('id = "small"', f'id = "small-{number}"\n{effective}')


def test_books_come_in_the_order_in_which_they_come_into_force(tmp_path: Path) -> None:
    paths = [
        book_file(tmp_path, "b.toml", version(2, "2026-07-01T00:00:00Z")),
        book_file(tmp_path, "c.toml", version(3, "2027-01-01T00:00:00+01:00")),
        book_file(tmp_path, "a.toml", version(1).replace("SEK", "EUR")),
    ]
    assert [book.id for book in load_books(paths)] == ["small-1", "small-2", "small-3"]


def test_books_that_cannot_be_told_apart_are_mistakes_of_the_later_file(tmp_path: Path) -> None:
    first = book_file(tmp_path, "1.toml", version(1, "2026-07-01T00:00:00Z"))
    second = book_file(tmp_path, "2.toml", version(1, "2026-07-01T02:00:00+02:00"))
    with pytest.raises(BookErrors) as caught:
        load_books([first, second])
    assert str(caught.value).splitlines() == [
        (
            f'{second}:3: [book]: the id "small-1" is also that of {first}; '
            "give every version an id of its own"
        ),
        (
            f"{second}:4: [book]: it comes into force at the same instant, and so does {first}; "
            "give each book an `effective_from` of its own; one may have none"
        ),
    ]


def test_the_same_file_twice_is_a_mistake(tmp_path: Path) -> None:
    path = str(book_file(tmp_path, "1.toml", SMALL))
    with pytest.raises(BookErrors, match="is also that of"):
        load_books([path, path])


def test_mistakes_of_all_files_come_at_once(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes("# en\n# två".encode("latin-1"))
    paths = [
        book_file(tmp_path, "empty.toml", ""),
        latin,
        tmp_path / "absent.toml",
        tmp_path,
        book_file(tmp_path, "syntax.toml", "[book]\nid = nordic\n"),
        book_file(tmp_path, "cut.toml", '[book]\nid = "nordic'),
        book_file(tmp_path, "deep.toml", f"x = {'[' * 5000}"),
        book_file(tmp_path, "long.toml", f"x = {'9' * 5000}"),
        book_file(tmp_path, "typed.toml", SMALL.replace("SEK", "SKE")),
    ]
    with pytest.raises(BookErrors) as caught:
        load_books(paths)
    found = [(Path(m.file).name, m.line, m.what) for m in caught.value.mistakes]
    assert found == [
        ("empty.toml", 1, "the file has no tables"),
        ("latin.toml", 2, "the text is not UTF-8"),
        ("absent.toml", 1, f"the file cannot be read ({os.strerror(2)})"),
        (tmp_path.name, 1, f"the file cannot be read ({os.strerror(21)})"),
        ("syntax.toml", 2, "not TOML: Invalid value"),
        ("cut.toml", 2, found[5][2]),
        ("deep.toml", 1, "lists or tables are nested too deeply"),
        ("long.toml", 1, "a number is too long to be read"),
        ("typed.toml", 4, '`currency` "SKE" is not an ISO 4217 currency'),
    ]


@pytest.mark.parametrize(("opening", "closing", "least"), [("[", "]", 420), ("{ x = ", " }", 270)])
def test_every_depth_of_nesting_is_told_in_one_way_or_another(
    opening: str, closing: str, least: int
) -> None:
    """Also where the parser just bears the depth and what looks for the line no longer does."""
    for depth in range(least, least + 80):
        with pytest.raises(BookErrors, match=r"nested too deeply|unknown key \"deep\""):
            load_text(f"deep = {opening * depth}1{closing * depth}\n{SMALL}")


def test_a_path_that_no_file_can_have_is_a_mistake() -> None:
    with pytest.raises(BookErrors, match="cannot be read"):
        load_books(["nul\0.toml"])


def test_no_book_at_all_is_a_mistake() -> None:
    with pytest.raises(BookErrors, match="no tariff book was given"):
        load_books([])


def test_mistakes_are_also_json() -> None:
    with pytest.raises(BookErrors) as caught:
        load_text(SMALL.replace('"postpaid"', "1"), "b.toml")
    assert caught.value.as_json() == [
        {
            "file": "b.toml",
            "line": 8,
            "table": '[[plans]] "basic"',
            "what": "`mode` is the whole number 1, not a text",
            "mend": 'write it in quotes: "…"',
        }
    ]


# --- fingerprints --------------------------------------------------------------------------------

RICH = NORDIC.read_text(encoding="utf-8")


def test_layout_comments_order_of_keys_and_examples_leave_the_fingerprint_alone() -> None:
    changed = RICH.replace('SE = "25"\nNO = "25"', 'NO = 25.0 # here first\n"SE" = "25.000"')
    changed = changed.replace('["svt1", "svt2", "tv4"]', "[\n'tv4', 'svt2', 'svt1', 'svt1',\n]")
    changed = changed.replace('kind = "channel"', 'kind = ["channel"]')
    changed = changed.replace("[session]\nheartbeat_timeout_s = 90\nidle_s = 300\n", "")
    plans, offers = changed.split("[[offers]]", 1)
    one, other = offers.split("[[offers]]")
    changed = f"{plans}\n[[offers]]{other}\n[[offers]]{one}"
    assert changed != RICH
    assert fingerprint(load_text(changed, "elsewhere")) == fingerprint(load_text(RICH))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"6.00" }, { amount', '"6.01" }, { amount'),
        ('to = "23:00"', 'to = "23:15"'),
        ('FI = "25.5"', 'FI = "25.500001"'),
        ('content = ["film-7"]', 'content = ["film-8"]'),
        ("default_plan", "# default_plan"),
        ('price = "49.00"', 'price = { "" = "49.00" }'),
        ("prices_include_tax = true", "prices_include_tax = false"),
    ],
)
def test_whatever_moves_a_charge_moves_the_fingerprint(old: str, new: str) -> None:
    assert old in RICH
    assert fingerprint(load_text(RICH.replace(old, new))) != fingerprint(load_text(RICH))


def test_the_order_of_rules_and_of_included_packages_counts() -> None:
    def book(rules: str, includes: str) -> Book:
        text = SMALL + f"includes = {includes}\n"
        for rule, kind in zip(rules, ("channel", "vod"), strict=True):
            price = '{ model = "flat", amount = "1" }'
            text += f'[[plans.rules]]\nid = "{rule}"\nkind = "{kind}"\nprice = {price}\n'
        return load_text(text + '[packages]\np = ["c1"]\nq = ["c1"]\n')

    ids = {
        fingerprint(book(rules, includes))
        for rules in ("ab", "ba")
        for includes in ('["p", "q"]', '["q", "p"]')
    }
    assert len(ids) == 4


def test_the_fingerprint_is_the_same_in_every_version_of_this_program() -> None:
    digest = "96b2ffc881bd0950adfe18cafe6a24facf8d37362488a7364ab9a424c1407037"
    assert fingerprint(load_text(RICH)) == digest
