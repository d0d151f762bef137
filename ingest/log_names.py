"""Names of logs: which files of a folder are logs, in which order, and how a name is shown.

A log that was rotated by renaming keeps its place before the one that took its name: the highest
number is the oldest (`events.ndjson.2`, `events.ndjson.1`, `events.ndjson`), a date ascends.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ingest.streams import STANDARD_INPUT

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

COMPRESSED_SUFFIXES = (".gz", ".zst")
LOG_NAME = re.compile(
    r"(?P<stem>.+)(?P<suffix>\.(?:ndjson|jsonl|json|log))"
    r"(?:[.-](?P<rotation>\d+(?:[T_-]\d+)*))?(?:\.(?:gz|zst))*",
    re.DOTALL,
)
NUMBER = re.compile(r"[-._]?\d+")
SEGMENT_NAME = re.compile(r".+-\d{8}\.ndjson")
ROTATION_DIGITS_MAX = 6
"""A longer number behind a log's name is a date or an instant: the older one is the lower one."""


class LogError(Exception):
    """A LOG argument cannot be read; nothing was rated yet. The message has a line for each."""


class LogNames(NamedTuple):
    """The logs that paths stand for, and the files of folders that are passed over."""

    logs: list[str]
    passed_over: list[str]


def log_names(paths: Sequence[str]) -> LogNames:
    """The logs that the paths stand for: a folder's in their order.

    Raises: LogError if a path does not exist or may not be read.
    """
    found, mistakes = found_logs(paths)
    for name in found.logs:
        if name != STANDARD_INPUT and not os.access(name, os.R_OK):
            why = "may not be read" if os.path.lexists(name) else "does not exist"
            mistakes.append(f"{shown(name)}: {why}; mend that, or leave it out")
    if mistakes:
        raise LogError("\n".join(mistakes))
    return found


def found_logs(paths: Sequence[str]) -> tuple[LogNames, list[str]]:
    """The logs that are found now, and what is wrong with paths that cannot be looked into."""
    found = LogNames([], [])
    mistakes: list[str] = []
    for path in paths:
        try:
            if Path(path).is_dir():
                for name, is_log in folder_files(Path(path)):
                    (found.logs if is_log else found.passed_over).append(name)
            else:
                found.logs.append(path)
        except OSError as error:
            name = os.fsdecode(error.filename or path)
            mistakes.append(f"{shown(name)}: {error.strerror}; mend that, or leave it out")
    return found, mistakes


def folder_files(folder: Path) -> Iterator[tuple[str, bool]]:
    """The files of a folder and of the folders inside it, and whether each is a log.

    Hidden ones are left out.
    """
    for entry in sorted(folder.iterdir(), key=lambda entry: place_in_folder(entry.name)):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            # A link to a folder that it stands in would go round for ever.
            if entry.resolve() not in (folder.resolve(), *folder.resolve().parents):
                yield from folder_files(entry)
        else:
            yield str(entry), entry.is_file() and is_log_name(entry.name)


def is_log_name(name: str) -> bool:
    """Whether a file in a folder is a log, by its name."""
    return LOG_NAME.fullmatch(name) is not None


def place_in_folder(name: str) -> tuple[str, int, int, str]:
    """A key to sort the names of a folder by: a rotated log comes before the newer ones."""
    parts = LOG_NAME.fullmatch(name)
    if not parts:
        return name, 0, 0, ""
    log, rotation = parts["stem"] + parts["suffix"], parts["rotation"]
    if rotation is None:
        return log, 2, 0, name
    if rotation.isdecimal() and len(rotation) <= ROTATION_DIGITS_MAX:
        return log, 0, -int(rotation), name
    return log, 1, 0, rotation


def series(name: str) -> str:
    """What a log has in common with those that were rotated before it: the name without numbers."""
    path = Path(name)
    parts = LOG_NAME.fullmatch(path.name)
    return str(path.parent / (NUMBER.sub("", parts["stem"]) + parts["suffix"])) if parts else name


def same_log(name: str) -> str:
    """A name as it is when nothing compresses the file, in its shortest form."""
    while name.endswith(COMPRESSED_SUFFIXES):
        name = name.removesuffix(".gz").removesuffix(".zst")
    return os.path.normpath(name)


def may_recur(name: str) -> bool:
    """Whether another log may have the name later; not that of a gateway's segment."""
    return not SEGMENT_NAME.fullmatch(Path(same_log(name)).name)


def shown(name: str) -> str:
    r"""A file's name as text that can be printed and stored, whatever bytes it has.

    A name is not always UTF-8, and may hold line ends and escape codes: those are shown as `\xff`.
    """
    return "".join(letter if letter.isprintable() else escaped(letter) for letter in name)


def escaped(letter: str) -> str:
    """The bytes of a character in a file's name, as an escape for each."""
    stored = os.fsencode(letter).decode("latin-1")
    return stored.encode("unicode_escape").decode("ascii")
