"""The questions in docs/parquet.md: DuckDB and Polars are both run, and give the same answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pytest
import stored
from stored import HOUR_MS, NOON_MS

from rating.schemas import CHARGES, SIGNALS, SUSPENSE
from sinks.parquet import LAYOUTS, write_parquet
from sinks.store import Kind, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = (Path(__file__).parents[2] / "docs" / "parquet.md").read_text("utf-8")
SECTION = re.compile(r"^### ([^\n]+)\n(.*?)(?=^##)", re.DOTALL | re.MULTILINE)
BLOCK = re.compile(r"^```(sql|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)
OPENING = dict(BLOCK.findall(PAGE.partition("## Questions")[0]))
QUESTIONS = {title: dict(BLOCK.findall(text)) for title, text in SECTION.findall(PAGE)}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset in a folder of its own, with something for every question to find."""
    folder = tmp_path_factory.mktemp("analyst")
    suspended = [
        {"reason": "malformed", "detail": "d"},
        *(
            {"reason": "no_rule", "detail": "d", "type": "usage", "watched_ms": 700_000 * n}
            for n in range(3)
        ),
    ]
    # One segment of two charges, six seconds and then six: no zap.
    cut = [
        stored.charge(session="cut", start=NOON_MS, watched_ms=6_000, segment=NOON_MS),
        stored.charge(session="cut", start=NOON_MS + HOUR_MS, watched_ms=6_000, segment=NOON_MS),
    ]
    with open_store(str(folder / "store.db")) as store:
        store.add_books([stored.BOOK])
        store.commit(
            stored.commit(
                charges=pl.concat([stored.many_charges(600), stored.charges(*cut)]),
                suspense=stored.suspense(*suspended),
                signals=stored.signals({"type": "balance.exhausted", "account": "a", "time": 5}),
            )
        )
        write_parquet(store, folder / "dataset", file_rows=100, window_rows=90)
    return folder


@pytest.fixture
def at_home(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(dataset)
    yield


def rounded(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Hours and shares to nine places: their last bits depend on who divides. Money is exact."""
    return [tuple(round(v, 9) if isinstance(v, float) else v for v in row) for row in rows]


def in_duckdb(question: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    connection = duckdb.connect()
    connection.execute(OPENING["sql"])
    answer = connection.sql(question)
    return answer.columns, rounded(answer.fetchall())


def in_polars(question: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    names: dict[str, Any] = {}
    exec(OPENING["python"] + question, names)
    answer: pl.DataFrame = names["answer"].collect()
    return answer.columns, rounded(answer.rows())


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("title", QUESTIONS)
def test_both_ways_give_the_same_answer(title: str) -> None:
    question = QUESTIONS[title]
    columns, rows = in_duckdb(question["sql"])
    assert (columns, rows) == in_polars(question["python"])
    assert rows


def test_every_question_is_asked() -> None:
    assert len(QUESTIONS) == 6
    assert all(set(blocks) == {"sql", "python"} for blocks in QUESTIONS.values())


@pytest.mark.usefixtures("at_home")
def test_a_segment_of_two_charges_is_one() -> None:
    held = pl.scan_parquet("dataset/charges").filter(pl.col("type") == "usage").collect()
    zaps = held.filter(pl.col("watched_ms") < 10_000, pl.col("session") != "cut").height
    (title,) = (title for title in QUESTIONS if title == "Zapping")
    assert sum(row[2] for row in in_duckdb(QUESTIONS[title]["sql"])[1]) == zaps


@pytest.mark.usefixtures("at_home")
@pytest.mark.parametrize("kind", LAYOUTS)
def test_every_column_is_described(kind: Kind) -> None:
    described = PAGE.partition("## Columns")[2]
    files = pl.scan_parquet(f"dataset/{kind}", hive_partitioning=True).collect_schema().names()
    assert set(files) == {*LAYOUTS[kind].columns, *(["local_date"] if kind == "charges" else [])}
    assert [name for name in files if f"`{name}`" not in described] == []
    kept_in_store = {"charges": set(), "suspense": {"raw"}, "signals": set()}[kind]
    schema = {"charges": CHARGES, "suspense": SUSPENSE, "signals": SIGNALS}[kind]
    assert set(schema) - set(files) == kept_in_store
