"""The topics that ratecast needs: how they are to be, made where they are missing, and checked.

Source: architecture decisions 1 and 3. `usage` is the log that charges are made from, so nothing may
delete or compact what was not rated yet; the other three can be made from the store again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import (
    ClusterAuthorizationFailedError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rating.runtime.kafka_access import KafkaAccess

USAGE = "usage"
OUTPUTS = ("charges", "signals", "suspense")
DAY_MS = 86_400_000
PARTITIONS = 12
USAGE_DAYS = 14
OUTPUT_DAYS = 7
MESSAGE_BYTES = 4 * 2**20  # a packed message with room to spare
AT_LEAST = ("retention.ms", "max.message.bytes", "min.insync.replicas")
ENDLESS = -1  # what Kafka takes as no limit
WHY = {
    "cleanup.policy": "compaction keeps the last message of an account alone, and loses the others",
    "retention.ms": "what is deleted before it was rated, or read, is lost",
    "retention.bytes": "a size limit deletes messages however new they are",
    "max.message.bytes": "a packed message may be as large",
    "min.insync.replicas": "an acknowledged message must survive the loss of a broker",
    "unclean.leader.election.enable": "a replica that lags behind would lose acknowledged messages",
}
MADE_S_MAX = 10.0  # until a topic that somebody made at the same moment is seen
_NO_RIGHT = "this user may not do that; grant it Create, Describe and AlterConfigs"
MEND: dict[type[KafkaError], str] = {
    InvalidReplicationFactorError: "there are fewer brokers than --replication asks for",
    InvalidTopicError: (
        "a topic's name has letters, digits, '.', '_' and '-' only, and no more than 249 of them"
    ),
    TopicAuthorizationFailedError: _NO_RIGHT,
    ClusterAuthorizationFailedError: _NO_RIGHT,
}


class TopicError(Exception):
    """The topics cannot be made or read. The text says what, where, and how to mend it."""


@dataclass(frozen=True, slots=True)
class TopicSettings:
    """How one topic is to be. partitions: None: as many as it has. configs: of Kafka, as text."""

    name: str
    partitions: int | None
    replication: int
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Difference:
    """Something about a topic that is not as it is to be, as sentences."""

    topic: str
    what: str
    mend: str
    config: str | None = None  # its name, where ratecast can mend it

    def __str__(self) -> str:
        """One sentence: where, what, how to mend it."""
        return f"{self.topic}: {self.what}; {self.mend}"


def wanted_topics(
    partitions: int | None,
    replication: int,
    usage_days: int = USAGE_DAYS,
    usage: str = USAGE,
    prefix: str = "",
) -> list[TopicSettings]:
    """The four topics, keyed by account and alike in all but how long they keep messages.

    prefix: of the names of the three that are published to, as `publish` takes it.
    """
    configs = {
        "cleanup.policy": "delete",
        "retention.bytes": str(ENDLESS),
        "max.message.bytes": str(MESSAGE_BYTES),
        # With three replicas one broker may be lost while writing goes on.
        "min.insync.replicas": str(max(1, replication - 1)),
        "unclean.leader.election.enable": "false",
    }
    kept = {usage: usage_days} | {f"{prefix}{output}": OUTPUT_DAYS for output in OUTPUTS}
    return [
        TopicSettings(name, partitions, replication, configs | {"retention.ms": str(days * DAY_MS)})
        for name, days in kept.items()
    ]


class TopicAdmin:
    """Makes, checks and mends topics of one cluster; a context. Raises: TopicError."""

    def __init__(self, access: KafkaAccess) -> None:
        self._addresses = access.addresses
        try:
            self._client = KafkaAdminClient(**access.client_options(), client_id="ratecast")
        except (KafkaError, OSError) as error:
            raise TopicError(
                f"no Kafka broker answers at {access.addresses} ({error or type(error).__name__}); "
                "check the address, and that it runs"
            ) from error

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Disconnect."""
        self._client.close()

    def create(self, wanted: Sequence[TopicSettings]) -> list[str]:
        """Make the topics that are missing. Returns the names of those made."""
        there = self._partitions([each.name for each in wanted])
        made = [each.name for each in wanted if each.name not in there and self._make(each)]
        give_up_s = time.monotonic() + MADE_S_MAX
        while len(self._partitions([each.name for each in wanted])) < len(wanted):
            if time.monotonic() > give_up_s:
                break  # which is then a difference
            time.sleep(0.1)
        return made

    def _make(self, topic: TopicSettings) -> bool:
        """Make one topic; False where somebody else has just done so."""
        new = {
            topic.name: {
                "num_partitions": topic.partitions or PARTITIONS,
                "replication_factor": topic.replication,
                "configs": dict(topic.configs),
            }
        }
        try:
            self._ask(lambda: self._client.create_topics(new, wait_for_metadata=True))
        except TopicError as error:
            if isinstance(error.__cause__, TopicAlreadyExistsError):
                return False
            raise
        return True

    def differences(self, wanted: Sequence[TopicSettings]) -> list[Difference]:
        """What is not as it is to be."""
        there = self._partitions([each.name for each in wanted])
        found: list[Difference] = []
        for each in wanted:
            if each.name not in there:
                found.append(
                    Difference(each.name, "there is no such topic", "make it with 'create'")
                )
                continue
            replication = _replication(there[each.name])
            found += _shape_differences(each, len(there[each.name]), replication)
            found += _config_differences(each, self._configs(each.name), replication)
        return found

    def mend(self, wanted: Sequence[TopicSettings]) -> list[Difference]:
        """Set the configs that differ. Returns what was set."""
        mended = [each for each in self.differences(wanted) if each.config is not None]
        by_name = {each.name: each.configs for each in wanted}
        for topic in sorted({each.topic for each in mended}):
            names = [each.config for each in mended if each.topic == topic and each.config]
            configs = {name: by_name[topic][name] for name in names}
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs)
            self._ask(lambda resource=resource: self._client.alter_configs([resource]))
        return mended

    def _partitions(self, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """The partitions of the topics that are there."""
        told = self._ask(lambda: self._client.describe_topics(list(names)))
        return {each["name"]: each["partitions"] for each in told if each["error_code"] == 0}

    def _configs(self, topic: str) -> dict[str, str]:
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        told = self._ask(lambda: self._client.describe_configs([resource], config_filter="all"))
        return {name: config["value"] for name, config in told["topic"][topic].items()}

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except (KafkaError, OSError) as error:
            said = getattr(error, "message", None) or str(error) or type(error).__name__
            mend = MEND.get(type(error), "mend that and run it again")
            raise TopicError(
                f"{self._addresses}: {type(error).__name__}: {said}; {mend}"
            ) from error


def _replication(partitions: Sequence[Mapping[str, Any]]) -> int:
    """How many brokers keep each of the partitions."""
    return min((len(each["replica_nodes"]) for each in partitions), default=0)


def _shape_differences(
    wanted: TopicSettings, partitions: int, replication: int
) -> list[Difference]:
    found = []
    if wanted.partitions is not None and partitions != wanted.partitions:
        found.append(
            Difference(
                wanted.name,
                f"it has {partitions} partitions, expected {wanted.partitions}",
                "give the number that it has with --partitions, or make a new topic: more "
                "partitions in this one would move accounts away from their state",
            )
        )
    if replication < wanted.replication:
        found.append(
            Difference(
                wanted.name,
                f"it is kept by {replication} brokers, expected {wanted.replication}",
                "reassign its partitions (kafka-reassign-partitions.sh), or give --replication",
            )
        )
    return found


def _config_differences(
    wanted: TopicSettings, configs: Mapping[str, str], replication: int
) -> list[Difference]:
    found = []
    for name, expected in wanted.configs.items():
        is_too_many = name == "min.insync.replicas" and int(expected) > replication
        # More replicas in step than there are would stop all writing.
        if is_too_many or _is_enough(name, configs.get(name, ""), expected):
            continue
        least = "at least " if name in AT_LEAST else ""
        what = f"{name} is {configs.get(name)}, expected {least}{expected}, since {WHY[name]}"
        mend = f"run 'create --update', or set {name}={expected}"
        found.append(Difference(wanted.name, what, mend, name))
    return found


def _is_enough(name: str, value: str, expected: str) -> bool:
    """Whether a config is as it is to be, or more."""
    if name not in AT_LEAST:
        return value == expected
    return int(value) >= int(expected) or (name == "retention.ms" and int(value) == ENDLESS)
