"""Charges whose id another charge has already: they become suspense, and the rest of a batch is stored.

The names of charges are made so that no two are alike (spec section 6), so this is a net under them:
whatever else makes two charges of one id, such as a topic whose partitions were changed, must
neither charge twice nor stop the partition for good.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from rating.schemas import SUSPENSE

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from rating.schemas import BatchResult

REASON = "charge_id_taken"
DETAIL = pl.format(
    "charge {} is stored already, and this {} of account {} has the same id; its columns are in raw",
    *("charge_id", "type", "account"),
)


class IdsTaken(Exception):  # noqa: N818 - named for what happened
    """Some charge of a batch has an id that is stored already, or that the batch has twice."""


def hold_back(result: BatchResult, stored: AbstractSet[str]) -> BatchResult:
    """Suspend the charges whose ids are stored, or come a second time within the result.

    stored: those of the result's ids that the store has. The laws find what was watched and paid in
    the suspense rows.
    """
    charges = result.charges
    is_held = charges["charge_id"].is_in(list(stored)) | ~charges["charge_id"].is_first_distinct()
    assert is_held.any(), "a store refused a charge whose id nobody has"
    held = charges.filter(is_held)
    is_usage = pl.col("type") == "usage"
    rows = held.with_columns(
        reason=pl.lit(REASON),
        detail=DETAIL,
        time=pl.col("start"),
        end=pl.when(is_usage).then("end"),
        watched_ms=pl.when(is_usage).then("watched_ms"),
        source=pl.lit(None, pl.String),
        raw=pl.Series([json.dumps(row, default=str).encode() for row in held.to_dicts()]),
    )
    suspense = pl.concat([result.suspense, rows.select(SUSPENSE.names()).cast(SUSPENSE)])
    return replace(result, charges=charges.filter(~is_held), suspense=suspense)
