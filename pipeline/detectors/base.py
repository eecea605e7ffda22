"""The one interface that training, evaluation, export and the stream score through."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.detectors.bundle import BundleInfo
from pipeline.errors import AndonError

Runtime = Literal["torch", "onnx", "openvino"]
"""What runs a detector's networks."""


class BrokenModelError(AndonError):
    """A model that gives no number."""


@dataclass(frozen=True)
class Prediction:
    """What one network pass says of N frames. All values are raw: unbounded, neither normalised nor clamped.

    Raises BrokenModelError when a score, a map or a feature is not finite. NaN is below every threshold: a broken model
    would call every frame OK. And no event can tell of NaN: its frame would have no score that anybody can read.
    """

    scores: NDArray[np.float64]
    """(N,): the higher, the more anomalous."""

    maps: NDArray[np.float32]
    """(N, h, w): pixel-level anomaly on the model's own grid, which may be coarser than the frame."""

    features: Mapping[str, NDArray[np.float64]]
    """name → (N,): what the score was computed from. Kept because a score may saturate where a feature does not."""

    def __post_init__(self) -> None:
        named: list[tuple[str, NDArray[Any]]] = [("scores", self.scores), ("maps", self.maps), *self.features.items()]
        for what, values in named:
            if not np.isfinite(values).all():
                raise BrokenModelError(f"the model gives {what} that are not finite: it is broken; train it again")


class Detector(Protocol):
    """A trained model, loaded from a bundle. `predict` is a pure function of each frame: neither its neighbours
    in the batch nor earlier calls change a frame's result."""

    @property
    def info(self) -> BundleInfo: ...

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        """Scores frames that all have one size.

        batch: (N, H, W) gray or (N, H, W, 3) RGB; N may be 0. A detector converts to the mode it was trained on.
        Raises ValueError when H or W is below the model's patch size.
        """
        ...

    def networks(self) -> Mapping[str, tuple[object, str]]:
        """The torch modules that take most of the time: name → (object, attribute) where one sits.

        `pipeline.detectors.runtimes` puts another engine there. Called with tensors alone, by position; each gives a
        tensor or a list of tensors.
        """
        ...
