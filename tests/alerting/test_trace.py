"""One trace from the camera to the PLC's reply: in the events, in Kafka's headers, and at a real OTLP receiver."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from alerting.otlp import Collector, Span, collecting
from alerting.plc_peers import wait_for
from alerting.running import worker
from support.stream import picture, running, settings_for

from pipeline import tracing
from pipeline.detectors.null import make_null_bundle
from pipeline.kafka.admin import ensure_topics
from pipeline.kafka.publisher import Publisher
from pipeline.kafka.reading import read_to_end
from pipeline.kafka.records import Incoming
from pipeline.kafka.step import ConsumerOptions
from pipeline.maps import MapStore
from pipeline.replica.inspection import Inspection
from pipeline.replica.recipes import Recipe, load_catalog
from pipeline.replica.spans import score_spans
from pipeline.scoring import Scored, Scorer
from pipeline.settings import Settings
from workers.alerting.policy import Policies
from workers.camera.config import Camera, CameraConfig, FolderSource
from workers.camera.worker import run as run_camera
from workers.local.ports import free_ports
from workers.plc.ladder import Ladder
from workers.plc.station import Station

pytestmark = pytest.mark.services

OF_EVENTS = ("alarms", "line_commands", "command_replies", "audit_log")


@pytest.fixture
def plant(kafka_bootstrap: str, redis_url: str, unique: str) -> Settings:
    settings = settings_for(kafka_bootstrap, unique, redis_url)
    ensure_topics(settings, settings.topics)
    return settings


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        yield found


@dataclass
class Replica:
    """What Serve's replica does with each delivered batch."""

    tracer: tracing.Tracer | None

    def delivered(self, scored: Scored, deliver_s: float) -> None:
        if self.tracer:
            score_spans(self.tracer, scored)


def stop_a_line(settings: Settings, folder: Path) -> Ladder:
    """Camera worker, scoring and alerting as they are, and a Modbus PLC: until the stop is read back."""
    (port,) = free_ports(1)
    images = folder / "images"
    images.mkdir()
    for i in range(4):
        (images / f"{i}.png").write_bytes(picture(220, seed=i))
    make_null_bundle(folder / "null", 32, 32)
    source = FolderSource(type="folder", path=images, fps=10)
    camera = Camera(camera_id="cam-1", line_id="line-1", station_id="s", recipe="null", source=source)
    actuator = {"type": "modbus", "host": "127.0.0.1", "port": port, "block": 0, "coils": {"stop": 0, "run_permit": 1}}
    policies = Policies.model_validate(
        {
            "defaults": {"k": 3, "n": 5, "action": "HOLD", "max_age_s": 300},
            "lines": {"line-1": {"actuator": actuator, "on_loss": "hold-on-loss"}},
        }
    )
    catalog = load_catalog({"null": Recipe(bundle=str(folder / "null"), cameras=("*",))})
    store, publisher = MapStore(settings.redis_address), Publisher(settings, "test")
    tracer = tracing.open_tracer("andon-inspection")
    ladder = Ladder("line-1")
    with Station([ladder], modbus_port=port), worker(settings, policies), ThreadPoolExecutor(2) as pool:
        scorer = Scorer(pool, store.expires_at)
        step = Inspection(scorer, lambda: catalog, store, publisher, settings.topics, Replica(tracer))
        with running(settings, ConsumerOptions("g", (settings.topics.frames.name,)), step):
            run_camera(CameraConfig(cameras=(camera,)), settings, threading.Event())
            wait_for(lambda: bool(records(settings, "command_replies")), "the PLC's reply", 90)
    if tracer:
        tracer.close()
    publisher.close()
    store.close()
    return ladder


def records(settings: Settings, topic: str) -> list[Incoming]:
    return list(read_to_end(settings, [getattr(settings.topics, topic).name]))


def header(record: Incoming) -> str:
    return dict(record.headers)["traceparent"].decode()


def trace_of(traceparent: str) -> str:
    return traceparent.split("-")[1]


def test_one_trace_links_camera_scoring_alert_and_plc(plant: Settings, collector: Collector, tmp_path: Path) -> None:
    assert stop_a_line(plant, tmp_path).stop
    (command,) = records(plant, "line_commands")
    trace = trace_of(header(command))
    assert trace in {trace_of(header(frame)) for frame in records(plant, "frames")}
    assert trace in {trace_of(header(score)) for score in records(plant, "scores")}
    for topic in OF_EVENTS:
        mine = [one for one in records(plant, topic) if trace in (json.loads(one.value or b"{}")["traceparent"] or "")]
        assert mine, topic
        assert {header(one) for one in mine} == {json.loads(one.value or b"")["traceparent"] for one in mine}

    chain = {span.name: span for span in collector.spans if span.trace_id == trace}
    assert sorted(chain) == ["capture", "decide", "plc", "score"]
    assert [chain[name].parent_id for name in ("capture", "score", "decide", "plc")] == [
        "",
        *(chain[name].span_id for name in ("capture", "score", "decide")),
    ]
    services = {"andon-camera", "andon-inspection", "andon-alerting"}
    assert {span.service for span in chain.values()} == services
    assert all(span.end_ns >= span.start_ns for span in chain.values())
    assert chain["plc"].attributes["outcome"] == "accepted"
    assert chain["decide"].attributes["action"] == "HOLD"
    assert frames_of(collector.spans, "capture") == frames_of(collector.spans, "score")
    assert len(frames_of(collector.spans, "capture")) == 4


def frames_of(spans: list[Span], name: str) -> set[str]:
    return {span.attributes["frame_id"] for span in spans if span.name == name}


def test_without_a_collector_contexts_travel_all_the_same_and_say_that_nobody_keeps_them(
    plant: Settings, tmp_path: Path
) -> None:
    stop_a_line(plant, tmp_path)
    (command,) = records(plant, "line_commands")
    assert header(command).endswith("-00")
    assert trace_of(header(command)) in {trace_of(header(frame)) for frame in records(plant, "frames")}
