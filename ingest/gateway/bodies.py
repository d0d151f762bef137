"""A request's body as plain bytes, of a size that is known before it is held.

A compressed body is expanded step by step and given up as soon as it is too large, so that a bomb
costs no more than an honest body of the largest size.
"""

from __future__ import annotations

import asyncio
import zlib
from typing import TYPE_CHECKING

import zstandard
from starlette.requests import ClientDisconnect

from ingest.gateway.problems import Problem

if TYPE_CHECKING:
    from starlette.requests import Request

    from ingest.gateway.admission import Ticket

ENCODINGS = "gzip, zstd"
WAIT_S = 30.0  # for the whole of a body
STEP_BYTES = 64 * 2**10
ZSTANDARD_WINDOW_BYTES = 8 * 2**20
# Four bytes can be a block of 128 KiB, so one step becomes 8 MiB at most.
ZSTANDARD_STEP_BYTES = 256


async def read_body(request: Request, ticket: Ticket, bytes_max: int) -> bytes:
    """The body, expanded where it is compressed.

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
    expand = _expand_zstd if encoding == "zstd" else _expand_gzip
    try:
        return expand(stored, ticket, bytes_max)
    except (zlib.error, zstandard.ZstdError, EOFError) as error:
        raise Problem(
            400,
            "bad-body",
            f"the body is no whole {encoding} content ({error}); compress it again, or send it "
            "without Content-Encoding",
        ) from error


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
    try:
        async with asyncio.timeout(WAIT_S):
            async for part in request.stream():
                size_bytes += len(part)
                if size_bytes > bytes_max:
                    raise too_large(bytes_max)
                ticket.hold(len(part))
                parts.append(part)
    except TimeoutError as error:
        raise Problem(
            408, "slow-body", f"the body was not here after {WAIT_S:g} s; send it again"
        ) from error
    except ClientDisconnect as error:
        raise Problem(400, "bad-body", "the connection ended before the body did") from error
    return b"".join(parts)


def _expand_gzip(stored: bytes, ticket: Ticket, bytes_max: int) -> bytes:
    """Expand gzip, of several members too. Raises: zlib.error, EOFError, Problem."""
    parts: list[bytes] = []
    size_bytes = 0
    left = stored
    while left:
        member = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        while not member.eof:
            part = member.decompress(left, STEP_BYTES)
            left = member.unconsumed_tail
            if not part and not left and not member.eof:
                raise EOFError("it ends too early")
            size_bytes += len(part)
            if size_bytes > bytes_max:
                raise too_large(bytes_max, "the expanded body")
            ticket.hold(len(part))
            parts.append(part)
        left = member.unused_data
    return b"".join(parts)


def _expand_zstd(stored: bytes, ticket: Ticket, bytes_max: int) -> bytes:
    """Expand Zstandard, of several frames too. Raises: ZstdError, EOFError, Problem."""
    parts: list[bytes] = []
    size_bytes = 0
    frame = None
    left = memoryview(stored)
    while left:
        frame = (
            frame
            or zstandard.ZstdDecompressor(max_window_size=ZSTANDARD_WINDOW_BYTES).decompressobj()
        )
        part = frame.decompress(left[:ZSTANDARD_STEP_BYTES])
        size_bytes += len(part)
        if size_bytes > bytes_max:
            raise too_large(bytes_max, "the expanded body")
        ticket.hold(len(part))
        parts.append(part)
        left = left[ZSTANDARD_STEP_BYTES - len(frame.unused_data) :]
        frame = None if frame.eof else frame
    if frame is not None:
        raise EOFError("it ends too early")
    return b"".join(parts)
