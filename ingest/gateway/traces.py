"""What sessions have said so far, for as many of them as memory is meant for.

A player need not say everything each time. Where a session's trace is not here, since it was silent
for longest or reported to another gateway, what needs it is suspended. What is sent again after a
session's stop is then not known for a repeat (docs/gateway.md, "A gateway that starts anew").
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.adapters.cmcd import OfSession, Trace


SESSIONS_MAX = 100_000


class Traces:
    """The traces of the sessions that reported last."""

    def __init__(self, sessions_max: int = SESSIONS_MAX) -> None:
        self._traces: OrderedDict[tuple[str, str, str], Trace] = OrderedDict()
        self._sessions_max = sessions_max

    def __len__(self) -> int:
        """How many sessions are remembered."""
        return len(self._traces)

    def of(self, binding: OfSession) -> Trace | None:
        """The trace of a session; None where there is none."""
        return self._traces.get(_key(binding))

    def keep(self, binding: OfSession, trace: Trace) -> None:
        """Remember a trace, once what it came from is in the log."""
        key = _key(binding)
        self._traces[key] = trace
        self._traces.move_to_end(key)
        while len(self._traces) > self._sessions_max:
            self._traces.popitem(last=False)


def _key(binding: OfSession) -> tuple[str, str, str]:
    return binding.account, binding.device, binding.session
