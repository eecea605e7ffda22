"""A network, trained or not, and the ways of asking it."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from benchmarks.radar_ablation.measure import Maps
from benchmarks.radar_ablation.scene import Scene
from pipeline.detectors.radar.anomaly_map import noise_norm
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.network import NoisePredictor, cumulative_alphas, predict
from pipeline.detectors.radar.preprocess import box_mean

AVERAGED = (100, 250, 500)
"""Timesteps of the multi-scale row."""


class Studied:
    """One trained network and the ways of asking it."""

    def __init__(self, trained: NoisePredictor, config: RadarConfig) -> None:
        self.network, self.config, self.alphas = trained.eval(), config, cumulative_alphas(config)
        self._known: dict[tuple[int, int, int | None], Tensor] = {}
        """(frame, timestep, seed) → the prediction: rows that differ only behind the network share its passes."""

    def noise(
        self, x: Tensor, t: int | None = None, seed: int | None = None, residual: bool = False, blur: int | None = None
    ) -> Tensor:
        """blur: the config's unless given."""
        t = self.config.timestep if t is None else t
        alpha = self.alphas[t]
        frame = x[None].float()
        drawn = torch.zeros_like(frame)
        if seed is not None:
            drawn = torch.randn(frame.shape, generator=torch.Generator().manual_seed(seed))
        key = (x.data_ptr(), t, seed)
        predicted = self._known.get(key)
        if predicted is None:
            noisy = frame * alpha.sqrt() + (1 - alpha).sqrt() * drawn * (seed is not None)
            predicted = predict(self.network, noisy, torch.tensor([t]), self.config).half()
            if seed is None and t in (self.config.timestep, *AVERAGED):
                self._known[key] = predicted  # a gigabyte for some hundred frames: no more than is asked for again
        predicted = predicted.float()
        return box_mean(predicted - drawn if residual else predicted, self.config.blur_px if blur is None else blur)

    def norm(self, t: int | None = None, blur: int | None = None) -> Maps:
        return lambda x: noise_norm(self.noise(x, t, blur=blur))[0]

    def reconstructed(self, x: Tensor, depth: int, steps: int) -> Tensor:
        """AnoDDPM (CVPRW 2022): noise to `depth`, then back in so many steps (DDIM, arXiv 2010.02502, η = 1); the
        squared difference to the input, per position."""
        generator = torch.Generator().manual_seed(0)
        x = x[None].float()
        times = np.linspace(depth, 0, steps + 1).round().astype(int)
        a = self.alphas[times[0]]
        z = a.sqrt() * x + (1 - a).sqrt() * torch.randn(x.shape, generator=generator)
        for here, there in pairwise(times):
            a, b = self.alphas[here], self.alphas[there]
            noise = predict(self.network, z, torch.tensor([int(here)]), self.config)
            clean = (z - (1 - a).sqrt() * noise) / a.sqrt()
            spread = (((1 - b) / (1 - a)) * (1 - a / b)).clamp(min=0).sqrt()
            z = b.sqrt() * clean + (1 - b - spread**2).clamp(min=0).sqrt() * noise
            z = z + spread * torch.randn(x.shape, generator=generator)
        return noise_norm(z - x)[0]


def untrained(scene: Scene) -> Studied:
    torch.manual_seed(0)
    return Studied(NoisePredictor(scene.config, len(scene.normals[0])), scene.config)
