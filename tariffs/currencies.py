"""Currencies of ISO 4217: those in use, and those withdrawn, which late usage is still rated in.

Source: ISO 4217, lists one (by way of the package iso4217) and three (here).
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import iso4217

from tariffs.errors import UnfitError, quote

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_MONEY = {"X" * 3: "the code for no currency", "XTS": "a code for tests"}
DECIMALS = 2  # of a code for which ISO 4217 gives none, such as gold
WITHDRAWN: Mapping[str, tuple[str, int]] = {
    **dict.fromkeys(("BEF", "ESP", "GRD", "ITL", "LUF", "PTE"), ("2002-03", 0)),
    **dict.fromkeys(("ATS", "DEM", "FIM", "FRF", "IEP", "NLG"), ("2002-03", 2)),
    "TPE": ("2002-11", 0),
    "AFA": ("2003-01", 2),
    "ADP": ("2003-07", 0),
    "YUM": ("2003-07", 2),
    "BGL": ("2003-11", 2),
    "SRG": ("2003-12", 2),
    "RUR": ("2004-01", 2),
    "MGF": ("2004-12", 0),
    "ROL": ("2005-06", 2),
    "AYM": ("2005-10", 2),
    "AZM": ("2005-12", 2),
    "TRL": ("2005-12", 0),
    "MZM": ("2006-06", 2),
    "ZWN": ("2006-09", 2),
    "CSD": ("2006-10", 2),
    "SIT": ("2007-01", 2),
    "SDD": ("2007-07", 2),
    **dict.fromkeys(("CYP", "GHC", "MTL", "VEB"), ("2008-01", 2)),
    "ZWD": ("2008-08", 2),
    "SKK": ("2009-01", 2),
    "TMM": ("2009-01", 2),
    "ZWR": ("2009-06", 2),
    "EEK": ("2011-01", 2),
    "ZMK": ("2012-12", 2),
    "LVL": ("2014-01", 2),
    "USS": ("2014-03", 2),
    "LTL": ("2015-01", 2),
    "BYR": ("2017-01", 0),
    "MRO": ("2017-12", 2),
    "STD": ("2017-12", 2),
    "VEF": ("2018-08", 2),
    "CUC": ("2021-06", 2),
    "HRK": ("2023-01", 2),
    "SLL": ("2023-12", 2),
    "ZWL": ("2024-08", 2),
    "ANG": ("2025-03", 2),
    "BGN": ("2026-01", 2),
}
"""Withdrawn since 2002: the month, and the decimals that amounts were written with."""


def currency(value: str) -> str:
    """Take an ISO 4217 code of money. Raises: UnfitError."""
    known = _in_use().keys() | WITHDRAWN.keys()
    if value in NO_MONEY:
        raise UnfitError(
            f"{quote(value)} is {NO_MONEY[value]}",
            'write the currency of your bills, such as "SEK"',
        )
    if value not in known:
        example = value.upper() if value.upper() in known else "SEK"
        raise UnfitError(
            f"{quote(value)} is not an ISO 4217 currency",
            f"write its three capital letters, such as {quote(example)}",
        )
    return value


def decimals_of(code: str) -> int:
    """Give how many decimals amounts of a currency are written with."""
    if code in WITHDRAWN:
        return WITHDRAWN[code][1]
    return _in_use().get(code, DECIMALS)


@cache
def _in_use() -> dict[str, int]:
    """Code to decimals."""
    return {
        each.value: DECIMALS if each.exponent is None else int(each.exponent)
        for each in iso4217.Currency
        if each.value not in NO_MONEY
    }
