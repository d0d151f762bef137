"""For each field of a usage record, the values at and past its edges, as JSON in bytes.

Tests of readers take them from here, so that a new extreme reaches every reader.
Source: spec section 1.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

ACCOUNT_CHARACTERS_MAX = 128
TEXT_BYTES_MAX = 512
TIME_MS_MIN = 946_684_800_000  # 2000-01-01T00:00:00Z
TIME_MS_MAX = 7_258_118_399_999  # the last ms of 2199


def quoted(text: str) -> bytes:
    """A text as JSON, in its own characters."""
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")


NUMBERS = [
    *(b"0", b"-0", b"-0.0", b"1", b"-1", b"1.0", b"1e0", b"15e-1", b"0.001", b"0.0001", b"1e-4"),
    *(b"1e400", b"1e1000000", b"1e999999999", b"-1e999999999", b"1e-999999999", b"0e999999999"),
    *(b"1e99999999999999999999", b"1E+5", b"9007199254740993", b"9223372036854775807"),
    *(b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809"),
    *(
        b"18446744073709551616",
        b"1000000000000000",
        b"1000000000000001",
        b"1000000",
        b"1000000.001",
    ),
    *(b"9" * 4300, b"9" * 4301, b"-" + b"9" * 100_000, b"0." + b"0" * 100_000 + b"1"),
    *(b"1." + b"0" * 400, b"01", b"+1", b".5", b"1.", b"1e", b"-", b"0x10", b"1_000", b"NaN"),
    *(b"Infinity", b"-Infinity"),
]
WORDS = [b"true", b"false", b"null", b"nul", b"True", b"[]", b"{}", b'[""]', b'{"a":1}', b""]
TEXTS = [
    quoted(text)
    for text in (
        *(
            "",
            " ",
            "a",
            "\x00",
            "a\x00b",
            "\x7f",
            "\u2028",
            "\ufeff",
            "\uffff",
            "é",
            "日本",
            "\U0001f4fa",
        ),
        *("|", "\\", "\\|", "a|b", '"', "/", "a\nb", "\x1b[31m", "=1+1", "0", "null"),
        *("a" * 127, "a" * 128, "a" * 129, "é" * 128, "\U0001f4fa" * 128, "\U0001f4fa" * 129),
        *("a" * 511, "a" * 512, "a" * 513, "é" * 256, "a" + "é" * 256, "\U0001f4fa" * 128 + "a"),
        *("日" * 170 + "ab", "日" * 171, "a" * 65_535, "a" * 65_536, "a" * 70_000),
    )
]
BROKEN_TEXTS = [
    *(b'"\\ud800"', b'"\\udc00"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\ud83d\\u0041"'),
    *(b'"\\u0000"', b'"\\u00"', b'"\\x41"', b'"\\', b'"', b'"\x00"', b'"a\tb"', b'"\xed\xa0\x80"'),
    *(b'"\xff"', b'"\xc0\xaf"', b'"\xc3"', b'"\xf4\x90\x80\x80"', b'"\xf0\x9f\x93\xba"', b"'a'"),
    *(b'"\\u00e9"', b'"' + b"\\u00e9" * 256 + b'"', b'"' + b"\\u00e9" * 257 + b'"'),
]
TIMES = [
    *(str(ms).encode() for ms in (TIME_MS_MIN - 1, TIME_MS_MIN, TIME_MS_MAX, TIME_MS_MAX + 1)),
    *(b"-62135510400000", b"253402128000000", b"1772812800", b"1772812800000", b"1772812800000.5"),
    *(
        quoted(time)
        for time in (
            *("1999-12-31T23:59:59.999Z", "2000-01-01T00:00:00Z", "2000-01-01T00:00:00+00:01"),
            *("2199-12-31T23:59:59.999999Z", "2200-01-01T00:00:00Z", "2199-12-31T23:59:59-00:01"),
            *("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "0001-01-02T00:00:00Z"),
            *("0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999-23:59", "10000-01-01T00:00:00Z"),
            *("2016-12-31T23:59:60Z", "2026-06-30T24:00:00Z", "2026-02-29T00:00:00Z"),
            *("2024-02-29T00:00:00Z", "2026-03-06T20:00:00", "2026-03-06T20:00:00 UTC"),
            *("2026-03-06T20:00:00+24:00", "2026-03-06T20:00:00-00:00", "2026-03-06T20:00:00+1"),
            *("2026-03-06T20:00:00." + "1" * 100_000 + "Z", "2026-03-06T20:00:00.Z", "2026-03-06"),
            *(
                "2026-03-06T20:00:00[Europe/Stockholm]",
                "٢026-03-06T20:00:00Z",
                "now",
                "1772812800000",
            ),
            *("2026-03-06 20:00:00Z", "2026-03-06t20:00:00z", "-2026-03-06T20:00:00Z"),
        )
    ),
]
AMOUNTS = [
    quoted(amount)
    for amount in (
        *("0", "0.000000", "0.000001", "0.0000001", "1", "007.50", "10.00", "1000000000"),
        *(
            "1000000000.000001",
            "999999999.999999",
            "-1",
            "+1",
            "-0",
            "1e3",
            "1e999999999",
            ".5",
            "1.",
        ),
        *("1,5", "NaN", "Infinity", "٣", "1 ", "0" * 100_000 + "1", "9" * 100_000, "1." + "0" * 7),
    )
]
NESTS = [
    *(b"[" * depth + b"]" * depth for depth in (60, 61, 99, 100, 101, 1_000, 100_000)),
    *(b'{"a":' * depth + b"1" + b"}" * depth for depth in (60, 99, 100, 1_000, 50_000)),
    b"[" * 100_000,
    b'"' + b"[" * 1_000 + b'"',
]
EXTREMES = [*NUMBERS, *WORDS, *TEXTS, *BROKEN_TEXTS, *TIMES, *AMOUNTS, *NESTS]

SOUND: dict[str, list[bytes]] = {
    "type": [],  # the kind that was drawn
    "time": [b"1772812800000", quoted("2026-03-06T20:00:00.25+01:00")],
    "received": [b"1772812800123", quoted("2026-03-06T19:00:00Z")],
    "account": [quoted(text) for text in ("a", "é" * 128, "\U0001f4fa" * 128)],
    "state": [quoted(text) for text in ("playing", "paused", "stopped", "starting")],
    "playhead_ms": [b"0", b"-1", b"1000000000000000"],
    "rate": [b"1", b"-0.5", b"1.250", b"1000000"],
    "bill_day": [b"1", b"28"],
    "amount": [quoted(text) for text in ("0.000001", "10.00", "1000000000")],
}
TEXT_VALUES = [quoted(text) for text in ("a", "tv-1", "日本", "a" * 512, "é" * 256)]
KINDS: dict[str, tuple[str, ...]] = {
    "view": (*("device", "session", "content", "kind", "quality", "state", "playhead_ms", "rate"),),
    "clock": (),
    "account.open": ("plan", "region", "bill_day", "at"),
    "account.subscribe": ("package", "quantity"),
    "account.unsubscribe": ("package", "at"),
    "balance.topup": ("id", "amount", "currency", "expires", "for"),
    "order.purchase": ("id", "offer", "quality", "device"),
    "order.cancel": ("id", "order"),
    "ingest.suspended": ("reason", "detail", "raw"),
}
OPTIONAL = {
    "received",
    "quality",
    "playhead_ms",
    "rate",
    "region",
    "bill_day",
    "at",
    "quantity",
} | {*("currency", "expires", "for")}
SUSPENDED: dict[str, list[bytes]] = {
    "reason": [quoted("unbound"), quoted("a" * 64), quoted("a" * 65), quoted("Unbound")],
    "detail": [quoted("said"), quoted("a" * 5_000), quoted("a\x1bb")],
    "raw": [quoted(""), quoted("AA=="), quoted("AA="), quoted("A" * 100_000), quoted("é")],
}
STROKES = [bytes([byte]) for byte in b'"{}[],:\\/-+.019eEtTzZ \t\r\x00\x7f\x80\xc3\xff']


def usage_fields(random: Random) -> list[tuple[str, bytes]]:
    """The fields of one record in a random order, nearly all of them sound."""
    kind = random.choice(list(KINDS))
    fields = [("type", quoted(kind))]
    for name in ("time", "received", "account", *KINDS[kind]):
        if name in OPTIONAL and random.random() < 0.4:
            continue
        sound = SUSPENDED.get(name) or SOUND.get(name) or TEXT_VALUES
        fields.append((name, random.choice(sound)))
    for _ in range(random.choice((0, 0, 1, 1, 1, 2, 3))):
        place = random.randrange(len(fields))
        name = random.choice([name for name, _ in fields] + ["other", "id", "rate", "amount"])
        extreme = (name, random.choice(EXTREMES))
        if random.random() < 0.8:
            place = next((at for at, field in enumerate(fields) if field[0] == name), place)
            fields[place] = extreme
        else:
            fields.insert(place, extreme)  # perhaps a key that comes twice
    if random.random() < 0.1:
        del fields[random.randrange(len(fields))]
    random.shuffle(fields)
    return fields


def usage_line(random: Random) -> bytes:
    """One line of a log: a record with extremes in it, sometimes with bytes spoilt; no line end."""
    space = random.choice((b"", b"", b" ", b"\t", b"\r"))
    inner = b",".join(quoted(name) + space + b":" + value for name, value in usage_fields(random))
    line = b"{" + inner + b"}" + space
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        at = random.randrange(len(line) + 1)
        line = line[:at] + random.choice(STROKES) + line[at + random.randint(0, 2) :]
    return line.replace(b"\n", b"")
