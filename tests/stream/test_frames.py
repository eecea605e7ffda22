"""Bytes to pixels: what can't be read is named, what can be read is judged."""

import io
import re
import struct
import tracemalloc
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from support.stream import frame, picture

from pipeline.detectors.bundle import QualityLimits
from pipeline.events import DeadReason, Doubt, to_ms
from pipeline.frames import (
    FrameError,
    Mode,
    TimingLimits,
    decode,
    doubts_of_facts,
    doubts_of_pixels,
    mean_level,
    pixels_of,
    sharpness,
)
from pipeline.topics import MAX_FRAME_BYTES

pytestmark = pytest.mark.unit


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def bomb(side: int) -> bytes:
    """A PNG of a few bytes whose header claims side × side pixels."""
    return _png(side, 8, bytes(100), interlaced=False)


def progressive(passes: int) -> bytes:
    """A JPEG whose last pass comes again and again, and changes nothing."""
    out = io.BytesIO()
    Image.new("L", (64, 64)).save(out, "JPEG", progressive=True)
    whole = out.getvalue()
    last = whole[whole.rindex(b"\xff\xda") : -2]
    return whole[:-2] + last * (passes - whole.count(b"\xff\xda")) + b"\xff\xd9"


def _png(side: int, bits: int, rows: bytes, interlaced: bool) -> bytes:
    """A gray one."""
    header = struct.pack(">IIBBBBB", side, side, bits, 0, 0, 0, interlaced)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


@pytest.mark.parametrize(
    ("value", "reason", "says"),
    [
        (None, DeadReason.EMPTY, "no bytes"),
        (b"", DeadReason.EMPTY, "no bytes"),
        (b"hello", DeadReason.UNDECODABLE, "not a whole PNG or JPEG: its 5 bytes begin with b'hello'"),
        (picture(seed=1)[:-40], DeadReason.UNDECODABLE, "not a whole PNG or JPEG"),
        (b"x" * (MAX_FRAME_BYTES + 1), DeadReason.TOO_LARGE, "at most 4194304"),
        (bomb(50_000), DeadReason.TOO_LARGE, "far more than the 67108864 pixels"),
        (bomb(9_000), DeadReason.TOO_LARGE, "9000 × 9000 pixels"),
        (progressive(101), DeadReason.TOO_LARGE, "101 passes over its picture"),
        (encoded(Image.new("L", (8, 8)), "GIF"), DeadReason.UNDECODABLE, "not a whole PNG or JPEG"),
    ],
    ids=["none", "empty", "text", "truncated", "too many bytes", "bomb", "small bomb", "many passes", "another format"],
)
def test_what_cannot_be_decoded_is_named(value: bytes | None, reason: DeadReason, says: str) -> None:
    with pytest.raises(FrameError, match=says) as error:
        decode(value, "gray")
    assert error.value.reason is reason


def test_a_frame_weighs_as_many_pixels_as_are_decoded() -> None:
    assert pixels_of(picture(size=(30, 20))) == 600
    assert [pixels_of(value) for value in (None, b"", b"junk", bomb(50_000), bomb(9_000))] == [0] * 5


def test_every_mode_becomes_gray_or_rgb() -> None:
    level = 100
    flat = np.full((4, 6), level, np.uint8)
    rgba = np.dstack([flat, flat, flat, np.zeros_like(flat)])
    images = {
        "gray": Image.fromarray(flat),
        "16-bit": Image.fromarray(flat.astype(np.uint16) * 257),
        "rgb": Image.fromarray(np.dstack([flat] * 3)),
        "rgba": Image.fromarray(rgba),
        "gray with alpha": Image.fromarray(np.dstack([flat, flat * 0]), "LA"),
        "palette": Image.fromarray(np.dstack([flat] * 3)).quantize(4),
    }
    for name, image in images.items():
        gray, rgb = decode(encoded(image), "gray"), decode(encoded(image), "rgb")
        assert gray.shape == (4, 6), name
        assert rgb.shape == (4, 6, 3), name
        assert gray.dtype == np.uint8
        assert abs(int(gray[0, 0]) - level) <= 1, name
        assert abs(int(rgb[0, 0, 1]) - level) <= 1, name


@given(st.binary(max_size=300))
def test_hostile_bytes_raise_nothing_else(tail: bytes) -> None:
    for value in (tail, picture()[:60] + tail, b"\xff\xd8\xff" + tail):
        with suppress(FrameError):
            decode(value, "gray")


def _jpeg(pixels: NDArray[np.uint8], **save: object) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", **save)
    return out.getvalue()


