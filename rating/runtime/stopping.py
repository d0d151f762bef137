"""A run that ends gracefully when the system asks it to."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from threading import Event
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def set_by_signals(wanted: bool) -> Iterator[Event]:
    """An event that SIGINT or SIGTERM sets; the second signal acts as it always does.

    wanted: False leaves the signals alone, for a run that ends by itself.
    """
    stop = Event()
    if not wanted:
        yield stop
        return

    def ask_to_stop(_number: int, _frame: object) -> None:
        stop.set()
        restore()

    def restore() -> None:
        for number, action in before.items():
            signal.signal(number, action)

    before = {number: signal.signal(number, ask_to_stop) for number in SIGNALS}
    try:
        yield stop
    finally:
        restore()
        stop.set()
