"""The laws of spec section 8, checked with every batch. A broken law ends the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from rating.schemas import OUTCOMES

if TYPE_CHECKING:
    from rating.state import State


class LawBroken(Exception):  # noqa: N818 - named for what happened
    """What was computed cannot be right; nothing of it may be committed."""


def check_batch(state: State, accounts: pl.DataFrame) -> None:
    """Check what a batch touched.

    accounts: the changed accounts (ACCOUNTS). Raises LawBroken.
    """
    totals = state.totals()
    outcomes = sum(totals[name] for name in OUTCOMES)
    if outcomes != totals["records"]:
        msg = f"{totals['records']} usage records came in, but {outcomes} have an outcome"
        raise LawBroken(msg)
    if totals["watched_ms"] != totals["rated_ms"]:
        msg = (
            f"sessions watched {totals['watched_ms']} ms, "
            f"but pieces of {totals['rated_ms']} ms were rated"
        )
        raise LawBroken(msg)
    # In 128 bits: where sums of 64 bits wrap, both sides would wrap alike.
    topups, paid, purchases, refunds = (
        pl.col(name).cast(pl.Int128) for name in ("topups", "paid", "purchases", "refunds")
    )
    wrong = accounts.filter(pl.col("balance") != topups - paid - purchases + refunds)
    if len(wrong):
        row = wrong.row(0, named=True)
        msg = (
            f"account {row['account']}: balance {row['balance']} is not top-ups {row['topups']} "
            f"- paid usage {row['paid']} - purchases {row['purchases']} + refunds {row['refunds']}"
        )
        raise LawBroken(msg)


def check_watched(state: State, open_ms: int) -> None:
    """Check that all watched time is in a charge, an open line or suspense.

    open_ms: the watched time of the open lines, counted afresh. Raises LawBroken.
    """
    totals = state.totals()
    watched, ended = totals["watched_ms"], totals["ended_ms"]
    if watched != ended + open_ms:
        msg = (
            f"{watched} ms were watched, but charges and suspense hold {ended} ms "
            f"and open lines {open_ms} ms"
        )
        raise LawBroken(msg)
