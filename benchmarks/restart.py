"""How soon a run goes on where the last one stopped, with a million sessions open.

Goal: under five seconds from opening the store to a rater that takes records: reading the state's
chunks, and building tables and indexes of them. The baseline is reading the same chunks alone.

    python benchmarks/restart.py           # a million open sessions, each with a line of charges
    python benchmarks/restart.py --smoke   # seconds; for tests

Checked: the loaded rater has the same open sessions, and rates the same batch to the same charges.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np
from crowd import BEAT_MS, START_MS, batch, books
from report import Report, charges_digest, median, options, publish, resident_bytes, wall_s

from rating.rater import Rater
from rating.schemas import Commit
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rating.schemas import BatchResult

SEED = 7
SESSIONS_AN_ACCOUNT = 5
HOUR_BEATS = 60
PARTITION = 0


def fill(store: Path, viewers: int, records: int) -> tuple[Rater, int]:
    """Commit batches that leave so many sessions open; returns their rater and the last offset."""
    accounts = viewers // SESSIONS_AN_ACCOUNT
    order = np.random.default_rng(SEED).permutation(viewers)
    rater, offset = Rater(books()), 0
    with open_store(str(store)) as opened:
        for beat in range(3):
            for first in range(0, viewers, records):
                part = order[first : first + records]
                result = rater.rate(batch(part, START_MS + beat * BEAT_MS, accounts=accounts))
                opened.commit(Commit(PARTITION, offset, offset + len(part), result))
                offset += len(part)
    return rater, offset


def next_hour(rater: Rater, viewers: int) -> BatchResult:
    """A batch that ends the lines of one viewer in a hundred, and closes everyone else."""
    part = np.arange(0, viewers, 100)
    time_ms = START_MS + HOUR_BEATS * BEAT_MS
    return rater.rate(batch(part, time_ms, accounts=viewers // SESSIONS_AN_ACCOUNT))


def load(store: Path) -> Rater:
    """What a run does before its first record."""
    with open_store(str(store)) as opened:
        stored = opened.load(PARTITION)
        assert stored is not None
        return Rater(books(), stored.state)


def read_chunks(store: Path) -> tuple[int, int]:
    """The chunks and bytes of the stored state."""
    with open_store(str(store)) as opened:
        stored = opened.load(PARTITION)
        assert stored is not None
        return len(stored.state), sum(len(chunk.payload) for chunk in stored.state)


def sessions_digest(rater: Rater) -> str:
    """A digest of all open sessions."""
    sessions = rater.open_sessions().sort("account", "device", "session")
    return hashlib.blake2b(sessions.write_csv().encode(), digest_size=8).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure loading against reading."""
    asked = options(__doc__).parse_args(arguments)
    viewers, records, rounds = (2_000, 500, 1) if asked.smoke else (1_000_000, 100_000, 5)
    report = Report("restart", f"{viewers:,} open sessions, seed {SEED}")
    with TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        rater, _ = fill(store, viewers, records)
        before_bytes = resident_bytes()
        loaded = load(store)
        loaded_bytes = resident_bytes() - before_bytes
        digest = sessions_digest(loaded)
        report.check("the same sessions", digest, holds=digest == sessions_digest(rater))
        expected = charges_digest([next_hour(rater, viewers).charges])
        digest = charges_digest([next_hour(loaded, viewers).charges])
        report.check("the same charges", digest, holds=digest == expected)
        del rater, loaded
        reading_s = median([wall_s(lambda: read_chunks(store)) for _ in range(rounds)])
        loading_s = median([wall_s(lambda: load(store)) for _ in range(rounds)])
        chunks, stored_bytes = read_chunks(store)
    report.add("chunks read alone", reading_s, "s")
    report.add("restart", loading_s, "s", baseline="chunks read alone", aim="under 5 s")
    report.add("chunks", chunks, "")
    report.add("stored", stored_bytes / 1e6, "MB")
    report.add("loaded, resident", loaded_bytes / 1e6, "MB")
    publish(report, asked)


if __name__ == "__main__":
    main()
