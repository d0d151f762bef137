"""The one way that this project compiles a function to machine code.

Compiled code is cached in a folder named by a digest of the function's source file and of every
source file that it imports, directly or not. The compiler's own cache watches only the file of the
outermost function, so an edited callee in another file would go on in its old form, and a charge
with it. The names hold no path: two checkouts with the same sources share their compiled code.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import stat
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

import numba
from numba import types
from numba.core import caching, compiler_lock

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
IMPORT = re.compile(
    r"^[ \t]*from ([\w.]+) import (?:\(([^)]*)\)|([^\n]*))|^[ \t]*import ([\w.]+)", re.MULTILINE
)


def _source_of(module: str) -> Path | None:
    """The file of one of the project's modules; None for anything else."""
    path = ROOT.joinpath(*module.split("."))
    named = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in named if file.is_file()), None)


@cache
def _imports_of(source: Path) -> frozenset[Path]:
    """The project's own files that a source file imports."""
    modules: set[str] = set()
    for package, several, one, plain in IMPORT.findall(source.read_text(encoding="utf-8")):
        modules.add(package or plain)
        names = re.sub(r"#[^\n]*", "", several or one).split(",")
        modules.update(f"{package}.{name.split()[0]}" for name in names if package and name.split())
    return frozenset(file for module in modules if (file := _source_of(module)))


@cache
def source_digest(source: Path) -> str:
    """A digest of a source file and of all of the project's files that it leads to."""
    found, waiting = {source}, [source]
    while waiting:
        new = _imports_of(waiting.pop()) - found
        found |= new
        waiting += new
    digest = hashlib.blake2b(digest_size=12)
    for path in sorted(found):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def cache_folder() -> Path:
    """Where compiled code is kept: $RATECAST_CACHE_DIR, or the user's cache folder.

    Whoever can write there decides what the rater computes, so nobody else may. A folder that this
    user cannot write, as in a container that runs as somebody else, is used by a copy of it.
    """
    named = os.environ.get("RATECAST_CACHE_DIR")
    home = Path(named or os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    folder = home if named else home / "ratecast"
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder if os.access(folder, os.W_OK) else _own_copy(folder)


def _own_copy(of: Path) -> Path:
    """A folder of this user's beside the temporary files, with what `of` holds."""
    folder = Path(tempfile.gettempdir()) / f"ratecast-{os.getuid()}"
    made = Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))
    if of.is_dir():
        shutil.copytree(of, made, dirs_exist_ok=True)
    made.chmod(0o700)  # copying took the mode of the other
    try:
        made.rename(folder)
    except OSError:  # there is one
        found = folder.lstat()
        if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
            return made
        shutil.rmtree(made)
    return folder


class _BySources(caching._CacheLocator):  # noqa: SLF001 - numba's own hook
    """Tells the compiler where a function's compiled code is kept, and when it is out of date."""

    def __init__(self, line: int, source: Path) -> None:
        self._line = line
        self._name = f"{source.stem}-{source_digest(source)}"

    def get_cache_path(self) -> str:
        return str(CACHE / self._name)

    def get_source_stamp(self) -> str:
        return self._name

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Any, file: str) -> _BySources | None:
        source = Path(file).resolve()
        return (
            cls(function.__code__.co_firstlineno, source) if source.is_relative_to(ROOT) else None
        )


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
caching.CacheImpl._locator_classes.insert(0, _BySources)  # noqa: SLF001 - as above


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
