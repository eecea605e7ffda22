"""A broker that answers, and sends its clients where nobody is: its `advertised.listeners` are of another network."""

from pathlib import Path

import pytest
from support.stream import settings_for, wait_until

from pipeline.kafka.admin import check_topics, ensure_topics
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.kafka.reading import read_to_end
from workers.local.kafka_broker import KafkaBroker
from workers.local.ports import LOOPBACK, accepts_connections, free_ports

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]


class Astray(KafkaBroker):
    """Called by its own name until `elsewhere` is set."""

    elsewhere: str | None = None

    def _write_properties(self) -> Path:
        path = super()._write_properties()
        if self.elsewhere:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"advertised.listeners=PLAINTEXT://{self.elsewhere}\n")
        return path

    def _answers(self, timeout_s: float) -> bool:
        return accepts_connections(self.port) if self.elsewhere else super()._answers(timeout_s)


def test_a_broker_that_sends_us_elsewhere_is_told_of_with_the_place(tmp_path: Path, unique: str) -> None:
    """Connection refused, or a time-out, was all that was said, of the address that was right."""
    broker = Astray(tmp_path / "kafka", tmp_path / "kafka.log")
    with broker:
        settings = settings_for(broker.bootstrap, unique)
        ensure_topics(settings, [settings.topics.frames])
    broker.elsewhere = f"{LOOPBACK}:{free_ports(1)[0]}"
    told = f"the Kafka broker at {broker.bootstrap} sends us to {broker.elsewhere}, where nobody can be reached"

    def is_told() -> bool:  # just after its start a broker does not know yet how it is called
        with pytest.raises(KafkaUnavailableError) as checked:
            check_topics(settings, [settings.topics.frames])
        return told in str(checked.value)

    with broker:
        wait_until(is_told)
        with pytest.raises(KafkaUnavailableError, match=told):
            next(read_to_end(settings, [settings.topics.frames.name], timeout_s=3))
