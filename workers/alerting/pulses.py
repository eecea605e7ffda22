"""The newest heartbeat of each camera, read in the background."""

import logging
import threading

from pipeline.events import ContractError, Heartbeat
from pipeline.kafka.reading import follow
from pipeline.settings import Settings
from workers.alerting.silence import Pulse

log = logging.getLogger(__name__)

RETRY_S = 2.0
MAX_CAMERAS = 10_000


class PulseReader:
    """Its thread alone writes; whoever asks takes what is there."""

    def __init__(self, settings: Settings) -> None:
        self.newest: dict[str, Pulse] = {}
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pulses", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(8)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for record in follow(
                    self._settings, [self._settings.topics.heartbeats.name], self._stop, from_beginning=True
                ):
                    self._take(record.value)
            except Exception as error:
                # Whatever it was, a reader in the background must not end for good.
                log.warning("heartbeats: %s", error)
                self._stop.wait(RETRY_S)

    def _take(self, value: bytes | None) -> None:
        try:
            beat = Heartbeat.from_json(value)
        except ContractError:
            return
        before = self.newest.get(beat.camera_id)
        # A new worker reports the boots of its predecessors too, while it empties their spool.
        if before is None or beat.boot_id >= before.beat.boot_id:
            if before is None and len(self.newest) >= MAX_CAMERAS:
                del self.newest[min(self.newest, key=lambda name: self.newest[name].beat.sent_at)]
            same_boot = before is not None and before.beat.boot_id == beat.boot_id
            since = before.since if before is not None and same_boot else beat.sent_at
            self.newest[beat.camera_id] = Pulse(beat, since)
