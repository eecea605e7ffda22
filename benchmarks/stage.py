"""A private broker and a private Valkey for one run. Nothing in the environment can point it at another's."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.kafka.admin import delete_topics, ensure_topics
from pipeline.settings import Settings
from workers.local.kafka_broker import KafkaBroker
from workers.local.valkey import Valkey


@dataclass(frozen=True)
class Stage:
    folder: Path
    broker: KafkaBroker
    valkey: Valkey
    quick: bool
    ran: list[str] = field(default_factory=list)
    """Sections that are over, in order."""

    def sized(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @contextmanager
    def topics(self, frame_partitions: int = 8) -> Iterator[Settings]:
        """Fresh topics, deleted at the end with all their records."""
        settings = Settings(
            kafka_bootstrap=self.broker.bootstrap,
            kafka_security_protocol="PLAINTEXT",
            redis_url=self.valkey.url,
            andon_topic_prefix=f"bench-{secrets.token_hex(3)}.",
            andon_frame_partitions=frame_partitions,
        )
        ensure_topics(settings, settings.topics)
        try:
            yield settings
        finally:
            delete_topics(settings, settings.andon_topic_prefix)


@contextmanager
def stage(quick: bool) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="andon-bench-") as name:
        folder = Path(name)
        with (
            KafkaBroker(folder / "kafka", folder / "kafka.log") as broker,
            Valkey(folder / "valkey", folder / "valkey.log") as valkey,
        ):
            yield Stage(folder, broker, valkey, quick)


def environment(settings: Settings) -> dict[str, str]:
    """For child processes, which read the same settings from there."""
    return {
        "KAFKA_BOOTSTRAP": settings.kafka_bootstrap,
        "KAFKA_SECURITY_PROTOCOL": settings.kafka_security_protocol,
        "REDIS_URL": settings.redis_address,
        "ANDON_TOPIC_PREFIX": settings.andon_topic_prefix,
        "ANDON_FRAME_PARTITIONS": str(settings.andon_frame_partitions),
        "ANDON_LINE_PARTITIONS": str(settings.andon_line_partitions),
    }
