"""What is being watched, from the state of the last commits into the store's list of open sessions.

A worker's commit costs what its batch holds, and most records of a batch change a session and charge
nothing; written with each commit, the list would cost more than the charges. So whoever wants it has
it made from the state, which every commit stores, as often as wanted and beside the workers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rating.rater import Rater
from rating.runtime.books import books_in_force

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Event

    from sinks.store import BillingStore

CLAIM = "sessions"


class SessionsList:
    """The list of open sessions of a store, kept up with its commits.

    A partition that stands where it stood is not read again; one that moved costs what its state
    holds.
    """

    def __init__(self, store: BillingStore) -> None:
        self._store = store
        self._standing: dict[int, tuple[int, int]] = {}  # partition: next offset, open sessions

    def write(self) -> int:
        """Put every partition's open sessions as of its last commit. Returns how many there are.

        Raises: StoreError, BookErrors.
        """
        positions = self._store.positions()
        moved = [
            number
            for number, position in positions.items()
            if self._standing.get(number, (-1, 0))[0] != position.next_offset
        ]
        books = books_in_force((), self._store) if moved else ()
        for number in moved:
            stored = self._store.load(number)
            assert stored is not None, "a partition is never taken out"
            rater = Rater(books, stored.state)
            self._store.replace_open_sessions(
                rater.open_sessions(), stored.clock_ms or 0, partition=number
            )
            self._standing[number] = stored.next_offset, rater.sessions_open
        return sum(sessions for _, sessions in self._standing.values())

    def follow(self, every_s: float, report: Callable[[int], None], stop: Event) -> None:
        """Write it every so often until told to stop; while another program does, stand by.

        Raises: StoreError, BookErrors.
        """
        while not stop.is_set():
            claim = self._store.claim(CLAIM)
            if claim is not None:
                try:
                    while not stop.is_set() and claim.held():
                        report(self.write())
                        stop.wait(every_s)
                finally:
                    claim.release()
            stop.wait(every_s)
