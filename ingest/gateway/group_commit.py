"""Group commit: what many requests append goes into the log together.

While one group is being made durable the next one gathers, so the groups grow with the load, and
the price of a sync or of a message is shared by all that wait for it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from ingest.adapters.canonical import LogLine

GROUP_BYTES_MAX = 8 * 2**20


class LogUnavailable(Exception):  # noqa: N818 - named for what happened
    """The log did not take the lines; whether any is in it is not known. Retrying is harmless."""


class UsageLog(Protocol):
    """Where usage records become durable."""

    def received_ms(self) -> int:
        """Now, never less than it was: the `received` of lines that are appended next."""
        ...

    async def append(self, lines: Sequence[LogLine]) -> None:
        """Return once every line is durable, in the order in which `append` was called.

        Raises: LogUnavailable.
        """
        ...

    async def last_lines(self, bytes_max: int) -> list[bytes]:
        """Its last whole lines, at most about so many bytes of them, in their order."""
        ...

    async def open(self) -> None:
        """Make ready. Raises: LogUnavailable."""
        ...

    async def close(self) -> None:
        """Finish what was appended, and let go."""
        ...

    @property
    def why_not_ready(self) -> str:
        """Empty where the log takes lines; else a sentence."""
        ...


class ReceivedClock:
    """The wall clock, but ascending. after_ms: the last time that is in the log already."""

    def __init__(self, after_ms: int = 0) -> None:
        self._last_ms = after_ms

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        self._last_ms = max(self._last_ms, time.time_ns() // 1_000_000)
        return self._last_ms


@dataclass(frozen=True, slots=True)
class Waiting:
    """Lines of one request, and what tells it that they are durable."""

    lines: Sequence[LogLine]
    byte_count: int
    done: asyncio.Future[None]


class GroupCommit:
    """Hands groups of lines on, in order.

    hand_over: starts to write a group and gives what to wait for until it is durable.
    groups_max: groups that may be under way at once.
    """

    def __init__(
        self,
        hand_over: Callable[[list[LogLine]], Awaitable[Awaitable[None]]],
        *,
        groups_max: int,
        on_group: Callable[[int, float], None] = lambda _lines, _elapsed_s: None,
    ) -> None:
        self._hand_over = hand_over
        self._room = asyncio.Semaphore(groups_max)
        self._on_group = on_group
        self._waiting: list[Waiting] = []
        self._wake = asyncio.Event()
        self._is_closing = False
        self._under_way: set[asyncio.Task[None]] = set()
        self._runner = asyncio.create_task(self._run())

    async def append(self, lines: Sequence[LogLine]) -> None:
        """Return once the lines are durable. Raises: LogUnavailable."""
        if self._is_closing:
            raise LogUnavailable("the gateway is stopping")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(lines, sum(len(each.line) + 1 for each in lines), done))
        self._wake.set()
        await done

    async def close(self) -> None:
        """Return once all that was appended is done."""
        self._is_closing = True
        self._wake.set()
        await self._runner
        await asyncio.gather(*self._under_way)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            if not self._waiting:
                if self._is_closing:
                    return
                self._wake.clear()
                continue
            await self._room.acquire()
            await self._start(self._next_group())

    def _next_group(self) -> list[Waiting]:
        """The requests that go together: all that wait, up to the largest group."""
        byte_count = 0
        for number, request in enumerate(self._waiting):
            byte_count += request.byte_count
            if byte_count > GROUP_BYTES_MAX and number:
                group, self._waiting = self._waiting[:number], self._waiting[number:]
                return group
        group, self._waiting = self._waiting, []
        return group

    async def _start(self, group: list[Waiting]) -> None:
        started_s = time.monotonic()
        lines = [line for request in group for line in request.lines]
        try:
            written = await self._hand_over(lines)
        except Exception as failure:  # noqa: BLE001 - every request of the group is told
            self._answer(group, failure)
            return
        task = asyncio.create_task(self._finish(group, written, len(lines), started_s))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _finish(
        self, group: list[Waiting], written: Awaitable[None], lines: int, started_s: float
    ) -> None:
        failure = None
        try:
            await written
        except Exception as error:  # noqa: BLE001 - every request of the group is told
            failure = error
        self._on_group(lines, time.monotonic() - started_s)
        self._answer(group, failure)

    def _answer(self, group: list[Waiting], failure: Exception | None) -> None:
        self._room.release()
        for request in group:
            if request.done.done():
                continue  # nobody waits for it any more
            if failure is None:
                request.done.set_result(None)
            else:
                request.done.set_exception(failure)
