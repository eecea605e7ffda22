"""The camera worker against a real Kafka, also one that goes away."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import wait
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from camera.viky import camera, readers
from support.stream import picture, settings_for, wait_until

from pipeline import apart
from pipeline.events import BootEnd, Frame, Heartbeat, now
from pipeline.kafka.admin import TopicError, ensure_topics
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Outgoing
from pipeline.settings import Settings
from pipeline.topics import MAX_FRAME_BYTES
from workers.camera import worker as worker_module
from workers.camera.buffer import Buffer
from workers.camera.config import CameraConfig
from workers.camera.heartbeats import Heartbeats
from workers.camera.ledger import Ledger, Tally
from workers.camera.link import Link
from workers.camera.parcel import Owner, Parcel
from workers.camera.spool.store import Spool
from workers.camera.worker import NothingPublishedError, run
from workers.local.kafka_broker import KafkaBroker

pytestmark = pytest.mark.services

ROOT = Path(__file__).parents[2]
CONFIG_HEAD = "spool: {{folder: {spool}, max_mib: 64}}\ncameras:\n"
CONFIG_CAMERA = (
    "  - {{camera_id: {name}, line_id: l, station_id: s, recipe: r,"
    " source: {{type: folder, path: {images}, fps: {fps}, loop: true}}}}\n"
)


def config(
    images: Path, spool: Path | None = None, cameras: int = 2, fps: float | None = 50, **more: Any
) -> CameraConfig:
    source = {"type": "folder", "path": images, "fps": fps, "loop": True}
    facts = {"line_id": "l", "station_id": "s", "recipe": "r", "source": source}
    return CameraConfig.model_validate(
        {
            "spool": {"folder": spool, "max_mib": 64} if spool else None,
            "cameras": [{"camera_id": f"cam-{number}"} | facts for number in range(cameras)],
        }
        | more
    )


def arrived(settings: Settings) -> dict[tuple[str, str], list[int]]:
    """(camera, boot) → sequence numbers in the order of their first arrival."""
    found: dict[tuple[str, str], dict[int, None]] = {}
    for record in read_to_end(settings, [settings.topics.frames.name]):
        frame = Frame.from_headers(record.headers)
        assert record.key == frame.camera_id.encode()
        found.setdefault((frame.camera_id, frame.boot_id), {})[frame.sequence] = None
    return {boot: list(sequences) for boot, sequences in found.items()}


def last_heartbeats(settings: Settings) -> dict[tuple[str, str], Heartbeat]:
    beats = (Heartbeat.from_json(r.value) for r in read_to_end(settings, [settings.topics.heartbeats.name]))
    return {(beat.camera_id, beat.boot_id): beat for beat in beats}


def test_every_frame_arrives_untouched_and_is_accounted_for(kafka_bootstrap: str, unique: str, images: Path) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    tallies = run(config(images), settings, threading.Event(), frames_per_camera=60)
    assert list(tallies.values()) == [Tally(captured=60, published=60, end=BootEnd.CLEAN)] * 2
    assert all(sequences == list(range(60)) for sequences in arrived(settings).values())
    contents = [path.read_bytes() for path in sorted(images.glob("*.png"))]
    for record in read_to_end(settings, [settings.topics.frames.name]):
        assert record.value == contents[Frame.from_headers(record.headers).sequence % 6]
    for beat in last_heartbeats(settings).values():
        assert (beat.end, beat.captured, beat.published, beat.buffered, beat.spooled) == (BootEnd.CLEAN, 60, 60, 0, 0)


def test_frames_that_cannot_be_sent_are_dropped_with_their_reason(
    kafka_bootstrap: str, unique: str, images: Path
) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    (images / "part-2.png").write_bytes(b"x" * (MAX_FRAME_BYTES + 1))
    (images / "part-4.png").write_bytes(b"")
    (images / "part-5.png").write_bytes(b"x" * MAX_FRAME_BYTES)
    (tally,) = run(config(images, cameras=1), settings, threading.Event(), frames_per_camera=6).values()
    assert tally == Tally(6, 4, {"too_large": 1, "empty": 1}, end=BootEnd.CLEAN)
    assert list(arrived(settings).values()) == [[0, 1, 3, 5]]
    assert [beat.dropped for beat in last_heartbeats(settings).values()] == [{"too_large": 1, "empty": 1}]


def test_frames_of_a_camera_whose_reader_dies_are_accounted_for(kafka_bootstrap: str, unique: str) -> None:
    """And the other camera of this worker does not notice."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    features = {"AcquisitionFrameRate": 20}
    facts = {"line_id": "l", "station_id": "s", "recipe": "r"}
    cameras = [{"camera_id": f"c-{number}", "source": camera(number, features=features)} | facts for number in (0, 1)]
    plant = CameraConfig.model_validate({"cameras": cameras})
    tallies: dict[Owner, Tally] = {}
    stop = threading.Event()
    worker = threading.Thread(target=lambda: tallies.update(run(plant, settings, stop)))

    def each_has(more_than: int) -> bool:
        came = arrived(settings).values()
        return len(came) == 2 and all(len(sequences) > more_than for sequences in came)

    worker.start()
    try:
        wait_until(lambda: each_has(5))
        os.kill(readers()[0], signal.SIGKILL)
        most = max(map(len, arrived(settings).values()))
        wait_until(lambda: each_has(most + 10))
    finally:
        stop.set()
        worker.join(60)
    came = arrived(settings)
    for owner, tally in tallies.items():
        sequences = came[owner.camera_id, owner.boot_id]
        # A busy computer fetches some frames too late from the camera, and counts them.
        lost = tally.captured - len(sequences)
        assert tally == Tally(tally.captured, len(sequences), {"unreadable": lost} if lost else {}, end=BootEnd.CLEAN)
        assert sequences == sorted(sequences)
    assert len(tallies) == 2
    assert not readers()


