"""Teaches the U-Net to predict noise on patches of normals: the DDPM objective (arXiv 2006.11239, algorithm 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.radar.border import closeness
from pipeline.detectors.radar.config import METHOD_VERSION, SCORING_ONLY, RadarConfig
from pipeline.detectors.radar.network import NoisePredictor, cumulative_alphas
from pipeline.training.checkpoint import Progress
from pipeline.training.loop import Pace, descend, half_cosine
from pipeline.training.told import NOBODY, Told

STEPS_IN_PIXELS = 900
"""A frame's gray levels are far from white, and what they have to do with each other takes longer to learn."""


@dataclass(frozen=True)
class NoisePlan(Pace):
    """How long and how the network is trained."""

    batch: int = 32
    steps: int = 300
    warmup_steps: int = 30
    ema_decay: float = 0.99
    max_timestep: int = 750
    """Timesteps are drawn below this: beyond, there is next to no image left to learn from."""
    flips: bool = True


def train_noise_predictor(
    images: Sequence[Tensor],
    config: RadarConfig,
    plan: NoisePlan,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    told: Told = NOBODY,
) -> tuple[NoisePredictor, Progress]:
    """images: normals (C, h, w) as the front sees them; sizes may differ. Returns the averaged (EMA) network.

    Everything random in step k is drawn from a generator seeded by (seed, k).
    """
    device = device or torch.device("cpu")
    torch.manual_seed(plan.seed)
    network = NoisePredictor(config, len(images[0])).to(device).train()
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=1e-4)
    alphas = cumulative_alphas(config).to(device)

    def loss_of(step: int) -> Tensor:
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + step)
        return _loss(network, images, alphas, config, plan, generator, device)

    def rate_of(step: int, done: float) -> float:
        return min(1.0, (step + 1) / plan.warmup_steps) * half_cosine(done)

    def after(step: int) -> None:
        decay = min(plan.ema_decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - decay)

    run, state = fingerprint(images, config, plan), {"network": network.state_dict(), "average": average}
    progress = descend(optimiser, state, plan, plan.steps, loss_of, rate_of, after, run, checkpoint, told)
    network.load_state_dict(average)
    return network.eval(), progress


def _loss(
    network: NoisePredictor,
    images: Sequence[Tensor],
    alphas: Tensor,
    config: RadarConfig,
    plan: NoisePlan,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Mean squared error between drawn and predicted noise on a batch of random patches at random timesteps."""
    patches = draw_patches(images, config, plan.batch, plan.flips, generator)
    clean, borders = (part.to(device) for part in patches)
    timesteps = torch.randint(0, min(plan.max_timestep, config.train_timesteps), (plan.batch,), generator=generator).to(
        device
    )
    noise = torch.randn(clean.shape, generator=generator).to(device)
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    predicted = network(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, timesteps, borders)
    return functional.mse_loss(predicted, noise)


def draw_patches(
    images: Sequence[Tensor], config: RadarConfig, count: int, flips: bool, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(C, h, w) maps → patches (count, C, side, side) and how close their borders are, (count, 4, side, side): random
    images, random places, and mirrored either way when `flips`."""
    side = config.patch_px // config.scale
    patches, borders = [], []
    for pick in torch.randint(0, len(images), (count,), generator=generator).tolist():
        image = images[pick]
        height, width = image.shape[1:]
        top, left = (
            int(torch.randint(0, room + 1, (1,), generator=generator)) for room in (height - side, width - side)
        )
        down, across = torch.randint(0, 2, (2,), generator=generator).tolist()
        square = (slice(None), slice(top, top + side), slice(left, left + side))
        patch, close = image[square].float(), closeness(height, width, config.ring_cells)[square]
        if flips and down:
            patch, close = patch.flip(1), close[[1, 0, 2, 3]].flip(1)
        if flips and across:
            patch, close = patch.flip(2), close[[0, 1, 3, 2]].flip(2)
        patches.append(patch)
        borders.append(close)
    return torch.stack(patches), torch.stack(borders)


def fingerprint(images: Sequence[Tensor], config: RadarConfig, plan: NoisePlan) -> str:
    """Scoring settings are left out: they can be changed without training again."""
    return plan.fingerprint(METHOD_VERSION, config.model_dump(mode="json", exclude=set(SCORING_ONLY)), images)
