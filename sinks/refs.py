"""What a charge belongs to, from the evidence that is kept with it. Source: spec section 6, `ref`."""

from __future__ import annotations

import polars as pl

ORDERED = ("purchase", "refund")


def with_refs(charges: pl.DataFrame) -> pl.DataFrame:
    """Add the column `ref`: the order of a purchase or refund, "" for all else.

    charges: type and steps, which begin with the order where there is one.
    """
    order = pl.col("steps").str.json_path_match("$[0][1]")
    is_ordered = pl.col("type").is_in(ORDERED)
    return charges.with_columns(ref=pl.when(is_ordered).then(order).otherwise(pl.lit("")))
