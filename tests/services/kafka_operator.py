"""All that an operator of more than one machine runs, for tests: the gateway and a worker on Kafka."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from kafka.admin import KafkaAdminClient, NewTopic
from services.embedded_operator import Operator
from services.gateway import COMMAND, RunningGateway, environment

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS = 3


class KafkaOperator(Operator):
    """`ratecast gateway --kafka` and `ratecast worker`, and a store that may be PostgreSQL."""

    def __init__(self, folder: Path, book: Path, kafka: str, store: str) -> None:
        topic = f"usage-{time.time_ns()}"
        admin = KafkaAdminClient(bootstrap_servers=kafka)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
        admin.close()
        log = ("--kafka", kafka, "--topic", topic)
        self.gateway = RunningGateway(folder, log=log)
        assert self.gateway.url, self.gateway.said
        self.url = self.gateway.url
        self.key = self.gateway.key
        self.store = store
        self._said = folder / "worker.txt"
        words = ("worker", "--tariffs", str(book), "--store", store, "--group", topic)
        with self._said.open("wb") as out:
            self._rater = subprocess.Popen(
                [*COMMAND, *words, *log], env=environment(), stdout=out, stderr=subprocess.STDOUT
            )
