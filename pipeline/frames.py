"""From bytes to pixels, and the checks that make a frame NOT_DECIDABLE."""

import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from pipeline.detectors.bundle import BundleInfo, QualityLimits
from pipeline.events import DeadReason, Doubt, Frame, to_ms
from pipeline.topics import MAX_FRAME_BYTES
from pipeline.torn.jpeg import hold_back, is_torn
from pipeline.torn.png import lacks_rows

Mode = Literal["gray", "rgb"]

_GRAY = frozenset({"1", "L", "LA", "I", "I;16"})

OTHER_MODE: Mapping[Mode, str] = {
    "gray": "sees gray alone: a stain as bright as the part around it escapes it",
    "rgb": "was trained in colour: to it these are parts that lost theirs",
}
"""What a model of this mode makes of images that are stored in the other. They are brought to its own."""

MAX_FRAME_PIXELS = 64 * 1024 * 1024
"""Decoded pixels. A small file may claim to hold far more; its header is read before any pixel is."""

_MAX_SCANS = 100
"""Passes over the picture in a progressive JPEG; encoders make some ten. One of 4 MiB may hold 300,000 that change
nothing, and each goes through all pixels: no replica lives through that, nor does the next that meets the frame."""
_SCAN = b"\xff\xda"

_STRIP_PIXELS = 256 * 1024
"""What is worked on at a stretch, so that it stays in the processor's cache."""

_TERMS = 2048
"""So many squares of a Laplacian, each at most 1020², fit into 31 bits."""

# Our own limit is lower. A filter for good, since `catch_warnings` is not safe among threads.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)


