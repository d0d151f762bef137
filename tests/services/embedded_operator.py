"""All that an operator runs, for tests: the gateway, and the rater that follows its log."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING, Any, Self

from patience import PATIENCE_S
from services.gateway import COMMAND, RunningGateway, environment

from ingest.gateway.keys import read_keys
from ingest.gateway.tokens import mint
from sinks.store import StoreError, open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LOOK_EVERY_S = 0.1
CHARGE_S = 240  # compiling takes most of it, where nothing is cached


class Operator:
    """`ratecast gateway` and `ratecast rate --follow` in processes, over one folder.

    url, key: of the gateway. said: what the rater wrote.
    """

    def __init__(self, folder: Path, book: Path) -> None:
        self.gateway = RunningGateway(folder)
        assert self.gateway.url, self.gateway.said
        self.url = self.gateway.url
        self.key = self.gateway.key
        self.store = str(folder / "ratecast.db")
        self._said = folder / "rate.txt"
        words = ("rate", "--tariffs", str(book), "--store", self.store, "--follow", "--json")
        with self._said.open("wb") as out:
            self._rater = subprocess.Popen(
                [*COMMAND, *words, str(self.gateway.log_folder)],
                env=environment(),
                stdout=out,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.gateway.stop()
        if self._rater.poll() is None:
            self._rater.send_signal(signal.SIGTERM)
            self._rater.wait(PATIENCE_S)

    @property
    def said(self) -> str:
        """What the rater wrote."""
        return self._said.read_text()

    def report_url(self, account: str, session: str, **said: str) -> str:
        """Where the player of a session reports to; its token binds it to the account."""
        signer = read_keys(self.gateway.keys).signer()
        assert signer is not None
        expires_s = int(time.time()) + 600
        return f"{self.url}/v1/cmcd/" + mint(
            signer, account, "browser", session, expires_s=expires_s, more=said
        )

    def charges(self, account: str) -> list[dict[str, Any]]:
        """What an account was charged so far, ascending by start."""
        try:
            with open_store(self.store, create=False) as store:
                return store.charges_of_account(account).to_dicts()
        except StoreError:
            return []  # the rater has not made it yet

    def suspense(self) -> list[dict[str, Any]]:
        """What was suspended so far."""
        with open_store(self.store, create=False) as store:
            return store.suspense_after(0, 1000).to_dicts()

    def await_rated(self) -> None:
        """Wait until the rater has its store. Raises: AssertionError."""
        ends_s = time.monotonic() + CHARGE_S
        while not self._store_is_there():
            assert self._rater.poll() is None, self.said
            assert time.monotonic() < ends_s, self.said
            time.sleep(LOOK_EVERY_S)

    def _store_is_there(self) -> bool:
        try:
            open_store(self.store, create=False).close()
        except StoreError:
            return False
        return True

    def await_charges(
        self,
        account: str,
        are_there: Callable[[list[dict[str, Any]]], bool],
        wait_s: float = CHARGE_S,
    ) -> list[dict[str, Any]]:
        """An account's charges once they are as expected. Raises: AssertionError after `wait_s`."""
        ends_s = time.monotonic() + wait_s
        while not are_there(found := self.charges(account)):
            assert self._rater.poll() is None, self.said
            assert time.monotonic() < ends_s, f"{found}\n{self.gateway.lines()}\n{self.said}"
            time.sleep(LOOK_EVERY_S)
        return found
