"""What every route shares: who sends, how much they may, the body, and the log.

A route reads the body, finds out what it holds, and appends: only then is the request answered.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from ingest.adapters.canonical import SUSPENDED_TYPE, LogLine
from ingest.adapters.cmcd import Options as CmcdOptions
from ingest.gateway.admission import Admission
from ingest.gateway.bodies import OF_BACKENDS, OF_PLAYERS, check_counts, read_body
from ingest.gateway.group_commit import LogUnavailable
from ingest.gateway.limits import Buckets, Limit
from ingest.gateway.problems import no_credentials, retry_later
from ingest.gateway.repeats import Repeats
from ingest.gateway.senders import Anonymous, Backend, Viewer
from ingest.gateway.tokens import GRACE_S
from ingest.gateway.traces import Traces
from ingest.gateway.turns import Turns
from rating.schemas import RECORD_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request

    from ingest.adapters.mapped_json import JsonMapping
    from ingest.gateway.admission import Ticket
    from ingest.gateway.group_commit import UsageLog
    from ingest.gateway.keys import KeyRing
    from ingest.gateway.metrics import Metrics
    from ingest.gateway.records import Records
    from ingest.gateway.senders import Sender

ANONYMOUS_BYTES_MAX = 64 * 2**10
VIEWER_BYTES_MAX = 2**20  # of a player's own report: hours of heartbeats
RECORD_TYPES_COUNTED = 20
NOBODY = "anonymous"
BYTES_OF_RECORD = 4096  # a body counts for as many records as it has of these, if it has fewer
INLINE_BYTES_MAX = 8 * 2**10  # a body that is read on the event loop, if it has few values
INLINE_VALUES_MAX = 300
INLINE_LINES_MAX = 2000  # whose `received` is set on the event loop
THREADS = 2

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set.

    body_bytes_max: of one body, expanded. requests_max, bytes_max: in flight at once. The limits are
    in records: of a back end's key where the key file says nothing else, of an account whose players
    send, of an address that nothing is known of, and of all such addresses together.
    takes_anonymous: whether reports that nothing binds are kept as suspended lines.
    origins: of the web pages whose players may send. cmcd: how players' reports are understood.
    mappings: how back ends' own JSON is, by the ids of the mappings.
    token_grace_s: how long after its token's end a session's reports are still taken.
    """

    body_bytes_max: int = 8 * 2**20
    requests_max: int = 2000
    bytes_max: int = 256 * 2**20
    key_limit: Limit = field(default=Limit(50_000, 200_000))
    account_limit: Limit = field(default=Limit(20, 2000))
    address_limit: Limit = field(default=Limit(0.5, 20))
    anonymous_limit: Limit = field(default=Limit(50, 500))
    takes_anonymous: bool = True
    origins: tuple[str, ...] = ("*",)
    access_log: bool = False
    cmcd: CmcdOptions = field(default=CmcdOptions())
    mappings: Mapping[str, JsonMapping] = field(default_factory=dict)
    token_grace_s: int = GRACE_S


