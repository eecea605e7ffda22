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


def balanced(tally: Tally) -> bool:
    """Every frame that was captured is somewhere."""
    return tally.captured == tally.published + sum(tally.dropped.values()) + tally.waiting


class PlayedReceipt:
    def __init__(self, on_error: Callable[[BaseException], None]) -> None:
        self.is_done = False
        self.exception: BaseException | None = None
        self._on_error = on_error
        self._callbacks: list[Callable[[object], None]] = []

    def add_callback(self, f: Callable[[object], None]) -> None:
        self._callbacks.append(f)

    def answer(self, error: BaseException | None) -> None:
        self.exception, self.is_done = error, True
        if error is not None:
            self._on_error(error)
            return
        for each in self._callbacks:
            each(None)


class PlayedKafka:
    """What pipeline.kafka.publisher.Publisher is to the uplink. `log` is what Kafka has, over all producers."""

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.pending: deque[tuple[str, PlayedReceipt]] = deque()
        self.says: BaseException = PublishError("refused", retriable=False)
        self.refused: set[str] = set()
        """Frames that kill the producer, as too large a record does."""
        self.refuses_batches = False
        """What was sent before such a frame is refused with it, as in one batch with it."""
        self.dead = False

    def hand_over(self, record: Outgoing, on_error: Callable[[BaseException], None]) -> PlayedReceipt:
        if self.dead:
            raise PublishError("the publisher is closed", retriable=False)
        receipt = PlayedReceipt(on_error)
        self.pending.append((dict(record.headers)["frame_id"].decode(), receipt))
        return receipt

    def answer(self, frames: int = 1_000_000, *, heard: bool = True) -> None:
        """Stores the oldest so many frames; `heard`: the acknowledgement comes through."""
        if self.refuses_batches and self.refused.intersection(frame_id for frame_id, _ in self.pending):
            self.die(self.pending.popleft()[1])
        for _ in range(min(frames, len(self.pending))):
            frame_id, receipt = self.pending.popleft()
            if frame_id in self.refused:
                self.die(receipt)
                return
            self.log.append(frame_id)
            if heard:
                receipt.answer(None)

    def die(self, refused: PlayedReceipt) -> None:
        """As kafka-python does: every record that is still held fails with the same error."""
        self.dead = True
        for each in [refused, *(receipt for _, receipt in self.pending)]:
            each.answer(self.says)
        self.pending.clear()

    def close(self, flush_timeout_s: float = 10) -> None:
        self.dead = True
        self.pending.clear()


class PlayedDisk:
    """Makes checkpoints durable at once; while `slow`, when it answers or somebody waits for it."""

    def __init__(self) -> None:
        self.slow = False
        self.answer: Callable[[], None] = lambda: None

    def begin(self, work: Callable[[], None]) -> Callable[[], None]:
        left = [work]

        def finish() -> None:
            while left:
                left.pop()()

        self.answer = finish
        if not self.slow:
            finish()
        return finish


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
        self.disk = PlayedDisk()
        depot = None
        if self.spool:
            adopt_former_boots(self.spool, self.ledger)
            depot = Depot(self.spool, self.ledger, self.window, self.disk.begin)
        for owner in owners:
            self.ledger.open(owner)
        self.refused: set[str] = set()
        self.refuses_batches = False
        self.kafka: PlayedKafka | None = None
        wake = threading.Event()
        self.uplink = Uplink("frames", self.buffer, self.window, self.ledger, self.link, depot, wake)

    def connect(self) -> PlayedKafka:
        self.kafka = PlayedKafka(self.log)
        self.kafka.refused, self.kafka.refuses_batches = self.refused, self.refuses_batches
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
