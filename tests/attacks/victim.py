"""A gateway to be attacked, and what can be seen of how it takes it."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from services.gateway import RunningGateway

from ingest.gateway.key_file import changed_keys, create_api_key
from ingest.gateway.keys import SCOPES, read_keys
from ingest.gateway.tokens import mint

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from attacks.bodies import Attack

STEP_S_MAX = 0.05
STEPS = re.compile(r"ratecast_gateway_loop_step_seconds_(?:bucket\{le=\"([^\"]+)\"\}|count) (\S+)")


class Victim:
    """A gateway without limits of records, so that attack upon attack is let in."""

    def __init__(self, folder: Path, *options: str) -> None:
        limits = ("--key-limit", "1e9", "--account-limit", "1e9")
        self.gateway = RunningGateway(folder, *limits, *options)
        assert self.gateway.url, self.gateway.said
        signer = read_keys(self.gateway.keys).signer()
        assert signer is not None
        self.token = mint(signer, "anna", "tv", "s1", expires_s=int(time.time()) + 3600)

    def with_key_of(self, name: str, records_per_s: float) -> str:
        """Another key with a limit of its own, once the gateway knows it."""
        with changed_keys(self.gateway.keys) as keys:
            key = create_api_key(keys, name, SCOPES, records_per_s=records_per_s)
        with self.gateway.client(key) as client:
            while client.post("/v1/tokens", content=b"").status_code == 401:
                time.sleep(0.1)
        return key

    def attack(self, attack: Attack, key: str | None = None) -> httpx.Response:
        """Send one attack, by default with the key or the token of its route; returns its answer."""
        headers = {"Content-Type": attack.media}
        if attack.encoding:
            headers["Content-Encoding"] = attack.encoding
        is_viewer = attack.path == "/v1/cmcd"
        with self.gateway.client(self.token if is_viewer else key) as client:
            return client.post(attack.path, content=attack.body(), headers=headers, timeout=120)


def long_steps(gateway: RunningGateway) -> float:
    """How often the event loop was busy for longer than STEP_S_MAX at a stretch so far."""
    with gateway.client("") as client:
        found = dict(STEPS.findall(client.get("/metrics").text))
    return float(found[""]) - float(found[str(STEP_S_MAX)])
