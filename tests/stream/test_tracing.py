"""Trace contexts: made at the camera, children by name, and nothing of OpenTelemetry where no collector is named."""

import subprocess
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import tracing
from pipeline.events import now

pytestmark = pytest.mark.unit

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_root_is_what_w3c_says_and_no_two_are_alike() -> None:
    made = [tracing.root(1.0) for _ in range(100)]
    assert len({one.split("-")[1] for one in made}) == 100
    assert all(tracing.child(one, "x") for one in made)
    assert all(tracing.is_sampled(one) for one in made)
    assert not any(tracing.is_sampled(tracing.root(0.0)) for _ in range(100))


def test_a_share_of_frames_is_sampled() -> None:
    sampled = sum(tracing.is_sampled(tracing.root(0.25)) for _ in range(4000))
    assert 800 < sampled < 1200


def test_a_child_keeps_trace_and_flag_and_its_id_follows_from_its_name() -> None:
    child = tracing.child(PARENT, "score")
    assert child
    assert child.split("-")[1] == PARENT.split("-")[1]
    assert child.split("-")[3] == "01"
    assert child.split("-")[2] != PARENT.split("-")[2]
    assert child == tracing.child(PARENT, "score") != tracing.child(PARENT, "decide")


@given(st.one_of(st.none(), st.text(max_size=128)))
def test_what_is_no_context_has_no_child_and_raises_nothing(text: str | None) -> None:
    assert tracing.child(text, "x") is None
    assert not tracing.is_sampled(text)


@pytest.mark.parametrize(
    "wrong",
    [
        PARENT.replace("00-", "ff-", 1),
        PARENT.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        PARENT.replace("b7ad6b7169203331", "0" * 16),
        PARENT.upper(),
    ],
)
def test_contexts_that_w3c_forbids_are_none(wrong: str) -> None:
    assert tracing.child(wrong, "x") is None


@pytest.mark.parametrize(
    ("environment", "ratio"),
    [
        ({}, 0.0),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, 1.0),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, 1.0),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}, 0.01),
        ({"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "7"}, 1.0),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "many"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "always_off", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, 0.0),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, 0.0),
    ],
)
def test_the_standard_variables_say_how_much_is_sampled(environment: dict[str, str], ratio: float) -> None:
    assert tracing.ratio_of(environment) == ratio


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    ],
)
def test_no_tracer_where_none_is_wanted(environment: dict[str, str]) -> None:
    assert tracing.open_tracer("andon", environment) is None


def test_a_context_costs_microseconds_and_imports_nothing() -> None:
    """Of the processor, and of the best of several rounds: the machine may be busy."""
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(1000):
            tracing.root(0.5)
        rounds.append(time.thread_time() - began)
    assert min(rounds) / 1000 < 50e-6
    code = (
        "import sys, workers.camera.worker, workers.alerting.service; from pipeline.tracing import open_tracer; "
        "assert open_tracer('x', {}) is None; print([m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert found.stdout.strip() == "[]"


def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "64")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "32")
    tracer = tracing.open_tracer("andon")
    assert tracer
    for _ in range(500):  # into a queue of 64
        tracer.span("capture", tracing.root(1.0), None, now(), now(), {"camera_id": "c"})
    tracer.close()
