"""Whatever Kafka does, each camera's frames arrive in order, and each one is accounted for."""

import errno
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from camera.rig import Rig, balanced
from kafka.errors import TopicAuthorizationFailedError

from pipeline.events import BootEnd
from workers.camera import depot
from workers.camera import uplink as uplink_module
from workers.camera.ledger import Tally
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool import store

pytestmark = pytest.mark.unit


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step does all that there is to do, also on a machine that stands still amid it."""
    monkeypatch.setattr(uplink_module, "_SPILL_S", 60)
    monkeypatch.setattr(depot, "_AT_A_STRETCH_S", 60)


MakeParcel = Callable[..., Parcel]


def ids(owner: Owner, *sequences: int) -> list[str]:
    return [f"{owner.camera_id}:{owner.boot_id}:{sequence}" for sequence in sequences]


def capture(rig: Rig, parcel: MakeParcel, owner: Owner, frames: int) -> None:
    for _ in range(frames):
        rig.capture(parcel, owner)


def test_with_kafka_there_nothing_touches_the_disk(tmp_path: Path, parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(tmp_path)
    rig.connect()
    capture(rig, parcel, owner, 5)
    rig.settle()
    assert rig.log == ids(owner, *range(5))
    assert rig.tally(owner) == Tally(captured=5, published=5)
    assert not list(tmp_path.glob("*.segment"))


def test_without_kafka_frames_go_to_the_spool_and_come_back_in_order(
    tmp_path: Path, parcel: MakeParcel, owner: Owner
) -> None:
    rig = Rig(tmp_path)
    capture(rig, parcel, owner, 3)
    rig.uplink.step()
    assert rig.tally(owner) == Tally(captured=3, spooled=3)
    rig.connect()
    capture(rig, parcel, owner, 3)
    rig.settle()
    assert rig.log == ids(owner, *range(6))
    assert rig.tally(owner) == Tally(captured=6, published=6)


def test_a_disk_that_takes_its_time_holds_up_no_frame_that_kafka_takes(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synchronising took 3 s a second: every frame came 8 s late, through the spool, although Kafka was well."""
    monkeypatch.setattr(uplink_module, "_TICK_S", 0)
    rig = Rig(tmp_path, owners=(owner,))
    rig.connect()
    rig.disk.slow = True
    for frames in (1, 2, 3):
        capture(rig, parcel, owner, 1)
        rig.settle()
        assert rig.log == ids(owner, *range(frames))
    assert rig.uplink.report()[1] == {owner: Tally()}  # no more is on disk
    rig.disk.answer()
    rig.end()
    assert rig.uplink.report()[1] == {owner: Tally(captured=3, published=3)}


