"""Faust as the worker's shell: life cycle, signals and supervision; the only module that knows it.

Faust's own consumer stays out of it (docs/adr/0006-faust-is-the-shell.md), so all that is left of an
app is a service that owns a `Consumption`. It crashes with it, and the process ends.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import faust
import uvloop
from faust.app.base import BootStrategy

from rating.runtime.consumption import StoodStill

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from rating.runtime.consumption import Consumption

# A batch is many short steps of threads that wait for each other, a commit some twenty answers of the
# server. With Python's own 5 ms each of them may wait so long for its turn (docs/benchmarks.md).
SWITCH_INTERVAL_S = 0.0005


class _WithoutKafka(BootStrategy):
    """Starts an app without Faust's consumer and producer."""

    enable_kafka = False


class _Shell(faust.App):
    """An app that keeps nothing on disk: what a worker knows is in the billing store."""

    def _create_directories(self) -> None:
        """Make none."""


class UsageService(faust.Service):
    """Owns the consumption, and what runs beside it. failure: what it ended with."""

    def __init__(
        self,
        make: Callable[[], Consumption],
        beside: Callable[[], Awaitable[None]] | None = None,
        **options: Any,
    ) -> None:
        self._make = make
        self._beside = beside
        self._consumption: Consumption | None = None
        self.failure: BaseException | None = None
        super().__init__(**options)

    @faust.Service.task
    async def _rate(self) -> None:
        """Run until stopped; a failure ends the process, and a supervisor starts it again."""
        try:
            self._consumption = self._make()
            await self._consumption.start()
            await self._consumption.run()
        except Exception as failure:  # noqa: BLE001 - raised again by run_worker
            self.failure = failure
            await self.crash(failure)

    @faust.Service.task
    async def _work_beside(self) -> None:
        """Run it until stopped; its failure ends the process as the consumption's does."""
        if self._beside is None:
            return
        try:
            await self._beside()
        except Exception as failure:  # noqa: BLE001 - raised again by run_worker
            self.failure = self.failure or failure
            await self.crash(failure)

    async def on_stop(self) -> None:
        """Finish the batches in hand, and leave the group."""
        if self._consumption is not None:
            try:
                await self._consumption.stop()
            except Exception as failure:  # noqa: BLE001 - raised again by run_worker
                self.failure = self.failure or failure
            if self._consumption.left_behind and not isinstance(self.failure, StoodStill):
                self.failure = StoodStill(str(self.failure or "a batch in hand did not come back"))


def run_worker(
    make: Callable[[], Consumption], beside: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Run a worker until SIGTERM or SIGINT. make: called inside the event loop.

    beside: runs in the same loop, such as a publisher; it is cancelled at the end.

    Raises: what the consumption failed with.
    """
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    # What goes wrong is said once, by whoever called us.
    for name in ("faust", "mode", __name__):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    app = _Shell("ratecast", loop=loop, web_enabled=False, autodiscover=False)
    app.boot_strategy = _WithoutKafka(app)
    service = UsageService(make, beside)
    worker = faust.Worker(
        app, service, loop=loop, quiet=True, override_logging=False, redirect_stdouts=False
    )
    worker.spinner = None
    with suppress(SystemExit):
        worker.execute_from_commandline()
    if service.failure is not None:
        raise service.failure
