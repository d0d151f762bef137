"""The fast reader of usage records: one pass over the bytes of JSON lines, compiled.

It reads what senders write nearly always, and only where it is certain: an escape inside a field
that matters, a number in an odd form, anything that may be a mistake leaves the line MALFORMED for
`ingest/json_exact.py`, which has the last word. It never takes what the exact reader rejects, and
never reads it differently.

Every scan stops at a line end at the latest, since no JSON token holds one. So no position needs to
be compared with the number of bytes: they end in PADDING line ends, and a load of eight bytes that
begins inside a line stays inside the bytes.

Positions are indexes into the bytes; a scan that is not certain returns UNSURE in place of one.
Source: spec section 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.json_exact import BILL_DAY_MAX, MAY_BE_EMPTY, REQUIRED, TEXTS_OF_TYPES
from ingest.lines import LINE_BYTES_MAX, LINE_END, PADDING
from ingest.words import (
    HIGH_BITS,
    ONES,
    Word,
    byte_at,
    first_marked,
    inlined,
    jit,
    not_digits,
    number_of,
    same_bytes,
    word_at,
)
from rating.schemas import (
    ACCOUNT_CHARACTERS_MAX,
    ACCOUNT_OPEN,
    BALANCE_TOPUP,
    HAS_BILL_DAY,
    HAS_PLAYHEAD,
    HAS_RECEIVED,
    HAS_REGION,
    MALFORMED,
    PLAYHEAD_MS_MAX,
    RATE_MILLI_MAX,
    RECORD_TYPES,
    STATES,
    TEXT_BYTES_MAX,
    TEXT_FIELDS,
    TIME_MS_MAX,
    TIME_MS_MIN,
    TOPUP_MICROS_MAX,
    USAGE,
    VIEW,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]

UNSURE = -1
DEPTH_MAX = 60  # of values nested in an unknown field; deeper is for the exact reader
NUMBER_BYTES_MAX = 300
DIGITS_MAX = 18  # what an int64 surely holds
FRACTION_DIGITS_MAX = 100  # of a second; a time of more is for the exact reader
MONTHS = 12
LEAP_MONTH = 2

RETURN, TAB, SPACE = 0x0D, 0x09, 0x20
QUOTE, BACKSLASH, COMMA, COLON, MINUS, PLUS, POINT = 0x22, 0x5C, 0x2C, 0x3A, 0x2D, 0x2B, 0x2E
ZERO, NINE = 0x30, 0x39
BRACE, BRACE_END, BRACKET, BRACKET_END = 0x7B, 0x7D, 0x5B, 0x5D
LOWER_E, UPPER_E, LOWER_U = 0x65, 0x45, 0x75

# --- fields ------------------------------------------------------------------------------------

FIELDS = (
    "",  # any other
    "type",
    "time",
    "received",
    "account",
    "device",
    "session",
    "content",
    "kind",
    "quality",
    "state",
    "playhead_ms",
    "rate",
    "id",
    "order",
    "offer",
    "plan",
    "region",
    "package",
    "bill_day",
    "amount",
    "currency",
)
# Fields in the order of a common view; 32 is more than any usage record has.
FIRST_GUESSES = np.zeros(32, np.int64)
FIRST_GUESSES[:12] = np.arange(1, 13)

OTHER = 0
TYPE, TIME, RECEIVED, ACCOUNT = 1, 2, 3, 4
STATE = FIELDS.index("state")
PLAYHEAD = FIELDS.index("playhead_ms")
RATE = FIELDS.index("rate")
REGION = FIELDS.index("region")
BILL_DAY = FIELDS.index("bill_day")
AMOUNT = FIELDS.index("amount")

# How the value of a field is read.
AS_OTHER, AS_TEXT, AS_TIME, AS_INT, AS_RATE = 0, 1, 2, 3, 4
READ_AS = np.full(len(FIELDS), AS_TEXT, np.int64)
READ_AS[OTHER] = AS_OTHER
READ_AS[[TIME, RECEIVED]] = AS_TIME
READ_AS[[PLAYHEAD, BILL_DAY]] = AS_INT
READ_AS[RATE] = AS_RATE

UNUSED = 0
TEXT_FIELD = np.zeros((len(RECORD_TYPES), len(TEXT_FIELDS)), np.int64)  # index into FIELDS
TEXT_NEED = np.full(TEXT_FIELD.shape, UNUSED, np.int64)
for _type, _texts in TEXTS_OF_TYPES.items():
    _row = RECORD_TYPES.index(_type)
    for _text, (_field, _need) in {**_texts, "account": ("account", REQUIRED)}.items():
        TEXT_FIELD[_row, TEXT_FIELDS.index(_text)] = FIELDS.index(_field)
        TEXT_NEED[_row, TEXT_FIELDS.index(_text)] = _need

ROW_WORDS = USAGE.itemsize // 4
assert USAGE.fields is not None
TEXT_WORD = USAGE.fields["account_at"][1] // 4  # the texts' ranges follow one another


def word_table(words: tuple[str, ...]) -> tuple[Bytes, Ints]:
    """The words' bytes one after another, each with a closing quote, and where each begins."""
    quoted = [word.encode() + b'"' for word in words]
    starts = np.cumsum([0, *map(len, quoted)], dtype=np.int64)
    return np.frombuffer(b"".join(quoted) + bytes(8), np.uint8), starts


