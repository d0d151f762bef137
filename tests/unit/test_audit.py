"""`make audit` finds what has a known hole, and there is nothing to find."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def audit() -> Any:
    spec = importlib.util.spec_from_file_location("audit", ROOT / "deploy" / "audit.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_with_a_known_hole_is_pinned_or_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit().main() == 0
    assert capsys.readouterr().out.startswith("No version with a known hole")


def test_a_version_below_the_mended_one_is_found() -> None:
    module = audit()
    listed = module.advisories()["advisory"]
    (found,) = module.holes("here", {"pyjwt": Version("2.10.0")}, listed)
    assert found.startswith("here: pyjwt 2.10.0 has CVE-2024-53861")
    assert found.endswith("take 2.10.1 or newer")
    assert module.holes("here", {"pyjwt": Version("2.10.1")}, listed) == []


def test_lowest_versions_are_read_as_pip_does() -> None:
    found = audit().lowest_allowed(["Starlette>=0.49.1", "psycopg[binary]>=3.2.5", "tzdata"])
    assert found == {
        "starlette": Version("0.49.1"),
        "psycopg": Version("3.2.5"),
        "psycopg-binary": Version("3.2.5"),
    }


@pytest.mark.parametrize("lock", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_of_a_lock_is_seen(lock: str) -> None:
    lines = (ROOT / lock).read_text().splitlines()
    assert len(audit().pinned_versions(lock)) == sum("==" in line[:60] for line in lines)
