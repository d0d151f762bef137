"""`/metrics`, `/healthz` and `/readyz`: how a process is asked how it is.

A server in a thread of its own answers, so that it does so while the process is busy. Whoever has
a web server already answers by `answer` there.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import TYPE_CHECKING

from prometheus_client.exposition import choose_encoder

from rating.runtime.failures import end_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry

SILENCE_S_MAX = 120.0  # longer than any batch takes
LAST_LOOK_S_MAX = 60.0  # Prometheus seldom looks more rarely
TEXT = "text/plain; charset=utf-8"
STARTING = "starting"
WORK = "work"


@dataclass(slots=True)
class Health:
    """What a process says of itself.

    silence_s_max: without a sign of life for so long, it counts as stuck and wants a restart.
    signs: how often it gave one.
    """

    silence_s_max: float = SILENCE_S_MAX
    signs: int = 0
    _alive_at_s: float = field(default_factory=time.monotonic)
    _waiting_for: dict[str, str] = field(default_factory=lambda: {WORK: STARTING})
    _read: Event = field(default_factory=Event)

    def alive(self) -> None:
        """Give a sign of life, from where the work is done."""
        self.signs += 1
        self._alive_at_s = time.monotonic()

    def ready(self, part: str = WORK) -> None:
        """Say that a part of what the work needs is there."""
        self._waiting_for.pop(part, None)

    def not_ready(self, waiting_for: str, part: str = WORK) -> None:
        """Say what the work waits for, such as "no partition is assigned yet"."""
        self._waiting_for[part] = waiting_for

    def reader(self) -> Event:
        """What to set once the metrics, as they are at this call, have been read."""
        return self._read

    def await_reader(self, at_most_s: float = LAST_LOOK_S_MAX) -> None:
        """Wait until the metrics are read once more: what is counted last would end unseen."""
        self._read = Event()  # a reader that came before has older figures
        self._read.wait(at_most_s)

    def complaint(self) -> str:
        """What is wrong with the process itself; "" where nothing is."""
        silence_s = time.monotonic() - self._alive_at_s
        return f"no sign of life for {silence_s:.0f} s" if silence_s > self.silence_s_max else ""

    def waiting_for(self) -> str:
        """Why the work cannot be done now; "" where it can."""
        return self.complaint() or next(iter(tuple(self._waiting_for.values())), "")


@contextmanager
def ended_when_silent(health: Health, look_every_s: float = 1.0) -> Iterator[None]:
    """End the process, with a sentence, where its work gives no sign of life while the block runs.

    It counts looks without a new sign, not seconds: a process that was frozen has not looked either.
    """
    over = Event()

    def look() -> None:
        signs, silent_looks = health.signs, 0
        while not over.wait(look_every_s):
            silent_looks = silent_looks + 1 if health.signs == signs else 0
            signs = health.signs
            if silent_looks * look_every_s > health.silence_s_max:
                end_at_once(
                    RuntimeError(
                        f"the work gave no sign of life for {silent_looks * look_every_s:.0f} s; "
                        "start it again, as a supervisor does"
                    )
                )

    thread = Thread(target=look, daemon=True, name="silence")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    content_type: str
    body: bytes


def answer(path: str, accept: str, registry: CollectorRegistry, health: Health) -> Answer | None:
    """Answer one of the three paths; None for any other. accept: the request's header, or ""."""
    match path.partition("?")[0]:
        case "/metrics":
            encode, content_type = choose_encoder(accept)
            return Answer(HTTPStatus.OK, content_type, encode(registry))
        case "/healthz":
            return _said(health.complaint())
        case "/readyz":
            return _said(health.waiting_for())
    return None


def _said(wrong: str) -> Answer:
    status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
    return Answer(status, TEXT, f"{wrong or 'ok'}\n".encode())


@contextmanager
def probed(
    address: tuple[str, int] | None, registry: CollectorRegistry, health: Health
) -> Iterator[int]:
    """Answer at an address while the block runs. Gives the port; 0 where no address is given.

    Raises: OSError where the address cannot be had.
    """
    if address is None:
        yield 0
        return

    class Probes(BaseHTTPRequestHandler):
        """The three paths."""

        def do_GET(self) -> None:
            """Answer a request."""
            reader = health.reader()
            found = answer(self.path, self.headers.get("Accept", ""), registry, health)
            found = found or Answer(HTTPStatus.NOT_FOUND, TEXT, b"/metrics, /healthz, /readyz\n")
            self.send_response(found.status)
            self.send_header("Content-Type", found.content_type)
            self.send_header("Content-Length", str(len(found.body)))
            self.end_headers()
            self.wfile.write(found.body)
            if found.status == HTTPStatus.OK and self.path.startswith("/metrics"):
                reader.set()

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape every few seconds is no news."""

    with _Server(address, Probes) as server:
        thread = Thread(target=server.serve_forever, args=(0.1,), daemon=True, name="probes")
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    """Does not wait for requests under way when it ends."""

    daemon_threads = True
    block_on_close = False
