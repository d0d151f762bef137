"""A connection of a sender that nothing is known of yet, held to bounds from its first byte on.

What a sender may do before its credentials are read is bounded here: how many connections an address
and all of them have, how long one may be silent, how large a head is, and how much may come that nobody
reads any more. Bodies have their bounds where they are read (`bodies.py`).
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from ingest.gateway.senders import network_of

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection

    from ingest.gateway.metrics import Metrics

log = logging.getLogger(__name__)

HEAD_BYTES_MAX = 64 * 2**10  # of the request line and all headers
HEAD_S = 10.0  # from a connection, or the first byte of a request on it, to the end of its head
LINGER_S = 5.0  # for the rest of a body that nobody reads, so that its sender can hear why
LINGER_BYTES_MAX = 16 * 2**20
PIPELINED_MAX = 16  # requests that wait on one connection until those before them are answered
OVERHEAD_OF_BODY = 8  # chunks of one byte have six bytes around it


def plain_answer(status: str, text: str) -> bytes:
    """An answer that ends the connection."""
    return (
        f"HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-length: {len(text)}\r\n"
        f"retry-after: 10\r\nconnection: close\r\n\r\n{text}"
    ).encode()


FULL = plain_answer("429 Too Many Requests", "too many connections are open; come again\n")
LARGE_HEAD = plain_answer(
    "431 Request Header Fields Too Large", f"the head is larger than {HEAD_BYTES_MAX} bytes\n"
)


@dataclass
class Connections:
    """How many connections there are, and how many there may be: of all, and of one address.

    trusted: addresses of proxies, which bring many senders and are held to the first bound alone.
    """

    metrics: Metrics
    total_max: int
    address_max: int
    trusted: Collection[str] = ()
    total: int = 0
    of_address: Counter[str] = field(default_factory=Counter)

    def protocol(self) -> Callable[..., asyncio.Protocol]:
        """What uvicorn makes a protocol of for each connection."""
        return partial(Connection, self)

    def open(self, address: str) -> bool:
        """Count one more; returns whether it may stay."""
        self.total += 1
        self.of_address[address] += 1
        self.metrics.connections.set(self.total)
        is_fine = address in self.trusted or self.of_address[address] <= self.address_max
        return is_fine and self.total <= self.total_max

    def close(self, address: str) -> None:
        """Count one less."""
        self.total -= 1
        self.of_address[address] -= 1
        if not self.of_address[address]:
            del self.of_address[address]
        self.metrics.connections.set(self.total)

    def cut(self, why: str) -> None:
        """Count one that is ended by a bound."""
        self.metrics.cut.labels(why).inc()


class Connection(HttpToolsProtocol):
    """uvicorn's connection with bounds."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self._connections = connections
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None
        self._overhead_bytes = 0
        self._body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it where there are too many."""
        super().connection_made(transport)
        host = self.client[0] if self.client else ""
        trusted = self._connections.trusted
        self._address = host if host in trusted else network_of(host)
        if self._connections.open(self._address):
            self._end_after(HEAD_S, "no_head")
        else:
            self._end("too_many", FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let it go."""
        self._stop_timer()
        self._connections.close(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what has come, and end the connection where it is more than any honest sender sends."""
        if self.transport.is_closing():
            return
        if self._timer is None and (self.cycle is None or self.cycle.response_complete):
            self._end_after(HEAD_S, "no_head")
        self._overhead_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._overhead_bytes > HEAD_BYTES_MAX + OVERHEAD_OF_BODY * self._body_bytes:
            self._end("large_head", LARGE_HEAD)
        elif len(self.pipeline) > PIPELINED_MAX:
            self._end("pipelined")
        elif self._is_unread() and self._body_bytes > LINGER_BYTES_MAX:
            self._end("unread")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._overhead_bytes = self._body_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its head is here."""
        self._stop_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of its body."""
        self._overhead_bytes -= len(body)
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is here whole."""
        self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It was answered; what still comes of it is nobody's."""
        super().on_response_complete()
        if self._is_unread() and not self.transport.is_closing():
            self._end_after(LINGER_S, "unread")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._connections.cut("no_http")
        super().send_400_response(msg)

    def _is_unread(self) -> bool:
        """Whether a request was answered before all of it was here."""
        cycle = self.cycle
        return cycle is not None and cycle.response_complete and cycle.more_body

    def _end_after(self, seconds: float, why: str) -> None:
        self._stop_timer()
        self._timer = self.loop.call_later(seconds, self._end, why)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, why: str, answer: bytes = b"") -> None:
        """End the connection. answer: what its sender hears where nothing else is being said."""
        self._stop_timer()
        self._connections.cut(why)
        is_silent = self.cycle is None or self.cycle.response_complete
        if answer and is_silent:
            self.transport.write(answer)
        self.transport.close()
