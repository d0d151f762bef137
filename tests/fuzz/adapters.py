"""Documents of every format that is read, spoilt at random: rows or suspense, never an exception."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapter_seeds import TARGETS, leaves
from extremes import EXTREMES, STROKES

if TYPE_CHECKING:
    from random import Random

MORE = [
    b"",
    b"\n",
    b"\r\n",
    b",",
    b";",
    b"|",
    b"=",
    b"&",
    b"CMCD=",
    b"%25",
    b"//",
    b"(",
    b")",
    b"?",
]
MORE += [
    b"Report",
    b"EventLog.Entry.",
    b".[a].",
    b"\xef\xbb\xbf",
    b"#Fields: a b",
    b"null",
    b"e=t,",
]


def fuzz(random: Random) -> None:
    """Spoil a document, and let its reader read it; another reader does so now and then."""
    name = random.choice(sorted(TARGETS))
    document = random.choice(TARGETS[name].seeds)
    if random.random() < 0.1:
        name = random.choice(sorted(TARGETS))
    for _ in range(random.choice((0, 1, 1, 1, 2, 4))):
        document = spoilt(document, random)
    try:
        TARGETS[name].read(document)
    except BaseException as error:
        error.add_note(f"the reader of {name}, given {document[:2000]!r}")
        raise


def spoilt(document: bytes, random: Random) -> bytes:
    """A document with one thing changed."""
    places = leaves(document) if random.random() < 0.6 else []
    if places:
        begin, end = random.choice(places)
        return document[:begin] + random.choice(EXTREMES) + document[end:]
    at = random.randrange(len(document) + 1)
    what = random.random()
    if what < 0.5:
        stroke = random.choice((*STROKES, *MORE))
        return document[:at] + stroke + document[at + random.randint(0, 3) :]
    if what < 0.7:
        return document[:at]
    if what < 0.85:
        return document[:at] + document[at : at + 40] * random.choice((2, 3, 50)) + document[at:]
    return document + random.choice((b"", b"\n", b",")) + document
