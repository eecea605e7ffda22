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
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.machine import this_machine
from benchmarks.radar_ablation.choices import FRONTS, TRAININGS
from benchmarks.radar_ablation.measure import Measure
from benchmarks.radar_ablation.rows import Row
from benchmarks.radar_ablation.scene import scene_of
from benchmarks.radar_ablation.scoring import ablate_judgement, ablate_scoring
from benchmarks.radar_ablation.studied import Studied, untrained
from benchmarks.radar_ablation.trainings import ablate_training
from pipeline.detectors.radar.config import RadarConfig
from pipeline.detectors.radar.network import NoisePredictor
from pipeline.training.checkpoint import load_checkpoint
from pipeline.training.drawn.synthetic import Defect, drawn_defects
from pipeline.training.images.data import Frame, read_frame
from pipeline.training.images.layouts import find_layout
from pipeline.training.images.split import Shares, split_by_number
from pipeline.training.radar.noise_training import NoisePlan, fingerprint, train_noise_predictor

RESULTS = Path(__file__).parent.parent / "results"
SPACES = {
    "features": RadarConfig.in_features,
    "wavelets": RadarConfig.in_wavelets,
    "pixels": RadarConfig.in_pixels,
}
SHARES = Shares(fit=0.6, forest=0.15, calibration=0.0, validation=0.25)
DEFECTS_PER_NORMAL = 2
EVERY = 2
"""Of the normals to score, since six pictures of one part say little more than three."""
RECONSTRUCTED = 38
"""About so many images of each side are scored in several steps: 250 passes each."""
NOT_MEASURED = ("RGB",)


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
    parts = {role: [read_frame(path, "gray") for path in paths] for role, paths in vars(split).items() if paths}
    parts["validation"], parts["forest"] = parts["validation"][::EVERY], parts["forest"][::EVERY]
    defects = list(drawn_defects(parts["validation"], DEFECTS_PER_NORMAL, seed=0))
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
    print("\n".join(row.as_line() for row in rows))
    print(f"not measured: {', '.join(NOT_MEASURED)}")


if __name__ == "__main__":
    main()
