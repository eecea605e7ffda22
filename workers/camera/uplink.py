"""Buffer → Kafka, in order for every camera, by way of the spool whenever Kafka does not keep up.

Order: what is on its way (the window) is older than what is in the spool, and that is older than what is in the
buffer. When the link breaks, the window is sent again from its first unacknowledged frame, through a new producer.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable

from pipeline.events import now
from pipeline.kafka.publisher import Publisher, PublishError, Receipt
from pipeline.kafka.records import Outgoing
from pipeline.kafka.rights import REFUSALS, refusal
from workers.camera.buffer import Buffer
from workers.camera.depot import Depot
from workers.camera.heartbeats import Report
from workers.camera.ledger import DropReason, Ledger, Place
from workers.camera.link import Link
from workers.camera.parcel import Owner, Parcel
from workers.camera.window import Entry, Progress, Window

log = logging.getLogger(__name__)

WINDOW_BYTES = 16 * 1024 * 1024
_ANSWER_TIMEOUT_S = 10.0
_SECURE_AFTER_S = 2.0
"""So long without an answer, and what is on its way is put on disk as well, in case it never comes."""
_HOPELESS_AFTER_S = 5.0
"""Kafka being away for so long, a worker that shall end does not wait for it."""
_TICK_S = 1.0
_IDLE_WAIT_S = 0.1
_SPILL_S = 0.05
"""To the disk at a stretch, so that neither acknowledgements nor what Kafka takes are kept waiting by a slow one."""
_GROUP_BYTES = 1024 * 1024
"""From the buffer at a stretch."""
_GATHER_S = 0.002
"""So long frames gather before they are taken: a thread that is woken for each of them costs more than sending them."""
_REFUSALS = 2
"""A frame that Kafka refuses so often, when it is sent alone, is the culprit itself."""


class Uplink:
    """`run` belongs to one thread; the client library's threads only report answers."""

    def __init__(
        self,
        topic: str,
        buffer: Buffer,
        window: Window,
        ledger: Ledger,
        link: Link,
        depot: Depot | None,
        wake: threading.Event,
        published: Callable[[Parcel], None] | None = None,
    ) -> None:
        """published: told of every frame that Kafka has acknowledged."""
        self._topic = topic
        self._buffer = buffer
        self._window = window
        self._ledger = ledger
        self._link = link
        self._depot = depot
        self._wake = wake
        self._published = published
        self._through: Publisher | None = None
        """Whom the frames on their way were given to."""
        self.refusal: str | None = None
        """Why Kafka takes no frames, which it may do while it takes heartbeats; None once it took one."""
        self._some_failed = False
        self._suspects = 0
        """So many of the oldest frames are sent one by one, to find the one that Kafka refuses."""
        self._answered_at_s = time.monotonic()
        self._ticked_at_s = 0.0
        self._finish_by_s: float | None = None
        self._report: Report = (now(), {})
        self.tick(wait=True)

    def report(self) -> Report:
        return self._depot.report if self._depot else self._report

    def run(self) -> None:
        """Until `finish` is called and has been kept."""
        while not self._finished():
            if not self.step():
                if self._wake.wait(_IDLE_WAIT_S):
                    time.sleep(_GATHER_S)
                self._wake.clear()
        self._put_away()
        self.tick(wait=True)

    def finish(self, within_s: float) -> None:
        """After the sources have stopped: sends what is left, puts away the rest, and lets `run` return."""
        self._finish_by_s = time.monotonic() + within_s
        self._wake.set()

    def step(self) -> bool:
        """Whether anything moved."""
        self._follow_link()
        self._handle_failures()
        moved = self._settle()
        self._watch_for_silence()
        moved |= self._send()
        moved |= self._spill()
        if time.monotonic() - self._ticked_at_s >= _TICK_S:
            self.tick()
        return moved

    def _follow_link(self) -> None:
        publisher = self._link.publisher
        if publisher is not self._through:
            # What the former producer still does with its copies no longer matters.
            self._window.rewind()
            self._through = publisher
            self._answered_at_s = time.monotonic()

    def _handle_failures(self) -> None:
        if not self._some_failed:
            return
        self._some_failed = False
        for entry in self._window:
            if entry.progress is Progress.SENT and (error := entry.failure):
                self._blame(entry, error)
                self._break_link(refusal(error, "Write"))
                return  # the link is new, and nothing is on its way by it

    def _blame(self, entry: Entry, error: BaseException) -> None:
        if isinstance(error.__cause__ or error, REFUSALS):
            return  # of every frame alike, until somebody gives us the right
        if getattr(error, "retriable", False) or self._link.publisher is not self._through:
            return  # Kafka's trouble, or that of a producer that was closed; not the frame's
        if self._suspects:
            entry.refusals += 1
        if entry.refusals >= _REFUSALS:
            entry.progress = Progress.REJECTED
            log.error("Kafka rejects frame %d of %s: %s", entry.parcel.sequence, entry.parcel.owner.camera_id, error)
        self._suspects = len(self._window)

    def _settle(self) -> bool:
        arrived: Counter[tuple[Owner, Place]] = Counter()
        settled = 0
        while entry := self._window.pop_settled():
            settled += 1
            place = Place.BUFFERED if entry.segment is None else Place.SPOOLED
            if entry.progress is Progress.REJECTED:
                self._ledger.drop(entry.parcel.owner, place, DropReason.REJECTED)
            else:
                arrived[entry.parcel.owner, place] += 1
                if self._published:
                    self._published(entry.parcel)
            if self._depot and entry.segment is not None:
                self._depot.release()
        for (owner, place), frames in arrived.items():
            self._ledger.publish(owner, place, frames)
            self.refusal = None
        if settled:
            self._suspects = max(0, self._suspects - settled)
            self._answered_at_s = time.monotonic()
        return settled > 0

    def _watch_for_silence(self) -> None:
        if self._silent_for_s() > _ANSWER_TIMEOUT_S:
            self._break_link(f"no acknowledgement for {_ANSWER_TIMEOUT_S:g} s")

    def _silent_for_s(self) -> float:
        """How long nothing was answered although something was on its way."""
        oldest = next(iter(self._window), None)
        if oldest is None or oldest.progress is not Progress.SENT:
            return 0.0
        return time.monotonic() - self._answered_at_s

    def _break_link(self, why: str) -> None:
        if self._through is not None:
            log.warning("the way to Kafka is broken, %d frames will be sent again: %s", len(self._window), why)
            self._link.broke(self._through)
            self.refusal = why
        self._follow_link()

    def _spill(self) -> bool:
        """To the disk goes what the buffer holds, while Kafka is away, too slow, or older frames are there. What Kafka
        could take was sent just before: a disk that is slower than the cameras would else keep them from it for good.
        """
        if self._depot is None:
            return False
        trouble = self._through is None or self._silent_for_s() > _SECURE_AFTER_S or self._buffer.under_pressure
        if not (trouble or self._depot.has_unsent):
            return False
        end_s = time.monotonic() + _SPILL_S
        if not self._depot.has_unsent and not self._secure_window(self._depot, end_s):
            return True
        moved = False
        while parcel := self._buffer.take():
            if self._depot.store(parcel):
                self._buffer.put_back(parcel)
                break
            moved = True
            if time.monotonic() >= end_s:
                break
        return moved

    def _secure_window(self, depot: Depot, end_s: float = float("inf")) -> bool:
        """Whether there was time for it: nothing newer may be there before all of it is. Where the disk fails, what is
        on its way stays in memory."""
        for entry in self._window.newest_in_memory_only():
            if not depot.secure(entry):
                return True
            if time.monotonic() >= end_s:
                return False
        return True

    def _send(self) -> bool:
        sent = False
        newest: dict[bytes, Receipt] = {}
        while self._through is not None and (entry := self._next_to_send()):
            if entry is next(iter(self._window)):
                self._answered_at_s = time.monotonic()
            entry.progress = Progress.SENT
            parcel = entry.parcel
            key = parcel.owner.camera_id.encode()
            record = Outgoing(self._topic, key, parcel.image, parcel.headers)
            try:
                newest[key] = entry.receipt = self._through.hand_over(record, self._failed)
            except PublishError as error:
                self._blame(entry, error)
                self._break_link(str(error))
                return True
            sent = True
        for receipt in newest.values():
            receipt.add_callback(self._answered)  # a frame before it in its partition is answered before it
        return sent

    def _next_to_send(self) -> Entry | None:
        if self._suspects and self._window.on_the_way:
            return None
        if entry := self._window.next_waiting():
            return entry
        if not self._window.has_room:
            return None
        if self._depot:
            if fetched := self._depot.fetch():
                self._window.add(fetched)
                return fetched
            if self._depot.has_unsent:  # the disk keeps them for now, and nothing newer may overtake them
                return None
        for parcel in self._buffer.take_group(min(self._window.room_bytes, _GROUP_BYTES)):
            self._window.add(Entry(parcel, None))
        return self._window.next_waiting()

    def _failed(self, _: BaseException) -> None:
        """On the client library's thread."""
        self._some_failed = True
        self._wake.set()

    def _answered(self, _: object) -> None:
        """On the client library's thread."""
        self._wake.set()

    def tick(self, *, wait: bool = False) -> None:
        """Every second: what may be reported from now on. wait: for the disk."""
        if self._depot:
            (self._depot.checkpoint if wait else self._depot.begin_checkpoint)()
        else:
            self._report = now(), self._ledger.snapshot()
        self._ticked_at_s = time.monotonic()

    def _finished(self) -> bool:
        if self._finish_by_s is None:
            return False
        nothing_left = not len(self._window) and not self._buffer.size_bytes and (not self._depot or self._depot.empty)
        hopeless = self._depot is not None and self._link.away_for_s > _HOPELESS_AFTER_S
        return nothing_left or hopeless or time.monotonic() > self._finish_by_s

    def _put_away(self) -> None:
        """What could not be sent in time goes to the spool; without one it is lost, and counted."""
        self._settle()
        if self._depot and not self._depot.has_unsent:
            self._secure_window(self._depot)
        while parcel := self._buffer.take():
            reason = self._depot.store(parcel) if self._depot else DropReason.SHUTDOWN
            if reason:
                self._ledger.drop(parcel.owner, Place.BUFFERED, reason)
        # The window last: what is stored above can push its frames out of the spool.
        while len(self._window):
            entry = self._window.pop()
            if entry.segment is not None:
                continue  # stays in the spool, even if acknowledged out of turn: twice is better than lost
            if entry.acknowledged:
                self._ledger.publish(entry.parcel.owner, Place.BUFFERED)
            else:
                reason = DropReason.SPOOL_FULL if self._depot else DropReason.SHUTDOWN
                self._ledger.drop(entry.parcel.owner, Place.BUFFERED, reason)
