"""Where a device's times are placed, upload by upload."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ingest.adapters.clocks import TOLERANCE_MS, Clock, place_times

NOON_MS = 1_772_452_800_000
HOUR_MS = 3_600_000
BOOT_MS = 5_000  # seconds into 1970: a box without a battery


def test_a_clock_that_is_right_is_left_alone() -> None:
    times, clock = place_times([NOON_MS, NOON_MS + 30_000], NOON_MS + 31_500)
    assert times == [NOON_MS, NOON_MS + 30_000]
    assert clock == Clock(0, NOON_MS + 30_000)


def test_a_clock_that_was_never_set_is_placed_by_the_upload() -> None:
    times, clock = place_times([BOOT_MS, BOOT_MS + 30_000], NOON_MS)
    assert times == [NOON_MS - 30_000, NOON_MS]
    later, _ = place_times([BOOT_MS + 60_000], NOON_MS + 30_700, clock=clock)
    assert later == [NOON_MS + 30_000]  # 30 s after the last by the device, whatever the network


def test_a_fast_clock_is_moved_back() -> None:
    times, _ = place_times([NOON_MS + HOUR_MS], NOON_MS)
    assert times == [NOON_MS]


def test_a_late_upload_of_a_session_that_was_in_time_before() -> None:
    _, clock = place_times([NOON_MS], NOON_MS + 100)
    times, _ = place_times([NOON_MS + 30_000, NOON_MS + 60_000], NOON_MS + HOUR_MS, clock=clock)
    assert times == [NOON_MS + 30_000, NOON_MS + 60_000]


def test_the_smallest_difference_of_a_session_counts() -> None:
    _, clock = place_times([NOON_MS], NOON_MS + HOUR_MS)  # late, or an hour slow: nobody can tell
    assert clock.offset_ms == HOUR_MS
    times, clock = place_times([NOON_MS + HOUR_MS], NOON_MS + HOUR_MS + 100, clock=clock)
    assert times == [NOON_MS + HOUR_MS]  # it was late
    assert clock.offset_ms == 0


def test_the_sent_time_decides_where_there_is_one() -> None:
    # Half an hour late, from a clock that is two hours slow.
    device_ms = NOON_MS - 2 * HOUR_MS
    times, _ = place_times([device_ms], NOON_MS + HOUR_MS // 2, device_ms + HOUR_MS // 2)
    assert times == [NOON_MS]
    times, _ = place_times([NOON_MS], NOON_MS + HOUR_MS, NOON_MS + HOUR_MS - 150)
    assert times == [NOON_MS]  # late, from a clock that is right


def test_a_clock_set_between_two_uploads() -> None:
    _, clock = place_times([BOOT_MS], NOON_MS)
    times, clock = place_times([NOON_MS + 30_000], NOON_MS + 30_100, clock=clock, ordered=True)
    assert times == [NOON_MS + 30_000]
    assert clock.offset_ms == 0


def test_a_fast_clock_set_back() -> None:
    _, clock = place_times([NOON_MS + HOUR_MS], NOON_MS)
    times, _ = place_times([NOON_MS + 30_000], NOON_MS + 30_100, clock=clock, ordered=True)
    assert times == [NOON_MS + 30_000]
    # Without order it may as well be an old upload, which is never moved ahead.
    times, _ = place_times([NOON_MS + 30_000], NOON_MS + 30_100, clock=clock)
    assert times == [NOON_MS + 30_000 - HOUR_MS]


def test_a_clock_set_within_one_upload() -> None:
    upload = [BOOT_MS, BOOT_MS + 30_000, NOON_MS, NOON_MS + 30_000]
    times, _ = place_times(upload, NOON_MS + 30_100, ordered=True)
    assert times == [NOON_MS - 30_000, NOON_MS, NOON_MS, NOON_MS + 30_000]
    _, clock = place_times([BOOT_MS - 5_000], NOON_MS - 36_000)
    times, _ = place_times(upload, NOON_MS + 30_100, clock=clock, ordered=True)
    assert times == [NOON_MS - 31_000, NOON_MS - 1_000, NOON_MS, NOON_MS + 30_000]


def test_a_repeat_changes_nothing() -> None:
    first, clock = place_times([BOOT_MS, BOOT_MS + 30_000], NOON_MS)
    again, kept = place_times([BOOT_MS, BOOT_MS + 30_000], NOON_MS + 20_000, clock=clock)
    assert again == first
    assert kept == clock


def test_an_empty_upload() -> None:
    assert place_times([], NOON_MS) == ([], Clock())


@given(
    st.lists(st.integers(0, 200_000), min_size=1, max_size=20).map(sorted),
    st.integers(-(10**12), 10**12),
    st.lists(st.integers(0, TOLERANCE_MS // 2), min_size=1, max_size=20),
)
def test_durations_stay_those_of_the_device(
    made: list[int], off_ms: int, delays: list[int]
) -> None:
    """One upload a record, each under way for another while: the network stretches nothing."""
    clock, placed = None, []
    for index, at_ms in enumerate(made):
        received_ms = NOON_MS + at_ms + delays[index % len(delays)]
        times, clock = place_times([NOON_MS + at_ms + off_ms], received_ms, clock=clock)
        placed += times
    gaps = [later - earlier for earlier, later in pairwise(placed)]
    assert gaps == [later - earlier for earlier, later in pairwise(made)]
    assert all(
        abs(ms - NOON_MS - at_ms) <= 2 * TOLERANCE_MS
        for ms, at_ms in zip(placed, made, strict=True)
    )
