"""How much the gateway takes on at once, so that a flood is refused before memory grows."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock

from ingest.gateway.problems import retry_later

RETRY_AFTER_S = 2
ANONYMOUS_PART = 4  # a quarter


@dataclass(slots=True)
class Admission:
    """Requests and bytes of bodies in flight, and how many there may be.

    bytes_max bounds what bodies take, as they came and expanded. A connection that waits costs its
    socket's buffer alone, since the server stops reading from it.
    """

    requests_max: int
    bytes_max: int
    requests: int = 0
    anonymous: int = 0
    bytes: int = 0
    _lock: Lock = field(default_factory=Lock)  # bodies expand off the event loop

    def enter(self) -> Ticket:
        """Let a request in. Raises: Problem 429."""
        if self.requests >= self.requests_max:
            raise retry_later(
                "overload",
                f"{self.requests} requests are in flight, and no more are taken at once; "
                "nothing of this one is in the log, so send it again",
                RETRY_AFTER_S,
            )
        self.requests += 1
        return Ticket(self)

    def hold(self, more_bytes: int) -> None:
        """Take room for bytes of a body, or give it back. Raises: Problem 429."""
        with self._lock:
            if more_bytes > 0 and self.bytes + more_bytes > self.bytes_max:
                raise retry_later(
                    "overload",
                    f"bodies in flight already take {self.bytes} of {self.bytes_max} bytes; nothing "
                    "of this request is in the log, so send it again",
                    RETRY_AFTER_S,
                )
            self.bytes += more_bytes


@dataclass(slots=True)
class Ticket:
    """The share of one request; given back when it was answered.

    paid: records of its sender's limit that it has taken so far.
    """

    admission: Admission
    held_bytes: int = 0
    paid: int = 0
    is_anonymous: bool = False

    def be_anonymous(self) -> None:
        """Count as a request of a sender that nothing is known of. Raises: Problem 429.

        They get a part of what may be in flight, so that they cannot shut out those that are known.
        """
        if self.is_anonymous:
            return
        admission = self.admission
        if admission.anonymous >= max(1, admission.requests_max // ANONYMOUS_PART):
            raise retry_later(
                "overload",
                f"{admission.anonymous} requests without credentials are in flight; nothing of this "
                "one is in the log, so send it again",
                RETRY_AFTER_S,
            )
        admission.anonymous += 1
        self.is_anonymous = True

    def hold(self, more_bytes: int) -> None:
        """Take room for bytes of the body. Raises: Problem 429."""
        self.admission.hold(more_bytes)
        self.held_bytes += more_bytes

    def leave(self) -> None:
        """Give everything back."""
        self.admission.hold(-self.held_bytes)
        self.admission.requests -= 1
        self.admission.anonymous -= self.is_anonymous
        self.held_bytes = 0
