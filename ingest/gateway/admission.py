"""How much the gateway takes on at once, so that a flood is refused before memory grows."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.gateway.problems import retry_later

RETRY_AFTER_S = 2


@dataclass(slots=True)
class Admission:
    """Requests and bytes of bodies in flight, and how many there may be.

    bytes_max bounds what bodies take, as they came and expanded. A connection that waits costs its
    socket's buffer alone, since the server stops reading from it.
    """

    requests_max: int
    bytes_max: int
    requests: int = 0
    bytes: int = 0

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


@dataclass(slots=True)
class Ticket:
    """The share of one request; given back when it was answered."""

    admission: Admission
    held_bytes: int = field(default=0)

    def hold(self, more_bytes: int) -> None:
        """Take room for bytes of the body. Raises: Problem 429."""
        if self.admission.bytes + more_bytes > self.admission.bytes_max:
            raise retry_later(
                "overload",
                f"bodies in flight already take {self.admission.bytes} of "
                f"{self.admission.bytes_max} bytes; nothing of this request is in the log, so "
                "send it again",
                RETRY_AFTER_S,
            )
        self.admission.bytes += more_bytes
        self.held_bytes += more_bytes

    def leave(self) -> None:
        """Give everything back."""
        self.admission.bytes -= self.held_bytes
        self.held_bytes = 0
        self.admission.requests -= 1