class Intake:
    """The state of one gateway, each part with one owner."""

    def __init__(self, log: UsageLog, keys: KeyRing, options: Options, metrics: Metrics) -> None:
        self.log = log
        self.keys = keys
        self.options = options
        self.metrics = metrics
        self.traces = Traces()
        self.repeats = Repeats()
        self.admission = Admission(options.requests_max, options.bytes_max)
        self._buckets = Buckets()
        self._threads = ThreadPoolExecutor(THREADS, "gateway-bodies")
        self._turns = Turns()
        self._order = asyncio.Lock()
        self._appended_ms = 0  # the `received` of what was appended last

    def let_pass(self, request: Request, sender: Sender) -> None:
        """Hold back a sender that sent too much lately, before its body is read.

        Raises: Problem 429, 401.
        """
        ticket = ticket_of(request)
        if isinstance(sender, Anonymous):
            if not self.options.takes_anonymous:
                raise no_credentials(f"{sender.why}; this gateway takes no such reports")
            ticket.be_anonymous()
        for name, limit in self._limits_of(sender):
            wait_s = self._buckets.wait_s(name, limit)
            if wait_s > 0:
                raise retry_later(
                    "too-many",
                    f"more than {limit.per_s:g} records a second came from this "
                    f"{name.partition(' ')[0]}; nothing of this request is in the log, so send it "
                    "again later",
                    wait_s,
                )
        self.pay(request, sender, 1)

    def pay(self, request: Request, sender: Sender, records: int) -> None:
        """Count a request as so many records of its sender's, if it has not been counted as more.

        What is refused is paid for as well: it cost as much to find out.
        """
        ticket = ticket_of(request)
        if records <= ticket.paid:
            return
        for name, limit in self._limits_of(sender):
            self._buckets.take(name, records - ticket.paid, limit)
        ticket.paid = records

    async def body(self, request: Request, sender: Sender, *, of_box: bool = False) -> bytes:
        """The body of a request, within its sender's bounds. Raises: Problem.

        of_box: a box's report holds all that it has watched lately, so it may be as large as a back
        end's.
        """
        bytes_max, counts = self.options.body_bytes_max, OF_BACKENDS
        if isinstance(sender, Anonymous):
            bytes_max, counts = min(bytes_max, ANONYMOUS_BYTES_MAX), OF_PLAYERS
        elif isinstance(sender, Viewer) and not of_box:
            bytes_max, counts = min(bytes_max, VIEWER_BYTES_MAX), OF_PLAYERS
        ticket = ticket_of(request)
        try:
            body = await read_body(
                request, ticket, bytes_max, lambda expand: self.elsewhere(sender, expand)
            )
        finally:
            self.pay(request, sender, ticket.held_bytes // BYTES_OF_RECORD)
        self.pay(request, sender, body.count(b"\n"))
        check_counts(body, counts)
        return body

    async def understand(self, sender: Sender, body: bytes, read: Callable[[], Result]) -> Result:
        """What a body says: one that takes long to read is read off the event loop."""
        is_small = (
            len(body) <= INLINE_BYTES_MAX
            and body.count(b",") + body.count(b"\n") <= INLINE_VALUES_MAX
        )
        return read() if is_small else await self.elsewhere(sender, read)

    async def elsewhere(self, sender: Sender, work: Callable[[], Result]) -> Result:
        """Run what takes long in a thread. Of each sender only one has a thread at a time."""
        async with self._turns.of(self._limits_of(sender)[0][0]):
            context = contextvars.copy_context()
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, context.run, work)

    async def append_fresh(
        self, request: Request, sender: Sender, records: Records, received_ms: int
    ) -> None:
        """As `append`, without views that would be watched again. Raises: Problem 503."""
        is_player = not isinstance(sender, Backend) or sender.binding is not None
        async with self.repeats.turn(records):
            fresh = self.repeats.fresh(records, is_player=is_player)
            await self.append(request, sender, fresh, received_ms)
            await self.repeats.remember(records)

    async def append(
        self, request: Request, sender: Sender, lines: Sequence[LogLine], received_ms: int
    ) -> int:
        """Return once the lines are in the log: their `received`, in ms.

        received_ms: what the lines were made with. It is set anew where later ones were appended in
        the meantime, so that it ascends through the log. Raises: Problem 503.
        """
        self.pay(request, sender, len(lines))
        if not lines:
            return received_ms
        try:
            if len(lines) <= INLINE_LINES_MAX and not self._order.locked():
                ms = self._appended_ms = max(received_ms, self._appended_ms)
                await self.log.append(received_at(lines, received_ms, ms))
            else:
                ms = await self._append_many(lines, received_ms)
        except LogUnavailable as failure:
            raise retry_later(
                "no-log", f"{failure}; send it again, which is harmless", 2, 503
            ) from failure
        for type_, number in Counter(line.type for line in lines).most_common(RECORD_TYPES_COUNTED):
            self.metrics.lines.labels(type_ if type_ in COUNTED else "other").inc(number)
        return ms

    async def _append_many(self, lines: Sequence[LogLine], received_ms: int) -> int:
        """As `append`, where it takes long to set `received`: what comes meanwhile comes behind."""
        async with self._order:
            ms = self._appended_ms = max(received_ms, self._appended_ms)
            stamped = await asyncio.to_thread(received_at, lines, received_ms, ms)
            appended = asyncio.ensure_future(self.log.append(stamped))
            await asyncio.sleep(0)  # now they have their place
        await appended
        return ms

    def _limits_of(self, sender: Sender) -> list[tuple[str, Limit]]:
        if isinstance(sender, Backend):
            return [(f"key {sender.key.id}", sender.key.limit or self.options.key_limit)]
        if isinstance(sender, Anonymous):
            return [
                (f"address {sender.address}", self.options.address_limit),
                (NOBODY, self.options.anonymous_limit),
            ]
        return [(f"account {sender.binding.account}", self.options.account_limit)]


COUNTED = {*filter(None, RECORD_TYPES), SUSPENDED_TYPE}


def ticket_of(request: Request) -> Ticket:
    """The share of a request in what is in flight."""
    ticket: Ticket = request.scope["ratecast.ticket"]
    return ticket


def received_at(lines: Sequence[LogLine], made_ms: int, now_ms: int) -> Sequence[LogLine]:
    """Lines that were made with one `received`, with another one.

    Every adapter writes it last; a line that it could not read has none, and stays as it came.
    """
    if made_ms == now_ms:
        return lines
    made, now = b'"received":%d}' % made_ms, b'"received":%d}' % now_ms
    return [
        LogLine(line.account, line.line[: -len(made)] + now, line.type)
        if line.line.endswith(made)
        else line
        for line in lines
    ]
