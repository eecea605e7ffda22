"""Whatever a sensor sends becomes the picture that it saw."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.camera.sources.genicam.pixels import PixelFormatError, Raw, is_known, picture_of

pytestmark = pytest.mark.unit

MONO = ["Mono8", "Mono10", "Mono12", "Mono14", "Mono16", "Mono10p", "Mono12p", "Mono10Packed", "Mono12Packed"]


def as_sent(values: list[int], format: str) -> bytes:
    """One row, as the PFNC has it."""
    bits = int("".join(filter(str.isdigit, format)))
    if format.endswith("Packed"):  # two pixels in three bytes, their lowest bits in the middle one
        low = bits - 8
        mask = (1 << low) - 1
        pairs = zip(values[::2], [*values[1::2], 0], strict=False)
        return bytes(byte for a, b in pairs for byte in (a >> low, a & mask | (b & mask) << 4, b >> low))
    step = bits if format.endswith("p") else 16 if bits > 8 else 8
    together = sum(value << step * place for place, value in enumerate(values))
    return together.to_bytes(-(-len(values) * step // 8), "little")


@pytest.mark.parametrize("format", MONO)
@given(data=st.data())
def test_gray_keeps_its_highest_bits(format: str, data: st.DataObject) -> None:
    bits = int("".join(filter(str.isdigit, format)))
    width, height = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 4))
    count = width * height
    values = data.draw(st.lists(st.integers(0, 2**bits - 1), min_size=count, max_size=count))
    picture = picture_of(Raw(as_sent(values, format), width, height, format))
    assert picture.mode == "L"
    assert np.asarray(picture).ravel().tolist() == [value >> (bits - 8) for value in values]


@pytest.mark.parametrize("format", [f"{order}{bits}" for order in ("RGB", "BGR", "RGBa", "BGRa") for bits in (8, 12)])
def test_colours_are_told_apart(format: str) -> None:
    bits = 8 if format.endswith("8") else 12
    red, green, blue = (level << bits - 8 for level in (250, 120, 10))
    pixel = [red, green, blue] if format.startswith("RGB") else [blue, green, red]
    pixel += [0] if "a" in format else []
    picture = picture_of(Raw(as_sent(pixel * 6, format), 3, 2, format))
    assert picture.mode == "RGB"
    assert np.unique(np.asarray(picture).reshape(-1, 3), axis=0).tolist() == [[250, 120, 10]]


@pytest.mark.parametrize("first", ["RG", "GR", "GB", "BG"])
@pytest.mark.parametrize("format", ["8", "10", "12p", "12Packed"])
def test_a_mosaic_becomes_the_colour_that_it_stands_for(first: str, format: str) -> None:
    second = {"RG": "GB", "GR": "BG", "GB": "RG", "BG": "GR"}[first]
    bits = int("".join(filter(str.isdigit, format)))
    levels = {"R": 240, "G": 100, "B": 30}
    rows = [[levels[colour] << bits - 8 for colour in pair * 8] for pair in (first, second) * 8]
    content = as_sent([value for row in rows for value in row], format)
    picture = picture_of(Raw(content, 16, 16, f"Bayer{first}{format}"))
    assert picture.mode == "RGB"
    assert picture.getpixel((8, 8)) == picture.getpixel((7, 9)) == (240, 100, 30)


@pytest.mark.parametrize(
    ("format", "pair"), [("YUV422_8", (90, 128, 90, 128)), ("YCbCr422_8_CbYCrY", (128, 90, 128, 90))]
)
def test_halved_colour_without_colour_is_gray(format: str, pair: tuple[int, ...]) -> None:
    red, green, blue = picture_of(Raw(bytes(pair) * 8, 8, 2, format)).getpixel((3, 1))
    assert red == green == blue
    assert 80 < red < 95


@given(width=st.integers(1, 9), height=st.integers(1, 5), padding=st.integers(1, 4))
def test_what_fills_a_row_up_is_left_out(width: int, height: int, padding: int) -> None:
    row = bytes(range(width)) + b"\xff" * padding
    pixels = np.asarray(picture_of(Raw(row * height, width, height, "Mono8", padding)))
    assert (pixels == np.arange(width)).all()


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (Raw(b"1234", 3, 2, "Mono8"), "3 × 2 px in Mono8 take 6 bytes, 4 came"),
        (Raw(b"1234", 1, 1, "Coord3D_ABC32f"), "Coord3D_ABC32f can't be read"),
        (Raw(b"1234567", 1, 2, "Mono12p", 2), "rows of 1 px in Mono12p with padding can't be read"),
    ],
)
def test_a_picture_that_can_not_be_read_is_refused(raw: Raw, told: str) -> None:
    with pytest.raises(PixelFormatError, match=told):
        picture_of(raw)


def test_formats_that_the_library_unpacks_wrongly_are_unknown() -> None:
    assert is_known("Mono14")
    assert not is_known("Mono14p")
