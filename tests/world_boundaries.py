"""Records on the boundaries of what is allowed, strewn into the log of a random world.

They are copies of the log's own records with one field moved to an edge or one past it, so they
meet the world's sessions, orders and balances; drawn by themselves, so that the rest of a world is
as it was without them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from extremes import ACCOUNT_CHARACTERS_MAX, KINDS, TEXT_BYTES_MAX, TIME_MS_MAX, TIME_MS_MIN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

SHARE_OF_WORLDS = 0.3
FILLED_SHARE = 0.03  # of those: worlds in which a balance comes to its bound
TEXT_FIELDS = {
    "account",
    "device",
    "session",
    "content",
    "kind",
    "quality",
    "region",
    "id",
    "order",
}
LONG = (
    *(1, ACCOUNT_CHARACTERS_MAX - 1, ACCOUNT_CHARACTERS_MAX, ACCOUNT_CHARACTERS_MAX + 1),
    *(TEXT_BYTES_MAX - 1, TEXT_BYTES_MAX, TEXT_BYTES_MAX + 1),
)
CHARACTERS = ("a", "é", "日", "\U0001f4fa")
AMOUNTS = ("0.000001", "999999999.999999", "1000000000", "1000000000.000001", "0", "0.0")
TOPUPS_TO_THE_BOUND = 2_000


def with_boundaries(random: Random, lines: Sequence[bytes]) -> tuple[bytes, ...]:
    """The log of a world with some records at the edges of their fields among it."""
    if random.random() >= SHARE_OF_WORLDS:
        return tuple(lines)
    strewn = list(lines)
    for _ in range(random.randint(1, 12)):
        place = random.randrange(len(strewn))
        usage = record(strewn[place])
        if usage is not None:
            copies = random.choice((1, 1, 2))  # a copy of what is cut short would count again
            strewn[place + 1 : place + 1] = [at_an_edge(random, usage)] * copies
    if random.random() < FILLED_SHARE:
        fill_a_balance(random, strewn)
    return tuple(strewn)


def record(line: bytes) -> dict[str, Any] | None:
    """A line's fields, where it is a record of a type that the log has."""
    try:
        usage = json.loads(line)
    except ValueError:
        return None
    is_known = isinstance(usage, dict) and usage.get("type") in KINDS
    return usage if is_known else None


def at_an_edge(random: Random, usage: dict[str, Any]) -> bytes:
    """A record with one field at its edge, or one past it."""
    fields = [name for name in usage if name in TEXT_FIELDS]
    if usage["type"] == "balance.topup":
        fields += ["amount"] * 3
    if "received" in usage:  # its own time would otherwise be the log's clock
        fields.append("time")
    if not fields:
        return json.dumps(usage).encode()
    name = random.choice(fields)
    if name == "amount":
        value: Any = random.choice(AMOUNTS)
    elif name == "time":
        value = random.choice((TIME_MS_MIN - 1, TIME_MS_MIN, TIME_MS_MAX, TIME_MS_MAX + 1))
    else:
        value = long_text(random)
    return json.dumps(usage | {name: value}, ensure_ascii=random.random() < 0.5).encode()


def long_text(random: Random) -> str:
    """A text whose bytes, or whose characters, are at an edge; one of few, so that they meet."""
    length, character = random.choice(LONG), random.choice(CHARACTERS)
    if random.random() < 0.5:
        return character * length
    wide, rest = divmod(length, len(character.encode()))
    return character * wide + "b" * rest


def fill_a_balance(random: Random, lines: list[bytes]) -> None:
    """Put in so many of the largest top-ups that the last ones are too much."""
    place = random.randrange(len(lines))
    usage = record(lines[place])
    if usage is None or "account" not in usage:
        return
    stamps = {name: usage[name] for name in ("time", "received", "account") if name in usage}
    topup = {"type": "balance.topup", "amount": "1000000000"} | stamps
    lines[place + 1 : place + 1] = [
        json.dumps(topup | {"id": f"full-{number}"}).encode()
        for number in range(TOPUPS_TO_THE_BOUND + 2)
    ]
