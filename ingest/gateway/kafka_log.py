"""The usage log in Kafka: many records to a message, acknowledged by all in-sync replicas.

The producer is idempotent, so its own retries never double a message or change the order of a
partition. Records go to the partition that Kafka's default partitioner gives their account, so
that anyone else may send to the same topic with the account as the key.
Source: architecture decision 6.
"""

from __future__ import annotations

import asyncio
import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2

from ingest.gateway.errors import KafkaLogError
from ingest.gateway.group_commit import GroupCommit, LogUnavailable, ReceivedClock
from ingest.gateway.kafka_tail import last_values

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from ingest.adapters.canonical import LogLine

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 768 * 2**10  # with its envelope below the 1 MB that brokers take by default
INLINE_LINES_MAX = 2000
GROUPS_MAX = 4  # under way at once: one on the wire, one being replicated, and room for jitter
TIMEOUT_MS = 15_000
CONNECT_S_MAX = 30.0
TOPIC_WAIT_S = 5.0  # a topic that was just made is known sooner
ACCOUNTS_CACHED = 200_000


class KafkaLog:
    """A log in a topic.

    client_options: aiokafka's, with `bootstrap_servers` among them, and what a secured Kafka asks
    for. is_packed: False sends one record a message, for comparison.
    """

    def __init__(
        self,
        client_options: Mapping[str, Any],
        topic: str,
        *,
        is_packed: bool = True,
        on_group: Callable[[int, float], None] = lambda _lines, _elapsed_s: None,
    ) -> None:
        self._client_options = client_options
        self._servers = client_options["bootstrap_servers"]
        self._topic = topic
        self._is_packed = is_packed
        self._on_group = on_group
        self._clock = ReceivedClock()
        self._failure = ""

    async def open(self) -> None:
        """Connect. Raises: KafkaLogError."""
        self._producer: Any = AIOKafkaProducer(
            **self._client_options,
            acks="all",
            enable_idempotence=True,
            request_timeout_ms=TIMEOUT_MS,
            max_batch_size=MESSAGE_BYTES_MAX + 2**16,
            max_request_size=MESSAGE_BYTES_MAX + 2**16,
        )
        try:
            await asyncio.wait_for(self._producer.start(), CONNECT_S_MAX)
            partitions = await asyncio.wait_for(
                self._producer.partitions_for(self._topic), TOPIC_WAIT_S
            )
        except (KafkaError, OSError) as error:
            await self._producer.stop()
            why = str(error) or "its advertised.listeners may be out of reach"
            raise KafkaLogError(
                f"{self._servers}: Kafka cannot be reached, or has no topic {self._topic} "
                f"({why}); start it, or make the topic"
            ) from error
        self._partition_count = len(partitions)
        self._partition_of = lru_cache(ACCOUNTS_CACHED)(self._computed_partition)
        self._commit = GroupCommit(self._hand_over, groups_max=GROUPS_MAX, on_group=self._on_group)

    def received_ms(self) -> int:
        """Now, never less than it was."""
        return self._clock.now_ms()

    async def append(self, lines: Sequence[LogLine]) -> None:
        """Return once all in-sync replicas have the lines. Raises: LogUnavailable."""
        await self._commit.append(lines)

    async def last_lines(self, bytes_max: int) -> list[bytes]:
        """The last lines of each partition, in its order; none where they cannot be read."""
        try:
            values = await last_values(
                self._client_options, self._topic, self._partition_count, bytes_max
            )
        except (KafkaLogError, TimeoutError) as error:
            # It takes reports all the same: what it does not know is in docs/gateway.md.
            log.warning("what sessions said before is not known: %s", error or "it took too long")
            return []
        return [line for value in values for line in value.split(b"\n") if line]

    async def close(self) -> None:
        """Finish what was appended, and disconnect."""
        await self._commit.close()
        await self._producer.stop()

    @property
    def why_not_ready(self) -> str:
        """Empty where the last group was taken."""
        return self._failure

    async def _hand_over(self, lines: list[LogLine]) -> Awaitable[None]:
        """Send a group's messages; what is returned ends when all are acknowledged."""
        sent = []
        if len(lines) <= INLINE_LINES_MAX:
            messages = list(self._messages(lines))
        else:  # to pack many takes longer than the event loop may be held up
            messages = await asyncio.to_thread(lambda: list(self._messages(lines)))
        try:
            for partition, key, value in messages:
                sent.append(
                    await self._producer.send(
                        self._topic, value, key=key or None, partition=partition
                    )
                )
        except KafkaError as error:
            self._failure = f"{self._servers}: Kafka takes nothing ({error})"
            raise LogUnavailable(self._failure) from error
        return self._acknowledged(sent)

    async def _acknowledged(self, sent: list[asyncio.Future[Any]]) -> None:
        # Every future is waited for, so that none fails unseen.
        outcomes = await asyncio.gather(*sent, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                self._failure = f"{self._servers}: Kafka did not acknowledge ({outcome})"
                raise LogUnavailable(self._failure) from outcome
        self._failure = ""

    def _messages(self, lines: list[LogLine]) -> Iterator[tuple[int, bytes, bytes]]:
        """Partition, key and value of each message. A message of many accounts has no key."""
        if not self._is_packed:
            for each in lines:
                yield self._partition_of(each.account), each.account.encode(), each.line
            return
        by_partition: dict[int, list[LogLine]] = {}
        for each in lines:
            by_partition.setdefault(self._partition_of(each.account), []).append(each)
        for partition, together in by_partition.items():
            for packed in cut(together, MESSAGE_BYTES_MAX):
                accounts = {each.account for each in packed}
                key = accounts.pop().encode() if len(accounts) == 1 else b""
                yield partition, key, b"\n".join(each.line for each in packed)

    def _computed_partition(self, account: str) -> int:
        """Kafka's default partition of a key."""
        return int((murmur2(account.encode()) & 0x7FFFFFFF) % self._partition_count)


def cut(lines: list[LogLine], bytes_max: int) -> Iterator[list[LogLine]]:
    """The lines in parts of at most so many bytes, but for a single line that has more."""
    part: list[LogLine] = []
    size_bytes = 0
    for each in lines:
        size_bytes += len(each.line) + 1
        if part and size_bytes > bytes_max:
            yield part
            part, size_bytes = [], len(each.line) + 1
        part.append(each)
    if part:
        yield part
