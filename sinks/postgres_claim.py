"""Who alone may do a piece of work on a store in PostgreSQL: an advisory lock of a connection.

The server lets go of the lock when the connection ends, however it ends. So the connection is one
of its own, straight to the server: a pooler that lends connections by transaction would lose it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Self

from sinks.postgres_server import Link
from sinks.store import StoreError

if TYPE_CHECKING:
    from typing import Any

TAKE = "SELECT pg_try_advisory_lock(hashtextextended('ratecast ' || %s, 0))"
GIVE_BACK = "SELECT pg_advisory_unlock_all()"
# A connection that broke was opened anew, and has no lock.
HELD = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"


class PostgresClaim:
    """A lock held by a connection."""

    def __init__(self, link: Link) -> None:
        self._link: Link | None = link

    @classmethod
    def take(cls, url: str, name: str) -> Self | None:
        """Lock a name; None while another holds it. Raises: StoreError."""
        link = Link(url, {"application_name": f"ratecast {name}"})
        taken = False
        try:
            with link.transaction() as connection:
                found: Any = connection.execute(TAKE, (name,)).fetchone()
                taken = found[0]
        finally:
            if not taken:
                link.close()
        return cls(link) if taken else None

    def held(self) -> bool:
        """Whether it still holds. Raises: StoreError where the server does not answer."""
        if self._link is None:
            return False
        with self._link.transaction() as connection:
            found: Any = connection.execute(HELD).fetchone()
            return bool(found[0])

    def release(self) -> None:
        """Leave the work to others."""
        if self._link is None:
            return
        link, self._link = self._link, None
        try:
            # A server notices only after a moment that a connection has gone.
            with suppress(StoreError), link.transaction() as connection:
                connection.execute(GIVE_BACK)
        finally:
            link.close()
