"""Whatever text a book is: it is loaded, or every mistake is told; never anything else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import random_world

from tariffs.examples import examples_of, expand
from tariffs.load import BookErrors, fingerprint, load_text
from tariffs.show import show

GOLDEN = Path(__file__).parents[1] / "golden"
EXAMPLE = """
[[example]]
name = "two hours"
plan = "family"
log = [{ watch = "cinema", from = 2026-03-06T17:00:00Z, to = 2026-03-06T19:00:00Z, quality = "hd" }]
charges = [{ rule = "premium-hours", watched_s = 3600, net = "3.00" }, {}]
balances = { a = "0" }
"""
BOOKS = [
    (GOLDEN / "nordic" / "nordic-2026-01.toml").read_text(encoding="utf-8") + EXAMPLE,
    (GOLDEN / "tariff_mistakes.txt").read_text(encoding="utf-8").split("\n\n")[1] + EXAMPLE,
]
SCALARS = [
    *("0", "1", "-1", "0.5", "-0.0", "1e400", "nan", "inf", "0xffffffffffffffffffffffffff"),
    *('""', '"x"', '"0.50"', '"-1"', '"1e3"', '"channel"', '"premium"', '"hour"', '"18:00"'),
    *('"\\u0000"', '"\\u2028"', "'''\n'''", "true", "07:32:00", "0001-01-01T00:00:00+14:00"),
    *("2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00"),
]
KEYS = sorted(
    {line.split(" = ")[0] for book in BOOKS for line in book.splitlines() if " = " in line}
    | {"book", "plans", "rules", "price", "tiers", "offers", "example", "bands", '""', "x.y"}
)
HEADERS = sorted({line for book in BOOKS for line in book.splitlines() if line.startswith("[")})

VALUES = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]"),
        st.lists(st.tuples(st.sampled_from(KEYS), inner), max_size=3).map(
            lambda pairs: "{ " + ", ".join(f"{key} = {value}" for key, value in pairs) + " }"
        ),
    ),
    max_leaves=5,
)
LINES = st.one_of(
    st.tuples(st.sampled_from(KEYS), VALUES).map(" = ".join),
    st.sampled_from([*HEADERS, "[plans]", "[[book]]", "[example]", "[bands.x.y]", "#"]),
    st.text(max_size=10),
)


def load(text: str) -> None:
    """Load a text, and if that goes well everything else that is done with a book."""
    try:
        book = load_text(text, "fuzz")
    except BookErrors as errors:
        assert errors.mistakes
        assert len(str(errors).splitlines()) == len(errors.mistakes)
        last = text.count("\n") + 1
        assert all(1 <= mistake.line <= last and mistake.mend for mistake in errors.mistakes)
        return
    assert show(book)
    assert fingerprint(book)
    for example in examples_of(book):
        assert expand(example)


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(BOOKS),
    st.lists(
        st.tuples(
            st.sampled_from(["drop", "put", "repeat", "value", "cut", "swap"]),
            st.integers(0, 200),
            LINES,
            VALUES,
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_a_spoiled_book_is_loaded_or_told(
    book: str, edits: list[tuple[str, int, str, str]]
) -> None:
    lines = book.splitlines()
    for edit, number, line, value in edits:
        place = number % len(lines)
        if edit == "drop":
            lines[place] = ""
        elif edit == "put":
            lines.insert(place, line)
        elif edit == "repeat":
            lines.insert(place, lines[(number * 7) % len(lines)])
        elif edit == "value":
            lines[place] = f"{lines[place].partition(' = ')[0]} = {value}"
        elif edit == "cut":
            lines[place] = lines[place][: number % 17]
        else:
            lines[place], lines[-1] = lines[-1], lines[place]
    load("\n".join(lines))


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=12).map("\n".join))
def test_any_other_text_is_loaded_or_told(text: str) -> None:
    load(text)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_a_random_book_written_as_toml_is_read_as_it_was_meant(seed: int) -> None:
    world = random_world(seed)
    for book, text in zip(world.books, world.texts, strict=True):
        loaded = load_text(text, strict=False)
        assert replace(loaded, text="", source="") == replace(book, text="", source="")
        assert fingerprint(loaded) == fingerprint(book)
