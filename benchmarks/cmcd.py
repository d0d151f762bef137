"""How fast CMCD records are read.

Goal: 20 times http-sf, a strict parser of structured fields, on the same records, and never below
5 times. http-sf gives only a dictionary; this codec gives a record whose values have the types of
their keys, or of many records at once (`read_columns`) such columns of all keys of the standard.

    python benchmarks/cmcd.py           # seconds
    python benchmarks/cmcd.py --smoke   # one second; for tests

Workloads: heartbeats of many sessions (identifiers, times, playheads, buffers and throughputs
differ from record to record; contents and bitrates come again); the records of section 8 of the
standard, over and over; the same heartbeats where no value comes again; and records of the same
values in which each time other keys stand, so that no shape comes again either.
The hash is of the heartbeats as they were read, with the types of all values. Every record of the
columns is held against the exact reader. What it takes to compile is shown apart; it is compiled
once for each release, and then loaded.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import http_sf
import polars as pl

from ingest.cmcd import KEYS, read_record, upgraded, write_record
from ingest.cmcd.columns import read_columns, row_of
from ingest.cmcd.quick import read_quickly
from ingest.cmcd.reading import SHAPES, read_exactly

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEED = 7
STANDARD = Path(__file__).parents[1] / "tests" / "vectors" / "cmcd" / "standard.txt"
LADDER_KBPS = (400, 800, 1600, 3200, 4800, 6000, 8000, 12000, 16000)
EPOCH_MS = 1_764_752_400_000
INTERVAL_MS = 30_000
CONTENTS = 2_000
ASKED = tuple(KEYS)
BLOCK = 1_000  # records that a column reader is given at once; of a log, all that are read at once


def heartbeats(sessions: int, beats: int, *, fresh: bool = False) -> list[str]:
    """What so many sessions send in so many intervals, interleaved as a gateway meets them.

    fresh: give the values that would come again one of their own each time.
    """
    draw = random.Random(SEED)
    identifiers = [f"{draw.getrandbits(128):032x}" for _ in range(sessions)]
    contents = [f"vod-{int(CONTENTS ** draw.random())}" for _ in range(sessions)]
    texts = []
    for beat in range(beats):
        for session in range(sessions):
            top = 16_000 if session % 3 else 8_000
            rung = draw.choice([kbps for kbps in LADDER_KBPS if kbps <= top])
            buffered, measured = draw.randrange(300) * 100, draw.randrange(20, 600) * 100
            identifier, content = identifiers[session], contents[session]
            if fresh:
                top, rung, buffered, measured = (draw.getrandbits(40) for _ in range(4))
                identifier, content = f"{draw.getrandbits(128):032x}", f"vod-{draw.getrandbits(40)}"
            at_ms = EPOCH_MS + beat * INTERVAL_MS + draw.randrange(INTERVAL_MS)
            texts.append(
                f'bl=({buffered}),br=({rung};v 128;a),cid="{content}",e=t,mtp=({measured}),'
                f'pt={beat * INTERVAL_MS + session},sf=d,sid="{identifier}",sn={beat},st=v,sta=p,'
                f"tb=({top};v 128;a),ts={at_ms},v=2"
            )
    return texts


def any_keys(texts: Sequence[str]) -> list[str]:
    """The same records, each with about half of its keys, and not in the order of the alphabet."""
    draw = random.Random(SEED)
    chosen = []
    for text in texts:
        members = text.removesuffix(",v=2").split(",")
        chosen.append(",".join([*draw.sample(members, draw.randint(5, len(members) - 2)), "v=2"]))
    return chosen


def rate_of(read: Callable[[Any], Any], records: Sequence[Any]) -> float:
    """Records a second of one core, the best of three; before them no shape was met."""
    best_s = float("inf")
    SHAPES.forget()
    for _ in range(3):
        begun_s = time.process_time()
        for record in records:
            read(record)
        best_s = min(best_s, time.process_time() - begun_s)
    return len(records) / best_s


def column_rate(texts: Sequence[str], block: int) -> float:
    """Records a second of one core, so many of them read to columns at once; best of three."""

    def read_blocks() -> None:
        for begin in range(0, len(texts), block):
            read_columns(pl.Series(texts[begin : begin + block]), ASKED)

    best_s = float("inf")
    for _ in range(3):
        begun_s = time.process_time()
        read_blocks()
        best_s = min(best_s, time.process_time() - begun_s)
    return len(texts) / best_s


def check_columns(texts: Sequence[str]) -> float:
    """Hold the columns against the exact reader, record by record.

    Returns: the share of the records, in percent, that the compiled reader left to it.
    """
    read = read_columns(pl.Series(texts), ASKED)
    rows = [row_of(read_exactly(text), ASKED) for text in texts]
    assert read.frame.equals(pl.DataFrame(rows, schema=read.frame.schema))
    return 100 * len(read.exact) / len(texts)


def compile_columns() -> float:
    """Compile the reader of columns, or load it; returns how long that took, in seconds."""
    begun_s = time.perf_counter()
    read_columns(pl.Series(['bl=(1;v),ec=("a"),sid="s",v=2']), ASKED)
    return time.perf_counter() - begun_s


def baseline(raw: bytes) -> Any:
    """A record as http-sf reads it."""
    return http_sf.parse(raw, tltype="dictionary")


def digest_of(texts: Sequence[str]) -> str:
    """A hash of what is read; it checks on the way that both readers and http-sf agree."""
    digest = hashlib.blake2b(digest_size=8)
    for text in texts:
        record = read_record(text)
        assert record == read_exactly(text), text
        assert record.values.keys() == baseline(text.encode()).keys(), text
        assert upgraded(read_record(write_record(record))).values == record.values, text
        digest.update(repr(sorted(record.values.items())).encode())
    return digest.hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sessions", type=int, default=5_000)
    parser.add_argument("--smoke", action="store_true", help="a small size, so that it cannot rot")
    asked = parser.parse_args(arguments)
    sessions, beats = (200, 3) if asked.smoke else (asked.sessions, 12)
    standard = [line.partition("\t")[2] for line in STANDARD.read_text("utf-8").splitlines()]
    workloads = {
        "heartbeats": heartbeats(sessions, beats),
        "the standard's": standard * (len(heartbeats(sessions, 1)) // 10),
        "nothing again": (fresh := heartbeats(sessions, beats, fresh=True)),
        "no shape again": any_keys(fresh),
    }
    shown = heartbeats(200, 3)
    print(
        f"{sessions:,} sessions, {beats} heartbeats each, seed {SEED}, one core  {digest_of(shown)}"
    )
    print(f"the reader of columns: {compile_columns():.1f} s to compile, or to load once it was")
    for name, texts in workloads.items():
        sample = [text.encode() for text in texts[: max(500, len(texts) // 20)]]
        base = rate_of(baseline, sample)
        mean_bytes = sum(map(len, texts)) / len(texts)
        print(f"{name}: {len(texts):,} records of {mean_bytes:.0f} bytes")
        print(f"  http-sf     {base:>10,.0f} records/s")
        for reader in (read_exactly, read_quickly, read_record):
            rate = rate_of(reader, texts)
            print(f"  {reader.__name__:<12}{rate:>10,.0f} records/s  {rate / base:>5.1f} x")
        left = check_columns(texts)
        for block in (BLOCK, len(texts)):
            rate = column_rate(texts, block)
            print(
                f"  read_columns{rate:>10,.0f} records/s  {rate / base:>5.1f} x  "
                f"{block:,} at once, {left:.1f} % of them by the exact reader"
            )


if __name__ == "__main__":
    main()
