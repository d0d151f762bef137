"""A run goes through time, and a log comes out.

Time goes in windows of a minute. What is sent in a window and arrives in it is put in the order
of arrival and written; what arrives later waits. So memory holds the devices, a day of the
accounts' own records and what is under way, however long the run is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.simulator.accounts import Accounts
from ingest.simulator.book import book_toml
from ingest.simulator.devices import advance, install, invite
from ingest.simulator.lines import LINE_BYTES_MOST, pieces, write_lines
from ingest.simulator.options import DEFAULT_START, Faults, Operator
from ingest.simulator.rows import SENT
from ingest.simulator.run import Run
from ingest.simulator.world import DAY_MS, OPENING_MS, build_world, records_estimate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from numpy.typing import NDArray

WINDOW_MS = 60_000  # below 2^16, so that sorting by arrival is a radix sort of 16-bit numbers
BUFFER_ROWS = 1 << 16
BLOCK_BYTES = 1 << 22


class Simulation:
    """One run: the same arguments give the same bytes, on any machine and in any block size.

    households: 1 to 9,999,999. hours: more than 0, at most a year. seed: 0 to 2^64 - 1.
    start: when viewing begins, with a time zone, on a whole minute; accounts are opened in the
    ten minutes before.

    A household's viewing follows from the seed, its number, the start and the operator, and not
    from how many households there are; faults change what arrives, never what is watched.

    Raises: ValueError, saying which argument cannot be used and what would do.
    """

    def __init__(
        self,
        households: int,
        hours: float,
        seed: int,
        *,
        start: datetime = DEFAULT_START,
        faults: Faults | None = None,
        operator: Operator | None = None,
    ) -> None:
        self.run = Run(households, hours, seed, start, faults or Faults(), operator or Operator())

    @property
    def records_estimate(self) -> int:
        """About how many records the run will make."""
        return records_estimate(self.run)

    def book(self) -> str:
        """The tariff book that fits the run, as TOML."""
        return book_toml(self.run)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The log: JSON lines in ascending order of `received`, in blocks of whole lines.

        block_bytes: the most that a block holds.
        Raises: ValueError if a block may not hold a line.
        """
        if block_bytes < LINE_BYTES_MOST:
            raise ValueError(f"block_bytes is {block_bytes}; it must be at least {LINE_BYTES_MOST}")
        names = pieces(self.run.catalogue.names)
        block = np.empty(block_bytes, dtype=np.uint8)
        used = 0
        for sent, order in windows(self.run):
            place = 0
            while True:
                place, used = write_lines(sent, order, place, names, block, used)
                if place == len(order):
                    break
                yield block[:used].tobytes()
                used = 0
        if used:
            yield block[:used].tobytes()


def simulate(
    households: int,
    hours: float,
    seed: int,
    *,
    start: datetime = DEFAULT_START,
    faults: Faults | None = None,
    operator: Operator | None = None,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[bytes]:
    """The log of a run, in blocks; see Simulation and Simulation.blocks."""
    run = Simulation(households, hours, seed, start=start, faults=faults, operator=operator)
    return run.blocks(block_bytes)


def windows(run: Run) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
    """What arrives in each window: rows of SENT, and in which order which of them arrive.

    The rows are good until the next window is asked for.
    """
    world = build_world(run)[0]
    accounts = Accounts(run)
    devices = install(run, accounts.opened)
    own = waiting = np.empty(0, dtype=SENT)  # the accounts' rows of the day; what is under way
    sent = np.empty(BUFFER_ROWS, dtype=SENT)
    from_ms = run.start_ms - OPENING_MS
    day = 0
    while from_ms < run.end_ms or len(own) or len(waiting):
        if day < len(run.catalogue.events) and from_ms >= run.start_ms + day * DAY_MS - OPENING_MS:
            waiting = np.concatenate([waiting, own])
            own = accounts.rows_of_day(day)
            invite(devices, accounts, day)
            day += 1
        to_ms = from_ms + WINDOW_MS
        due = int(np.searchsorted(own["received_ms"], to_ms))
        sent, used = send_all(
            world, devices, min(to_ms, run.end_ms), sent, np.concatenate([own[:due], waiting])
        )
        own = own[due:]
        received_ms = sent["received_ms"][:used]
        waiting = sent.take(np.flatnonzero(received_ms >= to_ms))
        arrived = np.flatnonzero(received_ms < to_ms)
        offset_ms = (received_ms[arrived] - from_ms).astype(np.uint16)
        yield sent, arrived[np.argsort(offset_ms, kind="stable")]
        from_ms = to_ms


def send_all(
    world: Any, devices: NDArray[Any], until_ms: int, sent: NDArray[Any], first: NDArray[Any]
) -> tuple[NDArray[Any], int]:
    """Fill `sent` with the rows of `first`, and then with what the devices send until a time.

    Returns: `sent`, or a larger one where it was too small, and how many rows are used.
    """
    if len(first) >= len(sent):
        sent = np.empty(2 * len(first), dtype=SENT)
    sent[: len(first)] = first
    device, used = advance(world, devices, until_ms, 0, sent, len(first))
    while device < len(devices):
        sent = np.concatenate([sent, np.empty(len(sent), dtype=SENT)])
        device, used = advance(world, devices, until_ms, device, sent, used)
    return sent, used
