"""Frames on disk come back whole, in order and exactly once; what can't come back is counted."""

import errno
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from unittest.mock import Mock

import pytest

from workers.camera.parcel import Owner, Parcel
from workers.camera.spool import store
from workers.camera.spool.record import PREFIX, encode
from workers.camera.spool.recovery import Found
from workers.camera.spool.segment import Segment, SpoolFullError
from workers.camera.spool.state import NewerSpoolError
from workers.camera.spool.store import DamagedRecordsError, Spool, SpoolInUseError

pytestmark = pytest.mark.unit

MakeParcel = Callable[..., Parcel]
ROOMY = 1 << 30


def sequences(spool: Spool) -> list[int]:
    found = []
    while read := spool.read():
        found.append(read[0].sequence)
    return found


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.segment"))


def test_what_goes_in_comes_out_unchanged(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    sent = [parcel(0), parcel(1, size=70_000), parcel(2, camera_id="cam-2", boot_id="other")]
    for each in sent:
        spool.append(each)
    assert [read[0] for read in iter(spool.read, None)] == sent
    spool.close()


def test_a_frame_leaves_only_when_released(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    for sequence in range(5):
        spool.append(parcel(sequence))
    assert sequences(spool) == [0, 1, 2, 3, 4]
    spool.release()
    spool.release()
    assert not spool.empty
    spool.checkpoint({})
    spool.close()

    again = Spool(tmp_path, ROOMY)
    assert again.found == {parcel(0).owner: Found(3, 4)}
    assert sequences(again) == [2, 3, 4]
    for _ in range(3):
        again.release()
    assert again.empty
    again.checkpoint({})
    assert segments(tmp_path) == []
    again.close()


def test_segments_are_deleted_only_after_the_state_says_so(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))
    spool.read()
    spool.release()
    assert len(segments(tmp_path)) == 1
    spool.checkpoint({})
    assert segments(tmp_path) == []
    spool.append(parcel(1))
    assert sequences(spool) == [1]
    spool.close()


def test_the_states_name_is_on_the_disk_before_segments_are_deleted(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut the state before would miss them, and count their frames as lost."""
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))
    spool.read()
    spool.release()
    before = [tmp_path / "lock", *segments(tmp_path), tmp_path / "state.json"]
    there: dict[int, list[Path]] = {}
    monkeypatch.setattr(os, "fsync", lambda opened: there.update({os.fstat(opened).st_ino: sorted(tmp_path.iterdir())}))
    spool.checkpoint({})
    assert there[tmp_path.stat().st_ino] == sorted(before)
    assert segments(tmp_path) == []
    spool.close()


def test_new_frames_queue_behind_those_of_a_former_process(tmp_path: Path, parcel: MakeParcel) -> None:
    former = Spool(tmp_path, ROOMY)
    former.append(parcel(7))
    former.close()
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0, boot_id="new"))
    assert sequences(spool) == [7, 0]
    spool.close()


def test_the_segments_of_many_former_processes_take_no_more_open_files_than_one(
    tmp_path: Path, parcel: MakeParcel
) -> None:
    """A worker that was started again some thousand times while Kafka was away could not be started any more."""

    def open_files() -> int:
        """Of this test: others leave theirs to the garbage collector, and threads of theirs close some meanwhile."""
        found = 0
        for path in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):
                opened = Path(os.readlink(path))
                found += opened.suffix == ".segment" and opened.is_relative_to(tmp_path)
        return found

    for sequence in range(20):
        former = Spool(tmp_path, ROOMY)
        former.append(parcel(sequence))
        former.close()
    spool = Spool(tmp_path, ROOMY)
    assert open_files() == 0
    for sequence in range(20):
        read = spool.read()
        assert read is not None
        assert read[0].sequence == sequence
        assert open_files() <= 1
    spool.close()


def test_a_record_torn_anywhere_costs_itself_only(tmp_path: Path, parcel: MakeParcel) -> None:
    first, second = parcel(0), parcel(1)
    first_bytes = len(encode(first)) + len(first.image)
    spool = Spool(tmp_path / "whole", ROOMY)
    spool.append(first)
    spool.append(second)
    spool.close()
    (whole,) = segments(tmp_path / "whole")
    content = whole.read_bytes()
    for cut in range(first_bytes + 1, len(content)):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / whole.name).write_bytes(content[:cut])
        torn = Spool(folder, ROOMY)
        assert torn.found == {first.owner: Found(1, 0)}
        assert torn.torn_bytes == cut - first_bytes
        torn.append(parcel(2))
        assert sequences(torn) == [0, 2]
        assert len(segments(folder)) == 2  # never behind a torn end
        torn.close()


def test_a_torn_end_counts_until_its_segment_is_given_up(tmp_path: Path, parcel: MakeParcel) -> None:
    """It stayed in the sum once a frame was written over it. On a full disk, where giving up all does not help, the
    uplink then gave up segments for ever that were not there."""
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))
    spool.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(bytes(4096))
    again = Spool(tmp_path, ROOMY)
    again.append(parcel(1))
    while again.unread:
        again.evict()
    assert again.file_bytes == 0
    again.close()


def test_a_tail_of_zeros_as_a_power_cut_leaves_it_is_torn(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))
    spool.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(bytes(4096))
    again = Spool(tmp_path, ROOMY)
    assert (sequences(again), again.torn_bytes) == ([0], 4096)
    again.close()


def flip(path: Path, offset: int) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_image_is_passed_over_and_named(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    for sequence in range(3):
        spool.append(parcel(sequence, camera_id=f"cam-{sequence}"))
    size = len(encode(parcel(0, camera_id="cam-0"))) + 100
    flip(segments(tmp_path)[0], 2 * size - 1)
    assert spool.read() is not None
    with pytest.raises(DamagedRecordsError) as damaged:
        spool.read()
    assert damaged.value.lost == Counter([parcel(1, camera_id="cam-1").owner])
    assert sequences(spool) == [2]
    spool.release()
    spool.release()
    assert spool.empty
    spool.close()


def test_damaged_lengths_cost_the_rest_of_the_segment_and_it_is_counted(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    for sequence in range(4):
        spool.append(parcel(sequence))
    flip(segments(tmp_path)[0], len(encode(parcel(0))) + 100 + PREFIX.size // 2)
    assert spool.read() is not None
    with pytest.raises(DamagedRecordsError) as damaged:
        spool.read()
    assert damaged.value.lost == Counter({parcel(0).owner: 3})
    assert spool.read() is None
    spool.release()
    assert spool.empty
    spool.close()


def test_it_refuses_to_grow_beyond_its_limit_and_evicts_the_oldest(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, limit := 64_000)
    stored = 0
    while spool.file_bytes < limit - 3_000:
        spool.append(parcel(stored, size=1_000))
        stored += 1
    with pytest.raises(SpoolFullError, match="limit of 64000"):
        spool.append(parcel(stored, size=5_000))
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= limit
    lost, _ = spool.evict()
    assert lost.total() > 0
    assert sequences(spool) == list(range(lost.total(), stored))
    spool.close()


def test_evicting_what_is_on_its_way_loses_nothing(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, 64_000)
    spool.append(parcel(0))
    number = spool.append(parcel(1))
    spool.read()
    lost, segment = spool.evict()
    assert (lost, segment) == (Counter([parcel(1).owner]), number)
    assert spool.empty
    spool.close()


def test_what_was_given_up_does_not_come_back(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames are counted as dropped: a crash after the checkpoint and before its file is gone changes nothing."""
    spool = Spool(tmp_path, 64_000)
    for sequence in range(4):
        spool.append(parcel(sequence, size=2_000))  # a segment each
    spool.evict()
    monkeypatch.setattr(Segment, "delete", Segment.close)
    spool.checkpoint({})
    spool.close()
    again = Spool(tmp_path, 64_000)
    assert again.found == {parcel(0).owner: Found(3, 3)}
    assert sequences(again) == [1, 2, 3]
    again.close()


@pytest.mark.parametrize("amid_a_checkpoint", [True, False])
def test_what_was_given_up_is_not_deleted_in_another_spool(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch, amid_a_checkpoint: bool
) -> None:
    folder, away, save = tmp_path / "spool", tmp_path / "away", store.save_state
    spool = Spool(folder, ROOMY)
    spool.append(parcel(0))
    spool.evict()

    def another(*state: object) -> None:
        if state:
            save(*state)  # type: ignore[arg-type]
        folder.rename(away)
        Spool(folder, ROOMY).append(parcel(1))

    if amid_a_checkpoint:
        monkeypatch.setattr(store, "save_state", another)
    else:
        another()
    with pytest.raises(OSError, match="another spool has come into the place"):
        spool.checkpoint({}) if amid_a_checkpoint else spool.free_disk()
    assert segments(folder)
    folder.rename(tmp_path / "other")
    away.rename(folder)
    spool.free_disk()
    assert not segments(folder)


def test_a_checkpoint_under_way_leaves_the_state_of_another_spool_alone(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames before this one's position would have been deleted, and sent by nobody."""
    folder, other = tmp_path / "spool", tmp_path / "other"
    spool, theirs = Spool(folder, ROOMY), Spool(other, ROOMY)
    theirs.checkpoint({})
    before = (other / "state.json").read_bytes()
    spool.append(parcel(0))
    spool.evict()  # the position moves
    spool.append(parcel(1))

    def take_long(*files: Path) -> None:
        folder.rename(tmp_path / "away")
        other.rename(folder)

    monkeypatch.setattr(store, "to_disk", take_long)
    with pytest.raises(OSError, match="another spool has come into the place"):
        spool.checkpoint({})
    assert (folder / "state.json").read_bytes() == before
    spool.close()
    theirs.close()


def test_what_a_failed_checkpoint_owes_the_next_one_does(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path, 64_000)
    for sequence in range(2):
        spool.append(parcel(sequence, size=2_000))
    spool.read()
    spool.release()
    spool.read()
    first, second = segments(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store, "save_state", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output"):
            spool.checkpoint({})
    assert segments(tmp_path) == [first, second]
    monkeypatch.setattr(store, "to_disk", synced := Mock())
    spool.checkpoint({})
    synced.assert_called_once_with(second)
    assert segments(tmp_path) == [second]
    spool.close()


@pytest.mark.parametrize(("written", "code"), [(0, errno.ENOSPC), (0, errno.EDQUOT), (10, 0)])
def test_a_full_disk_leaves_no_half_record(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch, written: int, code: int
) -> None:
    """The disk is played: a real full one needs a file system of its own, hence root. What is faked is the one call
    that meets it, in both ways in which Linux answers: with an error, and with a short write."""
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))

    def full(descriptor: int, parts: Sequence[bytes], offset: int) -> int:
        if not written:
            raise OSError(code, "No space left on device")
        return os.pwrite(descriptor, parts[0][:written], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        with pytest.raises(SpoolFullError):
            spool.append(parcel(1))
    assert segments(tmp_path)[0].stat().st_size == spool.file_bytes
    spool.append(parcel(2))
    spool.close()
    again = Spool(tmp_path, ROOMY)
    assert (sequences(again), again.torn_bytes) == ([0, 2], 0)
    again.close()


def test_a_disk_that_fails_amid_a_frame_is_asked_for_it_again(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is played, as Linux answers for a bad page: with the bytes before it, and only then with an error. The
    frame passed for a damaged one, and after an error at its head all that followed it."""
    spool = Spool(tmp_path, ROOMY)
    for sequence in range(2):
        spool.append(parcel(sequence, size=10_000))
    pread, bad = os.pread, 4096

    def failing(descriptor: int, count: int, offset: int) -> bytes:
        if offset >= bad:
            raise OSError(errno.EIO, "Input/output error")
        return pread(descriptor, min(count, bad - offset), offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        for _ in range(2):
            with pytest.raises(OSError, match=rf"Input/output error: '{segments(tmp_path)[0]}'"):
                spool.read()
    assert sequences(spool) == [0, 1]
    spool.close()


def test_a_disk_that_has_become_read_only_gives_back_what_it_holds(
    tmp_path: Path, parcel: MakeParcel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is played: a real one needs a file system of its own, hence root. Linux makes one read-only that has an
    error. Segments of a former process were opened to be written, too, so all of them were given up."""
    former = Spool(tmp_path, ROOMY)
    for sequence in range(3):
        former.append(parcel(sequence))
    former.close()
    spool = Spool(tmp_path, ROOMY)
    opened = os.open

    def read_only(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", read_only)
        assert sequences(spool) == [0, 1, 2]
    spool.close()


@pytest.mark.parametrize("name", ["7.segment", "²3.segment", "copy of 000000000001.segment"])
def test_files_of_others_in_its_folder_are_let_be(tmp_path: Path, parcel: MakeParcel, name: str) -> None:
    """A worker could not be started beside one whose name was nearly a segment's."""
    former = Spool(tmp_path, ROOMY)
    former.append(parcel(0))
    former.close()
    (tmp_path / name).write_bytes(b"foreign")
    spool = Spool(tmp_path, ROOMY)
    assert sequences(spool) == [0]
    spool.release()
    spool.checkpoint({})
    spool.close()
    assert [path.name for path in segments(tmp_path)] == [name]


def test_a_folder_that_may_not_be_listed_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a former worker had left there was counted as lost, and written over. Played, for root may list all."""

    def refuse(*_: object) -> list[str]:
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path))

    for how in ("listdir", "scandir"):
        monkeypatch.setattr(os, how, refuse)
    with pytest.raises(PermissionError):
        Spool(tmp_path, 1 << 20)


def test_two_workers_never_share_a_spool(tmp_path: Path) -> None:
    spool = Spool(tmp_path, ROOMY)
    with pytest.raises(SpoolInUseError, match="a spool folder of its own"):
        Spool(tmp_path, ROOMY)
    spool.close()
    Spool(tmp_path, ROOMY).close()


def test_the_frames_of_a_newer_andon_are_not_taken_for_damage(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))
    spool.checkpoint({})
    spool.close()
    (tmp_path / "state.json").write_text('{"version": 2, "position": "elsewhere"}')
    (segment,) = segments(tmp_path)
    left = segment.read_bytes().replace(b"AFS1", b"AFS2")
    segment.write_bytes(left)
    with pytest.raises(NewerSpoolError, match="run that one until its frames are sent"):
        Spool(tmp_path, ROOMY)
    assert segment.read_bytes() == left


def test_damaged_state_is_set_aside_and_the_frames_still_go_out(tmp_path: Path, parcel: MakeParcel) -> None:
    spool = Spool(tmp_path, ROOMY)
    spool.append(parcel(0))
    spool.checkpoint({})
    spool.close()
    (tmp_path / "state.json").write_text("{")
    again = Spool(tmp_path, ROOMY)
    assert (again.remembered, sequences(again)) == ({}, [0])
    assert (tmp_path / "state.damaged").exists()
    again.close()


def test_the_state_is_readable_json_that_names_every_boot(tmp_path: Path, owner: Owner) -> None:
    from workers.camera.ledger import Tally

    spool = Spool(tmp_path, ROOMY)
    spool.checkpoint({owner: Tally(captured=3, published=1, dropped={"empty": 2})})
    spool.close()
    (boot,) = json.loads((tmp_path / "state.json").read_text())["boots"]
    assert boot["camera_id"] == owner.camera_id
    assert (boot["captured"], boot["published"], boot["dropped"]) == (3, 1, {"empty": 2})
