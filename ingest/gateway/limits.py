"""How much one sender may send, in bounded memory: token buckets.

A bucket lets through whatever comes while it is not empty, and may go below zero: a batch of any
size passes once, and is paid for by waiting. So no batch is too large to ever pass.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SENDERS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Limit:
    """Records a second in the long run, and how many at once after a silence."""

    per_s: float
    burst: float


class Buckets:
    """One bucket for each of the last SENDERS_MAX senders.

    A sender that was silent for longest is forgotten first, and its bucket is full again.
    """

    def __init__(
        self, senders_max: int = SENDERS_MAX, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._senders_max = senders_max
        self._clock_s = clock_s

    def __len__(self) -> int:
        """How many senders are remembered."""
        return len(self._levels)

    def wait_s(self, sender: str, limit: Limit) -> float:
        """How long until the sender may send; 0 where it may do so now."""
        level = self._level(sender, limit)
        return 0.0 if level > 0 else (1 - level) / limit.per_s

    def take(self, sender: str, records: int, limit: Limit) -> None:
        """Count records that a sender was let through with."""
        self._levels[sender] = (self._level(sender, limit) - records, self._clock_s())
        self._levels.move_to_end(sender)
        while len(self._levels) > self._senders_max:
            self._levels.popitem(last=False)

    def _level(self, sender: str, limit: Limit) -> float:
        found = self._levels.get(sender)
        if found is None:
            return limit.burst
        level, at_s = found
        return min(limit.burst, level + (self._clock_s() - at_s) * limit.per_s)
