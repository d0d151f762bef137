"""Audience counters as the gateway keeps them: JSON lines in the folder of `--boxes`.

Each line is a row of `bulk_data.COUNTERS`, with `received`. Of a counter, any report says all that the
ones before it said; they are kept all the same, since their differences are the evidence.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import polars as pl

from ingest.adapters.bulk_data import COUNTERS
from ingest.adapters.canonical import LogLine
from ingest.cdn.dataset import EvidenceError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "counters"


def counter_lines(counters: pl.DataFrame, received_ms: int) -> list[LogLine]:
    """The lines of rows of COUNTERS."""
    return [
        LogLine("", json.dumps(row | {"received": received_ms}, separators=(",", ":")).encode())
        for row in counters.to_dicts()
    ]


def read_counters(folder: Path) -> pl.DataFrame:
    """Rows of COUNTERS that a gateway kept, as far as their lines are whole.

    Raises: EvidenceError where the folder holds none.
    """
    segments = sorted(folder.glob(f"{NAME}-????????.ndjson"))
    if not segments:
        raise EvidenceError(
            f"{folder}: no audience counters; a gateway that runs with --boxes {folder} keeps them"
        )
    parts = [COUNTERS.to_frame()]
    for segment in segments:
        try:
            content = segment.read_bytes()
        except OSError as error:
            raise EvidenceError(f"{segment}: {error.strerror}") from error
        whole, _, _ = content.rpartition(b"\n")  # the gateway may be writing the last one
        if whole:
            parts.append(pl.read_ndjson(io.BytesIO(whole), schema=COUNTERS))
    return pl.concat(parts)