FIELD_BYTES, FIELD_AT = word_table(FIELDS)
TYPE_BYTES, TYPE_AT = word_table(RECORD_TYPES)
STATE_BYTES, STATE_AT = word_table(STATES)

QUOTES = ONES * Word(QUOTE)
BACKSLASHES = ONES * Word(BACKSLASH)
SPACES = ONES * Word(SPACE)
POWERS_OF_TEN = 10 ** np.arange(DIGITS_MAX + 1, dtype=np.int64)


# --- tokens ------------------------------------------------------------------------------------


@inlined
def after_space(raw: Bytes, i: int) -> int:
    """The first position from `i` on that holds no blank, tab or carriage return."""
    while byte_at(raw, i) == SPACE or byte_at(raw, i) == TAB or byte_at(raw, i) == RETURN:
        i += 1
    return i


@inlined
def find_word(raw: Bytes, i: int, length: int, words: Bytes, starts: Ints) -> int:
    """The index in a table of the word of `length` bytes at `i`; 0 where the table lacks it."""
    for word in range(1, len(starts) - 1):
        if starts[word + 1] - starts[word] == length + 1 and same_bytes(
            raw, i, words, starts[word], length + 1
        ):
            return word
    return 0


@jit
def after_character(raw: Bytes, i: int) -> int:
    """The position after the UTF-8 character of two bytes or more at `i`."""
    first = byte_at(raw, i)
    second = byte_at(raw, i + 1)
    if second < 0x80 or second > 0xBF:
        return UNSURE
    if 0xC2 <= first <= 0xDF:
        return i + 2
    third = byte_at(raw, i + 2)
    if third < 0x80 or third > 0xBF:
        return UNSURE
    if 0xE0 <= first <= 0xEF:
        # The shortest form only, and no half of a surrogate pair.
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return UNSURE
        return i + 3
    fourth = byte_at(raw, i + 3)
    if fourth < 0x80 or fourth > 0xBF or first < 0xF0 or first > 0xF4:
        return UNSURE
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return UNSURE
    return i + 4


@inlined
def next_special(raw: Bytes, i: int) -> int:
    """The first position from `i` on whose byte does not stand for itself in a string.

    That is a quote, a backslash, a control character, or a byte that is not ASCII.
    """
    while True:
        word = word_at(raw, i)
        quotes = word ^ QUOTES
        backslashes = word ^ BACKSLASHES
        # Subtracting borrows from the byte above only where a byte is marked itself, so the lowest
        # mark is always true.
        marks = (
            ((quotes - ONES) & ~quotes)
            | ((backslashes - ONES) & ~backslashes)
            | ((word - SPACES) & ~word)
            | word
        ) & HIGH_BITS
        if marks != Word(0):
            return i + first_marked(marks)
        i += 8


