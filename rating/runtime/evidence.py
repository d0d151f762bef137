"""Logs of a CDN taken into the dataset of delivered media, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ingest.cdn.dataset import EvidenceError, take_log
from ingest.cdn.mapping import load_cdn_mapping
from rating.runtime.figures import columns, count, plural
from rating.runtime.progress import Progress, shown_progress

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


UNCOUNTED = (
    "What the uncounted brought is not known: their CMCD lacks sid, ot or d, or has a d that is no "
    "number of ms. Let the players send these keys."
)
COUNTS = ("lines", "delivered", "uncounted", "other", "bad")


def take_logs(logs: Sequence[Path], cdn: str, folder: Path) -> dict[str, Any]:
    """Take logs into a dataset.

    Returns: what they came to: logs, repeats and COUNTS; and the folder.
    Raises: MappingError, EvidenceError. Logs before the one that failed are in.
    """
    mapping = load_cdn_mapping(cdn)
    sums = dict.fromkeys(("logs", "repeats", *COUNTS), 0)
    sizes = [size_of(log) for log in logs]
    whole, before = sum(sizes), 0
    with shown_progress("Reading") as show:
        for log, size_bytes in zip(logs, sizes, strict=True):
            start, lines = before, sums["lines"]

            def on_read(read_bytes: int, new: int, start: int = start, lines: int = lines) -> None:
                show(Progress(start + read_bytes, whole, lines + new))

            counts = take_log(log, mapping, folder, on_read)
            sums["logs"] += 1
            sums["repeats"] += counts.is_repeat
            if not counts.is_repeat:
                for name in COUNTS:
                    sums[name] += getattr(counts, name)
            before += size_bytes
    return {"cdn": mapping.id, "dataset": str(folder), **sums}


def size_of(log: Path) -> int:
    """The bytes of a log as it is stored. Raises: EvidenceError."""
    try:
        return log.stat().st_size
    except OSError as error:
        raise EvidenceError(f"{log}: {error.strerror}; give a log that can be read") from error


def as_text(taken: dict[str, Any]) -> str:
    """For a person."""
    rows = [
        ("logs", f"{count(taken['logs'])}, {count(taken['repeats'])} of them taken before"),
        ("lines", count(taken["lines"])),
        ("delivered", plural(taken["delivered"], "object") + " with pictures"),
        ("uncounted", plural(taken["uncounted"], "request") + " with CMCD"),
        ("other", plural(taken["other"], "request")),
        ("bad", plural(taken["bad"], "line")),
    ]
    kept = f"Kept in {taken['dataset']}."
    if taken["uncounted"]:
        kept += f"\n{UNCOUNTED}"
    if taken["bad"]:
        kept += f"\nWhat is wrong with each bad line: {taken['dataset']}/_bad"
    return "\n".join([*columns(rows), kept])
