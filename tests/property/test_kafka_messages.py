"""However records are packed into messages, they are the records that they are as lines of a file."""

from __future__ import annotations

import io
import json
import math
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from worlds import random_world

from ingest.json_exact import read_line
from ingest.json_lines import decode_lines
from ingest.kafka.messages import Message, decode_messages
from rating.rater import Rater
from rating.schemas import MALFORMED, TEXT_FIELDS, UsageBatch

SEEDS = range(40)
INTEGERS = ("time", "received", "playhead_ms", "bill_day")
FIELDS = (
    *("type", "time", "received", "account", "id", "device", "session", "content", "kind"),
    *("quality", "state", "playhead_ms", "rate", "plan", "region", "bill_day", "package"),
    *("amount", "currency", "offer", "order"),
)
NUMBERS = (
    *("time_ms", "received_ms", "playhead_ms", "amount_micros", "rate_milli"),
    *("type", "state", "flags", "bill_day"),
)


def rows_of(batch: UsageBatch, *, raw: bool = True) -> list[dict[str, Any]]:
    """What a batch holds, with its texts spelt out."""
    text = batch.text.tobytes()
    rows = []
    for number, event in enumerate(batch.events):
        row = {name: int(event[name]) for name in NUMBERS}
        for name in TEXT_FIELDS:
            at = int(event[f"{name}_at"])
            row[name] = text[at : at + int(event[f"{name}_len"])]
        row["malformed"] = batch.malformed.get(number)
        assert (row["type"] == MALFORMED) == (row["malformed"] is not None)
        row["before"] = batch.suspended_before.get(number)
        row["raw"] = batch.raw(number) if raw else json.loads(batch.raw(number))
        rows.append(row)
    return rows


def as_column(fields: dict[str, Any]) -> bool:
    """Whether an Arrow table has columns for a record's fields."""
    for name, value in fields.items():
        if name in INTEGERS:
            if type(value) is not int or abs(value) >= 2**63:
                return False
        elif name == "rate":
            if type(value) not in (int, float) or not math.isfinite(value):
                return False
        elif name not in FIELDS or not isinstance(value, str) or not value.isprintable():
            return False
    return True


def arrow(records: list[dict[str, Any]], chance: Random) -> bytes:
    """An Arrow IPC stream of records, in one of the forms that writers give it."""
    names = [
        name for name in FIELDS if any(name in each for each in records) or chance.random() < 0.3
    ]
    columns = {}
    for name in names:
        values = [each.get(name) for each in records]
        if name in INTEGERS:
            columns[name] = pa.array(values, pa.int64())
        elif name == "rate":
            texts = [None if value is None else json.dumps(value) for value in values]
            columns[name] = pa.array(texts, pa.string())
        else:
            column = pa.array(values, chance.choice([pa.string(), pa.large_string()]))
            is_folded = chance.random() < 0.3
            columns[name] = column.dictionary_encode() if is_folded else column
    table = (
        pa.table(columns) if columns else pa.table({"type": pa.nulls(len(records), pa.string())})
    )
    sink = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression=chance.choice([None, "lz4", "zstd"]))
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        for batch in table.to_batches(max_chunksize=chance.randint(1, len(records))):
            writer.write_batch(batch)
    return sink.getvalue()


def cut(items: list[Any], chance: Random) -> list[list[Any]]:
    parts = []
    at = 0
    while at < len(items):
        size = chance.choice([1, 1, 2, 7, 30])
        parts.append(items[at : at + size])
        at += size
    return parts


@pytest.mark.parametrize("seed", SEEDS)
def test_packed_lines_are_the_lines(seed: int) -> None:
    chance = Random(seed)
    lines = [line for line in random_world(seed).lines if line.strip()]
    messages = [
        Message(offset * 3, b"\n".join(part)) for offset, part in enumerate(cut(lines, chance))
    ]
    empty = [
        Message(message.offset + 1, chance.choice([None, b"", b" \n"])) for message in messages
    ]
    mixed = [each for pair in zip(messages, empty, strict=True) for each in pair]
    batch = decode_messages("usage/3", mixed)
    told = decode_lines(b"\n".join(lines), str)
    rows = rows_of(batch)
    for row in rows:
        # A message says what it is not, where a line says what is wrong with its JSON.
        if (row["malformed"] or "").startswith("the message is neither"):
            row["malformed"] = read_line(row["raw"]).malformed
    assert rows == rows_of(told)


@pytest.mark.parametrize("seed", SEEDS)
def test_arrow_is_the_same_records_as_json(seed: int) -> None:
    chance = Random(seed)
    records = []
    for line in random_world(seed).lines:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict) and as_column(fields):
            records.append(fields)
    parts = cut(records, chance)
    lines = [[json.dumps(each, ensure_ascii=False).encode() for each in part] for part in parts]
    as_lines = [Message(n, b"\n".join(part)) for n, part in enumerate(lines)]
    as_arrow = [Message(n, arrow(part, chance)) for n, part in enumerate(parts)]
    chosen = [chance.choice(pair) for pair in zip(as_lines, as_arrow, strict=True)]
    told = rows_of(decode_messages("usage/0", as_lines), raw=False)
    assert rows_of(decode_messages("usage/0", as_arrow), raw=False) == told
    assert rows_of(decode_messages("usage/0", chosen), raw=False) == told
    world = random_world(seed)
    results = [
        Rater(world.books).rate(decode_messages("usage/0", messages))
        for messages in (as_lines, as_arrow, chosen)
    ]
    for other in results[1:]:
        assert other.charges.equals(results[0].charges)
        assert other.suspense.drop("raw", "source").equals(
            results[0].suspense.drop("raw", "source")
        )
        assert other.counts == results[0].counts
    assert np.unique([len(result.suspense) for result in results]).size == 1
