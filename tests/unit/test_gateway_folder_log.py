"""A folder log on a disk that fails, and one whose newest segment somebody takes away."""

from __future__ import annotations

import asyncio
import errno
import gzip
import json
import os
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from services.small_disk import MountRefused, SmallDisk

from ingest.adapters.canonical import LogLine
from ingest.gateway import segment as segments
from ingest.gateway.folder_log import FolderLog
from ingest.gateway.group_commit import LogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class FaultyDisk:
    """The module `os` at the border of a segment, with faults that a test asks for.

    write_some: how many bytes the next writes take before they fail with EIO; None for no fault.
    truncates: whether ftruncate works.
    """

    def __init__(self) -> None:
        self.write_some: int | None = None
        self.truncates = True

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def write(self, file: int, content: Any) -> int:
        if self.write_some is None:
            return os.write(file, content)
        if self.write_some == 0:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        taken = os.write(file, bytes(content)[: self.write_some])
        self.write_some -= taken
        return taken

    def ftruncate(self, file: int, size: int) -> None:
        if not self.truncates:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        os.ftruncate(file, size)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    faulty = FaultyDisk()
    monkeypatch.setattr(segments, "os", faulty)
    return faulty


def line(number: int, size: int = 60) -> LogLine:
    return LogLine("a", json.dumps({"n": number, "pad": "x" * size}).encode(), "view")


async def written(log: FolderLog, numbers: list[int], size: int = 60) -> bool:
    """Whether lines were acknowledged."""
    try:
        await log.append([line(number, size) for number in numbers])
    except LogUnavailable:
        return False
    return True


def numbers_in(folder: Path) -> list[int | None]:
    """The number of each line of the log; None for one that is none."""
    found: list[int | None] = []
    for path in sorted(folder.glob("usage-*")):
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for each in content.split(b"\n")[:-1]:
            try:
                found.append(json.loads(each)["n"])
            except ValueError:
                found.append(None)
        assert content.endswith(b"\n") or not content
    return found


def run(folder: Path, use: Callable[[FolderLog], Any]) -> None:
    async def session() -> None:
        log = FolderLog(folder)
        await log.open()
        try:
            await use(log)
        finally:
            await log.close()

    asyncio.run(session())


@pytest.mark.parametrize("truncates", [True, False])
@pytest.mark.parametrize("some", [0, 1, 50, 79, 80, 81, 100])
def test_a_write_that_fails_glues_nothing(
    tmp_path: Path, disk: FaultyDisk, some: int, truncates: bool
) -> None:
    async def use(log: FolderLog) -> None:
        assert await written(log, [1])
        disk.write_some, disk.truncates = some, truncates
        assert not await written(log, [2, 3])
        assert "cannot be written" in log.why_not_ready
        assert not await written(log, [4])
        disk.write_some = None
        assert await written(log, [5])
        assert log.why_not_ready == ""
        assert await written(log, [6])

    run(tmp_path, use)
    found = numbers_in(tmp_path)
    assert [number for number in found if number in (1, 5, 6)] == [1, 5, 6]
    # Of what was not acknowledged whole lines may be there, and at most one that was torn.
    assert found.count(None) <= (0 if truncates else 1)
    assert 4 not in found


def test_whatever_fails_when_what_is_acknowledged_is_there_once(
    tmp_path: Path, disk: FaultyDisk
) -> None:
    random = Random(8)
    acknowledged: list[int] = []

    async def use(log: FolderLog) -> None:
        for number in range(300):
            disk.write_some = random.choice([None, None, 0, random.randrange(200)])
            disk.truncates = random.random() < 0.5
            if await written(log, [number]):
                acknowledged.append(number)

    run(tmp_path, use)
    found = numbers_in(tmp_path)
    assert len(acknowledged) > 100
    assert [number for number in found if number in set(acknowledged)] == acknowledged


def test_a_disk_that_is_full_and_has_room_again(tmp_path: Path) -> None:
    try:
        small = SmallDisk(tmp_path, 400_000)
    except MountRefused as refused:
        pytest.fail(f"{refused}: a test of a full disk needs one of its own")
    with small:

        async def use(log: FolderLog) -> None:
            assert await written(log, [1])
            small.fill()
            number = 2
            while await written(log, [number], 3000):
                number += 1
            assert not await written(log, [number + 1], 9000)
            small.clear()
            assert await written(log, [-1])

        run(tmp_path, use)
        found = numbers_in(tmp_path)
    assert found[0] == 1
    assert found[-1] == -1
    assert None not in found


@pytest.mark.parametrize("how", ["compressed", "moved", "replaced", "removed"])
@pytest.mark.parametrize("is_late", [False, True])
def test_the_newest_segment_is_taken_away(
    tmp_path: Path, how: str, is_late: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What was acknowledged is in a file that has a name, also where nothing is sent afterwards."""
    newest = tmp_path / "usage-00000001.ndjson"

    async def use(log: FolderLog) -> None:
        assert await written(log, [1])
        content = newest.read_bytes()
        assert await written(log, [2])  # after a compressor has read to the end
        if how == "compressed":
            (tmp_path / "usage-00000001.ndjson.gz").write_bytes(gzip.compress(content))
            newest.unlink()
        elif how == "moved":
            newest.rename(tmp_path / "usage-00000000.old")
        elif how == "replaced":
            (tmp_path / "new").write_bytes(content)
            (tmp_path / "new").replace(newest)
        else:
            newest.unlink()
        if is_late:
            assert await written(log, [3])

    run(tmp_path, use)
    expected = {1, 2, 3} if is_late else {1, 2}
    assert set(numbers_in(tmp_path)) == expected
    assert (tmp_path / "usage-00000002.ndjson").exists()
    assert "Leave the newest segment alone" in caplog.text
