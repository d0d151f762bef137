"""Who alone may do a piece of work on an SQLite store: a lock on a file beside it.

The operating system lets go of the lock when the program ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from typing import IO, TYPE_CHECKING, Self

from sinks.private_files import FILE_MODE
from sinks.store import StoreReadOnly

if TYPE_CHECKING:
    from pathlib import Path


class FileClaim:
    """A lock held on an open file."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock a file, made where it is missing; None while another holds it.

        Raises: StoreReadOnly where the file cannot be made.
        """
        try:
            file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, FILE_MODE), "ab")
        except OSError as error:
            raise StoreReadOnly(
                f"{path}: the lock beside the store cannot be made ({error.strerror}); allow "
                "writing to the store's folder"
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return None
        return cls(file)

    def held(self) -> bool:
        """Whether it still holds: until it is released."""
        return not self._file.closed

    def release(self) -> None:
        """Leave the work to others. The file stays, since another may be waiting at it."""
        self._file.close()
