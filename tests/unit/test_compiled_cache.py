"""Compiled code is kept by what its sources say, wherever they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tariffs import jit

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = tmp_path / "rating"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "price.py").write_text("from rating.half import half\n")
    (package / "half.py").write_text(
        "from rating import (\n    odd,  # a comment, with a comma\n)\n"
    )
    (package / "odd.py").write_text("ODD = 1\n")
    (package / "other.py").write_text("OTHER = 1\n")
    monkeypatch.setattr(jit, "ROOT", tmp_path)
    jit._imports_of.cache_clear()
    jit.source_digest.cache_clear()
    return package


def digest(checkout: Path) -> str:
    jit._imports_of.cache_clear()
    jit.source_digest.cache_clear()
    return jit.source_digest(checkout / "price.py")


@pytest.mark.parametrize("edited", ["price", "half", "odd"])
def test_an_edited_source_starts_anew_all_that_leads_to_it(checkout: Path, edited: str) -> None:
    before = digest(checkout)
    (checkout / f"{edited}.py").write_text((checkout / f"{edited}.py").read_text() + "A = 1\n")
    assert digest(checkout) != before


def test_what_a_source_does_not_lead_to_leaves_it_compiled(checkout: Path) -> None:
    before = digest(checkout)
    (checkout / "other.py").write_text("OTHER = 2\n")
    assert digest(checkout) == before


def test_nobody_else_may_write_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RATECAST_CACHE_DIR", str(tmp_path / "cache"))
    assert jit.cache_folder().stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_written_is_used_by_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = tmp_path / "image"
    image.mkdir()
    (image / "code").write_text("compiled")
    monkeypatch.setenv("RATECAST_CACHE_DIR", str(image))
    monkeypatch.setattr(jit.os, "access", lambda *_: False)  # root may write anywhere
    monkeypatch.setattr(jit.tempfile, "tempdir", str(tmp_path))
    folder = jit.cache_folder()
    assert folder != image
    assert (folder / "code").read_text() == "compiled"
    assert folder.stat().st_mode & 0o077 == 0
    assert jit.cache_folder() == folder, "one copy serves all"
    folder.chmod(0o770)
    assert jit.cache_folder() != folder, "what others may write is not believed"
