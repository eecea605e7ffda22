"""The steps of a training, whichever the method: one loop, which can be killed and goes on, with a limit of time."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipeline.training.checkpoint import (
    Progress,
    load_checkpoint,
    optimiser_tensors,
    restore_optimiser,
    save_checkpoint,
)
from pipeline.training.told import Told


@dataclass(frozen=True)
class Pace:
    """What every method's plan says of its steps."""

    batch: int
    learning_rate: float = 2e-3
    max_seconds: float | None = None
    """Ends early when this much time has gone into training; the learning rate then falls by time."""
    seed: int = 0
    checkpoint_every_s: float = 30.0

    def fingerprint(self, version: int, config: Mapping[str, Any], seen: Iterable[Tensor]) -> str:
        """Of a run with this plan. version: of the method's code, whose networks of another release may have the same
        config; seen: what is learnt from."""
        facts = {**asdict(self), "version": version, "config": config}
        del facts["checkpoint_every_s"]
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
        for tensor in seen:
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def descend(
    optimiser: torch.optim.Optimizer,
    state: Mapping[str, Mapping[str, Tensor]],
    pace: Pace,
    steps: int,
    loss_of: Callable[[int], Tensor | None],
    rate_of: Callable[[int, float], float],
    after: Callable[[int], None],
    fingerprint: str,
    checkpoint: Path | None,
    told: Told,
) -> Progress:
    """Takes the steps, or fewer where the time is up, and goes on from the checkpoint of this very run.

    state: all that steps change beside the optimiser, group by group; the loop fills it from a checkpoint in place.
    loss_of: of the step with that number, from 0, whose draws must depend on the number alone: a resumed run then ends
    in the same weights to the bit (on a CPU). None ends the training.
    rate_of: step and share done, of steps or time → what the learning rate is multiplied by.
    after: is called with each step that was taken.
    """
    progress = Progress(fingerprint, step=0, elapsed_s=0.0, loss=math.nan)
    found = load_checkpoint(checkpoint, fingerprint, told.say) if checkpoint else None
    if found:
        progress, groups = found
        for kind, tensors in state.items():
            for name, tensor in tensors.items():
                tensor.copy_(groups[kind][name])
        restore_optimiser(optimiser, groups["optimiser"])

    def save() -> None:
        if checkpoint:
            save_checkpoint(checkpoint, progress, {**state, "optimiser": optimiser_tensors(optimiser)})

    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    started = time.monotonic() - progress.elapsed_s
    saved_at = time.monotonic()
    limit_s = pace.max_seconds or math.inf
    while (done := max(progress.step / steps if steps else 1, progress.elapsed_s / limit_s)) < 1:
        loss = loss_of(progress.step)
        if loss is None:
            break
        for group in optimiser.param_groups:
            group["lr"] = pace.learning_rate * rate_of(progress.step, done)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        smooth = loss.item() if math.isnan(progress.loss) else 0.98 * progress.loss + 0.02 * loss.item()
        after(progress.step)
        progress = Progress(fingerprint, progress.step + 1, time.monotonic() - started, smooth)
        told.reached(progress)
        if time.monotonic() - saved_at > pace.checkpoint_every_s:
            save()
            saved_at = time.monotonic()
    save()
    return progress


def half_cosine(done: float) -> float:
    """From 1 down to 0."""
    return 0.5 * (1 + math.cos(math.pi * done))
