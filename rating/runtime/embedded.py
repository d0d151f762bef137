"""The embedded runtime: usage logs in files to charges in a billing store, on one machine.

Three threads hand on from one to the next: one reads and decodes, one rates, one commits. Decoding
and rating run without the interpreter's lock, and so does most of a commit, so that two cores are
used. What is committed is always a whole batch with the position of its sources, so the next run
goes on exactly there.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TYPE_CHECKING

import polars as pl

from ingest.adapters.doors import read_lines
from ingest.files import read_chunks
from ingest.follow import FollowReader
from ingest.new_logs import NewLogs
from rating.rater import Rater
from rating.runtime.audit import BALANCES, RECORDS, WATCHED
from rating.runtime.books import books_in_force
from rating.runtime.progress import Progress
from rating.runtime.summary import Law, RunSummary, Tally
from rating.runtime.uncharged import Outcomes
from rating.schemas import Commit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ingest.adapters.doors import Door
    from ingest.files import LogChunk, LogReader, UnreadableSource
    from rating.schemas import BatchResult, SourcePosition, UsageBatch
    from sinks.store import BillingStore, StoredPartition
    from tariffs.model import Book

PARTITION = 0
BATCHES_WAITING_MAX = 2  # between two threads: bounds memory, and evens out their pace
WAIT_S = 0.1
NOTHING_YET = object()
REFRESH_S = 2.0
REFRESH_SHARE = 20  # what is refreshed may take one part in so many of the time


class _Line:
    """A bounded queue between two threads that ends when either of them fails."""

    def __init__(self, stop: Event) -> None:
        self._queue: Queue[Any] = Queue(BATCHES_WAITING_MAX)
        self._stop = stop

    def put(self, item: Any) -> bool:
        """Hand on; False once the run is being stopped."""
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=WAIT_S)
            except Full:
                continue
            return True
        return False

    def take(self) -> Any:
        """The next item; None at the end, and once the run is being stopped."""
        while (item := self.take_soon()) is NOTHING_YET:
            pass
        return item

    def take_soon(self) -> Any:
        """As `take`, but NOTHING_YET where there is none for a moment."""
        try:
            return self._queue.get(timeout=WAIT_S)
        except Empty:
            return None if self._stop.is_set() else NOTHING_YET


class _Stage(Thread):
    """A thread whose failure stops the run and is raised in the main thread."""

    def __init__(self, work: Callable[[], None], stop: Event) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._stop_run = stop
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Do the work, and keep what went wrong."""
        try:
            self._work()
        except BaseException as failure:  # noqa: BLE001 - raised again by the main thread
            self.failure = failure
            self._stop_run.set()


def rate_files(
    books: Sequence[Book],
    store: BillingStore,
    paths: Sequence[str],
    *,
    close: bool,
    batch_records: int,
    progress: Callable[[Progress], None],
    follow: Following | None = None,
    new_logs: NewLogs = NewLogs(),  # noqa: B008 - it is frozen
    door: Door | None = None,
) -> RunSummary:
    """Rate logs into a store, going on where it stands.

    door: how the logs' lines are understood; None: they are usage records.
    books: those given now; the store's own are rated by as well. close: end every session.
    follow: read on as the logs grow; without it the run ends where they end.
    new_logs: which logs are taken that the store does not know.
    Raises: LogError, BookErrors, StoreError, LawBroken. What was committed before stays.
    """
    started_s = time.monotonic()
    stored = store.load(PARTITION)
    reader = _reader(paths, stored.sources if stored else (), batch_records, follow, new_logs)
    in_force = books_in_force(books, store)
    rater = Rater(in_force, stored.state if stored else ())
    run = _Run(store, stored, rater, progress, follow)
    run.rate(reader, door)
    if close:
        run.close()
    rater.check_watched()
    store.replace_open_sessions(rater.open_sessions(), run.clock_ms or 0, partition=PARTITION)
    return RunSummary(
        store=store.url,
        counts=run.counts(),
        tally=run.tally,
        sessions_open=rater.sessions_open,
        # The rater raises where a law does not hold, so here they have all been checked.
        laws=tuple(Law(name, holds=True) for name in (RECORDS, WATCHED, BALANCES)),
        elapsed_s=time.monotonic() - started_s,
        unreadable=tuple(reader.unreadable),
        skipped=tuple(reader.taken_before),
        passed_over=tuple(reader.passed_over),
        uncharged=tuple(run.outcomes.uncharged(run.counts()["watched_ms"])),
    )


@dataclass(frozen=True, slots=True)
class Following:
    """How logs are followed. stop: ends the run, once what is there is rated.

    warn: called at once with each log that cannot be read on. refreshed: called every few seconds
    in which something came, with all of it and its open sessions in the store; in another thread.
    """

    stop: Event
    warn: Callable[[UnreadableSource], None]
    refreshed: Callable[[], None] = lambda: None


