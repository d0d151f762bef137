"""The one way that this project compiles a function to machine code.

Compiled code is cached in a folder named by a digest of every source file that may hold compiled
functions. The compiler's own cache watches only the file of the outermost function, so an edited
callee in another file would go on in its old form, and a charge with it; a new digest starts an
empty cache instead.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

import numba

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tariffs", "rating", "ingest")


def source_digest() -> str:
    """A digest of the sources of the folders that hold compiled functions."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "runtime" not in path.parts:
                digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where compiled code is kept: $RATECAST_CACHE_DIR, or the user's cache folder."""
    named = os.environ.get("RATECAST_CACHE_DIR")
    home = Path(named or os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = home if named else home / "ratecast"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = Path(tempfile.gettempdir()) / f"ratecast-{os.getuid()}"
        folder.mkdir(parents=True, exist_ok=True)
    return folder / source_digest()


numba.config.CACHE_DIR = str(cache_folder())


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call, keeping its types for the type checker.

    It runs without the interpreter's lock, so that decoding, rating and storing can share a
    machine's cores. Integer arithmetic wraps in silence: callers hold the bounds.
    """
    return cast("Callable[P, R]", numba.njit(cache=True, nogil=True)(function))
