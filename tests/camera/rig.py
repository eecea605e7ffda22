"""An uplink with a played Kafka: it takes what it is sent, and answers when the test says so."""

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.kafka.publisher import PublishError
from pipeline.kafka.records import Outgoing
from workers.camera.buffer import Buffer, WhenFull
from workers.camera.depot import Depot, adopt_former_boots
from workers.camera.ledger import DropReason, Ledger, Place, Tally
from workers.camera.link import Link
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool.store import Spool
from workers.camera.uplink import Uplink
from workers.camera.window import Window

Answer = Callable[[BaseException | None], None]


class PlayedKafka:
    """What pipeline.kafka.publisher.Publisher is to the uplink. `log` is what Kafka has, over all producers."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.pending: deque[tuple[str, Answer]] = deque()
        self.refused: set[str] = set()
        """Frames that kill the producer, as too large a record does."""
        self.dead = False

    def send(self, record: Outgoing, on_done: Answer) -> None:
        if self.dead:
            raise PublishError("the publisher is closed", retriable=False)
        self.pending.append((dict(record.headers)["frame_id"].decode(), on_done))

    def answer(self, frames: int = 1_000_000, *, heard: bool = True) -> None:
        """Stores the oldest so many frames; `heard`: the acknowledgement comes through."""
        for _ in range(min(frames, len(self.pending))):
            frame_id, on_done = self.pending.popleft()
            if frame_id in self.refused:
                self.die(on_done)
                return
            self.log.append(frame_id)
            if heard:
                on_done(None)

    def die(self, on_done: Answer) -> None:
        """As kafka-python does: every record that is still held fails with the same error."""
        self.dead = True
        for each in [on_done, *(answer for _, answer in self.pending)]:
            each(PublishError("refused", retriable=False))
        self.pending.clear()

    def close(self, flush_timeout_s: float = 10) -> None:
        self.dead = True
        self.pending.clear()


class Rig:
    def __init__(
        self,
        folder: Path | None,
        log: list[str] | None = None,
        *,
        spool_bytes: int = 1 << 30,
        buffer_bytes: int = 1 << 20,
        window_bytes: int = 1 << 20,
        owners: tuple[Owner, ...] = (),
    ) -> None:
        self.log: list[str] = [] if log is None else log
        self.ledger = Ledger()
        self.buffer = Buffer(buffer_bytes, WhenFull.DROP_OLDEST)
        self.link = Link()
        self.window = Window(window_bytes)
        self.spool = Spool(folder, spool_bytes) if folder else None
        depot = None
        if self.spool:
            adopt_former_boots(self.spool, self.ledger)
            depot = Depot(self.spool, self.ledger, self.window)
        for owner in owners:
            self.ledger.open(owner)
        self.refused: set[str] = set()
        self.kafka: PlayedKafka | None = None
        wake = threading.Event()
        self.uplink = Uplink("frames", self.buffer, self.window, self.ledger, self.link, depot, wake)

    def connect(self) -> PlayedKafka:
        self.kafka = PlayedKafka(self.log)
        self.kafka.refused = self.refused
        self.link.up(self.kafka)  # type: ignore[arg-type]
        return self.kafka

    def disconnect(self) -> None:
        if self.kafka:
            self.link.broke(self.kafka)  # type: ignore[arg-type]
            self.kafka = None

    def capture(self, make: Callable[..., Parcel], owner: Owner, **more: Any) -> None:
        if owner not in self.ledger.snapshot():
            self.ledger.open(owner)
        sequence = self.ledger.capture(owner)
        for lost in self.buffer.put(make(sequence, owner.camera_id, boot_id=owner.boot_id, **more)):
            self.ledger.drop(lost.owner, Place.BUFFERED, DropReason.BUFFER_FULL)

    def settle(self) -> None:
        """Steps and answers until nothing moves any more."""
        for _ in range(10_000):
            moved = self.uplink.step()
            if self.link.publisher is None and self.kafka:
                self.link.close_retired()
                self.connect()
                moved = True
            if self.kafka and self.kafka.pending:
                self.kafka.answer()
                moved = True
            if not moved:
                return
        raise AssertionError("the uplink never comes to rest")

    def end(self) -> None:
        """In good order, at once."""
        self.uplink.finish(within_s=0)
        self.uplink.run()

    def crash(self) -> None:
        if self.spool:
            self.spool.close()

    def tally(self, owner: Owner) -> Tally:
        return self.ledger.snapshot()[owner]
