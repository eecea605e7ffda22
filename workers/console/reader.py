"""The thread that follows the factory's topics, and keeps at it when Kafka goes away and comes back."""

import logging
import threading
from datetime import timedelta

from pipeline.errors import AndonError
from pipeline.events import now
from pipeline.kafka.reading import Place, ends_of, follow, places_at
from pipeline.settings import Settings
from workers.alerting.recovery import read_stored
from workers.console.memory import ALARMS_FOR, DEAD_FOR, Memory

log = logging.getLogger(__name__)

STILL_READING = "the page is still reading what the factory told"
DEAD_BEFORE = 100
"""Of a partition. Each holds its frame, megabytes perhaps, and until all are read the page calls nothing good."""
RETRY_S = 1.0
LAST_RETRY_S = 10.0


class Reader:
    """`close` ends it. `fault` says what keeps it from reading; `behind`, until the past is read, that it is not."""

    def __init__(self, settings: Settings, memory: Memory) -> None:
        self._settings = settings
        self._memory = memory
        self._stop = threading.Event()
        self._places: dict[Place, int] = {}
        self._ends: dict[Place, int] = {}
        self.fault: str | None = "the page has only just started, and is reading what the factory told"
        self.standing_fault: str | None = None
        """Why the alarms that stood before this page's memory could not be read."""
        self._caught_up = False
        self._thread = threading.Thread(target=self._run, name="console-reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def behind(self) -> str | None:
        """What is read so far looks like a factory without stops and alarms: an old state, and no sign that it is."""
        if self._caught_up or not self._ends:
            return None
        left = sum(max(0, end - self._places.get(at, 0)) for at, end in self._ends.items())
        return f"{STILL_READING}: {left} records are left"

    def _reached(self) -> None:
        self._caught_up = True

    def _away(self, why: str | None) -> None:
        self.fault = why

    def _run(self) -> None:
        wait_s = RETRY_S
        while not self._stop.is_set():
            try:
                if not self._places:
                    self._begin()
                self.fault = None
                wait_s = RETRY_S
                for record in follow(
                    self._settings,
                    self._memory.topics,
                    self._stop,
                    start=self._places,
                    ends=self._ends,
                    reached=self._reached,
                    away=self._away,
                ):
                    self._memory.read(record)
                    self._places[record.topic, record.partition] = record.offset + 1
            except AndonError as error:
                self.fault = str(error)
                log.warning("reading goes on in %g s: %s", wait_s, error)
                self._stop.wait(wait_s)
                wait_s = min(LAST_RETRY_S, wait_s * 2)
            except Exception as error:  # a page that shows an old state in silence would be worse than any fault
                self.fault = f"{type(error).__name__}: {error}"
                log.exception("reading goes on in %g s", LAST_RETRY_S)
                self._stop.wait(LAST_RETRY_S)

    def _begin(self) -> None:
        """From how far back: by age and by number, so that a start takes seconds on any plant."""
        self._read_standing()
        topics = self._settings.topics
        far = {
            topics.scores.name: (timedelta(minutes=15), 20_000),
            topics.heartbeats.name: (timedelta(days=14), 50_000),
            topics.alarms.name: (ALARMS_FOR, 20_000),
            topics.line_commands.name: (timedelta(days=7), 5_000),
            topics.shadow_commands.name: (timedelta(days=1), 5_000),
            topics.command_replies.name: (timedelta(days=7), 5_000),
            topics.audit_log.name: (timedelta(days=7), 2_000),
            topics.frames_dead.name: (DEAD_FOR, DEAD_BEFORE),
        }
        ends = ends_of(self._settings, list(far))
        places: dict[Place, int] = {}
        for name, (age, count) in far.items():
            for place, offset in places_at(self._settings, [name], now() - age).items():
                places[place] = max(offset, ends[place] - count)
        self._places, self._ends = places, ends

    def _read_standing(self) -> None:
        """What stands latched, however long ago it was raised."""
        try:
            stored = read_stored(self._settings)
        except AndonError as error:
            self.standing_fault = str(error)
            log.error("what stood before can't be read: %s", error)
            return
        self.standing_fault = "; ".join(map(str, stored.faults())) or None
        if self.standing_fault:
            log.error("%s", self.standing_fault)
        for line in stored.lines.values():
            for entry in line.state.alarms:
                self._memory.tell_alarm(entry.alarm)
            if line.state.last_command is not None:
                self._memory.tell_command(line.state.last_command)