@inlined
def text_end(raw: Bytes, i: int) -> int:
    """The position of the quote that ends the string whose first byte is at `i`."""
    while True:
        i = next_special(raw, i)
        special = byte_at(raw, i)
        if special == QUOTE:
            return i
        if special < 0x80:
            return UNSURE
        i = after_character(raw, i)
        if i == UNSURE:
            return UNSURE


@jit
def after_escaped_text(raw: Bytes, i: int) -> int:
    """The position after a string, whose first byte is at `i`, that may hold escapes."""
    while True:
        i = next_special(raw, i)
        special = byte_at(raw, i)
        if special == QUOTE:
            return i + 1
        if special >= 0x80:
            i = after_character(raw, i)
        elif special == BACKSLASH:
            i = after_escape(raw, i + 1)
        else:
            return UNSURE
        if i == UNSURE:
            return UNSURE


@jit
def after_escape(raw: Bytes, i: int) -> int:
    """The position after the escape whose backslash is before `i`."""
    escape = byte_at(raw, i)
    if escape == LOWER_U:
        for k in range(i + 1, i + 5):
            digit = byte_at(raw, k)
            if not (ZERO <= digit <= NINE or 0x61 <= digit | 0x20 <= 0x66):
                return UNSURE
        return i + 5
    for simple in (QUOTE, BACKSLASH, 0x2F, 0x62, 0x66, 0x6E, 0x72, 0x74):  # / b f n r t
        if escape == simple:
            return i + 1
    return UNSURE


@jit
def after_digits(raw: Bytes, i: int) -> int:
    """The first position from `i` on that holds no digit."""
    while ZERO <= byte_at(raw, i) <= NINE:
        i += 1
    return i


@jit
def after_number(raw: Bytes, i: int) -> int:
    """The position after the JSON number at `i`."""
    start = i
    if byte_at(raw, i) == MINUS:
        i += 1
    end = after_digits(raw, i)
    if end == i or (byte_at(raw, i) == ZERO and end > i + 1):
        return UNSURE
    i = end
    if byte_at(raw, i) == POINT:
        end = after_digits(raw, i + 1)
        if end == i + 1:
            return UNSURE
        i = end
    if byte_at(raw, i) == LOWER_E or byte_at(raw, i) == UPPER_E:
        i += 1
        if byte_at(raw, i) == PLUS or byte_at(raw, i) == MINUS:
            i += 1
        end = after_digits(raw, i)
        if end == i:
            return UNSURE
        i = end
    return i if i - start <= NUMBER_BYTES_MAX else UNSURE


@jit
def after_scalar(raw: Bytes, i: int) -> int:
    """The position after the string, number, true, false or null at `i`."""
    first = byte_at(raw, i)
    if first == QUOTE:
        return after_escaped_text(raw, i + 1)
    if first == 0x74:  # true
        if (
            byte_at(raw, i + 1) == 0x72
            and byte_at(raw, i + 2) == 0x75
            and byte_at(raw, i + 3) == LOWER_E
        ):
            return i + 4
        return UNSURE
    if first == 0x66:  # false
        if (
            byte_at(raw, i + 1) == 0x61
            and byte_at(raw, i + 2) == 0x6C
            and byte_at(raw, i + 3) == 0x73
        ):
            return i + 5 if byte_at(raw, i + 4) == LOWER_E else UNSURE
        return UNSURE
    if first == 0x6E:  # null
        if (
            byte_at(raw, i + 1) == LOWER_U
            and byte_at(raw, i + 2) == 0x6C
            and byte_at(raw, i + 3) == 0x6C
        ):
            return i + 4
        return UNSURE
    return after_number(raw, i)


