"""The local broker is a real one: big records, and nothing lost to a crash."""

import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from pipeline.kafka.probe import broker_answers
from workers.local.kafka_broker import KafkaBroker
from workers.local.kafka_settings import BrokerPorts, as_text, broker_properties

MIB = 1024 * 1024
RECORD = os.urandom(2_000_000)


def make_topic(broker: KafkaBroker, name: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap)
    config = {"max.message.bytes": str(4 * MIB)}
    admin.create_topics({name: {"num_partitions": 1, "replication_factor": 1, "configs": config}}, timeout_ms=60_000)
    admin.wait_for_topics([name], timeout_ms=60_000)
    admin.close()


def write(broker: KafkaBroker, topic: str, values: list[bytes]) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, max_request_size=4 * MIB)
    for value in values:
        producer.send(topic, value).get(timeout=60)
    producer.close(timeout=5)


def read(broker: KafkaBroker, topic: str, count: int, timeout_s: float = 60) -> list[bytes]:
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, max_partition_fetch_bytes=8 * MIB)
    consumer.assign([TopicPartition(topic, 0)])
    consumer.seek_to_beginning()
    found: list[bytes] = []
    deadline = time.monotonic() + timeout_s
    while len(found) < count and time.monotonic() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            found += [record.value for record in records]
    consumer.close()
    return found


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    kib = next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
    return int(kib) / 1024


@pytest.mark.unit
def test_settings_reach_no_further_than_this_machine() -> None:
    properties = broker_properties(BrokerPorts(20_000, 20_001), Path("data"))
    assert properties["listeners"] == "PLAINTEXT://127.0.0.1:20000,CONTROLLER://127.0.0.1:20001"
    assert int(properties["message.max.bytes"]) >= 8 * MIB
    assert "auto.create.topics.enable=false\n" in as_text(properties)


@pytest.mark.services
def test_records_of_2_mb_come_back_as_they_were(own_kafka: KafkaBroker, unique: str) -> None:
    make_topic(own_kafka, unique)
    write(own_kafka, unique, [RECORD] * 5)
    assert read(own_kafka, unique, 5) == [RECORD] * 5
    if sys.platform == "linux":
        assert resident_mib(own_kafka.pid) < 400


@contextmanager
def somebody_else_at_the_controllers_port(broker: KafkaBroker) -> Iterator[None]:
    """Nobody but the broker knows that port, so it need not be the same one."""
    (listeners,) = re.findall(r"^listeners=(.+)$", (broker.folder / "server.properties").read_text(), re.MULTILINE)
    port = int(listeners.rpartition(":")[2])
    assert port != broker.port
    with socket.create_server(("127.0.0.1", port)):
        yield


@pytest.mark.services
def test_a_killed_broker_comes_back_on_its_port_with_its_data(own_kafka: KafkaBroker, unique: str) -> None:
    make_topic(own_kafka, unique)
    write(own_kafka, unique, [b"before"])
    address = own_kafka.bootstrap
    own_kafka.kill()
    assert not broker_answers(address, 0.3)
    with somebody_else_at_the_controllers_port(own_kafka):
        own_kafka.start()
    assert own_kafka.bootstrap == address
    write(own_kafka, unique, [b"after"])
    assert read(own_kafka, unique, 2) == [b"before", b"after"]


@pytest.mark.services
def test_a_paused_broker_keeps_its_connections_and_answers_again_later(own_kafka: KafkaBroker) -> None:
    own_kafka.pause()
    assert not broker_answers(own_kafka.bootstrap, 0.3)
    own_kafka.resume()
    assert broker_answers(own_kafka.bootstrap, 60)


@pytest.mark.services
def test_a_stopped_broker_leaves_no_process(own_kafka: KafkaBroker) -> None:
    pid = own_kafka.pid
    own_kafka.stop()
    assert not Path(f"/proc/{pid}").exists()
    own_kafka.stop()  # twice is fine


@pytest.mark.services
def test_it_keeps_its_data_in_its_folder_whatever_that_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")
    home = tmp_path / "Jürgens Halle, 工場" / "kafka"
    with KafkaBroker(home, tmp_path / "kafka.log"):
        assert (home / "data" / "meta.properties").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Jürgens Halle, 工場", "kafka.log"]
