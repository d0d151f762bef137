"""A real Chromium for tests, without a screen.

Any Chromium or Chrome on the path will do, or the one that RATECAST_TEST_BROWSER names. Where there
is none, Debian's package chromium is fetched once: installed by root, and by anybody else unpacked
into the user's cache folder, with what it needs and the machine lacks.
"""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright
from services.debian import FAILURES, INSTALL, package_folder, run, unpack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import BrowserContext

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
MISSING = "no browser for this test: install Debian's package chromium"
UNPACKED = """\
#!/bin/sh
root="$(dirname "$0")/root"
libraries="$root/usr/lib/$(uname -m)-linux-gnu"
export LD_LIBRARY_PATH="$libraries:$libraries/pulseaudio:$root/lib/$(uname -m)-linux-gnu"
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_PATH="$root/etc/fonts"
exec "$root/usr/lib/chromium/chromium" "$@"
"""
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
    """The path of a Chromium; the test fails where there is none and none can be fetched."""
    if named := os.environ.get("RATECAST_TEST_BROWSER"):
        return named
    with package_folder("chromium") as folder:
        found = _on_path() or _unpacked(folder)
        if found is None and shutil.which("apt-get"):
            try:
                _install() if os.geteuid() == 0 else _unpack(folder)
            except FAILURES:
                pass
            else:
                found = _on_path() or _unpacked(folder)
    return found or pytest.fail(MISSING, pytrace=False)


def _on_path() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


def _unpacked(folder: Path) -> str | None:
    program = folder / "chromium"
    return str(program) if program.exists() else None


def _install() -> None:
    """Install Debian's package."""
    run("apt-get", "update")
    run("apt-get", *INSTALL, "install", "chromium")


def _unpack(folder: Path) -> None:
    """Unpack Debian's package, and those that it needs and the machine lacks, into a folder."""
    unpack(folder, "chromium")
    whole = folder / "chromium.new"
    whole.write_text(UNPACKED)
    whole.chmod(0o755)
    whole.replace(folder / "chromium")


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
