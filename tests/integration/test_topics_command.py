"""`ratecast topics` on a real Kafka: what is missing is made, and what is wrong is said or mended."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from rating.runtime.cli import main
from rating.runtime.kafka_access import KafkaAccess
from rating.runtime.topic_settings import TopicAdmin, wanted_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

DAY_MS = 86_400_000
NAMES = ("usage", "charges", "signals", "suspense")


@pytest.fixture
def prefix() -> str:
    """What the names of this test's own topics begin with."""
    return f"t{uuid4().hex[:12]}."


@pytest.fixture
def admin(kafka_address: str) -> Iterator[KafkaAdminClient]:
    client = KafkaAdminClient(bootstrap_servers=kafka_address)
    yield client
    client.close()


@pytest.fixture
def topics(kafka_address: str, prefix: str) -> Topics:
    return Topics(kafka_address, prefix)


class Topics:
    """`ratecast topics` for topics with a prefix; two partitions where nothing else is asked."""

    def __init__(self, address: str, prefix: str) -> None:
        self._address, self._prefix = address, prefix
        self.shape: tuple[object, ...] = ("--partitions", 2)

    def __call__(self, command: str, *words: object) -> Result:
        named = ("--topic", f"{self._prefix}usage", "--prefix", self._prefix)
        options = ("--kafka", self._address, *named, *self.shape, *words)
        return CliRunner().invoke(main, ["topics", command, *map(str, options)])


def set_config(admin: KafkaAdminClient, topic: str, **configs: str) -> None:
    named = {name.replace("_", "."): value for name, value in configs.items()}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, named)])


def config_of(admin: KafkaAdminClient, topic: str, name: str) -> str:
    resource = ConfigResource(ConfigResourceType.TOPIC, topic)
    told = admin.describe_configs([resource], config_filter="all")
    value: str = told["topic"][topic][name]["value"]
    return value


def difference(topic: str, name: str, values: tuple[str, str, str], why: str) -> str:
    """The sentence on a setting. values: what it is, what is expected, what to set."""
    found, expected, wanted = values
    return (
        f"{topic}: {name} is {found}, expected {expected}, since {why}; run 'create --update', or "
        f"set {name}={wanted}"
    )


def test_what_is_missing_is_made_once(topics: Topics, admin: KafkaAdminClient, prefix: str) -> None:
    missing = topics("check")
    assert missing.exit_code == 1
    assert missing.stderr.splitlines() == [
        f"{prefix}{name}: there is no such topic; make it with 'create'" for name in NAMES
    ]
    made = topics("create", "--usage-days", 30)
    assert (made.exit_code, made.stderr) == (0, "")
    assert made.stdout.splitlines() == [
        *(f"Made {prefix}{name}." for name in NAMES),
        f"The topics {', '.join(prefix + name for name in NAMES)} are as they are to be.",
    ]
    told = {each["name"]: each for each in admin.describe_topics([prefix + name for name in NAMES])}
    assert [len(told[prefix + name]["partitions"]) for name in NAMES] == [2, 2, 2, 2]
    assert config_of(admin, f"{prefix}usage", "retention.ms") == str(30 * DAY_MS)
    assert config_of(admin, f"{prefix}usage", "cleanup.policy") == "delete"
    assert config_of(admin, f"{prefix}charges", "retention.ms") == str(7 * DAY_MS)
    again = topics("create", "--usage-days", 30)
    assert again.stdout.splitlines() == made.stdout.splitlines()[-1:]
    assert topics("check").exit_code == 0, "what is kept longer than asked is as it is to be"


def test_one_that_is_missing_is_made_beside_the_others(
    topics: Topics, admin: KafkaAdminClient, prefix: str
) -> None:
    topics("create")
    admin.delete_topics([f"{prefix}signals"])
    made = json.loads(topics("create", "--json").stdout)
    assert made == {"made": [f"{prefix}signals"], "differences": []}


