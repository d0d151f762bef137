"""The nginx in front of a gateway, as deploy/ has it: it leaks nothing, and lets through what is named."""

from __future__ import annotations

import re
from pathlib import Path

from ingest.gateway.openapi import document

CONF = (Path(__file__).parents[2] / "deploy" / "nginx" / "gateway.conf").read_text()
LOCATION = re.compile(r"location ([^{]*?)\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
CERTIFIED = ("/v1/orders", "/v1/accounts", "/v1/topups", "/v1/tokens")


def location_of(path: str) -> str:
    """The body of the location that a path of the gateway falls into, as nginx chooses it."""
    found = dict(LOCATION.findall(re.sub(r"#.*", "", CONF)))
    if (exact := found.get(f"= {path}")) is not None:
        return exact
    for name, body in found.items():
        pattern = name.removeprefix("~ ").strip('"').replace("\\z", "\\Z")
        if name.startswith("~") and re.search(pattern, path):
            return body
    prefixes = [name for name in found if name[0] == "/" and path.startswith(name)]
    return found[max(prefixes, key=len)]


def test_no_path_is_written_down() -> None:
    assert "access_log off;" in CONF
    assert "error_log /dev/null emerg;" in CONF


def test_every_route_is_let_through_and_those_of_back_ends_with_a_certificate() -> None:
    for path in document()["paths"]:
        body = location_of(path)
        if path.startswith("/v1/"):
            assert "proxy_pass http://gateway;" in body, path
        assert ("$ssl_client_verify != SUCCESS" in body) == (path in CERTIFIED), path


def test_nothing_else_is_let_through() -> None:
    paths = ["/metrics", "/metrics\n", "/healthz", "/readyz", "/openapi.json", "/v1/orders\n"]
    for path in [*paths, "/v1/events/", "/v1/ordersx", "/"]:
        assert location_of(path).strip() == "return 404;", path


def test_the_senders_address_is_set_everywhere() -> None:
    """A location with a header of its own would take over none of the server's."""
    assert CONF.count("proxy_set_header X-Forwarded-For $remote_addr;") == 1
    assert not any("proxy_set_header" in body for _, body in LOCATION.findall(CONF))