@jit
def after_key(raw: Bytes, i: int) -> int:
    """The position of the value whose key is at `i`."""
    if byte_at(raw, i) != QUOTE:
        return UNSURE
    i = after_escaped_text(raw, i + 1)
    if i == UNSURE:
        return UNSURE
    i = after_space(raw, i)
    return after_space(raw, i + 1) if byte_at(raw, i) == COLON else UNSURE


@jit
def after_value(raw: Bytes, i: int) -> int:
    """The position after the JSON value at `i`, of any kind and checked to its end."""
    depth = 0
    objects = 0  # one bit for each value that is open, the innermost lowest: 1 is an object
    while True:
        if byte_at(raw, i) == BRACE or byte_at(raw, i) == BRACKET:
            if depth == DEPTH_MAX:
                return UNSURE
            depth += 1
            objects = objects * 2 + (1 if byte_at(raw, i) == BRACE else 0)
            i = after_space(raw, i + 1)
            if byte_at(raw, i) != (BRACE_END if objects & 1 else BRACKET_END):
                if objects & 1:
                    i = after_key(raw, i)
                    if i == UNSURE:
                        return UNSURE
                continue
        else:
            i = after_scalar(raw, i)
            if i == UNSURE or depth == 0:
                return i
            i = after_space(raw, i)
        while byte_at(raw, i) == (BRACE_END if objects & 1 else BRACKET_END):
            depth -= 1
            objects >>= 1
            if depth == 0:
                return i + 1
            i = after_space(raw, i + 1)
        if byte_at(raw, i) != COMMA:
            return UNSURE
        i = after_space(raw, i + 1)
        if objects & 1:
            i = after_key(raw, i)
            if i == UNSURE:
                return UNSURE


# --- values of fields --------------------------------------------------------------------------


@inlined
def read_int(raw: Bytes, i: int) -> tuple[int, int]:
    """The position after the integer at `i`, and its value."""
    negative = byte_at(raw, i) == MINUS
    if negative:
        i += 1
    word = word_at(raw, i)
    digits = first_marked(not_digits(word))
    if digits == 0 or (byte_at(raw, i) == ZERO and digits > 1):
        return UNSURE, 0
    value = number_of(word, digits)
    i += digits
    if digits == 8:
        word = word_at(raw, i)
        digits = first_marked(not_digits(word))
        if digits == 8:
            return UNSURE, 0
        if digits > 0:
            value = value * POWERS_OF_TEN[digits] + number_of(word, digits)
            i += digits
    after = byte_at(raw, i)
    if after in (POINT, LOWER_E, UPPER_E):
        return UNSURE, 0
    return i, -value if negative else value


@jit
def read_decimal(raw: Bytes, i: int, places: int) -> tuple[int, int]:
    """The position after the decimal at `i`, and its value in units of 10^-places."""
    end = after_digits(raw, i)
    if end == i or end - i + places > DIGITS_MAX:
        return UNSURE, 0
    value = 0
    for k in range(i, end):
        value = value * 10 + (byte_at(raw, k) - ZERO)
    if byte_at(raw, end) == POINT:
        start = end + 1
        end = after_digits(raw, start)
        if end == start or end - start > places:
            return UNSURE, 0
        for k in range(start, end):
            value = value * 10 + (byte_at(raw, k) - ZERO)
        places -= end - start
    return end, value * POWERS_OF_TEN[places]


@jit
def read_rate(raw: Bytes, i: int) -> tuple[int, int]:
    """The position after the playback rate at `i`, and its value in thousandths."""
    start = i
    negative = byte_at(raw, i) == MINUS
    if negative:
        i += 1
    leading_zero = byte_at(raw, i) == ZERO and ZERO <= byte_at(raw, i + 1) <= NINE
    end, value = read_decimal(raw, i, 3)
    if (
        end == UNSURE
        or leading_zero
        or byte_at(raw, end) == LOWER_E
        or byte_at(raw, end) == UPPER_E
    ):
        return UNSURE, start
    return end, -value if negative else value


