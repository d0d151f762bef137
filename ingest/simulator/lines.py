"""Rows as lines of JSON, byte by byte.

A line is written straight into the output buffer from ready-made pieces; only numbers are
spelled out. Nothing here decides anything but what damage looks like.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.simulator import rows
from ingest.simulator.chance import mix
from rating.jit import jit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LINE_BYTES_MOST = 400
HOUSEHOLD_DIGITS = 7


def piece(text: str) -> NDArray[np.uint8]:
    """A text as bytes that compiled code can copy."""
    return np.frombuffer(text.encode("ascii"), dtype=np.uint8)


def pieces(texts: Sequence[str]) -> NDArray[np.uint8]:
    """Texts as the rows of a table: a length, then the bytes."""
    table = np.zeros((len(texts), 1 + max(map(len, texts))), dtype=np.uint8)
    for row, text in zip(table, texts, strict=True):
        row[0] = len(text)
        row[1 : 1 + len(text)] = piece(text)
    return table


TYPES = pieces(
    [
        '{"type":"view","time":',
        '{"type":"account.open","time":',
        '{"type":"account.subscribe","time":',
        '{"type":"account.unsubscribe","time":',
        '{"type":"balance.topup","time":',
        '{"type":"order.purchase","time":',
        '{"type":"order.purchase","time":',
        '{"type":"order.purchase","time":',
        '{"type":"order.cancel","time":',
    ]
)
ID_LETTERS = piece("....terpc")  # by type, from TOPUP on
RECEIVED = piece(',"received":')
ACCOUNT = piece(',"account":"acct-')
DEVICE = piece('","device":"stb-')
SESSION = piece('","session":"s-')
CONTENT = piece('","content":"')
PLAYHEAD = piece(',"playhead_ms":')
RATE = piece(',"rate":')
PLAN = piece('","plan":"')
REGION = piece('","region":"')
BILL_DAY = piece('","bill_day":')
PACKAGE = piece('","package":"')
ID = piece('","id":"')
AMOUNT = piece('","amount":"')
CURRENCY = piece('.00","currency":"SEK"}\n')
OFFER = piece('","offer":"')
QUALITY = piece('","quality":"')
ORDER = piece('","order":"e-')
END = piece("}\n")
TEXT_END = piece('"}\n')
SHOWN = pieces(  # by kind, quality and state
    [
        f'","kind":"{kind}","quality":"{quality}","state":"{state}"'
        for kind in rows.KINDS
        for quality in rows.QUALITIES
        for state in rows.STATES
    ]
)
QUALITIES = pieces(rows.QUALITIES)
NO_TIME = piece('"noon"')
JUNK_FIRST = 0x80  # no UTF-8 text begins with this byte
LINE_FEED = 10
CARRIAGE_RETURN = 13
MINUS = 45
LETTER_X = 120
TYPE_AT = 9  # where a line has the first letter of its type
ZERO = np.uint64(48)
ONE = np.uint64(1)
TEN = np.uint64(10)
FIRST_13_DIGITS = 10**12


# Positions are unsigned where bytes are copied: a signed index may count from the end, and the
# question whether it does makes copying ten times slower.


@jit
def put(out: NDArray[np.uint8], at: int, text: NDArray[np.uint8]) -> int:
    """Copy a text; returns where the next one goes."""
    place = np.uint64(at)
    for index in range(np.uint64(len(text))):
        out[place + index] = text[index]
    return at + len(text)


@jit
def put_row(out: NDArray[np.uint8], at: int, table: NDArray[np.uint8], row: int) -> int:
    """Copy a text of a table."""
    text = table[row]
    place = np.uint64(at)
    for index in range(np.uint64(text[0])):
        out[place + index] = text[index + ONE]
    return at + int(text[0])


@jit
def put_digits(out: NDArray[np.uint8], at: int, number: Any, digits: int) -> int:
    """Write the last digits of a whole number, with leading zeros."""
    rest = np.uint64(number)
    place = np.uint64(at + digits)
    for _ in range(digits):
        place -= ONE
        above = rest // TEN
        out[place] = ZERO + rest - above * TEN
        rest = above
    return at + digits


@jit
def put_number(out: NDArray[np.uint8], at: int, number: Any) -> int:
    """Write a whole number."""
    if FIRST_13_DIGITS <= number < 10 * FIRST_13_DIGITS:  # a time: most numbers are
        return put_digits(out, at, number, 13)
    if number < 0:
        out[at] = MINUS
        return put_number(out, at + 1, -number)
    digits = 1
    above = number // 10
    while above > 0:
        digits += 1
        above //= 10
    return put_digits(out, at, number, digits)


@jit
def put_numbered(out: NDArray[np.uint8], at: int, household: Any, number: Any) -> int:
    """Write a household's number and one of its own: "0000017-3"."""
    at = put_digits(out, at, household, HOUSEHOLD_DIGITS)
    out[at] = MINUS
    return put_number(out, at + 1, np.int64(number))


