"""Whoever gives as many images as were asked for is not asked again."""

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import pytest
from detectors.conftest import normal_frames, write_images

from pipeline.training.images.enough import images_for
from pipeline.training.images.split import Shares, split_by_number
from pipeline.training.normals import read_normals
from pipeline.training.threshold.calibrate import CalibrationError

pytestmark = pytest.mark.unit

CFLOW = Shares(fit=0.60, forest=0.0, calibration=0.30, validation=0.10)


def numbered(images: int, exposures: int) -> list[Path]:
    """Parts a thousand numbers apart, each photographed several times in a row."""
    return [Path(f"{1000 * (n // exposures) + n % exposures}.png") for n in range(images)]


def calibration(paths: Sequence[Path], shares: Shares) -> int:
    return len(split_by_number(paths, shares).calibration)


@pytest.mark.parametrize("shares", [CFLOW, Shares()])
@pytest.mark.parametrize("exposures", [1, 2, 3, 6])
@pytest.mark.parametrize("needed", [9, 99])
def test_as_many_as_asked_for_are_enough(needed: int, exposures: int, shares: Shares) -> None:
    for there in range(2 * exposures, int(1.3 * needed / shares.calibration), exposures * (needed // 9)):
        paths = numbered(there, exposures)
        if calibration(paths, shares) < needed:
            asked = images_for(needed, shares, paths)
            whole_parts = next(images for images in count(asked) if not images % exposures)
            assert asked > there
            assert calibration(numbered(whole_parts, exposures), shares) >= needed


def test_without_images_they_are_counted_one_by_one() -> None:
    assert calibration(numbered(images_for(99, CFLOW), 1), CFLOW) >= 99


def test_a_threshold_without_a_share_is_refused() -> None:
    with pytest.raises(ValueError, match="without a share"):
        images_for(9, Shares(fit=1, forest=0, calibration=0, validation=0))


def test_the_rate_that_a_refusal_names_is_an_option_as_it_is_given(tmp_path: Path) -> None:
    """It said 'ask for a rate of 10.00% or more', and --false-alarm-rate 10.00 is refused."""
    write_images(tmp_path, normal_frames(40))
    with pytest.raises(CalibrationError) as refused:
        read_normals(tmp_path, Shares(), 0.01, 32)
    named = re.search(r"or --false-alarm-rate (\S+) or more", str(refused.value))
    assert named
    assert len(read_normals(tmp_path, Shares(), float(named[1]), 32).parts.calibration)
