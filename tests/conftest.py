"""Fixtures that more than one kind of test uses."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from hypothesis import settings
from services.kafka import ServiceMissing, shared_kafka

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from outcome import Outcome

    from tariffs.model import Book


# A machine that is busy with something else is no mistake of what is tested.
settings.register_profile("unhurried", deadline=None)
settings.load_profile("unhurried")


class RateLog(Protocol):
    """Rates a whole log under the books; `batch` is how many lines go together."""

    def __call__(
        self,
        books: Sequence[Book],
        lines: Iterable[bytes],
        *,
        batch: int | None = None,
        close: bool = True,
    ) -> Outcome: ...


RATERS = {"reference": "reference_rater", "core": "core_adapter"}


@pytest.fixture(params=[name for name, module in RATERS.items() if find_spec(module)])
def rate(request: pytest.FixtureRequest) -> RateLog:
    """Each rater there is, so that a rule worked out by hand holds for all of them."""
    rate_log: Any = import_module(RATERS[request.param]).rate_log
    return rate_log  # type: ignore[no-any-return]


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """One temporary folder for the whole run, whichever of its workers asks."""
    folder = tmp_path_factory.getbasetemp()
    return folder if worker_id == "master" else folder.parent


@pytest.fixture(scope="session")
def kafka_address(run_folder: Path) -> str:
    """The test run's Apache Kafka, as "127.0.0.1:PORT"."""
    try:
        return shared_kafka(run_folder)
    except ServiceMissing as missing:
        pytest.fail(str(missing), pytrace=False)


@pytest.fixture(scope="session")
def run_pid(worker_id: str) -> int:
    """The process that lives as long as the whole run does."""
    return os.getpid() if worker_id == "master" else os.getppid()


@pytest.fixture(scope="session")
def postgres_server(run_folder: Path, run_pid: int) -> str:
    """The URL of the run's PostgreSQL server, for a user who may do everything there."""
    from services.postgres import shared_server

    return shared_server(run_folder, run_pid)


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a fresh and empty PostgreSQL database."""
    from services.postgres import fresh_database

    with fresh_database(postgres_server) as url:
        yield url
