"""Routes for reports of viewing: /v1/events, /v1/cmcd and what an edge mirrors.

What is in the log is answered with success even where a record in it is malformed: it is suspended
with its reason when it is rated, and to send it again would not mend it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from ingest.adapters.cmcd import Trace, adapt_body, adapt_request
from ingest.cmcd import written_arguments
from ingest.gateway.intake import ANONYMOUS_BYTES_MAX
from ingest.gateway.player_events import bound_event_lines
from ingest.gateway.problems import Problem, no_credentials
from ingest.gateway.records import records_of
from ingest.gateway.reports import (
    asks_for_media,
    event_lines,
    unbound_lines,
    within_token,
)
from ingest.gateway.senders import Anonymous, Backend, identify
from ingest.gateway.sent import sent_ms
from ingest.gateway.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from ingest.adapters.clocks import Clock
    from ingest.adapters.cmcd import Adapted
    from ingest.adapters.mapped_json import JsonMapping
    from ingest.gateway.intake import Intake
    from ingest.gateway.records import Records
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
SCOPES_OF_TYPES = {"order": "orders", "account": "accounts", "balance": "topups"}
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
        sender = self._sender(request)
        if isinstance(sender, Anonymous):
            raise no_credentials(f"{sender.why}; send an API key or a session's token")
        self._intake.let_pass(request, sender)
        mapping = self._mapping(request)
        check_type(request, EVENT_TYPES)
        body = await self._intake.body(request, sender)
        if not body.strip() and "ce-specversion" not in request.headers:
            raise Problem(400, "bad-body", "the body is empty; send at least one record")
        headers = dict(request.headers.items())
        sent = sent_ms(headers)
        if (binding := sender.binding) is not None:
            return await self._take_events(request, sender, body, binding, sent)
        assert isinstance(sender, Backend)
        received_ms = self._intake.log.received_ms()
        records = await self._intake.understand(
            sender,
            body,
            lambda: self._intake.repeats.records(event_lines(headers, body, received_ms, mapping)),
        )
        for type_ in {line.type for line in records.lines}:
            need_scope(sender, type_)
        await self._intake.append_fresh(request, sender, records, received_ms)
        return JSONResponse(records.answer(), 202)

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
        request: Request,
        sender: Sender,
        body: bytes,
        binding: Binding,
        sent: int | None,
    ) -> Response:
        """Log the events of a viewer."""
        headers = dict(request.headers.items())
        async with self._turns.of((binding.account, binding.device, binding.session)):
            trace = self._traces.of(binding) or Trace()
            received_ms = self._intake.log.received_ms()

            def read() -> tuple[Records, Clock]:
                lines, clock = bound_event_lines(
                    headers, body, binding, received_ms, sent, trace.clock
                )
                return self._intake.repeats.records(lines), clock

            records, clock = await self._intake.understand(sender, body, read)
            await self._intake.append_fresh(request, sender, records, received_ms)
            self._traces.keep(binding, trace._replace(clock=clock))
        if binding.why_over:
            raise session_over(binding)
        return JSONResponse(records.answer(), 202)

    async def post_cmcd(self, request: Request) -> Response:
        """Take a player's report, event mode."""
        sender = self._sender(request)
        self._intake.let_pass(request, sender)
        check_type(request, CMCD_TYPES)
        body = await self._intake.body(request, sender)
        if not body.strip() and request.url.query:
            return await self.mirror(request)
        sent = sent_ms(request.headers)
        return await self._take_cmcd(
            request,
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
        sender = self._sender(request)
        self._intake.let_pass(request, sender)
        headers = dict(request.headers.items())
        query = request.url.query
        sent = sent_ms(headers)
        if asks_for_media(headers, query):
            return Response(status_code=204)
        said = [text for name, text in headers.items() if name.startswith("cmcd-")]
        raw = "\n".join(said or written_arguments(query)).encode()
        return await self._take_cmcd(
            request,
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
        self,
        request: Request,
        sender: Sender,
        raw: bytes,
        adapt: Callable[[Binding, int], Adapted],
    ) -> Response:
        """Log a report: that of a viewer as usage, any other one as it came."""
        binding = None if isinstance(sender, Anonymous) else sender.binding
        received_ms = self._intake.log.received_ms()
        if binding is None:
            why = sender.why if isinstance(sender, Anonymous) else NOT_PASSED_ON
            lines = unbound_lines(raw, why, received_ms)
            await self._intake.append(request, sender, lines, received_ms)
            return Response(status_code=204)
        async with self._turns.of((binding.account, binding.device, binding.session)):
            received_ms = self._intake.log.received_ms()

            def read() -> tuple[Records, Trace]:
                adapted = within_token(adapt(binding, received_ms), binding)
                lines = adapted.log_lines(received_ms)
                return self._intake.repeats.records(lines), adapted.trace

            records, trace = await self._intake.understand(sender, raw, read)
            await self._intake.append_fresh(request, sender, records, received_ms)
            self._traces.keep(binding, trace)
        if binding.why_over:
            raise session_over(binding)
        return Response(status_code=204)

    def _sender(self, request: Request) -> Sender:
        return identify(request, self._intake.keys.now(), self._intake.options.token_grace_s)


def need_scope(sender: Backend, type_: str) -> None:
    """Raises: Problem 403 where a back end's key does not allow this type of record here.

    Other records than views have routes of their own, which a proxy guards by more than the key; so
    a key has to say that it may send them here as well.
    """
    scope = SCOPES_OF_TYPES.get(type_.partition(".")[0])
    sender.need(scope or "events")
    if scope or type_ == "clock":
        sender.need("mixed")


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
    line = b'{"type":"view","time":1}'
    records_of(event_lines({}, b"\n".join([line, line]), 0))


def session_over(binding: Binding) -> Problem:
    """What a player hears whose session has ended: to stop for good."""
    return Problem(
        410,
        "over",
        f"{binding.why_over}; what happened before was taken. Ask the operator for a new session",
    )
