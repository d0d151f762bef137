"""Where commands write: standard output or a file, compressed as its name says."""

from __future__ import annotations

import gzip
import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from rating.runtime.progress import Progress, shown_progress
from sinks.private_files import private

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.simulator import Simulation

ZSTD_LEVEL = 1  # a log is written once, on the way to the rater: speed before size


@contextmanager
def opened_output(out: str) -> Iterator[BinaryIO]:
    """The stream to write to; "-" is standard output.

    A file is written beside its place and moved there at the end, so a half one never looks whole.
    """
    if out == "-":
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out)
    if path.exists() and not path.is_file():  # a device or a pipe stays what it is
        with path.open("wb") as plain, _compressed(plain, path.suffix) as stream:
            yield stream
        return
    path = path.resolve()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with private(part) as whole, _compressed(whole, path.suffix) as stream:
            yield stream
        part.replace(path)
    except OSError as error:
        if error.filename == str(part):
            error.filename = out
        raise
    finally:
        part.unlink(missing_ok=True)


def write_log(simulation: Simulation, stream: BinaryIO) -> int:
    """Write a simulated log, with progress where the log itself is not on the terminal.

    Returns: the number of records.
    """
    records = 0
    with shown_progress("Simulating") as progress:
        for block in simulation.blocks():
            stream.write(block)
            records += block.count(b"\n")
            progress(Progress(records, max(records, simulation.records_estimate), records))
    return records


@contextmanager
def _compressed(plain: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    """The stream that compresses into `plain`, or `plain` itself."""
    if suffix == ".gz":
        # No name and no time in the header: the same content gives the same file.
        with gzip.GzipFile("", "wb", 6, plain, mtime=0) as stream:
            yield cast("BinaryIO", stream)
    elif suffix == ".zst":
        import zstandard

        compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
        with compressor.stream_writer(plain, closefd=False) as stream:
            yield cast("BinaryIO", stream)
    else:
        yield plain
