"""Bodies that cost a gateway far more than they cost their sender: small on the wire, or cheap to make.

What each did before it had bounds is beside it. `python tests/attacks/measure.py` shows what it does now.
"""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, NamedTuple

import zstandard

if TYPE_CHECKING:
    from collections.abc import Callable

MEBIBYTE = 2**20
JSON = "application/json"
NDJSON = "application/x-ndjson"
CMCD = "application/cmcd"


class Attack(NamedTuple):
    """One request. path: of the route; the token of a viewer goes with /v1/cmcd, a key with others."""

    path: str
    media: str
    body: Callable[[], bytes]
    encoding: str = ""


def packed(plain: bytes) -> bytes:
    return gzip.compress(plain, 9)


def with_number(number: str, field: str = "ts") -> Callable[[], bytes]:
    said = {"e": "ps", "sid": "s1", "sta": "p", "cid": "c", "v": 2}
    return (json.dumps(said)[:-1] + f',"{field}":{number}}}').encode


def empty_frames(frame: bytes) -> Callable[[], bytes]:
    return lambda: frame * (8 * MEBIBYTE // len(frame) - 1)


def event(field: str, number: str) -> Callable[[], bytes]:
    return f'{{"type":"view","account":"a","{field}":{number}}}'.encode


ATTACKS = {
    # Stopped the gateway for all, until it was killed.
    "an integer of a gigabyte": Attack("/v1/cmcd", JSON, with_number("1e999999999")),
    "an integer of a gigabyte in br": Attack("/v1/cmcd", JSON, with_number("1e999999999", "br")),
    "a million digits": Attack("/v1/cmcd", JSON, with_number("9" * 1_000_000)),
    "a million digits and a point": Attack("/v1/cmcd", JSON, with_number("9" * 1_000_000 + ".5")),
    "an event's time": Attack("/v1/events", JSON, event("time", "1e999999999")),
    "an event's rate": Attack("/v1/events", JSON, event("rate", "1e-999999999999999999999")),
    "an order's time": Attack("/v1/orders", JSON, event("time", "1e999999999999999999999")),
    "a token's life": Attack("/v1/tokens", JSON, event("expires_in_s", "1e999999999")),
    # 1.9 s, 47 s.
    "10,000 lines in 57 bytes": Attack(
        "/v1/events", NDJSON, lambda: packed(b"1\n" * 10_000), "gzip"
    ),
    "232 bytes": Attack("/v1/events", NDJSON, lambda: packed(b"1\n" * 100_000), "gzip"),
    "as many lines as there may be": Attack("/v1/events", NDJSON, lambda: b"1\n" * 49_999),
    # 73 s, 26 s.
    "empty gzip members": Attack("/v1/events", JSON, empty_frames(packed(b"")), "gzip"),
    "empty zstd frames": Attack(
        "/v1/events", JSON, empty_frames(zstandard.ZstdCompressor().compress(b"")), "zstd"
    ),
    "a thousand members": Attack("/v1/events", NDJSON, lambda: packed(b"1\n") * 1000, "gzip"),
    "zeros": Attack("/v1/events", JSON, lambda: packed(bytes(64 * MEBIBYTE)), "gzip"),
    # Each some seconds.
    "an array of nothings": Attack("/v1/events", JSON, lambda: b"[" + b"1," * 1_000_000 + b"1]"),
    "nothings in a field": Attack(
        "/v1/events", JSON, lambda: b'{"a":[' + b"{}," * 400_000 + b"{}]}"
    ),
    "orders of nothings": Attack("/v1/orders", JSON, lambda: b"[" + b"{}," * 49_000 + b"{}]"),
    "CMCD of nothings": Attack("/v1/cmcd", JSON, lambda: b"[" + b"1," * 400_000 + b"1]"),
    "as much CMCD as there may be": Attack("/v1/cmcd", JSON, lambda: b"[" + b"1," * 29_000 + b"1]"),
    "CMCD lines of nothings": Attack("/v1/cmcd", CMCD, lambda: b"1\n" * 4_900),
    "many nestings": Attack("/v1/events", JSON, lambda: b"[" * (8 * MEBIBYTE - 1)),
    "large views": Attack(
        "/v1/events",
        NDJSON,
        lambda: b"\n".join(
            b'{"type":"view","time":%d,"account":"a","device":"d","session":"s%d","content":"c",'
            b'"kind":"vod","state":"stopped"}' % (1_767_600_000_000 - number, number % 7)
            for number in range(49_000)
        ),
    ),
}
