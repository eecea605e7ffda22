"""Pictures that say the same whatever the frame's size."""

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
