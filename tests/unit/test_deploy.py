"""What is in compose.yaml, deploy/ and the manual about running it fits the program."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml
from command_line import parse, ratecast_words

from rating.runtime.cli import main
from rating.runtime.kafka_access import KafkaAccess, KafkaAccessError
from tariffs.load import load_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
PROBES = {"/healthz", "/readyz"}


def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return document


def manifests() -> list[dict[str, Any]]:
    paths = sorted(KUBERNETES.glob("*.yaml"))
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [each for each in manifests() if each["kind"] in kinds]


def pods() -> list[Any]:
    kinds = ("Job", "Deployment", "StatefulSet")
    return [
        pytest.param(each["spec"]["template"]["spec"], id=each["metadata"]["name"])
        for each in of_kind(*kinds)
    ]


def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: dict[str, str]) -> None:
    """Set what a container's environment says; a file that it names is there in its pod alone."""
    known = {
        name
        for command in all_commands(main)
        for parameter in command.params
        for name in ([parameter.envvar] if isinstance(parameter.envvar, str) else [])
    }
    (tmp_path / "url").write_text("postgresql://nobody@127.0.0.1/nothing\n")
    for name, value in given.items():
        assert name in known, f"no option reads {name}"
        monkeypatch.setenv(name, f"@{tmp_path / 'url'}" if value.startswith("@") else value)


def all_commands(command: click.Command) -> Iterator[click.Command]:
    yield command
    if isinstance(command, click.Group):
        for each in command.commands.values():
            yield from all_commands(each)


# --- compose.yaml ---------------------------------------------------------------------------------

OURS = [name for name, service in compose()["services"].items() if service["image"] == "ratecast"]


