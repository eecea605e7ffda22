"""The threshold keeps its promise, or says that it can't."""

import numpy as np
import pytest
from detectors.conftest import normal_frames
from hypothesis import given
from hypothesis import strategies as st

from pipeline.frames import mean_level, sharpness
from pipeline.training.threshold.calibrate import (
    QUANTILES,
    CalibrationError,
    Light,
    calibrate,
    conformal_threshold,
    light_of,
    normals_needed,
    quality_limits,
    reachable,
)

pytestmark = pytest.mark.unit


def test_the_order_statistic_by_hand() -> None:
    """99 scores at 1 %: rank ⌈100 · 0.99⌉ = 99, the highest; the threshold lies just above it."""
    scores = np.arange(99.0)
    threshold = conformal_threshold(scores, 0.01)
    assert 98 < threshold < 98 + 1e-9
    assert conformal_threshold(scores, 0.10) == np.nextafter(89.0, np.inf)


def test_new_normals_pass_at_the_promised_rate() -> None:
    """Marginally, over draws of the calibration set: that is what conformal prediction promises."""
    random = np.random.default_rng(0)
    rates = [np.mean(random.normal(size=500) >= conformal_threshold(random.normal(size=199), 0.05)) for _ in range(400)]
    assert np.mean(rates) == pytest.approx(0.05, abs=0.004)


@given(rate=st.floats(0.001, 0.5), extra=st.integers(-3, 3))
def test_it_refuses_exactly_below_the_needed_count(rate: float, extra: int) -> None:
    count = max(0, normals_needed(rate) + extra)
    scores = np.linspace(0, 1, count)
    if count < normals_needed(rate):
        with pytest.raises(CalibrationError, match="takes at least"):
            conformal_threshold(scores, rate)
    else:
        assert np.mean(scores >= conformal_threshold(scores, rate)) <= rate


@given(st.integers(1, 9_999))
def test_the_rate_that_a_refusal_names_is_then_taken(count: int) -> None:
    """1/3 written as 0.3333 would be refused, with the advice to ask for 0.3333."""
    assert normals_needed(float(reachable(count))) <= count


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_senseless_rates_are_refused(rate: float) -> None:
    with pytest.raises(CalibrationError, match="between 0 and 1"):
        conformal_threshold(np.zeros(1000), rate)


def test_quality_limits_keep_the_normals_and_refuse_dark_and_blurred() -> None:
    frames = normal_frames(10)
    limits = quality_limits([light_of(frame) for frame in frames])
    assert all(limits.dark_below < mean_level(frame) < limits.bright_above for frame in frames)
    assert all(sharpness(frame) > limits.blurred_below for frame in frames)
    assert mean_level(frames[0] // 8) < limits.dark_below
    smeared = np.full_like(frames[0], 150)
    assert sharpness(smeared) < limits.blurred_below


def test_calibration_holds_every_quantile_in_order() -> None:
    lights = [Light(150, 80)] * 200
    calibration = calibrate(np.random.default_rng(0).normal(size=200), np.arange(200), lights, 0.01)
    values = [calibration.score_quantiles[name] for name in QUANTILES]
    assert values == sorted(values)
    assert calibration.normals == 200
