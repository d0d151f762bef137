"""The compiled reader of many records: one pass over their bytes, no object made of any.

It reads what follows the standard, and only where it is certain; of anything odd (an escape, a
repeated key, a value of another kind than its key's) it says so, and the exact reader decides. It
looks at the keys that are asked for: what another key holds has only to be well formed.
Source: RFC 8941 section 4.2; CTA-5004-B section 4.3.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final, get_args

import numpy as np

from ingest.cmcd.keys import TABLE, Kind
from ingest.cmcd.quick import CHARACTERS_MAX
from ingest.words import Word, byte_at, inlined, jit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Ints = NDArray[np.int64]
    Words = NDArray[np.uint64]
    Truths = NDArray[np.bool_]

UNSURE = -1
NONE = -1  # no key, no column

SPACE, QUOTE, MINUS, POINT, ZERO, ONE = 0x20, 0x22, 0x2D, 0x2E, 0x30, 0x31
COMMA, SEMICOLON, EQUALS, QUESTION, LIST, LIST_END = 0x2C, 0x3B, 0x3D, 0x3F, 0x28, 0x29

INTEGER_DIGITS_MAX = 15
WHOLE_DIGITS_MAX = 12  # of a decimal, before its point
PLACES_MAX = 3
THOUSAND = 1000

# --- what a byte may be part of -------------------------------------------------------------------

KEY_START, IN_KEY, TOKEN_START, IN_TOKEN, IN_TEXT, DIGIT, GAP, BLANK = (
    1 << bit for bit in range(8)
)
CLASSES = np.zeros(256, np.int64)
for _class, _characters in {
    KEY_START: string.ascii_lowercase + "*",
    IN_KEY: string.ascii_lowercase + string.digits + "_.*-",
    TOKEN_START: string.ascii_letters + "*",
    IN_TOKEN: string.ascii_letters + string.digits + "!#$%&'*+.^_`|~:/-",
    IN_TEXT: "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in '"\\'),
    DIGIT: string.digits,
    GAP: " \t",
    BLANK: " \t\r\n",
}.items():
    CLASSES[[ord(character) for character in _characters]] |= _class

# --- kinds ----------------------------------------------------------------------------------------

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
BOOLEAN, INTEGER, DECIMAL, STRING, TOKEN, INTEGERS, STRINGS = range(len(KINDS))
ODD_LIST = len(KINDS)  # well formed, but of no key's kind
WANTED = np.array([KINDS.index(key.kind) for key in TABLE], np.int64)


def keys_with(chosen: Iterable[bool]) -> int:
    """One bit for each key of the table."""
    return sum(1 << place for place, is_chosen in enumerate(chosen) if is_chosen)


# Of version 1 and 2, which keys it has, and which of them hold lists.
KNOWN = np.array([keys_with(key.kind_in(v) is not None for key in TABLE) for v in (1, 2)], np.int64)
LISTS = np.array(
    [keys_with(key.kind_in(v) in ("integers", "strings") for key in TABLE) for v in (1, 2)],
    np.int64,
)
VERSION = next(place for place, key in enumerate(TABLE) if key.name == "v")
VERSION_BIT = 1 << VERSION

# --- words ----------------------------------------------------------------------------------------

WORD_BYTES_MAX = 7  # what a word of eight bytes holds, so that no two words are the same number
SLOT_BITS = 9
SHIFT = Word(64 - SLOT_BITS)


def number_of_word(word: str) -> int:
    """A word's bytes as a number, the first of them lowest."""
    assert len(word) <= WORD_BYTES_MAX
    return int.from_bytes(word.encode(), "little")


def slots_of(meanings: Mapping[str, int], missing: int) -> tuple[Word, Words, Ints]:
    """A table in which each word has a slot of its own: a factor, the slots' words and meanings.

    The slot of a word is the upper bits of its number times the factor. missing: what empty slots
    mean.
    """
    numbers = {number_of_word(word): meaning for word, meaning in meanings.items()}
    factor = 0x9E3779B97F4A7C15
    while True:
        slots = {number: (number * factor) % 2**64 >> int(SHIFT) for number in numbers}
        if len(set(slots.values())) == len(slots):
            break
        factor = (factor * 6364136223846793005 + 1442695040888963407) % 2**64 | 1
    words = np.zeros(1 << SLOT_BITS, np.uint64)
    found = np.full(1 << SLOT_BITS, missing, np.int64)
    for number, slot in slots.items():
        words[slot], found[slot] = number, numbers[number]
    return Word(factor), words, found


