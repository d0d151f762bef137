"""Every field of every reader, with every extreme in it: rows or suspense, at once, never an exception."""

from __future__ import annotations

import pytest
from adapter_seeds import TARGETS, leaves
from extremes import NESTS, quoted

from ingest.adapters.clocks import Clock, place_times
from ingest.cmcd import KEYS

# Those that cost or break something where nobody looks; `make fuzz` draws from all of them.
HARD = [
    *(b"1e999999999", b"-1e999999999", b"1e-999999999", b"1e1000000", b"1e99999999999999999999"),
    *(b"9" * 4301, b"9223372036854775808", b"-9223372036854775809", b"0." + b"1" * 5000, b"NaN"),
    *(b"true", b"null", b"{}", b"[]", b"", b'"\\ud800"', b'"\xed\xa0\x80"', b'"\xff"', b'"\x00"'),
    *(quoted("a" * 70_000), NESTS[4], NESTS[6]),
    *(quoted("0001-01-01T00:00:00+14:00"), quoted("9999-12-31T23:59:59.999-23:59")),
    *(quoted("2026-03-06T20:00:00+24:00"), quoted("2026-13-01T00:00:00Z")),
]
JSON_READERS = [name for name, target in TARGETS.items() if target.is_json]


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_the_samples_come_to_something(name: str) -> None:
    target = TARGETS[name]
    assert all(target.read(seed) > 0 for seed in target.seeds)


@pytest.mark.parametrize("name", JSON_READERS)
def test_every_field_of_json_takes_every_extreme(name: str) -> None:
    target = TARGETS[name]
    for seed in target.seeds:
        for begin, end in leaves(seed):
            for extreme in HARD:
                document = seed[:begin] + extreme + seed[end:]
                assert target.read(document) > 0, document[:300]


@pytest.mark.parametrize("key", sorted(KEYS))
def test_every_key_of_cmcd_takes_every_extreme(key: str) -> None:
    for extreme in HARD:
        for value in (extreme, b"(" + extreme + b")"):
            line = b'e=t,sta=p,v=2,sid="s1",ts=1772900000000,' + key.encode() + b"=" + value
            assert TARGETS["cmcd"].read(line) > 0, line[:300]
            TARGETS["cmcd request"].read(line)


@pytest.mark.parametrize("name", ["bunny", "cloudfront", "combined", "bulk csv"])
def test_every_cell_takes_every_extreme(name: str) -> None:
    target = TARGETS[name]
    separator = {"bunny": b"|", "cloudfront": b"\t", "combined": b" "}.get(name, b",")
    seed = target.seeds[0]
    for place, cell in enumerate(seed.split(separator)):
        for extreme in HARD:
            if b"\n" not in cell:
                cells = seed.split(separator)
                cells[place] = extreme.strip(b'"')
                assert target.read(separator.join(cells)) > 0


@pytest.mark.parametrize("ms", [0, -1, 2**62, -(2**62), 10**30])
def test_clocks_take_any_integers(ms: int) -> None:
    for ordered in (False, True):
        times, clock = place_times([0, ms, 5], ms, ms, Clock(ms, -ms), ordered=ordered)
        assert len(times) == 3
        assert place_times(times, 0, None, clock, ordered=ordered)
