"""Debian's packages for tests: fetched once into the user's cache folder, by root or anybody else."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tariffs.jit import cache_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FETCH_S_MAX = 240  # of one step
INSTALL = ("--yes", "--no-install-recommends")
FAILURES = (OSError, subprocess.CalledProcessError, subprocess.TimeoutExpired)


@contextmanager
def package_folder(package: str) -> Iterator[Path]:
    """Where a package is kept; one test at a time looks there, since two may want it at once."""
    folder = cache_folder() / package
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def run(*words: str) -> None:
    """Run a command without a word. Raises: one of FAILURES."""
    subprocess.run(
        words,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        check=True,
        timeout=FETCH_S_MAX,
    )


def unpack(folder: Path, package: str, *, alone: bool = False) -> Path:
    """Unpack a package into a folder. Returns its root. Raises: one of FAILURES.

    alone: without the packages that it needs and the machine lacks.
    """
    for name in ("lists/partial", "cache/archives/partial", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    options = (
        "Debug::NoLocking=1",
        f"Dir::State::Lists={folder}/lists",
        f"Dir::Cache={folder}/cache",
    )
    apt = ("apt-get", *(word for option in options for word in ("-o", option)))
    archives = folder / "cache" / "archives"
    run(*apt, "update")
    if alone:
        run("sh", "-c", 'cd "$0" && "$@"', str(archives), *apt, "download", package)
    else:
        run(*apt, *INSTALL, "--download-only", "install", package)
    for archive in sorted(archives.glob("*.deb")):
        run("dpkg", "--extract", str(archive), str(folder / "root"))
    shutil.rmtree(folder / "lists")
    shutil.rmtree(folder / "cache")
    return folder / "root"
