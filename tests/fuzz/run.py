"""Run fuzz targets: python tests/fuzz/run.py [NAME ...] --seconds 60 --seed 1

A target is a file in this folder with one function, `fuzz(random: Random) -> None`: one case, drawn
from `random` alone. A case that raises, ends the process, or takes more than HANG_S is a finding.
The command to run a finding again is printed with it; the exit code is then 1.
"""

from __future__ import annotations

import argparse
import faulthandler
import mmap
import os
import signal
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from random import Random

FOLDER = Path(__file__).parent
HANG_S = 30
FIRST_CASE_S = 600  # the first case may have to wait until everything is compiled


def target_names() -> list[str]:
    """The targets there are."""
    return sorted(
        path.stem for path in FOLDER.glob("*.py") if path.stem != "run" and "test_" not in path.stem
    )


def run_case(name: str, seed: int, case: int) -> None:
    """Run one case of a target; raises what the target raises."""
    import_module(name).fuzz(Random(f"{seed}/{case}"))


def run_cases(name: str, seed: int, first: int, seconds: float, progress: mmap.mmap) -> int:
    """Run cases until the time is over; returns an exit code. The case's number is in `progress`."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)
    ends = None
    case = first
    while ends is None or time.monotonic() < ends:
        progress[:8] = case.to_bytes(8, "little")
        try:
            run_case(name, seed, case)
        except Exception:  # noqa: BLE001 - a finding of any kind is told, with what repeats it
            traceback.print_exc()
            return 1
        ends = ends or time.monotonic() + seconds
        case += 1
    print(f"{name}: {case - first:,} cases of seed {seed} without a finding", flush=True)
    return 0


def watch(child: int, progress: mmap.mmap) -> str | None:
    """Wait for a child to end; returns what it died of, if it did not end by itself."""
    seen, since, allowed = b"", time.monotonic(), FIRST_CASE_S
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            if os.WIFSIGNALED(status):
                return f"ended by {signal.Signals(os.WTERMSIG(status)).name}"
            return None if os.WEXITSTATUS(status) == 0 else "raised"
        if progress[:8] != seen:
            allowed = HANG_S if seen else FIRST_CASE_S
            seen, since = progress[:8], time.monotonic()
        if time.monotonic() - since > allowed:
            os.kill(child, signal.SIGUSR1)  # prints where it stands
            time.sleep(1)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return f"took more than {allowed} s"
        time.sleep(0.05)


def fuzz_target(name: str, seed: int, first: int, seconds: float) -> bool:
    """Run one target in a process of its own; prints a finding. Returns whether there was none."""
    progress = mmap.mmap(-1, 8)
    child = os.fork()
    if child == 0:
        os._exit(run_cases(name, seed, first, seconds, progress))
    died_of = watch(child, progress)
    if died_of is None:
        return True
    case = int.from_bytes(progress[:8], "little")
    print(f"{name}: case {case} of seed {seed} {died_of}; to run it again:", flush=True)
    print(
        f"    python tests/fuzz/run.py {name} --seconds 0 --seed {seed} --case {case}", flush=True
    )
    return False


def main() -> int:
    """Run the targets that were named, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", metavar="NAME", nargs="*", help="targets; all where none is named")
    parser.add_argument("--seconds", type=float, default=60, help="for each target (60)")
    parser.add_argument("--seed", type=int, default=1, help="what the cases are drawn from (1)")
    parser.add_argument("--case", type=int, default=0, help="the first case (0)")
    parser.add_argument("--jobs", type=int, default=1, help="targets that run at once (1)")
    asked = parser.parse_args()
    sys.path[:0] = [str(FOLDER), str(FOLDER.parent), str(FOLDER.parents[1])]
    known = target_names()
    for name in asked.names:
        if name not in known:
            parser.error(f"there is no target {name!r}; there are {', '.join(known)}")
    with ThreadPoolExecutor(asked.jobs) as jobs:  # each waits for a process of its own
        sound = jobs.map(
            lambda name: fuzz_target(name, asked.seed, asked.case, asked.seconds),
            asked.names or known,
        )
        return 0 if all([*sound]) else 1


if __name__ == "__main__":
    sys.exit(main())
