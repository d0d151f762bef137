"""How far a run is: a bar on a terminal, a line each few seconds anywhere else."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rating.runtime.figures import count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO

LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    done, whole: in one unit, such as bytes of input; whole is None where nobody knows it.
    records: usage records so far. charges: charges so far.
    """

    done: int
    whole: int | None
    records: int
    charges: int = 0


@contextmanager
def shown_progress(
    verb: str, stream: TextIO | None = None, every_s: float = LINE_EVERY_S
) -> Iterator[Callable[[Progress], None]]:
    """Shows on standard error what the block reports.

    verb: what the run does, such as "Rating". every_s: between two lines where no bar is shown.
    """
    stream = stream or sys.stderr
    if stream.isatty():
        with _bar(verb) as show:
            yield show
    else:
        yield _lines(verb, stream, every_s)


def _figures(progress: Progress, elapsed_s: float) -> str:
    """What a bar or line says beside the share done."""
    parts = [f"{count(progress.records)} records"]
    if elapsed_s > 0:
        parts.append(f"{count(round(progress.records / elapsed_s))} a second")
    if progress.charges:
        parts.append(f"{count(progress.charges)} charges")
    return ", ".join(parts)


def _lines(verb: str, stream: TextIO, every_s: float) -> Callable[[Progress], None]:
    """Reports as lines, the first after `every_s`: short runs say nothing."""
    started_s = time.monotonic()
    due_s = started_s + every_s

    def show(progress: Progress) -> None:
        nonlocal due_s
        now_s = time.monotonic()
        if now_s < due_s:
            return
        due_s = now_s + every_s
        share = f"{100 * progress.done // progress.whole} %, " if progress.whole else ""
        print(f"{verb}: {share}{_figures(progress, now_s - started_s)}", file=stream, flush=True)

    return show


@contextmanager
def _bar(verb: str) -> Iterator[Callable[[Progress], None]]:
    """Reports as a bar, which goes away at the end: the summary says it all."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    started_s = time.monotonic()
    looks = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Bar(*looks, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(verb, total=None, figures="")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.done,
                total=progress.whole,
                figures=_figures(progress, time.monotonic() - started_s),
            )

        yield show
