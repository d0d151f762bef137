"""The website of examples/player/, for tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

PLAYER = Path(__file__).parents[2] / "examples" / "player"
BOOK = PLAYER / "book.toml"


def _serve() -> Any:
    spec = importlib.util.spec_from_file_location("serve", PLAYER / "serve.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ACCOUNT: str = _serve().ACCOUNT
Website: Any = _serve().Website
