"""The demo's cameras send what the machine can judge."""

from pathlib import Path

import pytest

from workers.demo.pace import MOST_FPS, affordable_fps, frames_per_s

pytestmark = pytest.mark.unit


def test_cells_of_each_recipe_are_timed_in_turn(tmp_path: Path) -> None:
    (cell := tmp_path / "cell.png").write_bytes(b"a cell")
    scored: list[tuple[str, bytes]] = []
    rate = frames_per_s(
        lambda recipe, image: scored.append((recipe, image)), {"a": [cell], "b": [cell, cell]}, for_s=0.01
    )
    assert rate > 0
    assert scored[:4] == [("a", b"a cell"), ("b", b"a cell")] * 2


@pytest.mark.parametrize(
    ("judged_per_s", "cameras", "fps"),
    [(8.0, 8, 1.1), (1000.0, 8, MOST_FPS), (0.2, 8, 0.1)],
    ids=["batches take a little more than one by one", "no faster than a person can follow", "never nothing"],
)
def test_cameras_send_what_is_judged(judged_per_s: float, cameras: int, fps: float) -> None:
    assert affordable_fps(judged_per_s, cameras) == fps
