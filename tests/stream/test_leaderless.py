"""`andon topics check` tells of a partition that no broker leads."""

from typing import Any

import pytest
from kafka import KafkaAdminClient
from typer.testing import CliRunner

from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.settings import Settings
from workers.commands.topics import topics

pytestmark = pytest.mark.services


def test_topics_are_not_as_they_must_be_while_a_partition_has_no_leader(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of all partitions lay on a disk that was full, and the command was content. As Kafka tells it then: a broker
    loses one of its disks only where it has several, which ours has not."""
    describe = KafkaAdminClient.describe_topics

    def away(*arguments: Any, **more: Any) -> Any:
        found = describe(*arguments, **more)
        found[0]["partitions"][0]["leader_id"] = -1
        return found

    monkeypatch.setenv("KAFKA_BOOTSTRAP", settings.kafka_bootstrap)
    monkeypatch.setenv("ANDON_TOPIC_PREFIX", settings.andon_topic_prefix)
    monkeypatch.setenv("ANDON_FRAME_PARTITIONS", "2")
    monkeypatch.setenv("ANDON_LINE_PARTITIONS", "2")
    assert CliRunner().invoke(topics, ["check"]).exit_code == 0
    monkeypatch.setattr(KafkaAdminClient, "describe_topics", away)
    told = CliRunner().invoke(topics, ["check"]).exception
    assert isinstance(told, KafkaUnavailableError)
    assert str(told).startswith(f"Kafka answers at {settings.kafka_bootstrap}, but no broker leads ")
