"""The samples in docs/senders/cmcd.md and ingest/cmcd/README.md do what the pages say."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import polars as pl
import pytest
from players import Collector

from ingest.adapters.cmcd import Bound, adapt_body, adapt_request

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "senders" / "cmcd.md").read_text("utf-8")
README = (ROOT / "ingest" / "cmcd" / "README.md").read_text("utf-8")
SAMPLES = re.findall(r"^```cmcd (\S+)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
BOUND = Bound("anna", "tv", "s1")


@pytest.mark.parametrize(("outcome", "body"), SAMPLES)
def test_each_sample_comes_to_what_the_page_says(outcome: str, body: str) -> None:
    collector = Collector(BOUND)
    collector.upload(91, body)
    if outcome.startswith("watched="):
        assert collector.suspended == []
        assert collector.watched_ms() == int(outcome.removeprefix("watched="))
        return
    assert collector.rows == []
    assert [row["reason"] for row in collector.suspended] == [outcome] * len(body.splitlines())


def test_there_are_samples_of_everything() -> None:
    assert {outcome.partition("=")[0] for outcome, _ in SAMPLES} == {
        "watched",
        "unbound",
        "no_state",
        "malformed",
    }


def test_the_readmes_samples_run() -> None:
    alone, at_once = re.findall(r"^```py(?:thon)?\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    exec(alone, {})
    exec(at_once, {"pl": pl})


def test_the_curl_samples_send_a_report() -> None:
    assert shutil.which("curl"), "this test sends with curl: install Debian's package curl"
    scripts = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    received: list[tuple[str, str, bytes]] = []

    class Taker(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], body))
            self.send_response(204)
            self.end_headers()

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            received.append((path, "query", query.encode()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Taker)
    address = f"http://127.0.0.1:{server.server_port}"
    for script in scripts:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        subprocess.run(
            ["sh", "-ec", script],
            env={"PATH": "/usr/bin:/bin:/usr/local/bin", "GATEWAY": address, "TOKEN": "t.o.k"},
            check=True,
            timeout=20,
        )
        thread.join(20)
    server.server_close()
    (path, media, body), (path_by_get, _, query) = received
    assert (path, media) == ("/v1/cmcd/t.o.k", "application/cmcd")
    assert path_by_get == path
    for adapted in (
        adapt_body(body, BOUND, 1_772_452_800_200, media=media),
        adapt_request({}, query.decode(), BOUND, 1_772_452_800_200),
    ):
        assert adapted.reading.usage["state"].to_list() == ["playing"]
        assert adapted.reading.suspended.is_empty()
