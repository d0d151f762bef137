"""Prometheus's own tool, which evaluates the alerts as a server would."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from services.postgres import ServiceMissing

if TYPE_CHECKING:
    from pathlib import Path


def promtool() -> str:
    """The program. Raises: ServiceMissing."""
    found = shutil.which("promtool")
    if found is None:
        raise ServiceMissing("alerts are tried with promtool: install Debian's package prometheus")
    return found


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
