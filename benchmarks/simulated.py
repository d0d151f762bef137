"""A log of the simulator, and the whole program over it.

No benchmark by itself: the others import it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingest.simulator import Faults, Simulation
from rating.runtime.commands.rate import BATCH_RECORDS
from rating.runtime.embedded import rate_files
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tariffs.model import Book

SEED = 7


def write_log(log: Path, households: int, hours: float, faults: str) -> str:
    """Simulate a log into a file; returns the book that fits it."""
    simulation = Simulation(households, hours, SEED, faults=Faults.parse(faults))
    with log.open("wb") as file:
        file.writelines(simulation.blocks())
    return simulation.book()


def remove_store(store: Path) -> None:
    """Take a store's file away, with those that SQLite keeps beside it."""
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink()


def rate_anew(books: Sequence[Book], log: Path, store: Path, *, close: bool) -> None:
    """What `ratecast rate` does, into a store that is made anew."""
    remove_store(store)
    with open_store(str(store)) as opened:
        rate_files(
            books,
            opened,
            [str(log)],
            close=close,
            batch_records=BATCH_RECORDS,
            progress=lambda _: None,
        )
