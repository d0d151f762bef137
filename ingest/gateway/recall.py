"""What a gateway that starts anew reads of its log, to know what the one before it knew.

Source: docs/gateway.md, "A gateway that starts anew".
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from ingest.adapters.cmcd import Trace
from ingest.adapters.recall import passed_by, session_of, traced, view_of

if TYPE_CHECKING:
    from ingest.gateway.box_memory import BoxMemory
    from ingest.gateway.group_commit import UsageLog
    from ingest.gateway.repeats import Repeats
    from ingest.gateway.traces import Traces

log = logging.getLogger(__name__)

RECALL_BYTES_MAX = 32 * 2**20


class Recall:
    """Reads the end of the log once, after it is open and before anything is served."""

    def __init__(
        self, usage_log: UsageLog, traces: Traces, repeats: Repeats, boxes: BoxMemory | None
    ) -> None:
        self._log = usage_log
        self._traces = traces
        self._repeats = repeats
        self._boxes = boxes

    async def open(self) -> None:
        """Recall what sessions and boxes have said lately."""
        started_s = time.monotonic()
        lines = await self._log.last_lines(RECALL_BYTES_MAX)
        self._repeats.recall(lines)
        for line in lines:
            if (fields := view_of(line)) is None:
                continue
            if (passed := passed_by(fields)) is not None:
                if self._boxes is not None:
                    # By a token or by a back end's word: the line does not say which.
                    for account in (passed.account, ""):
                        self._boxes.pass_mark(account, passed.device, passed.stream, passed.mark)
                continue
            session = session_of(fields)
            self._traces.keep(session, traced(self._traces.of(session) or Trace(), fields))
        if not lines:
            return
        log.info(
            "%d sessions were recalled from the last %d lines of the log in %.1f s",
            len(self._traces),
            len(lines),
            time.monotonic() - started_s,
        )

    async def close(self) -> None:
        """Nothing is held."""
