"""Teaches CFLOW's flows what fibres of normals look like: the objective and schedule of the official code."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from pipeline.detectors.cflow.config import METHOD_VERSION, CflowConfig
from pipeline.detectors.cflow.features import Whitening, fibres_of
from pipeline.detectors.cflow.flow import ConditionalFlow
from pipeline.detectors.cflow.likelihood import Reference
from pipeline.detectors.cflow.position import bins, encode, places
from pipeline.detectors.encoder import Encoder
from pipeline.training.checkpoint import Progress
from pipeline.training.images.data import Frame
from pipeline.training.loop import Pace, descend, half_cosine
from pipeline.training.told import NOBODY, Told
from pipeline.training.track import Track, untracked

_CHUNK = 8192
_PRIOR_FIBRES = 20.0
"""The mean of all normals weighs as much as so many fibres of the place itself."""
_LEAST_DEVIATION = 1e-3
"""Nats per channel; among identical normals anything else would be infinitely odd."""


@dataclass(frozen=True)
class FlowPlan(Pace):
    """How long and how the flows are trained."""

    batch: int = 512
    """Fibres a step and level; the official code takes 256 and a rate of 2e-4, and 40 times as many passes."""
    epochs: int = 5
    """Passes over the sampled fibres."""
    warmup: float = 0.05
    """Share of the training over which the learning rate rises; then it falls by half a cosine."""
    fibres_per_level: int = 80_000
    """At most so many fibres of each level are kept in memory, whatever the number of images: drawn evenly over
    images and places."""
    rotations: int = 0
    """How often each image is shown again, turned by up to ±5°."""
    rotation_degrees: float = 5.0
    patience: int = 4
    """Training ends when the held-out normals have not become likelier for so many epochs; the best weights stay."""


@dataclass(frozen=True)
class Fibres:
    """Fibres of one level and where they were."""

    values: Tensor
    """(F, C), half precision: they are many."""
    places: Tensor
    """(F, 2): column and row; see `position.places`."""
    bins: Tensor
    """(F,): see `position.bins`."""

    def __len__(self) -> int:
        return len(self.values)

    def to(self, device: torch.device) -> "Fibres":
        return Fibres(self.values.to(device), self.places.to(device), self.bins.to(device))


def gather_fibres(
    encoder: Encoder,
    frames: Sequence[Frame],
    mode: str,
    config: CflowConfig,
    plan: FlowPlan,
    track: Track = untracked,
) -> list[Fibres]:
    """Fibres of these frames, one `Fibres` a level, at most `plan.fibres_per_level` each. A function of its arguments.
    Raises ValueError when there is no frame."""
    if not frames:
        raise ValueError("fibres are drawn from at least one frame")
    random = np.random.default_rng(plan.seed)
    generator = torch.Generator().manual_seed(plan.seed)
    share = max(1, plan.fibres_per_level // (len(frames) * (1 + plan.rotations)))
    values: list[list[Tensor]] = [[] for _ in config.levels]
    spots: list[list[Tensor]] = [[] for _ in config.levels]
    binned: list[list[Tensor]] = [[] for _ in config.levels]
    shown = track(range(len(frames)), "encoding normals")
    for frame in _turned((frames[number] for number in shown), plan, random):
        with torch.no_grad():
            maps = fibres_of(encoder, frame[None], mode, config)
        for level, (grid, stride_px) in enumerate(zip(maps, encoder.strides, strict=True)):
            height, width, channels = grid.shape[1:]
            rows, columns = (places(cells, stride_px, config.position) for cells in (height, width))
            where = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2)
            picks = torch.randperm(height * width, generator=generator)[:share]
            values[level].append(grid.reshape(-1, channels).cpu()[picks].half())
            spots[level].append(where[picks])
            binned[level].append(bins(height, width, config.place_bins).flatten()[picks])
    return [Fibres(*(torch.cat(part) for part in parts)) for parts in zip(values, spots, binned, strict=True)]


def train_flow(
    fibres: Fibres,
    held_out: Fibres | None,
    whitening: Whitening,
    config: CflowConfig,
    plan: FlowPlan,
    checkpoint: Path | None = None,
    device: torch.device | None = None,
    told: Told = NOBODY,
) -> tuple[ConditionalFlow, Progress]:
    """One level's flow. held_out: normals that decide when to stop and which weights stay; None keeps the last.

    Everything random in epoch k is drawn from a generator seeded by (seed, k).
    """
    device = device or torch.device("cpu")
    torch.manual_seed(plan.seed)
    flow = ConditionalFlow(whitening.matrix.shape[1], config.condition, config.blocks, config.clamp, plan.seed)
    flow = flow.to(device).train()
    optimiser = torch.optim.Adam(flow.parameters(), lr=plan.learning_rate)
    seen = [one for part in (fibres, held_out) if part is not None for one in (part.values, part.places)]
    run = plan.fingerprint(METHOD_VERSION, config.model_dump(mode="json"), seen)
    white = whitening.to(device)
    fibres, held_out = fibres.to(device), held_out.to(device) if held_out is not None and len(held_out) else None
    best = {name: value.detach().clone() for name, value in flow.state_dict().items()}
    # epoch, loss of the held-out normals: the identity that the flow starts as is the first candidate.
    best_at = torch.tensor([0.0, _held_out_loss(flow, held_out, white, config)], dtype=torch.float64)
    steps_an_epoch = max(1, len(fibres) // plan.batch)
    total = steps_an_epoch * plan.epochs

    @lru_cache(maxsize=1)
    def order_of(epoch: int) -> Tensor:
        return torch.randperm(len(fibres), generator=torch.Generator().manual_seed(plan.seed * 1_000_003 + epoch))

    def loss_of(step: int) -> Tensor | None:
        epoch, place = divmod(step, steps_an_epoch)
        if epoch - best_at[0] > plan.patience and held_out is not None:
            return None
        picks = order_of(epoch)[place * plan.batch : (place + 1) * plan.batch].to(device)
        return _loss(flow, fibres, picks, white, config)

    def rate_of(_: int, done: float) -> float:
        rise = min(1.0, (done + 1e-3) / plan.warmup) if plan.warmup else 1.0
        return rise * half_cosine(done)

    def after(step: int) -> None:
        if held_out is None or (step + 1) % steps_an_epoch:
            return
        now = _held_out_loss(flow, held_out, white, config)
        if now < best_at[1]:
            best_at[0], best_at[1] = (step + 1) // steps_an_epoch, now
            for name, value in flow.state_dict().items():
                best[name].copy_(value)

    state = {"flow": flow.state_dict(), "best": best, "best_at": {"value": best_at}}
    progress = descend(optimiser, state, plan, total, loss_of, rate_of, after, run, checkpoint, told)
    if held_out is not None:
        flow.load_state_dict(best)
    return flow.requires_grad_(False).eval(), progress


@torch.no_grad()
def fit_reference(
    flow: ConditionalFlow,
    fibres: Sequence[Fibres],
    whitening: Whitening,
    config: CflowConfig,
    device: torch.device | None = None,
) -> Reference:
    """Mean and deviation of these normals' log-likelihoods by place. A place that few of them show is drawn towards
    the mean and the deviation of all."""
    device = device or torch.device("cpu")
    white = whitening.to(device)
    likely = torch.cat(
        [_likelihood(flow, part.to(device), picks, white, config) for part in fibres for picks in _chunks(part, device)]
    ).double()
    place = torch.cat([part.bins for part in fibres]).to(device)
    count = config.place_bins**2
    prior = torch.full((count,), _PRIOR_FIBRES, dtype=torch.float64, device=device)
    shown = prior.index_add(0, place, torch.ones_like(likely))
    mean = (prior * likely.mean()).index_add(0, place, likely) / shown
    squares = (prior * likely.var(correction=0)).index_add(0, place, (likely - mean[place]).square()) / shown
    deviation = squares.sqrt().clamp(min=_LEAST_DEVIATION)
    return Reference(torch.full((), math.nan, device=device), mean.float(), deviation.float())


def steps_of(fibres: Fibres, plan: FlowPlan) -> int:
    """The most steps that `train_flow` will take."""
    return plan.epochs * max(1, len(fibres) // plan.batch)


def _loss(flow: ConditionalFlow, fibres: Fibres, picks: Tensor, whitening: Whitening, config: CflowConfig) -> Tensor:
    """−logsigmoid(log p), mean over fibres (official code): bounded pull for fibres that are likely already."""
    return -functional.logsigmoid(_likelihood(flow, fibres, picks, whitening, config)).mean()


def _likelihood(
    flow: ConditionalFlow, fibres: Fibres, picks: Tensor, whitening: Whitening, config: CflowConfig
) -> Tensor:
    encodings = encode(fibres.places[picks], config.condition // 2).flatten(1)
    likely: Tensor = flow.of_fibres(whitening(fibres.values[picks].float()), encodings)
    return likely


@torch.no_grad()
def _held_out_loss(flow: ConditionalFlow, fibres: Fibres | None, whitening: Whitening, config: CflowConfig) -> float:
    if fibres is None:
        return math.inf
    losses = [
        float(_loss(flow, fibres, picks, whitening, config)) * len(picks)
        for picks in _chunks(fibres, fibres.values.device)
    ]
    return sum(losses) / len(fibres)


def _chunks(fibres: Fibres, device: torch.device) -> Sequence[Tensor]:
    return torch.chunk(torch.arange(len(fibres), device=device), -(-len(fibres) // _CHUNK))


def _turned(frames: Iterable[Frame], plan: FlowPlan, random: np.random.Generator) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        for _ in range(plan.rotations):
            yield _rotated(frame, float(random.uniform(-plan.rotation_degrees, plan.rotation_degrees)))


def _rotated(frame: Frame, degrees: float) -> Frame:
    """About its middle, same size; the border is mirrored, lest black corners be taught as normal."""
    reach = math.ceil(max(frame.shape[:2]) * math.sin(math.radians(abs(degrees))) / 2) + 1
    reach = min(reach, min(frame.shape[:2]) - 1)
    wide = np.pad(frame, ((reach, reach), (reach, reach), *(((0, 0),) * (frame.ndim - 2))), mode="reflect")
    turned = np.asarray(Image.fromarray(wide).rotate(degrees, Image.Resampling.BILINEAR))
    return turned[reach:-reach, reach:-reach].copy()
