"""What can be asked of the simulator: the shape of the operator, and the faults on the way."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime

DEFAULT_START = datetime(2026, 3, 6, 17, tzinfo=UTC)
"""A Friday, 18:00 in Stockholm: five hours from here hold the whole evening."""


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator whose evening is simulated. docs/simulator.md has the source of each default."""

    channels: int = 160
    zipf: float = 1.0  # exponent of the popularity of channels and titles
    heartbeat_s: int = 30
    viewing_mean_min: float = 31.0  # between two bursts of zaps
    zaps_mean: float = 4.0  # channels tried in a burst
    live_playhead: float = 0.5  # share of devices that send a playhead for live channels, too
    event_share: float = 0.12  # share of opened accounts that order a pay-per-view event

    def __post_init__(self) -> None:
        """Raises: ValueError, naming the first value that cannot be simulated."""
        bounds = {
            "channels": (20, 999),
            "zipf": (0, 3),
            "heartbeat_s": (1, 3600),
            "viewing_mean_min": (1, 600),
            "zaps_mean": (1, 100),
            "live_playhead": (0, 1),
            "event_share": (0, 1),
        }
        for name, (low, high) in bounds.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {low} to {high}")


@dataclass(frozen=True, slots=True)
class Faults:
    """What goes wrong between a viewer and the log, each as a share; 0 is never.

    retries: records that arrive twice, the second time 1 to 5 s later.
    reordering: records that arrive 1 to 10 s late while later ones overtake them.
    silence: heartbeats that are lost, in runs of 1 to 5.
    clock_skew: devices whose clock is wrong by up to 30 minutes; one in 20 of them by decades.
    power_loss: sessions that end without a stop.
    late_batches: sessions with an outage of 2 to 30 minutes, after which all arrives at once.
    malformed: lines that arrive damaged: cut off, mistyped, of no known type, or binary junk.
    """

    retries: float = 0.0
    reordering: float = 0.0
    silence: float = 0.0
    clock_skew: float = 0.0
    power_loss: float = 0.0
    late_batches: float = 0.0
    malformed: float = 0.0

    def __post_init__(self) -> None:
        """Raises: ValueError, naming the first rate outside 0 to 1."""
        for field in fields(self):
            rate = getattr(self, field.name)
            if not 0 <= rate <= 1:
                raise ValueError(f"{field.name} is {rate}; a fault's rate must be 0 to 1")

    @classmethod
    def parse(cls, text: str) -> Faults:
        """Read "none", "typical", or a list such as "typical,silence=0.2"; the last one wins.

        Raises: ValueError, saying which part cannot be read and what would do.
        """
        names = [field.name for field in fields(cls)]
        faults = cls()
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, is_rate, value = part.partition("=")
            if part in PRESETS:
                faults = PRESETS[part]
            elif is_rate and name in names:
                try:
                    rate = float(value)
                except ValueError:
                    raise ValueError(f"{name}={value!r} is no number; write {name}=0.01") from None
                faults = replace(faults, **{name: rate})
            else:
                known = ", ".join([*PRESETS, *(f"{name}=RATE" for name in names)])
                raise ValueError(f"{part!r} is no fault; choose from {known}")
        return faults


PRESETS = {
    "none": Faults(),
    "typical": Faults(
        retries=0.01,
        reordering=0.005,
        silence=0.01,
        clock_skew=0.01,
        power_loss=0.05,
        late_batches=0.01,
        malformed=0.0005,
    ),
}
