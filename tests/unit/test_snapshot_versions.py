"""State of other versions: what is read by name, what is declared, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest
from core_adapter import batch_of
from hypothesis import given
from hypothesis import strategies as st
from releases import RELEASES

from rating import upgrades
from rating.chunks import TOTALS_NAME, Part, pack, unpack
from rating.rater import Rater
from rating.schemas import StateChunk
from rating.seals import opened
from rating.snapshot import Saver, load_state
from rating.state import DECLARED, STATE_RELEASE, STATE_VERSION, TABLES, TOTALS, State
from rating.tables import touch
from rating.upgrades import StateUnreadable
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rating.state import Columns, Declaration

OLDER = STATE_VERSION - 1


@pytest.fixture(scope="module")
def saved() -> tuple[State, tuple[StateChunk, ...]]:
    """A state with rows in every table, and the chunk that holds all of it."""
    release = RELEASES[-1]
    rater = Rater(release.books())
    lines = release.log().splitlines()
    result = rater.rate(batch_of(lines[: len(lines) * 6 // 10]))
    return rater.state, tuple(map(opened, result.state_added))


def rows_of(state: State) -> dict[str, list[Any]]:
    """What a state's live rows hold, as it is stored: texts apart from where they lie."""
    found = {}
    for name, declared in DECLARED.items():
        rows = state.table(name).rows[state.table(name).live_slots()]
        found[name] = [rows[field].tolist() for field in declared.stored]
    return found


def as_older(
    chunks: tuple[StateChunk, ...], name: str, change: Callable[[Columns], None]
) -> list[StateChunk]:
    """The same chunks as the version before would have stored them."""
    older = []
    for chunk in chunks:
        parts = list(unpack(chunk.payload).parts)
        for part in parts:
            if part.name == name:
                change(part.columns)
        older.append(replace_payload(chunk, pack(parts, OLDER, "0.0.9")))
    return older


def replace_payload(chunk: StateChunk, payload: bytes) -> StateChunk:
    return StateChunk(chunk.name, chunk.seq, payload)


