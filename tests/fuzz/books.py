"""Tariff books: loaded, or refused with mistakes that each name a line; in time with their length.

Books are those of the manual and of the golden tests with lines lost, repeated, swapped and cut,
values put in the place of others, and lines repeated so often that work which grows with the square
of a book shows. Work is counted in lines of Python run, which no busy machine changes.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rating.runtime.proofs import failed_examples
from tariffs.compare import warnings
from tariffs.examples import Watch, examples_of
from tariffs.load import BookErrors, fingerprint, load_text, load_texts
from tariffs.show import show

if TYPE_CHECKING:
    from random import Random
    from types import FrameType

    from tariffs.model import Book

ROOT = Path(__file__).parents[2]
GROWN_BYTES = 20_000
GROWTH_MAX = 3  # of work, where a book doubles
BEATS_MAX = 2_000  # in the examples that are rated, for speed
LONG = "ö" * 256
VALUES = [
    *("0", "1", "-1", "31", "0.5", "-0.0", "1e-9", "1e400", "nan", "inf", "-inf", "0x" + "f" * 40),
    *("9" * 4_400, "9223372036854775807", "9223372036854775808", "-9223372036854775809", "true"),
    *('""', '"x"', '"*"', '"0.50"', '"-1"', '"1e3"', '"99999999999999999999"', '"0.0000001"'),
    *('"channel"', '"premium"', '"sport"', '"hour"', '"18:00"', '"24:00"', '"24:15"', '"prepaid"'),
    *('"SEK"', '"BGN"', '"JPY"', '"PST"', '"UTC"', '"Europe/Sofia"', '"Asia/Kathmandu"', '"now"'),
    *(f'"{LONG}"', f'"{LONG}x"', f'"{"-".join(["A"] * 256)}"', '"a|b"', '"package:x"', '"fee:x"'),
    *('"\\u0000"', '"\\u2028"', '"\\u001b[31m"', "'''\n'''", '"""\na"""', '"\U0001f4fa"'),
    *("2026-03-06", "2026-03-06T18:00:00", "2026-03-06T18:00:00Z", "07:32:00", "0001-01-01"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1999-12-31T23:59:59Z"),
    *(
        "[]",
        "{}",
        '["a", "a"]',
        "[[[[[]]]]]",
        '{ a = "1", b = 2 }',
        '[{ up_to = 1, amount = "1" }]',
    ),
]
HEADERS = ["[book]", "[[book]]", "[plans]", "[example]", "[bands.x.y]", "[tax]", "[a.b.c]", "[[a]]"]
BROKEN = ['"', "'", '"""', "[", "]", "=", "\\", "\x00", "\r", "\r\n", "\ufeff", "#", ".", ",", "{"]
KEY = re.compile(r"^ *([\w-]+) *=", re.MULTILINE)


@cache
def sound_books() -> tuple[str, ...]:
    """Books that load."""
    manual = (ROOT / "docs" / "tariff-books.md").read_text(encoding="utf-8")
    mistakes = (ROOT / "tests" / "golden" / "tariff_mistakes.txt").read_text(encoding="utf-8")
    nordic = ROOT / "tests" / "golden" / "nordic" / "nordic-2026-01.toml"
    return (
        "".join(re.findall(r"```toml\n(.*?)```", manual, re.DOTALL)),
        mistakes.split("\n\n")[1] + "\n",
        nordic.read_text(encoding="utf-8"),
    )


@cache
def keys() -> tuple[str, ...]:
    """Every key of them."""
    return tuple(sorted({key for text in sound_books() for key in KEY.findall(text)}))


def fuzz(random: Random) -> None:
    """One book, spoiled in a few places or grown large."""
    text = random.choice(sound_books())
    if random.random() < 0.02:
        once, twice = grown(text, random)
        work, more_work = lines_run(once), lines_run(twice)
        assert more_work < GROWTH_MAX * work, f"{work:,} lines grew to {more_work:,}"
        return
    for _ in range(random.choice((0, 1, 1, 1, 2, 4, 8))):
        text = spoiled(text, random)
    check(text, random)


