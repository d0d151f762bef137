"""The fast core against the reference rater: random books and logs, cut and restarted anywhere.

A world uses every feature of the books at once. How its log is cut into batches, where the state
is stored and loaded anew, and whether records come twice are drawn from the world's seed too, so
a failure is replayed by its seed alone:

    python tests/property/test_core_agrees.py 413 414     # worlds 413 up to but not 414
    make worlds WORLDS=20000                              # the first 20,000, with a line a thousand
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from random import Random

if __name__ == "__main__":  # as pytest does for tests
    sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
from core_adapter import rate_batches
from outcome import Outcome, comparable
from reference_rater import rate_log
from worlds import random_world

WORLDS = 600
WORLDS_A_TEST = 30


def rate_in_pieces(seed: int) -> tuple[Outcome, Outcome]:
    """What the core makes of a world, cut and restarted by its seed; and what the reference does."""
    world = random_world(seed)
    random = Random(seed)
    lines = list(world.lines)
    if random.random() < 0.2:  # every record once more, at once or after some others
        lines = [line for line in lines for _ in range(random.choice((1, 1, 2, 3)))]
    edges = cuts(random, len(lines))
    share = random.choice((0.0, 0.1, 1.0)) if len(edges) < 40 else 0.05
    core = rate_batches(world.books, lines, edges, lambda _: random.random() < share)
    return core, rate_log(world.books, lines)


def cuts(random: Random, lines: int) -> list[int]:
    """Where a log is cut: after every line, nowhere, or at random places."""
    if random.random() < 0.02:
        return list(range(lines + 1))
    inner = random.randint(0, min(lines, random.choice((0, 3, 30))))
    return [0, *sorted(random.randrange(lines + 1) for _ in range(inner)), lines]


def differs(seed: int) -> bool:
    """Whether the two raters part on a world, or one of them fails."""
    try:
        core, reference = rate_in_pieces(seed)
    except Exception as error:  # noqa: BLE001 - said with its seed, and the next world is tried
        print(f"world {seed}: {error!r}", flush=True)
        return True
    return comparable(core) != comparable(reference)


@pytest.mark.parametrize("first", range(0, WORLDS, WORLDS_A_TEST))
def test_the_core_agrees_with_the_reference(first: int) -> None:
    for seed in range(first, first + WORLDS_A_TEST):
        core, reference = rate_in_pieces(seed)
        assert comparable(core) == comparable(reference), f"world {seed}"


@pytest.mark.parametrize("seed", [6619, 11323])
def test_worlds_that_failed_once(seed: int) -> None:
    assert not differs(seed)


def main(first: int, past: int) -> int:
    """Try many worlds on all cores; prints each that differs, and how many were tried."""
    failed: list[int] = []
    with ProcessPoolExecutor() as pool:
        for seed, apart in enumerate(pool.map(differs, range(first, past), chunksize=50), first):
            if apart:
                failed.append(seed)
                print(f"world {seed} differs", flush=True)
            if (seed + 1 - first) % 1000 == 0:
                print(f"{seed + 1 - first:,} worlds tried", flush=True)
    print(f"{past - first:,} worlds from seed {first}: {len(failed)} differ {failed[:20]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
