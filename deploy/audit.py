"""Look for versions with known holes among what is pinned and what pyproject.toml allows.

Usage: python deploy/audit.py. It reads deploy/advisories.toml and asks nobody. Exit code 1 where
something is found. Each finding names the package, the version, the hole, and how to mend it.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ("requirements.txt", "requirements-build.txt", "requirements-dev.txt")


def advisories() -> dict[str, Any]:
    """The list of known holes, as deploy/advisories.toml has it."""
    return tomllib.loads((ROOT / "deploy" / "advisories.toml").read_text(encoding="utf-8"))


def pinned_versions(lock: str) -> dict[str, Version]:
    """Each package that a lock file pins."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    pins = re.findall(r"^([\w.-]+)(?:\[[^]]*\])?==(\S+)", text, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in pins}


def lowest_allowed(requirements: list[str]) -> dict[str, Version]:
    """Each package for which pyproject.toml names a lowest version; its extras bring others along."""
    found: dict[str, Version] = {}
    for each in map(Requirement, requirements):
        bounds = [Version(one.version) for one in each.specifier if one.operator in (">=", "==")]
        if bounds:
            found[canonicalize_name(each.name)] = max(bounds)
        if each.name == "psycopg" and bounds:
            found["psycopg-binary"] = max(bounds)  # released together, under one version
    return found


def holes(where: str, versions: dict[str, Version], listed: list[dict[str, str]]) -> list[str]:
    """A sentence for each version that is below the one that mends a hole."""
    return [
        f"{where}: {each['package']} {versions[each['package']]} has {each['id']} "
        f"({each['what']}); take {each['below']} or newer"
        for each in listed
        if each["package"] in versions and versions[each["package"]] < Version(each["below"])
    ]


def main() -> int:
    """Print what was found; 1 where that is anything."""
    known = advisories()
    listed = known["advisory"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = holes("pyproject.toml", lowest_allowed(project["dependencies"]), listed)
    for lock in LOCKS:
        found += holes(lock, pinned_versions(lock), listed)
    print("\n".join(found) if found else "No version with a known hole is pinned or allowed.")
    print(f"Held against {len(listed)} holes known on {known['as_of']} (deploy/advisories.toml).")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
