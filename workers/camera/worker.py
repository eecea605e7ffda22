"""The camera process: a thread for every source, one for the uplink, one for the heartbeats."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial

from pipeline.errors import AndonError
from pipeline.events import BootEnd, now
from pipeline.kafka.publisher import ENDS_WITHIN_S, PublishError
from pipeline.settings import Settings
from pipeline.tracing import open_tracer
from workers.camera.buffer import Buffer
from workers.camera.config import MIB, CameraConfig
from workers.camera.depot import Depot, adopt_former_boots
from workers.camera.feeder import Feeder
from workers.camera.heartbeats import Heartbeats
from workers.camera.identity import new_boot_id
from workers.camera.ledger import Ledger, Tally
from workers.camera.link import Link
from workers.camera.metrics import CameraMetrics, serve_metrics
from workers.camera.parcel import Owner
from workers.camera.sources import open_source
from workers.camera.spans import publish_span
from workers.camera.spool.store import Spool
from workers.camera.task import Task
from workers.camera.uplink import WINDOW_BYTES, Uplink
from workers.camera.window import Window

log = logging.getLogger(__name__)

_SOURCES_END_S = 6.0
"""A source may be in the middle of a read that waits for its camera."""
_FLUSH_S = 10.0
_HEARTBEATS_END_S = ENDS_WITHIN_S + 1
"""They may be amid ending a client that was given up."""


class WorkerError(AndonError):
    """A part of the worker broke: a bug. What was on disk stays there."""


class NothingPublishedError(AndonError):
    """A worker that came to its end by itself has brought none of the frames that it captured to Kafka."""


def run(
    config: CameraConfig,
    settings: Settings,
    stop: threading.Event,
    *,
    frames_per_camera: int | None = None,
    seconds: float | None = None,
    metrics_port: int | None = None,
) -> Mapping[Owner, Tally]:
    """Works until `stop` is set, the time is over, or every source has ended. Returns the final tallies.

    Raises TopicError when the topics are found wrong at the first contact, SpoolInUseError, NewerSpoolError,
    SourceError for a source whose extra is not installed, WorkerError, and NothingPublishedError where nobody set
    `stop`.
    """
    worker = _Worker(config, settings, frames_per_camera)
    metrics = CameraMetrics(
        worker.feeders, worker.buffer, worker.ledger.snapshot, worker.heartbeats.age_s, worker.spool
    )
    with ExitStack() as ends:
        ends.callback(worker.release)
        if metrics_port:
            ends.callback(serve_metrics(metrics, worker.fault, settings.andon_metrics_host, metrics_port))
        worker.start()
        worker.wait(stop, seconds)
        by_itself = not stop.is_set()
        tallies = worker.shut_down()
        if by_itself:
            worker.look_whether_any_was_published(tallies)
        return tallies


class _Worker:
    def __init__(self, config: CameraConfig, settings: Settings, frames: int | None) -> None:
        wake = threading.Event()
        boot_id = new_boot_id(now())
        self.ledger = Ledger()

        def arrived() -> None:
            if not wake.is_set():  # far cheaper than setting it again, and a frame finds it set nearly always
                wake.set()

        self.buffer = Buffer(config.buffer_mib * MIB, config.when_full, arrived)
        self._sources_stop = threading.Event()
        self._broken = threading.Event()
        self._link = Link()
        sources = [open_source(camera.source) for camera in config.cameras]
        self.spool = self._open_spool(config)
        self.feeders = [
            Feeder(camera, boot_id, source, self.buffer, self.ledger, frames)
            for camera, source in zip(config.cameras, sources, strict=True)
        ]
        window = Window(WINDOW_BYTES)
        depot = Depot(self.spool, self.ledger, window) if self.spool else None
        self._tracer = open_tracer("andon-camera")
        published = partial(publish_span, self._tracer) if self._tracer else None
        self._uplink = Uplink(
            settings.topics.frames.name, self.buffer, window, self.ledger, self._link, depot, wake, published
        )
        by_owner = {feeder.owner: feeder for feeder in self.feeders}
        self.heartbeats = Heartbeats(
            settings,
            self._link,
            self.ledger,
            self._uplink.report,
            lambda owner: owner in by_owner and by_owner[owner].connected,
        )
        self._source_tasks: list[Task] = []
        self._service_tasks: list[Task] = []

    def start(self) -> None:
        on_error = self._broken.set
        self._service_tasks = [
            Task("uplink", self._uplink.run, on_error),
            Task("heartbeats", self.heartbeats.run, on_error),
        ]
        self._source_tasks = [
            Task(feeder.owner.camera_id, partial(feeder.run, self._sources_stop), on_error) for feeder in self.feeders
        ]

    def fault(self) -> str | None:
        """What a restart would mend. Kafka or a camera that is away is none: the worker waits for them."""
        ended = [task.name for task in self._service_tasks if not task.running]
        return f"{' and '.join(ended)} ended" if ended else None

    def wait(self, stop: threading.Event, seconds: float | None) -> None:
        end_s = time.monotonic() + seconds if seconds is not None else float("inf")
        while not stop.wait(0.1):
            for feeder in self.feeders:
                feeder.watch()
            over = time.monotonic() >= end_s or not any(task.running for task in self._source_tasks)
            if over or self._broken.is_set() or self.heartbeats.fault:
                return

    def shut_down(self) -> Mapping[Owner, Tally]:
        """Sources first, then what they captured, then the last word about it."""
        uplink, heartbeats = self._service_tasks
        self._stop_sources()
        self._uplink.finish(0 if self.heartbeats.fault else _FLUSH_S)
        uplink.join(_FLUSH_S * 2)
        self.heartbeats.close()
        heartbeats.join(_HEARTBEATS_END_S)
        for task in [uplink, heartbeats, *self._source_tasks]:
            if task.error is not None:
                raise WorkerError(f"the camera worker broke: {task.error!r}; see the log") from task.error
        self._tell_ends()
        final = self.ledger.snapshot()
        if self.spool and not uplink.running:
            try:
                self.spool.checkpoint(final)
            except OSError as error:  # the end has to be told all the same, or its cameras are missed
                log.error("the spool's state cannot be written; its next start may send frames again: %s", error)
        self._send_last(final, able=not heartbeats.running)
        if self.heartbeats.fault:
            raise self.heartbeats.fault
        return final

    def look_whether_any_was_published(self, final: Mapping[Owner, Tally]) -> None:
        """Of this worker: `final` tells of former boots, too, and what they had published in their day."""
        tallies = [final[feeder.owner] for feeder in self.feeders]
        captured = sum(tally.captured for tally in tallies)
        if captured and not any(tally.published for tally in tallies):
            dropped = sum((Counter(tally.dropped) for tally in tallies), Counter[str]())
            spooled = sum(tally.spooled for tally in tallies)
            older = sum(tally.spooled for tally in final.values()) - spooled
            refusal = self.heartbeats.refusal or self._uplink.refusal
            raise NothingPublishedError(
                f"no frame of this run was published: {captured} were captured, "
                + "".join(f"{frames} dropped ({reason}), " for reason, frames in sorted(dropped.items()))
                + f"{spooled} are in the spool"
                + (f", behind {older} of former runs" if older else "")
                + (f". Kafka took none: {refusal}" if refusal else "")
            )

    def release(self) -> None:
        """Frees what other processes may want. Safe after any failure."""
        self._sources_stop.set()
        self.buffer.close()
        if publisher := self._link.publisher:
            self._link.broke(publisher)
        self._link.close_retired()
        if self._tracer:
            self._tracer.close()
        if self.spool and not any(task.running for task in self._service_tasks[:1]):
            self.spool.close()

    def _stop_sources(self) -> None:
        self._sources_stop.set()
        deadline_s = time.monotonic() + _SOURCES_END_S
        for task in self._source_tasks:
            task.join(deadline_s - time.monotonic())
        self.buffer.close()  # releases a source that waits for room

    def _tell_ends(self) -> None:
        left = self.ledger.snapshot()
        for feeder in self.feeders:
            frames = left[feeder.owner].buffered
            if frames:  # the uplink hangs, or it would have put them away
                log.error("camera %s: %d frames are lost: the spool's disk hangs", feeder.owner.camera_id, frames)
            self.ledger.end(feeder.owner, BootEnd.DIED if frames else BootEnd.CLEAN)

    def _send_last(self, final: Mapping[Owner, Tally], *, able: bool) -> None:
        try:
            if not able:
                raise PublishError("a heartbeat is still waiting for Kafka", retriable=True)
            self.heartbeats.send_last((now(), final))
        except PublishError as error:
            told = "the next start with this spool tells it" if self.spool else "without a spool it stays unsaid"
            log.warning("the last heartbeat was not sent (%s); %s", error, told)

    def _open_spool(self, config: CameraConfig) -> Spool | None:
        if config.spool is None:
            if config.empty_spool:
                log.warning("%s", config.empty_spool)
            return None
        spool = Spool(config.spool.folder, config.spool.max_mib * MIB)
        adopt_former_boots(spool, self.ledger)
        return spool
