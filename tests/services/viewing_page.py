"""What a viewer does on the page of examples/player/, for tests, and what they are charged for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.website import ACCOUNT

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from services.embedded_operator import Operator

MICROS_A_MS = 10  # the book's price: 36.00 an hour
FRAME_MS = 40  # the film has 25 pictures a second
WAIT_MS = 60_000


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
