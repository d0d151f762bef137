"""Serves the page, its film, and a session for each viewer: what an operator's own website does.

    python examples/player/serve.py

Whoever opens the page is Anna. A session's token says so, signed with the key in the key file; the
player carries it in the URL that it reports to, and nothing that the player says can change it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from ingest.gateway.key_file import changed_keys, create_signing_key
from ingest.gateway.keys import read_keys
from ingest.gateway.tokens import mint
from rating.runtime.figures import money, watched
from sinks.store import StoreError, open_store

HERE = Path(__file__).parent
ACCOUNT = "anna"
DEVICE = "browser"
KIND = "vod"
SESSION_S = 6 * 3600
STALL_S = 8


class Website(ThreadingHTTPServer):
    """The server. stalled_until_s: until then it gives no segment of the film."""

    daemon_threads = True

    def __init__(self, port: int, *, keys: Path, gateway: str, store: str) -> None:
        super().__init__(("127.0.0.1", port), partial(Requests, directory=str(HERE)))
        self.keys = keys
        self.gateway = gateway
        self.store = store
        self.stalled_until_s = 0.0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def open_session(self) -> dict[str, str]:
        """A session, and the URL to report it to. Its token binds it to the account."""
        signer = read_keys(self.keys).signer()
        assert signer is not None
        session = str(uuid.uuid4())
        expires_s = int(time.time()) + SESSION_S
        token = mint(signer, ACCOUNT, DEVICE, session, expires_s=expires_s, more={"kind": KIND})
        return {"session": session, "reports": f"{self.gateway}/v1/cmcd/{token}"}

    def charged(self, session: str) -> dict[str, str]:
        """What was charged for a session so far. A session is charged when it ends."""
        try:
            with open_store(self.store, create=False) as store:
                charges = store.charges_of_account(ACCOUNT).rows(named=True)
        except StoreError as error:
            return {"why": str(error)}
        lines = [charge for charge in charges if charge["session"] == session]
        if not lines:
            return {}
        amount = money(sum(line["total"] for line in lines))
        span = watched(sum(line["watched_ms"] for line in lines))
        return {"charged": f"{amount} {lines[0]['currency']} for {span}"}


class Requests(SimpleHTTPRequestHandler):
    """The files of this folder, and a few answers in JSON."""

    server: Website
    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012 - the base class has it so
        **SimpleHTTPRequestHandler.extensions_map,
        ".m3u8": "application/vnd.apple.mpegurl",
        ".m4s": "video/iso.segment",
        ".mpd": "application/dash+xml",
    }

    def do_GET(self) -> None:
        """Answer with a file, or with what was charged."""
        url = urlsplit(self.path)
        if url.path == "/charged":
            self.answer(self.server.charged(parse_qs(url.query)["session"][0]))
            return
        if url.path.endswith(".m4s"):
            time.sleep(max(0.0, self.server.stalled_until_s - time.monotonic()))
        super().do_GET()

    def do_POST(self) -> None:
        """Open a session, or stall."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/session":
            self.answer(self.server.open_session())
        elif self.path == "/stall":
            self.server.stalled_until_s = time.monotonic() + STALL_S
            self.answer({})
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def answer(self, said: dict[str, str]) -> None:
        """Answer in JSON."""
        body = json.dumps(said).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing: the browser shows what it asks for."""


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description="Serve a page whose viewing is charged.")
    parser.add_argument(
        "--port", type=int, default=8000, help="where to listen; 0 takes a free one"
    )
    parser.add_argument("--keys", default="keys.json", help="the key file; made if missing")
    parser.add_argument("--gateway", default="http://127.0.0.1:8080", help="where to report to")
    parser.add_argument("--store", default="ratecast.db", help="where the charges are")
    given = parser.parse_args()
    keys = Path(given.keys)
    with changed_keys(keys) as document:
        if not document["signing_keys"]:
            create_signing_key(document, "EdDSA")
    website = Website(given.port, keys=keys, gateway=given.gateway, store=given.store)
    print(f"Open {website.url} in a browser. Sessions are signed with {keys}.", file=sys.stderr)
    try:
        website.serve_forever()
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)


if __name__ == "__main__":
    main()
