"""Prometheus's own tool, which evaluates the alerts as a server would."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from services.debian import FAILURES, package_folder, unpack
from services.postgres import ServiceMissing

if TYPE_CHECKING:
    from pathlib import Path


def promtool() -> str:
    """The program: the one on the path, or out of Debian's package. Raises: ServiceMissing."""
    if found := shutil.which("promtool"):
        return found
    with package_folder("prometheus") as folder:
        program = folder / "root" / "usr" / "bin" / "promtool"
        if not program.exists() and shutil.which("apt-get"):
            with suppress(*FAILURES):
                unpack(folder, "prometheus", alone=True)
        if program.exists():
            return str(program)
    raise ServiceMissing("alerts are tried with promtool: install Debian's package prometheus")


def failed_rule_tests(tests: Path) -> str:
    """Run a file of rule tests. Returns what promtool says of those that fail; "" where none does."""
    done = subprocess.run(
        [promtool(), "test", "rules", tests.name],
        cwd=tests.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stdout + done.stderr
