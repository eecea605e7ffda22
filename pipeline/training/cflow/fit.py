"""Fits CFLOW from a folder of normals and writes its bundle: flows, level maxima and threshold, on normals apart."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.detectors import lite0
from pipeline.detectors.bundle import BundleInfo, save_bundle
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
from pipeline.training.normals import machine, read_normals
from pipeline.training.threshold.calibrate import calibrate
from pipeline.training.told import NOBODY, Told
from pipeline.training.track import Track, untracked

_PACKAGES = ("torch", "timm", "numpy")
_HELD_OUT_FIBRES = 20_000
_FEWEST = 4
"""Images in all. With fewer a single one sets the threshold."""


@dataclass(frozen=True)
class CflowPlan:
    """Everything that is decided before training."""

    flow: FlowPlan = field(default_factory=FlowPlan)
    config: CflowConfig = field(default_factory=CflowConfig)
    shares: Shares = field(default_factory=lambda: Shares(fit=0.60, forest=0.0, calibration=0.30, validation=0.10))
    """There is no forest. The validation normals decide which weights stay, and end a long training."""
    false_alarm_rate: float = 0.01
    same_part: int | None = None
    """See `parts_of`; for the threshold."""
    encoder_weights: Path | None = None
    """See `pretrained_encoder`."""


def train_cflow(
    data: Path,
    out: Path,
    name: str,
    plan: CflowPlan,
    device: torch.device,
    command: str = "",
    checkpoint: Path | None = None,
    told: Told = NOBODY,
) -> BundleInfo:
    """data: see `find_layout`. The steps are those of all levels.

    Raises DataError, CalibrationError or AndonError (no encoder weights), all before the first training step.
    """
    started = time.monotonic()
    normals = read_normals(data, plan.shares, plan.false_alarm_rate, plan.config.patch_px, plan.same_part, told.track)
    parts, mode = normals.parts, normals.mode
    if not parts["fit"] or sum(map(len, parts.values())) < _FEWEST:
        raise DataError(f"{normals}: too few for flows and threshold; give at least {_FEWEST}")
    told.say(str(normals))
    every = [shape for part in parts.values() for shape in part.shapes]
    # Of other encoders nobody knows.
    a_pixel = 260 if device.type == "cpu" else 0
    on_pixels = on_memory(every, a_pixel, kept=0) if plan.config.encoder == lite0.NAME else ()
    for note in (*normals.notes, *on_pixels):
        told.say(f"note: {note}")

    encoder = pretrained_encoder(plan.config.encoder, plan.encoder_weights, plan.config.levels)
    model, reached = fit_model(encoder, parts["fit"], parts["validation"], mode, plan, device, checkpoint, told)
    apart = parts["calibration"]
    if plan.config.merge == "likelihood":  # nothing else reads them, and they take a look at every image
        model = with_highest(model, apart, told.track)
    # What the bundle will hold, so that the threshold is of the model that will be loaded, to the bit.
    model = CflowModel.from_tensors(model.config, mode, model.tensors()).to(device)
    scorer = CflowScorer(model)
    shown = told.track(range(len(apart)), "setting the threshold")
    scores = np.concatenate([scorer.measure(apart[number][None]).scores for number in shown])
    calibration = calibrate(scores, normals.calibration_parts, normals.lights, plan.false_alarm_rate)
    facts: dict[str, Any] = {
        **normals.facts(data, command, ("fit", "validation"), _PACKAGES),
        "steps": sum(one.step for one in reached),
        "loss": [round(one.loss, 5) for one in reached],
        "plan": asdict(plan.flow),
        "training_s": round(sum(one.elapsed_s for one in reached), 1),
        "total_s": round(time.monotonic() - started, 1),
        "machine": machine(device),
    }
    info = BundleInfo(
        name=name,
        method=METHOD,
        method_version=METHOD_VERSION,
        input=normals.spec,
        calibration=calibration,
        config=plan.config.model_dump(mode="json"),
        training=facts,
        created_at=datetime.now(UTC),
        weights_sha256="0" * 64,
    )
    return save_bundle(out, info, model.tensors())


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
