"""The life of a device: off, a sitting of zaps and viewings, a title, an event; and its records.

A device is a row that knows when it does something next. `advance` lets every device do what it
has to do until a given time, so a run of any length needs memory for its devices only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ingest.simulator.catalogue import FILMS, FILMS_BOUGHT
from ingest.simulator.chance import (
    between,
    draw,
    mischance,
    quantile,
    ranked,
    share,
    spread,
    streams,
    traits,
)
from ingest.simulator.delivery import send
from ingest.simulator.rows import (
    ASLEEP,
    CATCHUP,
    CHANNEL,
    DEVICE,
    HD,
    INTERRUPTED,
    OFF,
    ORDER_FILM,
    ORDERING,
    PAUSED,
    PLAYING,
    PPV,
    SD,
    SEEKING,
    STALLED,
    STARTING,
    STOPPED,
    TUNING_IN,
    UHD,
    VIEW,
    VIEWING,
    VOD,
    ZAPPING,
)
from ingest.simulator.world import (
    DAY_MS,
    DEVICES_SHARES,
    HOUR_MS,
    LIVE_SHARE,
    MINUTE_MS,
    NEVER_MS,
    QUARTER_MS,
    SECOND_MS,
    SITTING_GOES_ON,
    local_quarter,
    on_shares,
    whole,
)
from rating.jit import jit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.simulator.accounts import Accounts
    from ingest.simulator.run import Run

DEVICES_EDGES = [share(DEVICES_SHARES[0]), share(DEVICES_SHARES[0] + DEVICES_SHARES[1])]
SILENT = -1  # no record is sent

# Purposes of traits, apart from those of accounts; each leaves room for the device's ordinal.
DEVICE_COUNT = 1 << 40
LIFE = 2 << 40
FAULTS = 3 << 40
PLAYHEAD = 4 << 40
SHOWS_UHD = 5 << 40
ON_AT_START = 6 << 40
FIRST_HEARD = 7 << 40
SKEWED = 8 << 40
SKEWED_BY_YEARS = 9 << 40
SKEW = 10 << 40

# What a sitting is for: each edge is where the next choice begins; below the first it is live.
LIVE_EDGE = share(LIVE_SHARE)
CATCHUP_EDGE = share(0.88)
LIBRARY_EDGE = share(0.975)  # the rest orders a film

BOUNDARY_SHARE = share(0.4)  # of switching on in a quarter that begins at a half hour
BOUNDARY_ENDS_SHARE = share(0.35)  # of longer viewings: they end with the programme
LINEAR_SHARE = share(0.7)  # of zaps: up or down, not by number
BUY_SHARE = share(0.15)  # of film orders: for ever, not a rental
EARLY_EXIT_SHARE = share(0.4)  # of titles: left within minutes
SITTING_SHARE = share(SITTING_GOES_ON)
UHD_SHARE = share(0.7)  # of devices: they show UHD
YEARS_SHARE = share(0.05)  # of wrong clocks: by decades, counting from 1970

# What interrupts a viewing; each edge is where the next sort begins.
STALL_EDGE = share(0.25)
QUALITY_EDGE = share(0.60)
PAUSE_EDGE = share(0.88)
SEEK_EDGE = share(0.95)  # the rest winds, where the content can be wound
WIND_RATES = (2, 4, 8, 16, -4, -8)

LIVE_LATENCY_MS = 8_000
SEEK_FURTHEST_MS = 10 * MINUTE_MS


def install(run: Run, opened: NDArray[np.bool_]) -> NDArray[Any]:
    """The devices of all households, in the order of households; `opened` as in Accounts."""
    numbers = np.arange(1, run.households + 1)
    counts = 1 + np.searchsorted(DEVICES_EDGES, traits(run.seed, numbers, DEVICE_COUNT), "right")
    devices = np.zeros(int(counts.sum()), dtype=DEVICE)
    household = np.repeat(numbers, counts)
    ordinal = np.arange(1, len(devices) + 1) - np.repeat(np.cumsum(counts) - counts, counts)

    def own(purpose: int) -> NDArray[np.int64]:
        return traits(run.seed, household, purpose + ordinal)

    devices["household"] = household
    devices["ordinal"] = ordinal
    devices["luck"] = streams(run.seed, household, LIFE + ordinal)
    devices["mischance"] = streams(run.seed, household, FAULTS + ordinal)
    devices["opened"] = np.repeat(opened, counts)
    devices["sends_playhead"] = own(PLAYHEAD) < share(run.operator.live_playhead)
    devices["shows_uhd"] = own(SHOWS_UHD) < UHD_SHARE
    devices["kind"] = PPV  # the first live sitting chooses its channel afresh
    # Either it is on already, and is heard of within a heartbeat, or it asks when it will be.
    on_share = whole(on_shares()[:, local_quarter(run.start)])[ordinal - 1]
    on = own(ON_AT_START) < on_share
    first_ms = spread(own(FIRST_HEARD), 0, run.operator.heartbeat_s * SECOND_MS)
    devices["phase"] = np.where(on, OFF, ASLEEP)
    devices["phase_end_ms"] = run.start_ms + np.where(on, first_ms, 0)
    devices["next_ms"] = devices["phase_end_ms"]
    devices["join_ms"] = NEVER_MS
    devices["outage_ms"] = NEVER_MS
    by_minutes = spread(own(SKEW), -30 * MINUTE_MS, 30 * MINUTE_MS)
    since_1970 = spread(own(SKEW), 0, HOUR_MS) - run.start_ms
    skew_ms = np.where(own(SKEWED_BY_YEARS) < YEARS_SHARE, since_1970, by_minutes)
    devices["skew_ms"] = np.where(own(SKEWED) < share(run.faults.clock_skew), skew_ms, 0)
    return devices


def invite(devices: NDArray[Any], accounts: Accounts, day: int) -> None:
    """Let the first device of each household join the day's event, if the household ordered it."""
    firsts = np.flatnonzero(devices["ordinal"] == 1)
    join_ms = accounts.event_join_ms(day)
    devices["join_ms"][firsts] = join_ms
    devices["next_ms"][firsts] = np.minimum(devices["next_ms"][firsts], join_ms)
    devices["event"][firsts] = day
    devices["event_quality"][firsts] = accounts.event_quality(day)


