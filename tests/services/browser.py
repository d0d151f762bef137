"""A real Chromium for tests, without a screen.

Debian's package chromium is used if there is one, and installed where that can be done; any other
Chromium or Chrome on the path will do too, or the one that RATECAST_TEST_BROWSER names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no browser for this test: install Debian's package chromium"
INSTALL_S_MAX = 600
FLAGS = (
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    # Nothing but this machine can be reached, whatever a page or the browser itself asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def chromium() -> str:
    """The path of a Chromium; the test fails where there is none and none can be installed."""
    named = os.environ.get("RATECAST_TEST_BROWSER")
    if named:
        return named
    return _on_path() or _installed() or pytest.fail(MISSING, pytrace=False)


def _on_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _installed() -> str | None:
    """Install Debian's package, where this may be done."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return None
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "timeout": INSTALL_S_MAX}
    for words in ("update", "install --yes --no-install-recommends chromium"):
        done = subprocess.run(
            ["apt-get", "--quiet", *words.split()], capture_output=True, check=False, **quiet
        )
        if done.returncode != 0:
            return None
    return _on_path()


@contextmanager
def open_browser(profile: Path) -> Iterator[BrowserContext]:
    """A browser with a profile of its own in an empty folder."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=chromium(),
            headless=True,
            # The sandbox needs rights that neither root nor a container has.
            chromium_sandbox=False,
            args=list(FLAGS),
        )
        try:
            yield browser
        finally:
            browser.close()
