"""What every benchmark says and keeps: figures with their baselines, a digest, machine and commit.

No benchmark by itself: the others import it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from rating.schemas import CHARGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("polars", "numba", "numpy", "pyarrow", "duckdb")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a report.

    ratio: to `baseline`, the name of another figure. aim: of the ratio or the value, in words.
    """

    name: str
    value: float
    unit: str
    baseline: str = ""
    ratio: float | None = None
    aim: str = ""


@dataclass(slots=True)
class Report:
    """A benchmark's outcome.

    workload: what was measured. checked: what was compared, and a digest of the result: as long as
    it stays, the same work was done.
    """

    benchmark: str
    workload: str
    figures: list[Figure] = field(default_factory=list)
    checked: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, value: float, unit: str, *, baseline: str = "", aim: str = "") -> None:
        """Add a figure; baseline: a figure that was added before."""
        found = next((each for each in self.figures if each.name == baseline), None)
        ratio = value / found.value if found else None
        self.figures.append(Figure(name, value, unit, baseline, ratio, aim))

    def check(self, what: str, digest: str, *, holds: bool = True) -> None:
        """Note what was compared. Ends the benchmark where it does not hold."""
        if not holds:
            sys.exit(f"{self.benchmark}: {what} does not hold; the figures mean nothing")
        self.checked[what] = digest

    def as_text(self) -> str:
        """A table for people."""
        lines = [f"{self.benchmark}: {self.workload}"]
        for each in self.figures:
            value = f"{each.value:,.0f}" if abs(each.value) >= 100 else f"{each.value:,.3g}"
            line = f"  {each.name:<44} {value:>12} {each.unit}"
            if each.ratio is not None:
                line += f"   {each.ratio:.2f} of {each.baseline}"
            lines.append(line + (f"   (aim: {each.aim})" if each.aim else ""))
        lines += [f"  {what}: {digest}" for what, digest in self.checked.items()]
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """The same for machines, with machine and commit."""
        return {**asdict(self), "commit": commit(), "machine": machine()}


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument("--results", type=Path, metavar="DIR", help="also keep the report in DIR")
    return parser


def publish(report: Report, asked: argparse.Namespace) -> None:
    """Print a report, and keep it if asked to."""
    print(json.dumps(report.as_json(), indent=2) if asked.json else report.as_text())
    if asked.results:
        asked.results.mkdir(parents=True, exist_ok=True)
        kept = asked.results / f"{report.benchmark}.json"
        kept.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, str]:
    """What it ran on."""
    cpu = Path("/proc/cpuinfo")
    model = re.search(r"model name\s*: (.*)", cpu.read_text()) if cpu.exists() else None
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model.group(1) if model else platform.processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_bytes / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def commit() -> str:
    """The commit measured, with a + where files had changed since; "unknown" outside a clone."""
    git = ("git", "-C", str(ROOT))
    try:
        head = subprocess.run((*git, "rev-parse", "HEAD"), capture_output=True, check=True)
        changed = subprocess.run(
            (*git, "status", "--porcelain", "--", "*.py"), capture_output=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.decode().strip() + ("+" if changed.stdout else "")


def charges_digest(charges: Iterable[pl.DataFrame]) -> str:
    """A digest of charges, whatever their order: every column of spec section 6."""
    columns = CHARGES.names()
    ordered = pl.concat([frame.select(columns) for frame in charges]).sort(columns)
    return hashlib.blake2b(ordered.write_csv().encode(), digest_size=8).hexdigest()


def wall_s(work: Callable[[], object]) -> float:
    """The seconds that some work takes."""
    begun_s = time.perf_counter()
    work()
    return time.perf_counter() - begun_s


def core_s(work: Callable[[], object]) -> float:
    """The seconds of processor time, of all threads together, that some work takes."""
    begun_s = time.process_time()
    work()
    return time.process_time() - begun_s


def median(values: Sequence[float]) -> float:
    """The middle one, so that a disturbance does not count."""
    return statistics.median(values)


def resident_bytes() -> int:
    """The memory that this program holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
