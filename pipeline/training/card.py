"""The model card of a bundle: README.md, written from the bundle's own facts and a measurement, never by hand."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.detectors.bundle import BundleInfo
from pipeline.training.evaluate import ImageMetrics


@dataclass(frozen=True)
class Evaluation:
    """What was measured on images that nothing was fitted on."""

    data: str
    detector: ImageMetrics
    baselines: Mapping[str, ImageMetrics]
    features: Mapping[str, ImageMetrics]
    """The raw features, each taken as a score of its own: what the forest makes of them shows beside them."""
    ms_per_frame: float
    """Median time of `predict` for a batch of one."""
    machine: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def model_card(info: BundleInfo, evaluation: Evaluation) -> str:
    """Markdown."""
    training = info.training
    images = ", ".join(f"{count} {role}" for role, count in training.get("images", {}).items())
    rows = [_row(f"**{info.method} (this bundle)**", evaluation.detector)]
    rows += [_row(f"{info.method}, {name} alone", metrics) for name, metrics in evaluation.features.items()]
    rows += [_row(name, metrics) for name, metrics in evaluation.baselines.items()]
    found = evaluation.detector
    return f"""# {info.name}

Method `{info.method}`, model `{info.model_hash}`, frames of {info.input.width_px} × {info.input.height_px} px {info.input.mode}.
This card is generated: `andon evaluate {info.name} --data … --card`.

## Made from
- Data: `{training.get("data")}`, images of good parts only: {images}. Shared out by contiguous blocks of file names.
- Command: `{training.get("command")}`
- Time: {training.get("training_s")} s for {training.get("steps")} steps on {training.get("machine")}.
- Packages: {", ".join(f"{name} {number}" for name, number in training.get("packages", {}).items())}.
- Validation on held-out normals with synthetic defects: AUROC {training.get("validation_auroc_synthetic")}.

## Measured on cells it never saw
{evaluation.data}: {found.normals} good, {found.defects} defective. Square brackets: 95 % bootstrap interval.

| score | AUROC | average precision | best F1 |
|---|---|---|---|
{chr(10).join(rows)}

At the threshold calibrated for {info.calibration.false_alarm_rate:.1%} false alarms on {info.calibration.normals} held-out normals
({info.calibration.threshold:.4f}): {_percent(found.recall)} of the defective and {_percent(found.false_alarm_rate)} of the good
images are called NOT_OK; F1 {_number(found.f1)}.

Time per frame, one at a time: {evaluation.ms_per_frame:.0f} ms (median) on {evaluation.machine}.

{_LIMITS}"""


_LIMITS = """## What it is not good for
- Parts, cameras or lighting that the good images do not show: a new module type looks like a defect. Train on your own line.
- Defects that differ from normal texture only slowly over a large area: the frame is divided by its local mean first.
- Telling kinds of defects apart, or measuring them. The map shows where to look, not what it is.
- A promise about false alarms after the line has changed: the threshold holds for normals like those it was calibrated on.
"""


def _row(name: str, metrics: ImageMetrics) -> str:
    interval = f"{metrics.auroc:.3f} [{metrics.auroc_low:.2f}–{metrics.auroc_high:.2f}]"
    return f"| {name} | {interval} | {metrics.average_precision:.3f} | {metrics.f1_max:.3f} |"


def _percent(share: float | None) -> str:
    return "—" if share is None else f"{share:.1%}"


def _number(value: float | None) -> str:
    return "—" if value is None else f"{value:.3f}"
