"""What was logged up to a session's stop, so that a request that comes again is known.

By the rules of the log a session that has stopped may open again, so a request with a session up to
its stop, sent again because its answer was lost, would be watched twice. Copies of all other records
do no harm: they add nothing to a session that is open, and orders and top-ups have ids.
Source: spec section 2, steps 2 and 3; docs/gateway.md, "A gateway that starts anew".
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict, defaultdict, deque
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ingest.gateway.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractAsyncContextManager

    from ingest.adapters.canonical import LogLine

LINES_MAX = 1 << 18
RECALLED_OF_SESSION_MAX = 256
DIGEST_BYTES = 16
STOPPED = b'"stopped"'
# As the gateway writes lines: each field once, and no quotation mark in a text without a backslash.
SESSION_KEY = re.compile(rb'"(?:account|device|session)":"(?:[^"\\]|\\.)*"')
# What differs where the same is sent again: when it came, and a time that was moved by that.
ARRIVAL = b',"received":'
DIGITS = b"0123456789"
DEVICE_TIME = b'"device_time":'
MOVED = re.compile(rb'"time":-?[0-9]+')


class Repeats:
    """Lines of sessions that stopped in the same request. Only exact copies count as repeats."""

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self._lines_max = lines_max
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._turns = Turns()

    def __len__(self) -> int:
        """How many lines are known."""
        return len(self._known)

    def turn(self, body: bytes) -> AbstractAsyncContextManager[None]:
        """Wait for the same request where it is being logged. Enter before lines are made of it."""
        if b"stopped" not in body:
            return nullcontext()
        return self._turns.of(digest_of(body))

    def fresh(self, lines: Sequence[LogLine]) -> Sequence[LogLine]:
        """The lines without those that are in the log, and would be watched again."""
        if not self._known:
            return lines
        return [line for line in lines if digest_of(line.line) not in self._known]

    def remember(self, lines: Sequence[LogLine]) -> None:
        """Know these lines again, once they are in the log."""
        if len(lines) > 1 and any(STOPPED in line.line for line in lines):
            self._remember_stopped((line.line for line in lines), len(lines))

    def recall(self, lines: Iterable[bytes]) -> None:
        """Know again what the end of the log holds up to sessions' stops."""
        self._remember_stopped(lines, RECALLED_OF_SESSION_MAX)

    def _remember_stopped(self, lines: Iterable[bytes], of_session_max: int) -> None:
        so_far: defaultdict[bytes, deque[bytes]] = defaultdict(lambda: deque(maxlen=of_session_max))
        for line in lines:
            if b'"view"' not in line:
                continue
            session = so_far[b"".join(SESSION_KEY.findall(line))]
            session.append(line)
            if STOPPED not in line:
                continue
            if len(session) > 1:  # a stop by itself does no harm
                self._known.update(dict.fromkeys(map(digest_of, session)))
            session.clear()
        while len(self._known) > self._lines_max:
            self._known.popitem(last=False)


def digest_of(line: bytes) -> bytes:
    """Tell a line from all others, whenever it came."""
    before, _, behind = line.partition(ARRIVAL)
    if DEVICE_TIME in line:
        before = MOVED.sub(b"", before, 1)
    return hashlib.blake2b(before + behind.lstrip(DIGITS), digest_size=DIGEST_BYTES).digest()
