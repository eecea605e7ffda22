"""How far the groups have read: whether anybody judges at all. Asked of the broker every few seconds."""

import threading
import time
from dataclasses import dataclass

from pipeline import groups
from pipeline.errors import AndonError
from pipeline.kafka.admin import Admin, AdminClient, kept_by
from pipeline.kafka.consumer_groups import committed_by
from pipeline.settings import Settings

EVERY_S = 5.0
STUCK_AFTER_S = 12.0


@dataclass(frozen=True)
class Backlog:
    """Of one consumer group."""

    waiting: int = 0
    """Records that lie before the end and are not committed."""
    stuck_s: float = 0.0
    """For so long nothing of it was read although something waits."""

    @property
    def stuck(self) -> bool:
        return self.stuck_s > STUCK_AFTER_S


@dataclass(frozen=True)
class Gauges:
    inspection: Backlog = Backlog()
    alerting: Backlog = Backlog()
    fault: str | None = None


class GaugeReader:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._moved: dict[str, tuple[int, float]] = {}
        self.now = Gauges(fault="the broker was not asked yet how far the groups have read")
        self._thread = threading.Thread(target=self._run, name="console-gauges", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(20)

    def _run(self) -> None:
        while not self._stop.is_set():
            looks = 0
            try:
                with Admin(self._settings) as admin:
                    while not self._stop.is_set():
                        self.now = self._look(admin)
                        looks += 1
                        self._stop.wait(EVERY_S)
            except Exception as error:  # the client library raises more than it says; the next look may do
                if looks:
                    continue  # its broker may be restarted while others answer: a client that is opened anew finds them
                why = str(error) if isinstance(error, AndonError) else f"{type(error).__name__}: {error}"
                self.now = Gauges(self.now.inspection, self.now.alerting, why)
                self._stop.wait(EVERY_S)

    def _look(self, admin: AdminClient) -> Gauges:
        topics = self._settings.topics
        kept = kept_by(admin, self._settings, [topics.frames.name, topics.scores.name, topics.operations.name])
        backlogs: dict[str, Backlog] = {}
        for group, names in (
            (groups.INSPECTION, (topics.frames.name,)),
            (groups.ALERTING, (topics.scores.name, topics.operations.name)),
        ):
            done = committed_by(admin, self._settings.group(group))
            read = sum(offset for (name, _), offset in done.items() if name in names)
            # A partition without a commit is not read yet; what has expired from it is not waiting for anybody.
            waiting = sum(
                max(0, held.stop - max(held.start, done.get(at, 0))) for at, held in kept.items() if at[0] in names
            )
            at_s = time.monotonic()
            before, since_s = self._moved.get(group, (-1, at_s))
            if read != before or waiting == 0:
                since_s = at_s
            self._moved[group] = (read, since_s)
            backlogs[group] = Backlog(waiting, at_s - since_s)
        return Gauges(backlogs[groups.INSPECTION], backlogs[groups.ALERTING])
