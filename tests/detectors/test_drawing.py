"""Pictures that say the same whatever the frame's size."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.drawing import side_by_side

pytestmark = pytest.mark.unit


def _caption(side: int) -> NDArray[np.uint8]:
    facts = {"verdict": "NOT_OK", "score": "1.0308", "threshold": "0.7879"}
    sheet = side_by_side(np.zeros((side, side), np.uint8), np.ones((4, 4), np.float32), facts)
    return np.asarray(sheet)[: sheet.height - side]


def test_the_caption_of_a_small_frame_is_whole() -> None:
    small, large = _caption(32), _caption(300)
    width = small.shape[1]
    assert np.array_equal(small, large[:, :width])
    assert (large[:, width:] == 255).all()


def test_a_line_cameras_frame_is_drawn_in_strips_that_a_jpeg_can_hold() -> None:
    """Three in a row were wider than JPEG allows: `andon predict` ended in a traceback, after all was scored."""
    for width in (24_000, 70_000):
        sheet = side_by_side(np.zeros((64, width), np.uint8), np.ones((4, 8), np.float32), {"verdict": "OK"})
        sheet.save(io.BytesIO(), "JPEG")
        assert sheet.height > 3 * 64 * sheet.width / width


def test_the_caption_of_a_huge_frame_can_be_read_on_a_screen() -> None:
    facts = {"verdict": "NOT_OK", "score": "1.0308", "threshold": "0.7879"}
    sheet = side_by_side(np.zeros((3000, 4000), np.uint8), np.ones((4, 4), np.float32), facts)
    caption = np.asarray(sheet)[: sheet.height - 3000]
    letters = np.flatnonzero((caption < 128).any(axis=(1, 2)))
    assert np.ptp(letters) > sheet.width / 200  # 7 px of a screen 1,400 px wide
