"""A TCP proxy on 127.0.0.1 whose wire a test can cut, or turn into a hole, and mend again."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self
from urllib.parse import urlsplit, urlunsplit

BLOCK_BYTES = 64 * 1024
# A socket's least time to live of what it takes (Linux's number; any user may set it). Packets here
# have 64, so the kernel drops each before it looks at it: none is acknowledged, answered or refused.
IP_MINTTL, TTL_OF_NO_PACKET, TTL_OF_ANY = 21, 255, 0
# While a hole lasts nobody answers, and the proxy's own patience must not be what ends it; once it
# is mended, an end that has gone is found within a second.
KEEPALIVE = {
    socket.TCP_KEEPIDLE: 1,
    socket.TCP_KEEPINTVL: 1,
    socket.TCP_KEEPCNT: 127,
}


class CutProxy:
    """Passes bytes on to a port, unless it is cut: then connections break, and new ones fail.

    Bytes that were on their way when it was cut are lost, such as the answer to a commit. Where it
    swallows instead, nobody hears anything: packets are dropped in the kernel, unacknowledged.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._ends: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = self._is_hole = False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        with self._lock:
            self._is_cut = True
            ends, self._ends = self._ends, set()
        for end in ends:
            _end(end)
            end.close()

    def swallow(self) -> None:
        """Drop every packet that comes, of either side, and of whoever would connect."""
        with self._lock:
            self._is_hole = True
            _take_packets(self._listener, TTL_OF_NO_PACKET)
            for end in self._ends:
                _take_packets(end, TTL_OF_NO_PACKET)

    def mend(self) -> None:
        """Let everything through, also what is sent again of what was swallowed."""
        with self._lock:
            self._is_cut = self._is_hole = False
            for end in (self._listener, *self._ends):
                _take_packets(end, TTL_OF_ANY)

    def close(self) -> None:
        """End it."""
        self._listener.close()
        self.cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                near.close()
                continue
            far.settimeout(None)
            if self._take(near, far):
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _take(self, *ends: socket.socket) -> bool:
        """Keep the two ends of a new connection; False where it was cut meanwhile."""
        with self._lock:
            for end in ends:
                if self._is_cut:
                    end.close()
                    continue
                end.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                for option, value in KEEPALIVE.items():
                    end.setsockopt(socket.IPPROTO_TCP, option, value)
                self._ends.add(end)
                if self._is_hole:
                    _take_packets(end, TTL_OF_NO_PACKET)
            return not self._is_cut

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(BLOCK_BYTES):
                sink.sendall(block)
        with self._lock:
            self._ends -= {source, sink}
        for end in (source, sink):
            _end(end)


def through(wire: CutProxy, url: str) -> str:
    """The URL of a server by way of the wire."""
    parts = urlsplit(url)
    place = f"{parts.netloc.rpartition(':')[0]}:{wire.port}"
    return urlunsplit(parts._replace(netloc=place))


def _end(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


def _take_packets(end: socket.socket, ttl_min: int) -> None:
    with suppress(OSError):  # it may have ended
        end.setsockopt(socket.IPPROTO_IP, IP_MINTTL, ttl_min)
