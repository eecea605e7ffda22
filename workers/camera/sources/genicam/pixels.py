"""What a camera's sensor gives → a picture of 8 bits. Formats have their names of the Pixel Format Naming Convention
(PFNC, EMVA)."""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from harvesters.util.pfnc import Dictionary
from PIL import Image

# 14p is left out: harvesters 1.4.3 unpacks it wrongly.
_PLAIN = re.compile(
    r"(?P<order>Mono|(?:RGB|BGR)a?|Bayer(?P<first>RG|GR|GB|BG))(?P<bits>8|10|12|14|16)(?P<packing>(?<!14)(?:p|Packed))?"
)
_BRIGHTNESS_FIRST = ("YUV422_8", "YCbCr422_8")
_COLOUR_FIRST = ("YUV422_8_UYVY", "YCbCr422_8_CbYCrY")
"""Both give two pixels one colour, and each pixel two bytes."""
_MOSAICS = {"RG": "bayer_rggb8", "GR": "bayer_grbg8", "GB": "bayer_gbrg8", "BG": "bayer_bggr8"}
_CHANNELS = {"RGB": [0, 1, 2], "RGBa": [0, 1, 2], "BGR": [2, 1, 0], "BGRa": [2, 1, 0]}
_GROUP_BYTES = 15
"""A multiple of 5 and 3, in which packed pixels of 10 and 12 bits come."""

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


class PixelFormatError(ValueError):
    """The message says which format, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A picture as it came."""

    content: bytes
    width: int
    height: int
    format: str
    padding: int | None = 0
    """Bytes after each row. None: as many as the content leaves."""
    big_endian: bool = False
    """Where a value has two bytes."""


def is_known(format: str) -> bool:
    return format in _BRIGHTNESS_FIRST + _COLOUR_FIRST or (
        bool(_PLAIN.fullmatch(format)) and Dictionary.get_proxy(format) is not None
    )


def picture_of(raw: Raw) -> Image.Image:
    """Gray (mode L) or colour (RGB). Of more than 8 bits the highest 8 are kept, as the stream would.

    Raises PixelFormatError for an unknown format, or fewer bytes than the picture takes.
    """
    if raw.format in _BRIGHTNESS_FIRST + _COLOUR_FIRST:
        pairs = _rows(raw, 2.0).reshape(raw.height, raw.width, 2)
        return _through_ffmpeg(pairs if raw.format in _BRIGHTNESS_FIRST else pairs[..., ::-1], "yuyv422")
    layout = _PLAIN.fullmatch(raw.format)
    proxy = Dictionary.get_proxy(raw.format) if layout else None
    if layout is None or proxy is None:
        raise PixelFormatError(f"pictures in {raw.format} can't be read")
    channels = int(proxy.nr_components)
    if layout["packing"]:
        # GigE Vision's "Packed" gives two pixels three bytes, also where each has 10 bits.
        content = _rows(raw, 1.5 if layout["packing"] == "Packed" else proxy.depth_in_byte)
        content = np.pad(content, (0, -len(content) % _GROUP_BYTES))
    else:
        content = _rows(raw, proxy.alignment.unpacked_size * channels)
    values = proxy.expand(content)[: raw.height * raw.width * channels]
    if raw.big_endian and not layout["packing"]:
        values = values.byteswap()
    values = (values >> (int(layout["bits"]) - 8)).astype(np.uint8)
    if layout["order"] == "Mono":
        return Image.fromarray(values.reshape(raw.height, raw.width))
    if layout["first"]:
        return _through_ffmpeg(values.reshape(raw.height, raw.width), _MOSAICS[layout["first"]])
    pixels = values.reshape(raw.height, raw.width, channels)[..., _CHANNELS[layout["order"]]]
    return Image.fromarray(np.ascontiguousarray(pixels))


def _rows(raw: Raw, pixel_bytes: float) -> Bytes:
    """One after the other, without padding."""
    content = np.frombuffer(raw.content, np.uint8)
    row, rest = divmod(raw.width * pixel_bytes, 1)
    padding = raw.padding
    if padding is None:
        padding = 0 if rest or not raw.height else max(0, len(content) // raw.height - int(row))
    if padding and rest:
        raise PixelFormatError(f"rows of {raw.width} px in {raw.format} with padding can't be read")
    if not raw.width or not raw.height:
        raise PixelFormatError(f"a picture of {raw.width} × {raw.height} px")
    size = -int(-raw.height * (raw.width * pixel_bytes + padding) // 1)
    if len(content) < size:
        raise PixelFormatError(
            f"{raw.width} × {raw.height} px in {raw.format} take {size:,} bytes, {len(content):,} came"
        )
    content = content[:size]
    if padding:
        content = content.reshape(raw.height, -1)[:, : int(row)].reshape(-1)
    return content


def _through_ffmpeg(pixels: Bytes, format: str) -> Image.Image:
    import av  # here, because only such formats need it

    height, width = pixels.shape[:2]
    # FFmpeg reads pairs of rows and columns, beyond the end of what is odd. What is added has the colours of its place.
    even = [(0, side % 2) for side in (height, width)] + [(0, 0)] * (pixels.ndim - 2)
    padded = np.pad(pixels, even, mode="reflect" if min(height, width) > 1 else "edge")
    frame: Any = av.VideoFrame.from_ndarray(padded, format)
    picture: Image.Image = frame.to_image()
    return picture.crop((0, 0, width, height))
