"""Stored columns of any version that this release reads, as the columns that it works with.

Columns are known by their names. One that an older version lacked takes what its table declares, a
dropped one is forgotten, a renamed one found under its old name, a wider or narrower one converted
where every value fits; anything that needs thought is a declared step from one version to the next.
What is not declared is refused rather than guessed.
Source: architecture decision 9; docs/adr/0013-state-has-versions.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rating.state import DECLARED, DROPPED, STATE_RELEASE, STATE_VERSION, TOTALS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rating.state import Columns, Declaration


class StateUnreadable(Exception):  # noqa: N818 - named for what the state is
    """The stored state cannot be gone on from. The text says why, and what to do."""


def check_version(version: int, release: str) -> None:
    """See that this release reads a version. release: the first that does. Raises: StateUnreadable."""
    if version > STATE_VERSION:
        raise StateUnreadable(
            f"the store's state has version {version}, which ratecast {release} and newer releases "
            f"read; this one reads up to version {STATE_VERSION} (ratecast {STATE_RELEASE}). Start "
            f"ratecast {release} or a newer one; this one has changed nothing"
        )


def upgraded(name: str, columns: Columns, version: int) -> Columns | None:
    """A table's stored columns as those of today, each of its field's type.

    version: that they were stored by. Returns: None for a table that is forgotten. Raises:
    StateUnreadable.
    """
    declared = DECLARED.get(name)
    if declared is None:
        if name in DROPPED:
            return None
        raise _unknown(f"table {name}", version)
    for step in range(version + 1, STATE_VERSION + 1):
        if step in declared.steps:
            columns = declared.steps[step](columns)
    stored = declared.stored
    named = {declared.renamed.get(field, field): field for field in stored}
    for column in columns.keys() - {*named, *stored, *_forgotten(declared)}:
        raise _unknown(f"column {name}.{column}", version)
    length = len(columns["live"])
    return {field: _found(name, declared, columns, field, length) for field in stored}


def known_totals(totals: dict[str, int], version: int) -> dict[str, int]:
    """The stored totals that are still kept. Raises: StateUnreadable."""
    for total in totals.keys() - set(TOTALS) - set(DROPPED):
        raise _unknown(f"total {total}", version)
    return {total: value for total, value in totals.items() if total in TOTALS}


def _forgotten(declared: Declaration) -> set[str]:
    """The columns that older versions stored, and that are not looked at."""
    return {*declared.dropped, *declared.derived, "at"}


def _found(
    name: str, declared: Declaration, columns: Columns, field: str, length: int
) -> NDArray[Any]:
    """A field's values, under its name or the one that it had before."""
    before = declared.renamed.get(field, field)
    values = columns.get(field, columns.get(before))
    if values is not None:
        return _fitted(f"{name}.{field}", values, declared.row[field])
    if field not in declared.added:
        raise StateUnreadable(
            f"the store's state has no column {name}.{field}, and no default is declared for it in "
            "rating/state.py: it was written by a build of ratecast that was never released; use "
            "that one"
        )
    return np.full(length, declared.added[field], declared.row[field])


def _fitted(what: str, values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values in their field's type. Raises: StateUnreadable where one does not fit."""
    if values.dtype != dtype and len(values) and not np.can_cast(values.dtype, dtype, "safe"):
        bounds = np.iinfo(dtype)
        low, high = int(values.min()), int(values.max())
        if low < bounds.min or high > bounds.max:
            wrong = low if low < bounds.min else high
            raise StateUnreadable(
                f"the store's state has {what} = {wrong}, and this ratecast keeps {bounds.min} to "
                f"{bounds.max} there; use the release that wrote it, and report this"
            )
    return np.ascontiguousarray(values, dtype)


def _unknown(what: str, version: int) -> StateUnreadable:
    """The state has something that is neither declared nor declared as dropped."""
    return StateUnreadable(
        f"the store's state of version {version} has a {what} that this ratecast does not know; it "
        "was written by another build of ratecast; use that one, or a newer one"
    )
