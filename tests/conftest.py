"""Fixtures that more than one kind of test uses."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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
