"""The end of a gateway's log: whatever bytes are in it, a gateway starts on them, and forgets nothing."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extremes import EXTREMES, usage_line

from ingest.adapters.native import to_log_lines
from ingest.gateway.box_memory import BoxMemory
from ingest.gateway.folder_log import FolderLog
from ingest.gateway.recall import Recall
from ingest.gateway.repeats import Repeats
from ingest.gateway.traces import Traces

if TYPE_CHECKING:
    from random import Random

RECEIVED_MS = 1_767_600_200_000
FIELDS = ["account", "device", "session", "content", "kind", "state", "quality", "cid", "stream"]
FIELDS += ["sn", "device_time", "playhead_ms", "time", "type", "received", "rate"]


def fuzz(random: Random) -> None:
    """A folder with some segments, opened and recalled as a gateway does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(random.randint(1, 3)):
            sent = b"\n".join(drawn(random) for _ in range(random.randint(0, 12)))
            # As a gateway logs what it is sent: with its own `received`, or as it came.
            lines = [each.line for each in to_log_lines(sent, RECEIVED_MS)]
            torn = random.choice([b"", b"", b'{"type":"view","acc', random.randbytes(20)])
            content = b"".join(line + b"\n" for line in lines) + torn
            (folder / f"usage-{number + 1:08}.ndjson").write_bytes(content)
        before = [path.read_bytes() for path in sorted(folder.glob("usage-*"))]
        asyncio.run(recalled(folder))
        after = [path.read_bytes() for path in sorted(folder.glob("usage-*"))]
        assert after[:-1] == before[:-1]
        assert after[-1] == before[-1][: before[-1].rfind(b"\n") + 1]


async def recalled(folder: Path) -> None:
    log = FolderLog(folder)
    await log.open()
    boxes = BoxMemory(folder / "boxes.db")
    try:
        await Recall(log, Traces(), Repeats(), boxes).open()
    finally:
        boxes.close()
        await log.close()


def drawn(random: Random) -> bytes:
    """A line: any record, one of a viewer with an extreme somewhere, or any bytes."""
    which = random.random()
    if which < 0.2:
        return usage_line(random)
    if which < 0.3:
        return random.randbytes(random.randint(0, 60)).replace(b"\n", b"")
    said: dict[str, Any] = {
        "type": "view",
        "time": 1_767_600_000_000 + random.randrange(100_000),
        "account": random.choice("ab"),
        "device": "tv",
        "session": random.choice("st"),
        "content": "c",
        "kind": "vod",
        "state": random.choice(["playing", "stopped"]),
        "sn": random.randrange(9),
        "received": 1_767_600_100_000,  # which is the gateway's to say
    }
    if random.random() < 0.3:
        said["stream"] = random.choice(["Main.1", "\ud800"])
    line = json.dumps(said).encode()
    for _ in range(random.choice([0, 1, 1, 2])):
        field, extreme = random.choice(FIELDS), random.choice(EXTREMES)
        line = line[:-1] + b',"%s":%s}' % (field.encode(), extreme)
    return line.replace(b"\n", b"")