def spoiled(text: str, random: Random) -> str:
    """Change one place of a book."""
    lines = text.split("\n")
    place = random.randrange(len(lines))
    kind = random.randrange(9)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, random.choice(lines))
    elif kind == 2:
        other = random.randrange(len(lines))
        lines[place], lines[other] = lines[other], lines[place]
    elif kind == 3:
        lines.insert(place, f"{random.choice(keys())} = {random.choice(VALUES)}")
    elif kind == 4:
        lines.insert(place, random.choice(HEADERS))
    elif kind == 5:
        lines[place] = lines[place][: random.randint(0, len(lines[place]))]
    elif kind == 6:
        at = random.randint(0, len(lines[place]))
        lines[place] = lines[place][:at] + random.choice(BROKEN) + lines[place][at:]
    else:
        # One value, also within a list or an inline table.
        parts = re.split(r'("[^"]*"|\b\d[\w.:-]*)', lines[place])
        if len(parts) > 1:
            parts[random.randrange(1, len(parts), 2)] = random.choice(VALUES)
        lines[place] = "".join(parts)
    return "\n".join(lines)


def grown(text: str, random: Random) -> tuple[str, str]:
    """Repeat some lines of a book, often and twice as often, with or without other ids each time."""
    lines = text.split("\n")
    first = random.randrange(len(lines))
    block = "\n".join(lines[first : first + random.choice((1, 1, 2, 4, 10, 30))]) + "\n"
    times = GROWN_BYTES // len(block)
    if random.random() < 0.5:
        block = re.sub(r'"(?=[^"]*$)', '~"', block, flags=re.MULTILINE)
    if random.random() < 0.2:
        block = block.strip().replace("\n", ".") + random.choice((".", "[", "{a=", '"', "'"))
    head, tail = "\n".join(lines[:first]) + "\n", "\n".join(lines[first:])
    repeated = [block.replace("~", str(number)) for number in range(2 * times)]
    return head + "".join(repeated[:times]) + tail, head + "".join(repeated) + tail


def lines_run(text: str) -> int:
    """Load a text, and count the lines of Python that ran for it."""
    count = 0

    def counted(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        del frame, argument
        count += event == "line"
        return counted

    before = sys.gettrace()
    sys.settrace(counted)
    try:
        load_text(text, "fuzz")
    except BookErrors as errors:
        sys.settrace(before)
        check_mistakes(errors, text)
    finally:
        sys.settrace(before)
    return count


def check(text: str, random: Random) -> None:
    """Load a text, and if that goes well do everything else that is done with a book."""
    try:
        book = load_text(text, "fuzz", strict=random.random() < 0.5)
    except BookErrors as errors:
        check_mistakes(errors, text)
        return
    assert show(book)
    assert len(fingerprint(book)) == 64
    check_beside_another(book, random)
    beats = sum(
        (entry.to_ms - entry.from_ms) // entry.step_ms if isinstance(entry, Watch) else 1
        for example in examples_of(book)
        for entry in example.log
    )
    if beats <= BEATS_MAX:
        examples, failed = failed_examples(book)
        assert all(str(mistake) for mistakes in failed for mistake in mistakes)
        assert len(failed) <= examples


def check_mistakes(errors: BookErrors, text: str) -> None:
    """Each mistake is one line of text, and names a line of the book and how to mend it."""
    assert errors.mistakes
    assert len(str(errors).split("\n")) == len(errors.mistakes)
    last = text.count("\n") + 1
    for mistake in errors.mistakes:
        assert 1 <= mistake.line <= last, mistake
        assert mistake.file == "fuzz"
        assert mistake.what
        assert mistake.mend
        assert str(mistake).isprintable(), repr(str(mistake))


def check_beside_another(book: Book, random: Random) -> None:
    """Hold a book against a sound one: they load together, or not; what got lost is said."""
    try:
        together = load_texts(
            [(book.text, "fuzz"), (random.choice(sound_books()), "fuzz")], strict=False
        )
    except BookErrors as errors:
        assert errors.mistakes
        return
    assert all(str(warning).isprintable() for warning in warnings(together))
