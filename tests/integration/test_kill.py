"""A run that is killed at any instant and started again ends with exactly the same charges."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parents[2]
KILLS = 12
COMMAND = (sys.executable, "-c", "from rating.runtime.cli import main; main()")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def ratecast(*words: str, folder: Path) -> bytes:
    """Run a command that must be well; returns what it printed."""
    done = subprocess.run(
        [*COMMAND, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def killed(*words: str, folder: Path, after_s: float) -> bool:
    """Run a command, and kill it after so long; whether it was still running then."""
    run = subprocess.Popen(
        [*COMMAND, *words],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    time.sleep(after_s)
    run.send_signal(signal.SIGKILL)
    return run.wait() == -signal.SIGKILL


def everything(folder: Path) -> dict[str, list[bytes]]:
    """All that the store holds, in an order that does not depend on how it came there."""
    kinds = ("charges", "suspense", "signals", "balances", "orders")
    return {kind: sorted(ratecast("export", kind, folder=folder).splitlines()) for kind in kinds}


@pytest.mark.slow
def test_kill_9_at_random_moments_changes_nothing(tmp_path: Path) -> None:
    ratecast(
        *("simulate", "--households", "400", "--hours", "1", "--seed", "5"),
        *("--faults", "typical", "--out", "log.ndjson.zst", "--tariffs-out", "book.toml"),
        folder=tmp_path,
    )
    rate = ("rate", "--tariffs", "../book.toml", "--batch", "700", "--parquet", "parquet")
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    whole.mkdir()
    torn.mkdir()
    begun_s = time.monotonic()
    ratecast(*rate, "--close", "../log.ndjson.zst", folder=whole)
    whole_s = time.monotonic() - begun_s
    dice = random.Random()
    seed = dice.randrange(2**32)
    dice.seed(seed)
    kills = sum(
        killed(*rate, "../log.ndjson.zst", folder=torn, after_s=dice.uniform(0.3, 1) * whole_s)
        for _ in range(KILLS)
    )
    ratecast(*rate, "--close", "../log.ndjson.zst", folder=torn)
    assert kills > 0
    assert everything(torn) == everything(whole), f"moments drawn from seed {seed}"
    files = [pl.read_parquet(f"{folder}/parquet/charges/**/*.parquet") for folder in (whole, torn)]
    columns = ["charge_id", "start"]
    assert files[0].select(columns).sort(columns).equals(files[1].select(columns).sort(columns))
    assert ratecast("status", folder=torn)
