"""A gateway over a socket: any request on any route is answered, and what it answers for is there.

Each case is some requests on one connection: no 5xx, no silence, and of what was answered with 2xx at
/v1/events every record is in the log, as it is or suspended.
"""

from __future__ import annotations

import base64
import ctypes
import gzip
import json
import signal
import socket
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zstandard
from extremes import EXTREMES, usage_line
from services.gateway import RunningGateway

from ingest.gateway.keys import read_keys
from ingest.gateway.tokens import mint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

ANSWER_S = 25
DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG
ROUTES = [
    *("/v1/events", "/v1/events", "/v1/cmcd", "/v1/cmcd", "/v1/bulk", "/v1/orders", "/v1/accounts"),
    *("/v1/topups", "/v1/tokens", "/v1/mirror/a/b", "/openapi.json", "/healthz", "/metrics", "/x"),
]
MEDIA = [
    *("application/json", "application/x-ndjson", "application/cmcd", "text/cmcd", "text/csv"),
    *("application/cloudevents+json", "application/cloudevents-batch+json", "text/plain", ""),
]
CMCD = ["e=ps", "sid=s1", 'sid="s1"', "sta=p", "sta=q", "ts=1767600000000", "v=2", "pt=1", "st=v"]
STROKES = [b"\x00", b"\n", b"\r", b"%", b"/", b"?", b"&", b";", b",", b'"', b"\xff", b"e9", b"%0a"]


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(DEATH_OF_PARENT, signal.SIGKILL)


