"""`andon map`: the frame that was named, as a picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.events import KafkaPosition
from pipeline.maps import MapEntry, MapStore, map_key, thumbnail
from workers.cli import app

pytestmark = pytest.mark.services
GRID = np.ones((4, 4), np.float32)


@pytest.fixture
def frame_id(redis_url: str, unique: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr("pipeline.kafka.reading.read_frame", lambda *_: None)  # Kafka has it no longer
    frame_id = f"{unique}:boot:1"
    picture = thumbnail(np.full((30, 40), 90, np.uint8))
    facts = {"verdict": "OK", "score": "0.25", "threshold": "0.5"}
    place = KafkaPosition(topic="frames", partition=0, offset=7)
    store = MapStore(redis_url, ttl_s=60)
    store.put([MapEntry(map_key(frame_id, "h"), frame_id, GRID, picture, facts, place)])
    store.close()
    return frame_id


def test_a_picture_is_a_png_whatever_its_name_and_folder(frame_id: str, tmp_path: Path) -> None:
    out = tmp_path / "new" / "picture.xyz"
    found = CliRunner().invoke(app, ["map", frame_id, "--out", str(out)])
    assert found.exit_code == 0, found.output
    assert "OK, score 0.25" in found.output
    with Image.open(out) as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("pattern", ["*", "{}*", "?{}"])
def test_a_pattern_draws_no_other_frame(frame_id: str, tmp_path: Path, pattern: str) -> None:
    asked = pattern.format(frame_id[1:] if pattern.startswith("?") else frame_id[:-1])
    found = CliRunner().invoke(app, ["map", asked, "--out", str(tmp_path / "map.png")])
    assert "no map of frame" in str(found.exception)
    assert not (tmp_path / "map.png").exists()
