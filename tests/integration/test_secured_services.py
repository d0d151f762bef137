"""Every command through TLS and passwords, which come from files; and what is said where they fail."""

from __future__ import annotations

import json
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from services.certificates import Authority
from services.gateway import RunningGateway
from services.postgres import PostgresServer
from services.secured_kafka import USER, SecuredKafka
from worker_runs import WorkerScene, next_offsets, topic_messages, wait_until

from rating.runtime.cli import main
from sinks.store import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "hush-hush"
GOLDEN = Path(__file__).parents[1] / "golden" / "nordic"
BOOK, EVENING = GOLDEN / "nordic-2026-01.toml", GOLDEN / "evening.ndjson"
PARTITIONS = 2


@dataclass(frozen=True, slots=True)
class Secured:
    """A broker and a database that ask for TLS and passwords, and the files to get in with."""

    folder: Path
    authority: Authority
    stranger: Authority
    broker: SecuredKafka
    database: PostgresServer

    def kafka_config(self, **settings: str) -> str:
        """Write a file for --kafka-config. Settings that differ from those of SCRAM-SHA-512."""
        usual = {
            "security_protocol": "SASL_SSL",
            "ca_file": str(self.authority.certificate),
            "sasl_mechanism": "SCRAM-SHA-512",
            "username": USER,
            "password_file": self.secret("password", PASSWORD),
        }
        path = self.folder / f"{abs(hash(frozenset(settings.items())))}.toml"
        lines = [f'{name} = "{value}"\n' for name, value in (usual | settings).items() if value]
        path.write_text("".join(lines))
        return str(path)

    def secret(self, name: str, content: str) -> str:
        """Write a file that its owner alone may read."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(f"{content}\n")
        return str(path)

    def store_url(self, **options: str) -> str:
        """The URL of the database, its password within, and a server to be known by its name."""
        usual = {"sslmode": "verify-full", "sslrootcert": str(self.authority.certificate)}
        given = "&".join(f"{name}={value}" for name, value in (usual | options).items())
        return f"{self.database.url()}?{given}"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    authority = Authority(folder)
    issued = authority.issue("database")
    with (
        SecuredKafka(folder / "broker", authority, PASSWORD) as broker,
        PostgresServer() as database,
    ):
        database.demand_tls(issued.certificate.read_bytes(), issued.key.read_bytes())
        yield Secured(folder, authority, Authority(folder, "stranger"), broker, database)


def ratecast(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_an_evening_through_tls_and_passwords(secured: Secured, tmp_path: Path) -> None:
    """Each mechanism has its turn; the topic is read, and the store, by whoever checks."""
    at = secured.broker.secured
    scram_256 = secured.kafka_config(sasl_mechanism="SCRAM-SHA-256")
    plain = secured.kafka_config(sasl_mechanism="PLAIN")
    client = secured.authority.issue("client")
    certified = secured.kafka_config(
        security_protocol="SSL", certificate_file=str(client.certificate), key_file=str(client.key)
    )
    url = secured.store_url()
    store = f"@{secured.secret('store', url)}"
    said = ""

    def done(*words: object) -> str:
        nonlocal said
        result = ratecast(*words)
        assert result.exit_code == 0, result.output
        said += result.output
        return result.stdout

    shape = ("--partitions", PARTITIONS, "--kafka")
    done("topics", "create", *shape, at, "--kafka-config", secured.kafka_config())
    done("topics", "check", *shape, secured.broker.mutual, "--kafka-config", certified)
    done("produce", "--kafka", at, "--kafka-config", scram_256, EVENING)
    log = ("--kafka", at, "--kafka-config", plain)
    gateway = RunningGateway(tmp_path, log=log)
    now_ms = time.time_ns() // 1_000_000
    sent = {"type": "account.open", "account": "zoe", "plan": "payg", "time": now_ms}
    taken = gateway.client().post("/v1/events", json=[sent])
    assert (gateway.stop(), taken.status_code) == (0, 202), gateway.said
    options = ("--kafka-config", secured.kafka_config(), "--store", store, "--session-timeout", "2")
    with WorkerScene(tmp_path, at, "usage", url, [BOOK], options) as scene:
        worker = scene.start()
        held = topic_messages(secured.broker.address, "usage")
        ends = {number: found[-1][0] + 1 for number, found in held.items()}
        wait_until(
            lambda: next_offsets(url, PARTITIONS) == ends or not worker.is_running,
            60,
            f"rated: {scene.said()}",
        )
        assert worker.stop() == 0, scene.said()
        said += worker.log.read_text()
    done("publish", "--store", store, "--kafka", at, "--kafka-config", scram_256)
    standing = json.loads(
        done("status", "--store", store, "--kafka", at, "--kafka-config", plain, "--json")
    )
    assert [each["lag"] for each in standing["lag"]["partitions"]] == [0, 0]
    assert standing["lag"]["unpublished"] == {"charges": 0, "signals": 0, "suspense": 0}
    with open_store(url, create=False) as opened:
        charges = opened.last_seq("charges")
        assert "zoe" in {name for page in opened.accounts() for name in page["account"]}
    published = topic_messages(secured.broker.address, "charges")
    assert sum(map(len, published.values())) == charges > 0
    assert PASSWORD not in said + gateway.said
    assert secured.database.password not in said + gateway.said


# --- Kafka refuses ------------------------------------------------------------------------------

REFUSED = {
    "wrong password": (
        {"password_file": "wrong"},
        "secured",
        "refuses the user 'ratecast'.*check username, password_file and sasl_mechanism",
    ),
    "unknown user": ({"username": "nobody"}, "secured", "refuses the user 'nobody'"),
    "mechanism": (
        {"sasl_mechanism": "PLAIN", "password_file": "wrong"},
        "secured",
        "refuses the user 'ratecast': Authentication failed: Invalid username or password",
    ),
    "unknown authority": ({"ca_file": "stranger.crt"}, "secured", "signed it as ca_file"),
    "expired": ({}, "expired", "certificate has expired; give the broker a new one, or set"),
    "another host": ({}, "elsewhere", "not valid for '127.0.0.1'; reach it by a name that"),
    "sent astray": (
        {},
        "astray",
        "sends clients on.*no Kafka.* 127.0.0.1:1 .*advertised.listeners",
    ),
    "no certificate": ({"security_protocol": "SSL"}, "mutual", "name one that.*certificate_file"),
    "no TLS": ({"security_protocol": "SASL_PLAINTEXT"}, "secured", "hangs up on SASL_PLAINTEXT"),
    "TLS too much": ({}, "address", "hangs up on SASL_SSL; set security_protocol"),
    "password too much": (
        {"security_protocol": "SASL_PLAINTEXT"},
        "address",
        "asks for no password; set security_protocol to PLAINTEXT",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_broker_that_refuses_is_understood(
    case: str, secured: Secured, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings, listener, sentence = REFUSED[case]
    monkeypatch.chdir(secured.folder)
    secured.secret("wrong", "wrong-hush")
    config = secured.kafka_config(**settings)
    with caplog.at_level(logging.WARNING):
        result = ratecast(
            "topics",
            "check",
            "--kafka",
            getattr(secured.broker, listener),
            "--kafka-config",
            config,
        )
    assert_refused(result, sentence)
    assert caplog.messages == []


@pytest.mark.parametrize(
    "command",
    [
        ("topics", "create"),
        ("produce", EVENING),
        ("publish", "--store", "{store}"),
        ("status", "--store", "{store}"),
        ("worker", "--tariffs", BOOK, "--store", "{store}"),
        ("gateway", "--keys", "keys.json"),
    ],
    ids=lambda command: command[0],
)
def test_every_command_says_that_the_password_is_wrong(
    command: tuple[str, ...], secured: Secured
) -> None:
    store = f"@{secured.secret('store', secured.store_url())}"
    open_store(secured.store_url()).close()
    config = secured.kafka_config(password_file=secured.secret("wrong", "wrong-hush"))
    words = [str(word).replace("{store}", store) for word in command]
    result = ratecast(
        *words, "--kafka", f"127.0.0.1:1,{secured.broker.secured}", "--kafka-config", config
    )
    assert_refused(result, "refuses the user 'ratecast'")


def assert_refused(result: Result, sentence: str) -> None:
    """One line, the right one, and no secret in it."""
    assert result.exit_code == 1
    (line,) = result.output.splitlines()
    assert re.search(f"^Error: .*{sentence}", line), line
    assert "hush" not in line


# --- PostgreSQL refuses -------------------------------------------------------------------------

KEPT_OUT = {
    "unknown authority": ({"sslrootcert": "stranger.crt"}, "verify failed; name the authority"),
    "no file": (
        {"sslrootcert": "nowhere.crt"},
        "nowhere.crt.*; name the file with the authority's",
    ),
    "no TLS": ({"sslmode": "disable"}, "no encryption; ask for TLS with sslmode=verify-full"),
    "wrong password": ({"password": "wrong-hush"}, "check the user and the password"),
}


@pytest.mark.parametrize("case", KEPT_OUT)
def test_a_database_that_refuses_is_understood(
    case: str, secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, sentence = KEPT_OUT[case]
    monkeypatch.chdir(secured.folder)
    store = f"@{secured.secret('other-store', secured.store_url(**options))}"
    assert_refused(ratecast("status", "--store", store), sentence)


@pytest.mark.parametrize(
    ("host", "is_expired", "sentence"),
    [
        ("127.0.0.1", True, "the certificate has expired, or this machine's clock is wrong"),
        ("db.example.com", False, "does not match host name.*; reach it by a name that"),
    ],
)
def test_a_database_with_a_wrong_certificate_is_understood(
    host: str, is_expired: bool, sentence: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("database", host, is_expired=is_expired)
    with PostgresServer() as database:
        database.demand_tls(issued.certificate.read_bytes(), issued.key.read_bytes())
        url = f"{database.url()}?sslmode=verify-full&sslrootcert={authority.certificate}"
        assert_refused(ratecast("status", "--store", url), sentence)
