"""The evaluation as one HTML page that needs nothing else: figures, histogram, the worst mistakes as pictures."""

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from pipeline.detectors.bundle import BundleInfo
from pipeline.drawing import arranged, colour_scale, heat, is_strip, outlined, overlay, reaching
from pipeline.files.durable import write_whole
from pipeline.training.figures.card import as_number, as_percent
from pipeline.training.figures.measure import Evaluation
from pipeline.training.figures.shelf import MapShelf
from pipeline.training.images.data import read_frame, read_mask

PICTURES = 8
"""Of each kind of mistake."""
_PANEL_PX = 420
"""Of a panel, along the side on which three of them lie; across it may be three times as long."""
_ENLARGED = 4
"""At most so many times: of a frame of 32 px, as it is, nobody could see more than its outline."""
_GAP_PX = 4
_BINS = 48
_REACH = 4.0
_GOOD, _BAD, _LIMIT = "#3b76af", "#d1495b", "#222222"


@dataclass(frozen=True)
class Mistake:
    """One picture of the page."""

    name: str
    kind: str
    score: float
    wrong: bool
    """Whether it lies on the wrong side of the threshold, or only nearest to it."""
    picture: str
    """JPEG as a data URI: frame with the marked defect, heat map, overlay."""


def write_report(
    info: BundleInfo,
    found: Evaluation,
    shelf: MapShelf,
    folder: Path,
    count: int = PICTURES,
) -> Path:
    """shelf: as `measure` left it. Writes index.html and returns its path."""
    threshold = info.calibration.threshold
    is_defect = np.array([image.is_defect for image in found.images])
    upward = np.argsort(found.scores, kind="stable")
    misses = [int(i) for i in upward if is_defect[i]][:count]
    alarms = [int(i) for i in upward[::-1] if not is_defect[i]][:count]
    scale = _scale(shelf, is_defect)

    def mistake(number: int, wrong: bool) -> Mistake:
        image = found.images[number]
        pixels = read_frame(image.path, info.input.mode)
        mask = read_mask(image.mask) if image.mask and image.is_defect else None
        strip = _strip(pixels, mask, shelf.get(number), scale)
        name = f"{image.path.parent.name}/{image.path.name}"
        return Mistake(name, image.kind, float(found.scores[number]), wrong, _data_uri(strip))

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(), undefined=StrictUndefined
    )
    page = templates.get_template("report.html").render(
        info=info,
        found=found,
        threshold=threshold,
        histogram=Markup(
            histogram(found.scores[~is_defect], found.scores[is_defect], threshold)
        ),  # ours alone: numbers
        misses=[mistake(i, bool(found.scores[i] < threshold)) for i in misses],
        alarms=[mistake(i, bool(found.scores[i] >= threshold)) for i in alarms],
        missed=int((found.scores[is_defect] < threshold).sum()),
        alarmed=int((found.scores[~is_defect] >= threshold).sum()),
        percent=as_percent,
        number=as_number,
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    write_whole(path, page)
    return path


def _scale(shelf: MapShelf, is_defect: NDArray[np.bool_]) -> tuple[float, float]:
    """Of colours, for all pictures: black up to the usual level of a good part's map, pale far above its usual peak. Of
    damage half of a test may be, and next to it a false alarm would be black."""
    levels, peaks = np.empty(len(is_defect)), np.empty(len(is_defect))
    for number in range(len(is_defect)):
        anomaly_map = shelf.get(number)
        levels[number], peaks[number] = np.median(anomaly_map), anomaly_map.max()
    return colour_scale(levels[~is_defect].tolist(), peaks[~is_defect].tolist(), float(peaks.max()))


def _strip(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    anomaly_map: NDArray[np.float32],
    scale: tuple[float, float],
) -> Image.Image:
    height, width = pixels.shape[:2]
    widest, highest = (3 * _PANEL_PX, _PANEL_PX) if is_strip(width, height) else (_PANEL_PX, 3 * _PANEL_PX)
    scaled = min(_ENLARGED, widest / width, highest / height)
    size = (max(1, round(width * scaled)), max(1, round(height * scaled)))
    # Scaled before the outline is drawn, which would shrink to nothing with a large frame; of a mask every mark stays.
    frame = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS))
    marked = None if mask is None else np.asarray(Image.fromarray(mask * 255.0).resize(size, Image.Resampling.BOX)) > 0
    scale = reaching(scale, float(anomaly_map.max()))
    panels = [outlined(frame, marked), heat(anomaly_map, size, *scale), overlay(frame, anomaly_map, 0.6, *scale)]
    return arranged(panels, _GAP_PX)


def _data_uri(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def histogram(good: NDArray[np.float64], bad: NDArray[np.float64], threshold: float) -> str:
    """SVG: the share of good and of defective images at each score, and the threshold. Scores are unbounded, so the
    outermost 1 % on either side goes into the outermost bars, and so does what lies four times as far up as the good
    ones and the threshold reach: beside damage of a score of a million all of these would be one bar."""
    everything = np.concatenate([good, bad])
    low, high = np.quantile(everything, [0.01, 0.99])
    low, high = min(low, threshold), max(high, threshold)
    if (usual := max(np.quantile(good, 0.99), threshold)) > low:
        high = min(high, low + _REACH * (usual - low))
    span = (high - low) or 1.0
    low, high = low - 0.03 * span, high + 0.03 * span
    edges = np.linspace(low, high, _BINS + 1)
    width, height, left, base = 900, 260, 46, 214
    step = (width - left - 10) / _BINS
    shares = [np.histogram(np.clip(own, low, high), edges)[0] / len(own) for own in (good, bad)]
    top = max(float(share.max()) for share in shares)
    across: Callable[[float], float] = lambda score: left + (score - low) / (high - low) * (width - left - 10)  # noqa: E731
    parts = [
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="Histogram of scores">',
        f'<line x1="{left}" y1="{base}" x2="{width - 10}" y2="{base}" stroke="#8894a1"/>',
    ]
    for share, colour in zip(shares, (_GOOD, _BAD), strict=True):
        for i, value in enumerate(share):
            if value:
                bar = (base - 24) * value / top
                parts.append(
                    f'<rect x="{left + i * step:.1f}" y="{base - bar:.1f}" width="{step - 1:.1f}" height="{bar:.1f}" '
                    f'fill="{colour}" fill-opacity="0.6"/>'
                )
    for tick in np.linspace(edges[0], edges[-1], 7)[1:-1]:
        parts.append(f'<text x="{across(float(tick)):.1f}" y="{base + 16}" text-anchor="middle">{tick:.4g}</text>')
    x = across(threshold)
    side, shift = ("end", -5) if x > width / 2 else ("start", 5)
    parts += [
        f'<text x="{left - 6}" y="30" text-anchor="end">{top:.0%}</text>',
        f'<line x1="{x:.1f}" y1="12" x2="{x:.1f}" y2="{base}" stroke="{_LIMIT}" stroke-dasharray="5 4"/>',
        f'<text x="{x + shift:.1f}" y="20" text-anchor="{side}">threshold {threshold:.4g}</text>',
        f'<text x="{(left + width) / 2}" y="{base + 36}" text-anchor="middle">anomaly score</text>',
        "</svg>",
    ]
    return "\n".join(parts)
