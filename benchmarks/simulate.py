"""How fast usage is simulated, so that no benchmark waits for its workload.

Goal: more records in a second of one core than the rater takes. Baseline: what the same records
cost if json.dumps writes them, with nothing spent on deciding what is in them.

    python benchmarks/simulate.py           # 20,000 households, an evening of five hours
    python benchmarks/simulate.py --smoke   # seconds; for tests

The hash is of the whole log: as long as it stays, so does what is measured.
"""

from __future__ import annotations

import hashlib
import json
import resource
import time
from itertools import islice
from typing import TYPE_CHECKING

from report import Report, options, publish

from ingest.simulator import Faults, Simulation

if TYPE_CHECKING:
    from collections.abc import Sequence

SEED = 7
BASELINE_RECORDS = 100_000


def drain(simulation: Simulation) -> tuple[int, float]:
    """Make the log and throw it away; returns its bytes and the seconds of one core that it took."""
    begun_s = time.process_time()
    size_bytes = sum(map(len, simulation.blocks()))
    return size_bytes, time.process_time() - begun_s


def describe(simulation: Simulation) -> tuple[int, str]:
    """How many records the log has, and its hash."""
    digest = hashlib.blake2b(digest_size=8)
    records = 0
    for block in simulation.blocks():
        digest.update(block)
        records += block.count(b"\n")
    return records, digest.hexdigest()


def baseline_rate(simulation: Simulation) -> float:
    """Records a second that json.dumps writes."""
    blocks = islice(simulation.blocks(), 1 + BASELINE_RECORDS * 150 // (1 << 22))
    lines = b"".join(blocks).splitlines()[:BASELINE_RECORDS]
    records = [json.loads(line) for line in lines]
    begun_s = time.process_time()
    for record in records:
        json.dumps(record, separators=(",", ":"))
    return len(records) / (time.process_time() - begun_s)


def most_bytes() -> int:
    """The most memory that this program held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure a clean log and one with faults."""
    asked = options(__doc__).parse_args(arguments)
    households, hours = (200, 0.5) if asked.smoke else (20_000, 5.0)
    report = Report("simulate", f"{households:,} households, {hours:g} hours, seed {SEED}")
    drain(Simulation(10, 0.1, SEED, faults=Faults.parse("typical")))  # compiles
    written = "json.dumps of ready records"
    clean = Simulation(households, hours, SEED)
    report.add(written, baseline_rate(clean), "records/s of a core")
    for faults in ("none", "typical"):
        simulation = Simulation(households, hours, SEED, faults=Faults.parse(faults))
        size_bytes, taken_s = drain(simulation)
        records, digest = describe(simulation)
        name = f"simulated, faults {faults}"
        report.add(name, records / taken_s, "records/s of a core", baseline=written)
        report.add(f"log, faults {faults}", size_bytes / 1e6, "MB")
        report.check(f"log, faults {faults}", digest)
    report.add("memory at most", most_bytes() / 1e6, "MB")
    publish(report, asked)


if __name__ == "__main__":
    main()
