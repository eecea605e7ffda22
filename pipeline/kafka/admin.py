"""Creates the topics, and checks at start that they keep what `pipeline.topics` promises."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kafka import KafkaAdminClient, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    InvalidTopicError,
    KafkaError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from pipeline.errors import AndonError
from pipeline.kafka.connection import KafkaUnavailableError, connection, led_astray, no_answer
from pipeline.kafka.mends.bounds import NotLedError
from pipeline.kafka.opening import open_admin_client
from pipeline.kafka.rights import WHOSE, missing, refusal
from pipeline.settings import Settings
from pipeline.topics import Topic


class TopicError(AndonError):
    """Topics that are missing or set up otherwise than promised. The message lists each fault and its mend."""


class MissingTopicsError(TopicError):
    """They are not there yet, and that is all."""


_UNSEEN = (UnknownTopicOrPartitionError.errno, TopicAuthorizationFailedError.errno, InvalidTopicError.errno)
"""Of a topic that is not there, or that is not shown to us."""

AdminClient = KafkaAdminClient
"""For who keeps one open: this room alone names the library's."""


def ensure_topics(settings: Settings, wanted: Iterable[Topic], *, replication: int = -1) -> None:
    """Creates what is missing, then checks all.

    replication: copies of each partition; -1 takes the broker's default.
    Raises TopicError, KafkaUnavailableError.
    """
    wanted = list(wanted)
    with Admin(settings) as admin:
        there = _partitions(admin, wanted)
        absent = {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": replication,
                "configs": topic.config,
            }
            for topic in wanted
            if topic.name not in there
        }
        if absent:
            # The client's own error would tell request and answer in full: of ten topics, 10 kB.
            made = admin.create_topics(absent, timeout_ms=15_000, raise_errors=False)
            _tell_refused(made["topics"])
            admin.wait_for_topics([topic.name for topic in wanted], timeout_ms=60_000)
        _check(admin, wanted, settings, with_clocks=True)


def _tell_refused(made: Iterable[Mapping[str, Any]]) -> None:
    refused: dict[str, list[str]] = {}
    for topic in made:
        # Another process may create the same at the same moment; the check judges its work.
        if topic["error_code"] not in (0, TopicAlreadyExistsError.errno):
            words = topic["error_message"] or for_code(topic["error_code"]).__name__
            refused.setdefault(words, []).append(topic["name"])
    if refused:
        told = (
            f"the broker creates no topic {', '.join(map(repr, names))}: {words}" for words, names in refused.items()
        )
        raise TopicError("; ".join(told))


def check_topics(settings: Settings, wanted: Iterable[Topic], *, with_clocks: bool = False) -> None:
    """Raises TopicError when a topic is missing or its limits differ, KafkaUnavailableError when no broker answers.

    with_clocks: whether it carries the broker's time, too. A process asks that of `frames` alone, or none could start
    while its topics, which an earlier Andon had made, still carry their senders'.
    """
    with Admin(settings) as admin:
        _check(admin, list(wanted), settings, with_clocks=with_clocks)


def kept_by(admin: KafkaAdminClient, settings: Settings, topics: Sequence[str]) -> dict[tuple[str, int], range]:
    """(topic, partition) → the offsets that it holds: the first that has not expired, up to its end. For who looks
    again and again with one client; `reading.kept_of` opens one for a look.

    Raises KafkaError, KafkaUnavailableError.
    """
    places = []
    for found in admin.describe_topics(list(topics)):
        if found["error_code"] == UnknownTopicOrPartitionError.errno:
            raise KafkaUnavailableError(missing(settings, found["name"]))
        if found["error_code"]:
            raise for_code(found["error_code"])(found["name"])
        for partition in found["partitions"]:
            if partition["leader_id"] < 0:
                where = f"{found['name']}[{partition['partition_index']}]"
                raise NotLedError(f"{where}: its brokers are away")
            places.append(TopicPartition(found["name"], partition["partition_index"]))
    begins = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.EARLIEST), timeout_ms=5_000)
    ends = admin.list_partition_offsets(dict.fromkeys(places, OffsetSpec.LATEST), timeout_ms=5_000)
    return {(at.topic, at.partition): range(begins[at].offset, ends[at].offset) for at in places}


