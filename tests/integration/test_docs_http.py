"""docs/senders/http.md tells the truth: its samples, done in their order, end in its charges."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from command_line import parse
from services.gateway import RunningGateway

from rating.runtime.cli import main

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "senders" / "http.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(BOOK,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
(START,) = re.findall(r"```\n(ratecast keys.*?)```", PAGE, re.DOTALL)
(END,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    running = RunningGateway(tmp_path)
    assert running.url, running.said
    yield running
    assert running.stop() == 0


def send(sample: str, **names: str) -> str:
    """Run a sample in a shell; gives what it was answered."""
    done = subprocess.run(
        ["sh", "-eu", "-c", sample],
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, (sample, done.stdout, done.stderr)
    return done.stdout


def test_the_samples_in_their_order_end_in_the_charges_of_the_page(
    gateway: RunningGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"URL": gateway.url, "KEY": gateway.key}
    for sample in SAMPLES:
        before = len(gateway.raw_lines())
        answer = send(sample, **names)
        if "/v1/tokens" in sample:
            names["TOKEN"] = json.loads(answer)["token"]
        else:
            assert '"suspended":' not in answer or '"suspended":0' in answer
            assert len(gateway.raw_lines()) > before
    assert len(SAMPLES) == 6
    rate, suspense, revenue, export = END.splitlines()
    command, _, jq = rate.removeprefix("$ ratecast ").partition(" | ")
    assert jq == "jq -c '.suspense, .revenue'"
    (gateway.folder / "book.toml").write_text(BOOK)
    store = str(gateway.folder / "ratecast.db")
    monkeypatch.chdir(gateway.folder)
    rated = CliRunner().invoke(main, [*command.split(), "--store", store])
    assert rated.exit_code == 0, rated.output
    told = json.loads(rated.stdout)
    assert [told["suspense"], told["revenue"]] == [json.loads(suspense), json.loads(revenue)]
    words = export.removeprefix("$ ratecast ").split()
    assert CliRunner().invoke(main, [*words, "--store", store]).exit_code == 0
    assert ",39.00," in (gateway.folder / "charges.csv").read_text()


def test_the_commands_that_start_it_are_there() -> None:
    for line in START.splitlines():
        parse(line.removeprefix("ratecast ").split())