@pytest.mark.parametrize("mode", ["gray", "rgb"])
@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 3)], ids=["gray", "colour"])
@pytest.mark.parametrize("filled", [False, True], ids=["with an end of its own", "filled with zeros"])
def test_a_picture_that_lost_its_rest_is_not_taken_for_a_whole_one(
    mode: Mode, shape: tuple[int, ...], filled: bool
) -> None:
    """The decoder filled the rest with gray, and half a part was judged as a whole one."""
    whole = _jpeg(np.clip(np.random.default_rng(0).normal(100, 30, shape), 0, 255).astype(np.uint8), quality=90)
    half = len(whole) // 2
    end = bytes(half * 2) if filled else b"\xff\xd9"
    with pytest.raises(FrameError, match="not a whole JPEG: a part") as torn:
        decode(whole[:half] + end, mode)
    assert torn.value.reason is DeadReason.UNDECODABLE


@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 3)], ids=["gray", "colour"])
@pytest.mark.parametrize("save", [{"quality": 75}, {"quality": 95, "optimize": True}, {"restart_marker_blocks": 8}])
def test_a_picture_with_a_hole_in_its_middle_is_not_taken_for_a_whole_one(
    save: dict[str, object], shape: tuple[int, ...], at: float
) -> None:
    """As a disk leaves it that lost a page: all behind the hole is shifted, and was judged."""
    whole = _jpeg(_noise(shape), **save)
    begin = int(len(whole) * at)
    with pytest.raises(FrameError, match="not a whole JPEG: a part"):
        decode(whole[:begin] + bytes(4096) + whole[begin + 4096 :], "gray")


