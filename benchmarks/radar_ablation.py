"""What each of RADAR's open choices is worth, measured on synthetic defects alone.

    python -m benchmarks.radar_ablation --data ../shared/data/magnetic-tile

Normals of train/good are split by part. The networks learn from one share, what is usual at each place from another,
and a third, with and without synthetic defects, is scored. Test images are never read. The trainings are kept in
--work, so a second run only scores. Prints a Markdown table and writes a file
of benchmarks/results/ for each space.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from benchmarks.machine import this_machine
from benchmarks.radar_choices import FRONTS, TRAININGS, Other
from pipeline.detectors.radar import network
from pipeline.detectors.radar.anomaly_map import noise_norm, over_normal, pooled, sobel_magnitude, usual_norms
from pipeline.detectors.radar.config import STRIDE_PX, RadarConfig
from pipeline.detectors.radar.features import loud_norm, peak
from pipeline.detectors.radar.network import NoisePredictor, cumulative_alphas, predict
from pipeline.detectors.radar.preprocess import box_mean
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.drawn.synthetic import Defect, synthetic_defects
from pipeline.training.images.data import Frame, load_frames
from pipeline.training.images.layouts import find_layout
from pipeline.training.images.split import Shares, split_by_number
from pipeline.training.radar import noise_training
from pipeline.training.radar.fit import RadarPlan, fit_front
from pipeline.training.radar.forest import fit_judgement
from pipeline.training.radar.noise_training import NoisePlan, fingerprint, train_noise_predictor

RESULTS = Path(__file__).parent / "results"
SPACES = {
    "features": RadarConfig.in_features,
    "wavelets": RadarConfig.in_wavelets,
    "pixels": RadarConfig.in_pixels,
}
SHARES = Shares(fit=0.6, forest=0.15, calibration=0.0, validation=0.25)
DEFECTS_PER_NORMAL = 2
EVERY = 2
"""Of the normals to score, since six pictures of one part say little more than three."""
AVERAGED = (100, 250, 500)
"""Timesteps of the multi-scale row."""
RECONSTRUCTED = 38
"""About so many images of each side are scored in several steps: 250 passes each."""
NOT_MEASURED = ("RGB",)
Maps = Callable[[Tensor], Tensor]
"""(C, h, w) front's view of a frame → (h, w)."""


@dataclass(frozen=True)
class Row:
    group: str
    choice: str
    auroc: float
    """Image AUROC, mean over the kinds of defects."""
    per_kind: Mapping[str, float]
    alone: float | None
    """The same, but a damaged frame counts only where it was damaged: elsewhere its map is capped at its median. A
    frame's own marks raise the score of its damaged copy, and real defects need not come with them."""
    pixel_auroc: float | None
    ms: float
    """Median time of the network and what follows, for one frame, where the row needs a pass of its own, else of what
    follows alone; the encoder comes on top."""
    images: int


