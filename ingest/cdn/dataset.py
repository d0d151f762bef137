"""The dataset of delivered media: Parquet by date, made from logs that may be given again.

    DIR/date=YYYY-MM-DD/SOURCE-DIGEST-PART.parquet      delivered objects
    DIR/_bad/SOURCE-DIGEST.parquet                      lines that were no requests, with file:line
    DIR/_logs/SOURCE-DIGEST.json                        written last: this log is in here whole

A log is known by its content, so the same file under another name is taken once. What a crash left
of one, or a mapping that was mended since, is removed before the log is taken again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING

import polars as pl

from ingest.cdn.json_values import as_json_lines
from ingest.cdn.media import DELIVERY, media_of
from ingest.cdn.parquet_logs import ParquetFault, is_parquet, parquet_columns, row_bytes
from ingest.cdn.readers import BAD, LogReader
from ingest.cdn.requests import requests_of
from ingest.streams import ReadError, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ingest.cdn.mapping import CdnMapping

BLOCK_BYTES = 16 * 2**20  # of lines that are read at once
PART_ROWS = 500_000  # of one Parquet file
HOUR_MS = 3_600_000
DIGEST_BYTES = 16
READ_BYTES = 2**20
RULES = 2  # of reading; a log that was taken by others is taken anew

BAD_LINES = pl.Schema(
    {"reason": pl.String, "detail": pl.String, "raw": pl.Binary, "source": pl.String}
)
"""Lines of a log that are no requests. source: file and line."""


class EvidenceError(Exception):
    """A log or a dataset of evidence cannot be read. The text says why, and how to mend it."""


@dataclass(frozen=True, slots=True)
class LogCounts:
    """What one log came to: its lines, delivered objects, other requests, and bad lines.

    uncounted: delivered requests whose CMCD does not say what they brought.
    """

    lines: int = 0
    delivered: int = 0
    uncounted: int = 0
    other: int = 0
    bad: int = 0
    is_repeat: bool = False


def take_log(
    log: Path,
    mapping: CdnMapping,
    folder: Path,
    show: Callable[[int, int], None] = lambda _bytes_read, _lines: None,
) -> LogCounts:
    """Put the delivered media of one log into a dataset; a log that is in there adds nothing.

    show: is told the bytes of the file and the lines that were read so far.
    Raises: EvidenceError if the log cannot be read to its end: then nothing counts as taken.
    """
    name = f"{file_word(mapping.id)}-{digest_of(log)}"
    marker = folder / "_logs" / f"{name}.json"
    rules = f"{RULES} {mapping!r}".encode()
    read_by = hashlib.blake2b(rules, digest_size=DIGEST_BYTES).hexdigest()
    if marker.exists():
        kept = json.loads(marker.read_text(encoding="utf-8"))
        if kept["read_by"] == read_by:
            return LogCounts(**kept["counts"] | {"is_repeat": True})
    forget(name, folder)
    lines = delivered = uncounted = bad = part = 0
    waiting: list[pl.DataFrame] = []
    bad_lines = []
    for read_bytes, found, refused in log_frames(log, mapping):
        lines += refused.lines
        delivered += len(found)
        uncounted += refused.uncounted
        bad += len(refused.rows)
        waiting.append(found)
        bad_lines.append(refused.rows)
        if sum(map(len, waiting)) >= PART_ROWS:
            write_part(pl.concat(waiting), folder, f"{name}-{part}")
            waiting, part = [], part + 1
        show(read_bytes, lines)
    if waiting:
        write_part(pl.concat(waiting), folder, f"{name}-{part}")
    if bad:
        write_parquet(pl.concat(bad_lines), folder / "_bad" / f"{name}.parquet")
    other = lines - delivered - uncounted - bad
    counts = LogCounts(lines, delivered, uncounted, other, bad)
    kept = {"log": log.name, "source": mapping.id, "read_by": read_by, "counts": asdict(counts)}
    write_whole(marker, json.dumps(kept).encode())
    return counts


@dataclass(frozen=True, slots=True)
class Refused:
    """What of a block gives no row. rows: BAD_LINES. lines: lines that are not blank.

    uncounted: as LogCounts has it.
    """

    rows: pl.DataFrame
    lines: int
    uncounted: int


def log_frames(log: Path, mapping: CdnMapping) -> Iterator[tuple[int, pl.DataFrame, Refused]]:
    """Rows of DELIVERY of one log, block by block, with the bytes of the file read so far.

    Raises: EvidenceError.
    """
    try:
        if is_parquet(log):
            size_bytes = log.stat().st_size
            for thousandths, columns in parquet_columns(log, mapping):
                raw_of = partial(row_bytes, columns)
                found = judged(columns, BAD.to_frame(), mapping, raw_of, log.name)
                yield size_bytes * thousandths // 1000, *found
            return
        reader = LogReader(mapping)
        stream = Stream(str(log))
        try:
            for block in whole_lines(content_of(stream, mapping)):
                yield stream.bytes_read, *read_block(block, reader, mapping, log.name)
        finally:
            stream.close()
    except (ReadError, ParquetFault) as error:
        raise EvidenceError(f"{log}: {error}") from error
    except OSError as error:
        raise EvidenceError(f"{log}: {error.strerror}; give a log that can be read") from error


def content_of(stream: Stream, mapping: CdnMapping) -> Iterator[bytes]:
    """The content of a log, its requests on lines. Raises: ReadError."""
    return as_json_lines(stream.blocks()) if mapping.shape == "json" else stream.blocks()


def read_block(
    block: bytes, reader: LogReader, mapping: CdnMapping, name: str
) -> tuple[pl.DataFrame, Refused]:
    """Read whole lines of a log."""
    lines_before = reader.lines_read
    columns, unread = reader.read(block)
    raws: list[bytes] = []

    def raw_of(number: int) -> bytes:
        if not raws:
            raws.extend(block.split(b"\n"))
        return raws[number - lines_before - 1].rstrip(b"\r")

    return judged(columns, unread, mapping, raw_of, name)


def judged(
    columns: pl.DataFrame,
    unread: pl.DataFrame,
    mapping: CdnMapping,
    raw_of: Callable[[int], bytes],
    name: str,
) -> tuple[pl.DataFrame, Refused]:
    """Rows of DELIVERY of columns of a log, and what gives none.

    unread: rows of BAD so far. raw_of: the bytes of the line or row of a number.
    """
    requests, unfit = requests_of(columns, mapping)
    media = media_of(requests, mapping)
    bad = pl.concat([unread, unfit, media.bad]).sort("number", maintain_order=True)
    bad = bad.with_columns(
        pl.Series("raw", [raw_of(number) for number in bad["number"]], dtype=pl.Binary)
    )
    rows = bad.select(
        pl.lit("malformed").alias("reason"),
        "detail",
        "raw",
        (pl.lit(f"{name}:") + pl.col("number").cast(pl.String)).alias("source"),
    )
    lines = len(columns) + len(unread)
    return media.rows, Refused(rows.cast(BAD_LINES), lines, media.uncounted)


def whole_lines(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Blocks cut anew where lines end; the last may have no end."""
    waiting: list[bytes] = []
    size_bytes = 0
    for block in blocks:
        waiting.append(block)
        size_bytes += len(block)
        if size_bytes >= BLOCK_BYTES and b"\n" in block:
            whole, _, rest = b"".join(waiting).rpartition(b"\n")
            yield whole + b"\n"
            waiting, size_bytes = [rest], len(rest)
    if rest := b"".join(waiting):
        yield rest


