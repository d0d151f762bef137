"""Everything that compiled code reads and never changes: tables, thresholds, where names begin.

The shares and means below are illustrative unless docs/simulator.md names a source.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import numpy as np

from ingest.simulator.catalogue import FILMS, PROGRAMMES, TITLES
from ingest.simulator.chance import (
    QUANTILES,
    RANK_SLOTS,
    WHOLE,
    exponential,
    log_normal,
    quantile_table,
    share,
    zipf_table,
)
from ingest.simulator.options import Faults
from ingest.simulator.rows import epoch_ms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ingest.simulator.run import Run

SECOND_MS = 1000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS
QUARTER_MS = 15 * MINUTE_MS
OPENING_MS = 10 * MINUTE_MS  # accounts are opened in the ten minutes before the start
NEVER_MS = 1 << 62

ZONE = ZoneInfo("Europe/Stockholm")
ON_SHARE_BY_HOUR = (  # of a household's first device, by local hour
    *(0.12, 0.06, 0.03, 0.02, 0.02, 0.03, 0.07, 0.11, 0.11, 0.10, 0.09, 0.10),
    *(0.13, 0.13, 0.13, 0.15, 0.20, 0.28, 0.36, 0.44, 0.50, 0.52, 0.42, 0.25),
)
ON_SHARE_BY_ORDINAL = (1.0, 0.5, 0.3)  # how much the second and third device are used
DEVICES_SHARES = (0.50, 0.35, 0.15)  # households with one, two and three devices
DEVICES_MOST = len(DEVICES_SHARES)
QUARTERS = 96  # of a day
LIVE_SHARE = 0.80  # of sittings
SITTING_GOES_ON = 0.6  # after a live viewing: another burst of zaps, not off
OTHER_SITTING_MIN = 43.0  # mean of sittings that are not live
RECORDS_BESIDE_HEARTBEATS = 9.0  # of an hour of a device that is on: zaps, states, starts, stops
CATALOGUE_PLACES = (
    "channels",
    "programmes_at",
    "titles_at",
    "films_at",
    "events_at",
    "film_offers_at",
)


WORLD = np.dtype(
    [
        ("local_ms", "<i8"),  # local time is this much ahead of UTC
        ("heartbeat_ms", "<i8"),
        ("switch_on", "<i8", (DEVICES_MOST, QUARTERS)),  # by ordinal - 1, local quarter of the day
        ("event_ends_ms", "<i8"),  # of the first; one follows each day
        ("channel_ranks", "<u2", (RANK_SLOTS,)),
        ("programme_ranks", "<u2", (RANK_SLOTS,)),
        ("title_ranks", "<u2", (RANK_SLOTS,)),
        ("film_ranks", "<u2", (RANK_SLOTS,)),
        ("network_ms", "<i8", (QUANTILES,)),
        ("viewing_ms", "<i8", (QUANTILES,)),
        ("title_ms", "<i8", (QUANTILES,)),
        ("early_exit_ms", "<i8", (QUANTILES,)),
        ("pause_ms", "<i8", (QUANTILES,)),
        ("stall_ms", "<i8", (QUANTILES,)),
        ("interruption_ms", "<i8", (QUANTILES,)),  # until the next one
        ("zap_goes_on", "<i8"),
        *((f"fault_{field.name}", "<i8") for field in fields(Faults)),
        *((name, "<i8") for name in CATALOGUE_PLACES),
    ],
    align=True,
)
"""One row: all that a run's compiled code reads. A single address is quick to hand around, which a
tuple of arrays is not. Shares are thresholds for draws; see chance.share."""


def build_world(run: Run) -> NDArray[np.void]:
    """The tables of a run, as one row of WORLD."""
    world = np.zeros(1, dtype=WORLD)
    operator, faults = run.operator, run.faults
    offset = run.start.astimezone(ZONE).utcoffset() or timedelta()
    viewing_ms = operator.viewing_mean_min * MINUTE_MS
    live_sitting_ms = viewing_ms / (1 - SITTING_GOES_ON)
    sitting_ms = LIVE_SHARE * live_sitting_ms + (1 - LIVE_SHARE) * OTHER_SITTING_MIN * MINUTE_MS
    scalars: dict[str, int] = {
        "local_ms": round(offset.total_seconds()) * SECOND_MS,
        "heartbeat_ms": operator.heartbeat_s * SECOND_MS,
        "event_ends_ms": epoch_ms(run.catalogue.events[0].ends),
        "zap_goes_on": share(1 - 1 / operator.zaps_mean),
        **{f"fault_{name}": share(rate) for name, rate in asdict(faults).items()},
        **{name: getattr(run.catalogue, name) for name in CATALOGUE_PLACES},
    }
    # A silence takes three heartbeats on average; the rate counts heartbeats.
    scalars["fault_silence"] = share(faults.silence / (3 - 2 * faults.silence))
    tables: dict[str, NDArray[np.integer[Any]]] = {
        "switch_on": switch_on_thresholds(on_shares(), sitting_ms),
        "channel_ranks": zipf_table(operator.channels, operator.zipf, run.seed),
        "programme_ranks": zipf_table(PROGRAMMES, operator.zipf, run.seed),
        "title_ranks": zipf_table(TITLES, operator.zipf, run.seed),
        "film_ranks": zipf_table(FILMS, operator.zipf, run.seed),
        "network_ms": network_table(),
        "viewing_ms": quantile_table(log_normal(1.2), viewing_ms, 30_000, 6 * HOUR_MS),
        "title_ms": quantile_table(log_normal(0.5), 70 * MINUTE_MS, 10 * MINUTE_MS, 4 * HOUR_MS),
        "early_exit_ms": quantile_table(exponential, 2.5 * MINUTE_MS, 5_000, 30 * MINUTE_MS),
        "pause_ms": quantile_table(log_normal(1.0), 3 * MINUTE_MS, 2_000, 2 * HOUR_MS),
        "stall_ms": quantile_table(log_normal(0.8), 4 * SECOND_MS, 1_000, MINUTE_MS),
        "interruption_ms": quantile_table(exponential, 20 * MINUTE_MS, 10_000, 4 * HOUR_MS),
    }
    for name, value in {**scalars, **tables}.items():
        world[name] = value
    return world


def network_table() -> NDArray[np.int64]:
    """How long a record takes to the log."""
    return quantile_table(exponential, 90, 5, 4_000)


def local_quarter(instant: datetime) -> int:
    """The quarter of the local day that an instant is in."""
    local = instant.astimezone(ZONE)
    return local.hour * 4 + local.minute // 15


def on_shares() -> NDArray[np.float64]:
    """The share of devices that are on, by [ordinal - 1, quarter of the local day]."""
    hours = np.arange(QUARTERS) / 4
    curve = [*ON_SHARE_BY_HOUR, ON_SHARE_BY_HOUR[0]]
    return np.outer(ON_SHARE_BY_ORDINAL, np.interp(hours, range(25), curve))


def switch_on_thresholds(on_share: NDArray[np.float64], sitting_ms: float) -> NDArray[np.int64]:
    """The chance to be switched on within a quarter that keeps the given share of devices on."""
    per_quarter = on_share / (1 - on_share) * (QUARTER_MS / sitting_ms)
    return whole(1 - np.exp(-per_quarter))


def whole(probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Probabilities as thresholds."""
    return np.round(probabilities * WHOLE).astype(np.int64)


def records_estimate(run: Run) -> int:
    """About how many records a run makes, for showing progress."""
    owners = [sum(DEVICES_SHARES[ordinal:]) for ordinal in range(DEVICES_MOST)]
    quarters = local_quarter(run.start) + np.arange(max(1, round(run.hours * 4)))
    devices_on = float((on_shares()[:, quarters % QUARTERS].mean(axis=1) * owners).sum())
    per_hour = 3600 / run.operator.heartbeat_s + RECORDS_BESIDE_HEARTBEATS
    return round(run.households * (2 + run.hours * devices_on * per_hour))
