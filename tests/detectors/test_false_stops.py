"""From stops a shift to a threshold: against simulation, against arithmetic, and what is refused."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binomtest

from pipeline.training.threshold.calibrate import CalibrationError
from pipeline.training.threshold.false_stops import Target, allowed_rate, choose_threshold, normals_for, stops_per_frame

pytestmark = pytest.mark.unit

HOURLY = Target(stops_per_shift=20, fps=1, shift_hours=1, k=2, n=3)


@pytest.mark.parametrize(("k", "n", "rate"), [(1, 1, 0.01), (2, 3, 0.05), (3, 5, 0.05), (3, 10, 0.03), (4, 4, 0.2)])
def test_a_simulated_line_stops_no_more_often_than_the_bound_and_not_far_less(k: int, n: int, rate: float) -> None:
    called = np.random.default_rng(0).random(2_000_000) < rate
    sums = np.convolve(called, np.ones(n), "valid") >= k - 0.5
    begins = np.count_nonzero(sums[1:] & ~sums[:-1]) / len(sums)
    bound = stops_per_frame(rate, k, n)
    assert 0.6 * bound <= begins <= 1.05 * bound


def test_without_debounce_every_frame_may_stop() -> None:
    target = Target(stops_per_shift=1, fps=10)
    assert allowed_rate(target) == pytest.approx(1 / 288_000)


def test_the_rate_gives_back_the_stops() -> None:
    rate = allowed_rate(HOURLY)
    assert stops_per_frame(rate, 2, 3) * 3600 == pytest.approx(20)


def test_normals_needed_by_hand() -> None:
    """The rule of three: 3 / rate for 95 %."""
    assert normals_for(0.01, 0.95) == 299
    assert 0.99**299 <= 0.05 < 0.99**298


def test_the_limit_is_clopper_and_pearsons() -> None:
    scores = np.arange(1000.0)
    chosen = choose_threshold(scores, HOURLY)
    beyond = int(np.sum(scores >= chosen.threshold))
    limit = binomtest(beyond, 1000, alternative="less").proportion_ci(0.95, "exact").high
    one_more = binomtest(beyond + 1, 1000, alternative="less").proportion_ci(0.95, "exact").high
    assert limit <= chosen.rate < one_more
    assert chosen.interval == pytest.approx(tuple(beta.ppf([0.025, 0.975], beyond + 1, 1000 - beyond)))
    assert chosen.interval[0] < chosen.expected_rate < chosen.interval[1]


def test_the_promise_holds_in_the_share_of_calibrations_that_it_says() -> None:
    """Scores of a known distribution: then the true rate beyond a threshold is known, too."""
    random = np.random.default_rng(0)
    chosen = [choose_threshold(random.exponential(size=300), HOURLY) for _ in range(600)]
    kept = np.mean([np.exp(-one.threshold) <= one.rate for one in chosen])
    inside = np.mean([one.interval[0] <= np.exp(-one.threshold) <= one.interval[1] for one in chosen])
    assert 0.93 <= kept <= 1
    assert 0.92 <= inside <= 0.98


def test_the_target_is_monotone_in_what_is_asked() -> None:
    scores = np.random.default_rng(0).normal(size=2000)
    rare, often = (choose_threshold(scores, Target(stops, 1, 1, 2, 3)).threshold for stops in (5, 50))
    assert rare > often


def test_too_few_normals_are_refused_with_the_number_that_it_takes() -> None:
    target = Target(stops_per_shift=1, fps=10)
    with pytest.raises(CalibrationError) as caught:
        choose_threshold(np.zeros(400), target)
    said = str(caught.value)
    assert f"{normals_for(allowed_rate(target), 0.95):,} normals" in said
    assert "--k 3 --n 5" in said
    choose_threshold(np.arange(400.0), Target(stops_per_shift=1, fps=10, k=3, n=5))  # the hint is true
    with pytest.raises(CalibrationError) as caught:
        choose_threshold(np.zeros(400), Target(stops_per_shift=1000, fps=10))
    asked = float(str(caught.value).split("--false-stops-per-shift ")[1].split(",")[0])
    choose_threshold(np.arange(400.0), Target(stops_per_shift=asked, fps=10))


def test_three_images_are_not_told_to_ask_for_stops_that_nobody_could_want() -> None:
    """190,000 in a shift of 288,000 parts. What fewer images could promise is told with their number."""
    target = Target(stops_per_shift=1, fps=10)
    with pytest.raises(CalibrationError) as caught:
        choose_threshold(np.zeros(3), target)
    said = str(caught.value)
    assert "--false-stops-per-shift" not in said
    takes, k, n = re.findall(r"([\d,]+) with --k (\d+) --n (\d+)", said)[-1]
    choose_threshold(np.arange(float(takes.replace(",", ""))), replace(target, k=int(k), n=int(n)))
    with pytest.raises(CalibrationError, match=r"takes 58 normals. Give more.$"):
        choose_threshold(np.zeros(3), replace(target, k=int(k), n=int(n)))


@pytest.mark.parametrize(
    "change",
    [
        {"stops_per_shift": 0},
        {"fps": -1},
        {"fps": float("inf")},
        {"k": 4, "n": 3},
        {"confidence": 1.0},
        {"stops_per_shift": 1e9},
    ],
)
def test_senseless_targets_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(CalibrationError):
        allowed_rate(Target(**{"stops_per_shift": 1, "fps": 10, **change}))  # type: ignore[arg-type]


def test_nobody_is_told_of_certainty() -> None:
    """99.9 % read as 100 %."""
    with pytest.raises(CalibrationError, match=r"to be 99.9 % sure of that takes"):
        choose_threshold(np.arange(10.0), replace(HOURLY, confidence=0.999))
