"""Against what one would write otherwise: a loop over the events, and SQL over the whole log.

The loop is the tests' reference rater: every rule of the specification, one record at a time, with
dictionaries. SQL is DuckDB reading the same file: it finds the sessions' watched intervals with
window functions and adds them up by account, content and hour. Neither prices, allowances, caps,
nor balances are in it, nor late or repeated records; what it leaves out is most of the work.

    python benchmarks/alternatives.py           # the loop on a small log, SQL on a whole evening
    python benchmarks/alternatives.py --smoke   # seconds; for tests

Checked: the loop makes the same charges, SQL finds the same watched time.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import duckdb
import polars as pl
from report import Report, charges_digest, median, options, publish, wall_s
from simulated import SEED, rate_anew, write_log

from rating.schemas import CHARGES
from sinks.store import open_store
from tariffs.load import load_text

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from reference_rater import rate_log  # it stands with the tests

if TYPE_CHECKING:
    from collections.abc import Sequence


HEARTBEAT_MS = 90_000  # of the simulator's book
WATCHED = f"""
WITH views AS (
    SELECT account, content, time, state, playhead_ms, coalesce(rate, 1) AS rate,
        lead(time) OVER following AS next_time,
        lead(content) OVER following AS next_content,
        lead(playhead_ms) OVER following AS next_playhead_ms
    FROM read_json(?, format = 'newline_delimited', columns = {{
        type: 'VARCHAR', time: 'BIGINT', account: 'VARCHAR', device: 'VARCHAR', session: 'VARCHAR',
        content: 'VARCHAR', state: 'VARCHAR', playhead_ms: 'BIGINT', rate: 'DECIMAL(9, 3)'
    }})
    WHERE type = 'view'
    WINDOW following AS (PARTITION BY account, device, session ORDER BY time)
),
intervals AS (
    SELECT account, content, time AS from_ms, time + CASE
        WHEN playhead_ms IS NULL OR next_playhead_ms IS NULL OR content <> next_content
            THEN next_time - time
        WHEN rate <= 0 THEN 0
        ELSE least(
            next_time - time,
            CAST(floor(greatest(0, next_playhead_ms - playhead_ms) / rate) AS BIGINT)
        )
    END AS to_ms
    FROM views
    WHERE state = 'playing' AND next_time - time BETWEEN 1 AND {HEARTBEAT_MS}
),
hours AS (  -- an interval is shorter than an hour, so it lies in two at most
    SELECT account, content, from_ms // 3600000 AS hour,
        least(to_ms, (from_ms // 3600000 + 1) * 3600000) - from_ms AS watched_ms
    FROM intervals
    UNION ALL
    SELECT account, content, to_ms // 3600000, to_ms % 3600000
    FROM intervals WHERE to_ms // 3600000 > from_ms // 3600000
)
SELECT account, content, hour * 3600000 AS slot, CAST(sum(watched_ms) AS BIGINT) AS watched_ms
FROM hours GROUP BY ALL HAVING sum(watched_ms) > 0
"""


def stored(store: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The charges and the suspense of a store."""
    with open_store(str(store)) as opened:
        return opened.charges_after(0, 2**40), opened.suspense_after(0, 2**40)


def watched_digest(watched: pl.DataFrame) -> str:
    """A digest of watched time by account, content and hour, whatever its order."""
    ordered = watched.sort("account", "content", "slot")
    return hashlib.blake2b(ordered.write_csv().encode(), digest_size=8).hexdigest()


def watched_by_hour(charges: pl.DataFrame, suspense: pl.DataFrame) -> pl.DataFrame:
    """Watched time by account, content and hour, of charges and of what no rule priced."""
    pieces = suspense.filter(pl.col("type") == "usage").with_columns(
        slot=pl.col("time") // 3_600_000 * 3_600_000
    )
    columns = ("account", "content", "slot", "watched_ms")
    both = pl.concat([charges.select(columns), pieces.select(columns)])
    sums = both.group_by(columns[:-1]).agg(pl.col("watched_ms").sum())
    return sums.filter(pl.col("watched_ms") > 0)


def against_loop(report: Report, folder: Path, households: int, hours: float) -> None:
    """The same small log with faults, by the loop and by the program."""
    log, store = folder / "small.ndjson", folder / "small.db"
    books = (load_text(write_log(log, households, hours, "typical")),)
    lines = log.read_bytes().splitlines()
    looped: list[pl.DataFrame] = []

    def loop() -> None:
        charges = rate_log(books, lines).charges
        looped.append(pl.DataFrame(charges, schema=CHARGES, strict=False))

    rate_anew(books, log, store, close=True)  # compiles
    looping_s = wall_s(loop)
    rating_s = median([wall_s(lambda: rate_anew(books, log, store, close=True)) for _ in range(3)])
    digest = charges_digest([stored(store)[0]])
    report.check("the loop's charges", digest, holds=digest == charges_digest(looped))
    name = f"Python loop, {len(lines):,} records"
    report.add(name, len(lines) / looping_s, "records/s")
    report.add("log to store, the same log", len(lines) / rating_s, "records/s", baseline=name)


def query(connection: duckdb.DuckDBPyConnection, log: Path) -> pl.DataFrame:
    """The watched time of a log, by SQL."""
    return pl.DataFrame(connection.sql(WATCHED, params=[str(log)]).to_arrow_table())


def against_sql(report: Report, folder: Path, size: tuple[int, float], rounds: int) -> None:
    """The same clean log, by SQL and by the program."""
    households, hours = size
    log, store = folder / "evening.ndjson", folder / "evening.db"
    books = (load_text(write_log(log, households, hours, "none")),)
    with log.open("rb") as file:
        records = sum(1 for _ in file)
    connection = duckdb.connect()
    found: list[pl.DataFrame] = []
    querying_s, rating_s = [], []
    for _ in range(rounds):
        querying_s.append(wall_s(lambda: found.append(query(connection, log))))
        rating_s.append(wall_s(lambda: rate_anew(books, log, store, close=True)))
    digest = watched_digest(watched_by_hour(*stored(store)))
    report.check("SQL's watched time", digest, holds=digest == watched_digest(found[-1]))
    name = f"DuckDB, watched time of {records:,} records"
    report.add(name, records / min(querying_s), "records/s")
    rate = records / median(rating_s)
    report.add("log to store, all of rating", rate, "records/s", baseline=name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both."""
    asked = options(__doc__).parse_args(arguments)
    small, whole, rounds = ((40, 0.2), (60, 0.3), 1) if asked.smoke else ((300, 5), (8_000, 5), 3)
    report = Report("alternatives", f"{small[0]} and {whole[0]:,} households, seed {SEED}")
    with TemporaryDirectory() as folder:
        against_loop(report, Path(folder), *small)
        against_sql(report, Path(folder), whole, rounds)
    publish(report, asked)


if __name__ == "__main__":
    main()
