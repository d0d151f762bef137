"""The lines that a request comes to, decoded once: their order, what each means, what is wrong.

Source: spec sections 1 and 2; docs/gateway.md, "Order within a request".
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingest.gateway.bodies import too_large
from ingest.json_lines import decode_lines
from rating.schemas import STOPPED, VIEW

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from ingest.adapters.canonical import LogLine
    from rating.schemas import UsageBatch

LINE_BYTES_MAX = 512 * 2**10  # so that any line fits into a Kafka message of the usual size
DIGEST_BYTES = 16
SESSION_TEXTS = ("account", "device", "key")
VIEW_TEXTS = ("subject", "kind", "quality")
VIEW_NUMBERS = ("state", "flags", "playhead_ms", "rate_milli")
# As the gateway writes it beside a time that it has put right.
DEVICE_TIME = re.compile(rb',"device_time":(-?[0-9]{1,19})[,}]')
PROBLEMS_MAX = 20

Session = tuple[bytes, ...]


class View(NamedTuple):
    """What tells a view from all others, however it is written and whenever it came.

    meaning: a digest. moved: the same with the time by the device's clock in place of the time that
    the gateway has placed it at by its arrival; empty where it has not.
    """

    row: int
    session: Session
    is_stop: bool
    meaning: bytes
    moved: bytes


class Records(NamedTuple):
    """Lines of one request in the order in which they go into the log, and a row for each.

    views: what tells its views from others. meaning: a digest of what all of them mean together.
    """

    lines: Sequence[LogLine]
    batch: UsageBatch
    views: Sequence[View] = ()
    meaning: bytes = b""

    def answer(self) -> dict[str, object]:
        """What to say of lines that are in the log: how many, and what will be suspended."""
        malformed = self.batch.malformed
        answer: dict[str, object] = {"accepted": len(self.lines), "suspended": len(malformed)}
        if malformed:
            answer["problems"] = [
                {"record": row + 1, "detail": why}
                for row, why in list(malformed.items())[:PROBLEMS_MAX]
            ]
        return answer

    def has_stop(self) -> bool:
        """Whether a session stops in it that has more than its stop here."""
        return len(self.lines) > 1 and bool((self.batch.events["state"] == STOPPED).any())


def records_of(lines: Sequence[LogLine], *, is_logged: bool = False) -> Records:
    """Decode lines, and bring the views of each session into the order of their times.

    is_logged: they are lines of the log, and stay as they stand there. Raises: Problem 413.

    The views of a session change places among themselves, those of one time not at all, and every
    other record keeps its place: what happens to an account happens where its sender has put it.
    """
    # The decoder leaves blank lines out, and so does every reader of the log.
    kept = [line for line in lines if line.line.strip(b" \t\r\n")]
    batch = decode_lines(b"\n".join(line.line for line in kept), str)
    assert len(batch.events) == len(kept)
    if is_logged:
        return Records(kept, batch)
    check_sizes(kept)
    order = order_of_time(batch)
    if order is None:
        return Records(kept, batch)
    batch.events[:] = batch.events[order]
    return Records([kept[row] for row in order.tolist()], batch)


def check_sizes(lines: Sequence[LogLine]) -> None:
    """Raises: Problem 413 where a line is larger than what the log carries."""
    if any(len(line.line) > LINE_BYTES_MAX for line in lines):
        raise too_large(LINE_BYTES_MAX, "a record, as the log has it,")


def order_of_time(batch: UsageBatch) -> NDArray[np.int64] | None:
    """The rows in the order of `records_of`; None where it is the order that they have."""
    views = np.flatnonzero(batch.events["type"] == VIEW)
    times = batch.events["time_ms"][views]
    if len(views) < 2 or bool((times[1:] >= times[:-1]).all()):
        return None
    places: defaultdict[Session, list[int]] = defaultdict(list)
    for row, session in sessions_of(batch, views):
        places[session].append(row)
    order = np.arange(len(batch.events))
    for rows in places.values():
        order[rows] = np.array(rows)[np.argsort(batch.events["time_ms"][rows], kind="stable")]
    return order


def sessions_of(batch: UsageBatch, rows: NDArray[np.int64]) -> Iterator[tuple[int, Session]]:
    """Each row with what names its session."""
    return zip(rows.tolist(), texts_of(batch, rows, SESSION_TEXTS), strict=True)


def texts_of(
    batch: UsageBatch, rows: NDArray[np.int64], names: Sequence[str]
) -> Iterator[tuple[bytes, ...]]:
    """Some texts of rows."""
    text = batch.text.tobytes()
    columns = []
    for name in names:
        begins = batch.events[f"{name}_at"][rows].tolist()
        lengths = batch.events[f"{name}_len"][rows].tolist()
        columns.append([text[at : at + length] for at, length in zip(begins, lengths, strict=True)])
    return zip(*columns, strict=True)


def with_meaning(records: Records) -> Records:
    """Records with what their views mean."""
    views = views_of(records)
    return records._replace(
        views=views, meaning=digest_of(b"".join(view.meaning for view in views))
    )


def views_of(records: Records) -> list[View]:
    """The views among records, in their order."""
    batch = records.batch
    rows = np.flatnonzero(batch.events["type"] == VIEW)
    numbers = zip(*(batch.events[name][rows].tolist() for name in VIEW_NUMBERS), strict=True)
    times = batch.events["time_ms"][rows].tolist()
    texts = texts_of(batch, rows, (*SESSION_TEXTS, *VIEW_TEXTS))
    found = []
    for row, time_ms, said, all_texts in zip(rows.tolist(), times, numbers, texts, strict=True):
        # Lengths first, so that no two lists of texts are written alike.
        rest = b"%a%s" % ((*said, *map(len, all_texts)), b"\0".join(all_texts))
        device = DEVICE_TIME.search(records.lines[row].line)
        moved = digest_of(b"device %s%s" % (device[1], rest)) if device else b""
        meaning = digest_of(b"%d%s" % (time_ms, rest))
        found.append(View(row, all_texts[:3], said[0] == STOPPED, meaning, moved))
    return found


def digest_of(meaning: bytes) -> bytes:
    """A few bytes in place of many."""
    return hashlib.blake2b(meaning, digest_size=DIGEST_BYTES).digest()
