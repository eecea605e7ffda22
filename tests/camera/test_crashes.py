"""A state machine over cameras, Kafka, a slow disk, orderly ends and crashes: no frame overtakes another, and none is
unaccounted."""

import shutil
import tempfile
from pathlib import Path

import pytest
from camera.rig import Rig, balanced
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pipeline.events import BootEnd, Frame, now
from workers.camera import uplink
from workers.camera.ledger import DropReason, Tally
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool.recovery import Found, recover

pytestmark = pytest.mark.unit

CAMERAS = ["cam-a", "cam-b"]


def make(sequence: int, camera_id: str, boot_id: str) -> Parcel:
    facts = {"camera_id": camera_id, "line_id": "l", "station_id": "s", "recipe": "r", "boot_id": boot_id}
    frame = Frame(**facts, sequence=sequence, part_id="p", captured_at=now(), content_type="image/png")
    return Parcel(Owner(camera_id, "l", boot_id), sequence, frame.to_headers(), b"." * 300)


@pytest.fixture(autouse=True)
def small_strides(monkeypatch: pytest.MonkeyPatch) -> None:
    """The buffer is moved to the disk frame by frame, so that a frame can come between."""
    monkeypatch.setattr(uplink, "_SPILL_S", 0)


class Factory(RuleBasedStateMachine):
    spool_bytes = 1 << 30
    may_drop = frozenset({DropReason.DIED})

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.log: list[str] = []
        self.captured: dict[Owner, int] = {}
        self.in_memory_at_crash: dict[Owner, int] = {}
        self.boot = 0
        self.rig = self._boot()

    def _boot(self) -> Rig:
        owners = tuple(Owner(camera, "l", f"boot-{self.boot}") for camera in CAMERAS)
        self.captured.update(dict.fromkeys(owners, 0))
        return Rig(self.folder, self.log, owners=owners, spool_bytes=self.spool_bytes, window_bytes=4_000)

    def teardown(self) -> None:
        self.rig.connect()
        self.rig.settle()
        self.rig.uplink.step()
        for owner, captured in self.captured.items():
            tally = self.rig.tally(owner)
            boot = f"{owner.camera_id}:{owner.boot_id}"
            arrived = sum(frame_id.rsplit(":", 1)[0] == boot for frame_id in set(self.log))
            assert tally.waiting == 0
            assert set(tally.dropped) <= self.may_drop
            given_up = sum(tally.dropped.values()) - tally.dropped.get(DropReason.DIED, 0)
            assert captured - arrived <= given_up + self.in_memory_at_crash.get(owner, 0)
            # The last second before a crash is not on record, so fewer may be counted; never a frame twice.
            assert tally.published <= arrived
            assert tally.captured <= captured
        self.rig.crash()
        shutil.rmtree(self.folder)

    @rule(camera=st.sampled_from(CAMERAS), frames=st.integers(1, 4))
    def capture(self, camera: str, frames: int) -> None:
        owner = Owner(camera, "l", f"boot-{self.boot}")
        for _ in range(frames):
            self.rig.capture(make, owner)
            self.captured[owner] += 1

    @rule()
    def step(self) -> None:
        self.rig.uplink.step()

    @rule(frames=st.integers(1, 6), heard=st.booleans())
    def kafka_stores(self, frames: int, heard: bool) -> None:
        if self.rig.kafka:
            if not heard:  # acknowledgements are lost with their connection, so all later ones are too
                self.rig.kafka.answer(frames, heard=False)
                self.rig.disconnect()
            else:
                self.rig.kafka.answer(frames)

    @rule()
    def kafka_comes(self) -> None:
        if not self.rig.kafka:
            self.rig.connect()

    @rule()
    def kafka_goes(self) -> None:
        self.rig.disconnect()

    @rule(slow=st.booleans())
    def a_second_passes(self, slow: bool) -> None:
        self.rig.disk.answer()
        self.rig.disk.slow = slow
        self.rig.uplink.tick()

    @rule()
    def end_and_start(self) -> None:
        self.rig.end()
        for owner, tally in self.rig.ledger.snapshot().items():
            assert tally.buffered == 0
            if tally.end is BootEnd.RUNNING:
                self.rig.ledger.end(owner, BootEnd.CLEAN)
        assert self.rig.spool
        self.rig.spool.checkpoint(self.rig.ledger.snapshot())
        self._restart()

    @rule()
    def crash_and_start(self) -> None:
        for owner, tally in self.rig.ledger.snapshot().items():
            self.in_memory_at_crash[owner] = self.in_memory_at_crash.get(owner, 0) + tally.buffered
        self._restart()

    def _restart(self) -> None:
        self.rig.crash()
        self.boot += 1
        self.rig = self._boot()

    @invariant()
    def every_frame_is_somewhere(self) -> None:
        assert all(balanced(tally) for tally in self.rig.ledger.snapshot().values())

    @invariant()
    def no_frame_overtakes_another(self) -> None:
        newest: dict[str, int] = {}
        for frame_id in dict.fromkeys(self.log):
            boot, sequence = frame_id.rsplit(":", 1)
            assert newest.get(boot, -1) < int(sequence)
            newest[boot] = int(sequence)


class CrampedFactory(Factory):
    """Its spool holds a handful of frames."""

    spool_bytes = 6_000
    may_drop = frozenset({DropReason.DIED, DropReason.SPOOL_FULL, DropReason.UNREADABLE})
    """The last second before a crash is not on record: of a boot that had ended in good order, what was pushed out then
    is what the disk has lost."""


TestFactory = Factory.TestCase
TestFactory.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
TestCrampedFactory = CrampedFactory.TestCase
TestCrampedFactory.settings = TestFactory.settings

OWNER = Owner("cam", "line", "boot")


def test_what_was_in_memory_when_it_died_is_counted_as_such() -> None:
    before = Tally(captured=10, published=4, dropped={"empty": 1})
    assert recover({OWNER: before}, {OWNER: Found(3, 8)})[OWNER] == Tally(
        captured=10, published=4, dropped={"empty": 1, "died": 2}, spooled=3, end=BootEnd.DIED
    )


def test_frames_in_the_spool_prove_that_more_was_captured_than_remembered() -> None:
    after = recover({OWNER: Tally(captured=2)}, {OWNER: Found(3, 6)})[OWNER]
    assert (after.captured, after.spooled, after.dropped) == (7, 3, {"died": 4})


def test_a_clean_end_stays_clean_and_names_what_the_disk_lost() -> None:
    before = Tally(captured=5, published=2, end=BootEnd.CLEAN)
    after = recover({OWNER: before}, {OWNER: Found(2, 4)})[OWNER]
    assert (after.end, after.dropped, after.spooled) == (BootEnd.CLEAN, {"unreadable": 1}, 2)


def test_a_boot_that_only_the_spool_knows_is_adopted() -> None:
    after = recover({}, {OWNER: Found(2, 1)})[OWNER]
    assert after == Tally(captured=2, spooled=2, end=BootEnd.DIED)
