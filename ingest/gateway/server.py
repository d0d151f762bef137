"""The gateway as a server: uvicorn on uvloop and httptools, and a stop that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Protocol

import uvicorn
import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from starlette.types import ASGIApp

    from ingest.gateway.connections import Connections

STOP_WAIT_S = 30
BACKLOG = 2048
FILES_OF_OURS = 128  # open files that are no connections
THREAD_SWITCH_S = 0.001  # how long a thread that reads a body may keep the event loop waiting
IDLE_S = 75  # longer than a proxy keeps its own side of an idle connection, 60 s usually


class Part(Protocol):
    """What has to be open while the gateway serves, and finished before it ends."""

    async def open(self) -> None:
        """Make ready."""
        ...

    async def close(self) -> None:
        """Finish, and let go."""
        ...


class Server(uvicorn.Server):
    """Stops by SIGINT or SIGTERM: requests in flight are answered. A second one stops at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals over, without raising them again at the end as uvicorn would."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def serve(
    app: ASGIApp,
    parts: Sequence[Part],
    host: str,
    port: int,
    *,
    said: Callable[[str], None],
    connections: Connections,
) -> None:
    """Serve until a signal says to stop, then finish what was taken.

    parts: opened in their order, and closed in the other. port: 0 takes a free one. said: called with
    the address once it listens. connections: their bounds; X-Forwarded-For is believed of those that
    they trust.
    Raises: OSError where it cannot listen; FolderLogError or KafkaLogError.
    """
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # no line for what is no HTTP
    sys.setswitchinterval(THREAD_SWITCH_S)
    connections.total_max = min(connections.total_max, files_max() - FILES_OF_OURS)
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=connections.protocol(),  # type: ignore[arg-type]  # it only has to be called
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        forwarded_allow_ips=list(connections.trusted),
        timeout_keep_alive=IDLE_S,
        timeout_graceful_shutdown=STOP_WAIT_S,
    )
    uvloop.run(_serve(Server(config), parts, host, port, said))


async def _serve(
    server: Server, parts: Sequence[Part], host: str, port: int, said: Callable[[str], None]
) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=BACKLOG) as listening:
        async with contextlib.AsyncExitStack() as opened:
            for part in parts:
                await part.open()
                opened.push_async_callback(part.close)
            # What is there now stays; to look through all of it again would hold everybody up.
            gc.collect()
            gc.freeze()
            host, port = listening.getsockname()[:2]
            said(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            await server.serve(sockets=[listening])


def files_max() -> int:
    """How many files this process may have open, raised as far as it may be."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard if hard != resource.RLIM_INFINITY else 2**20
