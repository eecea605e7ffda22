"""Fits CFLOW: flows, level maxima and threshold, on normals apart."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from pipeline.detectors import lite0
from pipeline.detectors.cflow.config import METHOD, METHOD_VERSION, CflowConfig
from pipeline.detectors.cflow.detector import CflowScorer
from pipeline.detectors.cflow.features import fit_whitening
from pipeline.detectors.cflow.flow import ConditionalFlow
from pipeline.detectors.cflow.likelihood import Reference
from pipeline.detectors.cflow.model import CflowModel
from pipeline.detectors.encoder import Encoder, encoder_from_tensors, encoder_tensors, pretrained_encoder
from pipeline.training.cflow.flow_training import FlowPlan, fit_reference, gather_fibres, steps_of, train_flow
from pipeline.training.checkpoint import Progress
from pipeline.training.images.data import DataError, Frame
from pipeline.training.images.split import Shares
from pipeline.training.memory import on_memory
from pipeline.training.normals import Normals
from pipeline.training.told import NOBODY, Told
from pipeline.training.track import Track, untracked
from pipeline.training.train import Fitted, Plan

_HELD_OUT_FIBRES = 20_000
_FEWEST = 4
"""Images in all. With fewer a single one sets the threshold."""


@dataclass(frozen=True)
class CflowPlan(Plan):
    method = METHOD
    version = METHOD_VERSION
    fitted_on = ("fit", "validation")
    packages = ("torch", "timm", "numpy")

    shares: Shares = field(default_factory=lambda: Shares(fit=0.60, forest=0.0, calibration=0.30, validation=0.10))
    """There is no forest. The validation normals decide which weights stay, and end a long training."""
    flow: FlowPlan = field(default_factory=FlowPlan)
    config: CflowConfig = field(default_factory=CflowConfig)

    def fit(self, normals: Normals, device: torch.device, checkpoint: Path | None, told: Told) -> Fitted:
        parts, mode = normals.parts, normals.mode
        if not parts.fit or len(normals.shapes) < _FEWEST:
            raise DataError(f"{normals}: too few for flows and threshold; give at least {_FEWEST}")
        a_pixel = 260 if device.type == "cpu" else 0
        # Of other encoders nobody knows.
        normals.tell(told, on_memory(normals.shapes, a_pixel, kept=0) if self.config.encoder == lite0.NAME else ())

        encoder = pretrained_encoder(self.config.encoder, self.encoder_weights, self.config.levels)
        model, reached = fit_model(encoder, parts.fit, parts.validation, mode, self, device, checkpoint, told)
        apart = parts.calibration
        if self.config.merge == "likelihood":  # nothing else reads them, and they take a look at every image
            model = with_highest(model, apart, told.track)
        # What the bundle will hold, so that the threshold is of the model that will be loaded, to the bit.
        model = CflowModel.from_tensors(model.config, mode, model.tensors()).to(device)
        scorer = CflowScorer(model)
        shown = told.track(range(len(apart)), "setting the threshold")
        scores = np.concatenate([scorer.measure(apart[number][None]).scores for number in shown])
        facts = {"loss": [round(one.loss, 5) for one in reached], "plan": asdict(self.flow)}
        return Fitted(self.config, model.tensors(), scores, reached, facts)


def fit_model(
    encoder: Encoder,
    fit: Sequence[Frame],
    validation: Sequence[Frame],
    mode: str,
    plan: CflowPlan,
    device: torch.device,
    checkpoint: Path | None = None,
    told: Told = NOBODY,
) -> tuple[CflowModel, list[Progress]]:
    """One flow a level, taught on the frames `fit`; without frames for validation the last weights stay. What is normal
    at a place is taken from both. The level maxima are NaN until `with_highest`."""
    config = plan.config
    # Half precision, as the bundle will store it: the flows must see in training what they will see in service.
    encoder = encoder_from_tensors(encoder.name, encoder_tensors(encoder), encoder.levels).to(device)
    fibres = gather_fibres(encoder, fit, mode, config, plan.flow, told.track)
    few = replace(plan.flow, rotations=0, fibres_per_level=_HELD_OUT_FIBRES)
    held_out = gather_fibres(encoder, validation, mode, config, few, told.track) if validation else [None] * len(fibres)
    whitenings = [fit_whitening(level.values.float(), config.channels) for level in fibres]
    told.total(sum(steps_of(level, plan.flow) for level in fibres))
    flows: list[ConditionalFlow] = []
    references: list[Reference] = []
    reached: list[Progress] = []
    for level, taught, tested, whitening in zip(config.levels, fibres, held_out, whitenings, strict=True):
        before = sum(steps_of(earlier, plan.flow) for earlier in fibres[: len(flows)])

        def reached_in_all(progress: Progress, before: int = before) -> None:
            told.reached(replace(progress, step=before + progress.step))

        of_level = replace(told, reached=reached_in_all)
        folder = checkpoint / f"level{level}" if checkpoint else None
        flow, progress = train_flow(taught, tested, whitening, config, plan.flow, folder, device, of_level)
        references.append(fit_reference(flow, [taught, *([tested] if tested else [])], whitening, config, device))
        flows.append(flow)
        reached.append(progress)
    model = CflowModel(config, mode, encoder, whitenings, torch.nn.ModuleList(flows), references)
    return model.to(device), reached


def with_highest(model: CflowModel, normals: Sequence[Frame], track: Track = untracked) -> CflowModel:
    """The model with each level's highest log-likelihood among these frames. Raises ValueError when there are none."""
    if not normals:
        raise ValueError("the level maxima are taken from at least one normal")
    found = [
        torch.stack([level.max() for level in model.log_likelihoods(normals[number][None])])
        for number in track(range(len(normals)), "measuring the highest likelihoods")
    ]
    highest = torch.stack(found).max(dim=0).values
    return replace(
        model, references=[replace(one, highest=top) for one, top in zip(model.references, highest, strict=True)]
    )
