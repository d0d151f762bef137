"""Fixtures that more than one kind of test uses."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from services.kafka import ServiceMissing, shared_kafka

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from outcome import Outcome

    from tariffs.model import Book


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
