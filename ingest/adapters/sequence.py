"""Which of a session's numbered reports have come, so that one sent again is known for a repeat.

A player sends again what was not acknowledged, also when it had arrived. In a session that goes on
a repeat does no harm; after its stop it would begin the session anew, and be watched twice.
Source: CTA-5004-B section 4.3 (`sn`), section 5 on 429 and 5xx.
"""

from __future__ import annotations

from typing import NamedTuple

MISSING_MAX = 512
"""Numbers that may be waited for; of more, the lowest count as come."""


class Numbers(NamedTuple):
    """The numbers that have come. first, last: the lowest and highest; missing: those between."""

    first: int
    last: int
    missing: frozenset[int] = frozenset()

    def has(self, number: int) -> bool:
        """Whether a number has come."""
        return self.first <= number <= self.last and number not in self.missing


def numbers_with(numbers: Numbers | None, number: int) -> Numbers:
    """The numbers with one more."""
    if numbers is None:
        return Numbers(number, number)
    first, last, missing = numbers
    if number == last + 1:
        return Numbers(first, number, missing)
    if number > last:
        skipped = range(max(last + 1, number - MISSING_MAX), number)
        waiting = sorted(missing | frozenset(skipped))[-MISSING_MAX:]
        return Numbers(first, number, frozenset(waiting))
    if number < first:
        skipped = range(number + 1, min(first, number + 1 + MISSING_MAX))
        waiting = sorted(missing | frozenset(skipped))[-MISSING_MAX:]
        return Numbers(number, last, frozenset(waiting))
    return Numbers(first, last, missing - {number})