@jit
def read_number(raw: Bytes, i: int, digits: int) -> int:
    """The number in exactly `digits` digits at `i`, or UNSURE."""
    value = 0
    for k in range(i, i + digits):
        if not ZERO <= byte_at(raw, k) <= NINE:
            return UNSURE
        value = value * 10 + (byte_at(raw, k) - ZERO)
    return value


@jit
def days_before(year: int, month: int, day: int) -> int:
    """Days from 1970-01-01 to a date of the Gregorian calendar, where years begin in March."""
    if month <= LEAP_MONTH:
        year -= 1
        month += MONTHS
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * month - 457) // 5 + day - 719_469


@jit
def days_in(year: int, month: int) -> int:
    """How many days a month has."""
    if month == LEAP_MONTH:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month in (4, 6, 9, 11) else 31


@jit
def read_date_time(raw: Bytes, i: int) -> tuple[int, int]:
    """The position of the quote after the RFC 3339 time at `i`, and its value in ms.

    Digits are read only as far as the ones before them were digits, so a short text ends at its
    quote.
    """
    year = read_number(raw, i, 4)
    if year < 1 or byte_at(raw, i + 4) != MINUS:
        return UNSURE, 0
    month = read_number(raw, i + 5, 2)
    if not 1 <= month <= MONTHS or byte_at(raw, i + 7) != MINUS:
        return UNSURE, 0
    day = read_number(raw, i + 8, 2)
    if not 1 <= day <= days_in(year, month) or byte_at(raw, i + 10) | 0x20 != 0x74:
        return UNSURE, 0
    hour = read_number(raw, i + 11, 2)
    if not 0 <= hour <= 23 or byte_at(raw, i + 13) != COLON:
        return UNSURE, 0
    minute = read_number(raw, i + 14, 2)
    if not 0 <= minute <= 59 or byte_at(raw, i + 16) != COLON:
        return UNSURE, 0
    second = read_number(raw, i + 17, 2)
    if not 0 <= second <= 59:
        return UNSURE, 0
    i += 19
    milli = 0
    if byte_at(raw, i) == POINT:
        end = after_digits(raw, i + 1)
        if end == i + 1 or end > i + FRACTION_DIGITS_MAX:
            return UNSURE, 0
        for k in range(i + 1, i + 4):  # what is finer than a millisecond is cut off
            milli = milli * 10 + (byte_at(raw, k) - ZERO if k < end else 0)
        i = end
    i, zone_minutes = read_zone(raw, i)
    if i == UNSURE or byte_at(raw, i) != QUOTE:
        return UNSURE, 0
    minutes = (days_before(year, month, day) * 24 + hour) * 60 + minute - zone_minutes
    return i, (minutes * 60 + second) * 1000 + milli


@jit
def read_zone(raw: Bytes, i: int) -> tuple[int, int]:
    """The position after the zone of an RFC 3339 time at `i`, and how far it is ahead of UTC."""
    if byte_at(raw, i) | 0x20 == 0x7A:  # z
        return i + 1, 0
    if byte_at(raw, i) != PLUS and byte_at(raw, i) != MINUS:
        return UNSURE, 0
    hours = read_number(raw, i + 1, 2)
    if not 0 <= hours <= 23 or byte_at(raw, i + 3) != COLON:
        return UNSURE, 0
    minutes = read_number(raw, i + 4, 2)
    if not 0 <= minutes <= 59:
        return UNSURE, 0
    ahead = hours * 60 + minutes
    return i + 6, ahead if byte_at(raw, i) == PLUS else -ahead


# --- lines -------------------------------------------------------------------------------------


@inlined
def read_field(raw: Bytes, i: int, field: int, found: Ints) -> int:
    """The position after the value at `i`; what it holds goes to the field's row of `found`.

    A text is its position and length, a number its value.
    """
    how = READ_AS[field]
    if how == AS_TEXT:
        if byte_at(raw, i) != QUOTE:
            return UNSURE
        end = text_end(raw, i + 1)
        found[field, 0] = i + 1
        found[field, 1] = end - i - 1
        return end + 1 if end != UNSURE else UNSURE
    if how == AS_TIME:
        if byte_at(raw, i) == QUOTE:
            end, found[field, 0] = read_date_time(raw, i + 1)
            return end + 1 if end != UNSURE else UNSURE
        end, found[field, 0] = read_int(raw, i)
        return end
    if how == AS_INT:
        end, found[field, 0] = read_int(raw, i)
        return end
    if how == AS_RATE:
        end, found[field, 0] = read_rate(raw, i)
        return end
    return after_value(raw, i)


