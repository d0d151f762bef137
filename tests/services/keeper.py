"""Keeps a server running for as long as another process lives, then ends it and clears up.

Run as a program: `keeper.py PID FOLDER COMMAND...` runs the command until it ends or the process PID
does, and removes the folder. The server dies with its keeper, however that ends.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)


def die_with_parent(parent: int) -> Callable[[], None]:
    """For `preexec_fn`: the kernel kills the child once `parent`, which starts it, has ended."""

    def arrange() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the call
            os._exit(1)

    return arrange


def run_pid() -> int:
    """The process whose end is the end of the test run, for whichever worker asks."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def keep(folder: Path, command: Sequence[str], log: Path, watched_pid: int) -> int:
    """Start a command that ends with `watched_pid`. Returns the keeper's process id."""
    with log.open("ab") as opened:
        keeper = subprocess.Popen(
            [sys.executable, "-P", __file__, str(watched_pid), str(folder), *command],
            stdin=subprocess.DEVNULL,
            stdout=opened,
            stderr=opened,
            start_new_session=True,  # Ctrl-C in the terminal is the test run's to answer
        )
    return keeper.pid


def main(watched: str, folder: str, *command: str) -> None:
    """Run the command until it ends or the watched process does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = subprocess.Popen(command, preexec_fn=die_with_parent(os.getpid()))  # noqa: PLW1509
    try:
        ended = select.poll()
        ended.register(os.pidfd_open(server.pid), select.POLLIN)
        ended.register(os.pidfd_open(int(watched)), select.POLLIN)
        ended.poll()
    except ProcessLookupError:
        pass  # the watched process ended before it could be watched
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
