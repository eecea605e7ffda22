"""Scores a scene by one map, and keeps the row."""

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from benchmarks.radar_ablation.rows import Row
from benchmarks.radar_ablation.scene import Scene
from pipeline.detectors.radar.anomaly_map import over_normal, pooled, usual_norms
from pipeline.detectors.radar.features import loud_norm
from pipeline.training.drawn.synthetic import Defect

Maps = Callable[[Tensor], Tensor]
"""(C, h, w) front's view of a frame → (h, w)."""


class Measure:
    """Collects rows."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @torch.inference_mode()
    def maps(
        self, group: str, choice: str, scene: Scene, one: Maps, share: float = 0.03, by_place: bool = True
    ) -> None:
        """A row whose image score is the L2 norm of the highest `share` of the map, over what is usual and pooled as
        the scene's config has it."""
        usual = usual_norms([one(x) for x in scene.held_out], scene.config) if by_place else None

        def scored(x: Tensor) -> tuple[float, Tensor]:
            found = one(x)
            if usual is not None:
                found = over_normal(found[None, None], usual, scene.config)[0, 0]
            found = pooled(found[None], scene.config)
            return float(loud_norm(found, share)), found[0]

        times, normal, damaged, alone, pixels = [], [], [], [], []
        for x in scene.normals:
            started = time.perf_counter()
            normal.append(scored(x)[0])
            times.append(time.perf_counter() - started)
        for x, defect in zip(scene.damaged, scene.defects, strict=True):
            value, found = scored(x)
            damaged.append(value)
            alone.append(float(loud_norm(_only_damage(found, defect)[None], share)))
            pixels.append(_sampled(found, defect))
        self._add(group, choice, np.array(normal), np.array(damaged), scene, pixels, times, np.array(alone))

    def scores(
        self, group: str, choice: str, scene: Scene, normal: NDArray[np.float64], damaged: NDArray[np.float64]
    ) -> None:
        self._add(group, choice, normal, damaged, scene, [], [0.0])

    def _add(self, group: str, choice: str, normal: NDArray[np.float64], damaged: NDArray[np.float64], scene: Scene,
             pixels: list[tuple[NDArray[np.float64], NDArray[np.bool_]]], times: list[float],
             alone: NDArray[np.float64] | None = None) -> None:  # fmt: skip
        kinds = np.array([defect.kind for defect in scene.defects])

        def by_kind(scores: NDArray[np.float64]) -> dict[str, float]:
            found = {}
            for kind in dict.fromkeys(kinds):
                own = scores[kinds == kind]
                labels = np.r_[np.zeros(len(normal)), np.ones(len(own))]
                found[str(kind)] = round(float(roc_auc_score(labels, np.r_[normal, own])), 4)
            return found

        per_kind = by_kind(damaged)
        of_damage = None if alone is None else round(float(np.mean(list(by_kind(alone).values()))), 4)
        pixel = (
            round(
                float(roc_auc_score(np.concatenate([m for _, m in pixels]), np.concatenate([v for v, _ in pixels]))), 4
            )
            if pixels
            else None
        )
        row = Row(group, choice, round(float(np.mean(list(per_kind.values()))), 4), per_kind, of_damage, pixel,
                  round(float(np.median(times)) * 1e3, 1), len(normal) + len(damaged))  # fmt: skip
        self.rows.append(row)
        print(row.as_line(), flush=True)


def _only_damage(found: Tensor, defect: Defect) -> Tensor:
    mask = torch.from_numpy(defect.mask.astype(np.float32))[None, None]
    cells = functional.adaptive_max_pool2d(mask, found.shape[-2:])
    near = functional.max_pool2d(cells, 3, stride=1, padding=1)[0, 0] > 0
    return torch.where(near, found, found.clamp(max=found.median()))


def _sampled(found: Tensor, defect: Defect) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and truth at some pixels of the frame."""
    whole = functional.interpolate(found[None, None], size=defect.mask.shape, mode="bilinear")[0, 0].numpy().ravel()
    picks = np.random.default_rng(0).choice(whole.size, min(2000, whole.size), replace=False)
    return whole[picks].astype(np.float64), defect.mask.ravel()[picks]
