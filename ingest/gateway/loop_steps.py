"""How long the event loop is busy at a stretch: while it is, nobody is answered."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.gateway.metrics import Metrics

LOOK_EVERY_S = 0.02


class LoopSteps:
    """Measures while it is open, in processor time of the loop's own thread.

    So neither a machine that is busy with something else nor another thread counts.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._steps = metrics.loop_step_seconds

    async def open(self) -> None:
        """Begin."""
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """End."""
        self._looking.cancel()

    async def _look(self) -> None:
        before_s = time.thread_time()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            now_s = time.thread_time()
            self._steps.observe(now_s - before_s)
            before_s = now_s
