"""What stands in a network's place on a GPU. There is none on the machines that run this, so most of it is shown with a
recorder that behaves as CUDA's graphs do (it sees no inputs but those that it was given to hold, and answers in the
same memory each time); where there is a GPU, the contract suite asks CUDA's own."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from detectors.conftest import DETECTORS, assert_each_thread_gets_its_own, normal_frames
from numpy.testing import assert_allclose
from torch import Tensor, nn

from pipeline.detectors.registry import load_detector
from pipeline.detectors.replay import Output, Replayed, replay_networks

pytestmark = pytest.mark.unit


class Recorder:
    """`Record` without a GPU."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, network: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Output]:
        self.recorded += 1
        answer: Output = network(*inputs)

        def replay() -> Output:
            for held, new in zip(_listed(answer), _listed(network(*inputs)), strict=True):
                held.copy_(new)
            return answer

        return replay


def _listed(output: Output) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else output


class Doubled(nn.Module):
    def forward(self, numbers: Tensor) -> list[Tensor]:
        return [numbers * 2]


def test_an_answer_stays_when_the_next_one_is_asked_for() -> None:
    replayed = Replayed(Doubled(), Recorder())
    answers = [replayed(torch.full((3,), value)) for value in (1.0, 2.0, 3.0)]
    assert [answer[0].tolist() for answer in answers] == [[2.0] * 3, [4.0] * 3, [6.0] * 3]


def test_a_shape_is_recorded_once_and_few_are() -> None:
    """Each holds the memory of a whole pass; a folder of photos of any size must not fill the GPU."""
    recorder = Recorder()
    replayed = Replayed(Doubled(), recorder)
    for _ in range(2):
        for length in range(1, 8):
            assert replayed(torch.ones(length))[0].tolist() == [2.0] * length
    assert recorder.recorded == 4


def test_a_large_pass_is_not_recorded() -> None:
    recorder = Recorder()
    large = torch.ones(8 * 1024 * 1024 + 1)
    assert torch.equal(Replayed(Doubled(), recorder)(large)[0], large * 2)
    assert not recorder.recorded


def test_what_cannot_be_recorded_runs_as_it_did(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(network: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Output]:
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    replayed = Replayed(Doubled(), refuse)
    for _ in range(2):
        assert replayed(torch.ones(2))[0].tolist() == [2.0, 2.0]
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "no CUDA graph for inputs of (2,), so their kernels run one by one: "
        "operation not permitted when stream is capturing"
    ]


def test_a_recording_that_gives_other_numbers_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    def stale(network: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Output]:
        return lambda: [torch.zeros(2)]

    assert Replayed(Doubled(), stale)(torch.ones(2))[0].tolist() == [2.0, 2.0]
    assert "other numbers" in caplog.text


@pytest.mark.parametrize("name", DETECTORS)
def test_every_detector_can_be_replayed(name: str, bundles: dict[str, Path]) -> None:
    recorder = Recorder()
    detector = load_detector(bundles[name], "cpu")
    expected = detector.predict(normal_frames(5))
    networks = len(detector.networks())
    replay_networks(detector, recorder)
    found = detector.predict(normal_frames(5))
    assert recorder.recorded >= networks
    assert_allclose(found.scores, expected.scores, rtol=1e-4)
    assert_allclose(found.maps, expected.maps, rtol=1e-3, atol=1e-4)
    assert_each_thread_gets_its_own(detector)
