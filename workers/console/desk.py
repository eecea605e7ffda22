"""Everything that the pages work with, put together once."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path

from pipeline.kafka.publisher import Publisher
from pipeline.maps import MapStore
from pipeline.settings import Settings
from workers.alerting.policy import LinePolicy, Policies
from workers.console.account import Accountant
from workers.console.acts import Acts
from workers.console.feedback import DEFAULT_MAX_MIB, FeedbackStore
from workers.console.gauges import GaugeReader
from workers.console.history import Histories
from workers.console.identity import TrustedProxy
from workers.console.limits import LoginLimits
from workers.console.live import Live
from workers.console.logouts import Ended
from workers.console.memory import Memory
from workers.console.pictures import Pictures
from workers.console.reader import Reader
from workers.console.sessions import Sessions, given_secret, read_secret
from workers.console.users import Users

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What `andon console` was started with."""

    data: Path
    """Users, the key of the sessions, feedback, and the bundles that were written here."""
    users_file: Path | None = None
    session_key: Path | None = None
    """Of somebody else's making; else one in `data`."""
    feedback_file: Path | None = None
    feedback_mib: int = DEFAULT_MAX_MIB
    policies: Policies | None = None
    """As alerting has them; to know k, n, PLCs, and what is only a trial."""
    notice: str = ""
    """Shown loud on every page, for instance that the PLC is simulated."""
    zone: tzinfo | None = None
    """That times are told in; None for the machine's own."""
    stale_after_s: float = 10.0
    proxy: TrustedProxy | None = None
    hosts: frozenset[str] | None = None
    secure: bool = False
    """The page is reached by TLS alone."""
    behind_tls: bool = False
    """By a proxy, which tells in X-Forwarded-For who asks."""

    @property
    def bundles(self) -> Path:
        return self.data / "bundles"

    def policy(self, line_id: str) -> LinePolicy | None:
        return self.policies.of(line_id) if self.policies else None


@dataclass(frozen=True)
class Desk:
    settings: Settings
    options: Options
    users: Users
    sessions: Sessions
    memory: Memory
    reader: Reader
    gauges: GaugeReader
    pictures: Pictures
    acts: Acts
    feedback: FeedbackStore
    histories: Histories
    accountant: Accountant
    live: Live
    limits: LoginLimits = field(default_factory=LoginLimits)


@contextmanager
def open_desk(settings: Settings, options: Options) -> Iterator[Desk]:
    """Follows the factory until the block ends. Kafka and Redis may be away; the pages then say so."""
    options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = given_secret(options.session_key) if options.session_key else read_secret(options.data / "session.key")
    memory = Memory(settings.topics)
    publisher = Publisher(settings, "andon-console", delivery_timeout_s=20)
    maps = MapStore(settings.redis_address, login=settings.redis_login)
    reader, gauges = Reader(settings, memory), GaugeReader(settings)
    desk = Desk(
        settings=settings,
        options=options,
        users=Users(options.users_file or options.data / "users.json"),
        sessions=Sessions(key, Ended(options.data / "sessions-ended.json")),
        memory=memory,
        reader=reader,
        gauges=gauges,
        pictures=Pictures(settings, maps),
        acts=Acts(settings, publisher, memory),
        feedback=FeedbackStore(options.feedback_file or options.data / "feedback.sqlite", options.feedback_mib),
        histories=Histories(settings),
        accountant=Accountant(settings),
        live=Live(memory, reader, gauges, options.policy, options.stale_after_s),
    )
    reader.start()
    gauges.start()
    try:
        yield desk
    finally:
        reader.close()
        gauges.close()
        publisher.close(flush_timeout_s=2)
        maps.close()
