"""Parquet for analysts: a dataset made from the billing store by cursor.

Every charge, suspense row and signal is in the dataset exactly once, whatever was interrupted.
That rests on three things, for each folder that holds files (one a local date for charges):

- Rows come in ascending seq, and a file, once there, only ever grows: it is written anew under a
  temporary name and put in its own place by one rename. A reader finds the old file or the new one,
  never both and never neither, and small runs do not pile up small files.
- So a folder always holds all of its rows up to the highest seq in it. Writing rows again after a
  crash starts by leaving out those up to there.
- How far all folders have come is kept beside them. It may lag behind after a crash; rows are then
  read again, and left out.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sinks.private_files import FOLDER_MODE, private
from sinks.refs import with_refs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sinks.store import BillingStore, Kind

FORMAT = 2
READ_ROWS = 50_000
WINDOW_ROWS = 250_000  # Held in memory at once.
FILE_ROWS = 500_000  # A file with fewer rows is grown, one with more is left alone.
ROW_GROUP_ROWS = 100_000
DECIMAL = pa.decimal128(18, 6)  # Exact in 64 bits; micro-units beyond would not fit.
MICROS_MAX = 10**18 - 1

STATE_FILE = "_ratecast.json"
LOCK_FILE = "_lock"
TEMPORARY = "_tmp"
MEND = "delete the folder, and it is written anew from the store"


class ParquetError(Exception):
    """The dataset cannot be written here. The text says why, and how to mend it."""


@dataclass(frozen=True, slots=True)
class ParquetSummary:
    """What a run added: rows of each kind, and the files that were written for them."""

    charges: int
    suspense: int
    signals: int
    files: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How a kind of row is laid out.

    times: become UTC timestamps. money: become decimals. repetitive: texts of few different values.
    sort: order within a file. by_date: one folder a local date, else one folder.
    """

    columns: tuple[str, ...]
    times: tuple[str, ...]
    repetitive: tuple[str, ...]
    sort: tuple[str, ...]
    money: tuple[str, ...] = ()
    by_date: bool = False


USAGE_TEXTS = ("type", "content", "kind", "quality", "plan", "book")
AMOUNTS = ("gross", "discount", "capped", "net", "tax", "total", "unfunded", "paid")
LAYOUTS: Mapping[Kind, Layout] = {
    "charges": Layout(
        columns=(
            *("seq", "charge_id", "type", "account", "device", "session", "content", "kind"),
            *("quality", "plan", "book", "rule", "start", "end", "slot", "local_hour"),
            *("watched_ms", "billed_ms", "free_ms", *AMOUNTS, "currency", "region", "segment"),
            "ref",
        ),
        times=("start", "end", "slot", "segment"),
        money=AMOUNTS,
        repetitive=(*USAGE_TEXTS, "account", "device", "rule", "currency", "region"),
        sort=("account", "start", "seq"),
        by_date=True,
    ),
    "suspense": Layout(
        columns=(
            *("seq", "reason", "detail", "account", "time", "type", "device", "session"),
            *("content", "kind", "quality", "plan", "book", "end", "watched_ms", "source"),
        ),
        times=("time", "end"),
        repetitive=(*USAGE_TEXTS, "reason", "detail"),
        sort=("account", "time", "seq"),
    ),
    "signals": Layout(
        columns=("seq", "type", "account", "time", "order", "reason"),
        times=("time",),
        repetitive=("type", "reason"),
        sort=("account", "time", "seq"),
    ),
}


