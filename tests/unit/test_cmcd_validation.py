"""What a record lacks or says against the standard is named, key by key."""

from __future__ import annotations

import pytest

from ingest import cmcd


def faults(text: str, mode: str | None = None) -> list[str]:
    return [note.key for note in cmcd.find_faults(cmcd.read_record(text), mode)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("e=t,ts=1,v=2", []),
        ("e=t,v=2", ["ts"]),
        ("ts=1,v=2", ["ts"]),  # an event's key without an event: a request's record
        ("e=ps,ts=1,v=2", ["sta"]),
        ("e=ps,sta=p,ts=1,v=2", []),
        ("e=pr,ts=1,v=2", ["pr"]),
        ("e=c,ts=1,v=2", ["cid"]),
        ("e=b,ts=1,v=2", ["bg"]),
        ("bg=?0,e=b,ts=1,v=2", []),
        ("e=bc,ts=1,v=2", ["br"]),
        ("e=e,ts=1,v=2", ["ec"]),
        ("e=h,ts=1,v=2", ["h"]),
        ("e=rr,ts=1,v=2", ["url"]),
        ("e=ce,ts=1,v=2", ["cen"]),
        ('cen="x",e=ce,ts=1,v=2', []),
        ('cen="x",e=t,ts=1,v=2', ["cen"]),
        ("e=t,rc=200,ts=1,ttfb=3,v=2", ["rc", "ttfb"]),
        ('e=rr,rc=200,ts=1,url="a",v=2', []),
        ("ab=(1),br=(1),v=2", ["ab"]),
        ("lab=(1),lb=(1),tab=(1),tb=(1),v=2", ["lab", "tab"]),
        ("d=-5,v=2", ["d"]),
        ("br=(-5),v=2", ["br"]),
        ("pr=-2,v=2", []),
        ("br=(5;x),v=2", ["br"]),
        ("com.example-n=1,v=2", ["com.example-n"]),
        ('com.example-n="' + "x" * 65 + '",v=2', ["com.example-n"]),
        ('sid="' + "x" * 65 + '"', ["sid"]),
        ('cid="' + "x" * 65 + '"', ["cid"]),
        ('cid="' + "x" * 65 + '",v=2', []),
        ('cid="' + "x" * 129 + '",v=2', ["cid"]),
        ("bs,zz=1", ["zz"]),
        ("br=5000,v=2", ["br"]),
    ],
)
def test_each_rule(text: str, keys: list[str]) -> None:
    assert faults(text) == keys


def test_an_event_needs_version_2() -> None:
    assert faults("bs", "event") == ["e", "ts", "v"]


def test_a_request_has_no_event() -> None:
    assert faults("e=t,ts=1,v=2", "request") == ["e", "ts"]


def test_every_fault_is_a_sentence() -> None:
    (note,) = cmcd.find_faults(cmcd.read_record("e=ps,ts=1,v=2"))
    assert note.sentence == "sta: missing; the event ps needs it"


@pytest.mark.parametrize(
    ("method", "content_type", "count"),
    [
        ("POST", "application/cmcd", 0),
        ("POST", "text/cmcd; charset=utf-8", 0),
        ("PUT", "application/cmcd", 1),
        ("POST", "text/plain", 1),
        ("GET", "", 2),
    ],
)
def test_a_body_is_posted_as_its_own_type(method: str, content_type: str, count: int) -> None:
    assert len(cmcd.check_delivery(method, content_type)) == count


def test_the_table_has_every_key() -> None:
    assert sum(key.kind_in(2) is not None for key in cmcd.TABLE) == 49
    first = " ".join(key.name for key in cmcd.TABLE if key.kind_in(1) is not None)
    assert first == "bl br bs cid d dl mtp nor nrr ot pr rtp sf sid st su tb v"
    assert [key.name for key in cmcd.TABLE] == sorted(cmcd.KEYS)


@pytest.mark.parametrize(
    ("name", "custom"),
    [("com.example-hello", True), ("example-x", True), ("hello", False), ("com.example", False)],
)
def test_a_key_of_ones_own_has_a_prefix(name: str, custom: bool) -> None:
    assert cmcd.is_custom(name) == custom
