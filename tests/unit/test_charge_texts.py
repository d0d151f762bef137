"""The texts that compiled code writes for a charge: its name's UUID, and its steps."""

from __future__ import annotations

import json
import uuid

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rating.charge_ids import CHARGE_NAMESPACE, charge_id, charge_ids
from rating.lines import money_of, note_step
from rating.scratch import Scratch
from rating.state import ALLOW, CAP, LINES, MEASURE, MONEYS, PRICE, State
from rating.steps import lines_steps, parse_steps, put_number
from rating.tables import NONE, give, take
from tariffs.calendar import CONTENT, DAY, MONTH, SEGMENT, WEEK

NAMESPACE = uuid.UUID(bytes=CHARGE_NAMESPACE)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
TEXTS = ["", 'rule "a"\\b', "größe 世", "derby", "free"]


@settings(deadline=None)  # the first call compiles
@given(st.lists(NAMES))
def test_a_charge_is_named_by_the_uuid_of_its_name(names: list[str]) -> None:
    expected = [str(uuid.uuid5(NAMESPACE, name)) for name in names]
    assert charge_ids(pl.Series(names, dtype=pl.String)).to_list() == expected
    assert [charge_id(name) for name in names] == expected


@pytest.mark.parametrize("size", range(35, 50))
def test_names_on_both_sides_of_a_block_s_end(size: int) -> None:
    names = pl.Series(["x" * size, "y" * (size + 64), "z" * (size + 128)])
    assert charge_ids(names[1:]).to_list() == [charge_id(name) for name in names[1:]]
    assert charge_ids(names).to_list() == [charge_id(name) for name in names]


@settings(deadline=None)
@given(st.integers(-(2**62), 2**62))
def test_numbers_are_written_in_decimal(number: int) -> None:
    written = np.zeros(24, np.uint8)
    assert bytes(written[: put_number(written, 0, number)]) == str(number).encode()


def priced_line(state: State) -> tuple[int, int]:
    """A line with money, and that money's slot."""
    state.make_room({"lines": 1, "moneys": 1, "steps": 20}, 0, 0)
    line = take(state.places, LINES)
    state.lines.rows[line]["money"] = NONE
    return line, money_of(state.places, line, 0, 1, 0)


def fresh_state() -> State:
    state = State()
    Scratch(state.block, 1, 1)
    return state


def test_steps_are_written_in_the_order_of_the_specification() -> None:
    state = fresh_state()
    money = [priced_line(state)[1], NONE, priced_line(state)[1]]
    s = state.places
    note_step(s, money[0], PRICE, 1, MONTH, 2026 * 12 + 2, 0, 60_000)
    note_step(s, money[0], MEASURE, 1, SEGMENT, 0, 0, 60_000)
    note_step(s, money[0], PRICE, 2, WEEK, 20_518, -5, 7)
    note_step(s, money[0], ALLOW, 4, DAY, 20_518, 1, 1)
    note_step(s, money[2], CAP, 2, CONTENT, 3, 9, 8)
    written = lines_steps(state, np.array(money), TEXTS.__getitem__).to_list()
    assert parse_steps(written[0]) == [
        ("measure", 'rule "a"\\b', "segment", "", 0, 60_000, 60_000),
        ("allow", "free", "day", "2026-03-06", 1, 1, 0),
        ("price", 'rule "a"\\b', "month", "2026-03", 0, 60_000, 60_000),
        ("price", "größe 世", "week", "2026-W10", -5, 7, 12),
    ]
    assert written[1] == ""
    assert written[2] == '[["cap","größe 世","content","derby",9,8,-1]]'
    compact = {"separators": (",", ":"), "ensure_ascii": False}
    assert written[0] == json.dumps(json.loads(written[0]), **compact)


def test_a_line_s_later_pieces_move_the_steps_of_its_first() -> None:
    """In the same order, in another, and with steps left out; also when lines take turns."""
    state = fresh_state()
    first, second = priced_line(state)[1], priced_line(state)[1]
    s = state.places
    for money, order in ((first, (0, 1, 2)), (second, (0, 2)), (first, (2, 0)), (second, (1, 0))):
        for step in order:
            note_step(s, money, step, 1, SEGMENT, 0, 10 * step, 10 * step + 1)
    written = lines_steps(state, np.array([first, second]), TEXTS.__getitem__).to_list()
    moved = [{step[0]: step[-1] for step in parse_steps(text)} for text in written]
    assert moved[0] == {"measure": 2, "allow": 1, "price": 2}
    assert moved[1] == {"measure": 2, "allow": 1, "price": 1}


def test_a_money_s_slot_taken_again_has_no_steps() -> None:
    state = fresh_state()
    line, money = priced_line(state)
    note_step(state.places, money, PRICE, 1, SEGMENT, 0, 0, 5)
    state.lines.rows[line]["money"] = NONE
    give(state.places, MONEYS, money)
    assert money_of(state.places, line, 0, 1, 0) == money
    note_step(state.places, money, PRICE, 1, SEGMENT, 0, 5, 6)
    (text,) = lines_steps(state, np.array([money]), TEXTS.__getitem__).to_list()
    assert text == f'[["price",{json.dumps(TEXTS[1])},"segment","",5,6,1]]'
