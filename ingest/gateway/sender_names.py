"""Who sent the request that a line on the error output is about: the id of its key, never the key.

A line says it whoever writes it, since the name goes with the request's own context.
"""

from __future__ import annotations

import logging
from contextvars import ContextVar

SENDER: ContextVar[str] = ContextVar("sender", default="-")

FORMAT = "%(asctime)s [%(sender)s] %(message)s"


class WithSender(logging.Filter):
    """Gives every log record a `sender`: "key ID", "token of KID", or "-"."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Name the sender; nothing is left out."""
        record.sender = SENDER.get()
        return True