# --- files -------------------------------------------------------------------------------------


def digest_of(log: Path) -> str:
    """A digest of a file as it is stored. Raises: EvidenceError."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        with log.open("rb") as file:
            while block := file.read(READ_BYTES):
                digest.update(block)
    except OSError as error:
        raise EvidenceError(f"{log}: {error.strerror}; give a log that can be read") from error
    return digest.hexdigest()


def file_word(text: str) -> str:
    """A text as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._]", "_", text)


def forget(name: str, folder: Path) -> None:
    """Remove what there is of a log: of a run that crashed, or by a mapping that was mended."""
    (folder / "_logs" / f"{name}.json").unlink(missing_ok=True)
    for path in (*folder.glob(f"date=*/{name}-*.parquet"), *folder.glob(f"_bad/{name}.parquet")):
        path.unlink()


def write_part(rows: pl.DataFrame, folder: Path, name: str) -> None:
    """Write rows of DELIVERY, one file a date."""
    dated = rows.with_columns(pl.from_epoch("time", time_unit="ms").dt.date().alias("date"))
    for (date,), some in dated.group_by("date", maintain_order=True):
        write_parquet(some.drop("date"), folder / f"date={date}" / f"{name}.parquet")


def write_parquet(rows: pl.DataFrame, path: Path) -> None:
    """Write a Parquet file that appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    rows.write_parquet(temporary, compression="zstd")
    put_in_place(temporary, path)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    put_in_place(temporary, path)


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a file that is whole on the disk its name."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


# --- reading it back ---------------------------------------------------------------------------


def uncounted_requests(folder: Path) -> int:
    """How many requests of all logs in a dataset had CMCD that does not say what they brought."""
    markers = (json.loads(marker.read_bytes()) for marker in folder.glob("_logs/*.json"))
    return sum(marker["counts"].get("uncounted", 0) for marker in markers)


def delivered_hours(folder: Path) -> pl.DataFrame:
    """Delivered media time by session, content and hour.

    Returns: session, content ("" where the player did not say), hour (ms since the epoch, its
    start), media_ms (at normal speed), delivered_ms (at the speed it was played), objects, bytes,
    buffer_ms (fetched and not played, at the last object of the session), in that order.
    A request that two logs have counts once, and so does an object that a session got twice.
    Raises: EvidenceError if there is no dataset.
    """
    files = sorted(folder.glob("date=*/*.parquet"))
    if not files and not (folder / "_logs").is_dir():
        raise EvidenceError(
            f"{folder}: no delivery dataset; make one with `ratecast delivery --cdn NAME LOG`"
        )
    rows = pl.concat(
        [pl.LazyFrame(schema=DELIVERY), *(pl.scan_parquet(file, glob=False) for file in files)]
    )
    # A request without an id of the CDN is known by its object alone, below.
    repeats = pl.col("request").is_not_null() & (
        pl.struct("source", "request").is_first_distinct().not_()
    )
    distinct = (
        rows.sort("time", "session", "object", "request", "media_ms")
        .filter(~repeats)
        .unique(["session", "object"], keep="first", maintain_order=True)
    )
    rate = pl.when(pl.col("rate_milli") > 0).then("rate_milli").otherwise(1000)
    return (
        distinct.with_columns(
            pl.col("content").fill_null(""),
            (pl.col("time") // HOUR_MS * HOUR_MS).alias("hour"),
            (pl.col("media_ms") * 1000 // rate).alias("delivered_ms"),
            pl.col("buffer_ms").last().over("session"),
        )
        .group_by("session", "content", "hour")
        .agg(
            pl.col("media_ms").sum(),
            pl.col("delivered_ms").sum(),
            pl.len().cast(pl.Int64).alias("objects"),
            pl.col("bytes").sum(),
            pl.col("buffer_ms").first(),
        )
        .sort("session", "hour", "content")
        .collect()
    )