class FrameError(ValueError):
    """A frame that can't be scored, and why."""

    def __init__(self, reason: DeadReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    pixels: NDArray[np.uint8]
    """(H, W) gray or (H, W, 3) RGB, as was asked."""
    stored: Mode
    """As the sender had it."""


def pixels_of(value: bytes | None) -> int:
    """By the header; 0 where `decode_frame` would refuse it before it decodes anything."""
    try:
        width, height = _open(value or b"").size
    except Exception:  # as there: Pillow raises anything on hostile bytes
        return 0
    return width * height if width * height <= MAX_FRAME_PIXELS else 0


def decode(value: bytes | None, mode: Mode) -> NDArray[np.uint8]:
    """The pixels of `decode_frame`. Raises FrameError."""
    return decode_frame(value, mode).pixels


def decode_frame(value: bytes | None, mode: Mode) -> Decoded:
    """Decodes a PNG or JPEG.

    16-bit gray is scaled to 8 bits over its full range, an alpha channel is dropped, a palette is looked up.
    Raises FrameError; MemoryError where this machine is short of it, which says nothing of the frame.
    """
    if not value:
        raise FrameError(DeadReason.EMPTY, "the record holds no bytes")
    if len(value) > MAX_FRAME_BYTES:
        raise FrameError(DeadReason.TOO_LARGE, f"{len(value)} bytes; at most {MAX_FRAME_BYTES} are allowed")
    try:
        image = _open(value)
        width, height = image.size
        if width * height > MAX_FRAME_PIXELS:
            raise FrameError(
                DeadReason.TOO_LARGE,
                f"the header says {width} × {height} pixels; at most {MAX_FRAME_PIXELS} are allowed",
            )
        stored = stored_as(image)
        if image.format == "PNG":
            pixels, torn = _to_array(image, mode), lacks_rows(value, image)
        else:
            # Anywhere: what a decoder takes for a part of the header is a matter of opinion.
            if (scans := value.count(_SCAN)) > _MAX_SCANS:
                detail = f"a JPEG of {scans} passes over its picture; at most {_MAX_SCANS} are allowed"
                raise FrameError(DeadReason.TOO_LARGE, detail)
            finished = hold_back(image, value)
            pixels = _to_array(image, mode)
            torn = is_torn(value, pixels, finished(), lambda other: _to_array(_open(other), mode))
        if torn:
            kind = "PNG" if image.format == "PNG" else "JPEG"
            raise FrameError(DeadReason.UNDECODABLE, f"not a whole {kind}: a part of its data is missing")
        return Decoded(pixels, stored)
    except (FrameError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        detail = f"the header says far more than the {MAX_FRAME_PIXELS} pixels that are allowed"
        raise FrameError(DeadReason.TOO_LARGE, detail) from error
    except UnidentifiedImageError as error:  # which names an object in memory
        detail = f"not a whole PNG or JPEG: its {len(value)} bytes begin with {value[:12]!r}"
        raise FrameError(DeadReason.UNDECODABLE, detail) from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error … on hostile bytes.
        raise FrameError(DeadReason.UNDECODABLE, f"not a whole PNG or JPEG: {error}") from error


def stored_as(image: Image.Image) -> Mode:
    """By its header; loading an image may change its palette."""
    if image.mode == "P" and image.palette:  # as Windows writes mono cameras' PNG; `getpalette` would read every pixel
        red, green, blue = (image.palette.palette[channel::3] for channel in range(3))
        return "gray" if red == green == blue else "rgb"
    return "gray" if image.mode in _GRAY else "rgb"


def _open(value: bytes) -> ImageFile.ImageFile:
    return Image.open(io.BytesIO(value), formats=("PNG", "JPEG"))


def _to_array(image: Image.Image, mode: Mode) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.uint32)
        gray = Image.fromarray(np.minimum(wide // 257, 255).astype(np.uint8))
    elif image.mode in ("L", "RGB"):
        gray = image
    else:
        # Through RGB: converting a palette or alpha image straight to L would mix in the transparent colour.
        gray = image.convert("RGB")
    return np.asarray(gray.convert("L" if mode == "gray" else "RGB"), dtype=np.uint8)


def mean_level(gray: NDArray[np.uint8]) -> float:
    """Mean gray level, 0–255, of an (H, W) frame."""
    height, width = gray.shape
    # Along the shorter side, whose sums fit into 32 bits: one sum of 64 takes twice the time.
    lines = gray.sum(axis=0 if height <= width else 1, dtype=np.uint32)
    return int(lines.sum(dtype=np.int64)) / int(gray.size)


def sharpness(gray: NDArray[np.uint8]) -> float:
    """Variance of the 4-neighbour Laplacian over the interior of an (H, W) frame: small when it is out of focus."""
    if min(gray.shape) < 3:
        return 0.0
    height, width = gray.shape
    squares = 0
    # In strips: a whole frame of 64 megapixels takes 1.2 GB here, and to get those from the system 100 times as long.
    step = max(1, _STRIP_PIXELS // width)
    for top in range(0, height - 2, step):
        terms = _laplacian(gray[top : top + step + 2]).astype(np.int32)
        terms *= terms
        whole = terms.size // _TERMS * _TERMS
        sums = terms[:whole].reshape(-1, _TERMS).sum(axis=1, dtype=np.int32)
        squares += int(sums.sum(dtype=np.int64)) + int(terms[whole:].sum(dtype=np.int64))
    pixels: int = (height - 2) * (width - 2)
    mean: float = _sum_of_laplacian(gray) / pixels
    return squares / pixels - mean * mean


def _laplacian(strip: NDArray[np.uint8]) -> NDArray[np.int16]:
    """Of a strip's inner rows, one behind the other, 0 at both ends of each. In whole numbers of 16 bits, which hold
    every step exactly; over all rows at once, since many short ones take twice the time."""
    width = strip.shape[1]
    levels = strip.astype(np.int16).ravel()
    inner = levels[width:-width]
    found = inner * np.int16(-4)
    found += levels[: -2 * width]
    found += levels[2 * width :]
    found[1:] += inner[:-1]
    found[:-1] += inner[1:]
    rows = found.reshape(-1, width)
    rows[:, 0] = rows[:, -1] = 0
    return found


def _sum_of_laplacian(gray: NDArray[np.uint8]) -> int:
    """Over the interior. Within a row or a column all but the steps at its two ends cancel out."""
    rows, columns = gray[1:-1], gray[:, 1:-1]
    outer = (rows[:, 0], rows[:, -1], columns[0], columns[-1])
    inner = (rows[:, 1], rows[:, -2], columns[1], columns[-2])
    return sum(int(line.sum(dtype=np.int64)) for line in outer) - sum(int(line.sum(dtype=np.int64)) for line in inner)


@dataclass(frozen=True)
class TimingLimits:
    """When a frame's clock or its sameness makes it NOT_DECIDABLE."""

    late_after_s: float
    """From capture to arrival at the broker."""
    future_after_s: float
    """How far a camera's clock may run ahead of the broker's."""
    frozen_after: int
    """So many equal frames before this one mean that the camera hangs."""


DOUBTS_OF_FACTS = frozenset({Doubt.LATE, Doubt.FUTURE, Doubt.FROZEN})
"""They hold whichever bundle judges."""


def doubts_of_facts(frame: Frame, arrived_ms: int, limits: TimingLimits) -> list[Doubt]:
    """What the record alone says. Judged against the broker's arrival time, never against the present: the same
    record read again must get the same verdict."""
    found = []
    age_s = (arrived_ms - to_ms(frame.captured_at)) / 1000
    if age_s > limits.late_after_s:
        found.append(Doubt.LATE)
    if age_s < -limits.future_after_s:
        found.append(Doubt.FUTURE)
    if frame.repeats >= limits.frozen_after:
        found.append(Doubt.FROZEN)
    return found


def doubts_of_picture(pixels: NDArray[np.uint8], info: BundleInfo) -> list[Doubt]:
    """What speaks against a bundle judging this frame, (H, W) or (H, W, 3): its size, and what the picture says."""
    fits = info.input.accepts(*pixels.shape[:2])
    return [*([] if fits else [Doubt.WRONG_SIZE]), *doubts_of_pixels(to_gray(pixels), info.calibration.quality)]


def doubts_of_pixels(gray: NDArray[np.uint8], limits: QualityLimits) -> list[Doubt]:
    """What the picture says: too dark, too bright, out of focus."""
    found = []
    level = mean_level(gray)
    if level < limits.dark_below:
        found.append(Doubt.DARK)
    if level > limits.bright_above:
        found.append(Doubt.BRIGHT)
    if sharpness(gray) < limits.blurred_below:
        found.append(Doubt.BLURRED)
    return found


def to_gray(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) as it is; (H, W, 3) by the ITU-R 601 luma, as Pillow does."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
