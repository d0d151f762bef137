"""Files with charges in them: the owner's to write and the group's to read, and nobody else's.

A narrower umask makes them narrower still.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

FILE_MODE = 0o640
FOLDER_MODE = 0o750


def private(path: Path) -> BinaryIO:
    """Open a file to write it anew. Raises: OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE), "wb")


def make_private(path: Path) -> None:
    """Make an empty file where there is none. Raises: OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
