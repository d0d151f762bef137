"""How the command ends: its exit codes, and the errors that are the user's to mend."""

from __future__ import annotations

import errno
import os
import select
import sys
from contextlib import suppress
from typing import Final, NoReturn

FAILED: Final = 1
UNREAD: Final = 3  # 2 is click's own, for a misused command
LAWLESS: Final = 4
UNCHARGED: Final = 5
INTERRUPTED: Final = 130  # as a shell says for Ctrl-C
BROKEN_PIPE: Final = 141  # as it says of a program that ends because nobody reads any more


def sentence(error: Exception) -> str | None:
    """What to tell the user about an error that they can mend; None for a bug of ours.

    A broken law counts as the first: it is said, and has an exit code of its own.
    """
    if is_law_broken(error):
        return f"a law of rating does not hold, so nothing of this batch was kept: {error}"
    if isinstance(error, OSError):
        if error.filename is not None:
            return f"{os.fsdecode(error.filename)}: {error.strerror}"
        return error.strerror or str(error)
    return str(error) if isinstance(error, _known()) else None


def nobody_reads(error: Exception) -> bool:
    """Whether an error comes of an output whose reader went away, such as `head`.

    A connection that broke is another matter, so the outputs themselves are asked. What is left in
    them is thrown away, or Python would complain of it at its end.
    """
    if not isinstance(error, OSError) or error.errno != errno.EPIPE:
        return False
    outputs = select.poll()
    for output in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or no file at all
            outputs.register(output.fileno(), 0)
    broken = [output for output, what in outputs.poll(0) if what & select.POLLERR]
    for output in broken:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, output)
        os.close(nowhere)
    return bool(broken)


def end_at_once(error: Exception) -> NoReturn:
    """Say what is wrong and end the process, although one of its threads never comes back.

    Nothing of a batch in hand is stored then; whoever starts next goes on where the store stands.
    """
    print(f"Error: {error}", file=sys.stderr, flush=True)
    os._exit(FAILED)


def is_law_broken(error: Exception) -> bool:
    """Whether the rater refused a result that cannot be right."""
    from rating.laws import LawBroken

    return isinstance(error, LawBroken)


def _known() -> tuple[type[Exception], ...]:
    """Imported only once something went wrong, since these modules are slow to load."""
    from ingest.adapters.mapping_files import MappingError
    from ingest.cdn.dataset import EvidenceError
    from ingest.gateway.errors import GatewayError
    from ingest.log_names import LogError
    from rating.runtime.kafka_access import KafkaAccessError
    from rating.upgrades import StateUnreadable
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
        StateUnreadable,
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
