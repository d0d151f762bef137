"""How the command ends: its exit codes, and the errors that are the user's to mend."""

from __future__ import annotations

import errno
import os
import sys
from typing import Final

FAILED: Final = 1
UNREAD: Final = 3  # 2 is click's own, for a misused command
LAWLESS: Final = 4
INTERRUPTED: Final = 130  # as a shell says for Ctrl-C


def sentence(error: Exception) -> str | None:
    """What to tell the user about an error that they can mend; None for a bug of ours.

    A broken law counts as the first: it is said, and has an exit code of its own.
    """
    if is_law_broken(error):
        return f"a law of rating does not hold, so nothing of this batch was kept: {error}"
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        if error.filename is not None:
            return f"{os.fsdecode(error.filename)}: {error.strerror}"
        return error.strerror or str(error)
    return str(error) if isinstance(error, _known()) else None


def is_law_broken(error: Exception) -> bool:
    """Whether the rater refused a result that cannot be right."""
    from rating.laws import LawBroken

    return isinstance(error, LawBroken)


def _known() -> tuple[type[Exception], ...]:
    """Imported only once something went wrong, since these modules are slow to load."""
    from ingest.adapters.mapping_files import MappingError
    from ingest.cdn.dataset import EvidenceError
    from ingest.files import LogError
    from ingest.gateway.errors import GatewayError
    from rating.runtime.kafka_access import KafkaAccessError
    from rating.seals import StateDamaged
    from sinks.parquet import ParquetError
    from sinks.store import StoreError
    from tariffs.errors import BookErrors

    known = (
        BookErrors,
        EvidenceError,
        GatewayError,
        KafkaAccessError,
        LogError,
        MappingError,
        ParquetError,
        StateDamaged,
        StoreError,
    )
    # These know Kafka's clients and are slow to load; where one was not loaded, it raised nothing.
    clients = {
        "sinks.topics.publisher": "PublishError",
        "rating.runtime.consumption": "ConsumptionError",
        "rating.runtime.topic_settings": "TopicError",
    }
    loaded = [
        getattr(sys.modules[module], name)
        for module, name in clients.items()
        if module in sys.modules
    ]
    return (*known, *loaded)