@dataclass(slots=True)
class Dataset:
    """A dataset folder that this process alone writes to.

    seqs: how far each kind has come in every folder of it. last_charge: the id of the charge with
    that seq, by which to see that the store still numbers as it did. files: written by this run.
    """

    folder: Path
    store_id: str
    seqs: dict[str, int] = field(default_factory=dict)
    last_charge: str = ""
    files: int = 0

    def save(self) -> None:
        """Keep how far the dataset has come."""
        content = {
            "format": FORMAT,
            "store": self.store_id,
            "seq": self.seqs,
            "last_charge": self.last_charge,
        }
        temporary = self.folder / TEMPORARY / STATE_FILE
        with private(temporary) as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(temporary, self.folder / STATE_FILE)

    def grow(self, where: Path, kind: Kind, rows: pa.Table, file_rows: int) -> int:
        """Add rows to a folder's last file, or to a new one where that is full.

        rows: all that belong to the folder and follow where the kind has come in every folder;
        those that this one has already are left out.
        Returns: how many were added.
        """
        files = sorted(where.glob("*.parquet"))
        path = None
        if files:
            footer = pq.read_metadata(files[-1])
            rows = rows.filter(pc.greater(rows["seq"], _seq_max(footer)))
            if footer.num_rows < file_rows:
                path = files[-1]
        added = int(rows.num_rows)
        if not added:
            return 0
        if path is None:
            where.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            _sync_folder(where.parent)
            _sync_folder(self.folder)
            path = where / f"{kind}-{pc.min(rows['seq']).as_py():012d}.parquet"
        else:
            rows = pa.concat_tables([pq.ParquetFile(path).read(), rows])
        self._write(path, kind, rows)
        return added

    def _write(self, path: Path, kind: Kind, rows: pa.Table) -> None:
        """Put rows, sorted, in a file's place, and on the disk."""
        layout = LAYOUTS[kind]
        temporary = self.folder / TEMPORARY / path.name
        with private(temporary) as file:
            pq.write_table(
                rows.sort_by([(name, "ascending") for name in layout.sort]),
                file,
                row_group_size=ROW_GROUP_ROWS,
                compression="zstd",
                use_dictionary=list(layout.repetitive),
                store_decimal_as_integer=True,
            )
            file.flush()
            os.fsync(file.fileno())
        _put_in_place(temporary, path)
        self.files += 1


def write_parquet(
    store: BillingStore,
    folder: str | Path,
    *,
    window_rows: int = WINDOW_ROWS,
    file_rows: int = FILE_ROWS,
) -> ParquetSummary:
    """Bring a dataset up to where the store stands, making it where it is missing.

    The store may be open for reading only, and may be written to meanwhile. Layout and columns:
    docs/parquet.md.
    Raises: ParquetError; StoreError.
    """
    try:
        with _opened(store, Path(folder)) as dataset:
            added = {
                kind: _write_kind(store, dataset, kind, window_rows, file_rows) for kind in LAYOUTS
            }
            return ParquetSummary(**added, files=dataset.files)
    except pa.ArrowInvalid as error:
        raise ParquetError(
            f"{folder}: a file of the dataset is damaged ({error}); {MEND}"
        ) from error
    except OSError as error:
        reason = error.strerror or error
        raise ParquetError(
            f"{folder}: the dataset cannot be written: {reason}; the next run goes on with it"
        ) from error


@contextmanager
def _opened(store: BillingStore, folder: Path) -> Iterator[Dataset]:
    """Lock a dataset, check that it is this store's, and clear what a crash left behind."""
    _make_folder(folder)
    with private(folder / LOCK_FILE) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ParquetError(
                f"{folder}: another program is writing this dataset; let it finish"
            ) from error
        dataset = _dataset(store, folder)
        shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
        (folder / TEMPORARY).mkdir()
        dataset.save()
        yield dataset
        shutil.rmtree(folder / TEMPORARY, ignore_errors=True)


def _make_folder(folder: Path) -> None:
    """Make a dataset's folder. Raises: ParquetError where there is something else."""
    if folder.exists() and not folder.is_dir():
        raise ParquetError(f"{folder}: this is a file; name a folder for the dataset")
    folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    held = {entry.name for entry in folder.iterdir()}
    if held - {LOCK_FILE, TEMPORARY} and STATE_FILE not in held:
        raise ParquetError(
            f"{folder}: the folder holds other files than a dataset of ratecast; "
            "name an empty folder, or one that is not there yet"
        )


def _dataset(store: BillingStore, folder: Path) -> Dataset:
    """Read how far a dataset has come. Raises: ParquetError where it is not of this store."""
    path = folder / STATE_FILE
    if not path.exists():
        return Dataset(folder, store.store_id)
    try:
        content = json.loads(path.read_text())
        version, seqs = content["format"], dict(content["seq"])
        dataset = Dataset(folder, content["store"], seqs, content["last_charge"])
    except (ValueError, KeyError, TypeError) as error:
        raise ParquetError(f"{path}: the file is damaged; {MEND}") from error
    if version != FORMAT:
        raise ParquetError(f"{folder}: another version of ratecast wrote this dataset; {MEND}")
    if dataset.store_id != store.store_id:
        raise ParquetError(f"{folder}: the dataset was written from another store; {MEND}")
    if not _numbered_alike(store, dataset):
        raise ParquetError(
            f"{folder}: the dataset holds rows that {store.url} does not have in their place, as "
            f"if that had been put back to an older copy; {MEND}"
        )
    return dataset


