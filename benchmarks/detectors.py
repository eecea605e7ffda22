"""`python -m benchmarks.detectors --data FOLDER`: Andon's methods against anomalib's, on the same images and encoder.

Every method is trained and timed in a process of its own. All see the same pixels: the images of the data set, brought
to one square size. All scores and maps are raw, and one piece of code computes the figures from them.
"""

import hashlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.contenders.stand import Job
from benchmarks.machine import this_machine
from benchmarks.peers_environment import ANOMALIB, peers_python
from pipeline.files.durable import draft_of
from workers.commands.options import SamePart

OURS = ("cflow", "radar", *(f"{method}-{engine}" for engine in ("onnx", "openvino") for method in ("cflow", "radar")))
"""'cflow-onnx' is the bundle of cflow with its networks on ONNX Runtime."""
PEERS = {f"anomalib-{method}": method for method in ("cflow", "patchcore", "fastflow")}
LEFT_OUT = {"anomalib-efficientad": "downloads its teacher's weights and ImageNette before it trains"}
BATCHES = (1, 16)
RESULTS = Path(__file__).parent / "results"
_ROOT = Path(__file__).parent.parent
_QUICK_IMAGES = 120
_MADE_BY = "made_by.txt"
"""Beside a finished row: the digest of the code that trained and scored it."""


@dataclass(frozen=True)
class Prepared:
    """The data set as every contender sees it."""

    train: list[str]
    test: list[str]
    kinds: list[str]
    """Of the test images: 'good' or the defect's class."""
    masks: list[str | None]
    parts: np.ndarray
    """(N,): which part each test image shows."""


def main(
    data: Annotated[Path, typer.Option(help="MVTec's, VisA's or a plain layout, with defects to test on.")],
    methods: Annotated[str, typer.Option(help=f"Of {', '.join((*OURS, *PEERS))}; commas between.")] = "",
    size: Annotated[int, typer.Option(help="Side of the square that every image is brought to, in pixels.")] = 256,
    encoder: Annotated[str, typer.Option(help="timm's name.")] = "tf_efficientnet_lite0",
    encoder_weights: Annotated[Path | None, typer.Option(help="See `andon train cflow --help`.")] = None,
    minutes: Annotated[float, typer.Option(help="A peer may train about so long.")] = 15,
    threads: Annotated[int, typer.Option(help="Of torch, for all alike.")] = os.cpu_count() or 1,
    rounds: Annotated[int, typer.Option(help="Timings of each method and batch size, in turns.")] = 7,
    quick: Annotated[bool, typer.Option(help=f"{_QUICK_IMAGES} images, one minute: shows that all works.")] = False,
    resume: Annotated[bool, typer.Option("--resume/--fresh", help="Keep rows that are finished.")] = True,
    same_part: SamePart = None,
    out: Annotated[Path, typer.Option(help="Where the JSON file is written.")] = RESULTS,
) -> None:
    """Quality, training time, size, memory and speed of Andon's and anomalib's detectors, side by side."""
    chosen = [name.strip() for name in methods.split(",")] if methods else [*OURS, *PEERS]
    if unknown := set(chosen) - {*OURS, *PEERS}:
        raise typer.BadParameter(f"no method {', '.join(sorted(unknown))}; there are {', '.join((*OURS, *PEERS))}")
    console = Console(width=max(150, Console().width))  # a table cut short says nothing in a log
    facts = {
        "data": data.name,
        "size": size,
        "encoder": encoder,
        "quick": quick,
        "minutes": minutes,
        "threads": threads,
        **({"encoder_weights": _digest([encoder_weights])} if encoder_weights else {}),
    }
    place = _workplace(data, facts)
    prepared = _prepare(data, place, size, quick, same_part)
    weights, levels = _encoder(place, encoder, encoder_weights)
    rows: dict[str, dict[str, Any]] = {}
    for name in chosen:
        folder = place / name
        folder.mkdir(exist_ok=True)
        job = Job(
            method=PEERS.get(name, name),
            train=prepared.train,
            test=prepared.test,
            encoder=encoder,
            encoder_weights=str(weights),
            levels=list(levels),
            minutes=1 if quick else minutes,
            threads=threads,
            out=str(folder),
        )
        (folder / "job.json").write_text(json.dumps(asdict(job)))
        made_by, marked = _made_by(name), folder / _MADE_BY
        if not (resume and marked.exists() and marked.read_text() == made_by):
            marked.unlink(missing_ok=True)  # lest a run that is killed leave half of a row under the old mark
            console.print(f"training {name} …")
            _run(name, "train", folder)
            console.print(f"scoring with {name} …")
            _run(name, "score", folder)
            marked.write_text(made_by)
        rows[name] = json.loads((folder / "result.json").read_text()) | _quality(folder, prepared)
        console.print(f"  {name}: {rows[name]['figures']}")
    for name, times in _times(chosen, place, rounds).items():
        rows[name] |= times
    _compare(rows, place, prepared)
    console.print(_table(rows))
    for name, row in rows.items():
        if above := row.get("image_auroc_above"):
            low, high = above["interval"]
            console.print(f"{name}: image AUROC {low:+.3f} … {high:+.3f} above that of {above['peer']} (95 %)")
    for name, why in LEFT_OUT.items():
        console.print(f"not run: {name}: {why}")
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **facts,
        "levels": list(levels),
        "same_part": same_part,
        "images": {
            "train": len(prepared.train),
            "test": len(prepared.test),
            "test_parts": len(np.unique(prepared.parts)),
        },
        "anomalib": ANOMALIB,
        "timm": version("timm"),
        "machine": asdict(this_machine()),
        "rows": rows,
        "not_run": LEFT_OUT,
    }
    out.mkdir(parents=True, exist_ok=True)
    name = f"detectors-{datetime.now(UTC):%Y-%m-%dT%H%M}-{this_machine().short_id}{'-quick' if quick else ''}.json"
    target = out / name
    target.write_text(json.dumps(found, indent=1) + "\n")
    console.print(f"{this_machine().line} → {target}")


