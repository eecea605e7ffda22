"""What a camera worker tells Prometheus."""

from collections.abc import Callable
from pathlib import Path

import pytest

from workers.camera.buffer import Buffer, WhenFull
from workers.camera.metrics import CameraMetrics
from workers.camera.parcel import Parcel
from workers.camera.spool.store import Spool

pytestmark = pytest.mark.unit


def told(spool: Spool | None) -> dict[str, float]:
    buffer = Buffer(2**23, WhenFull.DROP_OLDEST, lambda: None)
    metrics = CameraMetrics([], buffer, dict, lambda: 0.0, spool).collect()
    return {sample.name: sample.value for family in metrics for sample in family.samples if "_spool_" in sample.name}


def test_how_full_a_spool_is_is_told_before_frames_are_lost(tmp_path: Path, parcel: Callable[..., Parcel]) -> None:
    spool = Spool(tmp_path, 100_000)
    assert told(spool)["andon_camera_spool_bytes"] < 1000
    spool.append(parcel(0, size=80_000))
    found = told(spool)
    spool.close()
    assert 80_000 < found["andon_camera_spool_bytes"] < found["andon_camera_spool_max_bytes"] == 100_000


def test_a_worker_without_a_spool_tells_of_none() -> None:
    """0 of 0 bytes would be a spool that takes nothing."""
    assert told(None) == {}
