"""Bytes of a log: the compiled reader, the exact one and the reference read them alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from extremes import usage_line
from readers import check_readers_agree

if TYPE_CHECKING:
    from random import Random


def fuzz(random: Random) -> None:
    """Some lines of usage records, with extremes in any field and any byte spoilt."""
    lines = [usage_line(random) for _ in range(random.randint(1, 8))]
    if random.random() < 0.1:
        lines.append(random.randbytes(random.randint(0, 300)).replace(b"\n", b""))
    check_readers_agree(lines)
