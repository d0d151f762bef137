"""Every mistake that a book can hold, in the words in which its author hears of it.

tests/golden/tariff_mistakes.txt holds most of them. Together they hold tariffs/errors.py,
tariffs/reading.py, tariffs/values.py and the readers through tariffs/load.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tariffs.errors import QUOTED_CHARACTERS_MAX, BookErrors, Mistake, quote
from tariffs.load import load_text

GOLDEN = Path(__file__).parents[1] / "golden" / "tariff_mistakes.txt"
_, BOOK, *BLOCKS = GOLDEN.read_text(encoding="utf-8").split("\n\n")
BOOK += "\n"
HEAD = BOOK.partition("[[plans]]")[0].replace("default_plan", "# default_plan")


def parted(block: str) -> tuple[str, str, list[str]]:
    """The old lines, the new lines and the messages of a block."""
    lines = block.strip().splitlines()
    old, new, messages = ([line[2:] for line in lines if line[0] == mark] for mark in "-+=")
    assert len(old) + len(new) + len(messages) == len(lines)
    return "".join(f"{line}\n" for line in old), "".join(f"{line}\n" for line in new), messages


def mistakes_of(text: str) -> list[str]:
    with pytest.raises(BookErrors) as caught:
        load_text(text, "b")
    return [line.removeprefix("b:") for line in str(caught.value).splitlines()]


def test_the_book_is_sound_before_it_is_spoiled() -> None:
    load_text(BOOK)


@pytest.mark.parametrize("block", BLOCKS)
def test_each_mistake_is_told_with_its_line_and_how_to_mend_it(block: str) -> None:
    old, new, messages = parted(block)
    assert BOOK.count(old) == 1
    assert mistakes_of(BOOK.replace(old, new)) == messages


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    text = BOOK
    expected = []
    for block in BLOCKS:
        old, new, messages = parted(block)
        # Blocks of one line leave the line numbers of the others alone, and of those that change
        # the same line the first one wins. Ids stand in the messages of others, and without its
        # kind little can be said of an offer.
        is_alone = old.count("\n") == new.count("\n") == len(messages) == 1
        if is_alone and old in text and not old.startswith(("id", "kind")):
            text = text.replace(old, new)
            expected += messages
    assert len(expected) > 10
    told = mistakes_of(text)
    assert set(expected) <= set(told)
    assert [int(line.partition(":")[0]) for line in told] == sorted(
        int(line.partition(":")[0]) for line in told
    )


def test_a_book_without_plans_is_a_mistake() -> None:
    assert mistakes_of(HEAD) == [
        "1: there is no plan; add [[plans]] with id, mode and [[plans.rules]]"
    ]


def test_single_brackets_where_an_array_is_meant_are_told() -> None:
    found = mistakes_of(HEAD + '[plans]\nid = "p"\n')
    assert found == ["20: `plans` is a table, not a list of tables; write [[plans]]"]


def test_a_missing_head_asks_for_each_of_its_keys() -> None:
    found = mistakes_of('[[plans]]\nid = "p"\nmode = "postpaid"\n')
    assert [line.split(";")[0] for line in found] == [
        "1: [book]: `id` is missing",
        "1: [book]: `currency` is missing",
        "1: [book]: `timezone` is missing",
    ]


def test_a_head_that_is_no_table_is_one_mistake_only() -> None:
    found = mistakes_of('book = 1\n[[plans]]\nid = "p"\nmode = "postpaid"\n')
    assert found == ["1: `book` is the whole number 1, not a table; write [book]"]


def test_a_rule_with_one_mistake_is_still_checked_in_all_else() -> None:
    text = BOOK.replace("increment_s = 60", "increment_s = 0\nkind = []").replace(
        'model = "package", unit = "minute", size = 30', 'model = "package", size = 30'
    )
    assert [line.split(": ")[-1].split(";")[0] for line in mistakes_of(text)] == [
        "`increment_s` is 0",
        "`kind` is an empty list, which nothing fulfils",
        "`unit` is missing",
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        *("0xffffffffffffffffffffffffffffffff", "1e30000", "-inf", "nan", "true", "[]", "{}"),
        *("2026-01-01", "07:32:00", "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "[[1]]"),
        *('""', "'\t'"),
    ],
)
def test_no_key_takes_just_any_value(wrong: str) -> None:
    """Every key of the book, in turn, with a value that most have no use for."""
    for number, line in enumerate(BOOK.splitlines()):
        if "=" in line:
            lines = BOOK.splitlines()
            lines[number] = f"{line.partition(' = ')[0]} = {wrong}"
            try:
                load_text("\n".join(lines))
            except BookErrors as errors:
                assert all(mistake.mend for mistake in errors.mistakes)


def test_a_message_stays_on_one_line_whatever_the_name() -> None:
    nasty = 'a\u2028b\u0085c\nd"e\\f'
    assert quote(nasty) == '"a\\u2028b\\x85c\\nd\\"e\\\\f"'
    assert quote("x" * 100) == '"' + "x" * QUOTED_CHARACTERS_MAX + '…"'
    (found,) = mistakes_of(BOOK.replace('"prepaid"', '"pre\\u2028paid"'))
    assert found.startswith('22: [[plans]] "family": `mode` "pre\\u2028paid"')


def test_a_text_is_as_long_as_those_of_usage_records_at_most() -> None:
    longest = "ö" * 256
    load_text(BOOK.replace('id = "second"', f'id = "{longest}"'))
    (found,) = mistakes_of(BOOK.replace('id = "second"', f'id = "{longest}x"'))
    shown = "ö" * QUOTED_CHARACTERS_MAX
    assert found.endswith(f': `id` "{shown}…" has 513 bytes of UTF-8; use at most 512')


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (f"\n{'.'.join(['a'] * 80_000)} = 1", "2: a key has more than 64 parts"),
        (
            "\n\n[" + """ . 'a b' . "c" . """.join(["a"] * 40) + "]",
            "3: a key has more than 64 parts",
        ),
        ("#" * (64 * 1024 * 1024 + 1), "1: the file is larger than 64 MiB"),
    ],
    ids=["dotted", "header", "large"],
)
def test_what_takes_longer_to_read_than_it_is_long_is_not_read(text: str, what: str) -> None:
    (found,) = mistakes_of(text)
    assert found.split(";")[0] == what


def test_after_a_hundred_unknown_names_no_more_are_looked_for() -> None:
    rules = "".join(f'[[plans.rules]]\nid = "r{n}"\npackage = "basix"\n' for n in range(101))
    text = HEAD + '[[plans]]\nid = "p"\nmode = "prepaid"\n' + rules
    told = [line for line in mistakes_of(text) if "basix" in line]
    assert len(told) == 101
    assert told[99].endswith('which does not exist; did you mean "basic"?')
    assert told[100].endswith('which does not exist; use one of "basic", "premium"')


def test_a_mistake_outside_all_tables_names_none() -> None:
    assert str(Mistake("f", 3, "", "this", "do that")) == "f:3: this; do that"
