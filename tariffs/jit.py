"""The one way that this project compiles a function to machine code.

Compiled code is cached in a folder named by a digest of every source file that may hold compiled
functions. The compiler's own cache watches only the file of the outermost function, so an edited
callee in another file would go on in its old form, and a charge with it; a new digest starts an
empty cache instead.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numba
from numba import types
from numba.core import compiler_lock

if TYPE_CHECKING:
    from collections.abc import Callable

if TYPE_CHECKING:

    def int64(value: Any) -> int:
        """Widen a field of a row to the one integer type of compiled code."""
        ...
else:
    from numpy import int64

__all__ = ["int64", "jit", "jit_once", "locked"]

P = ParamSpec("P")
R = TypeVar("R")

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("tariffs", "rating", "ingest")
UNCOMPILED = {"runtime", "adapters", "cdn", "gateway", "kafka"}  # no compiled code there


def source_digest() -> str:
    """A digest of the sources of the folders that hold compiled functions."""
    digest = hashlib.blake2b(digest_size=8)
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if UNCOMPILED.isdisjoint(path.relative_to(ROOT).parts):
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


COMPILER_LOCK: Any = compiler_lock.global_compiler_lock


class _CompilerLock:
    """Lets one thread of one process compile at a time.

    The others then find the code in the cache. Two that write one function's cache at once could
    each number a version alike, and a third load the wrong one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "lock"
        self._depth = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> None:
        COMPILER_LOCK.acquire()  # among threads; one may take it again
        self._depth += 1
        if self._depth == 1:
            self._file = self._path.open("wb")
            fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if self._depth == 0 and self._file is not None:
            self._file.close()  # which gives the lock back
        COMPILER_LOCK.release()


CACHE = cache_folder()
LOCK = _CompilerLock(CACHE)
COMPILER: Any = numba  # its types cover too little of what is used here
COMPILER.config.CACHE_DIR = str(CACHE)


def _plain(argument: Any) -> Any:
    """The one integer type for all integers, constants among them; other types as they are."""
    argument = COMPILER.types.unliteral(argument)
    return types.int64 if isinstance(argument, types.Integer) else argument


def jit_once(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function into its one caller.

    For the long functions on the way from a batch to a piece: each compiled apart, the machine
    code of all that it calls would be optimised again at every level.
    """
    return cast("Callable[P, R]", numba.njit(inline="always")(function))


def locked(compiled: Any) -> Any:
    """Let a compiled function be compiled by one thread of one process at a time."""
    compile_for = compiled.compile

    def compile_locked(signature: Any) -> Any:
        with LOCK:
            return compile_for(signature)

    compiled.compile = compile_locked
    return compiled


def jit(function: Callable[P, R]) -> Callable[P, R]:
    """Compile a function at its first call, keeping its types for the type checker.

    It runs without the interpreter's lock, so that decoding, rating and storing can share a
    machine's cores. Integer arithmetic wraps in silence: callers hold the bounds. All integers
    are passed as int64: otherwise each constant and each width would make a version of its own,
    and compiling would take minutes.
    """
    compiled = locked(COMPILER.njit(cache=True, nogil=True)(function))
    template_of = compiled.get_call_template

    def call_template(arguments: Any, keywords: Any) -> Any:
        return template_of(tuple(_plain(argument) for argument in arguments), keywords)

    compiled.get_call_template = call_template
    return cast("Callable[P, R]", compiled)
