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
from services.website import ACCOUNT, BOOK, Website

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

pytestmark = pytest.mark.timeout(900)  # a browser may have to be fetched first

MICROS_A_MS = 10  # the book's price: 36.00 an hour
FRAME_MS = 40  # the film has 25 pictures a second
WAIT_MS = 60_000


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


def watch(page: Page, film_s: float) -> None:
    """Let the film go on until so many of its seconds have passed."""
    ends_s = page.evaluate("video.currentTime") + film_s
    page.wait_for_function("ends => video.currentTime >= ends", arg=ends_s, timeout=WAIT_MS)


def begin(page: Page, player: str) -> None:
    page.select_option("#player", player)
    page.click("#play")
    page.wait_for_function("ownClock.watchedMs > 0", timeout=WAIT_MS)


def reports(page: Page) -> list[dict[str, str]]:
    """What the player said, record by record."""
    lines = page.inner_text("#reports").splitlines()
    return [dict(re.findall(r"([a-z]+)=(\"[^\"]*\"|[^,]*)", line)) for line in lines if line]


def states(page: Page) -> str:
    """The states that the player went through."""
    return "".join(said["sta"] for said in reports(page) if said["e"] == "ps")


def own_clock(page: Page) -> tuple[int, int]:
    """Milliseconds watched, and in how many stretches, by the pictures on the screen."""
    watched_ms, stretches = page.evaluate("[ownClock.watchedMs, ownClock.stretches]")
    return round(watched_ms), stretches


def assert_charged(operator: Operator, page: Page) -> int:
    """One session's charges are exactly the price of what the page's own clock saw.

    A player reports to the millisecond, at the moment at which the element says that it plays, or
    not any more. The page sees whole pictures: the first of a stretch comes up to one picture and
    the time to draw it after that, and its last one was up for part of a picture more. So a stretch
    may seem two pictures shorter; it cannot seem longer by more than one.
    Returns: milliseconds watched.
    """
    session = page.evaluate("viewing.session")
    charges = operator.await_charges(
        ACCOUNT, lambda found: session in {c["session"] for c in found}
    )
    charges = [charge for charge in charges if charge["session"] == session]
    watched_ms: int = sum(charge["watched_ms"] for charge in charges)
    seen_ms, stretches = own_clock(page)
    print(f"charged {watched_ms} ms, seen {seen_ms} ms in {stretches} stretches")
    assert -FRAME_MS * stretches <= watched_ms - seen_ms <= 2 * FRAME_MS * stretches
    assert sum(charge["total"] for charge in charges) == watched_ms * MICROS_A_MS
    assert {charge["content"] for charge in charges} == {"counting"}
    assert {charge["kind"] for charge in charges} == {"vod"}
    return watched_ms


def assert_nothing_else_suspended(operator: Operator, session: str) -> None:
    """But for the heartbeat that both players send before they have any state to tell."""
    rows = [row for row in operator.suspense() if session.encode() in (row["raw"] or b"")]
    assert {row["reason"] for row in rows} <= {"no_state"}
    assert all(b"sn=0" in row["raw"] for row in rows)


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
