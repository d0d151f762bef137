"""Whether logs still hold what was rated of them: the store keeps a digest of what it took.

The positions of logs are rows that the store's hash chain vouches for. The digest itself tells logs
apart and is no defence against a forger (ingest/digest.py).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.digest import DIGEST_BYTES, ContentDigest
from ingest.log_names import log_names, same_log
from ingest.streams import ReadError, Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rating.schemas import SourcePosition
    from sinks.store import BillingStore


def changed_logs(store: BillingStore, paths: Sequence[str]) -> tuple[int, list[str]]:
    """Compare logs with what a store was rated from.

    A log is known by the name that it had, wherever it is now and however it is compressed; where
    other content was read under that name, too, it must be one of these.
    Returns: how many logs are as they were, and a sentence for each that is not.
    Raises: LogError, OSError, StoreError.
    """
    sources = [
        source
        for number in store.positions()
        if (stored := store.load(number))
        for source in stored.sources
    ]
    same, changed = 0, []
    for name in log_names(paths).logs:
        found = [source for source in sources if _plain(source.name) == _plain(name)]
        if not found:
            changed.append(f"{name}: nothing of a log of this name was rated")
        elif any(_is_as_rated(name, source) for source in found):
            same += 1
        else:
            taken = max(source.taken_bytes for source in found)
            changed.append(f"{name}: not as it was rated, somewhere in its first {taken:,} bytes")
    return same, changed


def _plain(name: str) -> str:
    """A log's name without its folder and its compression."""
    return Path(same_log(name)).name


def _is_as_rated(name: str, source: SourcePosition) -> bool:
    """Whether a log begins with what was taken of it."""
    content, head, left = ContentDigest(), b"", source.taken_bytes
    stream = Stream(name)
    try:
        for block in stream.blocks():
            part = block[:left]
            head += part[: max(0, source.head_bytes - len(head))]
            content.update(part)
            left -= len(part)
            if not left:
                break
    except ReadError:
        return False
    finally:
        stream.close()
    begins = hashlib.blake2b(head, digest_size=DIGEST_BYTES).digest()
    return left == 0 and (begins, content.digest()) == (source.head_digest, source.taken_digest)
