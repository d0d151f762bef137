"""The one runner of schema scripts, which both stores use."""

from __future__ import annotations

import pytest

from sinks import migrations
from sinks.store import StoreNewer, StoreOutdated

SCRIPTS = ["one", "two", "three"]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrations, "scripts", lambda _engine: SCRIPTS)


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_a_schema_gets_what_it_lacks_in_order(version: int) -> None:
    said: list[object] = []
    migrations.migrate("sqlite", version, said.append, said.append)
    assert said == [*SCRIPTS[version:], 3]


def test_a_script_that_fails_is_the_last_and_no_version_is_recorded() -> None:
    said: list[object] = []

    def run(script: str) -> None:
        said.append(script)
        if script == "two":
            raise ValueError(script)

    with pytest.raises(ValueError, match="two"):
        migrations.migrate("postgres", 0, run, said.append)
    assert said == ["one", "two"]


def test_a_newer_and_an_older_schema_are_told_apart() -> None:
    migrations.check_known("sqlite", "s.db", 3)
    migrations.check_current("sqlite", "s.db", 3, "unused")
    with pytest.raises(StoreNewer, match=r"s\.db: the store has schema version 4.*knows up to 3"):
        migrations.check_known("sqlite", "s.db", 4)
    with pytest.raises(StoreOutdated, match=r"schema version 2.*reads version 3; do this"):
        migrations.check_current("sqlite", "s.db", 2, "do this")


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_both_engines_have_the_same_versions(
    engine: migrations.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert len(migrations.scripts(engine)) == len(migrations.scripts("sqlite"))
