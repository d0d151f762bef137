"""A browser plays a film: what is charged is what its own clock saw.

Nothing here is made up: Chromium, dash.js and hls.js on the page of examples/player/, their CMCD
reports to a real gateway, its log, and the rater that follows it.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest
from services.browser import open_browser
from services.embedded_operator import Operator
from services.viewing_page import (
    FRAME_MS,
    WAIT_MS,
    assert_charged,
    assert_nothing_else_suspended,
    begin,
    own_clock,
    states,
    watch,
)
from services.website import ACCOUNT, BOOK, Website

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(900)  # a browser may have to be fetched first


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with Operator(tmp_path_factory.mktemp("operator"), BOOK) as running:
        running.await_rated()
        yield running


@pytest.fixture(scope="module")
def website(operator: Operator) -> Iterator[Any]:
    site = Website(0, keys=operator.gateway.keys, gateway=operator.url, store=operator.store)
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield site
    site.shutdown()
    site.server_close()


@pytest.fixture
def page(website: Any, tmp_path: Path) -> Iterator[Page]:
    with open_browser(tmp_path / "profile") as browser:
        opened = browser.new_page()
        opened.goto(website.url)
        yield opened


@pytest.mark.parametrize("player", ["dash", "hls"])
def test_a_viewing_with_a_pause_a_seek_and_a_stall(
    operator: Operator, page: Page, player: str
) -> None:
    begin(page, player)
    watch(page, 4)
    page.click("#pause")
    page.wait_for_timeout(1500)
    page.click("#play")
    watch(page, 2)
    page.click("#seek")
    page.wait_for_function("!video.seeking")
    watch(page, 2)
    page.click("#stall")
    page.wait_for_function("!ownClock.moves", timeout=WAIT_MS)  # nothing more to show
    page.wait_for_function("ownClock.moves", timeout=WAIT_MS)
    watch(page, 2)
    page.evaluate("video.currentTime = video.duration - 3")
    page.wait_for_function("video.ended", timeout=WAIT_MS)

    watched_ms = assert_charged(operator, page)
    assert watched_ms > 13_000
    went = states(page)
    assert set(went) & set("rw")
    # A slow machine may stall at any moment, and each player stalls in its own way after a seek.
    assert re.fullmatch("d?spapkpkpa?e", re.sub(r"(.)\1+", r"\1", re.sub("[rw]", "", went))), went
    assert_nothing_else_suspended(operator, page.evaluate("viewing.session"))
    page.wait_for_function("charged.textContent.includes('EUR for')", timeout=WAIT_MS)


@pytest.mark.parametrize("player", ["dash", "hls"])
def test_a_page_that_is_left_ends_the_viewing(
    operator: Operator, page: Page, website: Any, player: str
) -> None:
    begin(page, player)
    watch(page, 2)
    session = page.evaluate("viewing.session")
    seen_ms, _ = own_clock(page)
    page.goto("about:blank")
    charges = operator.await_charges(
        ACCOUNT, lambda found: session in {c["session"] for c in found}
    )
    watched_ms = sum(charge["watched_ms"] for charge in charges if charge["session"] == session)
    # Until it is gone the film plays on, so it can only be more than was read off before.
    assert seen_ms - FRAME_MS <= watched_ms <= seen_ms + 2000
    assert_nothing_else_suspended(operator, session)
