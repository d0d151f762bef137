"""What a long-running process says, one line each: for people, or as JSON for programs."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

CLIENTS = ("aiokafka", "kafka")


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line."""
        said = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Leave what a client of Kafka says in one line: where in it that was helps nobody."""
    if record.name.partition(".")[0] in CLIENTS:
        record.exc_info = None
    return True


def log_to_stderr(*, as_json: bool) -> None:
    """Send what is worth saying to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("{asctime} {levelname:<7} {message}", style="{")
    handler.setFormatter(JsonLines() if as_json else text)
    handler.addFilter(_without_traceback)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # The clients tell of every reconnect and rebalance; what matters of it is said by ourselves.
    for name in CLIENTS:
        logging.getLogger(name).setLevel(logging.ERROR)


def leave_it_to_the_error() -> None:
    """Keep Kafka's client quiet, where the command's last sentence says what went wrong."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
