"""Every extreme in every field of every type of record, through every reader of usage records."""

from __future__ import annotations

import pytest
from extremes import EXTREMES, KINDS, SOUND, SUSPENDED, TEXT_VALUES, quoted
from readers import check_readers_agree

from ingest.kafka.messages import Message, decode_messages
from rating.schemas import MALFORMED

LARGE_BYTES = 20_000  # such values are tried in the fields of a view alone
COMMON = ("type", "time", "received", "account")


def lines_of(kind: str) -> list[bytes]:
    """A record of a type for each of its fields and each extreme in it, once more as a twin key."""
    sound = {
        name: (SUSPENDED.get(name) or SOUND.get(name) or TEXT_VALUES)[0]
        for name in (*COMMON[1:], *KINDS[kind])
    } | {"type": quoted(kind)}
    extremes = [each for each in EXTREMES if kind == "view" or len(each) < LARGE_BYTES]
    lines = []
    for name in (*COMMON, *KINDS[kind], "other"):
        for extreme in extremes:
            fields = sound | {name: extreme}
            inner = b",".join(quoted(key) + b":" + value for key, value in fields.items())
            lines.append(b"{" + inner + b"}")
        lines.append(lines[-1][:-1] + b"," + quoted(name) + b":" + sound.get(name, b"1") + b"}")
    return lines


@pytest.mark.parametrize("kind", KINDS)
def test_the_readers_agree_on_every_extreme(kind: str) -> None:
    lines = lines_of(kind)
    check_readers_agree(lines)
    batch = decode_messages("usage/0", [Message(place, line) for place, line in enumerate(lines)])
    assert len(batch.events) == len(lines)
    assert {
        row for row, type_ in enumerate(batch.events["type"].tolist()) if type_ == MALFORMED
    } == set(batch.malformed)
