"""Routes for reports of viewing: /v1/events, /v1/cmcd and what an edge mirrors.

What is in the log is answered with success even where a record in it is malformed: it is suspended
with its reason when it is rated, and to send it again would not mend it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from ingest.adapters.cmcd import Trace, adapt_body, adapt_request
from ingest.cmcd import find_arguments
from ingest.gateway.intake import ANONYMOUS_BYTES_MAX
from ingest.gateway.player_events import bound_event_lines
from ingest.gateway.problems import Problem, no_credentials
from ingest.gateway.reports import (
    asks_for_media,
    event_lines,
    unbound_lines,
    within_token,
)
from ingest.gateway.senders import Anonymous, Backend, identify
from ingest.gateway.sent import sent_ms
from ingest.gateway.turns import Turns
from ingest.json_lines import decode_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from ingest.adapters.canonical import LogLine
    from ingest.adapters.cmcd import Adapted
    from ingest.adapters.mapped_json import JsonMapping
    from ingest.gateway.intake import Intake
    from ingest.gateway.senders import Sender
    from ingest.gateway.tokens import Binding

EVENT_TYPES = (
    "application/json",
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/cloudevents+json",
    "application/cloudevents-batch+json",
)
SCOPE_OF_TYPES = {
    "order.purchase": "orders",
    "order.cancel": "orders",
    "account.open": "accounts",
    "account.subscribe": "accounts",
    "account.unsubscribe": "accounts",
    "balance.topup": "topups",
}
# The last two are a browser's own: of sendBeacon with a text, and of a form.
CMCD_TYPES = (
    "application/cmcd",
    "text/cmcd",
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
)
NOT_PASSED_ON = (
    "the back end passed no good token of a viewer on, so nothing binds it to an account"
)
PROBLEMS_MAX = 20
SHOWN_CHARACTERS = 60


class Viewing:
    """The routes."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._traces = intake.traces
        self._turns = Turns()

    async def events(self, request: Request) -> Response:
        """Take usage records, or say that they are welcome."""
        is_asked = request.method == "OPTIONS"
        return await (self.allow_webhook(request) if is_asked else self.post_events(request))

    async def cmcd(self, request: Request) -> Response:
        """Take a player's report, from its body or from its query and headers."""
        has_body = request.method == "POST"
        return await (self.post_cmcd(request) if has_body else self.mirror(request))

    async def post_events(self, request: Request) -> Response:
        """Take usage records, native or as CloudEvents."""
        sender = identify(request, self._intake.keys.now())
        if isinstance(sender, Anonymous):
            raise no_credentials(f"{sender.why}; send an API key or a session's token")
        self._intake.let_pass(sender)
        mapping = self._mapping(request)
        check_type(request, EVENT_TYPES)
        body = await self._intake.body(request, sender)
        if not body.strip() and "ce-specversion" not in request.headers:
            raise Problem(400, "bad-body", "the body is empty; send at least one record")
        headers = dict(request.headers.items())
        sent = sent_ms(headers)
        if (binding := sender.binding) is not None:
            return await self._take_events(sender, headers, body, binding, sent)
        assert isinstance(sender, Backend)
        async with self._intake.repeats.turn(body):
            lines = event_lines(headers, body, self._intake.log.received_ms(), mapping)
            for type_ in {line.type for line in lines}:
                sender.need(SCOPE_OF_TYPES.get(type_, "events"))
            await self._intake.append_fresh(sender, lines)
        return JSONResponse(taken(lines), 202)

    def _mapping(self, request: Request) -> JsonMapping | None:
        """How a back end's own JSON is read (`?mapping=ID`). Raises: Problem 404."""
        asked = request.query_params.get("mapping")
        mapping = self._intake.options.mappings.get(asked or "")
        if asked is not None and mapping is None:
            raise Problem(
                404,
                "no-such-path",
                f"no mapping {asked[:SHOWN_CHARACTERS]!r} is known here; start the gateway with "
                "--mapping FILE",
            )
        return mapping

    async def allow_webhook(self, request: Request) -> Response:
        """Say that CloudEvents may be delivered here; each delivery still needs a key.

        Source: CloudEvents 1.0 HTTP webhooks, section 4 (the handshake against abuse).
        """
        origin = request.headers.get("webhook-request-origin")
        headers = {"Allow": "OPTIONS, POST"}
        if origin is not None:
            headers |= {"WebHook-Allowed-Origin": origin, "WebHook-Allowed-Rate": "*"}
        return Response(status_code=200, headers=headers)

    async def _take_events(
        self,
        sender: Sender,
        headers: dict[str, str],
        body: bytes,
        binding: Binding,
        sent: int | None,
    ) -> Response:
        """Log the events of a viewer."""
        async with self._turns.of((binding.account, binding.device, binding.session)):
            trace = self._traces.of(binding) or Trace()
            received_ms = self._intake.log.received_ms()
            lines, clock = bound_event_lines(headers, body, binding, received_ms, sent, trace.clock)
            await self._intake.append_fresh(sender, lines)
            self._traces.keep(binding, trace._replace(clock=clock))
        if binding.why_over:
            raise session_over(binding)
        return JSONResponse(taken(lines), 202)

    async def post_cmcd(self, request: Request) -> Response:
        """Take a player's report, event mode."""
        sender = identify(request, self._intake.keys.now())
        self._intake.let_pass(sender)
        check_type(request, CMCD_TYPES)
        body = await self._intake.body(request, sender)
        if not body.strip() and request.url.query:
            return await self.mirror(request)
        sent = sent_ms(request.headers)
        return await self._take_cmcd(
            sender,
            body,
            lambda binding, received_ms: adapt_body(
                body,
                binding,
                received_ms,
                media=media_type(request),
                sent_ms=sent,
                trace=self._traces.of(binding),
                options=self._intake.options.cmcd,
            ),
        )

    async def mirror(self, request: Request) -> Response:
        """Take CMCD in the query or the headers: of what an edge mirrors, or a player's by GET."""
        sender = identify(request, self._intake.keys.now())
        self._intake.let_pass(sender)
        headers = dict(request.headers.items())
        query = request.url.query
        sent = sent_ms(headers)
        if asks_for_media(headers, query):
            return Response(status_code=204)
        said = [text for name, text in headers.items() if name.startswith("cmcd-")]
        raw = "\n".join(said or find_arguments(query)).encode()
        return await self._take_cmcd(
            sender,
            raw[:ANONYMOUS_BYTES_MAX],
            lambda binding, received_ms: adapt_request(
                headers,
                query,
                binding,
                received_ms,
                sent_ms=sent,
                trace=self._traces.of(binding),
                options=self._intake.options.cmcd,
            ),
        )

    async def _take_cmcd(
        self, sender: Sender, raw: bytes, adapt: Callable[[Binding, int], Adapted]
    ) -> Response:
        """Log a report: that of a viewer as usage, any other one as it came."""
        binding = None if isinstance(sender, Anonymous) else sender.binding
        if binding is None:
            why = sender.why if isinstance(sender, Anonymous) else NOT_PASSED_ON
            lines = unbound_lines(raw, why, self._intake.log.received_ms())
            await self._intake.append(sender, lines)
            return Response(status_code=204)
        async with self._turns.of((binding.account, binding.device, binding.session)):
            received_ms = self._intake.log.received_ms()
            adapted = within_token(adapt(binding, received_ms), binding)
            await self._intake.append_fresh(sender, adapted.log_lines(received_ms))
            self._traces.keep(binding, adapted.trace)
        if binding.why_over:
            raise session_over(binding)
        return Response(status_code=204)


