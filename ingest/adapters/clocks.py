"""When what a device reports really happened, though its clock is wrong.

A device says when by its own clock. What its clock is off by follows from the moment at which an
upload was received: from when the device says to have sent it, where it does, and else from its
newest record. Nothing arrives before it happened, so over a session the smallest difference is the
truest; a larger one only means that an upload was late. All records of a run of the clock are moved
alike, so durations stay those of the device.
Source: docs/senders/cmcd.md, "A wrong clock".
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

TOLERANCE_MS = 60_000
"""How far a clock may be off, and an upload under way, before times are moved.

Small corrections would do harm: each would stretch or shrink the interval between two uploads.
"""

STEP_MS = 24 * 3600 * 1000
"""A leap ahead of this much within one upload is the clock being set, not time going by."""


class Clock(NamedTuple):
    """What is known of a session's clock: keep it from one upload to the next.

    offset_ms: what its times are moved by; None before the first upload. last_ms: the newest time
    that the device has said, by its own clock.
    """

    offset_ms: int | None = None
    last_ms: int | None = None


def place_times(
    device_ms: Sequence[int],
    received_ms: int,
    sent_ms: int | None = None,
    clock: Clock | None = None,
    *,
    ordered: bool = False,
) -> tuple[list[int], Clock]:
    """Give the records of one upload the times at which they happened, in ms since the epoch.

    device_ms: by the device's clock. received_ms: when the upload came, by ours. sent_ms: when it
    was sent, by the device's. ordered: whether the records are known to stand in the order in which
    they were made, all after those of earlier uploads; then a time that goes back is the clock
    being set back. Returns: the times, in the order given, and the clock to keep.
    """
    if clock is None:
        clock = Clock()
    if not device_ms:
        return [], clock
    begins = _runs(device_ms) if ordered else [0]
    last_run = device_ms[begins[-1] :]
    newest_ms = max(last_run)
    offset_ms = _offset(newest_ms, received_ms, sent_ms, clock, ordered)
    placed = [ms + offset_ms for ms in last_run]
    for begin, end in reversed(list(pairwise(begins))):
        run = device_ms[begin:end]
        # Before the clock was set: as in earlier uploads, or without them right before what follows.
        moved_ms = placed[0] - run[-1] if clock.offset_ms is None else clock.offset_ms
        placed = [ms + moved_ms for ms in run] + placed
    if clock.last_ms is not None and not ordered:
        newest_ms = max(newest_ms, clock.last_ms)  # a repeat tells nothing new
    return placed, Clock(offset_ms, newest_ms)


def _runs(device_ms: Sequence[int]) -> list[int]:
    """Where each run of the clock begins: it was set where time goes back or leaps ahead."""
    return [0] + [
        index
        for index in range(1, len(device_ms))
        if not -TOLERANCE_MS <= device_ms[index] - device_ms[index - 1] <= STEP_MS
    ]


def _offset(
    newest_ms: int, received_ms: int, sent_ms: int | None, clock: Clock, ordered: bool
) -> int:
    """What to move the times of an upload's last run by."""
    found_ms = received_ms - (newest_ms if sent_ms is None else sent_ms)
    known_ms = clock.offset_ms
    if known_ms is not None and abs(found_ms - known_ms) <= TOLERANCE_MS:
        return known_ms
    if abs(found_ms) <= TOLERANCE_MS:
        found_ms = 0  # the clock is right, and only the way here took a moment
    set_back = ordered and clock.last_ms is not None and newest_ms < clock.last_ms - TOLERANCE_MS
    if known_ms is None or sent_ms is not None or found_ms < known_ms or set_back:
        return found_ms
    return known_ms  # this upload was late
