"""One at a time: requests of one session, or of one box, wait for each other.

What a request says is understood by what was said before it. Two at once, such as one that is sent
again because its answer was slow, would both be read as news.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable


class Turns:
    """Whose turn it is. What nobody waits for is forgotten."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        """How many have their turn now."""
        return len(self._locks)

    @asynccontextmanager
    async def of(self, name: Hashable) -> AsyncIterator[None]:
        """Enter once everybody who came before under this name has left."""
        lock, waiting = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            _, waiting = self._locks[name]
            if waiting == 1:
                del self._locks[name]
            else:
                self._locks[name] = (lock, waiting - 1)