@pytest.mark.parametrize("name", OURS)
def test_compose_runs_commands_that_there_are(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    service = compose()["services"][name]
    environment(monkeypatch, tmp_path, service["environment"])
    if "entrypoint" in service:
        assert service["entrypoint"] == ["sh", "-c"]
        (line,) = service["command"]
        lines = list(ratecast_words(line))
    else:
        lines = [shlex.split(service["command"])]
    assert lines
    for words in lines:
        parse(words)


def test_compose_is_whole() -> None:
    document = compose()
    services = document["services"]
    assert services["worker"]["deploy"]["replicas"] == 2
    assert [name for name, service in services.items() if "build" in service] == ["topics"]
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert image == "" or (tag and tag != "latest"), f"{name}: {service['image']} has no tag"
        for other, condition in service.get("depends_on", {}).items():
            assert other in services
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[other]
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), f"{name}: {source} is not there"
            else:
                assert source in document["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name}: {port} is open to the network"
            host = re.fullmatch(r"127\.0\.0\.1:\$\{RATECAST_[A-Z]+_PORT:-\}:\d+", port)
            assert host, f"{name}: {port} may be taken on this machine already"


def test_the_simulators_book_is_the_workers() -> None:
    """The book depends on how many households there are and how long the simulation is."""
    services = compose()["services"]
    lines = [services[name]["command"][0] for name in ("book", "simulator")]
    sizes = [re.findall(r"--(?:households|hours|seed|start) \S+", line) for line in lines]
    assert sizes[0] == sizes[1]


def test_prometheus_looks_where_the_processes_answer() -> None:
    services = compose()["services"]
    scrape = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    (job,) = scrape["scrape_configs"]
    assert job["job_name"] == "ratecast"
    measured, gateways = job["dns_sd_configs"]
    assert measured["names"] == ["worker", "publisher"]
    for name in measured["names"]:
        address = services[name]["environment"]["RATECAST_METRICS"]
        assert address == f"0.0.0.0:{measured['port']}"
    assert gateways["names"] == ["gateway"]
    assert f"--listen 0.0.0.0:{gateways['port']}" in services["gateway"]["command"]
    mounted = " ".join(services["prometheus"]["volumes"])
    assert all(f":{path}:" in mounted for path in scrape["rule_files"])


def test_grafana_is_given_the_dashboard_and_its_source() -> None:
    mounted = " ".join(compose()["services"]["grafana"]["volumes"])
    provisioning = ROOT / "deploy" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["uid"] in (ROOT / "deploy" / "grafana" / "ratecast.json").read_text()
    (provider,) = yaml.safe_load((provisioning / "dashboards/ratecast.yaml").read_text())[
        "providers"
    ]
    assert f":{provider['options']['path']}/ratecast.json" in mounted


# --- Kubernetes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pod", pods())
def test_a_pod_runs_a_command_that_there_is(
    pod: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (container,) = pod["containers"]
    (config,) = [each for each in of_kind("ConfigMap") if each["metadata"]["name"] == "ratecast"]
    own = {each["name"]: "some-pod-0" for each in container.get("env", [])}
    environment(monkeypatch, tmp_path, config["data"] | own)
    parse(container["args"])
    assert container["envFrom"] == [{"configMapRef": {"name": "ratecast"}}]
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        if kind in container:
            assert container[kind]["httpGet"]["path"] in PROBES
            assert container[kind]["httpGet"]["port"] == container["ports"][0]["name"]
    ports = {each["name"]: each["containerPort"] for each in container.get("ports", [])}
    listening = {
        "metrics": config["data"]["RATECAST_METRICS"].rpartition(":")[2],
        "http": " ".join(container["args"]).partition("--listen 0.0.0.0:")[2].partition(" ")[0],
    }
    assert all(listening[name] == str(port) for name, port in ports.items())


@pytest.mark.parametrize("pod", pods())
def test_a_pod_may_do_no_more_than_it_needs(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "memory" in container["resources"]["limits"]
    assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
    assert {"name": "scratch", "emptyDir": {}} in pod["volumes"]


def test_every_port_is_open_to_those_who_need_it_and_to_nobody_else() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind("NetworkPolicy")}
    assert policies["ratecast"]["podSelector"]["matchLabels"] == {"app": "ratecast"}
    assert policies["ratecast"]["policyTypes"] == ["Ingress", "Egress"]
    listening = {
        port["containerPort"]
        for each in of_kind("Deployment", "StatefulSet")
        for container in each["spec"]["template"]["spec"]["containers"]
        for port in container.get("ports", [])
    }
    opened = {
        port["port"]
        for policy in policies.values()
        for rule in policy.get("ingress", [])
        for port in rule["ports"]
    }
    assert opened == listening
    for policy in policies.values():
        for rule in [*policy.get("ingress", []), *policy.get("egress", [])]:
            assert rule.get("from") or rule.get("to"), "nobody is let in or out by default"


@pytest.mark.parametrize("pod", pods())
def test_every_file_that_a_pod_names_is_mounted(pod: dict[str, Any]) -> None:
    (container,) = pod["containers"]
    held = {
        each["metadata"]["name"]: each.get("data") or each["stringData"]
        for each in of_kind("ConfigMap", "Secret")
    }
    sources = {
        volume["name"]: volume.get("configMap", {}).get("name")
        or volume.get("secret", {}).get("secretName")
        for volume in pod["volumes"]
    }
    files = {
        f"{mount['mountPath']}/{name}"
        for mount in container["volumeMounts"]
        if mount["name"] != "scratch"
        for name in held[sources[mount["name"]]]
    }
    texts = [str(word) for word in container["args"]]
    for folder in {mount["mountPath"] for mount in container["volumeMounts"]} - {"/tmp"}:
        every = [*texts, *(str(text) for content in held.values() for text in content.values())]
        named = {
            path for text in every for path in re.findall(rf"{re.escape(folder)}/[\w.-]+", text)
        }
        assert named
        assert named <= files


def test_the_examples_of_books_and_settings_are_sound(tmp_path: Path) -> None:
    held = {each["metadata"]["name"]: each for each in of_kind("ConfigMap", "Secret")}
    for name, text in held["ratecast-books"]["data"].items():
        load_texts([(text, name)])
    path = tmp_path / "kafka.toml"
    path.write_text(held["ratecast-kafka"]["stringData"]["kafka.toml"])
    addresses = held["ratecast"]["data"]["RATECAST_KAFKA"]
    assert KafkaAccess.read(addresses, str(path)).settings["security_protocol"] == "SASL_SSL"


def test_disruption_budgets_and_selectors_find_their_pods() -> None:
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for each in of_kind("Deployment", "StatefulSet")
    ]
    for each in of_kind("PodDisruptionBudget", "Deployment", "StatefulSet"):
        assert each["spec"]["selector"]["matchLabels"] in labels
    for service in of_kind("Service"):
        assert service["spec"]["selector"] in labels


# --- reaching Kafka -------------------------------------------------------------------------------


def settings_in_the_manual() -> str:
    manual = (ROOT / "docs" / "production.md").read_text()
    return re.findall(r"```toml\n(security_protocol.*?)```", manual, re.DOTALL)[0]


def test_the_settings_in_the_manual_are_read(tmp_path: Path) -> None:
    path = tmp_path / "kafka.toml"
    path.write_text(settings_in_the_manual())
    access = KafkaAccess.read("a:1,b:2", str(path))
    assert access.settings == tomllib.loads(settings_in_the_manual())


def test_options_for_both_clients_follow_from_the_settings(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("öpen sesame\n")
    path = tmp_path / "kafka.toml"
    path.write_text(
        f'security_protocol = "SASL_SSL"\nusername = "me"\npassword_file = "{password}"\n'
    )
    options = KafkaAccess.read("a:1", str(path)).client_options()
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["sasl_plain_password"] == "öpen sesame"
    assert options["ssl_context"].check_hostname
    plain = KafkaAccess.read("a:1,b:2").client_options()
    assert plain == {"bootstrap_servers": "a:1,b:2", "security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('protocol = "SSL"', "is no setting"),
        ("username = 5", "is no setting"),
        ('security_protocol = "TLS"', "must be one of PLAINTEXT, SSL"),
        ('security_protocol = "SASL_SSL"', "password_file is missing"),
        ('security_protocol = "SASL_SSL"\npassword_file = "/no/such"', "cannot be read"),
        ('security_protocol = "SSL"\nca_file = "/no/such"', "certificates for Kafka cannot"),
        ("= 5", "this is no TOML"),
    ],
)
def test_mistakes_in_settings_are_said(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "kafka.toml"
    path.write_text(text)
    with pytest.raises(KafkaAccessError, match=said):
        KafkaAccess.read("a:1", str(path)).client_options()


@pytest.mark.parametrize("address", ["localhost", "a:b", "", "a:1,,b:2", ":9092"])
def test_what_is_no_address_is_said(address: str) -> None:
    with pytest.raises(KafkaAccessError, match="no address of a Kafka broker"):
        KafkaAccess.read(address)


def test_a_stores_url_may_be_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text(f"{tmp_path / 'none.db'}\n")
    for value, said in (
        (f"@{path}", "there is no store here"),
        ("@/no/such/file", "cannot be read"),
    ):
        from click.testing import CliRunner

        result = CliRunner().invoke(main, ["status", "--store", value])
        assert result.exit_code != 0
        assert said in result.stderr
