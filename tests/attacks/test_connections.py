"""Who has no credentials cannot keep others out: bounds from the first byte of a connection on."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest
from services.gateway import RunningGateway

from ingest.gateway import bodies, connections
from ingest.gateway.admission import Admission
from ingest.gateway.connections import HEAD_BYTES_MAX, Connections
from ingest.gateway.metrics import Metrics
from ingest.gateway.problems import Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

ADDRESS_MAX = 50
PROXY = "203.0.113.1"  # so that the tests' own address is no proxy


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    options = ("--address-connections", str(ADDRESS_MAX), "--proxy", PROXY)
    running = RunningGateway(tmp_path_factory.mktemp("connections"), *options)
    assert running.url, running.said
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.said


def connect(running: RunningGateway) -> socket.socket:
    port = int(running.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=30)


def answer_of(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def cut(running: RunningGateway, why: str) -> float:
    with running.client("") as client:
        text = client.get("/metrics").text
    found = re.search(rf'connections_cut_total{{why="{why}"}} (\S+)', text)
    return float(found[1]) if found else 0.0


def test_an_address_gets_so_many_connections_and_no_more(gateway: RunningGateway) -> None:
    held = [connect(gateway) for _ in range(ADDRESS_MAX)]
    answers = []
    for _ in range(20):
        with closing(connect(gateway)) as more:
            answers.append(answer_of(more))
    assert all(answer.startswith(b"HTTP/1.1 429 ") for answer in answers)
    for each in held:
        each.close()
    while cut_or_none(gateway) is None:
        time.sleep(0.05)
    assert cut(gateway, "too_many") >= 20


def cut_or_none(running: RunningGateway) -> float | None:
    """None where no connection is to be had."""
    try:
        return cut(running, "too_many")
    except Exception:  # noqa: BLE001 - refused in any way
        return None


@pytest.mark.parametrize(
    "endless",
    [
        b"GET /healthz?" + b"x" * 60_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"a: " + b"b" * 60_000,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"h%d: x\r\n" % n for n in range(6000)),
        b"POST /v1/cmcd HTTP/1.1\r\nHost: x\r\nContent-Type: application/cmcd\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"".join(b"t%d: x\r\n" % n for n in range(6000)),
        b"POST /v1/cmcd HTTP/1.1\r\nHost: x\r\nContent-Type: application/cmcd\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1;" + b"e" * 60_000,
    ],
    ids=["path", "header", "headers", "trailers", "chunk extension"],
)
def test_endless_heads_end(gateway: RunningGateway, endless: bytes) -> None:
    """3 GB were taken of one; now some times the bound at most."""
    sent = 0
    with closing(connect(gateway)) as connection, suppress(ConnectionError):
        connection.sendall(endless)
        sent = len(endless)
        while sent < 100 * HEAD_BYTES_MAX:
            piece = endless[-20_000:]
            connection.sendall(piece)
            sent += len(piece)
    assert sent < 100 * HEAD_BYTES_MAX
    with gateway.client("") as client:
        assert client.get("/healthz").status_code == 200


def test_requests_that_wait_on_one_connection_are_bounded(gateway: RunningGateway) -> None:
    one = b"GET /v1/mirror/x HTTP/1.1\r\nHost: x\r\n\r\n"
    with closing(connect(gateway)) as connection:
        with suppress(ConnectionError):
            connection.sendall(one * 5000)
        answers = answer_of(connection)
    assert answers.count(b"HTTP/1.1 ") < 1000
    assert cut(gateway, "pipelined") >= 1


def test_an_answer_is_heard_though_the_body_was_not_read(gateway: RunningGateway) -> None:
    """The rest of a body is let run for a while; what never ends is cut."""
    head = b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with closing(connect(gateway)) as connection:
        connection.sendall(head)
        sent = 0
        with suppress(ConnectionError):
            while sent < 2**30:
                connection.sendall(chunk)
                sent += len(chunk)
        assert sent < 2**28
    with gateway.client("") as client:
        assert client.post("/v1/events", content=bytes(4 * 2**20)).status_code == 401


@pytest.mark.parametrize("path", ["/metrics%0a", "/v1/orders%0a", "/v1/tokens%00", "/healthz%7f"])
def test_a_path_with_a_control_character_is_no_path(gateway: RunningGateway, path: str) -> None:
    """A proxy's `location = /metrics` does not see "/metrics" and a line end, which was served."""
    with gateway.client() as client:
        assert client.request("POST" if "v1" in path else "GET", path).status_code == 404