@pytest.mark.parametrize("shape", [(200, 300), (200, 300, 3)], ids=["gray", "colour"])
def test_a_progressive_picture_whose_finer_passes_never_came_is_not_taken_for_a_whole_one(
    shape: tuple[int, ...],
) -> None:
    whole = _jpeg(_noise(shape), progressive=True)
    scans = [match.start() for match in re.finditer(b"\xff\xda", whole)]
    assert len(scans) > 4
    for begin in scans[1:]:
        with pytest.raises(FrameError, match="not a whole JPEG: a part"):
            decode(whole[:begin] + b"\xff\xd9", "gray")


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_ends_in_good_order_with_too_few_rows_is_not_taken_for_a_whole_one(interlaced: bool) -> None:
    for bits, side in ((8, 30), (16, 31), (1, 9)):
        row = 1 + -(-side * bits // 8)
        rows = [_pass_bytes(side, bits, *each) for each in _ADAM7] if interlaced else [row * side]
        whole = _png(side, bits, bytes(sum(rows)), interlaced)
        assert decode(whole, "gray").shape == (side, side)
        with pytest.raises(FrameError, match="not a whole PNG: a part"):
            decode(_png(side, bits, bytes(sum(rows) - row), interlaced), "gray")


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def _pass_bytes(side: int, bits: int, column: int, row: int, step: int, stride: int) -> int:
    columns, rows = len(range(column, side, step)), len(range(row, side, stride))
    return rows * (1 + (columns * bits + 7) // 8) if columns else 0


def _noise(shape: tuple[int, ...]) -> NDArray[np.uint8]:
    return np.clip(np.random.default_rng(0).normal(100, 30, shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "save", [{}, {"subsampling": 0}, {"optimize": True}, {"progressive": True}, {"restart_marker_blocks": 3}]
)
@pytest.mark.parametrize("size", [(1, 1), (1, 300), (16, 16), (217, 133)])
def test_a_whole_picture_of_any_kind_is_taken(size: tuple[int, int], save: dict[str, object]) -> None:
    flat = np.full((*size, 3), 7, np.uint8)
    for image in (Image.fromarray(_noise(size)), Image.fromarray(_noise((*size, 3))), Image.fromarray(flat)):
        for mode in ("L", "RGB", "CMYK"):
            out = io.BytesIO()
            image.convert(mode).save(out, "JPEG", **save)
            whole = out.getvalue()
            assert decode(whole, "gray").shape == size
            # Some cameras fill up before the end, and some put a few bytes there.
            for more in (b"\xff" * 500, bytes(500), bytes(range(1, 21))):
                assert decode(whole[:-2] + more + whole[-2:], "gray").shape == size
        for mode in ("L", "RGB", "RGBA", "LA", "P", "1", "I;16"):
            assert decode(encoded(image.convert("L").convert(mode)), "gray").shape == size


@pytest.mark.parametrize("save", [{}, {"subsampling": 0}, {"progressive": True}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (50, 71)])
def test_a_whole_picture_may_end_as_gray_as_a_torn_one(size: tuple[int, int], save: dict[str, object]) -> None:
    exif = Image.Exif()
    exif[0x010E] = "an end \xff\xd9 of its own"
    for pixels in (np.full(size, 128, np.uint8), np.full((*size, 3), 128, np.uint8)):
        for trailer in (b"", b"what a vendor adds \xff\xda"):
            assert (decode(_jpeg(pixels, exif=exif, **save) + trailer, "gray") == 128).all()


def test_dark_bright_and_blurred_pictures_are_not_decidable() -> None:
    limits = QualityLimits(dark_below=10, bright_above=240, blurred_below=5)
    noise = np.random.default_rng(0).integers(90, 160, (64, 64)).astype(np.uint8)
    smooth: NDArray[np.uint8] = np.tile(np.linspace(80, 120, 64), (64, 1)).astype(np.uint8)
    assert doubts_of_pixels(noise, limits) == []
    assert doubts_of_pixels(np.zeros((64, 64), np.uint8), limits) == [Doubt.DARK, Doubt.BLURRED]
    assert doubts_of_pixels(np.full((64, 64), 255, np.uint8), limits) == [Doubt.BRIGHT, Doubt.BLURRED]
    assert doubts_of_pixels(smooth, limits) == [Doubt.BLURRED]


def test_sharpness_is_the_variance_of_the_laplacian() -> None:
    gray = np.random.default_rng(3).integers(0, 256, (9, 7)).astype(np.uint8)
    laplacian = [
        int(gray[y - 1, x]) + int(gray[y + 1, x]) + int(gray[y, x - 1]) + int(gray[y, x + 1]) - 4 * int(gray[y, x])
        for y in range(1, 8)
        for x in range(1, 6)
    ]
    assert sharpness(gray) == pytest.approx(np.var(laplacian))


@pytest.mark.parametrize("shape", [(1500, 700), (3, 400_000), (400_000, 3), (513, 512)])
def test_sharpness_does_not_depend_on_how_a_frame_is_cut_into_strips(shape: tuple[int, int]) -> None:
    gray = np.random.default_rng(4).integers(0, 256, shape).astype(np.int64)
    inner = gray[1:-1, 1:-1]
    laplacian = gray[:-2, 1:-1] + gray[2:, 1:-1] + gray[1:-1, :-2] + gray[1:-1, 2:] - 4 * inner
    assert sharpness(gray.astype(np.uint8)) == pytest.approx(np.var(laplacian), rel=1e-12)


@pytest.mark.parametrize("shape", [(4100, 4100), (3, 9000), (9000, 3)])
def test_the_loudest_frame_fits_into_the_sums(shape: tuple[int, int]) -> None:
    """A chessboard of single pixels: each square of its Laplacian is as large as one can be."""
    board = ((np.indices(shape).sum(axis=0) % 2) * 255).astype(np.uint8)
    odd = (shape[0] - 2) * (shape[1] - 2) % 2  # then there is one more of one sign
    assert sharpness(board) == pytest.approx(1020**2 * (1 - (odd / ((shape[0] - 2) * (shape[1] - 2))) ** 2), rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 20_000_000), (20_000_000, 1), (300, 300)])
def test_the_level_of_the_brightest_frame_is_white_whatever_its_shape(shape: tuple[int, int]) -> None:
    assert mean_level(np.full(shape, 255, np.uint8)) == 255


def test_a_huge_frame_is_looked_at_in_a_small_part_of_its_memory() -> None:
    """A replica looks at as many at once as it has cores: sixteen of 64 megapixels took 20 GB."""
    gray = np.full((4096, 4096), 90, np.uint8)
    tracemalloc.start()
    doubts_of_pixels(gray, QualityLimits(dark_below=10, bright_above=240, blurred_below=5))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < gray.nbytes


def test_clock_and_sameness_are_judged_by_the_record_alone() -> None:
    limits = TimingLimits(late_after_s=60, future_after_s=5, frozen_after=3)
    facts = frame(0)
    captured_ms = to_ms(facts.captured_at)
    assert doubts_of_facts(facts, captured_ms + 1_000, limits) == []
    assert doubts_of_facts(facts, captured_ms + 61_000, limits) == [Doubt.LATE]
    assert doubts_of_facts(facts, captured_ms - 6_000, limits) == [Doubt.FUTURE]
    assert doubts_of_facts(frame(0, repeats=3), captured_ms, limits) == [Doubt.FROZEN]