def _workplace(data: Path, facts: Mapping[str, Any]) -> Path:
    """One for each state of the data: images that were laid out anew under their old names are others."""
    from pipeline.training.images.layouts import find_layout

    layout = find_layout(data)
    marks = [one.mask for one in layout.test if one.mask]
    files = [(path, path.stat()) for path in (*layout.normals, *(one.path for one in layout.test), *marks)]
    states = [(os.path.relpath(path, data), found.st_size, found.st_mtime_ns) for path, found in files]
    what = {**facts, "where": str(data.resolve()), "files": states}
    key = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:10]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    place = cache / "andon-benchmarks" / f"detectors-{key}"
    place.mkdir(parents=True, exist_ok=True)
    return place


def _prepare(data: Path, place: Path, size: int, quick: bool, same_part: int | None) -> Prepared:
    """The same pixels for all: gray, square, PNG."""
    from pipeline.training.images.data import read_mask
    from pipeline.training.images.layouts import find_layout
    from pipeline.training.images.parts import parts_of

    layout = find_layout(data)
    normals, tests = list(layout.normals), list(layout.test)
    if quick:
        normals = normals[:: max(1, len(normals) // _QUICK_IMAGES)]
        tests = tests[:: max(1, len(tests) // _QUICK_IMAGES)]

    def written(picture: Image.Image, source: Path, folder: str, number: int, how: Image.Resampling) -> str:
        target = place / "images" / folder / f"{number:05d}-{source.stem}.png"
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = draft_of(target)
            picture.resize((size, size), how).save(draft, "PNG")
            draft.replace(target)
        return str(target)

    def brought(source: Path, folder: str, number: int) -> str:
        with Image.open(source) as image:
            return written(image.convert("L"), source, folder, number, Image.Resampling.BILINEAR)

    def marked(source: Path, number: int) -> str:
        levels = read_mask(source).astype(np.uint8) * 255
        return written(Image.fromarray(levels), source, "masks", number, Image.Resampling.NEAREST)

    return Prepared(
        train=[brought(path, "train", n) for n, path in enumerate(normals)],
        test=[brought(one.path, "test", n) for n, one in enumerate(tests)],
        kinds=[one.kind for one in tests],
        masks=[marked(one.mask, n) if one.mask else None for n, one in enumerate(tests)],
        parts=parts_of([one.path for one in tests], same_part),
    )


def _encoder(place: Path, name: str, weights: Path | None) -> tuple[Path, tuple[int, ...]]:
    """The encoder's tensors under timm's names, for whoever is given them; and the levels that CFLOW looks at."""
    from safetensors.torch import save_file

    from pipeline.detectors.cflow.config import CflowConfig
    from pipeline.detectors.encoder import pretrained_encoder

    target = place / "encoder.safetensors"
    if not target.exists():
        whole = pretrained_encoder(name, weights, (0, 1, 2, 3, 4))
        draft = draft_of(target)
        save_file({key: value.contiguous() for key, value in whole.net.state_dict().items()}, draft)
        draft.replace(target)
    return target, CflowConfig().levels


def _command(name: str, what: str, folder: Path) -> list[str]:
    if name in OURS:
        return [sys.executable, "-m", "benchmarks.contenders.ours", what, str(folder / "job.json")]
    script = Path(__file__).parent / "contenders" / "anomalib_peer.py"
    return [str(peers_python()), str(script), what, str(folder / "job.json")]


def _made_by(name: str) -> str:
    contenders = _ROOT / "benchmarks" / "contenders"
    if name in PEERS:
        return f"{ANOMALIB} {_digest([contenders / 'anomalib_peer.py', contenders / 'stand.py'])}"
    product = [path for room in ("detectors", "training") for path in (_ROOT / "pipeline" / room).rglob("*.py")]
    return _digest([contenders / "ours.py", contenders / "stand.py", *sorted(product)])


def _digest(files: Sequence[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _run(name: str, what: str, folder: Path) -> None:
    path = folder / f"{what}.txt"
    with path.open("w") as log:
        done = subprocess.run(_command(name, what, folder), cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"{name} failed to {what}; the end of {path}:\n{path.read_text()[-1500:]}")


def _quality(folder: Path, prepared: Prepared) -> dict[str, Any]:
    """One piece of code for all: image figures from raw scores, pixel figures from raw maps at the images' size."""
    from pipeline.training.figures.evaluate import evaluate_images
    from pipeline.training.figures.pixels import at_frame_size, choose_thresholds, count_pixels, pixel_metrics

    stored = np.load(folder / "scores.npz")
    scores, defect = stored["scores"], np.array([kind != "good" for kind in prepared.kinds])
    masks = [None if path is None else np.asarray(Image.open(path)) > 127 for path in prepared.masks]
    side = next((mask.shape[0] for mask in masks if mask is not None), stored["maps"].shape[-1])
    maps = [at_frame_size(one, side, side) for one in stored["maps"]]
    image = evaluate_images(
        scores[~defect], scores[defect], parts=np.r_[prepared.parts[~defect], prepared.parts[defect]]
    )
    figures = {"image_auroc": image.auroc, "image_aupr": image.aupr, "image_f1max": image.f1_max}
    if any(mask is not None for mask in masks):
        random = np.random.default_rng(0)
        # An unmarked defective image says nothing about pixels.
        usable = [i for i, mask in enumerate(masks) if mask is not None or not defect[i]]
        ok = [random.choice(maps[i][~masks[i]] if masks[i] is not None else maps[i].ravel(), 300) for i in usable]
        bad = [maps[i][masks[i]] for i in usable if masks[i] is not None]
        thresholds = choose_thresholds(np.concatenate(ok), np.concatenate(bad))
        pixels = pixel_metrics([count_pixels(maps[i], masks[i], thresholds) for i in usable])
        if pixels:
            figures |= {"pixel_auroc": pixels.auroc, "aupro": pixels.aupro}
    kinds = sorted({kind for kind in prepared.kinds if kind != "good"})
    own = np.array(prepared.kinds)
    per_class = {kind: round(evaluate_images(scores[~defect], scores[own == kind]).auroc, 4) for kind in kinds}
    return {
        "figures": {key: round(value, 4) for key, value in figures.items()},
        "image_auroc_interval": image.intervals["auroc"],
        "per_class_image_auroc": per_class,
    }


def _compare(rows: dict[str, dict[str, Any]], place: Path, prepared: Prepared) -> None:
    """Adds to each of our rows by how much its image AUROC is above the best peer's, with its 95 % interval: both are
    asked about the same parts, so the difference is known better than either."""
    from pipeline.training.figures.intervals import interval, resampled

    peers = [name for name in rows if name in PEERS]
    if not peers:
        return
    best = max(peers, key=lambda name: rows[name]["figures"]["image_auroc"])
    defect = np.array([kind != "good" for kind in prepared.kinds])
    weights = resampled(defect, 1000, prepared.parts)
    bad, good = weights[:, defect], weights[:, ~defect]

    def drawn(name: str) -> np.ndarray:
        scores = np.load(place / name / "scores.npz")["scores"]
        above = np.sign(scores[defect][:, None] - scores[~defect][None, :]) / 2 + 0.5
        return ((bad @ above) * good).sum(axis=1) / (bad.sum(axis=1) * good.sum(axis=1))

    for name, row in rows.items():
        if name not in PEERS:
            row["image_auroc_above"] = {"peer": best, "interval": interval(drawn(name) - drawn(best))}


def _times(names: list[str], place: Path, rounds: int) -> dict[str, dict[str, Any]]:
    """Medians over turns: all are loaded, one works at a time, so that a busy moment of the machine hits all alike."""
    running = {
        name: subprocess.Popen(
            _command(name, "time", place / name),
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for name in names
    }
    found: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in BATCHES} for name in names}
    peak: dict[str, float] = {}
    try:
        for name, process in running.items():
            while (line := process.stdout.readline()).strip() != "ready":
                if not line:
                    raise SystemExit(f"{name} could not be loaded to be timed: {_command(name, 'time', place / name)}")
        for _ in range(rounds):
            for batch in BATCHES:
                for name, process in running.items():
                    process.stdin.write(f"{batch}\n")
                    process.stdin.flush()
                    ms, held = map(float, process.stdout.readline().split())
                    found[name][batch].append(ms)
                    peak[name] = held
    finally:
        for process in running.values():
            process.stdin.close()
            process.wait(timeout=60)
    return {
        name: {
            "scoring_peak_mb": round(peak[name]),
            **{f"ms_batch{batch}": round(statistics.median(times), 2) for batch, times in by_batch.items()},
            "ms_all": by_batch,
        }
        for name, by_batch in found.items()
    }


def _table(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    figures = ("image_auroc", "image_aupr", "image_f1max", "pixel_auroc", "aupro")
    table = Table("", *figures, "training s", "model MB", "peak MB", *(f"ms, batch {batch}" for batch in BATCHES))
    peer = rows.get("anomalib-cflow")
    for name, row in rows.items():
        times = []
        for batch in BATCHES:
            own = row[f"ms_batch{batch}"]
            times.append(f"{own:.1f}" + (f" (× {peer[f'ms_batch{batch}'] / own:.1f})" if peer else ""))
        table.add_row(
            name,
            *(f"{row['figures'].get(figure, float('nan')):.3f}" for figure in figures),
            f"{row['training_s']:.0f}",
            f"{row['model_bytes'] / 1e6:.1f}",
            f"{row['scoring_peak_mb']}",
            *times,
        )
    if peer:
        table.caption = (
            "× : how many times as many frames a second as anomalib's CFLOW; training of an engine's row: its export"
        )
    return table


if __name__ == "__main__":
    typer.run(main)