def test_a_wrong_setting_is_said_and_mended_where_asked(
    topics: Topics, admin: KafkaAdminClient, prefix: str
) -> None:
    topics("create")
    usage, charges = f"{prefix}usage", f"{prefix}charges"
    set_config(admin, usage, cleanup_policy="compact", retention_ms="3600000", segment_ms="1234567")
    set_config(admin, charges, max_message_bytes="1000")
    fortnight = str(14 * DAY_MS)
    said = [
        difference(
            usage,
            "cleanup.policy",
            ("compact", "delete", "delete"),
            "compaction keeps the last message of an account alone, and loses the others",
        ),
        difference(
            usage,
            "retention.ms",
            ("3600000", f"at least {fortnight}", fortnight),
            "what is deleted before it was rated, or read, is lost",
        ),
        difference(
            charges,
            "max.message.bytes",
            ("1000", "at least 4194304", "4194304"),
            "a packed message may be as large",
        ),
    ]
    for command in ("check", "create"):
        found = topics(command)
        assert found.exit_code == 1
        assert sorted(found.stderr.splitlines()) == sorted(said)
    assert config_of(admin, usage, "cleanup.policy") == "compact", "nothing is changed unasked"
    mended = topics("create", "--update")
    assert (mended.exit_code, mended.stderr) == (0, "")
    assert sorted(mended.stdout.splitlines()[:-1]) == [
        f"Set {charges}: max.message.bytes.",
        f"Set {usage}: cleanup.policy.",
        f"Set {usage}: retention.ms.",
    ]
    assert topics("check").exit_code == 0
    assert config_of(admin, usage, "segment.ms") == "1234567", "what is the operator's own stays"


def test_other_partitions_are_said_and_left_alone(topics: Topics, prefix: str) -> None:
    topics("create")
    found = topics("create", "--partitions", 6, "--update")
    assert found.exit_code == 1
    assert found.stderr.splitlines() == [
        f"{prefix}{name}: it has 2 partitions, expected 6; give the number that it has with "
        "--partitions, or make a new topic: more partitions in this one would move accounts away "
        "from their state"
        for name in NAMES
    ]
    assert topics("check").exit_code == 0


def test_topics_made_with_other_partitions_are_as_they_are_to_be(topics: Topics) -> None:
    topics.shape = ()
    assert topics("create", "--partitions", 3).exit_code == 0
    checked = topics("check")
    assert (checked.exit_code, checked.stderr) == (0, "")
    assert topics("create").exit_code == 0
    assert topics("check", "--partitions", 12).exit_code == 1


def test_more_replicas_than_brokers_are_refused(topics: Topics, prefix: str) -> None:
    refused = topics("create", "--replication", 3)
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith("Error: ")
    assert line.endswith("; there are fewer brokers than --replication asks for")
    topics("create")
    fewer = topics("check", "--replication", 3)
    assert fewer.stderr.splitlines() == [
        f"{prefix}{name}: it is kept by 1 brokers, expected 3; reassign its partitions "
        "(kafka-reassign-partitions.sh), or give --replication"
        for name in NAMES
    ]


def test_several_may_make_them_at_once(kafka_address: str, prefix: str) -> None:
    wanted = wanted_topics(2, 1, usage=f"{prefix}usage", prefix=prefix)

    def make(_: int) -> list[str]:
        with TopicAdmin(KafkaAccess.read(kafka_address)) as one:
            made = one.create(wanted)
            assert one.differences(wanted) == []
            return made

    with ThreadPoolExecutor(4) as pool:
        made = [name for names in pool.map(make, range(4)) for name in names]
    assert sorted(made) == sorted(f"{prefix}{name}" for name in NAMES)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--prefix", "a b"), "a prefix has letters, digits, '.', '_' and '-' only"),
        (("--partitions", 0), "0 is not in the range"),
    ],
)
def test_a_misuse_is_told(topics: Topics, words: tuple[object, ...], sentence: str) -> None:
    misused = topics("create", *words)
    assert misused.exit_code == 2
    assert sentence in misused.stderr


def test_a_broker_that_is_away_is_named_at_once() -> None:
    away = CliRunner().invoke(main, ["topics", "check", "--kafka", "127.0.0.1:1"])
    assert away.exit_code == 1
    assert away.stderr.startswith("Error: no Kafka broker answers at 127.0.0.1:1 (")
    assert len(away.stderr.splitlines()) == 1


def test_a_name_that_kafka_does_not_take_is_told(topics: Topics) -> None:
    refused = topics("create", "--topic", "no/such")
    assert refused.exit_code == 1
    (line,) = refused.stderr.splitlines()
    assert "a topic's name has letters, digits, '.', '_' and '-' only" in line