class Silent:
    """A request whose body comes piece by piece, and then no more."""

    def __init__(self, *pieces: bytes) -> None:
        self.headers: dict[str, str] = {}
        self._pieces = pieces

    async def stream(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece
        await asyncio.Event().wait()


@pytest.mark.parametrize("pieces", [(), (b"x",), (b"x" * 1000, b"y")])
def test_a_body_that_does_not_come_is_given_up(
    pieces: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "FIRST_S", 0.01)

    async def read() -> bytes:
        request: Any = Silent(*pieces)

        async def elsewhere(_: Any) -> bytes:
            raise AssertionError

        return await bodies.read_body(request, Admission(1, 10_000).enter(), 10_000, elsewhere)

    with pytest.raises(Problem, match=f"after {sum(map(len, pieces))} bytes") as refused:
        asyncio.run(read())
    assert refused.value.status == 408


def test_nobody_known_gets_a_part_of_what_is_in_flight() -> None:
    admission = Admission(8, 100)
    tickets = [admission.enter() for _ in range(4)]
    for ticket in (tickets[0], tickets[0], tickets[1]):
        ticket.be_anonymous()
    with pytest.raises(Problem, match="without credentials"):
        tickets[2].be_anonymous()
    tickets[0].leave()
    tickets[3].be_anonymous()
    for ticket in tickets[1:]:
        ticket.leave()
    assert (admission.requests, admission.anonymous, admission.bytes) == (0, 0, 0)


# --- by a clock of the test's own -----------------------------------------------------------------


class Turned:
    """A loop's timers, run by hand."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[..., None], tuple[Any, ...]]] = []

    def call_later(self, seconds: float, run: Callable[..., None], *given: Any) -> Any:
        timer = (seconds, run, given)
        self.timers.append(timer)
        return _Timer(self, timer)

    def run_all(self) -> None:
        for _, run, given in self.timers[:]:
            run(*given)


class _Timer:
    def __init__(self, loop: Turned, timer: Any) -> None:
        self._loop, self._timer = loop, timer

    def cancel(self) -> None:
        if self._timer in self._loop.timers:
            self._loop.timers.remove(self._timer)


class Wire(asyncio.Transport):
    """The other side of a connection, as the test sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 1) if name in ("peername", "sockname") else default

    def write(self, data: Any) -> None:
        self.written += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def opened(limits: Connections) -> tuple[Any, Wire, Turned]:
    import uvicorn
    from uvicorn.server import ServerState

    config = uvicorn.Config(lambda *_: None, lifespan="off", log_config=None)  # type: ignore[arg-type]
    loop = Turned()
    wire = Wire()
    made: Any = limits.protocol()
    connection = made(config=config, server_state=ServerState(), app_state={}, _loop=loop)
    connection._start_asgi_task = lambda *_: None
    connection.connection_made(wire)
    return connection, wire, loop


@pytest.mark.parametrize(
    "sent", [b"", b"\r\n", b"GET / HTTP/1.1\r\n", b"POST /x HTTP/1.1\r\nHost: x\r\nA"]
)
def test_who_does_not_finish_a_head_in_time_is_cut(sent: bytes) -> None:
    limits = Connections(Metrics(), 10, 10)
    connection, wire, loop = opened(limits)
    for at in range(len(sent)):
        connection.data_received(sent[at : at + 1])
    (timer,) = loop.timers
    assert timer[0] == connections.HEAD_S
    loop.run_all()
    assert wire.closed
    connection.connection_lost(None)
    assert limits.total == 0
    assert not limits.of_address


def test_a_head_that_is_whole_has_no_such_end() -> None:
    connection, wire, loop = opened(Connections(Metrics(), 10, 10))
    connection.data_received(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12")
    assert loop.timers == []
    assert not wire.closed


def test_all_connections_together_are_bounded_and_a_proxys_address_is_none() -> None:
    limits = Connections(Metrics(), 5, 2, ["192.0.2.7"])
    wires = [opened(limits)[1] for _ in range(7)]
    assert [wire.closed for wire in wires] == [False] * 5 + [True] * 2
    limits = Connections(Metrics(), 5, 2, [])
    wires = [opened(limits)[1] for _ in range(4)]
    assert [wire.closed for wire in wires] == [False] * 2 + [True] * 2
    assert b"429" in wires[-1].written
