"""Numbers of JSON that are no plain integers, with bounds before anything is reckoned with them.

1e999999999 is ten bytes, and a thousand million digits once it is written out.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ingest.json_exact import Number

DIGITS_MAX = 60  # of any time or place in any unit, with decimals to spare
EXPONENT_MAX = 60
FORM = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
EXACT = Context(prec=4 * DIGITS_MAX)


def decimal_of(number: int | Number) -> Decimal | None:
    """A number of JSON as a decimal; None where it is beyond any that a record holds.

    What it returns has so few digits that any sum or product of a few of them is exact in `EXACT`.
    """
    if isinstance(number, int):
        return Decimal(number) if abs(number) < 10**DIGITS_MAX else None
    found = FORM.fullmatch(number.text)
    if found is None:
        return None
    whole, places, exponent = found.groups(default="")
    if len(whole) + len(places) > DIGITS_MAX or len(exponent) > 4:
        return None
    return Decimal(number.text) if abs(int(exponent or 0)) <= EXPONENT_MAX else None