@jit
def switched_on_ms(device: Any, world: Any, from_ms: int) -> Any:
    """When a device that is off at `from_ms` is switched on."""
    quarter_ms = from_ms // QUARTER_MS * QUARTER_MS
    while True:
        quarter = (quarter_ms + world.local_ms) % DAY_MS // QUARTER_MS
        if draw(device) < world.switch_on[device.ordinal - 1, quarter]:
            within_ms = QUARTER_MS
            if quarter_ms % (2 * QUARTER_MS) == 0 and draw(device) < BOUNDARY_SHARE:
                within_ms = 2 * MINUTE_MS
            on_ms = quarter_ms + between(draw(device), 0, within_ms)
            if on_ms >= from_ms + 5 * SECOND_MS:
                return on_ms
        quarter_ms += QUARTER_MS


@jit
def turn(device: Any, now_ms: int, state: int, rate: int) -> None:
    """Move the playhead to now, and go into a state."""
    if device.state == PLAYING:
        device.head_ms = max(0, device.head_ms + (now_ms - device.head_at_ms) * device.rate)
    device.head_at_ms = now_ms
    device.state = state
    device.rate = rate


@jit
def choose(device: Any, world: Any) -> None:
    """Choose what a sitting begins with; the last channel is still on."""
    drawn = draw(device)
    other = draw(device)
    if drawn < LIVE_EDGE:
        if device.kind != CHANNEL:
            device.content = ranked(other, world.channel_ranks)
        device.kind = CHANNEL
    elif drawn < CATCHUP_EDGE:
        device.kind = CATCHUP
        device.content = world.programmes_at + ranked(other, world.programme_ranks)
    elif drawn < LIBRARY_EDGE or not device.opened:
        device.kind = VOD
        device.content = world.titles_at + ranked(other, world.title_ranks)
    else:
        device.kind = VOD
        device.content = world.films_at + ranked(other, world.film_ranks)


@jit
def top_quality(device: Any) -> Any:
    """The best quality that the content has and the device shows."""
    # A tenth of the contents are in UHD, a third of the live channels in SD.
    if device.content % 10 == 0 and device.shows_uhd:
        return UHD
    return SD if device.kind == CHANNEL and device.content % 3 == 0 else HD


@jit
def sit_down(device: Any, now_ms: int, world: Any) -> int:
    """Begin a sitting; a film is ordered first: a rental, or sometimes for ever."""
    choose(device, world)
    device.session += 1
    device.best = top_quality(device)
    device.quality = device.best
    if device.kind != VOD or device.content < world.films_at:
        return tune_in(device, now_ms, world)
    film = device.content - world.films_at
    device.offer = world.film_offers_at + film
    if film < FILMS_BOUGHT and draw(device) < BUY_SHARE:
        device.offer += FILMS
    device.phase = ORDERING
    device.phase_end_ms = now_ms + between(draw(device), 5 * SECOND_MS, 40 * SECOND_MS)
    return ORDER_FILM


