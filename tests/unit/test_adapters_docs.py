"""The pages of docs/senders: each sample is read as its page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from ingest.adapters import bulk_data, cloudevents, mapped_json, native
from ingest.cdn.dataset import delivered_hours
from ingest.cdn.mapping import shipped_names
from ingest.json_exact import TEXTS_OF_TYPES, read_line
from rating.runtime.cli import main

if TYPE_CHECKING:
    import polars as pl
    import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs/senders"
BLOCK = re.compile(r"^```([a-z]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def samples(name: str) -> list[tuple[str, str]]:
    return BLOCK.findall(page(name))


def present(usage: pl.DataFrame) -> list[dict[str, object]]:
    rows = usage.to_dicts()
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


def test_native_records() -> None:
    ((_, body),) = samples("native")
    lines = native.to_log_lines(body.encode(), 1_767_268_800_050)
    assert [(line.account, line.type) for line in lines] == [
        ("anna", "view"),
        ("anna", "order.purchase"),
    ]
    assert all(not read_line(line.line).malformed for line in lines)
    assert all(f"`{type_}`" in page("native") for type_ in TEXTS_OF_TYPES)


def test_cloudevents() -> None:
    (_, body), (_, commands) = samples("cloudevents")
    assert all("--format cloudevents" in line for line in commands.splitlines())
    headers = [("content-type", "application/cloudevents+json")]
    assert present(cloudevents.read_http(headers, body.encode()).usage) == [
        {
            "type": "order.purchase",
            "time": 1_767_268_800_000,
            "account": "anna",
            "id": "/middleware/eu-1 5521",
            "quality": "hd",
            "offer": "cup-final",
        }
    ]


def test_own_json() -> None:
    (_, body), (_, mapping), (_, whole) = samples("own-json")
    (row,) = present(mapped_json.read(body.encode(), mapped_json.load_json_mapping(mapping)).usage)
    assert (row["account"], row["time"], row["state"]) == ("4711", 1_767_268_800_250, "playing")
    assert (row["kind"], row["session"]) == ("channel", "t-9")
    viewing = {"user": "anna", "box": "b", "id": "r1", "title": "news"}
    viewing |= {"from": "2026-01-05 13:00:00", "to": "2026-01-05 13:02:30"}
    found = mapped_json.read(json.dumps(viewing).encode(), mapped_json.load_json_mapping(whole))
    assert [(row["time"], row["state"]) for row in present(found.usage)] == [
        (1_767_614_400_000, "playing"),
        (1_767_614_460_000, "playing"),
        (1_767_614_520_000, "playing"),
        (1_767_614_550_000, "stopped"),
    ]


def test_bulk_data() -> None:
    (body,) = [body for word, body in samples("bulk-data") if word == "json"]
    mapping = (ROOT / "examples/mappings/tr135-events.toml").read_text(encoding="utf-8")
    found = bulk_data.read(
        "oui=00256D&pc=Z&sn=Y",
        [],
        body.encode(),
        mapped_json.load_json_mapping(mapping),
        bulk_data.Owner("anna"),
    )
    (row,) = present(found.reading.usage)
    assert (row["content"], row["device"], row["session"]) == ("ch-1", "00256D-Z-Y", "uuid-1")
    assert found.counters["duration_s"].to_list() == [5400]
    (names,) = [body for word, body in samples("bulk-data") if word == "toml"]
    stream = "Device.Services.STBService.1.ServiceMonitoring.MainStream.1"
    named = body.replace(f"{stream}.EventLog.Entry", "Ev").encode()
    with_names = mapped_json.load_json_mapping(f"{mapping}\n{names}")
    again = bulk_data.read("oui=00256D&pc=Z&sn=Y", [], named, with_names, bulk_data.Owner("anna"))
    assert present(again.reading.usage) == present(found.reading.usage)


def test_cdn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (_, commands), (_, mapping), (_, line) = samples("cdn")
    Path("my-cdn.toml").write_text(mapping, encoding="utf-8")
    Path("edge.log").write_text(line, encoding="utf-8")
    words = commands.splitlines()[0].replace("bunny", "my-cdn.toml").split()[1:]
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["delivered"] == 1
    hours = delivered_hours(Path("delivery")).select("session", "content", "media_ms")
    assert hours.rows() == [("s1", "ch-1", 4_000)]
    assert all(f"`{name}`" in page("cdn") for name in shipped_names())
