"""The wheel is whole: installed somewhere else, it rates."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("rating", "ingest", "tariffs", "sinks")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", str(folder)], cwd=ROOT, check=True)
    (built,) = folder.glob("*.whl")
    return built


def test_a_wheel_says_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        (name,) = [each for each in files.namelist() if each.endswith("METADATA")]
        said = Parser().parsestr(files.read(name).decode())
    assert said["Requires-Python"] == ">=3.11"
    assert said["License-Expression"] == "MIT"
    needed = [line for line in said.get_all("Requires-Dist") if "extra ==" not in line]
    assert {"numba", "polars", "pyarrow"} <= {line.split(">")[0] for line in needed}
    assert all(">" in line or line == "tzdata" for line in needed), "each has a lowest version"


def test_a_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as files:
        held = set(files.namelist())
    here = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert here <= held


@pytest.mark.timeout(600)
def test_an_installed_wheel_rates(wheel: Path, tmp_path: Path) -> None:
    """Only ratecast is new there; what it needs is what these tests run with."""
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    paths = [sysconfig.get_path("purelib"), *(path for path in sys.path if "site-packages" in path)]
    (packages / "needed.pth").write_text("".join(f"{path}\n" for path in paths))
    with zipfile.ZipFile(wheel) as files:
        files.extractall(packages)
    code = "import sys; from rating.runtime.cli import main; sys.exit(main())"
    demo = ["demo", "--households", "50", "--hours", "0.5", "--folder", str(tmp_path / "demo")]
    done = subprocess.run(
        [place / "bin" / "python", "-c", code, *demo],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "every usage record has exactly one outcome" in done.stdout
    where = "import rating; print(rating.__file__)"
    found = subprocess.check_output(
        [place / "bin" / "python", "-c", where], cwd=tmp_path, text=True
    )
    assert found.startswith(str(place)), "the installed one, not this checkout"
