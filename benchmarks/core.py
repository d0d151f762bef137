"""The core alone: canonical columns in, charges out, on one core.

Goal: a million usage records in a second of one core's time. The columns are decoded before; what
is measured is all of `Rater.rate`: sessions, prices, the charges' frame and the state to save. No
other program does this part, so it stands beside what decoding the same records costs.

    python benchmarks/core.py           # 8,000 households, an evening of five hours
    python benchmarks/core.py --smoke   # seconds; for tests

Checked: batches of any size make the same charges.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from report import Report, charges_digest, core_s, median, options, publish

from ingest.json_lines import decode_lines
from ingest.simulator import Faults, Simulation
from rating.rater import Rater
from tariffs.load import load_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from rating.schemas import UsageBatch
    from tariffs.model import Book

SEED = 7
BATCH_RECORDS = 200_000


def cut_log(raw: bytes, records: int) -> list[bytes]:
    """A log in parts of so many lines."""
    lines = raw.splitlines(keepends=True)
    return [b"".join(lines[at : at + records]) for at in range(0, len(lines), records)]


def decode(parts: Sequence[bytes]) -> list[UsageBatch]:
    """Each part as a batch."""
    return [decode_lines(part, str) for part in parts]


def rate(books: Sequence[Book], batches: Sequence[UsageBatch]) -> list[pl.DataFrame]:
    """The charges of each batch."""
    rater = Rater(books)
    return [rater.rate(batch).charges for batch in batches]


def measure(report: Report, faults: str, size: tuple[int, float, int]) -> None:
    """Decode and rate one log in turn."""
    households, hours, rounds = size
    simulation = Simulation(households, hours, SEED, faults=Faults.parse(faults))
    books = load_texts([(simulation.book(), "the simulator's book")])
    raw = b"".join(simulation.blocks())
    parts = cut_log(raw, BATCH_RECORDS)
    batches = decode(parts)
    records = sum(len(batch.events) for batch in batches)
    digest = charges_digest(rate(books, batches))
    odd = decode(cut_log(raw, max(1, records // 7)))
    same = charges_digest(rate(books, odd)) == digest
    report.check(f"charges alike in other batches, faults {faults}", digest, holds=same)
    decoding_s, rating_s = [], []
    for _ in range(rounds):
        decoding_s.append(core_s(lambda: decode(parts)))
        rating_s.append(core_s(lambda: rate(books, batches)))
    decoded = f"decoding alone, faults {faults}"
    report.add(decoded, records / median(decoding_s), "records/s of a core")
    report.add(
        f"the core, faults {faults}",
        records / median(rating_s),
        "records/s of a core",
        baseline=decoded,
        aim="1,000,000 records/s",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a clean log and one with faults."""
    asked = options(__doc__).parse_args(arguments)
    size = (100, 0.3, 1) if asked.smoke else (8_000, 5.0, 5)
    report = Report("core", f"{size[0]:,} households, {size[1]:g} hours, seed {SEED}")
    for faults in ("none", "typical"):
        measure(report, faults, size)
    publish(report, asked)


if __name__ == "__main__":
    main()
