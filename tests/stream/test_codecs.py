"""However a camera or the broker compresses, what they wrote can be read."""

import importlib.util
from typing import Any

import pytest
from kafka import KafkaAdminClient
from support.stream import settings_for

from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.connection import connection
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing


@pytest.mark.services
@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_what_the_broker_compresses_anew_is_read(kafka_bootstrap: str, unique: str, codec: str) -> None:
    """The broker's encoders are Java's, so this stands for a Java camera, too."""
    settings = settings_for(kafka_bootstrap, unique)
    frames = settings.topics.frames
    admin = KafkaAdminClient(**connection(settings, "test"))
    configs = {**frames.config, "compression.type": codec}
    admin.create_topics({frames.name: {"num_partitions": frames.partitions, "configs": configs}})
    admin.close()
    ensure_topics(settings, [frames])
    publisher = Publisher(settings, "test")
    values = [b"small", b"large" * 100_000]
    publisher.publish([Outgoing(frames.name, b"cam-1", value) for value in values])
    publisher.close()
    assert [record.value for record in read_to_end(settings, [frames.name])] == values


@pytest.mark.unit
@pytest.mark.parametrize("module", ["crc32c", "lz4", "snappy", "zstandard"])
def test_an_installation_without_one_of_the_codecs_says_so_at_its_start(
    module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec

    def without(name: str) -> Any:
        return None if name == module else found(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(RuntimeError, match=rf"'{module}' is missing; install 'kafka-python\[crc32c,lz4,snappy,zstd\]'"):
        connection(settings_for("127.0.0.1:1", "x"), "test")