KEY_FACTOR, KEY_WORDS, KEY_PLACES = slots_of({key.name: n for n, key in enumerate(TABLE)}, NONE)
TOKEN_FACTOR, TOKEN_WORDS, TOKEN_KEYS = slots_of(
    {
        token: keys_with(token in (key.tokens or ()) for key in TABLE)
        for token in frozenset[str]().union(*(key.tokens or () for key in TABLE))
    },
    0,
)


@inlined
def word_between(raw: Bytes, begin: int, end: int) -> Word:
    """The number of a word; 0, which no word has, if it is too long for a table."""
    word = Word(0)
    if end - begin <= WORD_BYTES_MAX:
        for i in range(end - 1, begin - 1, -1):
            word = (word << Word(8)) | Word(byte_at(raw, i))
    return word


# --- tokens of the grammar: each returns where it ends, or UNSURE ---------------------------------


@inlined
def is_of(raw: Bytes, i: int, classes: int) -> bool:
    """Whether the byte at a position is of one of some classes."""
    return bool(CLASSES[byte_at(raw, i)] & classes)


@inlined
def after_run(raw: Bytes, i: int, end: int, classes: int) -> int:
    """The first position from `i` on whose byte is of none of some classes."""
    while i < end and is_of(raw, i, classes):
        i += 1
    return i


@inlined
def after_word(raw: Bytes, i: int, end: int, first: int, others: int) -> int:
    """Where the key or token ends that begins here."""
    if i >= end or not is_of(raw, i, first):
        return UNSURE
    return after_run(raw, i + 1, end, others)


@inlined
def after_text(raw: Bytes, i: int, end: int) -> int:
    """Where the string ends whose quote is at `i`."""
    i = after_run(raw, i + 1, end, IN_TEXT)
    return i + 1 if i < end and byte_at(raw, i) == QUOTE else UNSURE


@jit
def number_at(raw: Bytes, i: int, end: int) -> tuple[int, int, int]:
    """Where a number ends, its kind, and its value; a decimal's is in thousandths."""
    is_negative = byte_at(raw, i) == MINUS
    begin = i + 1 if is_negative else i
    i, value, kind = begin, 0, INTEGER
    while i < end and is_of(raw, i, DIGIT):
        value = value * 10 + byte_at(raw, i) - ZERO
        i += 1
    digits = i - begin
    if digits == 0 or digits > INTEGER_DIGITS_MAX:
        return UNSURE, kind, 0
    if i < end and byte_at(raw, i) == POINT:
        kind, point = DECIMAL, i
        i += 1
        while i < end and i - point <= PLACES_MAX and is_of(raw, i, DIGIT):
            value = value * 10 + byte_at(raw, i) - ZERO
            i += 1
        places = i - point - 1
        if places == 0 or digits > WHOLE_DIGITS_MAX:
            return UNSURE, kind, 0
        for _ in range(places, PLACES_MAX):
            value *= 10
    return i, kind, -value if is_negative else value


@jit
def bare_at(raw: Bytes, i: int, end: int) -> tuple[int, int, int]:
    """Where a value ends that is no list, its kind, and its value if it is a number or a truth."""
    if i >= end:
        return UNSURE, BOOLEAN, 0
    if byte_at(raw, i) == QUOTE:
        return after_text(raw, i, end), STRING, 0
    if byte_at(raw, i) == MINUS or is_of(raw, i, DIGIT):
        return number_at(raw, i, end)
    if byte_at(raw, i) == QUESTION:
        if i + 1 < end and (byte_at(raw, i + 1) == ZERO or byte_at(raw, i + 1) == ONE):
            return i + 2, BOOLEAN, byte_at(raw, i + 1) - ZERO
        return UNSURE, BOOLEAN, 0
    return after_word(raw, i, end, TOKEN_START, IN_TOKEN), TOKEN, 0


