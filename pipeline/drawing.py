"""Pictures for people: heat maps over frames."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

_LETTERS_PX = 14
_GAP_PX = 4
_LONGEST_PX = 65_000
"""JPEG counts a picture's pixels in 16 bits."""
_REACH = 4.0

# Anchor colours of "inferno": it grows evenly in brightness, so it also reads in gray and for the colour-blind.
_INFERNO = np.array(
    [
        (0, 0, 4),
        (40, 11, 84),
        (101, 21, 110),
        (159, 42, 99),
        (212, 72, 66),
        (245, 125, 21),
        (250, 193, 39),
        (252, 255, 164),
    ]
)


def colour_scale(levels: Sequence[float], peaks: Sequence[float], highest: float | None = None) -> tuple[float, float]:
    """One scale for many maps, of which these are the usual (or lowest) and the highest values: black up to the first
    number, pale from the second on. Where good parts are known, `levels` and `peaks` are of theirs, and `highest` is
    of all maps.

    It ends at the highest peak, but at most four times as far up as peaks usually are: some maps have no bound, and one
    frame in the dark would turn the damage on all others black.
    """
    low, usual, highest = median(levels), median(peaks), max(peaks) if highest is None else highest
    return low, min(highest, low + _REACH * (usual - low)) if usual > low else highest


def reaching(scale: tuple[float, float], peak: float) -> tuple[float, float]:
    """The scale for a map with this peak. Damage may lie thousands of times as far out as the noise of good parts: at
    their scale all that is near it would be pale. Such a map is pale from a quarter of its own height on."""
    low, full = scale
    return low, max(full, low + (peak - low) / _REACH)


def heat(anomaly_map: NDArray[np.float32], size: tuple[int, int], low: float, high: float) -> Image.Image:
    """RGB picture of an (h, w) map, scaled to (width, height) pixels. ≤ low is black, ≥ high pale yellow."""
    span = high - low or 1.0
    level = np.clip((anomaly_map - low) / span, 0, 1) * (len(_INFERNO) - 1)
    channels = [np.interp(level, range(len(_INFERNO)), _INFERNO[:, channel]) for channel in range(3)]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)


def overlay(
    pixels: NDArray[np.uint8], anomaly_map: NDArray[np.float32], opacity: float, low: float, high: float
) -> Image.Image:
    """The heat map laid over an (H, W) or (H, W, 3) frame; where the map is low the frame shows through."""
    frame = Image.fromarray(pixels).convert("RGB")
    span = high - low or 1.0
    weight = np.clip((anomaly_map - low) / span, 0, 1) * opacity
    mask = Image.fromarray((weight * 255).astype(np.uint8)).resize(frame.size, Image.Resampling.BILINEAR)
    return Image.composite(heat(anomaly_map, frame.size, low, high), frame, mask)


def outlined(pixels: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> Image.Image:
    """The frame, with the edge of what the (H, W) mask marks in green, two pixels wide and just outside of it."""
    frame = Image.fromarray(pixels).convert("RGB")
    if mask is None or not mask.any():
        return frame
    marked = Image.fromarray(mask.astype(np.uint8) * 255)
    around = ImageChops.subtract(marked.filter(ImageFilter.MaxFilter(5)), marked)
    frame.paste((64, 224, 96), mask=around)
    return frame


def side_by_side(
    pixels: NDArray[np.uint8],
    anomaly_map: NDArray[np.float32] | None,
    facts: Mapping[str, str],
    opacity: float = 0.5,
    scale: tuple[float, float] | None = None,
) -> Image.Image:
    """Frame, heat map and overlay beside each other (see `arranged`), below a caption that may be wider than they are
    and can be read when a large sheet is shrunk to a screen. `scale`: the map's values for black and for pale yellow;
    its own extremes if none is given."""
    frame = Image.fromarray(pixels).convert("RGB")
    panels = [frame]
    if anomaly_map is not None:
        low, high = scale or (float(anomaly_map.min()), float(anomaly_map.max()))
        panels += [heat(anomaly_map, frame.size, low, high), overlay(pixels, anomaly_map, opacity, low, high)]
    drawn = arranged(panels, _GAP_PX)
    drawn.thumbnail((_LONGEST_PX, _LONGEST_PX))
    letters_px = max(_LETTERS_PX, min(drawn.width // 100, drawn.height // 8))
    caption, font, above_px = _caption(facts), ImageFont.load_default(letters_px), math.ceil(1.5 * letters_px) + 1
    sheet = Image.new(
        "RGB", (max(drawn.width, math.ceil(font.getlength(caption)) + 8), drawn.height + above_px), "white"
    )
    sheet.paste(drawn, (0, above_px))
    ImageDraw.Draw(sheet).text((4, 3), caption, fill="black", font=font)
    return sheet


def arranged(panels: Sequence[Image.Image], gap_px: int) -> Image.Image:
    """Pictures of one size in a row; one below the other where they are far wider than high, as line cameras send
    them."""
    width, height = panels[0].size
    across, down = (0, height + gap_px) if is_strip(width, height) else (width + gap_px, 0)
    last = len(panels) - 1
    sheet = Image.new("RGB", (last * across + width, last * down + height), "white")
    for i, panel in enumerate(panels):
        sheet.paste(panel, (i * across, i * down))
    return sheet


def is_strip(width: int, height: int) -> bool:
    return width > 2 * height


def _caption(facts: Mapping[str, str]) -> str:
    words = [facts.get("verdict", "")]
    if facts.get("score"):
        words.append(f"score {float(facts['score']):.4g}, threshold {float(facts['threshold']):.4g}")
    return "  ".join(words)
