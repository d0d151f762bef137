"""How far a run is: a bar on a terminal, a line each few seconds anywhere else."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rating.runtime.figures import count

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from typing import Protocol, TextIO

    from rich.progress import Progress as Bar

    class Shown(Protocol):
        """Takes reports of progress, and gives room for a question."""

        def __call__(self, progress: Progress, /) -> None:
            """Show how far the run is."""

        def paused(self) -> AbstractContextManager[None]:
            """Show nothing meanwhile."""


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
) -> Iterator[Shown]:
    """Shows on standard error what the block reports.

    verb: what the run does, such as "Rating". every_s: between two lines where no bar is shown.
    """
    stream = stream or sys.stderr
    if stream.isatty():
        with _bar(verb) as show:
            yield show
    else:
        yield _Lines(verb, stream, every_s)


def _figures(progress: Progress, elapsed_s: float) -> str:
    """What a bar or line says beside the share done."""
    parts = [f"{count(progress.records)} records"]
    if elapsed_s > 0:
        parts.append(f"{count(round(progress.records / elapsed_s))} a second")
    if progress.charges:
        parts.append(f"{count(progress.charges)} charges")
    return ", ".join(parts)


class _Lines:
    """Reports as lines, the first after `every_s`: short runs say nothing."""

    def __init__(self, verb: str, stream: TextIO, every_s: float) -> None:
        self._verb, self._stream, self._every_s = verb, stream, every_s
        self._started_s = time.monotonic()
        self._due_s = self._started_s + every_s

    def __call__(self, progress: Progress, /) -> None:
        now_s = time.monotonic()
        if now_s < self._due_s:
            return
        self._due_s = now_s + self._every_s
        share = f"{100 * progress.done // progress.whole} %, " if progress.whole else ""
        figures = _figures(progress, now_s - self._started_s)
        print(f"{self._verb}: {share}{figures}", file=self._stream, flush=True)

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()


class _Bar:
    """Reports as a bar."""

    def __init__(self, bar: Bar, verb: str) -> None:
        self._bar = bar
        self._task = bar.add_task(verb, total=None, figures="")
        self._started_s = time.monotonic()

    def __call__(self, progress: Progress, /) -> None:
        self._bar.update(
            self._task,
            completed=progress.done,
            total=progress.whole,
            figures=_figures(progress, time.monotonic() - self._started_s),
        )

    @contextmanager
    def paused(self) -> Iterator[None]:
        self._bar.stop()
        yield
        self._bar.start()


@contextmanager
def _bar(verb: str) -> Iterator[Shown]:
    """Reports as a bar, which goes away at the end: the summary says it all."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    looks = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Bar(*looks, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, verb)
