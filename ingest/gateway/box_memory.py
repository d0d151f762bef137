"""What set-top boxes have said so far, on the disk: how far each event log is read, and their clocks.

A box's event log outlives everything, and each report repeats it. Without this memory a gateway that
starts anew would log whole evenings a second time, and they would be charged a second time.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from typing import TYPE_CHECKING

from ingest.adapters.bulk_data import Box, Mark, is_behind, mark_after
from ingest.adapters.clocks import Clock
from ingest.gateway.errors import BoxMemoryError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

STREAMS_MAX = (
    64  # whose logs are known, of one box; those that were silent for longest are forgotten
)
SCHEMA = """
CREATE TABLE IF NOT EXISTS boxes (
    account TEXT NOT NULL,
    device TEXT NOT NULL,
    said TEXT NOT NULL,
    PRIMARY KEY (account, device)
) WITHOUT ROWID
"""
KEEP = "INSERT INTO boxes VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET said = excluded.said"
FIND = "SELECT said FROM boxes WHERE account = ? AND device = ?"


class BoxMemory:
    """A file with a row for each box. Raises, when it is made: BoxMemoryError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: dict[tuple[str, str], Box] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._rows = sqlite3.connect(path, isolation_level=None)
            # What a power cut takes of the last moments, the log's tail gives back at the start.
            self._rows.execute("PRAGMA journal_mode = WAL")
            self._rows.execute("PRAGMA synchronous = NORMAL")
            self._rows.execute(SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise BoxMemoryError(
                f"{path}: it cannot be used ({error}); let the gateway write there, or name another "
                "folder with --boxes"
            ) from error

    def of(self, account: str, device: str) -> Box:
        """What a box has said before."""
        if (box := self._unwritten.get((account, device))) is not None:
            return box
        found = self._rows.execute(FIND, (account, device)).fetchone()
        return _box(found[0]) if found else Box()

    def keep(self, account: str, device: str, box: Box) -> None:
        """Remember what a box has said, once it is in the log."""
        self._unwritten[account, device] = box
        try:
            for key, said in list(self._unwritten.items()):
                self._rows.execute(KEEP, (*key, _text(said)))
                del self._unwritten[key]
        except sqlite3.Error as error:
            # It is in the log, so the box is not to send it again; it is tried again with the next.
            log.error("%s: cannot be written (%s)", self._path, error)  # noqa: TRY400 - one sentence

    def pass_mark(self, account: str, device: str, stream: str, mark: Mark) -> None:
        """Move a box's mark on to an entry that is known to be in the log."""
        box = self.of(account, device)
        before = box.marks.get(stream, Mark())
        if not is_behind(before, *mark):
            marks = dict(box.marks) | {stream: mark_after(before, *mark)}
            self.keep(account, device, Box(marks, box.clock))

    def close(self) -> None:
        """Let the file go."""
        self._rows.close()


def _text(box: Box) -> str:
    marks = dict(list(box.marks.items())[-STREAMS_MAX:])
    return json.dumps({"clock": box.clock, "marks": marks}, separators=(",", ":"))


def _box(text: str) -> Box:
    said = json.loads(text)
    marks = {stream: Mark(*mark) for stream, mark in said["marks"].items()}
    return Box(marks, Clock(*said["clock"]))
