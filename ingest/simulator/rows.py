"""The two arrays that the simulator works on: devices, and what they sent.

Times are UTC milliseconds since the epoch.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - a named tuple's fields are read at run time

import numpy as np

# `type` of a sent row. From TOPUP to CANCEL, `number` makes the row's id.
VIEW = 0
OPEN = 1
SUBSCRIBE = 2
UNSUBSCRIBE = 3
TOPUP = 4
ORDER_EVENT = 5
ORDER_FILM = 6
ORDER_PASS = 7
CANCEL = 8

CHANNEL = 0
VOD = 1
PPV = 2
CATCHUP = 3
KINDS = ("channel", "vod", "ppv", "catchup")

SD = 0
HD = 1
UHD = 2
QUALITIES = ("sd", "hd", "uhd")

PLAYING = 0
STARTING = 1
PAUSED = 2
STALLED = 3
SEEKING = 4
STOPPED = 5
STATES = ("playing", "starting", "paused", "stalled", "seeking", "stopped")

# `damage` of a sent row.
INTACT = 0
CUT_OFF = 1
MISTYPED = 2
UNKNOWN_TYPE = 3
JUNK = 4
DAMAGES = 4

# `phase` of a device.
ASLEEP = 0  # off, without knowing until when
OFF = 1
ORDERING = 2  # an order is sent, the film has not begun
TUNING_IN = 3  # the player starts
ZAPPING = 4
VIEWING = 5
INTERRUPTED = 6  # paused, stalled, seeking, winding or in lower quality

SENT = np.dtype(
    [
        ("received_ms", "<i8"),
        ("time_ms", "<i8"),
        ("amount", "<i8"),  # view: playhead_ms; top-up: whole currency units; open: bill day
        ("household", "<u4"),
        ("number", "<u4"),  # view: of the session; else of the id
        ("subject", "<u2"),  # catalogue name: content, plan, package or offer
        ("region", "<u2"),  # open: catalogue name
        ("damage_at", "<u2"),
        ("ordinal", "u1"),  # of the device in its household, from 1; 0 is the account itself
        ("type", "u1"),
        ("kind", "u1"),
        ("quality", "u1"),
        ("state", "u1"),
        ("rate", "i1"),  # view: playback rate
        ("has_playhead", "u1"),
        ("damage", "u1"),
    ],
    align=True,
)

DEVICE = np.dtype(
    [
        ("next_ms", "<i8"),  # when it does something next
        ("luck", "<u8"),  # the stream of its life
        ("mischance", "<u8"),  # the stream of its faults
        ("phase_end_ms", "<i8"),
        ("beat_ms", "<i8"),  # next heartbeat
        ("view_end_ms", "<i8"),  # when this viewing ends
        ("join_ms", "<i8"),  # when it leaves everything for the next event that it ordered
        ("head_ms", "<i8"),  # playhead, as of head_at_ms
        ("head_at_ms", "<i8"),
        ("received_ms", "<i8"),  # of its last record: a connection keeps its order
        ("skew_ms", "<i8"),  # how far its clock is ahead
        ("outage_ms", "<i8"),  # from here ...
        ("outage_end_ms", "<i8"),  # ... to here nothing gets through
        ("household", "<u4"),
        ("session", "<u4"),
        ("content", "<u2"),
        ("offer", "<u2"),  # of the film that is ordered
        ("event", "<u2"),  # the day whose event join_ms is of
        ("ordinal", "u1"),
        ("phase", "u1"),
        ("kind", "u1"),
        ("quality", "u1"),
        ("best", "u1"),  # the best quality of what is on
        ("event_quality", "u1"),
        ("opened", "u1"),  # whether its account is ever opened
        ("state", "u1"),
        ("rate", "i1"),
        ("direction", "i1"),  # of zapping: 1 up, -1 down
        ("tunes_left", "u1"),
        ("sends_playhead", "u1"),  # for live channels, too
        ("shows_uhd", "u1"),
        ("mute_beats", "u1"),  # heartbeats that will still be lost
    ],
    align=True,
)


def epoch_ms(instant: datetime) -> int:
    """An instant as UTC milliseconds since the epoch."""
    return round(instant.timestamp() * 1000)
