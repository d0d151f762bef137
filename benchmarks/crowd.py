"""Many viewers at once, as columns: so many open sessions that writing their log would take long.

No benchmark by itself: the others import it. Each viewer has an account, a device and a session of
its own, with texts as long as a set-top box sends, and watches one of a hundred channels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rating.schemas import PLAYING, USAGE, VIEW, UsageBatch
from tariffs.load import load_texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tariffs.model import Book

START_MS = 1_772_820_000_000  # 2026-03-06T18:00:00Z, on the hour
BEAT_MS = 60_000
CHANNELS = 100
DIGITS = 8
SHARED = b"channel" + b"hd" + b"".join(b"ch-%03d" % number for number in range(CHANNELS))
KIND, QUALITY, CONTENT = (0, 7), (7, 2), (9, 6)  # where they stand in SHARED, and their lengths
VIEWER = b"acct-00000000stb-00000000-1s-00000000-1"
ACCOUNT, DEVICE, KEY = (0, 13), (13, 14), (27, 12)  # in VIEWER
ACCOUNT_AT, VIEWER_AT = 5, (17, 29)  # where the numbers stand in VIEWER

BOOK = """
[book]
id = "crowd-2026"
currency = "EUR"
timezone = "Europe/Helsinki"
default_plan = "hours"

[tax]
"*" = "25.5"

[[plans]]
id = "hours"
mode = "postpaid"

[[plans.rules]]
id = "channels"
kind = "channel"
per = "month"
increment_s = 60
price = { model = "per_unit", amount = "0.60", unit = "hour" }

[[plans.allowances]]
id = "first-minutes"
quantity = 0.5
unit = "hour"
per = "month"

[[plans.caps]]
id = "month"
per = "month"
amount = "19.00"
"""


CHANNEL_RULE = """
[[plans.rules]]
id = "ch-{number:03d}"
content = "ch-{number:03d}"
per = "month"
price = {{ model = "per_unit", amount = "0.60", unit = "hour" }}
"""


def books() -> tuple[Book, ...]:
    """The book that the crowd watches by: an allowance, a price by the month, and a cap."""
    return load_texts([(BOOK, "the crowd's book")])


def channel_books() -> tuple[Book, ...]:
    """A book that prices each channel by the month of its own: a counter for each one watched."""
    head = BOOK[: BOOK.index("[[plans.rules]]")]
    rules = "".join(CHANNEL_RULE.format(number=number) for number in range(CHANNELS))
    return load_texts([(head + rules, "the channels' book")])


def batch(
    viewers: NDArray[np.int64], time_ms: int, *, accounts: int, channel: int | None = None
) -> UsageBatch:
    """One record of each of some viewers, all of them playing at one time.

    accounts: how many the viewers share. channel: what they watch; None: each one its own.
    """
    text = np.tile(np.frombuffer(VIEWER, np.uint8), (len(viewers), 1))
    for number, places in ((viewers % accounts, (ACCOUNT_AT,)), (viewers, VIEWER_AT)):
        for digit in range(DIGITS):
            characters = number // 10 ** (DIGITS - 1 - digit) % 10 + ord("0")
            for place in places:
                text[:, place + digit] = characters
    events = np.zeros(len(viewers), USAGE)
    events["time_ms"] = events["received_ms"] = time_ms
    events["rate_milli"] = 1000
    events["type"], events["state"] = VIEW, PLAYING
    channels = viewers % CHANNELS if channel is None else channel
    at = len(SHARED) + np.arange(len(viewers)) * len(VIEWER)
    for name, (offset, length) in (("account", ACCOUNT), ("device", DEVICE), ("key", KEY)):
        events[f"{name}_at"], events[f"{name}_len"] = at + offset, length
    events["subject_at"] = CONTENT[0] + channels * CONTENT[1]
    events["subject_len"] = CONTENT[1]
    events["kind_at"], events["kind_len"] = KIND
    events["quality_at"], events["quality_len"] = QUALITY
    shared = np.frombuffer(SHARED, np.uint8)
    return UsageBatch(events, np.concatenate((shared, text.ravel())), {}, str)
