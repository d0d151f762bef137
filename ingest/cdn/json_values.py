"""JSON that is no JSON lines, as JSON lines: an array of objects, or objects one behind another.

Collectors write both: an array a file, or whatever arrived, joined without a line end.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

BEGIN_BYTES = 2**20  # of a log, by which it is told what it is
VALUE_CHARACTERS_MAX = 2**24
BYTE_ORDER_MARK = "\ufeff"
BETWEEN = re.compile(r"[\s,\[\]]*")
NEXT_OBJECT = re.compile(r"\}\s*,?\s*(?=\{)|\n")
# Only where a value ends is asked of it, so odd numbers need no meaning.
VALUES = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def as_json_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The content of a log with each of its values on a line of its own; JSON lines as they are."""
    begin = b""
    while len(begin) < BEGIN_BYTES and (block := next(blocks, b"")):
        begin += block
    if are_lines(begin.decode("utf-8", "replace")):
        yield begin
        yield from blocks
        return
    yield from cut_values(begin, blocks)


def are_lines(begin: str) -> bool:
    """Whether a log of JSON has one value a line, by its begin."""
    text = begin.lstrip(BYTE_ORDER_MARK).lstrip()
    if text.startswith("["):
        return False
    line, line_end, _ = text.partition("\n")
    try:
        at = VALUES.raw_decode(line)[1]
    except (ValueError, RecursionError):
        # The line is broken, or only the first of one value's.
        return not line_end or not is_value(text)
    return not line[at:].strip()


def is_value(text: str) -> bool:
    """Whether a whole value stands at the begin of a text."""
    try:
        VALUES.raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def cut_values(begin: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Each value on a line. One that is broken ends where the next object seems to begin."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    text, at = decoder.decode(begin).lstrip(BYTE_ORDER_MARK), 0
    is_whole = False
    while True:
        lines = []
        while (at := end_of(BETWEEN, text, at)) < len(text):
            after = end_of_value(text, at)
            if after is None and (is_whole or len(text) - at > VALUE_CHARACTERS_MAX):
                after = end_of_broken(text, at)
            if after is None:
                break
            lines.append(text[at:after].replace("\n", " ").replace("\r", " ") + "\n")
            at = after
        yield "".join(lines).encode("utf-8", "surrogateescape")
        if is_whole:
            return
        block = next(blocks, b"")
        is_whole = not block
        text, at = text[at:] + decoder.decode(block, final=is_whole), 0


def end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where a pattern ends that may match nothing."""
    found = pattern.match(text, at)
    return found.end() if found else at


def end_of_value(text: str, at: int) -> int | None:
    """Where the value ends that begins at a character; None if it is not whole."""
    try:
        return VALUES.raw_decode(text, at)[1]
    except (ValueError, RecursionError):
        return None


def end_of_broken(text: str, at: int) -> int:
    """Where to go on behind a value that is broken."""
    found = NEXT_OBJECT.search(text, at + 1)
    return found.start() + 1 if found else len(text)
