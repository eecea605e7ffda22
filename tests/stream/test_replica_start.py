"""A replica that starts before Kafka does, or without a configuration."""

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from support.plant import null_recipes
from support.stream import settings_for

from pipeline.detectors.null import make_null_bundle
from pipeline.kafka.admin import ensure_topics
from pipeline.serving import Inspector
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services


def new_replica() -> Any:
    return Inspector.func_or_class.__mro__[1]()  # type: ignore[attr-defined]  # without Serve's door


def test_a_replica_without_a_configuration_is_not_well() -> None:
    """Serve called it RUNNING and /healthz answered 200, while no frame was ever taken."""
    with pytest.raises(RuntimeError, match="no user_config"):
        new_replica().check_health()


def test_a_replica_waits_for_kafka_and_then_takes_frames(
    own_kafka: KafkaBroker, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Serve gives a replica that raises at its start three tries, and none after that, whoever comes back."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    for name in ("kafka_bootstrap", "andon_topic_prefix", "andon_frame_partitions", "andon_line_partitions"):
        monkeypatch.setenv(name.upper(), str(getattr(settings, name)))
    make_null_bundle(tmp_path / "null", 32, 32)
    own_kafka.kill()
    replica = new_replica()
    start = threading.Timer(12, own_kafka.start)  # a first connection is given up after 8 s
    start.start()
    try:
        asyncio.run(replica.reconfigure({"recipes": null_recipes(tmp_path)}))
        replica.check_health()
        health = asyncio.run(replica.healthz())
        assert health["recipes"]["null"]["method"] == "null"
    finally:
        start.join()
        asyncio.run(replica.__del__())
        gc.collect()
