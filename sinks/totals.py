"""The columns in which every store adds up what it holds (`sinks.store.Summary`).

The sums of a whole store may pass 64 bits, in a currency of small units: they are 128 bits wide.
"""

from __future__ import annotations

import polars as pl

SUMS = (
    *("charges", "watched_ms", "billed_ms", "free_ms"),
    *("gross", "discount", "capped", "net", "tax", "total", "unfunded"),
)
CHARGE_TOTALS = pl.Schema(
    {"currency": pl.String, "type": pl.String, **dict.fromkeys(SUMS, pl.Int128)}
)
SUSPENSE_TOTALS = pl.Schema({"reason": pl.String, "rows": pl.Int64, "watched_ms": pl.Int64})
SIGNAL_TOTALS = pl.Schema({"type": pl.String, "rows": pl.Int64})
