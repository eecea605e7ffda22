"""Fits RADAR from a folder of normals and writes its bundle: network, forest, threshold, each on its own normals."""

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors.bundle import BundleInfo, save_bundle
from pipeline.detectors.encoder import pretrained_encoder
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.config import METHOD, METHOD_VERSION, RadarConfig
from pipeline.detectors.radar.detector import NETWORK_PREFIX, USUAL, RadarFeatures
from pipeline.detectors.radar.front import Front, PixelFront, fit_feature_front
from pipeline.detectors.radar.preprocess import normalise
from pipeline.training.calibrate import CalibrationError, calibrate, normals_needed
from pipeline.training.data import DataError, Frame, detect_mode, fingerprint, input_spec, load_frames
from pipeline.training.evaluate import evaluate_images
from pipeline.training.forest import fit_judgement
from pipeline.training.layouts import find_layout
from pipeline.training.noise_training import NoisePlan, OnStep, train_noise_predictor
from pipeline.training.split import Shares, Split, split_by_number
from pipeline.training.synthetic import synthetic_defects

_PACKAGES = ("torch", "diffusers", "timm", "scikit-learn", "numpy")
_SYNTHETIC_PER_NORMAL = 4


@dataclass(frozen=True)
class RadarPlan:
    """Everything that is decided before training."""

    noise: NoisePlan = field(default_factory=NoisePlan)
    config: RadarConfig = field(default_factory=RadarConfig)
    shares: Shares = field(default_factory=Shares)
    trees: int = 200
    false_alarm_rate: float = 0.01
    encoder_weights: Path | None = None
    """For the feature space; see `pretrained_encoder`."""


def train_radar(
    data: Path,
    out: Path,
    name: str,
    plan: RadarPlan,
    device: torch.device,
    command: str = "",
    checkpoint: Path | None = None,
    on_step: OnStep | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> BundleInfo:
    """data: see `find_layout`. Raises DataError or CalibrationError, both before the first training step."""
    started = time.monotonic()
    normals = find_layout(data).normals
    split = split_by_number(normals, plan.shares)
    _check_counts(split, plan)
    mode = detect_mode(normals[0])
    frames = load_frames(normals, mode)
    spec = input_spec(frames, mode, plan.config.patch_px)
    index = {path: position for position, path in enumerate(normals)}
    parts = {role: [frames[index[path]] for path in getattr(split, role)] for role in vars(split)}
    say(f"{len(normals)} normals: " + ", ".join(f"{len(part)} {role}" for role, part in parts.items()))

    config, front, images = fit_front(parts["fit"], plan, 3 if mode == "rgb" else 1, device)
    network, progress = train_noise_predictor(images, config, plan.noise, checkpoint, device, on_step)
    # Rounded as the bundle will store it, before anything is fitted to what it says.
    network.half().float()
    extractor = RadarFeatures(front, network, config, device)
    extractor.fit_usual(parts["forest"])
    judgement = fit_judgement(_features(extractor, parts["forest"]), plan.trees, plan.noise.seed)

    def score(batch: Sequence[Frame]) -> NDArray[np.float64]:
        return judgement.score(_features(extractor, batch))

    grays = [_gray(frame) for frame in parts["calibration"]]
    calibration = calibrate(score(parts["calibration"]), grays, plan.false_alarm_rate)
    facts: dict[str, Any] = {
        "data": str(data),
        "command": command,
        "images": {role: len(part) for role, part in parts.items()},
        "fitted_on": [fingerprint(path) for path in (*split.fit, *split.forest)],
        "steps": progress.step,
        "loss": round(progress.loss, 5),
        "plan": {**asdict(plan.noise), "trees": plan.trees},
        "training_s": round(progress.elapsed_s, 1),
        "total_s": round(time.monotonic() - started, 1),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, {device.type}",
        "packages": {package: version(package) for package in _PACKAGES},
    }
    if mode == "gray" and len(parts["validation"]):
        defects = synthetic_defects(parts["validation"], _SYNTHETIC_PER_NORMAL, plan.noise.seed)
        facts["validation_auroc_synthetic"] = round(
            evaluate_images(score(parts["validation"]), score([defect.frame for defect in defects])).auroc, 4
        )
    info = BundleInfo(
        name=name,
        method=METHOD,
        method_version=METHOD_VERSION,
        input=spec,
        calibration=calibration,
        config=config.model_dump(mode="json"),
        training=facts,
        created_at=datetime.now(UTC),
        weights_sha256="0" * 64,
    )
    weights = {NETWORK_PREFIX + key: tensor.half().cpu().numpy() for key, tensor in network.state_dict().items()}
    return save_bundle(out, info, {**weights, USUAL: extractor.usual.numpy(), **front.tensors(), **judgement.tensors()})


def fit_front(
    frames: Sequence[Frame], plan: RadarPlan, image_channels: int, device: torch.device
) -> tuple[RadarConfig, Front, list[Tensor]]:
    """What the network will look at, set so that these normals have unit variance there, and the normals themselves."""
    if plan.config.space == "pixels":
        config, images = fit_gain(frames, plan.config, image_channels)
        return config, PixelFront(config, image_channels), images
    encoder = pretrained_encoder(plan.config.encoder, plan.encoder_weights)
    front, images = fit_feature_front(encoder, frames, image_channels, plan.config, device)
    return plan.config, front, images


def fit_gain(frames: Sequence[Frame], config: RadarConfig, channels: int) -> tuple[RadarConfig, list[Tensor]]:
    """Sets the gain that gives these normals unit variance. Returns the config with it and the normalised normals."""
    plain = config.model_copy(update={"gain": 1.0})
    images = [normalise(to_images(frame[None], channels), plain)[0] for frame in frames]
    mean_square = float(
        np.average([float(one.square().mean()) for one in images], weights=[one.numel() for one in images])
    )
    gain = 1.0 / max(mean_square**0.5, 1e-6)
    return config.model_copy(update={"gain": gain}), [image * gain for image in images]


def _check_counts(split: Split[Path], plan: RadarPlan) -> None:
    total = sum(len(part) for part in vars(split).values())
    needed = normals_needed(plan.false_alarm_rate)
    if len(split.calibration) < needed:
        enough = int(np.ceil(needed / plan.shares.calibration)) + 1
        reachable = 1 / (len(split.calibration) + 1)
        raise CalibrationError(
            f"{total} normals leave {len(split.calibration)} for the threshold, and a false alarm rate of "
            f"{plan.false_alarm_rate:.2%} takes at least {needed}. Give about {enough} images of good parts, or ask "
            f"for a rate of {reachable:.2%} or more."
        )
    if len(split.fit) < 2 or len(split.forest) < 2:
        raise DataError(
            f"{total} normals are too few to share out between network, forest and threshold: give at least 20"
        )


def _features(extractor: RadarFeatures, frames: Sequence[Frame]) -> NDArray[np.float64]:
    return np.concatenate([extractor.measure(frame[None])[0] for frame in frames])


def _gray(frame: Frame) -> Frame:
    return frame if frame.ndim == 2 else to_images(frame[None], 1)[0, 0].numpy().astype(np.uint8)
