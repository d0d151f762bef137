"""The Kafka that tests run against: it is real, it survives being killed, and it ends with the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from patience import PATIENCE_S
from services import kafka as service
from services.keeper import keep

if TYPE_CHECKING:
    from pathlib import Path


def test_an_acknowledged_message_survives_a_killed_broker(tmp_path: Path) -> None:
    with service.Kafka(tmp_path / "broker") as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.address)
        admin.create_topics([NewTopic("t", 1, 1)])
        admin.close()
        with_ack = KafkaProducer(bootstrap_servers=broker.address, acks="all")
        sent = with_ack.send("t", b"kept", partition=0).get(10)
        broker.kill()
        broker.start()
        with_ack.close()
        reader = KafkaConsumer(bootstrap_servers=broker.address)
        reader.assign([TopicPartition("t", 0)])
        reader.seek(TopicPartition("t", 0), sent.offset)
        polled = reader.poll(10_000)
        reader.close()
    assert [message.value for messages in polled.values() for message in messages] == [b"kept"]


def test_the_shared_broker_serves(kafka_address: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka_address)
    assert len(admin.describe_cluster()["brokers"]) == 1
    admin.close()


def test_a_kept_server_ends_with_the_process_that_it_is_kept_for(tmp_path: Path) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    run = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    writes_pid = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    log = tmp_path / "log"
    keep(folder, [sys.executable, "-c", writes_pid], log, run.pid)
    while not log.read_text().endswith("\n"):
        time.sleep(0.01)
    server_pid = int(log.read_text())
    run.kill()
    run.wait()
    give_up_s = time.monotonic() + PATIENCE_S
    while folder.exists() and time.monotonic() < give_up_s:
        time.sleep(0.01)
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(server_pid, 0)


@pytest.mark.parametrize(
    ("missing", "package"), [("java", "openjdk-17-jre-headless"), ("mvn", "package maven")]
)
def test_what_is_missing_is_named_in_one_line(
    missing: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == missing else found(name))
    monkeypatch.setenv("RATECAST_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(service.ServiceMissing) as raised:
        service.Kafka(tmp_path / "broker")
    assert package in str(raised.value)
    assert "\n" not in str(raised.value)