def _reader(
    paths: Sequence[str],
    sources: Sequence[SourcePosition],
    batch_records: int,
    follow: Following | None,
    new_logs: NewLogs,
) -> LogReader | FollowReader:
    """What gives the logs' chunks. Raises: LogError."""
    if follow is None:
        return read_chunks(paths, sources, records_max=batch_records, new_logs=new_logs)
    return FollowReader(
        paths,
        sources,
        records_max=batch_records,
        stop=follow.stop,
        warn=follow.warn,
        new_logs=new_logs,
    )


class _Run:
    """One run over logs: its place in the store, and what it came to so far."""

    def __init__(
        self,
        store: BillingStore,
        stored: StoredPartition | None,
        rater: Rater,
        progress: Callable[[Progress], None],
        follow: Following | None,
    ) -> None:
        self._follow = follow
        self._is_stale = False  # since something was rated that no refresh has shown
        self._refresh_at_s = time.monotonic() + REFRESH_S
        self._store = store
        self._rater = rater
        self._progress = progress
        self._offset = stored.next_offset if stored else 0
        self._counts_before = dict(stored.counts) if stored else {}
        self._counts = dict(self._counts_before)
        self.clock_ms = stored.clock_ms if stored else None
        self.tally = Tally()
        self.outcomes = Outcomes()

    def counts(self) -> dict[str, int]:
        """The partition's counts, of this run alone."""
        return {
            name: number - self._counts_before.get(name, 0)
            for name, number in self._rater.counts().items()
        }

    def rate(self, reader: LogReader | FollowReader, door: Door | None) -> None:
        """Rate all chunks in three threads. Raises what any of them failed with."""
        stop = Event()
        decoded, rated = _Line(stop), _Line(stop)
        stages = [
            _Stage(lambda: _decode(reader, decoded, door), stop),
            _Stage(lambda: self._commit_all(rated, reader), stop),
        ]
        for stage in stages:
            stage.start()
        try:
            while (item := decoded.take_soon()) is not None:
                if item is not NOTHING_YET:
                    if not rated.put(self._rated(*item)):
                        break
                    self._is_stale = self._follow is not None
                if self._is_stale and time.monotonic() >= self._refresh_at_s:
                    self._is_stale = False
                    self._refresh_at_s = math.inf  # until this one is done
                    if not rated.put(self._rater.open_sessions()):
                        break
            rated.put(None)
        except BaseException:
            rated.put(None)  # what was rated before is right, and is committed
            stages[1].join()
            stop.set()
            raise
        finally:
            if not any(stage.failure for stage in stages):
                stages[1].join()
            stop.set()
            stages[1].join()  # the other one may be waiting for input that never comes
        for stage in stages:
            if stage.failure:
                raise stage.failure

    def close(self) -> None:
        """End every session and commit what comes of it."""
        result = self._rater.close()
        self.outcomes.add_suspense(result.suspense)
        self.commit_result(result, 0, ())

    def _rated(
        self, chunk: LogChunk, batch: UsageBatch
    ) -> tuple[BatchResult, int, tuple[SourcePosition, ...]]:
        """Rate a batch, and say what is to be committed."""
        counts_before = self._rater.counts()
        result = self._rater.rate(batch)
        self.outcomes.add(chunk, batch, result, counts_before)
        return result, len(batch.events), chunk.sources

    def _commit_all(self, rated: _Line, reader: LogReader | FollowReader) -> None:
        """Commit results in their order."""
        while (item := rated.take()) is not None:
            if isinstance(item, pl.DataFrame):
                self._refresh(item)
                continue
            self.commit_result(*item)
            self._progress(
                Progress(
                    reader.bytes_read,
                    reader.bytes_total or None,
                    self._counts["records"] - self._counts_before.get("records", 0),
                    sum(self.tally.charges.values()),
                )
            )

    def _refresh(self, open_sessions: pl.DataFrame) -> None:
        """Bring what is made from the state up to date, and say when it is next to be."""
        assert self._follow is not None
        started_s = time.monotonic()
        self._store.replace_open_sessions(open_sessions, self.clock_ms or 0, partition=PARTITION)
        self._follow.refreshed()
        ended_s = time.monotonic()
        self._refresh_at_s = ended_s + max(REFRESH_S, REFRESH_SHARE * (ended_s - started_s))

    def commit_result(
        self, result: BatchResult, records: int, sources: tuple[SourcePosition, ...]
    ) -> None:
        """Commit one result with the positions of its sources."""
        following = self._offset + records
        result = self._store.commit(Commit(PARTITION, self._offset, following, result, sources))
        self._offset = following
        self._counts = dict(result.counts)
        self.clock_ms = result.clock_ms
        self.tally.add(result)


def _decode(reader: LogReader | FollowReader, decoded: _Line, door: Door | None) -> None:
    """Read and decode every chunk."""
    for chunk in reader:
        batch = read_lines(chunk.raw, chunk.locate, door)
        item: tuple[LogChunk, UsageBatch] = (chunk, batch)
        if not decoded.put(item):
            return
    decoded.put(None)
