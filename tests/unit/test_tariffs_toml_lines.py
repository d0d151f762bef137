"""tariffs/toml_lines.py: the line of every path in a TOML text."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tariffs.toml_lines import Path, lines_of

TEXT = '''\
a."b.c".d = { x = 1, y = [1,   # a comment with [brackets]
2, { z = """two
lines \\"""", w = 1979-05-27 07:32:00 } ] }
'quoted key' = 'a "literal" # no comment'

[[plans]]
id = "one"
[plans.extra.deep]
x.y = 1
[[plans.rules]]
[[plans.rules]]
id = """"a""""

  [[plans]]
rules = [
  { id = "x" },

  { id = \'\'\'it's''\'\'\' },
]
'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a", "b.c", "d", "x"), 1),
        (("a", "b.c", "d", "y", 0), 1),
        (("a", "b.c", "d", "y", 1), 2),
        (("a", "b.c", "d", "y", 2), 2),
        (("a", "b.c", "d", "y", 2, "z"), 2),
        (("a", "b.c", "d", "y", 2, "w"), 3),
        (("quoted key",), 4),
        (("plans",), 6),
        (("plans", 0), 6),
        (("plans", 0, "id"), 7),
        (("plans", 0, "extra", "deep"), 8),
        (("plans", 0, "extra", "deep", "x", "y"), 9),
        (("plans", 0, "rules", 0), 10),
        (("plans", 0, "rules", 1), 11),
        (("plans", 0, "rules", 1, "id"), 12),
        (("plans", 1), 14),
        (("plans", 1, "rules"), 15),
        (("plans", 1, "rules", 0, "id"), 16),
        (("plans", 1, "rules", 1), 18),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_every_table_key_and_element_has_its_line(path: Path, line: int, line_end: str) -> None:
    assert lines_of(TEXT.replace("\n", line_end))[path] == line


def test_a_table_named_first_as_a_parent_has_the_line_of_its_own_header() -> None:
    assert lines_of("[a.b]\nx = 1\n[a]\ny = 1\n")[("a",)] == 3


def paths_of(value: Any, path: Path = ()) -> set[Path]:
    """All paths of a parsed document."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    below = [
        paths_of(item, (*path, key)) if isinstance(item, dict | list) else {(*path, key)}
        for key, item in items
    ]
    return {path}.union(*below)


KEYS = st.sampled_from(["a", "b-1", '"c.d"', "'e]'", '"f\\""', "a.b", 'c."d e"'])
SCALARS = st.sampled_from(
    [
        *("1", "-0.5", "true", "0xff", "inf"),
        *("1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "1979-05-27", "07:32:00"),
        *('"x"', "'[{#'", '"""\nx ""\\""" y"""', "'''\nit's'''", '""', '"""a"""""'),
    ]
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: f"[ # ]\n {', '.join(items)} ]"),
        st.lists(inner, max_size=3).map(
            lambda items: "[" + "".join(f"{i},\n" for i in items) + "]"
        ),
        st.lists(st.tuples(KEYS, inner), max_size=2).map(
            lambda pairs: "{ " + ", ".join(f"{key} = {value}" for key, value in pairs) + " }"
        ),
    ),
    max_leaves=6,
)
LINES = st.one_of(
    st.tuples(KEYS, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"),
    KEYS.map(lambda key: f"[{key}]"),
    KEYS.map(lambda key: f"[[ {key} ]] # [x]"),
    st.just("# x = 1"),
)


@given(st.lists(LINES, max_size=8).map("\n".join))
def test_whatever_the_parser_finds_has_a_line(text: str) -> None:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    lines = lines_of(text)
    assert paths_of(document) <= lines.keys()
    assert set(lines.values()) <= set(range(1, text.count("\n") + 2))
