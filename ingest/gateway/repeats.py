"""What was logged up to a session's stop, so that a request that comes again is known.

A request with a session up to its stop, sent again because its answer was lost, would be watched twice
where the rater has forgotten the session. Copies of all other records do no harm: they add nothing to a
session that is open, and orders and top-ups have ids. A copy is known by what it means: spaces, the
order of keys, another `received` and fields that the log does not know make no difference.
Source: spec section 2, steps 2 and 3; docs/gateway.md, "A gateway that starts anew".
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict, deque
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ingest.adapters.canonical import LogLine
from ingest.gateway.records import Records, records_of, views_of, with_meaning
from ingest.gateway.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from ingest.gateway.records import Session, View

LINES_MAX = 1 << 18
RECALLED_OF_SESSION_MAX = 256
REMEMBERED_AT_ONCE = 2000  # views
RECALLED_AT_ONCE = 10_000  # lines; their sum is what memory holds twice


class Repeats:
    """Views of sessions that stopped in the same request."""

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self._lines_max = lines_max
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._turns = Turns()

    def __len__(self) -> int:
        """How many views are known."""
        return len(self._known)

    def records(self, lines: Sequence[LogLine]) -> Records:
        """The records of a request, with what they mean where that may matter. Raises: Problem 413."""
        records = records_of(lines)
        return with_meaning(records) if self._known or records.has_stop() else records

    def turn(self, records: Records) -> AbstractAsyncContextManager[None]:
        """Wait for the same request where it is being logged; enter before `fresh`."""
        return self._turns.of(records.meaning) if records.has_stop() else nullcontext()

    def fresh(self, records: Records, *, is_player: bool) -> Sequence[LogLine]:
        """The lines without those that are in the log, and would be watched again.

        is_player: whether the gateway places times by the request's arrival, so that of a copy it is
        the device's own time that is the same.
        """
        repeated = {
            view.row
            for view in records.views
            if ((is_player and view.moved) or view.meaning) in self._known
        }
        if not repeated:
            return records.lines
        return [line for row, line in enumerate(records.lines) if row not in repeated]

    async def remember(self, records: Records) -> None:
        """Know these views again, once they are in the log."""
        if not records.has_stop():
            return
        so_far: defaultdict[Session, deque[View]] = defaultdict(deque)
        for at in range(0, len(records.views), REMEMBERED_AT_ONCE):
            self._remember_stopped(records.views[at : at + REMEMBERED_AT_ONCE], so_far)
            await asyncio.sleep(0)  # others have their turn

    def recall(self, lines: Sequence[bytes]) -> None:
        """Know again what the end of the log holds up to sessions' stops."""
        so_far: defaultdict[Session, deque[View]] = defaultdict(
            lambda: deque(maxlen=RECALLED_OF_SESSION_MAX)
        )
        for at in range(0, len(lines), RECALLED_AT_ONCE):
            some = [LogLine("", line) for line in lines[at : at + RECALLED_AT_ONCE]]
            self._remember_stopped(views_of(records_of(some, is_logged=True)), so_far)

    def _remember_stopped(
        self, views: Iterable[View], so_far: defaultdict[Session, deque[View]]
    ) -> None:
        for view in views:
            session = so_far[view.session]
            session.append(view)
            if not view.is_stop:
                continue
            if len(session) > 1:  # a stop by itself does no harm
                digests = (each for view in session for each in (view.meaning, view.moved) if each)
                self._known.update(dict.fromkeys(digests))
            session.clear()
        while len(self._known) > self._lines_max:
            self._known.popitem(last=False)
