"""What a demo says that did not do what it must."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from workers.demo.stage import Options
from workers.demo.summary import Summary, failings

pytestmark = pytest.mark.unit

WELL = Summary(
    captured=400,
    scored=400,
    dropped=0,
    dead=0,
    in_flight=0,
    not_ok=20,
    alarms=2,
    holds=2,
    capture_to_score_ms={"p50": 120.0, "p99": 680.0},
    capture_to_hold_ms=0.0,
    plc_stops_proved=2,
    capture_to_coil_ms={},
    frames_per_s=12.8,
    duplicates=0,
    audit_balanced=True,
    lines_held=["mono", "poly"],
    planted=24,
    planted_found=15,
    false_alarms=6,
    seconds_to_ready=19.0,
)


def run(options: Options, *stopped: str) -> Any:
    return SimpleNamespace(options=options, stopped=list(stopped), fps=1.6)


def test_one_that_went_well_has_nothing_to_say() -> None:
    assert not failings(run(Options(), "mono", "poly"), WELL)


def test_frames_without_an_end_are_named() -> None:
    said = failings(run(Options(), "mono", "poly"), replace(WELL, audit_balanced=False))
    assert said == ["not every frame is accounted for"]


def test_the_line_that_runs_on_is_named() -> None:
    assert failings(run(Options(), "poly"), WELL) == ["not stopped at the PLC: mono"]


def test_too_few_frames_for_a_burst_are_told_of() -> None:
    """`make demo ARGS="--frames 60"` found 4 of 8 planted cells, and told no more than what a demo must do."""
    said = failings(run(Options(frames=60), "poly"), replace(WELL, captured=64, planted=8))
    assert said[1].startswith("--frames 60 leaves room for 8 of 24 defective cells")


def test_a_capture_that_ended_before_the_burst_is_told_of() -> None:
    said = failings(run(Options(seconds=5)), replace(WELL, captured=40))
    assert said[1] == "--seconds 5 ended the capture after 40 frames: give more"


def test_a_machine_that_is_too_slow_is_told_of() -> None:
    late = replace(WELL, capture_to_score_ms={"p50": 40_000.0, "p99": 95_000.0}, planted=12)
    said = failings(run(Options(frames=100)), late)
    assert said[1].startswith("frames waited 95 s for their scores, and after 60 s no line is stopped")
    assert len(said) == 2
