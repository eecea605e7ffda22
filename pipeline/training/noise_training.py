"""Teaches the U-Net to predict noise on patches of normals: the DDPM objective (arXiv 2006.11239, algorithm 1)."""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.radar.config import SCORING_ONLY, RadarConfig
from pipeline.detectors.radar.network import NoisePredictor, cumulative_alphas
from pipeline.detectors.radar.preprocess import pad_to_stride
from pipeline.training.checkpoint import (
    Progress,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)

OnStep = Callable[[Progress], None]


@dataclass(frozen=True)
class NoisePlan:
    """How long and how the network is trained."""

    steps: int = 1500
    max_seconds: float | None = None
    """Ends early when this much time has gone into training; the learning rate then falls by time."""
    batch: int = 16
    learning_rate: float = 1e-3
    warmup_steps: int = 50
    ema_decay: float = 0.995
    max_timestep: int = 500
    """Timesteps are drawn below this. Frames are scored at one small timestep: capacity spent far from it is lost."""
    flips: bool = True
    seed: int = 0
    checkpoint_every_s: float = 30.0


def train_noise_predictor(
    images: Tensor,
    config: RadarConfig,
    plan: NoisePlan,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    on_step: OnStep | None = None,
) -> tuple[NoisePredictor, Progress]:
    """images (N, C, h, w): normalised normals at working resolution. Returns the averaged (EMA) network.

    Everything random in step k is drawn from a generator seeded by (seed, k). A resumed run therefore draws what the
    uninterrupted run would have drawn, and on a CPU ends in the same weights to the bit.
    """
    device = device or torch.device("cpu")
    torch.manual_seed(plan.seed)
    network = NoisePredictor(config, images.shape[1]).to(device).train()
    average = {name: value.detach().clone() for name, value in network.state_dict().items()}
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=1e-4)
    alphas = cumulative_alphas(config).to(device)
    images = pad_to_stride(images, config.stride_px)
    progress = Progress(_fingerprint(images, config, plan), step=0, elapsed_s=0.0, loss=math.nan)

    def save() -> None:
        if checkpoint:
            groups = {"network": network.state_dict(), "average": average, "optimiser": optimiser_tensors(optimiser)}
            save_checkpoint(checkpoint, progress, groups)

    found = load_checkpoint(checkpoint, progress.fingerprint) if checkpoint else None
    if found:
        progress, groups = found
        network.load_state_dict(groups["network"])
        average = {name: value.to(device) for name, value in groups["average"].items()}
        restore_optimiser(optimiser, groups["optimiser"])

    started = time.monotonic() - progress.elapsed_s
    saved_at = time.monotonic()
    while (done := _share_done(plan, progress)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = plan.learning_rate * _rate_factor(plan, progress.step, done)
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + progress.step)
        loss = _loss(network, images, alphas, config, plan, generator, device)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        decay = min(plan.ema_decay, (1 + progress.step) / (10 + progress.step))
        for name, value in network.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        smooth = loss.item() if math.isnan(progress.loss) else 0.98 * progress.loss + 0.02 * loss.item()
        progress = Progress(progress.fingerprint, progress.step + 1, time.monotonic() - started, smooth)
        if on_step:
            on_step(progress)
        if time.monotonic() - saved_at > plan.checkpoint_every_s:
            save()
            saved_at = time.monotonic()
    save()
    network.load_state_dict(average)
    return network.eval(), progress


def _loss(
    network: NoisePredictor,
    images: Tensor,
    alphas: Tensor,
    config: RadarConfig,
    plan: NoisePlan,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Mean squared error between drawn and predicted noise on a batch of random patches at random timesteps."""
    clean = draw_patches(images, config.patch_px // config.scale, plan.batch, plan.flips, generator).to(device)
    timesteps = torch.randint(0, min(plan.max_timestep, config.train_timesteps), (plan.batch,), generator=generator).to(
        device
    )
    noise = torch.randn(clean.shape, generator=generator).to(device)
    alpha = alphas[timesteps].view(-1, 1, 1, 1)
    predicted = network(alpha.sqrt() * clean + (1 - alpha).sqrt() * noise, timesteps)
    return functional.mse_loss(predicted, noise)


def draw_patches(images: Tensor, side: int, count: int, flips: bool, generator: torch.Generator) -> Tensor:
    """(N, C, h, w) → (count, C, side, side): random images, random places, and mirrored either way when `flips`."""
    height, width = images.shape[-2:]
    picks = torch.randint(0, len(images), (count,), generator=generator).tolist()
    tops = torch.randint(0, height - side + 1, (count,), generator=generator).tolist()
    lefts = torch.randint(0, width - side + 1, (count,), generator=generator).tolist()
    mirrored = torch.randint(0, 2, (count, 2), generator=generator).tolist()
    patches = []
    for pick, top, left, (down, across) in zip(picks, tops, lefts, mirrored, strict=True):
        patch = images[pick, :, top : top + side, left : left + side]
        axes = [axis for axis, flip in ((1, down), (2, across)) if flip and flips]
        patches.append(patch.flip(axes) if axes else patch)
    return torch.stack(patches)


def _share_done(plan: NoisePlan, progress: Progress) -> float:
    by_steps = progress.step / plan.steps
    return by_steps if plan.max_seconds is None else max(by_steps, progress.elapsed_s / plan.max_seconds)


def _rate_factor(plan: NoisePlan, step: int, done: float) -> float:
    """Linear warm-up, then half a cosine down to zero."""
    warmup = min(1.0, (step + 1) / plan.warmup_steps)
    return warmup * 0.5 * (1 + math.cos(math.pi * done))


def _fingerprint(images: Tensor, config: RadarConfig, plan: NoisePlan) -> str:
    """Scoring settings are left out: they can be changed without training again."""
    facts = {**asdict(plan), "config": config.model_dump(mode="json", exclude=set(SCORING_ONLY))}
    del facts["checkpoint_every_s"]
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    digest.update(images.contiguous().numpy().tobytes())
    return digest.hexdigest()
