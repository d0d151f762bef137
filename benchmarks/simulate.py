"""How fast usage is simulated, so that no benchmark waits for its workload.

Goal: more records in a second of one core than the rater takes. Baseline: what the same records
cost if json.dumps writes them, with nothing spent on deciding what is in them.

    python benchmarks/simulate.py           # 20,000 households, an evening of five hours
    python benchmarks/simulate.py --smoke   # seconds; for tests

The hash is of the whole log: as long as it stays, so does what is measured.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import time
from itertools import islice
from typing import TYPE_CHECKING

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


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--households", type=int, default=20_000)
    parser.add_argument("--hours", type=float, default=5.0)
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    asked = parser.parse_args(arguments)
    households, hours = (200, 0.5) if asked.smoke else (asked.households, asked.hours)
    drain(Simulation(10, 0.1, SEED, faults=Faults.parse("typical")))  # compiles

    clean = Simulation(households, hours, SEED)
    print(f"{households:,} households, {hours:g} hours, seed {SEED}, one core")
    print(f"json.dumps alone   {baseline_rate(clean):>12,.0f} records/s")
    for faults in ("none", "typical"):
        simulation = Simulation(households, hours, SEED, faults=Faults.parse(faults))
        size_bytes, taken_s = drain(simulation)
        records, digest = describe(simulation)
        print(
            f"faults {faults:<11} {records / taken_s:>12,.0f} records/s  "
            f"{records:,} records of {size_bytes / records:.0f} bytes in {taken_s:.2f} s  {digest}"
        )
    most_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"memory             {most_mib:>12,.0f} MiB at most")


if __name__ == "__main__":
    main()
