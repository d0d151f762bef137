"""A few cases of every fuzz target, so that none of them rots; `make fuzz` runs many."""

from __future__ import annotations

import pytest
from run import run_case, target_names

CASES = 25


@pytest.mark.parametrize("name", target_names())
def test_a_target_runs(name: str) -> None:
    for case in range(CASES):
        run_case(name, 1, case)
