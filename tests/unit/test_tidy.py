"""The habits of the code, read from the source itself. Who may import whom: see pyproject.toml."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from rating import schemas

ROOT = Path(__file__).parents[2]
PACKAGES = ("rating", "ingest", "tariffs", "sinks")
FUNCTION_LINES_MAX = 70
CLOCKS = {"now", "today", "utcnow"}
EMPTY_WORDS = {"manager", "managers", "helper", "helpers", "util", "utils"}
FLOATS = {"float", "float32", "float64", "Float32", "Float64"}
FLOATS_MEANT = {"tariffs/examples.py"}  # a playback rate is a JSON number
# Built up from parts, so that this file does not find itself.
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")

MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
BENCHMARKS = sorted((ROOT / "benchmarks").rglob("*.py"))
CORE = [
    path
    for path in MODULES
    if path.relative_to(ROOT).parts[0] == "tariffs"
    or (path.relative_to(ROOT).parts[0] == "rating" and path.parent.name == "rating")
]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever the import stands."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def identifiers_of(path: Path) -> set[str]:
    """Every name that a file gives to something of its own."""
    found = {path.stem}
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def words_of(identifier: str) -> set[str]:
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", identifier)
    return set(parted.lower().split("_"))


def test_functions_fit_on_a_screen() -> None:
    """Those of tests may be longer: a list of expectations is as long as it is."""
    long = [
        f"{named(path)}:{node.lineno} {node.name} has {length} lines"
        for path in [*MODULES, *BENCHMARKS]
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES_MAX
    ]
    assert long == []


def test_every_module_is_reached_by_a_test() -> None:
    known = {module_of(path): path for path in MODULES}
    waiting = {name for path in TESTS for name in imports_of(path)} & known.keys()
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        reached.add(name)
        parents = {name.rpartition(".")[0]}
        waiting |= (imports_of(known[name]) | parents) & known.keys() - reached
    assert sorted(known.keys() - reached) == []


def test_every_module_says_what_it_is() -> None:
    silent = [named(path) for path in MODULES if not ast.get_docstring(tree_of(path))]
    assert silent == []


def test_names_say_something() -> None:
    empty = [
        f"{named(path)}: {identifier}"
        for path in [*MODULES, *TESTS, *BENCHMARKS]
        for identifier in sorted(identifiers_of(path))
        if words_of(identifier) & EMPTY_WORDS
    ]
    assert empty == []


def test_nothing_is_left_unfinished() -> None:
    left = [
        f"{named(path)}:{number}: {line.strip()}"
        for path in [*MODULES, *TESTS, *BENCHMARKS]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert left == []


def test_the_core_asks_no_clock() -> None:
    asking = [
        f"{named(path)}:{node.lineno} calls {node.func.attr}"
        for path in CORE
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in CLOCKS
    ]
    assert asking == []


def test_no_float_comes_near_money() -> None:
    """The core and the stores name no float type, so that none can touch an amount."""
    found = [
        f"{named(path)}:{node.lineno} names {name}"
        for path in [*CORE, *(ROOT / "sinks").rglob("*.py")]
        if named(path) not in FLOATS_MEANT
        for node in ast.walk(tree_of(path))
        if (name := getattr(node, "attr", getattr(node, "id", None))) in FLOATS
    ]
    assert found == []


FRAMES = ["CHARGES", "CHARGE_EVIDENCE", "SUSPENSE", "SIGNALS", "ACCOUNTS", "ORDERS", "SESSIONS"]


@pytest.mark.parametrize("frame", FRAMES)
def test_no_column_is_a_float(frame: str) -> None:
    schema = getattr(schemas, frame)
    assert [name for name, kind in schema.items() if kind.is_float()] == []


def test_no_field_of_a_usage_record_is_a_float() -> None:
    assert [name for name in schemas.USAGE.names or () if schemas.USAGE[name].kind == "f"] == []


def test_at_most_one_module_knows_faust() -> None:
    knowing = [
        named(path)
        for path in MODULES
        if any(name.split(".")[0] == "faust" for name in imports_of(path))
    ]
    assert len(knowing) <= 1
