"""A browser plays a film whose reports go by way of Kafka to a worker, and its charge to PostgreSQL.

The same page and the same book as in test_player.py; only the programs behind them are others.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
from services.browser import open_browser
from services.kafka_operator import KafkaOperator
from services.viewing_page import assert_charged, assert_nothing_else_suspended, begin, watch
from services.website import BOOK, Website

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(900)  # a browser may have to be fetched first


def test_a_viewing_is_charged_by_a_worker_into_postgres(
    tmp_path: Path, kafka_address: str, postgres_url: str
) -> None:
    with KafkaOperator(tmp_path, BOOK, kafka_address, postgres_url) as operator:
        operator.await_rated()
        site = Website(0, keys=operator.gateway.keys, gateway=operator.url, store=operator.store)
        threading.Thread(target=site.serve_forever, daemon=True).start()
        with open_browser(tmp_path / "profile") as browser:
            page = browser.new_page()
            page.goto(site.url)
            begin(page, "hls")
            watch(page, 2)
            page.click("#pause")
            page.wait_for_timeout(1000)
            page.click("#play")
            watch(page, 2)
            page.click("#stop")
            assert assert_charged(operator, page) > 3_000
            assert_nothing_else_suspended(operator, page.evaluate("viewing.session"))
            page.wait_for_function("charged.textContent.includes('EUR for')")
        site.shutdown()
        site.server_close()