def media_type(request: Request) -> str:
    """The content type without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def check_type(request: Request, types: Sequence[str]) -> None:
    """Raises: Problem 415 where the body is of no type that is read here."""
    media = media_type(request)
    if media not in types:
        raise Problem(
            415,
            "bad-type",
            f"Content-Type is {media or 'missing'}, expected one of {', '.join(types)}",
            headers={"Accept": ", ".join(types)},
        )


def compile_readers() -> None:
    """Compile what reads records, or load it from the cache, before the first request waits."""
    taken(event_lines({}, b'{"type":"view"}\n{"type":"view"}', 0))


def taken(lines: Sequence[LogLine]) -> dict[str, object]:
    """What to say of lines that are in the log: how many, and what will be suspended."""
    batch = decode_lines(b"\n".join(line.line for line in lines), str)
    answer: dict[str, object] = {"accepted": len(lines), "suspended": len(batch.malformed)}
    if batch.malformed:
        answer["problems"] = [
            {"record": row + 1, "detail": why}
            for row, why in list(batch.malformed.items())[:PROBLEMS_MAX]
        ]
    return answer


def session_over(binding: Binding) -> Problem:
    """What a player hears whose session has ended: to stop for good."""
    return Problem(
        410,
        "over",
        f"{binding.why_over}; what happened before was taken. Ask the operator for a new session",
    )
