"""A request's body as plain bytes, within bounds that are checked before it is held or parsed.

A compressed body is expanded step by step and given up as soon as it is too large, has grown too much
or has too many parts, so that a bomb costs no more than an honest body.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING, NamedTuple

import zstandard
from starlette.requests import ClientDisconnect

from ingest.gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from ingest.gateway.admission import Ticket

ENCODINGS = "gzip, zstd"
WAIT_S = 30.0  # for the whole of a body
FIRST_S = 5.0  # until it has begun to come
PACE_BYTES_PER_S = 8 * 2**10  # that it keeps up then
STEP_BYTES = 64 * 2**10
ZSTANDARD_WINDOW_BYTES = 8 * 2**20
# Four bytes can be a block of 128 KiB, so one step becomes 8 MiB at most.
ZSTANDARD_STEP_BYTES = 256
RATIO_MAX = 100
EXPANDED_FREE_BYTES = 2**20  # small bodies of records that are much alike may shrink more
MEMBERS_MAX = 1000  # gzip members or Zstandard frames; each costs time, also an empty one


class Counts(NamedTuple):
    """How much a body may hold before any of it is parsed. values: its lines and commas together."""

    lines_max: int
    values_max: int


OF_BACKENDS = Counts(50_000, 500_000)
OF_PLAYERS = Counts(5_000, 30_000)  # more than half a day of heartbeats


async def read_body(
    request: Request,
    ticket: Ticket,
    bytes_max: int,
    elsewhere: Callable[[Callable[[], bytes]], Awaitable[bytes]],
) -> bytes:
    """The body, expanded where it is compressed.

    elsewhere: runs a function off the event loop.
    Raises: Problem 408, 413, 415, 429, or 400 where the compressed content is damaged.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", "zstd"):
        raise Problem(
            415,
            "bad-encoding",
            f"Content-Encoding {encoding!r} is not known here; send {ENCODINGS}, or none",
            headers={"Accept-Encoding": ENCODINGS},
        )
    stored = await _stored_bytes(request, ticket, bytes_max)
    if encoding == "identity":
        return stored
    expanding = Expanding(ticket, bytes_max, len(stored))
    expand = _expand_zstd if encoding == "zstd" else _expand_gzip
    try:
        return await elsewhere(lambda: expand(stored, expanding))
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise Problem(
            400,
            "bad-body",
            f"the body is no whole {encoding} content ({error}); compress it again, or send it "
            "without Content-Encoding",
        ) from error


def check_counts(body: bytes, counts: Counts) -> None:
    """Count the lines and values of a body before any of it is parsed.

    Raises: Problem 413 where it has more than any honest body: to read a million nothings takes a
    minute. Commas within texts count as well, which the bound has room for.
    """
    lines = body.count(b"\n") + 1
    if lines > counts.lines_max:
        raise too_many_parts(lines, "lines", counts.lines_max)
    values = body.count(b",") + lines
    if values > counts.values_max:
        raise too_many_parts(values, "values", counts.values_max)


def too_many_parts(count: int, what: str, most: int) -> Problem:
    """A body that holds more than this gateway reads at once."""
    return Problem(
        413,
        "too-large",
        f"the body has {count} {what}, expected at most {most}; cut it into smaller ones",
    )


def too_large(bytes_max: int, what: str = "the body") -> Problem:
    """A body that is larger than this gateway takes."""
    return Problem(
        413,
        "too-large",
        f"{what} is larger than {bytes_max} bytes; cut it into smaller ones",
    )


async def _stored_bytes(request: Request, ticket: Ticket, bytes_max: int) -> bytes:
    """The body as it came."""
    declared = request.headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared) > bytes_max:
        raise too_large(bytes_max)
    parts = []
    size_bytes = 0
    began_s = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(began_s + FIRST_S) as deadline:
            async for part in request.stream():
                size_bytes += len(part)
                if size_bytes > bytes_max:
                    raise too_large(bytes_max)
                ticket.hold(len(part))
                parts.append(part)
                deadline.reschedule(began_s + min(WAIT_S, FIRST_S + size_bytes / PACE_BYTES_PER_S))
    except TimeoutError as error:
        raise Problem(
            408,
            "slow-body",
            f"after {size_bytes} bytes the body came too slowly: its first must be here after "
            f"{FIRST_S:g} s, then {PACE_BYTES_PER_S} a second, and all after {WAIT_S:g} s; send it "
            "again",
        ) from error
    except ClientDisconnect as error:
        raise Problem(400, "bad-body", "the connection ended before the body did") from error
    return b"".join(parts)


class Expanding:
    """What a compressed body has come to so far, and how far it may go."""

    def __init__(self, ticket: Ticket, bytes_max: int, stored_bytes: int) -> None:
        self._ticket = ticket
        self._bytes_max = bytes_max
        self._grown_max = EXPANDED_FREE_BYTES + RATIO_MAX * stored_bytes
        self._size_bytes = 0
        self._members = 0
        self._parts: list[bytes] = []

    def begin_member(self) -> None:
        """Count one more gzip member or Zstandard frame. Raises: Problem 413."""
        self._members += 1
        if self._members > MEMBERS_MAX:
            raise Problem(
                413,
                "too-large",
                f"the compressed body has more than {MEMBERS_MAX} parts; compress it as one",
            )

    def add(self, part: bytes) -> None:
        """Take what one step has come to. Raises: Problem 413, 429."""
        self._size_bytes += len(part)
        if self._size_bytes > self._bytes_max:
            raise too_large(self._bytes_max, "the expanded body")
        if self._size_bytes > self._grown_max:
            raise Problem(
                413,
                "too-large",
                f"the body grows to more than {RATIO_MAX} times its size; send it without "
                "Content-Encoding, or in smaller bodies",
            )
        self._ticket.hold(len(part))
        self._parts.append(part)

    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)


def _expand_gzip(stored: bytes, expanding: Expanding) -> bytes:
    """Expand gzip, of several members too. Raises: zlib.error, EOFError, Problem."""
    view = memoryview(stored)
    at = 0
    while at < len(view):
        expanding.begin_member()
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not member.eof:
            # What is not consumed of a step is copied, so a step is never the whole of what is left.
            step = view[at : at + STEP_BYTES]
            part = member.decompress(step, STEP_BYTES)
            at += len(step) - len(member.unconsumed_tail) - len(member.unused_data)
            if not part and not step and not member.eof:
                raise EOFError("it ends too early")
            expanding.add(part)
    return expanding.whole()


def _expand_zstd(stored: bytes, expanding: Expanding) -> bytes:
    """Expand Zstandard, of several frames too. Raises: ZstdError, EOFError, Problem."""
    expander = zstandard.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW_BYTES)
    frame = None
    left = memoryview(stored)
    while left:
        if frame is None:
            expanding.begin_member()
            frame = expander.decompressobj()
        step = left[:ZSTANDARD_STEP_BYTES]
        expanding.add(frame.decompress(step))
        left = left[len(step) - len(frame.unused_data) :]
        frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it ends too early")
    return expanding.whole()
