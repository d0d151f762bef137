"""What each attack costs a gateway now: python tests/attacks/measure.py [NAME ...]

For each: the answer, how long it took, the longest answer of /healthz meanwhile, and how many stretches
of more than 50 ms of processor time the event loop had.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[2]))

from attacks.bodies import ATTACKS
from attacks.victim import Victim, long_steps


def main() -> None:
    """Run the attacks, by name or all."""
    with tempfile.TemporaryDirectory() as folder:
        victim = Victim(Path(folder))
        for name in sys.argv[1:] or ATTACKS:
            measure(victim, name)
        print("ended with", victim.gateway.stop())


def measure(victim: Victim, name: str) -> None:
    """Run one attack, and print a line."""
    waits: list[float] = []
    over = threading.Event()
    before = long_steps(victim.gateway)
    looking = threading.Thread(target=look, args=(victim, over, waits))
    looking.start()
    began_s = time.monotonic()
    status = victim.attack(ATTACKS[name]).status_code
    took_s = time.monotonic() - began_s
    over.set()
    looking.join()
    steps = long_steps(victim.gateway) - before
    print(
        f"{name:32} {status} {took_s:6.2f} s  healthz {1000 * max(waits):5.0f} ms  steps {steps:g}"
    )


def look(victim: Victim, over: threading.Event, waits: list[float]) -> None:
    """Ask for /healthz until it is over."""
    with victim.gateway.client("") as client:
        while not over.wait(0.005) or not waits:
            began_s = time.monotonic()
            client.get("/healthz")
            waits.append(time.monotonic() - began_s)


if __name__ == "__main__":
    main()
