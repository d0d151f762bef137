"""The schema of a store, version by version: the one place that knows and runs its scripts.

Script n of an engine (`schema/sqlite-0002.sql`) leads from version n - 1 to n. A store records the
version that it has: SQLite in the file's head, PostgreSQL in its table `store`. The caller reads it,
and lends the transaction in which everything happens, or nothing.
"""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Literal

from sinks.store import StoreNewer, StoreOutdated

if TYPE_CHECKING:
    from collections.abc import Callable

Engine = Literal["sqlite", "postgres"]


def scripts(engine: Engine) -> list[str]:
    """Give the scripts that lead from nothing to today's schema; the n-th makes version n."""
    folder = resources.files("sinks") / "schema"
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.startswith(f"{engine}-"))
    expected = [f"{engine}-{number:04}.sql" for number in range(1, len(found) + 1)]
    assert found == expected, f"the scripts {found} are not numbered from 0001 without a gap"
    return [(folder / name).read_text("utf-8") for name in found]


def check_known(engine: Engine, place: str, version: int) -> None:
    """See that a store's schema is not newer than this release. Raises: StoreNewer."""
    newest = len(scripts(engine))
    if version > newest:
        raise StoreNewer(
            f"{place}: the store has schema version {version}, and this ratecast knows up to "
            f"{newest}; use the ratecast that wrote it, or a newer one"
        )


def check_current(engine: Engine, place: str, version: int, remedy: str) -> None:
    """See that a store's schema is not older than this release. Raises: StoreOutdated.

    remedy: what brings it up to date, as the sentence's last part.
    """
    newest = len(scripts(engine))
    if version < newest:
        raise StoreOutdated(
            f"{place}: the store has schema version {version}, and this ratecast reads "
            f"version {newest}; {remedy}"
        )


def migrate(
    engine: Engine, version: int, run: Callable[[str], object], record: Callable[[int], object]
) -> None:
    """Bring a schema from a version to today's.

    version: 0 for nothing yet. run: executes one script, in the caller's transaction. record: keeps
    the version in the store. Raises: what those two raise.
    """
    for script in scripts(engine)[version:]:
        run(script)
    record(len(scripts(engine)))