def test_wrong_topics_end_the_worker_with_their_mend(kafka_bootstrap: str, unique: str, images: Path) -> None:
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, [replace(settings.topics.frames, max_message_bytes=1_000_000), settings.topics.heartbeats])
    with pytest.raises(TopicError, match=r"set its max\.message\.bytes to"):
        run(config(images), settings, threading.Event())


def test_a_worker_that_starts_before_its_topics_are_there_waits_for_them(
    kafka_bootstrap: str, unique: str, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It ended, again and again, and each time what it had captured meanwhile was dropped; all others waited."""
    settings, stop, results = settings_for(kafka_bootstrap, unique), threading.Event(), []
    worker = threading.Thread(target=lambda: results.append(run(config(images, fps=5), settings, stop)))
    worker.start()
    try:
        wait_until(lambda: "create it with `andon topics create`" in caplog.text)
        ensure_topics(settings, settings.topics)
        wait_until(lambda: bool(arrived(settings)))
    finally:
        stop.set()
        worker.join(90)
    (tallies,) = results
    assert all(tally.published == tally.captured > 0 for tally in tallies.values())


def test_a_worker_ends_at_wrong_topics_that_were_missing_when_it_started(
    kafka_bootstrap: str, unique: str, images: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It tried for ever, where one that started a second later ended."""
    settings, stop = settings_for(kafka_bootstrap, unique), threading.Event()
    worker = apart.begin(lambda: run(config(images, fps=5), settings, stop), "worker")
    try:
        wait_until(lambda: "create it with `andon topics create`" in caplog.text)
        small = replace(settings.topics.frames, max_message_bytes=1_000_000)
        ensure_topics(settings, [settings.topics.heartbeats, small])
        with pytest.raises(TopicError, match=r"set its max\.message\.bytes to"):
            worker.result(90)
    finally:
        stop.set()
        wait([worker], 90)


def test_a_worker_that_comes_to_its_end_and_published_nothing_says_why(
    kafka_bootstrap: str, unique: str, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--frames 3` before the topics were there ended with 0, as if all had gone well; and where the spool told of a
    former run that had published some."""
    monkeypatch.setattr(worker_module, "_FLUSH_S", 60)  # with a spool it gives up once it knows that Kafka takes none
    plant, settings = config(images, tmp_path / "spool", cameras=1), settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    run(plant, settings, threading.Event(), frames_per_camera=2)
    said = r"3 were captured, 3 are in the spool\. Kafka took none: topic .* `andon topics create`"
    with pytest.raises(NothingPublishedError, match=said):
        run(plant, settings_for(kafka_bootstrap, f"{unique}absent."), threading.Event(), frames_per_camera=3)


def test_a_run_that_captured_nothing_has_lost_nothing(
    kafka_bootstrap: str, unique: str, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a camera with a trigger that nobody pulled."""
    monkeypatch.setattr(worker_module, "open_source", lambda _: SimpleNamespace(images=lambda stop: iter(())))
    tallies = run(config(images, cameras=1), settings_for(kafka_bootstrap, unique), threading.Event())
    assert [(tally.captured, tally.published) for tally in tallies.values()] == [(0, 0)]


def test_a_full_buffer_drops_the_oldest_and_counts_exactly(
    own_kafka: KafkaBroker, unique: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More comes than the buffer and the window hold while Kafka is away, and there is no spool."""
    images = tmp_path / "large"
    images.mkdir()
    (images / "one.png").write_bytes(picture() + bytes(2 * 1024 * 1024))
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    put, frames = Buffer.put, itertools.count(1)

    def then_kafka_is_back(buffer: Buffer, parcel: Parcel) -> list[Parcel]:
        lost = put(buffer, parcel)
        if next(frames) == 40:
            own_kafka.resume()
        return lost

    monkeypatch.setattr(Buffer, "put", then_kafka_is_back)
    own_kafka.pause()
    (tally,) = run(
        config(images, cameras=1, fps=None, buffer_mib=8), settings, threading.Event(), frames_per_camera=40
    ).values()
    dropped = tally.dropped["buffer_full"]
    assert tally == Tally(40, 40 - dropped, {"buffer_full": dropped}, end=BootEnd.CLEAN)
    (sequences,) = arrived(settings).values()
    assert sequences == list(range(dropped, 40))


def test_kafka_is_away_for_ten_seconds(own_kafka: KafkaBroker, unique: str, images: Path, tmp_path: Path) -> None:
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    stop, results = threading.Event(), []
    worker = threading.Thread(target=lambda: results.append(run(config(images, tmp_path / "spool"), settings, stop)))
    worker.start()
    try:
        wait_until(lambda: bool(arrived(settings)))
        own_kafka.kill()
        time.sleep(10)
        wait_until(lambda: bool(list((tmp_path / "spool").glob("*.segment"))))
        own_kafka.start()
        wait_until(lambda: not list((tmp_path / "spool").glob("*.segment")))
    finally:
        stop.set()
        worker.join(90)
    (tallies,) = results
    assert any(tally.captured for tally in tallies.values())
    for owner, tally in tallies.items():
        assert tally == Tally(tally.captured, tally.captured, end=BootEnd.CLEAN)
        assert arrived(settings)[owner.camera_id, owner.boot_id] == list(range(tally.captured))
        assert last_heartbeats(settings)[owner.camera_id, owner.boot_id].published == tally.captured


def test_a_killed_worker_loses_nothing_that_was_spooled(
    own_kafka: KafkaBroker, unique: str, images: Path, tmp_path: Path
) -> None:
    """Kafka is away from the start, the worker is killed, and its successor tells the whole story."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    spool, file = tmp_path / "spool", tmp_path / "cameras.yaml"
    names = ("cam-0", "cam-1")
    cameras = [CONFIG_CAMERA.format(name=name, images=images, fps=50) for name in names]
    file.write_text(CONFIG_HEAD.format(spool=spool) + "".join(cameras))
    own_kafka.kill()
    command = "import sys; from workers.commands.camera import camera; camera(['run', '--config', sys.argv[1]])"
    places = {"KAFKA_BOOTSTRAP": own_kafka.bootstrap, "ANDON_TOPIC_PREFIX": unique}
    worker = subprocess.Popen([sys.executable, "-c", command, str(file)], cwd=ROOT, env=os.environ | places)
    try:
        wait_until(lambda: sum(path.stat().st_size for path in spool.glob("*.segment")) > 200_000)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait(60)
    own_kafka.start()
    tallies = run(config(images, spool), settings, threading.Event(), frames_per_camera=20)
    beats, frames = last_heartbeats(settings), arrived(settings)
    assert len(beats) == 4
    old = [beat for beat in beats.values() if beat.end is BootEnd.DIED]
    assert {beat.camera_id for beat in old} == set(names)
    for beat in old:
        sequences = frames[beat.camera_id, beat.boot_id]
        assert sequences == list(range(len(sequences)))
        assert len(sequences) > 20
        died = beat.dropped.get("died", 0)
        assert (beat.captured, beat.published, beat.spooled) == (len(sequences) + died, len(sequences), 0)
    for owner, tally in tallies.items():
        if tally.end is BootEnd.CLEAN:
            assert frames[owner.camera_id, owner.boot_id] == list(range(20))


def test_a_worker_that_was_frozen_sends_its_frames_in_order(
    own_kafka: KafkaBroker, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a virtual machine is while it is moved. Its client gave up what was on its way, and sent what was queued
    behind that at once, before anybody could keep it from it. Frozen is played by the clock, which has gone on."""
    settings = settings_for(own_kafka.bootstrap, unique)
    ensure_topics(settings, settings.topics)
    link, topic, told = Link(), settings.topics.frames.name, []
    heartbeats = Heartbeats(settings, link, Ledger(), lambda: (now(), {}), lambda _: True)
    thread = threading.Thread(target=heartbeats.run)
    thread.start()
    wait_until(lambda: link.publisher is not None)
    heartbeats.close()
    thread.join()
    assert link.publisher is not None
    receipts = []
    for number in range(20):
        receipts.append(link.publisher.hand_over(Outgoing(topic, b"cam", b"%d" % number, []), told.append))
        if number == 0:
            wait_until(lambda: receipts[0].is_done)
            own_kafka.pause()
        time.sleep(0.5 if number == 1 else 0)  # that one is on its way, and those behind it wait
    monotonic = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 40)
    time.sleep(1)
    own_kafka.resume()
    wait_until(lambda: all(receipt.is_done for receipt in receipts))
    link.publisher.close()
    assert told == []
    stored = dict.fromkeys(record.value for record in read_to_end(settings, [topic]))
    assert list(stored) == [b"%d" % number for number in range(20)]


def test_frames_in_memory_when_the_disk_hangs_at_the_end_are_told_as_lost(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end was called clean, and an audit had counted them as waiting with the camera for ever."""
    disk, asked, stop, append = threading.Event(), threading.Event(), threading.Event(), Spool.append

    def hangs_for_the_tenth(spool: Spool, parcel: Parcel, **how: Any) -> int:
        if parcel.sequence == 10:
            asked.set()
            disk.wait(60)
        return append(spool, parcel, **how)

    monkeypatch.setattr(Spool, "append", hangs_for_the_tenth)
    monkeypatch.setattr(worker_module, "_FLUSH_S", 0.3)
    monkeypatch.setattr(worker_module, "_HEARTBEATS_END_S", 0.1)
    nowhere = settings_for("127.0.0.1:1", "p.")
    threading.Thread(target=lambda: asked.wait(30) and (time.sleep(0.5), stop.set()), daemon=True).start()
    (tally,) = run(config(images, tmp_path / "spool", cameras=1), nowhere, stop).values()
    disk.set()
    assert tally.end is BootEnd.DIED
    assert (tally.spooled, tally.captured) == (10, 10 + tally.buffered)


def test_an_end_is_told_although_the_spool_is_gone(
    kafka_bootstrap: str, unique: str, images: Path, tmp_path: Path
) -> None:
    """The last word was not said, and alerting missed cameras that had ended in good order."""
    settings = settings_for(kafka_bootstrap, unique)
    ensure_topics(settings, settings.topics)
    stop = threading.Event()

    def take_away() -> None:
        wait_until(lambda: any(arrived(settings).values()))
        shutil.rmtree(tmp_path / "spool")
        stop.set()

    threading.Thread(target=take_away, daemon=True).start()
    (tally,) = run(config(images, tmp_path / "spool", cameras=1), settings, stop).values()
    (beat,) = last_heartbeats(settings).values()
    assert (beat.end, beat.captured, beat.published) == (BootEnd.CLEAN, tally.captured, tally.captured)