@inlined
def read_object(raw: Bytes, i: int, guesses: Ints, found: Ints) -> tuple[int, int]:
    """The position after the object at `i`, and the set of the fields it holds, a bit for each.

    guesses: the fields of the line before in their order. The fields of one sender's lines stand
    in one order nearly always, so a key is compared with its guess before it is searched for.
    """
    seen = 0
    place = 0
    if byte_at(raw, i) != BRACE:
        return UNSURE, 0
    while True:
        i = after_space(raw, i + 1)
        if byte_at(raw, i) != QUOTE:
            return UNSURE, 0
        i += 1
        field = guesses[place]
        if field != OTHER and same_bytes(
            raw, i, FIELD_BYTES, FIELD_AT[field], FIELD_AT[field + 1] - FIELD_AT[field]
        ):
            i += FIELD_AT[field + 1] - FIELD_AT[field]
        else:
            end = text_end(raw, i)
            if end == UNSURE:
                return UNSURE, 0
            field = find_word(raw, i, end - i, FIELD_BYTES, FIELD_AT)
            guesses[place] = field
            i = end + 1
        place = min(place + 1, len(guesses) - 1)
        i = after_space(raw, i)
        if byte_at(raw, i) != COLON:
            return UNSURE, 0
        i = read_field(raw, after_space(raw, i + 1), field, found)
        if i == UNSURE:
            return UNSURE, 0
        seen |= 1 << field
        i = after_space(raw, i)
        if byte_at(raw, i) == BRACE_END:
            return i + 1, seen
        if byte_at(raw, i) != COMMA:
            return UNSURE, 0


@jit
def characters(raw: Bytes, at: int, length: int) -> int:
    """How many characters a range of valid UTF-8 holds."""
    count = 0
    for k in range(at, at + length):
        count += byte_at(raw, k) & 0xC0 != 0x80
    return count


@inlined
def fill_texts(words: Any, row: int, type_: int, seen: int, found: Ints) -> bool:
    """Write the ranges of a row's texts; False if one is missing, empty or too long."""
    for text in range(len(TEXT_FIELDS)):
        need = TEXT_NEED[type_, text]
        if need == UNUSED:
            continue
        field = TEXT_FIELD[type_, text]
        if (seen >> field) & 1 == 0:
            if need == REQUIRED:
                return False
        elif found[field, 1] > TEXT_BYTES_MAX:  # as an account of 128 characters never is
            return False
        elif found[field, 1] > 0:
            words[row, TEXT_WORD + 2 * text] = found[field, 0]
            words[row, TEXT_WORD + 2 * text + 1] = found[field, 1]
        elif need != MAY_BE_EMPTY:
            return False
    return True


@inlined
def clear_row(words: Any, row: int) -> None:
    """Set every byte of a row to 0."""
    for word in range(ROW_WORDS):
        words[row, word] = 0