@dataclass(frozen=True)
class Scene:
    """Everything that is scored, as one front sees it."""

    config: RadarConfig
    held_out: list[Tensor]
    normals: list[Tensor]
    damaged: list[Tensor]
    defects: list[Defect]

    def first(self, count: int) -> "Scene":
        """A subset of about so many normals, and as many defects, evenly drawn."""
        n, d = (max(1, len(part) // count) for part in (self.normals, self.damaged))
        return replace(
            self, normals=self.normals[::n], damaged=self.damaged[::d], defects=self.defects[::d],
            held_out=self.held_out[:: max(1, len(self.held_out) // count)],
        )  # fmt: skip


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
        print(line(row), flush=True)


def _only_damage(found: Tensor, defect: Defect) -> Tensor:
    mask = torch.from_numpy(defect.mask.astype(np.float32))[None, None]
    cells = functional.adaptive_max_pool2d(mask, found.shape[-2:])
    near = functional.max_pool2d(cells, 3, stride=1, padding=1)[0, 0] > 0
    return torch.where(near, found, found.clamp(max=found.median()))


def _sampled(found: Tensor, defect: Defect, count: int = 2000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and truth at some pixels of the frame."""
    whole = functional.interpolate(found[None, None], size=defect.mask.shape, mode="bilinear")[0, 0].numpy().ravel()
    picks = np.random.default_rng(0).choice(whole.size, min(count, whole.size), replace=False)
    return whole[picks].astype(np.float64), defect.mask.ravel()[picks]


def line(row: Row) -> str:
    pixel = "–" if row.pixel_auroc is None else f"{row.pixel_auroc:.3f}"
    lowest = min(row.per_kind, key=lambda kind: row.per_kind[kind])
    alone = "–" if row.alone is None else f"{row.alone:.3f}"
    weakest = f"{lowest} {row.per_kind[lowest]:.2f}"
    return f"| {row.group} | {row.choice} | {row.auroc:.3f} | {alone} | {pixel} | {weakest} | {row.ms:.0f} |"


class Studied:
    """One trained network and the ways of asking it."""

    def __init__(self, trained: NoisePredictor, config: RadarConfig) -> None:
        self.network, self.config, self.alphas = trained.eval(), config, cumulative_alphas(config)
        self._known: dict[tuple[int, int, int | None], Tensor] = {}
        """(frame, timestep, seed) → the prediction: rows that differ only behind the network share its passes."""

    def noise(
        self, x: Tensor, t: int | None = None, seed: int | None = None, residual: bool = False, blur: int | None = None
    ) -> Tensor:
        """blur: the config's unless given."""
        t = self.config.timestep if t is None else t
        alpha = self.alphas[t]
        frame = x[None].float()
        drawn = torch.zeros_like(frame)
        if seed is not None:
            drawn = torch.randn(frame.shape, generator=torch.Generator().manual_seed(seed))
        key = (x.data_ptr(), t, seed)
        predicted = self._known.get(key)
        if predicted is None:
            noisy = frame * alpha.sqrt() + (1 - alpha).sqrt() * drawn * (seed is not None)
            predicted = predict(self.network, noisy, torch.tensor([t]), self.config).half()
            if seed is None and t in (self.config.timestep, *AVERAGED):
                self._known[key] = predicted  # a gigabyte for some hundred frames: no more than is asked for again
        predicted = predicted.float()
        return box_mean(predicted - drawn if residual else predicted, self.config.blur_px if blur is None else blur)

    def norm(self, t: int | None = None, blur: int | None = None) -> Maps:
        return lambda x: noise_norm(self.noise(x, t, blur=blur))[0]

    def reconstructed(self, x: Tensor, depth: int, steps: int, seed: int = 0) -> Tensor:
        """AnoDDPM (CVPRW 2022): noise to `depth`, then back in so many steps (DDIM, arXiv 2010.02502, η = 1); the
        squared difference to the input, per position."""
        generator = torch.Generator().manual_seed(seed)
        x = x[None].float()
        times = np.linspace(depth, 0, steps + 1).round().astype(int)
        a = self.alphas[times[0]]
        z = a.sqrt() * x + (1 - a).sqrt() * torch.randn(x.shape, generator=generator)
        for here, there in pairwise(times):
            a, b = self.alphas[here], self.alphas[there]
            noise = predict(self.network, z, torch.tensor([int(here)]), self.config)
            clean = (z - (1 - a).sqrt() * noise) / a.sqrt()
            spread = (((1 - b) / (1 - a)) * (1 - a / b)).clamp(min=0).sqrt()
            z = b.sqrt() * clean + (1 - b - spread**2).clamp(min=0).sqrt() * noise
            z = z + spread * torch.randn(x.shape, generator=generator)
        return noise_norm(z - x)[0]


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
    from sklearn.ensemble import IsolationForest

    plain = IsolationForest(n_estimators=200, random_state=0).fit(np.log(held_out))
    measure.scores(f"{name}: judgement", "plain Isolation Forest of both", scene,
                   -plain.score_samples(np.log(normal)), -plain.score_samples(np.log(damaged)))  # fmt: skip


def scene_of(
    config: RadarConfig, parts: Mapping[str, list[Frame]], defects: list[Defect]
) -> tuple[Scene, list[Tensor]]:
    plan = RadarPlan(config=config)
    config, front, fit = fit_front(parts["fit"], plan, 1, torch.device("cpu"))

    def seen(frames: Sequence[Frame]) -> list[Tensor]:
        return [front(frame[None], torch.device("cpu"))[0].half() for frame in frames]

    damaged = seen([defect.frame for defect in defects])
    return Scene(config, seen(parts["forest"]), seen(parts["validation"]), damaged, defects), fit


def untrained(scene: Scene) -> Studied:
    torch.manual_seed(0)
    return Studied(NoisePredictor(scene.config, len(scene.normals[0])), scene.config)


@contextmanager
def borders_told(told: bool) -> Iterator[None]:
    """Within it, networks are trained and asked with or without their four channels of the border."""
    with ExitStack() as stack:
        if not told:
            for user in (noise_training, network):
                stack.enter_context(
                    patch.object(user, "closeness", lambda height, width, cells: torch.zeros(4, height, width))
                )
        yield


def as_noisy(config: RadarConfig, like: RadarConfig) -> int:
    """The timestep at which `config` leaves as much of the image as `like` does at its own."""
    return int((cumulative_alphas(config) - cumulative_alphas(like)[like.timestep]).abs().argmin())


def ablate_training(
    measure: Measure,
    scene: Scene,
    fit: Sequence[Tensor],
    plan: NoisePlan,
    name: str,
    others: Sequence[Other],
    work: Path,
) -> None:
    """A network of its own for each choice; none changes what the front sees."""
    for number, other in enumerate(others):
        changed = scene.config.model_copy(update=other.config)
        changed = changed.model_copy(update={"timestep": as_noisy(changed, scene.config)})
        with borders_told(other.bordered):
            trained, _ = train_noise_predictor(fit, changed, replace(plan, **other.plan), work / f"{name}-{number}")
            own = replace(scene, config=changed)
            measure.maps(f"{name}: {other.group}", other.choice, own, Studied(trained, changed).norm())


def study(
    space: str, measure: Measure, parts: Mapping[str, list[Frame]], defects: list[Defect], steps: int, work: Path
) -> None:
    in_pixels = space == "pixels"
    config = SPACES[space]()
    scene, fit = scene_of(config, parts, defects)
    plan = NoisePlan(steps=steps, flips=in_pixels)
    folder = work / space
    trained, progress = train_noise_predictor(fit, scene.config, plan, folder)
    print(f"{space}: {progress.step} steps in {progress.elapsed_s:.0f} s, loss {progress.loss:.4f}", flush=True)
    studied = Studied(trained, scene.config)
    ablate_scoring(measure, studied, scene, space)
    ablate_judgement(measure, studied, scene, space)
    found = load_checkpoint(folder, fingerprint(fit, scene.config, plan))
    if found:
        last = NoisePredictor(scene.config, len(fit[0]))
        last.load_state_dict(found[1]["network"])
        measure.maps(
            f"{space}: averaging", "last weights in place of their average", scene, Studied(last, scene.config).norm()
        )
    measure.maps(f"{space}: training", "none: distance under a Gaussian", scene, untrained(scene).norm())
    ablate_training(measure, scene, fit, plan, space, TRAININGS, work)
    for number, other in enumerate(FRONTS[space]):
        seen, seen_fit = scene_of(config.model_copy(update=other.config), parts, defects)
        if in_pixels:
            own, _ = train_noise_predictor(seen_fit, seen.config, plan, work / f"{space}-front-{number}")
            asked, how = Studied(own, seen.config), other.choice
        else:
            asked, how = untrained(seen), f"{other.choice} (untrained)"
        measure.maps(f"{space}: {other.group}", how, seen, asked.norm())
    few = scene.first(RECONSTRUCTED)
    images = f"{len(few.normals)} + {len(few.damaged)}"
    measure.maps(f"{space}: reconstruction", f"one step, the same {images} images, not by place either", few,
                 studied.norm(), by_place=False)  # fmt: skip
    for depth, count in ((250, 50), (250, 250)):
        measure.maps(f"{space}: reconstruction", f"AnoDDPM, depth {depth}, {count} steps", few,
                     lambda x, depth=depth, count=count: studied.reconstructed(x, depth, count),
                     by_place=False)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/magnetic-tile"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/radar-ablation"), help="where trainings are kept")
    parser.add_argument("--steps", type=int, default=NoisePlan().steps)
    parser.add_argument("--spaces", default=",".join(SPACES), help="of these, with commas between them")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of radar-ablation-SPACE.json")
    asked = parser.parse_args()
    started = time.monotonic()
    split = split_by_number(find_layout(asked.data).normals, SHARES)
    parts = {role: load_frames(paths, "gray") for role, paths in vars(split).items() if paths}
    parts["validation"], parts["forest"] = parts["validation"][::EVERY], parts["forest"][::EVERY]
    defects = synthetic_defects(parts["validation"], DEFECTS_PER_NORMAL, seed=0)
    print(f"{ {role: len(part) for role, part in parts.items()} } and {len(defects)} synthetic defects", flush=True)
    rows: list[Row] = []
    for space in asked.spaces.split(","):
        measure = Measure()
        study(space, measure, parts, defects, asked.steps, asked.work)
        rows += measure.rows
        (asked.results / f"radar-ablation-{space}.json").write_text(
            json.dumps(
                {
                    "data": asked.data.name,
                    "images": {role: len(part) for role, part in parts.items()},
                    "defects": len(defects),
                    "steps": asked.steps,
                    "threads": torch.get_num_threads(),
                    "seconds": round(time.monotonic() - started),
                    "machine": asdict(this_machine()),
                    "not_measured": NOT_MEASURED,
                    "rows": [asdict(row) for row in measure.rows],
                },
                indent=1,
            )
            + "\n"
        )
    print("\n| what | choice | image AUROC | of the damage alone | pixel AUROC | weakest kind | ms |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(line(row) for row in rows))
    print(f"not measured: {', '.join(NOT_MEASURED)}")


if __name__ == "__main__":
    main()