@jit
def after_parameters(raw: Bytes, i: int, end: int) -> tuple[int, int]:
    """Where the parameters of an item end, and how many; one with a value counts as many."""
    count = 0
    while 0 <= i < end and byte_at(raw, i) == SEMICOLON:
        i = after_word(raw, i + 1, end, KEY_START, IN_KEY)
        count += 1
        if 0 <= i < end and byte_at(raw, i) == EQUALS:
            i, _, _ = bare_at(raw, i + 1, end)
            count += 1
    return i, count


@jit
def list_at(raw: Bytes, i: int, end: int) -> tuple[int, int]:
    """Where the list ends whose parenthesis is at `i`, and its kind.

    One space stands between items; integers may have one parameter each, and strings none.
    """
    kind = NONE
    while True:
        i, bare, _ = bare_at(raw, i + 1, end)
        i, parameters = after_parameters(raw, i, end)
        if i == UNSURE or i >= end:
            return UNSURE, ODD_LIST
        item = ODD_LIST
        if bare == INTEGER and parameters <= 1:
            item = INTEGERS
        elif bare == STRING and parameters == 0:
            item = STRINGS
        kind = item if kind in (NONE, item) else ODD_LIST
        if byte_at(raw, i) == LIST_END:
            return i + 1, kind
        if byte_at(raw, i) != SPACE:
            return UNSURE, ODD_LIST


@inlined
def after_comma(raw: Bytes, i: int, end: int) -> int:
    """Where the next member begins, or the end."""
    i = after_run(raw, i, end, GAP)
    if i == end:
        return end
    if byte_at(raw, i) != COMMA:
        return UNSURE
    i = after_run(raw, i + 1, end, GAP)
    return UNSURE if i == end else i


# --- records --------------------------------------------------------------------------------------

SEEN, LISTED, SAID_VERSION = range(3)  # of what is known of a record so far


@inlined
def holds_token(raw: Bytes, begin: int, end: int, key: int) -> bool:
    """Whether a token is one of those of a key."""
    word = word_between(raw, begin, end)
    slot = word * TOKEN_FACTOR >> SHIFT
    return bool(TOKEN_WORDS[slot] == word and (TOKEN_KEYS[slot] >> key) & 1)


@inlined
def fits(raw: Bytes, key: int, kind: int, begin: int, end: int) -> bool:
    """Whether a value is of the kind of its key, in any version."""
    wanted = WANTED[key]
    if wanted == TOKEN:
        return kind == TOKEN and holds_token(raw, begin, end, key)
    return bool(
        kind == wanted
        or (kind == INTEGER and wanted in (INTEGERS, DECIMAL))
        or (kind == STRING and wanted == STRINGS)
    )


@jit
def read_member(
    raw: Bytes, i: int, end: int, columns: Ints, known: Ints, row: int, starts: Ints, sizes: Ints
) -> int:
    """Read a key and its value; returns where they end, or UNSURE."""
    begin = i
    i = after_word(raw, i, end, KEY_START, IN_KEY)
    if i == UNSURE:
        return UNSURE
    word = word_between(raw, begin, i)
    slot = word * KEY_FACTOR >> SHIFT
    key = KEY_PLACES[slot] if KEY_WORDS[slot] == word else NONE
    kind, value = BOOLEAN, 1
    if i < end and byte_at(raw, i) == EQUALS:
        begin = i + 1
        if begin < end and byte_at(raw, begin) == LIST:
            i, kind = list_at(raw, begin, end)
        else:
            i, kind, value = bare_at(raw, begin, end)
    column = NONE if key == NONE else columns[key]
    if i == UNSURE or (column == NONE and key != VERSION):
        return i
    bit = 1 << key
    if known[SEEN] & bit or not fits(raw, key, kind, begin, i):
        return UNSURE
    known[SEEN] |= bit
    if kind >= INTEGERS:
        known[LISTED] |= bit
    if key == VERSION:
        known[SAID_VERSION] = value
    if column != NONE:
        write(column, row, WANTED[key], kind, value, begin, i, starts, sizes)
    return i


@inlined
def write(
    column: int,
    row: int,
    wanted: int,
    kind: int,
    value: int,
    begin: int,
    end: int,
    starts: Ints,
    sizes: Ints,
) -> None:
    """Write down what a record has of a key; see `scan_records`."""
    if wanted in (BOOLEAN, INTEGER, DECIMAL):
        is_whole = wanted == DECIMAL and kind == INTEGER
        starts[column, row] = value * THOUSAND if is_whole else value
        sizes[column, row] = 1
    elif wanted == STRING:
        starts[column, row] = begin + 1
        sizes[column, row] = end - begin - 1
    else:
        starts[column, row] = begin
        sizes[column, row] = end - begin + 1


