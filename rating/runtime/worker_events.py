"""What a worker tells to whoever measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rating.schemas import BatchResult


class WorkerEvents(Protocol):
    """Called from the worker's event loop; `rating.runtime.metrics.Metrics` is one."""

    def committed(
        self,
        partition: int,
        result: BatchResult,
        counts_before: Mapping[str, int],
        step_s: Mapping[str, float],
    ) -> None:
        """A batch was committed. step_s: seconds by "decode", "rate" and "commit"."""

    def lagging(self, partition: int, messages: int, seconds: float) -> None:
        """How far a partition is behind its end: messages, and the age of the first of them."""

    def rebalanced(self, partitions_assigned: int) -> None:
        """The group gave the worker so many partitions."""

    def revoked(self) -> None:
        """The group took all partitions back, and has given none yet."""

    def left(self, partition: int) -> None:
        """The worker rates a partition no more."""

    def law_broken(self) -> None:
        """A batch was refused, since a law of rating did not hold."""

    def commit_failed(self, error: Exception) -> None:
        """A commit failed; where the error is transient it is tried again."""

    def chained(self, partition: int, number: int, digest: bytes) -> None:
        """The last link of a partition's hash chain."""

    def waiting_for_store(self, seconds: float, error: str) -> None:
        """How long the store has kept a partition waiting by now; 0 where it keeps none.

        error: the class of what it answered last, or "NoAnswer".
        """
