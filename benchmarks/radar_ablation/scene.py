"""What is scored: held-out normals with and without drawn damage, as one front sees them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pipeline.detectors.radar.config import RadarConfig
from pipeline.training.drawn.synthetic import Defect
from pipeline.training.images.data import Frame
from pipeline.training.radar.fit import RadarPlan, fit_front


@dataclass(frozen=True)
class Scene:
    """Everything that is scored, as one front sees it."""

    config: RadarConfig
    held_out: list[Tensor]
    normals: list[Tensor]
    damaged: list[Tensor]
    defects: list[Defect]

    def first(self, count: int) -> "Scene":
        """A subset of about so many normals, and as many defects, evenly drawn."""
        n, d = (max(1, len(part) // count) for part in (self.normals, self.damaged))
        return replace(
            self, normals=self.normals[::n], damaged=self.damaged[::d], defects=self.defects[::d],
            held_out=self.held_out[:: max(1, len(self.held_out) // count)],
        )  # fmt: skip


def scene_of(
    config: RadarConfig, parts: Mapping[str, list[Frame]], defects: list[Defect]
) -> tuple[Scene, list[Tensor]]:
    plan = RadarPlan(config=config)
    config, front, fit = fit_front(parts["fit"], plan, 1, torch.device("cpu"))

    def seen(frames: Sequence[Frame]) -> list[Tensor]:
        return [front(frame[None], torch.device("cpu"))[0].half() for frame in frames]

    damaged = seen([defect.frame for defect in defects])
    return Scene(config, seen(parts["forest"]), seen(parts["validation"]), damaged, defects), fit