@jit
def tune_in(device: Any, now_ms: int, world: Any) -> int:
    """The player starts; whether this session will have an outage is decided here."""
    device.state = STARTING
    device.rate = 1
    device.head_ms = 0
    if device.kind in (CHANNEL, PPV):
        device.head_ms = now_ms - LIVE_LATENCY_MS
    device.head_at_ms = now_ms
    device.phase = TUNING_IN
    device.phase_end_ms = now_ms + between(draw(device), 300, 2_500)
    device.beat_ms = next_beat_ms(device, now_ms, world)
    device.mute_beats = 0
    device.outage_ms = NEVER_MS
    if mischance(device) < world.fault_late_batches:
        device.outage_ms = now_ms + between(mischance(device), 0, 30 * MINUTE_MS)
        length_ms = between(mischance(device), 2 * MINUTE_MS, 30 * MINUTE_MS)
        device.outage_end_ms = device.outage_ms + length_ms
    return VIEW


@jit
def next_beat_ms(device: Any, now_ms: int, world: Any) -> Any:
    """When the next heartbeat is due, with a sixtieth of jitter."""
    jitter_ms = world.heartbeat_ms // 60
    return now_ms + world.heartbeat_ms + between(draw(device), -jitter_ms, jitter_ms + 1)


@jit
def begin_burst(device: Any, world: Any) -> None:
    """Decide how many more channels a burst of zaps tries, and in which direction."""
    device.phase = ZAPPING
    device.direction = 1 if draw(device) & 1 else -1
    device.tunes_left = 0
    while device.tunes_left < 60 and draw(device) < world.zap_goes_on:
        device.tunes_left += 1


@jit
def zap(device: Any, now_ms: int, world: Any) -> int:
    """Tune to another channel: mostly the next one up or down, the last of a burst by number."""
    linear = draw(device) < LINEAR_SHARE and device.tunes_left > 0
    content = np.int64(device.content)
    wanted = ranked(draw(device), world.channel_ranks)
    if linear or wanted == content:
        wanted = (content + device.direction) % world.channels
    turn(device, now_ms, PLAYING, 1)
    device.content = wanted
    device.best = top_quality(device)
    device.quality = device.best
    device.head_ms = now_ms - LIVE_LATENCY_MS
    device.phase_end_ms = now_ms + between(draw(device), SECOND_MS, 10 * SECOND_MS)
    return VIEW


@jit
def view(device: Any, now_ms: int, world: Any) -> None:
    """Settle down to watch what is on."""
    device.phase = VIEWING
    drawn = draw(device)
    if device.kind == PPV:
        ends_ms = world.event_ends_ms + device.event * DAY_MS
        device.view_end_ms = ends_ms + between(drawn, 0, MINUTE_MS)
    elif device.kind == CHANNEL:
        length_ms = quantile(drawn, world.viewing_ms)
        device.view_end_ms = now_ms + length_ms
        if length_ms > QUARTER_MS and draw(device) < BOUNDARY_ENDS_SHARE:
            half_hour_ms = 2 * QUARTER_MS
            nearest_ms = (device.view_end_ms + QUARTER_MS) // half_hour_ms * half_hour_ms
            device.view_end_ms = nearest_ms + between(draw(device), 0, 90 * SECOND_MS)
    elif drawn < EARLY_EXIT_SHARE:
        device.view_end_ms = now_ms + quantile(draw(device), world.early_exit_ms)
    else:
        device.view_end_ms = now_ms + quantile(draw(device), world.title_ms)
    go_on_viewing(device, now_ms, world)


@jit
def go_on_viewing(device: Any, now_ms: int, world: Any) -> None:
    """View until the next interruption or the end."""
    device.phase = VIEWING
    until_ms = now_ms + quantile(draw(device), world.interruption_ms)
    device.phase_end_ms = max(now_ms + SECOND_MS, min(device.view_end_ms, until_ms))


@jit
def interrupt(device: Any, now_ms: int, world: Any) -> int:
    """A stall, a while of lower quality, a pause, a seek or winding."""
    drawn = draw(device)
    length = draw(device)
    live = device.kind in (CHANNEL, PPV)
    device.phase = INTERRUPTED
    if drawn < STALL_EDGE or (drawn >= SEEK_EDGE and live):
        turn(device, now_ms, STALLED, 1)
        device.phase_end_ms = now_ms + quantile(length, world.stall_ms)
    elif drawn < QUALITY_EDGE:
        turn(device, now_ms, PLAYING, 1)
        device.quality = max(SD, device.best - 1)
        device.phase_end_ms = now_ms + quantile(length, world.pause_ms)
    elif drawn < PAUSE_EDGE:
        turn(device, now_ms, PAUSED, 1)
        device.phase_end_ms = now_ms + quantile(length, world.pause_ms)
    elif drawn < SEEK_EDGE:
        turn(device, now_ms, SEEKING, 1)
        device.phase_end_ms = now_ms + between(length, 500, 3_000)
    else:
        rate = WIND_RATES[between(draw(device), 0, len(WIND_RATES))]
        turn(device, now_ms, PLAYING, rate)
        device.phase_end_ms = now_ms + between(length, 3 * SECOND_MS, 20 * SECOND_MS)
    return VIEW