def declare(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> Declaration:
    """Declare a table in another way, for one test."""
    declared = replace(DECLARED[name], **changes)
    monkeypatch.setitem(DECLARED, name, declared)
    return declared


# --- what is kept -------------------------------------------------------------------------------


def test_what_was_saved_is_loaded(saved: tuple[State, tuple[StateChunk, ...]]) -> None:
    state, chunks = saved
    assert all(len(columns[0]) for columns in rows_of(state).values()), "every table has rows"
    loaded = load_state(chunks)
    assert rows_of(loaded) == rows_of(state)
    assert loaded.totals() == state.totals()


def test_a_saved_state_says_its_version_and_who_reads_it() -> None:
    (chunk,), _ = Saver().save(State())
    assert unpack(chunk.payload).version == STATE_VERSION
    assert STATE_RELEASE.encode() in chunk.payload


def test_the_release_that_knew_no_versions_refuses_in_a_sentence() -> None:
    """It looks at the first stream's table and layout, and says "the stored state's table ..."."""
    payload = pack([])
    size = int.from_bytes(payload[:8], "little")
    with pa.ipc.open_stream(payload[8 : 8 + size]) as stream:
        said = {key.decode(): value.decode() for key, value in stream.schema.metadata.items()}
    assert said["dtype"] == ""
    assert said["table"] == (
        f"of state version {STATE_VERSION}, which needs ratecast {STATE_RELEASE} or newer,"
    )


# --- an imaginary older version -----------------------------------------------------------------


def test_a_column_that_was_not_there_takes_its_declared_value(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_bill_day(columns: Columns) -> None:
        del columns["bill_day"]

    older = as_older(saved[1], "accounts", without_bill_day)
    with pytest.raises(StateUnreadable, match=r"no column accounts\.bill_day.*never released"):
        load_state(older)
    declare(monkeypatch, "accounts", added={"bill_day": 7})
    state = load_state(older)
    accounts = state.accounts.rows[state.accounts.live_slots()]
    assert set(accounts["bill_day"].tolist()) == {7}
    assert accounts["balance_micros"].sum() == saved[0].accounts.rows["balance_micros"].sum()


def test_a_dropped_column_is_forgotten_and_an_unknown_one_refused(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_loyalty(columns: Columns) -> None:
        columns["loyalty"] = np.ones(len(columns["live"]), np.int16)

    older = as_older(saved[1], "accounts", with_loyalty)
    with pytest.raises(StateUnreadable, match=r"column accounts\.loyalty that this ratecast does"):
        load_state(older)
    declare(monkeypatch, "accounts", dropped=("loyalty",))
    assert rows_of(load_state(older)) == rows_of(saved[0])


def test_a_widened_column_is_widened_and_a_narrower_one_checked(
    saved: tuple[State, tuple[StateChunk, ...]],
) -> None:
    def narrow(columns: Columns) -> None:
        columns["value"] = columns["value"].astype(np.int32)

    def wide(columns: Columns) -> None:
        columns["period"] = columns["period"].astype(np.int64)

    def too_wide(columns: Columns) -> None:
        wide(columns)
        columns["period"][0] = 2**31

    for change in (narrow, wide):
        older = as_older(saved[1], "counters", change)
        assert rows_of(load_state(older)) == rows_of(saved[0])
    with pytest.raises(StateUnreadable, match=r"counters\.period = 2147483648.*-2147483648 to"):
        load_state(as_older(saved[1], "counters", too_wide))


def test_a_renamed_column_is_found_under_its_old_name(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def old_name(columns: Columns) -> None:
        columns["credit_micros"] = columns.pop("balance_micros")

    older = as_older(saved[1], "accounts", old_name)
    declare(monkeypatch, "accounts", renamed={"balance_micros": "credit_micros"})
    assert rows_of(load_state(older)) == rows_of(saved[0])
    assert rows_of(load_state(saved[1])) == rows_of(saved[0]), "and under its new one"


def test_a_declared_step_makes_columns_of_those_before(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_seconds(columns: Columns) -> None:
        columns["watched_s"] = columns.pop("watched_ms") // 1000

    def to_milliseconds(columns: Columns) -> Columns:
        return columns | {"watched_ms": columns.pop("watched_s") * 1000}

    older = as_older(saved[1], "lines", in_seconds)
    declare(monkeypatch, "lines", steps={STATE_VERSION: to_milliseconds})
    assert rows_of(load_state(older)) == rows_of(saved[0])
    assert rows_of(load_state(saved[1])) == rows_of(saved[0]), "of this version no step is needed"


def test_a_table_that_is_new_is_empty_and_one_that_went_is_forgotten(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (chunk,) = [each for each in saved[1] if each.name == "delta"]
    parts = [part for part in unpack(chunk.payload).parts if part.name != "topups"]
    gone = Part("loyalty", {"live": np.ones(1, np.uint8)}, np.zeros(1, np.int32))
    older = [replace_payload(chunk, pack([*parts, gone], OLDER, "0.0.9"))]
    with pytest.raises(StateUnreadable, match="has a table loyalty that this ratecast does not"):
        load_state(older)
    monkeypatch.setattr(upgrades, "DROPPED", ("loyalty",))
    state = load_state(older)
    assert state.topups.live == 0
    assert state.accounts.live == saved[0].accounts.live


def test_totals_are_read_by_name(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def other_totals(columns: Columns) -> None:
        columns["zaps"] = columns.pop("orphan_stops")

    older = as_older(saved[1], TOTALS_NAME, other_totals)
    with pytest.raises(StateUnreadable, match="has a total zaps"):
        load_state(older)
    monkeypatch.setattr(upgrades, "DROPPED", ("zaps",))
    assert load_state(older).totals() == saved[0].totals() | {"orphan_stops": 0}


def test_chunks_of_both_versions_lie_beside_each_other(
    saved: tuple[State, tuple[StateChunk, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old delta, and a newer one that has some of its rows and another column."""

    def without_bill_day(columns: Columns) -> None:
        del columns["bill_day"]

    older = as_older(saved[1], "accounts", without_bill_day)
    declare(monkeypatch, "accounts", added={"bill_day": 7})
    state = load_state(older)
    saver = Saver([(chunk.name, chunk.seq) for chunk in older])
    state.accounts.rows["bill_day"][3] = 21
    touch(state.places, tuple(TABLES).index("accounts"), 3)
    added, _ = saver.save(state)
    loaded = load_state([*older, *added])
    days = loaded.accounts.rows["bill_day"][loaded.accounts.live_slots()].tolist()
    assert days == [21 if slot == 3 else 7 for slot in range(len(days))]


def test_a_newer_version_is_refused_with_what_to_do(
    saved: tuple[State, tuple[StateChunk, ...]],
) -> None:
    chunk = saved[1][0]
    newer = replace_payload(chunk, pack(unpack(chunk.payload).parts, STATE_VERSION + 1, "7.0.0"))
    with pytest.raises(
        StateUnreadable,
        match=rf"has version {STATE_VERSION + 1}, which ratecast 7\.0\.0 and newer.*Start ratecast 7",
    ):
        load_state([chunk, newer])


# --- damage -------------------------------------------------------------------------------------


@given(st.data())
def test_damaged_bytes_are_refused_in_a_sentence(data: st.DataObject) -> None:
    """Or they are read as other numbers, which nobody can tell; but nothing else is raised."""
    chance = Random(data.draw(st.integers(0, 2**32)))
    columns = {"live": np.ones(3, np.uint8), "len": np.array([1, 2, 3], np.uint32)}
    text = (np.array([0, 1, 3, 6]), np.frombuffer(b"abbccc", np.uint8))
    totals = Part(TOTALS_NAME, {"records": np.ones(1, np.int64)}, np.empty(0, np.int32))
    names = Part("names", columns, np.arange(3, dtype=np.int32), text)
    payload = bytearray(pack([totals, names]))
    if chance.random() < 0.3:
        del payload[chance.randrange(len(payload)) :]
    for _ in range(chance.randrange(4)):
        if payload:
            payload[chance.randrange(len(payload))] = chance.randrange(256)
    try:
        unpack(bytes(payload))
    except StateUnreadable as refused:
        assert "damaged" in str(refused) or "version" in str(refused)


def test_texts_of_other_lengths_are_damage(saved: tuple[State, tuple[StateChunk, ...]]) -> None:
    def longer(columns: Columns) -> None:
        columns["len"] = columns["len"] + np.uint16(1)

    with pytest.raises(StateUnreadable, match=r"damaged.*texts of table accounts"):
        load_state(as_older(saved[1], "accounts", longer))


# --- the version is raised with the shape --------------------------------------------------------


def test_the_version_is_raised_when_what_is_stored_changes(tmp_path: Path) -> None:
    """Otherwise the last release would go on from a state that it misunderstands."""
    with open_store(str(RELEASES[-1].put_sqlite(tmp_path))) as store:
        stored = store.load(0)
    assert stored is not None
    chunks = [unpack(chunk.payload) for chunk in stored.state]
    version = max(chunk.version for chunk in chunks)
    then = {
        part.name: {field: column.dtype for field, column in part.columns.items()}
        for chunk in chunks
        for part in chunk.parts
    }
    now: dict[str, dict[str, Any]] = {
        name: {field: declared.row[field] for field in declared.stored}
        for name, declared in DECLARED.items()
    }
    now[TOTALS_NAME] = dict.fromkeys(TOTALS, np.dtype(np.int64))
    assert then == now or version < STATE_VERSION, (
        "the stored columns are not those of the last release: raise STATE_VERSION in rating/state.py"
    )
