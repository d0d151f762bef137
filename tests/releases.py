"""What earlier releases left behind (tests/fixtures), put back so that this release can go on from it."""

from __future__ import annotations

import base64
import fcntl
import json
import lzma
import os
import sys
import tarfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg

from sinks import migrations
from tariffs.jit import cache_folder
from tariffs.load import load_books

if TYPE_CHECKING:
    from tariffs.model import Book

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class LastRelease:
    """A release's fixtures. name: its number, which is its folder's name."""

    name: str

    @property
    def folder(self) -> Path:
        """Where they are."""
        return FIXTURES / self.name

    @property
    def book_files(self) -> list[Path]:
        """The books that its stores were rated by."""
        return sorted((self.folder / "books").glob("*.toml"))

    def books(self) -> tuple[Book, ...]:
        """The same, loaded."""
        return tuple(load_books([str(file) for file in self.book_files], strict=False))

    def log(self) -> bytes:
        """The whole usage log, of which its stores have rated the first part."""
        return self._raw("usage.ndjson.xz")

    def topics(self) -> dict[str, dict[int, list[tuple[bytes | None, bytes | None]]]]:
        """The messages of its topics, by topic and partition: keys and values."""
        return {
            topic: {
                int(number): [(_bytes(each["key"]), _bytes(each["value"])) for each in messages]
                for number, messages in partitions.items()
            }
            for topic, partitions in json.loads(self._raw("topics.json.xz")).items()
        }

    def put_sqlite(self, folder: Path) -> Path:
        """Its SQLite store, and the whole log beside it under the name that it was rated by."""
        (folder / "usage.ndjson").write_bytes(self.log())
        store = folder / "store.db"
        store.write_bytes(self._raw("store.db.xz"))
        return store

    def put_postgres(self, url: str) -> None:
        """Its store in an empty database."""
        kept: dict[str, Any] = json.loads(self._raw("postgres.json.xz"))
        with psycopg.connect(url) as connection:
            for script in migrations.scripts("postgres")[: kept["version"]]:
                connection.execute(script)
            connection.execute("TRUNCATE ratecast.store")
            for name, rows in kept["tables"].items():
                if name.startswith("charges_2"):
                    month = name.removeprefix("charges_").replace("_", "-")
                    connection.execute("SELECT ratecast.make_month(%s::date)", (f"{month}-01",))
                with connection.cursor().copy(f"COPY ratecast.{name} FROM STDIN") as copy:
                    copy.write(rows)
            for sequence, value in kept["sequences"].items():
                connection.execute("SELECT setval(%s, %s)", (f"ratecast.{sequence}", value))

    def program(self) -> tuple[list[str], dict[str, str]]:
        """The release's own command, and the environment in which it runs.

        Its sources are unpacked beside the compiled code, which is found again by their place: so
        they are compiled once on a machine, not once a test.
        """
        sources = cache_folder() / "releases" / self.name
        sources.parent.mkdir(parents=True, exist_ok=True)
        with (sources.parent / f"{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not sources.exists():
                part = sources.with_suffix(".part")
                with tarfile.open(self.folder / "sources.tar.xz") as archive:
                    archive.extractall(part, filter="data")
                part.rename(sources)
        project = tomllib.loads((sources / "pyproject.toml").read_text("utf-8"))["project"]
        module, function = project["scripts"]["ratecast"].split(":")
        start = f"from {module} import {function}; {function}()"
        return [sys.executable, "-c", start], os.environ | {"PYTHONPATH": str(sources)}

    def _raw(self, name: str) -> bytes:
        return lzma.decompress((self.folder / name).read_bytes())


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def _in_order(folder: Path) -> list[int]:
    return [int(part) for part in folder.name.split(".")]


RELEASES = tuple(
    LastRelease(store.parent.name)
    for store in sorted(FIXTURES.glob("*/store.db.xz"), key=lambda store: _in_order(store.parent))
)
