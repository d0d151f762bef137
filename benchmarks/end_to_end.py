"""Usage log to committed charges, against a reader that only parses the same file.

Goal: at least half the rate of Polars' `read_ndjson`, which makes columns of the log and nothing
else, with the same cores in the same run. Polars is measured as it is called by most people and
with the columns' types given, and the faster way counts. Medians are compared with medians, and
the fastest run with the fastest, since either may be disturbed. Polars stops at a log's first malformed line, so the rate for a log with faults stands beside the clean's.

    python benchmarks/end_to_end.py           # 8,000 households, an evening of five hours
    python benchmarks/end_to_end.py --smoke   # seconds; for tests

Checked: the charges in the store are those that the core makes of the log in one batch.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import polars as pl
from report import Report, charges_digest, median, options, publish, wall_s
from simulated import SEED, rate_anew, remove_store, write_log

from ingest.json_lines import decode_lines
from rating.rater import Rater
from sinks.store import open_store
from tariffs.load import load_books

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tariffs.model import Book

FAULTS = ("none", "typical")
INFER_RECORDS = 200_000  # the first order may come late


def command_s(book: Path, log: Path, store: Path) -> float:
    """The seconds of the whole command, the interpreter's start included."""
    remove_store(store)
    command = (sys.executable, "-c", "from rating.runtime.cli import main; main()", "rate")
    arguments = ("--tariffs", str(book), "--store", str(store), str(log))
    return wall_s(lambda: subprocess.run((*command, *arguments), check=True, capture_output=True))


def expected_digest(books: Sequence[Book], log: Path) -> tuple[int, str]:
    """The records of a log, and the digest of the charges that one batch of them makes."""
    whole = decode_lines(log.read_bytes(), str)
    return len(whole.events), charges_digest([Rater(books).rate(whole).charges])


def stored_digest(store: Path) -> str:
    """The digest of the charges in a store."""
    with open_store(str(store)) as opened:
        return charges_digest([opened.charges_after(0, 2**40)])


def measure(report: Report, folder: Path, size: tuple[int, float, int]) -> None:
    """Parse and rate in turn."""
    households, hours, rounds = size
    store, book = folder / "store.db", folder / "book.toml"
    logs = {faults: folder / f"{faults}.ndjson" for faults in FAULTS}
    for faults, log in logs.items():
        book.write_text(write_log(log, households, hours, faults), encoding="utf-8")
    books = load_books([book])
    records = {}
    for faults, log in logs.items():
        records[faults], expected = expected_digest(books, log)
        rate_anew(books, log, store, close=False)  # which compiles, too
        digest = stored_digest(store)
        report.check(f"charges as in one batch, faults {faults}", digest, holds=digest == expected)
    clean = logs["none"]
    types = pl.read_ndjson(clean, infer_schema_length=INFER_RECORDS).schema
    inferring_s: list[float] = []
    typed_s: list[float] = []
    rating_s: dict[str, list[float]] = {faults: [] for faults in logs}
    for _ in range(rounds):
        inferring_s.append(wall_s(lambda: pl.read_ndjson(clean, infer_schema_length=INFER_RECORDS)))
        for faults, log in logs.items():
            rating_s[faults].append(wall_s(partial(rate_anew, books, log, store, close=False)))
        typed_s.append(wall_s(lambda: pl.read_ndjson(clean, schema=types)))
    parsed, unit = "polars read_ndjson, clean log", "records/s"
    report.add("size of the clean log", clean.stat().st_size / 1e6, "MB")
    report.add(parsed, records["none"] / min(median(inferring_s), median(typed_s)), unit)
    fastest = f"{parsed}, fastest"
    report.add(fastest, records["none"] / min(*inferring_s, *typed_s), unit)
    for faults, log in logs.items():
        of_log, count = f"faults {faults}", records[faults]
        rate = count / median(rating_s[faults])
        report.add(f"log to store, {of_log}", rate, unit, baseline=parsed, aim="0.5")
        rate = count / min(rating_s[faults])
        report.add(f"log to store, {of_log}, fastest", rate, unit, baseline=fastest)
        rate = count / command_s(book, log, store)
        report.add(f"the whole command, {of_log}", rate, unit, baseline=parsed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a clean log and one with faults."""
    asked = options(__doc__).parse_args(arguments)
    size = (100, 0.3, 1) if asked.smoke else (8_000, 5.0, 7)
    report = Report("end_to_end", f"{size[0]:,} households, {size[1]:g} hours, seed {SEED}")
    with TemporaryDirectory() as folder:
        measure(report, Path(folder), size)
    publish(report, asked)


if __name__ == "__main__":
    main()
