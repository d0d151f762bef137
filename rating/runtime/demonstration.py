"""What `ratecast demo` does: the way from nothing to an explained charge, in five steps."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from zoneinfo import ZoneInfo

import click
import polars as pl

from ingest.simulator import Faults, Simulation
from rating.runtime import explanation, summary
from rating.runtime.chart import stacked_bars
from rating.runtime.embedded import rate_files
from rating.runtime.figures import count
from rating.runtime.outputs import opened_output, write_log
from rating.runtime.progress import shown_progress
from sinks.parquet import write_parquet
from sinks.store import open_store
from tariffs.load import load_books, load_text

BATCH_RECORDS = 200_000
FEW_HOUSEHOLDS = 300  # enough for commits as a large log has them
MARK = ".ratecast-demo"  # a folder with this file was made here and may be emptied


@dataclass(frozen=True, slots=True)
class Places:
    """Where a demo keeps what it makes."""

    folder: Path

    @property
    def book(self) -> Path:
        """The tariff book."""
        return self.folder / "book.toml"

    @property
    def log(self) -> Path:
        """The usage log."""
        return self.folder / "evening.ndjson.zst"

    @property
    def store(self) -> Path:
        """The billing store."""
        return self.folder / "ratecast.db"

    @property
    def parquet(self) -> Path:
        """The Parquet files."""
        return self.folder / "parquet"


def demonstrate(folder: Path, households: int, hours: float, seed: int) -> None:
    """Simulate, rate, draw and explain.

    Raises: ValueError where it cannot be simulated so, or where `folder` holds something else.
    """
    simulation = Simulation(households, hours, seed, faults=Faults.parse("typical"))
    places = Places(folder)
    make_room(folder)
    click.echo("The first run compiles the rater for this processor, which takes about a minute.")
    compile_ahead()
    _headline(f"1. An evening of {count(households)} households, faults on the way included")
    places.book.write_text(simulation.book(), encoding="utf-8")
    with opened_output(str(places.log)) as stream:
        records = write_log(simulation, stream)
    size_mb = places.log.stat().st_size / 1e6
    click.echo(f"{count(records)} usage records, {size_mb:,.0f} MB compressed, in {places.log}")
    books = load_books([places.book])
    with open_store(str(places.store)) as store:
        _headline("2. Rated into a billing store")
        with shown_progress("Rating") as progress:
            run = rate_files(
                books,
                store,
                [str(places.log)],
                close=True,
                batch_records=BATCH_RECORDS,
                progress=progress,
            )
        click.echo(summary.as_text(run))
        write_parquet(store, places.parquet)
        charges = pl.scan_parquet(places.parquet / "charges" / "**" / "*.parquet")
        _headline(f"3. Revenue by hour and rule, in {books[0].currency}")
        click.echo("\n".join(stacked_bars(revenue_by_hour(charges, books[0].timezone))))
        charge_id = worth_explaining(charges)
        if charge_id is not None:
            _headline("4. How one of these charges came about")
            click.echo(explanation.as_text(explanation.explain_charge(store, charge_id)))
    _headline("5. Go on from here")
    click.echo("\n".join(next_steps(places, charge_id)))


def compile_ahead() -> None:
    """Rate half an hour of a few households, so that no figure of the demo has compiling in it."""
    simulation = Simulation(FEW_HOUSEHOLDS, 0.5, 0, faults=Faults.parse("typical"))
    with TemporaryDirectory() as scratch:
        log = Path(scratch) / "log.ndjson"
        log.write_bytes(b"".join(simulation.blocks()))
        with open_store(str(Path(scratch) / "ratecast.db")) as store:
            rate_files(
                [load_text(simulation.book())],
                store,
                [str(log)],
                close=True,
                batch_records=BATCH_RECORDS,
                progress=lambda _: None,
            )


def make_room(folder: Path) -> None:
    """An empty folder for a demo. Raises: ValueError where there is something else in it."""
    if folder.exists():
        if any(folder.iterdir()) and not (folder / MARK).exists():
            raise ValueError(f"{folder} holds something else; name another place with --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    (folder / MARK).touch()


def revenue_by_hour(charges: pl.LazyFrame, timezone: str) -> dict[str, dict[str, int]]:
    """What is owed, by local hour and by rule, in micro-units."""
    sums = (
        charges.group_by("slot", "rule")
        .agg((pl.col("total") - pl.col("unfunded")).sum())
        .sort("slot", "rule")
        .collect()
    )
    rows: dict[str, dict[str, int]] = {}
    for slot, rule, owed in sums.iter_rows():
        hour = f"{slot.astimezone(ZoneInfo(timezone)):%a %H:%M}"
        rows.setdefault(hour, {})[rule] = int(owed.scaleb(6))
    return rows


def worth_explaining(charges: pl.LazyFrame) -> str | None:
    """A usage charge that an allowance paid in part, or else the largest; None without any."""
    found = (
        charges.filter(pl.col("type") == "usage", pl.col("total") > 0)
        .sort(pl.col("free_ms") > 0, "total", "charge_id", descending=True)
        .select("charge_id")
        .first()
        .collect()
    )
    return found.item() if found.height else None


def next_steps(places: Places, charge_id: str | None) -> list[str]:
    """Commands to try on what the demo left, as they can be typed here."""
    ratecast = "ratecast" if shutil.which("ratecast") else sys.argv[0]
    steps = [
        ("what the store holds, and whether it adds up", f"status --store {places.store}"),
        ("the tariff book as a price list", f"tariffs show {places.book}"),
        ("charges for another program", f"export charges --store {places.store} --format csv"),
        (
            "the same log again: nothing is charged twice",
            f"rate --tariffs {places.book} --store {places.store} {places.log}",
        ),
    ]
    if charge_id is not None:
        steps.insert(1, ("any charge", f"explain {charge_id} --store {places.store}"))
    lines = [line for what, step in steps for line in (f"  # {what}", f"  {ratecast} {step}")]
    return [*lines, f"  # Parquet for DuckDB, Polars and others: {places.parquet}"]


def _headline(text: str) -> None:
    click.echo(f"\n{click.style(text, bold=True)}\n")
