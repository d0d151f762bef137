"""How long a worker has been waiting for its billing store: for readiness, and for whoever is woken.

A call that is refused, refused again, and one that is never answered are the same to a viewer whose
stream should be cut. So the time counts from the first try until one goes well.
"""

from __future__ import annotations

import time
from threading import Lock
from typing import TYPE_CHECKING

from sinks.store import StoreError, open_store

if TYPE_CHECKING:
    from rating.runtime.probes import Health
    from rating.runtime.worker_events import WorkerEvents
    from sinks.store import BillingStore

SLOW_S = 5.0  # a call that takes longer is worth saying, whatever comes of it
NO_ANSWER = "NoAnswer"
STORE = "store"  # the part of readiness
PAUSE_S = 1.0


class StoreWaits:
    """Who waits for the store, since when, and what it answered last. Any thread may call it."""

    def __init__(self) -> None:
        self._since_s: dict[int, float] = {}
        self._refusals: dict[int, StoreError] = {}
        self._lock = Lock()

    def begin(self, who: int) -> None:
        """Somebody calls the store; a second try of the same goes on from the first."""
        with self._lock:
            self._since_s.setdefault(who, time.monotonic())

    def refused(self, who: int, error: StoreError) -> None:
        """The store refused that call, which will be tried again."""
        with self._lock:
            self._refusals[who] = error

    def end(self, who: int) -> None:
        """The call went well, or is given up."""
        with self._lock:
            self._since_s.pop(who, None)
            self._refusals.pop(who, None)

    def longest(self) -> tuple[float, str]:
        """How long the longest waits by now, and for what: an error's class, or NO_ANSWER."""
        with self._lock:
            if not self._since_s:
                return 0.0, ""
            who = min(self._since_s, key=self._since_s.__getitem__)
            refusal = self._refusals.get(who)
            why = type(refusal).__name__ if refusal else NO_ANSWER
            return time.monotonic() - self._since_s[who], why

    def complaint(self) -> str:
        """What the store does instead of answering; "" where it answers."""
        with self._lock:
            if self._refusals:
                return f"the store refuses: {next(iter(self._refusals.values()))}"
        seconds, _ = self.longest()
        return f"the store has not answered for {seconds:.0f} s" if seconds > SLOW_S else ""


def open_patiently(
    url: str, patience_s: float, events: WorkerEvents, health: Health
) -> BillingStore:
    """Open a store for writing, trying again while it refuses or cannot be reached.

    Meanwhile the process answers its probes, so that somebody learns of it. Raises: StoreError.
    """
    started_s = time.monotonic()
    while True:
        try:
            opened = open_store(url)
        except StoreError as error:
            waited_s = time.monotonic() - started_s
            events.waiting_for_store(waited_s, type(error).__name__)
            if not error.transient or waited_s > patience_s:
                raise
            health.not_ready(f"the store refuses: {error}", STORE)
            time.sleep(PAUSE_S)
        else:
            health.ready(STORE)
            return opened