@inlined
def fill_row(raw: Bytes, rows: Any, row: int, words: Any, seen: int, found: Ints) -> bool:
    """Write the usage record that was found into its row; False if anything may be wrong."""
    needed = (1 << TYPE) | (1 << TIME) | (1 << ACCOUNT)
    if seen & needed != needed:
        return False
    type_ = find_word(raw, found[TYPE, 0], found[TYPE, 1], TYPE_BYTES, TYPE_AT)
    time_ms = found[TIME, 0]
    received_ms = found[RECEIVED, 0] if (seen >> RECEIVED) & 1 else time_ms
    if (
        type_ == 0
        or not TIME_MS_MIN <= time_ms <= TIME_MS_MAX
        or not TIME_MS_MIN <= received_ms <= TIME_MS_MAX
        or not fill_texts(words, row, type_, seen, found)
    ):
        return False
    if (
        found[ACCOUNT, 1] > ACCOUNT_CHARACTERS_MAX
        and characters(raw, found[ACCOUNT, 0], found[ACCOUNT, 1]) > ACCOUNT_CHARACTERS_MAX
    ):
        return False
    usage = rows[row]
    usage.time_ms = time_ms
    usage.received_ms = received_ms
    usage.rate_milli = 1000
    usage.bill_day = 1
    if (seen >> RECEIVED) & 1:
        usage.flags = HAS_RECEIVED
    if type_ == VIEW and not fill_view(raw, usage, seen, found):
        return False
    if type_ == ACCOUNT_OPEN and not fill_opening(usage, seen, found):
        return False
    if type_ == BALANCE_TOPUP:
        if (seen >> AMOUNT) & 1 == 0:
            return False
        end, amount_micros = read_decimal(raw, found[AMOUNT, 0], 6)
        if end != found[AMOUNT, 0] + found[AMOUNT, 1]:
            return False
        if not 0 < amount_micros <= TOPUP_MICROS_MAX:
            return False
        usage.amount_micros = amount_micros
    usage.type = type_
    return True


@inlined
def fill_opening(usage: Any, seen: int, found: Ints) -> bool:
    """Write what only an `account.open` has; False if anything may be wrong."""
    if (seen >> REGION) & 1:
        usage.flags |= HAS_REGION
    if (seen >> BILL_DAY) & 1:
        if not 1 <= found[BILL_DAY, 0] <= BILL_DAY_MAX:
            return False
        usage.bill_day = found[BILL_DAY, 0]
        usage.flags |= HAS_BILL_DAY
    return True


@inlined
def fill_view(raw: Bytes, usage: Any, seen: int, found: Ints) -> bool:
    """Write what only a view has; False if anything may be wrong."""
    if (seen >> STATE) & 1 == 0:
        return False
    state = find_word(raw, found[STATE, 0], found[STATE, 1], STATE_BYTES, STATE_AT)
    if state == 0:
        return False
    usage.state = state
    if (seen >> PLAYHEAD) & 1:
        if not -PLAYHEAD_MS_MAX <= found[PLAYHEAD, 0] <= PLAYHEAD_MS_MAX:
            return False
        usage.playhead_ms = found[PLAYHEAD, 0]
        usage.flags |= HAS_PLAYHEAD
    if (seen >> RATE) & 1:
        if not -RATE_MILLI_MAX <= found[RATE, 0] <= RATE_MILLI_MAX:
            return False
        usage.rate_milli = found[RATE, 0]
    return True


@jit
def scan_lines(raw: Bytes, rows: Any, words: Any, guesses: Ints, found: Ints) -> int:
    """Read every line of `raw` into `rows`; returns how many rows.

    rows: USAGE, with room for every line. words: the same memory, ROW_WORDS columns of uint32.
    A blank line gives no row. A row whose type is MALFORMED holds only its raw range: the exact
    reader decides on it.
    """
    row = 0
    i = 0
    while i < len(raw) - PADDING:
        start = i
        i = after_space(raw, i)
        end, seen = read_object(raw, i, guesses, found)
        if end != UNSURE:
            end = after_space(raw, end)
        sure = end != UNSURE and byte_at(raw, end) == LINE_END
        if not sure:
            end = i
            while byte_at(raw, end) != LINE_END:
                end += 1
        is_long = end - start >= LINE_BYTES_MAX
        if end > i or is_long:
            clear_row(words, row)
            if not (sure and not is_long and fill_row(raw, rows, row, words, seen, found)):
                clear_row(words, row)
                rows[row].type = MALFORMED
            rows[row].raw_at = start
            rows[row].raw_len = end - start - (byte_at(raw, end - 1) == RETURN)
            row += 1
        i = end + 1
    return row
