"""Exactly once, over thousands of simulated operators; see operator_world.py.

A failing world is replayed by its seed: `World(seed)`, `run`, `wrong`.
"""

from __future__ import annotations

import pytest
from operator_world import Bug, World

WORLDS = 3000
WORLDS_A_BUG = 300


def wrong(seed: int, bug: Bug = Bug.NONE) -> list[str]:
    world = World(seed, bug)
    world.run()
    return world.wrong()


@pytest.mark.parametrize("first", range(0, WORLDS, 500))
def test_every_record_is_charged_once_whatever_happens(first: int) -> None:
    for seed in range(first, first + 500):
        assert wrong(seed) == [], f"world {seed}"


@pytest.mark.parametrize(
    "bug", [bug for bug in Bug if bug is not Bug.NONE], ids=lambda bug: bug.name
)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    caught = [seed for seed in range(WORLDS_A_BUG) if wrong(seed, bug)]
    assert len(caught) > WORLDS_A_BUG // 10


def test_a_world_is_made_from_its_seed_alone() -> None:
    first, second = World(7), World(7)
    for world in (first, second):
        world.run()
    assert first.store.charges == second.store.charges
    assert first.logs != World(8).logs
