"""Choices of the score: they need no other training."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from torch import Tensor
from torch.nn import functional

from benchmarks.radar_ablation.measure import Maps, Measure
from benchmarks.radar_ablation.scene import Scene
from benchmarks.radar_ablation.studied import AVERAGED, Studied
from pipeline.detectors.radar.anomaly_map import noise_norm, over_normal, pooled, sobel_magnitude, usual_norms
from pipeline.detectors.radar.config import STRIDE_PX
from pipeline.detectors.radar.features import loud_norm, peak
from pipeline.training.radar.forest import fit_judgement


def ablate_scoring(measure: Measure, studied: Studied, scene: Scene, name: str) -> None:
    """Rows that need no other training."""
    config = studied.config
    best = config.timestep
    measure.maps(f"{name}: default", f"t = {best}, noise-free, norm of the prediction", scene, studied.norm())
    for t in (20, 100, 250, 500, 700):
        if t != best:
            measure.maps(f"{name}: timestep", f"t = {t}", scene, studied.norm(t))
    for choice, draws, residual in (
        ("one seeded draw, prediction", 1, False),
        ("one seeded draw, residual", 1, True),
        ("two seeded draws, mean residual", 2, True),
    ):

        def drawn(x: Tensor, draws: int = draws, residual: bool = residual) -> Tensor:
            noises = [studied.noise(x, seed=seed, residual=residual) for seed in range(draws)]
            return noise_norm(torch.stack(noises).mean(dim=0))[0]

        measure.maps(f"{name}: forward step", choice, scene, drawn)
    for share in (0.003, 0.01, 0.1, 1.0):
        measure.maps(f"{name}: reduction", f"norm of the loudest {share:.1%}", scene, studied.norm(), share)
    if config.pooled_px:
        for side in (0, STRIDE_PX, 5 * STRIDE_PX):
            other = replace(scene, config=config.model_copy(update={"pooled_px": side}))
            measure.maps(f"{name}: squares", f"of {side} px" if side else "none", other, studied.norm())
    measure.maps(f"{name}: places", "not divided by what is usual", scene, studied.norm(), by_place=False)
    for blur in (1, 3, 5, 9):
        if blur != config.blur_px:
            measure.maps(f"{name}: blur", f"{blur}", scene, studied.norm(blur=blur))
        measure.maps(f"{name}: Sobel", f"first order, blur {blur}", scene,
                     lambda x, blur=blur: sobel_magnitude(studied.noise(x, blur=blur))[0])  # fmt: skip
    laplace = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])

    def second_order(x: Tensor) -> Tensor:
        noise = functional.pad(studied.noise(x, blur=3), (1, 1, 1, 1), mode="replicate")
        kernel = laplace[None, None].repeat(noise.shape[1], 1, 1, 1)
        return noise_norm(functional.conv2d(noise, kernel, groups=noise.shape[1]))[0]

    measure.maps(f"{name}: Sobel", "second order (Laplace), blur 3", scene, second_order)
    measure.maps(f"{name}: multi-scale", f"mean of the norms at t = {AVERAGED}", scene,
                 lambda x: torch.stack([studied.norm(t)(x) for t in AVERAGED]).mean(dim=0))  # fmt: skip
    measure.maps(f"{name}: density", "inner product of frame and prediction", scene,
                 lambda x: (x.float() * studied.noise(x)[0]).mean(dim=0).clamp(min=0))  # fmt: skip
    measure.maps(f"{name}: density", "Gaussian over the inverse residual field (arXiv 2604.18393)", scene,
                 gaussian_of(studied, scene))  # fmt: skip


def gaussian_of(studied: Studied, scene: Scene) -> Maps:
    """Negative log density of the predicted noise at a position, under one Gaussian of the held-out normals."""
    with torch.inference_mode():
        fibres = torch.cat([studied.noise(x).flatten(2)[0].T[::7] for x in scene.held_out]).double()
    mean, covariance = fibres.mean(dim=0), torch.atleast_2d(torch.cov(fibres.T))
    deviation = covariance.diag().mean().sqrt()
    factor = torch.linalg.cholesky(covariance + 0.01 * deviation**2 * torch.eye(len(mean), dtype=torch.float64))

    def density(x: Tensor) -> Tensor:
        noise = studied.noise(x)
        centred = noise.flatten(2)[0].double() - mean[:, None]
        distance = torch.linalg.solve_triangular(factor, centred, upper=False).square().mean(dim=0).sqrt()
        return distance.float().view(noise.shape[-2:])

    return density


def ablate_judgement(measure: Measure, studied: Studied, scene: Scene, name: str) -> None:
    """The two features and the forest, as a bundle has them."""
    config = studied.config
    with torch.inference_mode():
        usual = usual_norms([studied.norm()(x) for x in scene.held_out], config)

        def features(xs: Sequence[Tensor]) -> NDArray[np.float64]:
            found = []
            for x in xs:
                noise = over_normal(studied.noise(x), usual, config)
                found.append(
                    [float(loud_norm(pooled(noise_norm(noise), config), config.norm_fraction)),
                     float(peak(pooled(sobel_magnitude(noise), config), config.top_fraction, config.over_median))]
                )  # fmt: skip
            return np.array(found)

        held_out, normal, damaged = (features(part) for part in (scene.held_out, scene.normals, scene.damaged))
    judgement = fit_judgement(held_out, 200, 0)
    measure.scores(f"{name}: judgement", "global feature alone (norm)", scene, normal[:, 0], damaged[:, 0])
    measure.scores(f"{name}: judgement", "local feature alone (Sobel)", scene, normal[:, 1], damaged[:, 1])
    measure.scores(f"{name}: judgement", "Isolation Forest of both, one-sided with tail", scene,
                   judgement.score(normal), judgement.score(damaged))  # fmt: skip
    plain = IsolationForest(n_estimators=200, random_state=0).fit(np.log(held_out))
    measure.scores(f"{name}: judgement", "plain Isolation Forest of both", scene,
                   -plain.score_samples(np.log(normal)), -plain.score_samples(np.log(damaged)))  # fmt: skip
