"""What every route shares: who sends, how much they may, the body, and the log.

A route reads the body, finds out what it holds, and appends: only then is the request answered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ingest.adapters.canonical import SUSPENDED_TYPE
from ingest.adapters.cmcd import Options as CmcdOptions
from ingest.gateway.admission import Admission
from ingest.gateway.bodies import read_body, too_large
from ingest.gateway.group_commit import LogUnavailable
from ingest.gateway.limits import Buckets, Limit
from ingest.gateway.problems import no_credentials, retry_later
from ingest.gateway.repeats import Repeats
from ingest.gateway.senders import Anonymous, Backend
from ingest.gateway.traces import Traces
from rating.schemas import RECORD_TYPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.requests import Request

    from ingest.adapters.canonical import LogLine
    from ingest.adapters.mapped_json import JsonMapping
    from ingest.gateway.group_commit import UsageLog
    from ingest.gateway.keys import KeyRing
    from ingest.gateway.metrics import Metrics
    from ingest.gateway.senders import Sender

LINE_BYTES_MAX = 512 * 2**10  # so that any line fits into a Kafka message of the usual size
ANONYMOUS_BYTES_MAX = 64 * 2**10
RECORD_TYPES_COUNTED = 20
NOBODY = "anonymous"


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator may set.

    body_bytes_max: of one body, expanded. requests_max, bytes_max: in flight at once. The limits are
    in records: of a back end's key where the key file says nothing else, of an account whose players
    send, of an address that nothing is known of, and of all such addresses together.
    takes_anonymous: whether reports that nothing binds are kept as suspended lines.
    origins: of the web pages whose players may send. cmcd: how players' reports are understood.
    mappings: how back ends' own JSON is, by the ids of the mappings.
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

    async def body(self, request: Request, sender: Sender) -> bytes:
        """The body of a request. Raises: Problem."""
        bytes_max = self.options.body_bytes_max
        if isinstance(sender, Anonymous):
            bytes_max = min(bytes_max, ANONYMOUS_BYTES_MAX)
        return await read_body(request, request.scope["ratecast.ticket"], bytes_max)

    def let_pass(self, sender: Sender) -> None:
        """Hold back a sender that sent too much lately. Raises: Problem 429, 401."""
        if isinstance(sender, Anonymous) and not self.options.takes_anonymous:
            raise no_credentials(f"{sender.why}; this gateway takes no such reports")
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

    async def append_fresh(self, sender: Sender, lines: Sequence[LogLine]) -> None:
        """As `append`, without those that would be watched again. Raises: Problem 413, 503."""
        await self.append(sender, self.repeats.fresh(lines))
        self.repeats.remember(lines)

    async def append(self, sender: Sender, lines: Sequence[LogLine]) -> None:
        """Return once the lines are in the log. Raises: Problem 413, 503."""
        for name, limit in self._limits_of(sender):
            self._buckets.take(name, max(1, len(lines)), limit)
        if any(len(line.line) > LINE_BYTES_MAX for line in lines):
            raise too_large(LINE_BYTES_MAX, "a record, as the log has it,")
        if not lines:
            return
        try:
            await self.log.append(lines)
        except LogUnavailable as failure:
            raise retry_later(
                "no-log", f"{failure}; send it again, which is harmless", 2, 503
            ) from failure
        for type_, number in Counter(line.type for line in lines).most_common(RECORD_TYPES_COUNTED):
            self.metrics.lines.labels(type_ if type_ in COUNTED else "other").inc(number)

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
