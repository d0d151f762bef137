"""A book written as TOML and loaded is the book again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from worlds import random_world

from tariffs.load import load_books, load_text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", range(60))
def test_loading_gives_back_what_was_written(seed: int) -> None:
    world = random_world(seed)
    for book, text in zip(world.books, world.texts, strict=True):
        loaded = load_text(text, f"{book.id}.toml", strict=False)
        assert replace(loaded, text="", source="") == book
        assert (loaded.text, loaded.source) == (text, f"{book.id}.toml")


def test_books_load_in_the_order_in_which_they_come_into_force(tmp_path: Path) -> None:
    world = next(world for world in map(random_world, range(100)) if len(world.books) == 3)
    paths = [tmp_path / f"{number}.toml" for number in range(3)]
    for path, text in zip(paths, reversed(world.texts), strict=True):
        path.write_text(text, encoding="utf-8")
    assert [book.id for book in load_books(paths, strict=False)] == [
        book.id for book in world.books
    ]
