import socket

import pytest
from support.stream import settings_for

from pipeline.kafka.admin import ensure_topics
from pipeline.settings import Settings


@pytest.fixture
def settings(kafka_bootstrap: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    return settings


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
