"""Fits RADAR: network, forest, threshold, each on its own normals."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.detectors import wavelets
from pipeline.detectors.encoder import Encoder, pretrained_encoder
from pipeline.detectors.images import to_images
from pipeline.detectors.radar.config import METHOD, METHOD_VERSION, STRIDE_PX, RadarConfig
from pipeline.detectors.radar.detector import NETWORK_PREFIX, USUAL, RadarFeatures
from pipeline.detectors.radar.front import Front, PixelFront
from pipeline.detectors.radar.network import NoisePredictor, load_weights
from pipeline.detectors.radar.preprocess import normalise
from pipeline.training.drawn.synthetic import drawn_defects
from pipeline.training.figures.evaluate import evaluate_images
from pipeline.training.images.data import DataError, Frame
from pipeline.training.memory import on_memory
from pipeline.training.normals import Normals
from pipeline.training.radar.feature_front import MOST_FIBRES, as_many_as_fit, fit_feature_front, how_many_fit
from pipeline.training.radar.forest import fit_judgement
from pipeline.training.radar.noise_training import NoisePlan, train_noise_predictor
from pipeline.training.told import Told
from pipeline.training.track import Track, untracked
from pipeline.training.train import Fitted, Plan

_SYNTHETIC_PER_NORMAL = 4
_MOST_CHECKED = 100
"""So many normals are enough for a figure of the card, and more of 5 megapixels take hours."""
_MOST_PLACES = 50_000_000
"""Of all normals together that tell what is usual where: some 1.5 GB while they are sorted. In pixels 555 images of
300 × 300 px have as many, or 12 of 2000 × 2000, and 20 are taken in any case."""
_MOST_VALUES = 500_000_000
"""Of all normals together in pixels: 2 GB. 5,000 gray images of 300 × 300 px have as many, or 125 of 2000 × 2000."""


@dataclass(frozen=True)
class RadarPlan(Plan):
    method = METHOD
    version = METHOD_VERSION
    fitted_on = ("fit", "forest")
    packages = ("torch", "timm", "scikit-learn", "numpy")

    noise: NoisePlan = field(default_factory=NoisePlan)
    config: RadarConfig = field(default_factory=RadarConfig)
    trees: int = 200

    def fit(self, normals: Normals, device: torch.device, checkpoint: Path | None, told: Told) -> Fitted:
        parts = normals.parts
        if len(parts.fit) < 2 or len(parts.forest) < 2:
            raise DataError(f"{normals}: too few for network, forest and threshold; give at least 20")
        channels = 3 if normals.mode == "rgb" else 1
        normals.tell(told, _on_memory(normals, self.config, channels, device))

        config, front, images = fit_front(parts.fit, self, channels, device, told.track)
        if len(images) < len(parts.fit):
            told.say(
                f"looked at {len(images)} of the {len(parts.fit)} images to fit on: memory would not hold all at once"
            )
        told.total(self.noise.steps)
        taught, progress = train_noise_predictor(images, config, self.noise, checkpoint, device, told)
        del images  # up to 2 GB
        # What the bundle will hold, so that all that is fitted to it is of the model that will be loaded, to the bit.
        weights = {key: tensor.half().cpu().numpy() for key, tensor in taught.state_dict().items()}
        network = NoisePredictor(config, front.channels)
        load_weights(network, weights)
        extractor = RadarFeatures(front, network, config, device)

        def features(frames: Iterable[Frame], count: int, doing: str) -> NDArray[np.float64]:
            shown = zip(told.track(range(count), doing), frames, strict=True)
            return np.concatenate([extractor.measure(frame[None])[0] for _, frame in shown])

        def score(frames: Iterable[Frame], count: int, doing: str) -> NDArray[np.float64]:
            return judgement.score(features(frames, count, doing))

        usual = as_many_as_fit(parts.forest, config.scale, _MOST_PLACES)
        extractor.fit_usual(usual[number] for number in told.track(range(len(usual)), "learning what is usual where"))
        measured = features(parts.forest, len(parts.forest), "fitting the forest")
        judgement = fit_judgement(measured, self.trees, self.noise.seed)
        scores = score(parts.calibration, len(parts.calibration), "setting the threshold")
        facts: dict[str, Any] = {"loss": round(progress.loss, 5), "plan": {**asdict(self.noise), "trees": self.trees}}
        if normals.mode == "gray" and len(parts.validation):
            checked = parts.validation[:: -(-len(parts.validation) // _MOST_CHECKED)]
            defects = drawn_defects(checked, _SYNTHETIC_PER_NORMAL, self.noise.seed)
            good = score(checked, len(checked), "checking: good parts")
            drawn = (defect.frame for defect in defects)
            bad = score(drawn, len(checked) * _SYNTHETIC_PER_NORMAL, "checking: drawn defects")
            facts["validation_auroc_synthetic"] = round(evaluate_images(good, bad).auroc, 4)
        stored = {NETWORK_PREFIX + key: array for key, array in weights.items()}
        tensors = {**stored, USUAL: extractor.usual.numpy(), **front.tensors(), **judgement.tensors()}
        return Fitted(config, tensors, scores, [progress], facts)


def _on_memory(normals: Normals, config: RadarConfig, channels: int, device: torch.device) -> Iterator[str]:
    fit, held_out = normals.parts.fit.shapes, normals.parts.forest.shapes
    here = device.type == "cpu"
    if config.space == "pixels":
        taught, placed = (_pixels_kept(fit, 1, _MOST_VALUES // channels), _pixels_kept(held_out, 1, _MOST_PLACES))
        yield from on_memory(normals.shapes, 360 if here else 0, max(4 * channels * taught, 16 * placed))
    else:
        a_pixel = 3 if config.encoder == wavelets.NAME else 16  # features, and what the projection makes of them
        yield from on_memory(normals.shapes, 260 if here else 0, a_pixel * _pixels_kept(fit, STRIDE_PX, MOST_FIBRES))


def _pixels_kept(shapes: Sequence[tuple[int, ...]], side_px: int, most: int) -> float:
    """Of as many images as fit: see `as_many_as_fit`."""
    return sum(shape[0] * shape[1] for shape in shapes) * how_many_fit(shapes, side_px, most) / len(shapes)


def fit_front(
    frames: Sequence[Frame], plan: RadarPlan, image_channels: int, device: torch.device, track: Track = untracked
) -> tuple[RadarConfig, Front, list[Tensor]]:
    """What the network will look at, set so that these normals have unit variance there, and the normals themselves:
    those of them that fit into memory (`as_many_as_fit`)."""
    if plan.config.space == "pixels":
        config, images = fit_gain(frames, plan.config, image_channels)
        return config, PixelFront(config, image_channels), images
    encoder = encoder_of(plan.config, plan.encoder_weights)
    front, images = fit_feature_front(encoder, frames, image_channels, plan.config, plan.noise.seed, device, track)
    return plan.config, front, images


def encoder_of(config: RadarConfig, weights: Path | None) -> Encoder:
    """The one that this config names. Raises what `pretrained_encoder` raises."""
    if config.encoder == wavelets.NAME:
        return Encoder(wavelets.NAME)
    return pretrained_encoder(config.encoder, weights)


def fit_gain(frames: Sequence[Frame], config: RadarConfig, channels: int) -> tuple[RadarConfig, list[Tensor]]:
    """Sets the gain that gives these normals unit variance. Returns the config with it and the normalised normals, of
    more than fit into memory evenly spread ones."""
    plain = config.model_copy(update={"gain": 1.0})
    frames = as_many_as_fit(frames, config.scale, _MOST_VALUES // channels)
    images = [normalise(to_images(frame[None], channels), plain)[0] for frame in frames]
    mean_square = float(
        np.average([float(one.square().mean()) for one in images], weights=[one.numel() for one in images])
    )
    gain = 1.0 / max(mean_square**0.5, 1e-6)
    return config.model_copy(update={"gain": gain}), [image.mul_(gain) for image in images]  # none is held twice
