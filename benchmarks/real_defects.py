"""RADAR's projection and judgement, measured on real defects that are in no training and no test.

    andon dataset elpv --out cells
    python -m benchmarks.real_defects --data cells/mono cells/poly

Normals of train/good are split by cell number: to fit, to say what is usual at each place and how normals measure, and
to be scored against the cells of validation/defective. The network is untrained, which makes the prediction a distance
of whitened features (decision 0011). Prints a Markdown table; brackets hold a 95 % bootstrap interval of the difference
to the first row, over the same images.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor

from pipeline.detectors.radar.anomaly_map import noise_norm, over_normal, sobel_magnitude, usual_norms
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.features import measure
from pipeline.detectors.radar.front import raw_features
from pipeline.training.images.data import Frame, pictures_in, read_frame
from pipeline.training.images.layouts import find_layout
from pipeline.training.images.split import Shares, split_by_number
from pipeline.training.radar.feature_front import Change, changes_by_damage, fit_projection
from pipeline.training.radar.fit import encoder_of
from pipeline.training.radar.forest import fit_judgement

SHARES = Shares(fit=0.5, forest=0.15, calibration=0.35, validation=0.0)
"""As `andon train` has it, and what it would set the threshold on is scored here."""
CHOICES: Mapping[str, RadarConfig] = {
    "all directions, fibres one by one": RadarConfig.in_features(standing_out=0, around_cells=1),
    "where damage stands out, one by one": RadarConfig.in_features(around_cells=1),
    "where damage stands out, beside 3 × 3": RadarConfig.in_features(around_cells=3),
    "… beside 5 × 5 (default)": RadarConfig.in_features(),
    "… beside 9 × 9": RadarConfig.in_features(around_cells=9),
    "… beside 5 × 5, whitened by all fibres": RadarConfig.in_features(loud_share=0),
    "… beside 5 × 5, no rings": RadarConfig.in_features(rings=1),
    "wavelets in the encoder's place": RadarConfig.in_wavelets(),
}
TREES = 200
_WIDEST = max(config.around_cells for config in CHOICES.values())
_DRAWS = 1000
Scores = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Of normals and of defects."""


@dataclass(frozen=True)
class Cells:
    """Features (C, h, w) in half precision."""

    fit: list[Tensor]
    changes: list[Change]
    """What damage does to them."""
    held: list[Tensor]
    """To say what is usual, and to fit the forest."""
    normals: list[Tensor]
    defects: list[Tensor]


@dataclass(frozen=True)
class Frames:
    """What `Cells` are seen in, part by part."""

    fit: list[Frame]
    held: list[Frame]
    normals: list[Frame]
    defects: list[Frame]


def frames_of(folder: Path) -> Frames:
    """Gray (H, W)."""
    split = split_by_number(find_layout(folder).normals, SHARES)
    defects = pictures_in(folder / "validation" / "defective")
    parts = (split.fit, split.forest, split.calibration, defects)
    return Frames(*([read_frame(path, "gray") for path in part] for part in parts))


class Seer:
    """Frames → features, as RADAR's front has them before its projection."""

    def __init__(self, config: RadarConfig) -> None:
        self._config = config
        self._encoder = encoder_of(config, None).folded()

    def __call__(self, frame: Frame) -> Tensor:
        channels = 1 if frame.ndim == 2 else 3
        return raw_features(self._encoder, frame[None], channels, self._config, torch.device("cpu"))[0].half()


def encoded(frames: Frames, see: Seer) -> Cells:
    fit, held, normals, defects = (
        [see(frame) for frame in part] for part in (frames.fit, frames.held, frames.normals, frames.defects)
    )
    return Cells(fit, changes_by_damage(frames.fit, fit, see, seed=0, around_cells=_WIDEST), held, normals, defects)


def scored(config: RadarConfig, cells: Cells) -> dict[str, Scores]:
    """What is judged by → scores."""
    projection = fit_projection(cells.fit, cells.changes if config.standing_out else [], config)

    def noise(one: Tensor) -> Tensor:
        return projection(one.float()[None], config)

    usual = usual_norms([noise_norm(noise(one))[0] for one in cells.held], config)

    def features(parts: list[Tensor]) -> NDArray[np.float64]:
        relative = (over_normal(noise(one), usual, config) for one in parts)
        return np.concatenate([measure(noise_norm(one), sobel_magnitude(one), config) for one in relative])

    judgement = fit_judgement(features(cells.held), TREES, 0)
    good, bad = features(cells.normals), features(cells.defects)
    return {
        "forest": (judgement.score(good), judgement.score(bad)),
        "norm alone": (good[:, 0], bad[:, 0]),
        "Sobel alone": (good[:, 1], bad[:, 1]),
    }


def auroc(scores: Scores) -> float:
    return float(roc_auc_score(np.repeat([0, 1], [len(part) for part in scores]), np.concatenate(scores)))


def gain(first: Scores, other: Scores) -> tuple[float, float]:
    """95 % interval of the AUROC that `other` is ahead by on the same images."""
    random = np.random.default_rng(0)
    found = []
    for _ in range(_DRAWS):
        picks = [random.integers(len(part), size=len(part)) for part in first]
        mine, yours = (auroc((scores[0][picks[0]], scores[1][picks[1]])) for scores in (first, other))
        found.append(yours - mine)
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="cells/mono, cells/poly")
    for folder in parser.parse_args().data:
        frames = frames_of(folder)
        counts = (len(frames.fit), len(frames.held), len(frames.normals), len(frames.defects))
        print(f"\n{folder.name}: {', '.join(map(str, counts))} cells to fit, held out, normal, defective")
        print("| | forest | norm alone | Sobel alone |\n|---|---|---|---|", flush=True)
        first: Scores | None = None
        seen_by = ""
        for name, config in CHOICES.items():
            if config.encoder != seen_by:
                cells, seen_by = encoded(frames, Seer(config)), config.encoder
            found = scored(config, cells)
            line = " | ".join(f"{auroc(scores):.3f}" for scores in found.values())
            if first is None:
                first = found["forest"]
            else:
                low, high = gain(first, found["forest"])
                line = line.replace(" |", f" [{low:+.3f} … {high:+.3f}] |", 1)
            print(f"| {name} | {line} |", flush=True)


if __name__ == "__main__":
    main()
