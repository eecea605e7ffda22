"""Choices of network and training: each has a network of its own."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks.radar_ablation.choices import Other
from benchmarks.radar_ablation.measure import Measure
from benchmarks.radar_ablation.scene import Scene
from benchmarks.radar_ablation.studied import Studied
from pipeline.detectors.radar import network
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.network import cumulative_alphas
from pipeline.training.radar import noise_training
from pipeline.training.radar.noise_training import NoisePlan, train_noise_predictor


@contextmanager
def borders_told(told: bool) -> Iterator[None]:
    """Within it, networks are trained and asked with or without their four channels of the border."""
    with ExitStack() as stack:
        if not told:
            for user in (noise_training, network):
                stack.enter_context(
                    patch.object(user, "closeness", lambda height, width, cells: torch.zeros(4, height, width))
                )
        yield


def as_noisy(config: RadarConfig, like: RadarConfig) -> int:
    """The timestep at which `config` leaves as much of the image as `like` does at its own."""
    return int((cumulative_alphas(config) - cumulative_alphas(like)[like.timestep]).abs().argmin())


def ablate_training(
    measure: Measure,
    scene: Scene,
    fit: Sequence[Tensor],
    plan: NoisePlan,
    name: str,
    others: Sequence[Other],
    work: Path,
) -> None:
    """A network of its own for each choice; none changes what the front sees."""
    for number, other in enumerate(others):
        changed = scene.config.model_copy(update=other.config)
        changed = changed.model_copy(update={"timestep": as_noisy(changed, scene.config)})
        with borders_told(other.bordered):
            trained, _ = train_noise_predictor(fit, changed, replace(plan, **other.plan), work / f"{name}-{number}")
            own = replace(scene, config=changed)
            measure.maps(f"{name}: {other.group}", other.choice, own, Studied(trained, changed).norm())
