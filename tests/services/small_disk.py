"""A file system of its own for a server, so small that a test can fill it to the last byte.

It lies in memory. To mount it takes root, or a namespace of one's own (`in_own_namespace`).
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
BALLAST = "ballast"
PAGE_BYTES = 4096
ENTERED = "RATECAST_TEST_OWN_NAMESPACE"


class MountRefused(OSError):  # noqa: N818 - named for what happened
    """The kernel mounts nothing for us."""


class SmallDisk:
    """A file system of so many bytes, mounted at a folder. Raises: MountRefused."""

    def __init__(self, folder: Path, size_bytes: int) -> None:
        self.folder = folder
        options = f"size={size_bytes},mode=0700".encode()
        if LIBC.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, options) != 0:
            refused = ctypes.get_errno()
            raise MountRefused(refused, os.strerror(refused), str(folder))

    def fill(self) -> None:
        """Take all the room that is left."""
        size_bytes = 2**20
        with (self.folder / BALLAST).open("ab", buffering=0) as ballast:
            while size_bytes >= PAGE_BYTES:
                try:
                    ballast.write(bytes(size_bytes))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size_bytes //= 2

    def clear(self) -> None:
        """Give the room back."""
        (self.folder / BALLAST).unlink(missing_ok=True)

    def remove(self) -> None:
        """Unmount it, also while somebody has a file of it open."""
        lazily = 2
        LIBC.umount2(os.fsencode(self.folder), lazily)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.remove()


def in_own_namespace() -> None:
    """Run this program again where it may mount, if the machine allows anybody that.

    It keeps its user there, since PostgreSQL refuses to be root.
    """
    enter = ["unshare", "--user", "--map-current-user", "--keep-caps", "--mount"]
    if os.geteuid() == 0 or ENTERED in os.environ or shutil.which("unshare") is None:
        return
    if subprocess.run([*enter, "true"], capture_output=True, check=False).returncode == 0:
        os.environ[ENTERED] = "1"
        os.execvp(enter[0], [*enter, sys.executable, *sys.argv])
