"""On a GPU: the kernels of a network, recorded once for each shape and replayed as one CUDA graph.

RADAR's pass over eight frames is hundreds of kernels, and of small frames each ends sooner than Python asks for the
next. A graph is asked for once. Batches of any length replay what is recorded, since every pass over frames of one size
has one shape (`passes`).
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

import torch
from torch import Tensor, nn

from pipeline.detectors.base import Detector
from pipeline.detectors.rounding import same_to_rounding

log = logging.getLogger(__name__)

_SHAPES_KEPT: Final = 4
"""Each recording keeps the memory that a pass takes. Frames of further sizes run kernel by kernel."""
_MOST_RECORDED: Final = 8 * 1024 * 1024
"""Values of an input, 8 frames of 590 × 590 px in colour. In larger passes each kernel has enough to do."""
_WARM_UPS: Final = 3
"""Libraries choose kernels and take their workspaces in the first runs, which no recording may hold."""

Output = Tensor | list[Tensor]
Record = Callable[[nn.Module, Sequence[Tensor]], Callable[[], Output]]
"""Network and inputs → what runs it anew on whatever these inputs hold by then. It may answer in the same memory each
time. Raises RuntimeError where the network can't be recorded."""


def record_graph(network: nn.Module, inputs: Sequence[Tensor]) -> Callable[[], Output]:
    """`Record` by CUDA's own graphs."""
    device = inputs[0].device
    with torch.cuda.device(device):
        aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                network(*inputs)
        torch.cuda.current_stream(device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # Other threads go on working on this GPU meanwhile, which is forbidden by default.
        with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
            outputs: Output = network(*inputs)

    def replay() -> Output:
        with torch.cuda.device(device):
            graph.replay()
        return outputs

    return replay


@dataclass(frozen=True)
class _Recording:
    inputs: Sequence[Tensor]
    run: Callable[[], Output]

    def __call__(self, given: Sequence[Tensor]) -> Output:
        for held, one in zip(self.inputs, given, strict=True):
            held.copy_(one)
        found = self.run()
        return found.clone() if isinstance(found, Tensor) else [one.clone() for one in found]


class Replayed(nn.Module):
    """In the place of a network that is scored with: the same tensors in, the same tensors out.

    What can't be recorded, or replays to other numbers, runs kernel by kernel as before.
    """

    def __init__(self, network: nn.Module, record: Record = record_graph) -> None:
        super().__init__()
        self.network = network
        self._record = record
        self._recordings: dict[tuple[tuple[int, ...], ...], _Recording | None] = {}
        self._lock = Lock()

    @torch.inference_mode()
    def forward(self, *inputs: Tensor) -> Output:
        with self._lock:  # the stream, a shadow and whoever posts an image may look through one network at once
            recording = self._recording_for(inputs)
            if recording:
                return recording(inputs)
        found: Output = self.network(*inputs)
        return found

    def _recording_for(self, inputs: Sequence[Tensor]) -> _Recording | None:
        shapes = tuple(tuple(one.shape) for one in inputs)
        small = max(one.numel() for one in inputs) <= _MOST_RECORDED
        if small and shapes not in self._recordings and len(self._recordings) < _SHAPES_KEPT:
            self._recordings[shapes] = self._recorded(inputs)
        return self._recordings.get(shapes)

    def _recorded(self, inputs: Sequence[Tensor]) -> _Recording | None:
        expected = self.network(*inputs)
        try:
            held = [torch.empty_like(one).copy_(one) for one in inputs]
            recording = _Recording(held, self._record(self.network, held))
            replayed = recording(inputs)
        except RuntimeError as error:  # torch's own for every fault of a GPU, a lack of memory among them
            why = str(error).partition("\n")[0]
        else:
            if all(same_to_rounding(*pair) for pair in zip(_listed(expected), _listed(replayed), strict=True)):
                return recording
            why = "it gave other numbers"
        log.warning("no CUDA graph for inputs of %s, so their kernels run one by one: %s", tuple(inputs[0].shape), why)
        return None


def replay_networks(detector: Detector, record: Record = record_graph) -> None:
    """Puts a `Replayed` in the place of each of the detector's networks."""
    for owner, attribute in detector.networks().values():
        setattr(owner, attribute, Replayed(getattr(owner, attribute), record))


def _listed(output: Output) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else output
