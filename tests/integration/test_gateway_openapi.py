"""The OpenAPI document, tried on a running gateway with thousands of requests that it allows or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from services.gateway import RunningGateway

from ingest.gateway.openapi import document

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = 25  # for each route; bounded, so that it takes some seconds


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    running = RunningGateway(tmp_path_factory.mktemp("openapi"))
    assert running.url, running.said
    yield running
    assert running.stop() == 0
    assert "Traceback" not in running.said


schema = schemathesis.openapi.from_dict(document())


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_no_request_surprises_the_gateway(case: Any, gateway: RunningGateway) -> None:
    """Every answer is one that the document has, in its form, and none is a failure."""
    case.call_and_validate(
        base_url=gateway.url, headers={"Authorization": f"Bearer {gateway.key}"}, timeout=20
    )