def _numbered_alike(store: BillingStore, dataset: Dataset) -> bool:
    """Whether a store still has what the dataset was written from, under the same numbers."""
    if any(seq > store.last_seq(kind) for kind in LAYOUTS if (seq := dataset.seqs.get(kind, 0))):
        return False
    seq = dataset.seqs.get("charges", 0)
    return not seq or store.charges_after(seq - 1, 1)["charge_id"][0] == dataset.last_charge


def _put_in_place(temporary: Path, path: Path) -> None:
    """Rename a file that is on the disk, and put the name there, too."""
    temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _seq_max(footer: pq.FileMetaData) -> int:
    """Give the highest seq in a file; `seq` is the first column of every kind."""
    groups = range(footer.num_row_groups)
    return max(int(footer.row_group(group).column(0).statistics.max) for group in groups)


def _write_kind(
    store: BillingStore, dataset: Dataset, kind: Kind, window_rows: int, file_rows: int
) -> int:
    """Write the rows that the dataset lacks, a window at a time. Returns how many were added."""
    upto, added = store.last_seq(kind), 0
    zones = {book.id: book.timezone for book in store.books()}
    while (done := dataset.seqs.get(kind, 0)) < upto:
        window = _window(store, kind, done, upto, window_rows)
        for where, rows in _by_folder(dataset.folder / kind, kind, window):
            added += dataset.grow(where, kind, _table(kind, rows, zones), file_rows)
        dataset.seqs[kind] = window["seq"][-1]
        if kind == "charges":
            dataset.last_charge = window["charge_id"][-1]
        dataset.save()
    return added


def _window(
    store: BillingStore, kind: Kind, after: int, upto: int, window_rows: int
) -> pl.DataFrame:
    """Read the next rows of the store, in pages."""
    read = {
        "charges": store.charges_after,
        "suspense": store.suspense_after,
        "signals": store.signals_after,
    }[kind]
    pages: list[pl.DataFrame] = []
    wanted = window_rows
    while wanted and after < upto:
        page = read(after, min(wanted, READ_ROWS), upto)
        pages.append(page)
        wanted -= page.height
        after = page["seq"][-1]
    return pl.concat(pages)


def _by_folder(root: Path, kind: Kind, rows: pl.DataFrame) -> Iterator[tuple[Path, pl.DataFrame]]:
    """Part rows by the folder that they belong to."""
    if not LAYOUTS[kind].by_date:
        yield root, rows
        return
    for (date, *_), part in rows.sort("local_date", "seq").group_by(
        "local_date", maintain_order=True
    ):
        yield root / f"local_date={date}", part


def _table(kind: Kind, rows: pl.DataFrame, zones: Mapping[str, str]) -> pa.Table:
    """Give rows in the types and columns of their kind's files."""
    layout = LAYOUTS[kind]
    if kind == "charges":
        rows = with_refs(rows.with_columns(_local_hour(rows, zones)))
    rows = rows.select(layout.columns).with_columns(
        pl.col(layout.times).cast(pl.Datetime("ms", "UTC"))
    )
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    for name in layout.money:
        table = table.set_column(table.column_names.index(name), name, decimals(rows[name]))
    return table


def _local_hour(charges: pl.DataFrame, zones: Mapping[str, str]) -> pl.Series:
    """Give the hour of day at which each charge starts, in its book's time zone."""
    start = pl.col("start").cast(pl.Datetime("ms", "UTC"))
    hour = pl.lit(None, pl.Int8)
    for zone in sorted(set(zones.values())):
        books = [book for book, its_zone in zones.items() if its_zone == zone]
        local = start.dt.convert_time_zone(zone).dt.hour()
        hour = pl.when(pl.col("book").is_in(books)).then(local).otherwise(hour)
    hours = charges.select(local_hour=hour).to_series()
    if hours.null_count():
        book = charges["book"].filter(hours.is_null())[0]
        raise ParquetError(f"the store has charges of book {book!r}, but not the book itself")
    return hours


def decimals(micros: pl.Series) -> pa.Array:
    """Give micro-units as decimals with six places, bit by bit the same integers."""
    values = micros.to_numpy()
    assert np.abs(values).max(initial=0) <= MICROS_MAX, "an amount beyond 10^12 currency units"
    wide = np.empty((len(values), 2), dtype=np.int64)
    wide[:, 0] = values
    wide[:, 1] = values >> 63  # The upper half of a 128-bit integer is its sign.
    return pa.Array.from_buffers(DECIMAL, len(values), [None, pa.py_buffer(wide)])
