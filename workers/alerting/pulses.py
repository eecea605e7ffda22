"""The newest heartbeat of each camera, read in the background."""

import logging
import threading
from collections.abc import Callable
from datetime import datetime

from pipeline.events import ContractError, Heartbeat, now
from pipeline.kafka.reading import Place, ends_of, follow
from pipeline.kafka.records import Incoming
from pipeline.settings import Settings
from workers.alerting.core.silence import Pulse, Pulses, hear

log = logging.getLogger(__name__)

RETRY_S = 2.0
MAX_PULSES = 10_000


class PulseReader:
    """Its thread alone writes; whoever asks takes what is there."""

    def __init__(
        self,
        settings: Settings,
        arrived: Callable[[int], None] = lambda at_ms: None,
        clock: Callable[[], datetime] = now,
    ) -> None:
        """`arrived`: told when each heartbeat came to the broker."""
        self._settings = settings
        self._arrived = arrived
        self._clock = clock
        self._newest: dict[str, Pulse] = {}
        self._places: dict[Place, int] = {}
        self._caught_up = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulses", daemon=True)
        self._thread.start()

    @property
    def newest(self) -> Pulses:
        """Empty until the past is read: half of it may close with a good end long ago, and would excuse a camera that
        has died since."""
        return dict(self._newest) if self._caught_up.is_set() else {}

    def wait_for_the_past(self, timeout_s: float) -> bool:
        """Whether it is read."""
        return self._caught_up.wait(timeout_s)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(8)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                topics = [self._settings.topics.heartbeats.name]
                for record in follow(
                    self._settings,
                    topics,
                    self._stop,
                    from_beginning=True,
                    start=self._places,
                    ends=ends_of(self._settings, topics),
                    reached=self._caught_up.set,
                ):
                    self._take(record)
            except Exception as error:
                # Whatever it was, a reader in the background must not end for good.
                log.warning("heartbeats: %s", error)
                self._stop.wait(RETRY_S)

    def _take(self, record: Incoming) -> None:
        self._arrived(record.timestamp_ms)
        try:
            beat = Heartbeat.from_json(record.value)
        except ContractError:
            pass
        else:
            if beat.camera_id not in self._newest and len(self._newest) >= MAX_PULSES:
                del self._newest[min(self._newest, key=lambda name: self._newest[name].beat.sent_at)]
            read_at = self._clock() if self._caught_up.is_set() else None
            self._newest[beat.camera_id] = hear(self._newest.get(beat.camera_id), beat, read_at)
        self._places[record.topic, record.partition] = record.offset + 1