@jit
def resume(device: Any, now_ms: int, world: Any) -> int:
    """Play as before the interruption; after a seek, from somewhere else."""
    sought = device.state == SEEKING
    turn(device, now_ms, PLAYING, 1)
    device.quality = device.best
    if sought:
        by_ms = between(draw(device), -SEEK_FURTHEST_MS, SEEK_FURTHEST_MS)
        device.head_ms = max(0, device.head_ms + by_ms)
        if device.kind in (CHANNEL, PPV):
            device.head_ms = min(device.head_ms, now_ms - LIVE_LATENCY_MS)
    go_on_viewing(device, now_ms, world)
    return VIEW


@jit
def stop(device: Any, now_ms: int, world: Any) -> int:
    """End the session, without a word if the power is cut."""
    turn(device, now_ms, STOPPED, 1)
    device.phase = OFF
    device.phase_end_ms = switched_on_ms(device, world, now_ms)
    if mischance(device) < world.fault_power_loss:
        return SILENT
    return VIEW


@jit
def join_event(device: Any, now_ms: int, world: Any) -> int:
    """Leave everything for the event that the household ordered."""
    device.join_ms = NEVER_MS
    device.session += 1
    device.kind = PPV
    device.content = world.events_at + device.event
    device.quality = device.event_quality
    device.best = device.event_quality
    return tune_in(device, now_ms, world)


@jit
def enter_next_phase(device: Any, now_ms: int, world: Any) -> int:
    """What follows when a phase ends."""
    if device.phase == ASLEEP:
        device.phase = OFF
        device.phase_end_ms = switched_on_ms(device, world, now_ms)
        return SILENT
    if device.phase == OFF:
        return sit_down(device, now_ms, world)
    if device.phase == ORDERING:
        return tune_in(device, now_ms, world)
    if device.phase == TUNING_IN:
        turn(device, now_ms, PLAYING, 1)
        if device.kind == CHANNEL:
            begin_burst(device, world)
            device.phase_end_ms = now_ms + between(draw(device), SECOND_MS, 10 * SECOND_MS)
        else:
            view(device, now_ms, world)
        return VIEW
    if device.phase == ZAPPING:
        if device.tunes_left == 0:
            view(device, now_ms, world)
            return SILENT
        device.tunes_left -= 1
        return zap(device, now_ms, world)
    if device.phase == INTERRUPTED:
        return resume(device, now_ms, world)
    if now_ms < device.view_end_ms:
        return interrupt(device, now_ms, world)
    if device.kind == CHANNEL and draw(device) < SITTING_SHARE:
        begin_burst(device, world)
        return zap(device, now_ms, world)
    return stop(device, now_ms, world)


@jit
def beat(device: Any, now_ms: int, world: Any) -> int:
    """A heartbeat, unless it is lost."""
    turn(device, now_ms, device.state, device.rate)
    device.beat_ms = next_beat_ms(device, now_ms, world)
    if device.mute_beats > 0:
        device.mute_beats -= 1
        return SILENT
    if mischance(device) < world.fault_silence:
        device.mute_beats = between(mischance(device), 0, 5)
        return SILENT
    return VIEW


@jit
def step(device: Any, world: Any) -> int:
    """Do the one thing that is due, and find out what is due next.

    Returns: the type of the record to send, or SILENT.
    """
    now_ms = device.next_ms
    if now_ms == device.join_ms:
        # The player stops first, and joins in another step at the same time.
        on = device.phase >= TUNING_IN
        said = stop(device, now_ms, world) if on else join_event(device, now_ms, world)
    elif now_ms == device.phase_end_ms:
        said = enter_next_phase(device, now_ms, world)
    else:
        said = beat(device, now_ms, world)
    device.next_ms = min(device.phase_end_ms, device.join_ms)
    if device.phase >= TUNING_IN:
        if device.beat_ms <= now_ms and said != SILENT:
            device.beat_ms = next_beat_ms(device, now_ms, world)
        device.next_ms = min(device.next_ms, device.beat_ms)
    return said


@jit
def advance(
    world: Any, devices: NDArray[Any], until_ms: int, first: int, sent: NDArray[Any], at: int
) -> tuple[int, int]:
    """Let the devices from `first` on do all that is due before `until_ms`, into `sent` from `at`.

    Returns: the device to go on with, and the rows used; it stops early when `sent` is full.
    """
    for index in range(first, len(devices)):
        device = devices[index]
        while device.next_ms < until_ms:
            if at + 2 > len(sent):
                return index, at
            now_ms = device.next_ms
            said = step(device, world)
            if said != SILENT:
                at = send(device, now_ms, said, world, sent, at)
    return len(devices), at