class Target:
    """The gateway, and whoever may send to it."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory()  # as long as this process lives
        folder = Path(self.folder.name)
        limits = ("--key-limit", "1e9", "--account-limit", "1e9", "--boxes", str(folder / "boxes"))
        self.gateway = RunningGateway(folder, *limits, before=die_with_parent)
        assert self.gateway.url, self.gateway.said
        signer = read_keys(self.gateway.keys).signer()
        assert signer is not None
        ends_s = int(time.time()) + 100_000
        session = mint(signer, "anna", "tv", "s1", expires_s=ends_s, issued_s=0)
        over = mint(signer, "anna", "tv", "s1", expires_s=ends_s - 110_000, issued_s=0)
        box = mint(signer, "anna", "box", "", expires_s=ends_s, issued_s=0)
        self.credentials = [self.gateway.key, session, session, over, box, "", "rc_x", "x.y.z"]
        self.port = int(self.gateway.url.rpartition(":")[2])


@cache
def target() -> Target:
    return Target()


def fuzz(random: Random) -> None:
    """Some requests on one connection."""
    gateway = target().gateway
    before = len(gateway.raw_lines())
    for number in range(random.randint(1, 4)):
        path, head, body, nonces = drawn(random, f"{random.getrandbits(40):x}-{number}")
        status, answer = exchange(head, body)
        assert status < 500, (path, status, answer[:500], body[:2000])
        if status // 100 == 2 and path == "/v1/events":
            missing = [each for each in nonces if each not in set(logged(before))]
            assert not missing, (status, answer[:500], missing, body[:2000])
    assert gateway.process.poll() is None, gateway.said[-2000:]
    assert "Traceback" not in gateway.said, gateway.said[-4000:]


def logged(before: int) -> Iterator[str]:
    """The nonces of what was logged since, also in what is suspended."""
    for line in target().gateway.raw_lines()[before:]:
        texts = [line]
        try:
            fields = json.loads(line)
            texts.append(base64.b64decode(fields["raw"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        for text in texts:
            for piece in text.split(b"nonce:")[1:]:
                yield piece.partition(b":")[0].decode()


def drawn(random: Random, nonce: str) -> tuple[str, bytes, bytes, list[str]]:
    """The path, head and body of one request, and what marks its records."""
    path = random.choice(ROUTES)
    body, nonces = drawn_body(random, path, nonce)
    credentials = random.choice(target().credentials)
    headers = {"Host": "x", "Content-Type": random.choice(MEDIA)}
    shown = path
    if random.random() < 0.6:
        headers["Authorization"] = f"Bearer {credentials}"
    else:
        shown += f"/{credentials}" if random.random() < 0.5 else f"?token={credentials}"
    if random.random() < 0.3:
        number = random.choice(["1", str(int(time.time() * 1000)), "9" * 30, "x", "-1"])
        headers["Ratecast-Sent"] = number
    if random.random() < 0.3:
        headers["CMCD-Session"] = ",".join(random.sample(CMCD, 4))
    packing = random.choice(["", "", "", "gzip", "zstd", "br"])
    if packing == "gzip":
        body = gzip.compress(body)
    elif packing == "zstd":
        body = zstandard.ZstdCompressor().compress(body)
    if packing:
        headers["Content-Encoding"] = packing
        if random.random() < 0.2:
            body, nonces = spoiled(random, body), []
    headers["Content-Length"] = str(len(body))
    method = random.choice(["POST", "POST", "POST", "GET", "PUT"])
    head = f"{method} {shown} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    raw = head.encode() + b"\r\n"
    if random.random() < 0.1:
        raw, nonces = spoiled(random, raw), []
    return path, raw, body, nonces


def drawn_body(random: Random, path: str, nonce: str) -> tuple[bytes, list[str]]:
    """A body for a route, and what marks its records where they are whole."""
    if "cmcd" in path or random.random() < 0.1:
        return drawn_cmcd(random), []
    lines, nonces = [], []
    for number in range(random.randint(1, 5)):
        if random.random() < 0.5:
            mark = f"{nonce}-{number}"
            nonces.append(mark)
            lines.append(view(random, mark))
        else:
            lines.append(usage_line(random))
    if random.random() < 0.3:
        return b"[" + b",".join(lines) + b"]", []
    return b"\n".join(lines), nonces


def view(random: Random, mark: str) -> bytes:
    said: dict[str, Any] = {
        "type": random.choice(["view", "view", "view", "ingest.suspended", "x"]),
        "time": int(time.time() * 1000) - random.randrange(100_000),
        "account": "anna",
        "device": "tv",
        "session": "s1",
        "content": f"nonce:{mark}:",
        "kind": "vod",
        "state": random.choice(["playing", "stopped"]),
    }
    return json.dumps(said).encode()


def drawn_cmcd(random: Random) -> bytes:
    """A report: lines, or JSON with an extreme in it."""
    if random.random() < 0.5:
        lines = [",".join(random.sample(CMCD, random.randint(1, 8))) for _ in range(3)]
        return spoiled(random, "\n".join(lines).encode())
    field = random.choice(["ts", "pt", "sn", "br", "sta", "sid", "cid", "v", "pr", "e", "x"])
    return b'{"e":"ps","sid":"s1","sta":"p","%s":%s}' % (field.encode(), random.choice(EXTREMES))


def spoiled(random: Random, raw: bytes) -> bytes:
    for _ in range(random.randint(0, 2)):
        at = random.randrange(len(raw) + 1)
        raw = raw[:at] + random.choice(STROKES) + raw[at + random.randint(0, 2) :]
    return raw


def exchange(head: bytes, body: bytes) -> tuple[int, bytes]:
    """Send one request, and end; returns the status of the first answer, and all that came.

    0 where the connection ended without one, which only a request may do that is no HTTP.
    """
    with socket.create_connection(("127.0.0.1", target().port), timeout=ANSWER_S) as connection:
        try:
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            parts = []
            while part := connection.recv(65536):
                parts.append(part)
                if is_whole(b"".join(parts)):
                    break
        except TimeoutError:
            raise
        except OSError:  # it was closed before all was sent, as what is no HTTP is
            return 0, b""
    answer = b"".join(parts)
    return (int(answer[9:12]) if answer.startswith(b"HTTP/1.1 ") else 0), answer


def is_whole(answer: bytes) -> bool:
    """Whether an answer with a length, or without a body, is here."""
    head, end, rest = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(rest) >= int(line[15:])
    return head[9:12] in (b"204", b"304")