@inlined
def is_record(
    raw: Bytes,
    begin: int,
    end: int,
    columns: Ints,
    known: Ints,
    row: int,
    starts: Ints,
    sizes: Ints,
) -> bool:
    """Read one record; False if it is not certain."""
    while begin < end and is_of(raw, begin, BLANK):
        begin += 1
    while begin < end and is_of(raw, end - 1, BLANK):
        end -= 1
    if begin == end or end - begin > CHARACTERS_MAX:
        return False
    known[SEEN], known[LISTED], known[SAID_VERSION] = 0, 0, 1
    i = begin
    while i < end:
        i = read_member(raw, i, end, columns, known, row, starts, sizes)
        if i == UNSURE:
            return False
        i = after_comma(raw, i, end)
        if i == UNSURE:
            return False
    version = known[SAID_VERSION]
    if version < 1 or version > len(KNOWN):
        return False
    seen = known[SEEN]
    return bool(seen & ~KNOWN[version - 1] == 0 and known[LISTED] == seen & LISTS[version - 1])


@jit
def scan_records(
    raw: Bytes,
    offsets: Ints,
    columns: Ints,
    known: Ints,
    starts: Ints,
    sizes: Ints,
    is_sure: Truths,
) -> int:
    """Read records that stand one after another in bytes.

    columns: of each key of the table, in which of the columns its values go; NONE in none of them.
    known: what is known of a record, for this to use. starts, sizes: take what is found, a row for
    each column, and begin as zeros: a number and 1, or where a text begins and one more than its
    bytes; the size is 0 where a record lacks the key. A list is found with its parentheses.
    is_sure: takes of which records anything is found.
    Returns: the keys that any of these had, one bit each.
    """
    ever = 0
    for row in range(len(is_sure)):
        is_sure[row] = is_record(
            raw, offsets[row], offsets[row + 1], columns, known, row, starts, sizes
        )
        if is_sure[row]:
            ever |= known[SEEN]
        else:
            for column in range(len(sizes)):
                if sizes[column, row]:  # what nobody has written to takes no memory
                    sizes[column, row] = 0
    return ever


# --- lists ----------------------------------------------------------------------------------------


@jit
def count_items(raw: Bytes, starts: Ints, sizes: Ints, is_text: bool, counts: Ints) -> None:
    """How many items each list has; a value that is no list is one."""
    mark = QUOTE if is_text else SPACE
    for row in range(len(starts)):
        marks = 0
        for i in range(starts[row], starts[row] + sizes[row] - 1):
            marks += byte_at(raw, i) == mark
        counts[row] = marks // 2 if is_text else marks + (sizes[row] > 0)


@jit
def read_integers(
    raw: Bytes, starts: Ints, sizes: Ints, values: Ints, type_starts: Ints, type_sizes: Ints
) -> None:
    """The items of lists of integers, and where each names the object type that it is of."""
    item = 0
    for row in range(len(starts)):
        i, end = starts[row], starts[row] + sizes[row] - 1
        while i < end:
            if byte_at(raw, i) == LIST or byte_at(raw, i) == SPACE:
                i += 1
            i, _, values[item] = number_at(raw, i, end)
            if i < end and byte_at(raw, i) == SEMICOLON:
                type_starts[item] = i + 1
                i = after_run(raw, i + 1, end, IN_KEY)
                type_sizes[item] = i - type_starts[item] + 1
            item += 1
            if i < end and byte_at(raw, i) == LIST_END:
                i += 1


@jit
def read_texts(raw: Bytes, starts: Ints, sizes: Ints, text_starts: Ints, text_sizes: Ints) -> None:
    """Where the items of lists of strings stand."""
    item = 0
    for row in range(len(starts)):
        i, end = starts[row], starts[row] + sizes[row] - 1
        while i < end:
            if byte_at(raw, i) == QUOTE:
                text_starts[item] = i + 1
                i = after_text(raw, i, end)
                text_sizes[item] = i - text_starts[item]
                item += 1
            else:
                i += 1
