"""The gateway as an ASGI application: its routes, and what stands in front of them.

Source: ASGI 3; docs/gateway.md.
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ingest.gateway.backends import Backends
from ingest.gateway.boxes import Boxes
from ingest.gateway.metrics import CONTENT_TYPE_LATEST
from ingest.gateway.openapi import document
from ingest.gateway.problems import Problem
from ingest.gateway.viewing import Viewing

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from ingest.adapters.mapped_json import JsonMapping
    from ingest.gateway.boxes import BoxFolder
    from ingest.gateway.intake import Intake

access = logging.getLogger("ratecast.gateway.access")

OPENAPI = json.dumps(document(), separators=(",", ":")).encode()
NO_SUCH_PATH = Problem(404, "no-such-path", "there is no such path; see /openapi.json")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
PROBES = {"/healthz", "/readyz", "/metrics", "/openapi.json"}


def build_app(
    intake: Intake, box_folder: BoxFolder | None = None, box_events: JsonMapping | None = None
) -> ASGIApp:
    """The application. Its log has to be open while it serves, and so does the boxes' folder.

    box_folder: None takes no bulk data. box_events: what the entries of boxes' event logs mean.
    """
    viewing, backends, probes = Viewing(intake), Backends(intake), Probes(intake)
    boxes = Boxes(intake, box_folder, box_events)

    cors = Middleware(
        CORSMiddleware,
        allow_origins=intake.options.origins,
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["*"],
        expose_headers=["Retry-After"],
        max_age=86_400,
    )
    app = Starlette(
        routes=[
            Route("/v1/events", viewing.post_events, methods=["POST"]),
            Route("/v1/cmcd", viewing.post_cmcd, methods=["POST"]),
            Route("/v1/cmcd/{token}", viewing.post_cmcd, methods=["POST"]),
            Route("/v1/mirror/{path:path}", viewing.mirror, methods=["GET"]),
            Route("/v1/bulk", boxes.post_bulk, methods=["POST", "PUT"]),
            Route("/v1/bulk/{token}", boxes.post_bulk, methods=["POST", "PUT"]),
            Route("/v1/orders", backends.post_orders, methods=["POST"]),
            Route("/v1/accounts", backends.post_accounts, methods=["POST"]),
            Route("/v1/topups", backends.post_topups, methods=["POST"]),
            Route("/v1/tokens", backends.post_tokens, methods=["POST"]),
            Route("/openapi.json", probes.openapi),
            Route("/healthz", probes.healthz),
            Route("/readyz", probes.readyz),
            Route("/metrics", probes.metrics),
        ],
        middleware=[cors],
        exception_handlers={
            Problem: answer_problem,
            HTTPException: answer_http_exception,
            Exception: answer_mistake,
        },
    )
    return Front(app, intake)


class Probes:
    """Routes for those who run the gateway."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def healthz(self, _: Request) -> Response:
        """Say that the process lives."""
        return PlainTextResponse("ok\n")

    async def readyz(self, _: Request) -> Response:
        """Say whether the log takes lines."""
        why = self._intake.log.why_not_ready
        return PlainTextResponse(why or "ready\n", 503 if why else 200)

    async def metrics(self, _: Request) -> Response:
        """Give the figures."""
        metrics, admission = self._intake.metrics, self._intake.admission
        metrics.in_flight.set(admission.requests)
        metrics.bytes_in_flight.set(admission.bytes)
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(self, _: Request) -> Response:
        """Give the OpenAPI document."""
        return Response(OPENAPI, media_type="application/json")


async def answer_problem(_: Request, problem: Exception) -> Response:
    """Answer a request that is refused."""
    assert isinstance(problem, Problem)
    return problem.response()


async def answer_http_exception(_: Request, error: Exception) -> Response:
    """Answer what no route fits."""
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        detail = "this path knows other methods only; see /openapi.json"
        return Problem(405, "bad-method", detail, headers=error.headers).response()
    return NO_SUCH_PATH.response()


async def answer_mistake(_: Request, error: Exception) -> Response:
    """Answer where the gateway itself failed; what failed goes to its error output."""
    return Problem(
        500,
        "internal",
        f"the gateway failed ({type(error).__name__}); send it again, which is harmless",
    ).response()


class Front:
    """Stands before all routes: lets requests in, counts them, and writes the access log.

    Neither the query nor a token in the path is ever written down.
    """

    def __init__(self, app: ASGIApp, intake: Intake) -> None:
        self._app = app
        self._intake = intake

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        if scope["type"] == "http" and CONTROL.search(scope["path"]):
            # "/metrics" and a line end is the same route to a pattern, and another one to a proxy.
            await NO_SUCH_PATH.response()(scope, receive, send)
            return
        if scope["type"] != "http" or scope["path"] in PROBES:
            await self._app(scope, receive, send)
            return
        started_s = time.monotonic()
        answered: dict[str, Any] = {}

        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered["status"] = message["status"]
            await send(message)

        try:
            ticket = self._intake.admission.enter()
        except Problem as problem:
            await problem.response()(scope, receive, send_on)
        else:
            scope["ratecast.ticket"] = ticket
            try:
                await self._app(scope, receive, send_on)
            finally:
                ticket.leave()
        self._count(scope, answered.get("status", 500), time.monotonic() - started_s)

    def _count(self, scope: Scope, status: int, elapsed_s: float) -> None:
        endpoint = scope.get("endpoint")
        route = getattr(endpoint, "__name__", "none").removeprefix("post_")
        self._intake.metrics.requests.labels(route, status).inc()
        self._intake.metrics.seconds.labels(route).observe(elapsed_s)
        if self._intake.options.access_log:
            client = scope["client"][0] if scope["client"] else "-"
            access.info(
                "%s %s %s %d %.1f ms", client, scope["method"], route, status, 1000 * elapsed_s
            )
