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


def take_logs(logs: Sequence[Path], cdn: str, folder: Path) -> dict[str, Any]:
    """Take logs into a dataset.

    Returns: what they came to: logs, repeats, lines, delivered, other, bad; and the folder.
    Raises: MappingError, EvidenceError. Logs before the one that failed are in.
    """
    mapping = load_cdn_mapping(cdn)
    sums = {"logs": 0, "repeats": 0, "lines": 0, "delivered": 0, "other": 0, "bad": 0}
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
                for name in ("lines", "delivered", "other", "bad"):
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
        ("other", plural(taken["other"], "request")),
        ("bad", plural(taken["bad"], "line")),
    ]
    kept = f"Kept in {taken['dataset']}."
    if taken["bad"]:
        kept += f" What is wrong with each bad line: {taken['dataset']}/_bad"
    return "\n".join([*columns(rows), kept])