def retention_of(settings: Settings, topics: Sequence[str]) -> dict[str, tuple[int, int]]:
    """For how long (ms) each topic keeps its records, and how many bytes of them in a partition, which its operator may
    have set; below 0: no limit. Left out is one whose limits Kafka does not show us. Raises KafkaUnavailableError."""
    with Admin(settings) as admin:
        resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
        configs = next(iter(admin.describe_configs(resources, config_filter="all").values()))
    return {
        topic: (int(found["retention.ms"]["value"]), int(found["retention.bytes"]["value"]))
        for topic, found in configs.items()
        if found
    }


def delete_topics(settings: Settings, prefix: str) -> None:
    """Deletes every topic whose name begins so, with all its records. The prefix must not be empty."""
    if not prefix:
        raise ValueError("an empty prefix would delete every topic of the broker")
    with Admin(settings) as admin:
        doomed = [name for name in admin.list_topics() if name.startswith(prefix)]
        if doomed:
            admin.delete_topics(doomed, timeout_ms=15_000)


def _check(admin: KafkaAdminClient, wanted: list[Topic], settings: Settings, *, with_clocks: bool) -> None:
    partitions = _partitions(admin, wanted)
    faults: list[str] = []
    if partitions:
        resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in partitions]
        configs = next(iter(admin.describe_configs(resources, config_filter="all").values()))
        if not all(configs.values()):  # refused, which the library keeps to itself; or deleted since
            left = _partitions(admin, wanted)
            partitions = {name: count for name, count in partitions.items() if name in left}
        for topic in wanted:
            if topic.name not in partitions:
                continue
            if not configs[topic.name]:
                faults.append(f"Kafka refuses us the right DescribeConfigs on topic {topic.name!r}: {WHOSE}")
                continue
            faults += topic_faults(topic, partitions[topic.name], configs[topic.name], with_clocks=with_clocks)
    absent = [missing(settings, t.name) for t in wanted if t.name not in partitions]
    if faults:
        raise TopicError("; ".join([*absent, *faults]))
    if absent:
        raise MissingTopicsError("; ".join(absent))


def _partitions(admin: KafkaAdminClient, wanted: list[Topic]) -> dict[str, int]:
    """How many each has, of those that are there and that we may see. Not asked of all topics: a cluster that others
    share may have thousands."""
    found = admin.describe_topics([topic.name for topic in wanted])
    return {topic["name"]: len(topic["partitions"]) for topic in found if topic["error_code"] not in _UNSEEN}


def topic_faults(
    topic: Topic, partitions: int, config: Mapping[str, Mapping[str, Any]], *, with_clocks: bool
) -> list[str]:
    """What would break frames or accounting. Retention is the operator's own business and is left alone."""
    faults = []
    if topic.may_have_more_partitions:
        if partitions < topic.partitions:
            faults.append(
                f"topic {topic.name!r} has {partitions} partitions, but this process is set up for {topic.partitions}; "
                "give it as many first (docs/scaling.md says in which order), or lower ANDON_FRAME_PARTITIONS"
            )
    elif partitions != topic.partitions:
        by_line = "set ANDON_LINE_PARTITIONS to what the broker has, or recreate the topic"
        faults.append(
            f"topic {topic.name!r} has {partitions} partitions, but this process is set up for {topic.partitions}; "
            f"{by_line if topic.key == 'line_id' else 'no setting changes that: recreate the topic'}"
        )
    limit = int(config["max.message.bytes"]["value"])
    if limit < topic.max_message_bytes:
        faults.append(
            f"topic {topic.name!r} takes records of at most {limit} bytes, but needs {topic.max_message_bytes}; "
            f"set its max.message.bytes to {topic.max_message_bytes}"
        )
    clocks = ("message.timestamp.type",) if with_clocks or topic.judged_by_arrival else ()
    for name in (*clocks, "cleanup.policy"):
        found = ",".join(sorted(config[name]["value"].split(",")))
        if found != topic.config[name]:
            faults.append(f"topic {topic.name!r} has {name}={found}; set it to {topic.config[name]}")
    return faults


class Admin:
    """The client, connected. Raises KafkaUnavailableError, also for what the broker refuses within."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __enter__(self) -> KafkaAdminClient:
        try:
            self._client = open_admin_client(**connection(self._settings, "andon-admin"))
        except KafkaError as error:
            raise no_answer(self._settings, error) from error
        return self._client

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._client.close()
        if isinstance(error, KafkaError):
            if error.retriable and (found := led_astray(self._settings, error, self._client)):
                raise found from error
            said = refusal(error, "Describe")
            raise KafkaUnavailableError(f"the broker at {self._settings.kafka_bootstrap} refused: {said}") from error
