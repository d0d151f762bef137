"""What is counted, what is asked for by dashboard and alerts, and what the manual says there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
import stored
import yaml
from patience import PATIENCE_S
from services.prometheus import failed_rule_tests

from ingest.gateway.metrics import Metrics as GatewayMetrics
from rating.runtime.metrics import OTHER, REASONS_MAX, Metrics
from rating.runtime.probes import Health, answer, probed
from sinks.topics.publisher import Published

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\b((?:ratecast|process)_[a-z_]+)\b")
OF_PROMETHEUS = {"up"}


def families(metrics: Metrics | GatewayMetrics) -> dict[str, Any]:
    return {family.name: family for family in metrics.registry.collect()}


def names_there_are() -> set[str]:
    """Every name of a series, with the suffixes that its kind gives it."""
    suffixes = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_sum", "_count"),
        "info": ("_info",),
        "gauge": ("",),
    }
    return {
        name + suffix
        for metrics in (Metrics(), GatewayMetrics())
        for name, family in families(metrics).items()
        for suffix in suffixes[family.type]
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    found = metrics.registry.get_sample_value(name, labels)
    assert found is not None, f"{name}{labels} is not there"
    return found


def expressions() -> dict[str, str]:
    """What dashboard and alerts ask Prometheus, by where it stands."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "ratecast.json").read_text())
    asked = {
        f"panel {panel['title']!r}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    alerts = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    rules = [rule for group in alerts["groups"] for rule in group["rules"]]
    return asked | {f"alert {rule['alert']}": rule["expr"] for rule in rules}


def alert_rules() -> list[dict[str, Any]]:
    alerts = yaml.safe_load((ROOT / "deploy" / "prometheus" / "alerts.yaml").read_text())
    return [rule for group in alerts["groups"] for rule in group["rules"]]


# --- counting -------------------------------------------------------------------------------------


def test_a_commit_is_counted_from_what_was_before() -> None:
    metrics = Metrics()
    result = stored.result(
        charges=stored.charges(
            stored.charge(unfunded=1_000_000),
            stored.charge(session="s2"),
            stored.charge(session="", type="refund", gross=-2_500_000, unfunded=-7),
        ),
        suspense=stored.suspense({"reason": "malformed", "detail": "x"}),
        signals=stored.signals({"type": "balance.exhausted", "account": "a", "time": 1}),
        counts={"records": 30, "applied": 25, "suspended": 5, "watched_ms": 90_500},
        sessions_open=3,
    )
    before = {"records": 10, "applied": 8, "suspended": 2, "watched_ms": 500}
    metrics.committed(2, result, before, {"decode": 0.01, "rate": 0.02, "commit": 0.004})
    assert value(metrics, "ratecast_records_total", outcome="applied") == 17
    assert value(metrics, "ratecast_records_total", outcome="suspended") == 3
    assert value(metrics, "ratecast_batch_records_sum") == 20
    assert value(metrics, "ratecast_watched_seconds_total") == 90
    assert value(metrics, "ratecast_open_sessions", partition="2") == 3
    assert value(metrics, "ratecast_step_seconds_count", step="commit") == 1
    usage, refund = {"type": "usage", "currency": "SEK"}, {"type": "refund", "currency": "SEK"}
    assert value(metrics, "ratecast_charges_total", **usage) == 2
    assert value(metrics, "ratecast_charged_micros_total", **usage) == 10_000_000
    assert value(metrics, "ratecast_credited_micros_total", **refund) == 2_500_000
    assert value(metrics, "ratecast_unfunded_micros_total", currency="SEK") == 1_000_000
    assert value(metrics, "ratecast_suspense_total", reason="malformed") == 1
    assert value(metrics, "ratecast_signals_total", type="balance.exhausted") == 1


def test_reasons_from_outside_do_not_grow_without_end() -> None:
    metrics = Metrics()
    reasons = [{"reason": f"made_up_{number}", "detail": "x"} for number in range(REASONS_MAX + 40)]
    metrics.committed(0, stored.result(suspense=stored.suspense(*reasons)), {}, {})
    series = [
        sample
        for sample in families(metrics)["ratecast_suspense"].samples
        if sample.name.endswith("_total")
    ]
    assert len(series) == REASONS_MAX + 1
    assert value(metrics, "ratecast_suspense_total", reason=OTHER) == 40


def test_a_partition_that_left_is_said_no_more() -> None:
    metrics = Metrics()
    metrics.lagging(4, 17, 2.5)
    metrics.rebalanced(1)
    assert value(metrics, "ratecast_lag_messages", partition="4") == 17
    assert value(metrics, "ratecast_lag_seconds", partition="4") == 2.5
    metrics.left(4)
    metrics.left(4)
    assert metrics.registry.get_sample_value("ratecast_lag_messages", {"partition": "4"}) is None
    assert value(metrics, "ratecast_rebalances_total") == 1


def test_a_worker_without_partitions_and_one_that_waits_for_its_store_say_so() -> None:
    metrics = Metrics()
    metrics.rebalanced(4)
    metrics.revoked()
    assert value(metrics, "ratecast_partitions_assigned") == 0
    metrics.waiting_for_store(12.5, "StoreBusy")
    metrics.waiting_for_store(13.5, "StoreFull")
    assert value(metrics, "ratecast_store_waiting_seconds", error="StoreFull") == 13.5
    gone = metrics.registry.get_sample_value(
        "ratecast_store_waiting_seconds", {"error": "StoreBusy"}
    )
    assert gone is None


def test_failures_and_topics_are_counted() -> None:
    metrics = Metrics()
    metrics.law_broken()
    metrics.commit_failed(ValueError("x"))
    metrics.published(Published("charges", 10, 40, 50))
    assert value(metrics, "ratecast_law_violations_total") == 1
    assert value(metrics, "ratecast_commit_failures_total", error="ValueError") == 1
    assert value(metrics, "ratecast_published_total", topic="charges") == 10
    assert value(metrics, "ratecast_publish_lag_rows", topic="charges") == 10


# --- names ----------------------------------------------------------------------------------------


def test_names_follow_the_conventions_of_prometheus() -> None:
    for name, family in families(Metrics()).items():
        if name.startswith("ratecast"):
            assert family.documentation.endswith("."), name
            assert not re.search(r"_(ms|milliseconds|minutes|kb)\b", name), name


@pytest.mark.parametrize("place", sorted(expressions()))
def test_dashboard_and_alerts_ask_for_what_there_is(place: str) -> None:
    asked = expressions()[place]
    names = set(NAME.findall(asked)) | (OF_PROMETHEUS & set(re.findall(r"\bup\b", asked)))
    assert names, asked
    assert names - OF_PROMETHEUS <= names_there_are()


def test_the_manual_names_every_metric() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    rows = [line.split("|")[1] for line in manual.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in NAME.findall(row)}
    there_are = {
        re.sub(r"_(bucket|sum|count)$", "", name)
        for name in names_there_are()
        if name.startswith("ratecast")
    }
    assert {name for name in named if name.startswith("ratecast")} == there_are


def test_every_alert_says_what_to_do_and_every_instruction_has_its_alert() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text()
    headed = re.findall(r"^### (\w+)\n\n(.+)", manual, re.MULTILINE)
    rules = alert_rules()
    assert [title for title, _ in headed] == [rule["alert"] for rule in rules]
    for rule in rules:
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_every_alert_is_tried_both_ways() -> None:
    """promtool runs them, and none is left out or made up."""
    path = ROOT / "deploy" / "prometheus" / "alerts_test.yaml"
    assert failed_rule_tests(path) == ""
    tried = yaml.safe_load(path.read_text())["tests"]
    checks = [check for each in tried for check in each["alert_rule_test"]]
    alerts = {rule["alert"] for rule in alert_rules()}
    assert {check["alertname"] for check in checks if "exp_alerts" in check} == alerts
    assert {check["alertname"] for check in tried[0]["alert_rule_test"]} == alerts
    assert not any("exp_alerts" in check for check in tried[0]["alert_rule_test"])
    series = {NAME.search(row["series"]) for each in tried for row in each["input_series"]}
    assert {found[0] for found in series if found} <= names_there_are()


# --- probes ---------------------------------------------------------------------------------------


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answered:
            return answered.status, answered.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def test_a_process_answers_how_it_is() -> None:
    metrics, health = Metrics(), Health()
    metrics.law_broken()
    with probed(("127.0.0.1", 0), metrics.registry, health) as port:
        assert ask(port, "/healthz") == (200, "ok\n")
        assert ask(port, "/readyz") == (503, "starting\n")
        health.not_ready("no partition is assigned yet")
        assert ask(port, "/readyz") == (503, "no partition is assigned yet\n")
        health.ready()
        assert ask(port, "/readyz") == (200, "ok\n")
        status, body = ask(port, "/metrics")
        assert status == 200
        assert "ratecast_law_violations_total 1.0" in body
        assert ask(port, "/else")[0] == 404
        health.silence_s_max = -1
        assert ask(port, "/healthz")[0] == ask(port, "/readyz")[0] == 503
        health.silence_s_max = 60
        health.alive()
        assert ask(port, "/healthz") == (200, "ok\n")


def test_readiness_waits_for_every_part() -> None:
    health = Health()
    health.not_ready("the store refuses: it is full", "store")
    health.ready()
    assert health.waiting_for() == "the store refuses: it is full"
    health.ready("store")
    assert health.waiting_for() == ""


SILENT = """
import threading
from rating.runtime.probes import Health, ended_when_silent

health = Health(silence_s_max=0.2)
health.alive()
with ended_when_silent(health, look_every_s=0.02):
    threading.Event().wait()
"""


def test_a_process_whose_work_stands_still_ends_with_a_sentence() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SILENT], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1
    assert re.match(r"Error: the work gave no sign of life for 0 s; start it again", done.stderr)


def test_a_process_may_wait_until_its_last_figures_are_read() -> None:
    metrics, health = Metrics(), Health()
    with probed(("127.0.0.1", 0), metrics.registry, health) as port:
        ask(port, "/metrics")
        waiting = Thread(target=health.await_reader)
        waiting.start()
        ask(port, "/healthz")
        assert waiting.is_alive()
        while waiting.is_alive():
            ask(port, "/metrics")
    health.await_reader(at_most_s=0.01)


def test_another_server_may_answer_in_its_place() -> None:
    metrics, health = Metrics(), Health()
    answered = answer("/metrics?x=1", "", metrics.registry, health)
    assert answered is not None
    assert answered.content_type.startswith("text/plain")
    assert answer("/", "", metrics.registry, health) is None