def test_a_disk_that_is_slower_than_the_cameras_is_left_alone_once_kafka_is_back(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All went by way of it for good, and a third of the frames was dropped, although Kafka took everything."""
    clock = SimpleNamespace(monotonic=lambda: clock.now_s, now_s=1.0)
    for module in (uplink_module, depot):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(uplink_module, "_SPILL_S", 0.05)
    rig = Rig(tmp_path, buffer_bytes=300_000, owners=(owner,))
    assert rig.spool
    append = rig.spool.append

    def slow(*frame: Any, **how: Any) -> int:
        clock.now_s += 0.005
        return append(*frame, **how)

    rig.spool.append = slow  # type: ignore[method-assign]
    captured = 0

    def work() -> None:
        nonlocal captured
        clock.now_s += 0.001
        due = int(clock.now_s * 400)  # a second; the disk takes 200
        capture(rig, parcel, owner, due - captured)
        captured = due
        rig.uplink.step()
        if rig.kafka:
            rig.kafka.answer()

    while not rig.tally(owner).dropped:
        work()
    rig.connect()
    back_s = clock.now_s
    while rig.tally(owner).waiting:
        work()
        assert clock.now_s - back_s < 10, rig.tally(owner)


def test_without_a_spool_frames_wait_in_memory(parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(None)
    rig.connect()
    capture(rig, parcel, owner, 4)
    rig.uplink.step()
    rig.disconnect()
    rig.uplink.step()
    assert rig.tally(owner) == Tally(captured=4, buffered=4)
    rig.connect()
    rig.settle()
    assert rig.log == ids(owner, 0, 1, 2, 3)


def test_unacknowledged_frames_are_sent_again_before_newer_ones(
    tmp_path: Path, parcel: MakeParcel, owner: Owner
) -> None:
    rig = Rig(tmp_path)
    kafka = rig.connect()
    capture(rig, parcel, owner, 4)
    rig.uplink.step()
    kafka.answer(2)
    kafka.answer(1, heard=False)
    rig.disconnect()
    capture(rig, parcel, owner, 2)
    rig.uplink.step()
    assert rig.tally(owner) == Tally(captured=6, published=2, spooled=4)
    rig.connect()
    rig.settle()
    assert rig.log == ids(owner, 0, 1, 2, 2, 3, 4, 5)
    assert rig.tally(owner) == Tally(captured=6, published=6)


def test_silence_puts_what_is_on_its_way_on_disk_and_then_breaks_the_link(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    rig.connect()
    capture(rig, parcel, owner, 2)
    rig.uplink.step()
    monkeypatch.setattr(uplink_module, "_SECURE_AFTER_S", 0.0)
    rig.uplink.step()
    assert rig.tally(owner) == Tally(captured=2, spooled=2)
    assert rig.link.publisher is not None
    monkeypatch.setattr(uplink_module, "_ANSWER_TIMEOUT_S", 0.0)
    rig.uplink.step()
    assert rig.link.publisher is None


def test_the_one_frame_that_kafka_refuses_is_found_among_its_neighbours(
    tmp_path: Path, parcel: MakeParcel, owner: Owner
) -> None:
    rig = Rig(tmp_path)
    rig.refused.update(ids(owner, 2))
    rig.connect()
    capture(rig, parcel, owner, 6)
    rig.settle()
    assert list(dict.fromkeys(rig.log)) == ids(owner, 0, 1, 3, 4, 5)
    assert rig.tally(owner) == Tally(captured=6, published=5, dropped={"rejected": 1})


def test_a_batch_that_is_refused_costs_its_one_bad_frame_and_then_frames_go_together_again(
    tmp_path: Path, parcel: MakeParcel, owner: Owner
) -> None:
    rig = Rig(tmp_path)
    rig.refused.update(ids(owner, 2))
    rig.refuses_batches = True
    rig.connect()
    capture(rig, parcel, owner, 5)
    rig.settle()
    assert rig.log == ids(owner, 0, 1, 3, 4)
    assert rig.tally(owner) == Tally(captured=5, published=4, dropped={"rejected": 1})
    capture(rig, parcel, owner, 3)
    rig.uplink.step()
    assert rig.kafka
    assert len(rig.kafka.pending) == 3


def test_a_spooled_frame_that_kafka_refuses_leaves_the_disk(tmp_path: Path, parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(tmp_path)
    rig.refused.update(ids(owner, 1))
    capture(rig, parcel, owner, 3)
    rig.uplink.step()
    rig.connect()
    rig.settle()
    assert rig.tally(owner) == Tally(captured=3, published=2, dropped={"rejected": 1})
    assert rig.spool
    assert rig.spool.empty


def test_silence_is_counted_from_what_was_sent_and_from_each_answer(
    parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera with a frame a minute would lose its link with each of them; a busy one, whose way is never free, at
    every tenth second."""
    at_s = [0.0]
    monkeypatch.setattr(uplink_module, "time", SimpleNamespace(monotonic=lambda: at_s[0]))
    rig = Rig(None)
    kafka = rig.connect()
    rig.uplink.step()
    at_s[0] = 60
    capture(rig, parcel, owner, 6)
    for _ in range(5):
        rig.uplink.step()
        at_s[0] += 9
        rig.uplink.step()
        assert rig.link.publisher is kafka
        kafka.answer(1)
        rig.uplink.step()
    at_s[0] += 11
    rig.uplink.step()
    assert rig.link.publisher is None


def test_a_right_that_is_missing_is_no_fault_of_the_frames(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """Each in its turn would be found guilty and dropped, until somebody mends the rights."""
    rig = Rig(tmp_path)
    rig.refused.update(ids(owner, 0, 1, 2, 3))
    capture(rig, parcel, owner, 4)
    for _ in range(12):
        kafka = rig.connect()
        kafka.says = TopicAuthorizationFailedError("plant1.frames")
        rig.uplink.step()
        kafka.answer()
        rig.uplink.step()
    assert rig.tally(owner) == Tally(captured=4, spooled=4)
    told = "Kafka refuses us the right Write on topic 'plant1.frames': give it to the user in"
    assert told in caplog.text
    assert told in str(rig.uplink.refusal)
    rig.refused.clear()
    rig.connect()
    rig.settle()
    assert rig.tally(owner) == Tally(captured=4, published=4)
    assert rig.uplink.refusal is None


def test_a_disk_that_synchronises_nothing_is_told_of_once(
    tmp_path: Path,
    parcel: MakeParcel,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A memory card at its end takes frames and refuses to synchronise them: each second was a line of the log."""
    rig = Rig(tmp_path)

    def refuse(*_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(store, "to_disk", refuse)
        for _ in range(5):
            capture(rig, parcel, owner, 1)
            rig.uplink.step()
            rig.uplink.tick()
    rig.uplink.tick()
    assert rig.tally(owner) == Tally(captured=5, spooled=5)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == ["the spool's state cannot be written"]


def test_a_producer_that_was_closed_under_it_is_no_fault_of_the_frame(parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(None)
    for _ in range(5):
        kafka = rig.connect()
        capture(rig, parcel, owner, 1)
        rig.uplink.step()
        rig.disconnect()
        kafka.dead = True
        rig.uplink.step()
    rig.connect()
    rig.settle()
    assert rig.tally(owner) == Tally(captured=5, published=5)


def test_a_slow_kafka_is_relieved_by_the_spool_before_anything_is_dropped(
    tmp_path: Path, parcel: MakeParcel, owner: Owner
) -> None:
    size = parcel(0).size_bytes
    rig = Rig(tmp_path, buffer_bytes=8 * size, window_bytes=2 * size)
    rig.connect()
    for _ in range(40):
        rig.capture(parcel, owner)
        rig.uplink.step()
    assert rig.tally(owner).dropped == {}
    assert rig.tally(owner).spooled > 25
    rig.settle()
    assert rig.log == ids(owner, *range(40))


def test_a_full_spool_gives_up_its_oldest_and_counts_them(tmp_path: Path, parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(tmp_path, spool_bytes=64_000)
    for _ in range(100):
        rig.capture(parcel, owner, size=2_000)
        rig.uplink.step()
        assert balanced(rig.tally(owner))
    lost = rig.tally(owner).dropped["spool_full"]
    assert 60 < lost < 80
    rig.connect()
    rig.settle()
    assert rig.log == ids(owner, *range(lost, 100))
    assert rig.tally(owner) == Tally(captured=100, published=100 - lost, dropped={"spool_full": lost})


@pytest.fixture(params=[5, 28], ids=["a disk that fails", "a full disk"])
def no_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The disk is played, for a real one can't be made to fail here."""

    def fail(*_: object) -> int:
        raise OSError(request.param, "it does not write")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwritev", fail)
        yield patch


def test_where_the_disk_takes_nothing_frames_wait_in_memory(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, no_disk: pytest.MonkeyPatch
) -> None:
    """A spool without room had lost what a worker without any spool would have kept."""
    size = parcel(0).size_bytes
    rig = Rig(tmp_path, buffer_bytes=4 * size)
    for _ in range(6):
        rig.capture(parcel, owner)
        rig.uplink.step()
    assert rig.tally(owner) == Tally(captured=6, buffered=4, dropped={"buffer_full": 2})
    no_disk.undo()
    rig.uplink.step()
    assert rig.tally(owner).spooled == 4
    capture(rig, parcel, owner, 2)
    rig.connect()
    rig.settle()
    assert rig.log == ids(owner, *range(2, 8))


def test_a_disk_that_takes_nothing_at_the_end_costs_counted_frames_not_the_process(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, no_disk: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path)
    capture(rig, parcel, owner, 3)
    rig.end()
    assert sum(rig.tally(owner).dropped.values()) == 3
    assert rig.tally(owner).dropped.keys() <= {"spool_failed", "spool_full"}


@pytest.fixture
def deaf_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Gives back nothing that was written to it. Played, as above."""
    with monkeypatch.context() as patch:
        patch.setattr("os.pread", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        yield patch


def test_a_disk_that_fails_for_a_moment_costs_no_frame_and_none_overtakes(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, deaf_disk: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One error was enough to give up a whole segment of the spool, and to delete it."""
    rig = Rig(tmp_path)
    capture(rig, parcel, owner, 3)
    rig.settle()
    rig.connect()
    for _ in range(3):
        capture(rig, parcel, owner, 1)
        rig.settle()
    assert rig.log == []
    assert caplog.text.count("cannot be read") == 1
    deaf_disk.undo()
    capture(rig, parcel, owner, 1)
    rig.settle()
    assert rig.log == ids(owner, *range(7))
    assert rig.tally(owner) == Tally(captured=7, published=7)


def test_frames_that_the_disk_never_gives_back_hold_up_those_behind_them_for_a_while_only(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch, deaf_disk: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(monotonic=lambda: clock.now_s, now_s=1.0)
    monkeypatch.setattr(depot, "time", clock)
    rig = Rig(tmp_path)
    capture(rig, parcel, owner, 3)
    rig.settle()
    rig.connect()
    rig.settle()
    assert rig.tally(owner).spooled == 3
    clock.now_s += 31
    rig.settle()
    capture(rig, parcel, owner, 1)
    rig.settle()
    assert rig.log == ids(owner, 3)
    assert rig.tally(owner) == Tally(captured=4, published=1, dropped={"unreadable": 3})


def test_a_disk_that_is_away_as_a_whole_is_not_waited_for_again_for_each_of_its_segments(
    tmp_path: Path,
    parcel: MakeParcel,
    owner: Owner,
    monkeypatch: pytest.MonkeyPatch,
    deaf_disk: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It took half a minute for each: behind some hundreds a camera was blind for hours, with Kafka there."""
    clock = SimpleNamespace(monotonic=lambda: clock.now_s, now_s=1.0)
    monkeypatch.setattr(depot, "time", clock)
    rig = Rig(tmp_path, spool_bytes=32 * 250)
    capture(rig, parcel, owner, 10)
    rig.settle()
    assert len(list(tmp_path.glob("*.segment"))) == 10
    rig.connect()
    rig.settle()
    for given_up in (0, 1, 2):
        assert rig.tally(owner).dropped.get("unreadable", 0) == given_up
        clock.now_s += 31
        rig.settle()
    capture(rig, parcel, owner, 1)
    rig.settle()
    assert rig.tally(owner) == Tally(captured=11, published=1, dropped={"unreadable": 10})
    assert rig.log == ids(owner, 10)
    assert caplog.text.count("the spool's disk is broken") == 1


@pytest.mark.parametrize("deleted", ["", "*", "*.segment"])
@pytest.mark.parametrize("killed", [True, False])
def test_a_spool_that_is_deleted_while_in_use_is_made_anew(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, caplog: pytest.LogCaptureFixture, deleted: str, killed: bool
) -> None:
    """Frames went on into the deleted file, or nowhere, and after a kill nobody knew of any."""
    rig = Rig(tmp_path / "spool")
    capture(rig, parcel, owner, 3)
    rig.settle()
    for path in [*(tmp_path / "spool").glob(deleted)] if deleted else [tmp_path / "spool"]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    capture(rig, parcel, owner, 1)
    rig.settle()
    rig.uplink.tick()
    capture(rig, parcel, owner, 2)
    rig.settle()
    rig.uplink.tick()
    assert caplog.text.count("were deleted while in use") == 1
    if killed:
        rig.crash()
        rig = Rig(tmp_path / "spool", owners=())
    rig.connect()
    rig.settle()
    lost = 4 if killed else 0
    assert rig.log == ids(owner, *range(lost, 6))
    died = {"died": lost} if killed else {}
    assert rig.tally(owner) == Tally(6, 6 - lost, died, end=BootEnd.DIED if killed else BootEnd.RUNNING)


def test_another_spool_that_comes_into_its_place_is_let_be(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, caplog: pytest.LogCaptureFixture
) -> None:
    """As where a disk is mounted over the folder of a running worker. Its frames were written over."""
    rig = Rig(tmp_path / "spool", buffer_bytes=1 << 30)
    capture(rig, parcel, owner, 1)
    rig.settle()
    (tmp_path / "spool").rename(tmp_path / "away")
    other = Rig(tmp_path / "spool")
    capture(other, parcel, owner._replace(boot_id="other"), 3)
    other.settle()
    other.uplink.tick()
    held = {path: path.read_bytes() for path in (tmp_path / "spool").iterdir()}
    rig.uplink.tick()
    capture(rig, parcel, owner, 3)
    rig.settle()
    rig.uplink.tick()
    assert {path: path.read_bytes() for path in (tmp_path / "spool").iterdir()} == held
    assert rig.tally(owner) == Tally(captured=4, spooled=1, buffered=3)
    assert "another spool has come into the place" in caplog.text
    rig.connect()
    rig.settle()
    assert rig.log == ids(owner, *range(4))


def test_who_is_beaten_to_a_deleted_spool_goes_on_and_tells_its_counts(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the thread of the checkpoints: heartbeats told the past for good, and that the disk does not answer."""
    rig = Rig(tmp_path / "spool", buffer_bytes=1 << 30)
    capture(rig, parcel, owner, 1)
    rig.settle()
    shutil.rmtree(tmp_path / "spool")
    lock, others = store._lock, list[Rig]()

    def too_late(folder: Path) -> int:
        monkeypatch.setattr(store, "_lock", lock)
        others.append(Rig(folder))
        return lock(folder)

    monkeypatch.setattr(store, "_lock", too_late)
    rig.uplink.tick()
    assert "another spool has come into the place" in caplog.text
    capture(rig, parcel, owner, 2)
    rig.settle()
    rig.uplink.tick()
    assert rig.uplink.report()[1] == {owner: Tally(captured=3, spooled=1, buffered=2)}
    rig.connect()
    rig.settle()
    rig.end()
    assert rig.log == ids(owner, *range(3))
    assert rig.uplink.report()[1] == {owner: Tally(captured=3, published=3)}


@pytest.mark.parametrize("full", [True, False])
def test_another_spool_in_its_place_is_let_be_from_its_first_moment(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, full: bool
) -> None:
    """Until the next checkpoint, up to a second, a full spool deleted the other's oldest segment, another one began its
    next in the other's folder, and the other's frames were sent as those that a former process had left."""
    folder, away, newer = tmp_path / "spool", tmp_path / "away", owner._replace(boot_id="newer")
    former = Rig(folder)
    capture(former, parcel, owner, 1)
    former.settle()
    former.crash()
    rig = Rig(folder, spool_bytes=6400)  # a segment for each frame
    assert rig.spool
    capture(rig, parcel, newer, 1)
    rig.settle()
    if full:
        rig.spool.max_bytes = rig.spool.file_bytes
    folder.rename(away)
    other = Rig(folder)
    capture(other, parcel, owner._replace(boot_id="other"), 1)
    other.settle()
    held = {path: path.read_bytes() for path in folder.iterdir()}
    capture(rig, parcel, newer, 3)
    rig.settle()
    rig.connect()
    rig.settle()
    assert {path: path.read_bytes() for path in folder.iterdir()} == held
    assert rig.log == []
    folder.rename(tmp_path / "other")
    away.rename(folder)
    rig.uplink.tick()
    rig.settle()
    assert rig.log == [*ids(owner, 0), *ids(newer, *range(4))]


@pytest.mark.parametrize("below", ["spool", "."])
def test_a_disk_that_is_unmounted_is_not_taken_for_a_folder_that_was_deleted(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, caplog: pytest.LogCaptureFixture, below: str
) -> None:
    """The worker filled the disk beneath instead, and when its own was back it spooled nothing more."""
    mount, folder = tmp_path / "disk", tmp_path / "disk" / below
    with TemporaryDirectory(dir="/dev/shm") as disk:
        mount.symlink_to(disk)  # another device, and to mount one takes rights
        rig = Rig(folder)
        capture(rig, parcel, owner, 1)
        rig.settle()
        mount.unlink()
        mount.mkdir()
        rig.uplink.tick()
        capture(rig, parcel, owner, 3)
        rig.settle()
        rig.uplink.tick()
        assert not list(mount.iterdir())
        assert rig.tally(owner) == Tally(captured=4, spooled=1, buffered=3)
        assert caplog.text.count("the disk that it was on is not mounted any more") == 2  # of the state, and of frames
        mount.rmdir()
        mount.symlink_to(disk)
        rig.uplink.tick()
        rig.settle()
        assert rig.tally(owner) == Tally(captured=4, spooled=4)
        rig.crash()
        rig = Rig(folder)
        rig.connect()
        rig.settle()
        assert rig.log == ids(owner, *range(4))


def test_a_process_with_too_many_files_open_gives_up_no_frame(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depot, "_DEAF_DISK_S", 0)
    former = Rig(tmp_path)
    capture(former, parcel, owner, 3)
    former.end()
    former.crash()
    rig = Rig(tmp_path)
    rig.connect()
    with no_more_files():
        rig.settle()
        assert rig.tally(owner).spooled == 3
    rig.settle()
    assert rig.log == ids(owner, *range(3))


@contextmanager
def no_more_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_an_orderly_end_leaves_the_rest_in_the_spool(tmp_path: Path, parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(tmp_path)
    rig.connect()
    capture(rig, parcel, owner, 3)
    rig.uplink.step()
    capture(rig, parcel, owner, 2)
    rig.end()
    assert rig.tally(owner) == Tally(captured=5, spooled=5)
    rig.crash()

    successor = Rig(tmp_path)
    successor.connect()
    successor.settle()
    assert successor.log == ids(owner, *range(5))


def test_an_orderly_end_without_a_spool_counts_what_is_lost(parcel: MakeParcel, owner: Owner) -> None:
    rig = Rig(None)
    capture(rig, parcel, owner, 3)
    rig.end()
    assert rig.tally(owner) == Tally(captured=3, dropped={"shutdown": 3})


def test_frames_on_their_way_survive_the_eviction_of_their_segment(
    tmp_path: Path, parcel: MakeParcel, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = Rig(tmp_path, spool_bytes=6_000, window_bytes=3 * parcel(0).size_bytes)
    capture(rig, parcel, owner, 4)
    rig.uplink.step()
    rig.connect()
    rig.uplink.step()
    for _ in range(20):
        rig.capture(parcel, owner)
        rig.uplink.step()
        assert balanced(rig.tally(owner))
    assert rig.tally(owner).buffered >= 3
    lost = rig.tally(owner).dropped["spool_full"]
    rig.settle()
    assert rig.log == ids(owner, 0, 1, 2, *range(3 + lost, 24))
    assert rig.tally(owner) == Tally(captured=24, published=24 - lost, dropped={"spool_full": lost})


def test_an_orderly_end_into_a_full_spool_counts_what_it_pushes_out(
    tmp_path: Path, parcel: MakeParcel, owner: Owner
) -> None:
    rig = Rig(tmp_path, spool_bytes=6_000)
    capture(rig, parcel, owner, 3)
    rig.uplink.step()
    rig.connect()
    rig.uplink.step()
    capture(rig, parcel, owner, 20)
    rig.end()
    tally = rig.tally(owner)
    assert balanced(tally)
    assert tally.buffered == 0
    rig.crash()

    successor = Rig(tmp_path)
    successor.connect()
    successor.settle()
    assert successor.log == ids(owner, *range(23 - tally.spooled, 23))