@jit
def put_view(out: NDArray[np.uint8], at: int, row: Any, names: NDArray[np.uint8]) -> int:
    """What a view record holds beside its type, times and account."""
    at = put_numbered(out, put(out, at, DEVICE), row.household, row.ordinal)
    at = put_numbered(out, put(out, at, SESSION), row.household, row.number)
    at = put_row(out, put(out, at, CONTENT), names, row.subject)
    at = put_row(out, at, SHOWN, (row.kind * 3 + row.quality) * 6 + row.state)
    if row.has_playhead:
        at = put_number(out, put(out, at, PLAYHEAD), row.amount)
    if row.rate != 1:
        at = put_number(out, put(out, at, RATE), np.int64(row.rate))
    return put(out, at, END)


@jit
def put_opening(out: NDArray[np.uint8], at: int, row: Any, names: NDArray[np.uint8]) -> int:
    """What an account.open holds beside its type, times and account."""
    at = put_row(out, put(out, at, PLAN), names, row.subject)
    at = put_row(out, put(out, at, REGION), names, row.region)
    at = put_number(out, put(out, at, BILL_DAY), row.amount)
    return put(out, at, END)


@jit
def put_identified(out: NDArray[np.uint8], at: int, row: Any, names: NDArray[np.uint8]) -> int:
    """What a top-up, an order or a cancellation holds beside its type, times and account."""
    if row.ordinal > 0:
        at = put_numbered(out, put(out, at, DEVICE), row.household, row.ordinal)
    at = put(out, at, ID)
    out[at] = ID_LETTERS[row.type]
    out[at + 1] = MINUS
    at = put_numbered(out, at + 2, row.household, row.number)
    if row.type == rows.TOPUP:
        return put(out, put_number(out, put(out, at, AMOUNT), row.amount), CURRENCY)
    if row.type == rows.CANCEL:
        at = put_numbered(out, put(out, at, ORDER), row.household, row.number)
        return put(out, at, TEXT_END)
    at = put_row(out, put(out, at, OFFER), names, row.subject)
    at = put_row(out, put(out, at, QUALITY), QUALITIES, row.quality)
    return put(out, at, TEXT_END)


@jit
def put_record(out: NDArray[np.uint8], at: int, row: Any, names: NDArray[np.uint8]) -> int:
    """One record, with its line end."""
    at = put_row(out, at, TYPES, row.type)
    mistyped = row.damage == rows.MISTYPED
    at = put(out, at, NO_TIME) if mistyped else put_number(out, at, row.time_ms)
    at = put_number(out, put(out, at, RECEIVED), row.received_ms)
    at = put_digits(out, put(out, at, ACCOUNT), row.household, HOUSEHOLD_DIGITS)
    if row.type == rows.VIEW:
        return put_view(out, at, row, names)
    if row.type == rows.OPEN:
        return put_opening(out, at, row, names)
    if row.type >= rows.TOPUP:
        return put_identified(out, at, row, names)
    at = put_row(out, put(out, at, PACKAGE), names, row.subject)
    return put(out, at, TEXT_END)


@jit
def damage(out: NDArray[np.uint8], begin: int, end: int, row: Any) -> int:
    """Spoil the line from `begin` to `end`; returns where it ends now."""
    if row.damage == rows.UNKNOWN_TYPE:
        out[begin + TYPE_AT] = LETTER_X
    elif row.damage == rows.CUT_OFF:
        end = begin + 2 + row.damage_at % (end - begin - 4)
        out[end - 1] = LINE_FEED
    elif row.damage == rows.JUNK:
        out[begin] = JUNK_FIRST
        end = begin + 2 + row.damage_at % 64
        bits = np.uint64(row.damage_at)
        for place in range(begin + 1, end - 1):
            bits = mix(bits)
            out[place] = bits & np.uint64(0xFF)
            if out[place] in (LINE_FEED, CARRIAGE_RETURN):
                out[place] = JUNK_FIRST
        out[end - 1] = LINE_FEED
    return end


@jit
def write_lines(
    sent: NDArray[Any],
    order: NDArray[np.int64],
    first: int,
    names: NDArray[np.uint8],
    out: NDArray[np.uint8],
    at: int,
) -> tuple[int, int]:
    """Write the rows of `order` from `first` on as lines into `out` from `at` on.

    Returns: the place in `order` to go on with, and where the lines end; it stops early when
    `out` may not hold another line.
    """
    for place in range(first, len(order)):
        if at + LINE_BYTES_MOST > len(out):
            return place, at
        row = sent[order[place]]
        begin = at
        at = put_record(out, at, row, names)
        if row.damage != rows.INTACT:
            at = damage(out, begin, at, row)
    return len(order), at
