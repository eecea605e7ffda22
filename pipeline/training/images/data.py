"""Images on disk → arrays. Everything that is wrong with them is said at once, file by file."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from pipeline.counting import counted, named
from pipeline.detectors.bundle import InputSpec
from pipeline.errors import AndonError
from pipeline.frames import MAX_FRAME_PIXELS, OTHER_MODE, FrameError, Mode, decode, stored_as
from pipeline.training.threshold.calibrate import Light, light_of
from pipeline.training.track import Track, untracked

Frame = NDArray[np.uint8]
"""(H, W) gray or (H, W, 3) RGB."""
SUFFIXES = frozenset({".png", ".jpg", ".jpeg"})
"""What cameras may send is what one may train on."""
OTHER_PICTURES = frozenset(
    {".bmp", ".tif", ".tiff", ".webp", ".gif", ".jp2", ".jfif", ".heic", ".avif", ".pgm", ".ppm", ".pnm", ".dng"}
)
_FILES_NAMED = 10
_NUMBERED = 32
_DIM = 64
"""14 bits in 16-bit images come to 63 at most."""


class DataError(AndonError):
    """Images that cannot be trained or evaluated on. The message names the files and says what to do."""


@dataclass(frozen=True)
class Stored:
    """How the images that can be read are stored."""

    gray: tuple[Path, ...]
    """With one channel."""
    colour: tuple[Path, ...]
    turned: tuple[Path, ...] = ()
    """JPEGs whose EXIF asks whoever shows them to turn or mirror them."""

    @property
    def mode(self) -> Mode:
        """'rgb' where there is any colour: a model that sees gray is blind to every stain of another hue."""
        return "rgb" if self.colour else "gray"

    @property
    def notes(self) -> tuple[str, ...]:
        """For a person."""
        return (*self._on_mixture(), *self.on_turned())

    def on_turned(self) -> Iterator[str]:
        """Viewers and painting programs show such images turned, so that masks drawn there do not lie where they
        should: across they are of another size, upside down nobody would notice."""
        if self.turned:
            yield (
                f"{len(self.turned)} of {len(self.gray) + len(self.colour)} images are to be turned when they are "
                "shown (EXIF), and are taken as they are stored, here and in the stream: masks must fit that, too: "
                f"{listed(self.turned)}"
            )

    def on_a_model(self, mode: Mode) -> Iterator[str]:
        """For a person, where a model of this mode looks at images of the other."""
        other, stored = (self.colour, "in colour") if mode == "gray" else (self.gray, "in gray")
        if other:
            yield (
                f"{len(other)} of {counted(len(self.gray) + len(self.colour), 'image')} stored {stored}, and the model "
                f"{OTHER_MODE[mode]}. Train on images of this camera: {listed(other)}"
            )

    def _on_mixture(self) -> Iterator[str]:
        if not self.gray or not self.colour:
            return
        some, what = (self.gray, "gray") if len(self.gray) <= len(self.colour) else (self.colour, "in colour")
        of = len(self.gray) + len(self.colour)
        are = f"{len(some)} of {of} images {'is' if len(some) == 1 else 'are'} {what}"
        yield f"{are}; the model is trained in colour. Take them out if the camera sends none such: {listed(some)}"


def listed(paths: Iterable[Path]) -> str:
    """The first of them, each with its folder: in most data sets every class has a 000.png."""
    return named(f"{path.parent.name}/{path.name}" for path in paths)


def how_stored(paths: Sequence[Path]) -> Stored:
    """By the files' headers. Those that cannot be read are left out: whoever loads all of them names each."""
    kinds: dict[bool, list[Path]] = {True: [], False: []}
    turned = []
    for path in paths:
        try:
            with Image.open(path) as image:
                # Of a PNG every pixel would be read for it.
                turns = image.format == "JPEG" and image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
                kinds[stored_as(image) == "gray"].append(path)
        except Exception:  # Pillow raises many kinds
            continue
        if turns:
            turned.append(path)
    return Stored(tuple(kinds[True]), tuple(kinds[False]), tuple(turned))


@dataclass(frozen=True)
class Looked:
    """What a training must know of an image before it begins."""

    shape: tuple[int, ...]
    """Of its frame."""
    brightest: int
    light: Light
    pixels: str
    """See `pixels_of`."""


def look_at(paths: Sequence[Path], mode: Mode, track: Track = untracked) -> dict[Path, Looked]:
    """Decodes every image, and keeps none: see `Frames`. Raises DataError that names every unreadable file."""
    looked: dict[Path, Looked] = {}
    faults: list[str] = []
    for number in track(range(len(paths)), "looking at images"):
        try:
            frame = read_frame(paths[number], mode)
        except DataError as error:
            faults.append(str(error))
        else:
            looked[paths[number]] = Looked(frame.shape, int(frame.max(initial=0)), light_of(frame), pixels_of(frame))
    refuse(faults, len(paths))
    return looked


class Frames(Sequence[Frame]):
    """The frames of files that were looked at, each decoded whenever it is asked for: all at once would fill the
    memory, 5,000 photos of 5 megapixels in colour with 75 GB. Raises DataError for a file that can no longer be read,
    or holds another size by now."""

    def __init__(self, paths: Sequence[Path], mode: Mode, looked: Mapping[Path, Looked]) -> None:
        self.paths, self._mode = tuple(paths), mode
        self._looked = looked

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [self._looked[path].shape for path in self.paths]

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, place: int) -> Frame: ...

    @overload
    def __getitem__(self, place: slice) -> "Frames": ...

    def __getitem__(self, place: int | slice) -> "Frame | Frames":
        if isinstance(place, slice):
            return Frames(self.paths[place], self._mode, self._looked)
        path = self.paths[place]
        frame = read_frame(path, self._mode)
        if frame.shape != self._looked[path].shape:
            raise DataError(f"{path}: was changed while the training ran; begin it again")
        return frame


def shapes_of(frames: Sequence[Frame]) -> list[tuple[int, ...]]:
    """Without decoding any."""
    return frames.shapes if isinstance(frames, Frames) else [frame.shape for frame in frames]


def on_brightness(looked: Mapping[Path, Looked]) -> tuple[str, ...]:
    """For a person, where all frames are so dark that they can hardly be of a camera's full range."""
    brightest = max((one.brightest for one in looked.values()), default=_DIM)
    if brightest >= _DIM:
        return ()
    return (
        f"the brightest level of all images is {brightest} of 255: 16-bit images are scaled by their full range, so 12 "
        "bits in them leave 16 levels; let the camera fill the range, or multiply (12 bits by 16), in the stream too",
    )


def read_frame(path: Path, mode: Mode) -> Frame:
    """(H, W) in 'gray', (H, W, 3) in 'rgb', decoded exactly as the stream decodes its frames. Raises DataError."""
    try:
        return decode(path.read_bytes(), mode)
    except FileNotFoundError as error:
        what = "leads to a file that is not there" if path.is_symlink() else "is not there any more"
        raise DataError(f"{path}: {what}") from error
    except (OSError, FrameError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error


def refuse(faults: Sequence[str], images: int) -> None:
    """Raises DataError that lists the faults, one a file, if there are any."""
    if faults:
        rest = f"\n… and {len(faults) - _FILES_NAMED} more" if len(faults) > _FILES_NAMED else ""
        listed = "\n".join(faults[:_FILES_NAMED])
        raise DataError(f"{len(faults)} of {images} images cannot be used; repair or remove them:\n{listed}{rest}")


def is_named(path: Path, suffixes: frozenset[str]) -> bool:
    """What is hidden is no picture: a Mac lays a ._part.png beside every part.png on a disk that is not its own."""
    return path.suffix.lower() in suffixes and not path.name.startswith(".")


def pictures_in(folder: Path) -> tuple[Path, ...]:
    """PNG and JPEG files right in the folder, by name; none where there is no folder. Links whose files are gone are
    among them: whoever reads one says so.

    Raises DataError that names pictures of formats that cameras do not send: left out in silence, they would be missed.
    """
    if not folder.is_dir():
        return ()
    files = sorted(path for path in folder.iterdir() if path.is_file() or not path.exists())
    refuse(
        [f"{path}: only PNG and JPEG are read; convert it" for path in files if is_named(path, OTHER_PICTURES)],
        len(files),
    )
    return tuple(path for path in files if is_named(path, SUFFIXES))


def read_mask(path: Path) -> NDArray[np.bool_]:
    """(H, W), True where a defect is marked: levels from 128 up, since painted and scaled masks have soft borders;
    every level but 0 in a mask that numbers its defects (no level above 32), as VisA's do. In colours the highest
    channel is the level; a palette of colours names kinds of defects, and all but black is marked. Where it is
    transparent nothing is marked. Raises DataError."""
    try:
        with Image.open(path, formats=("PNG", "JPEG")) as image:
            if image.width * image.height > MAX_FRAME_PIXELS:
                raise DataError(f"{path}: is larger than {MAX_FRAME_PIXELS} pixels")
            levels = _levels(image)
    except DataError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds
        raise DataError(f"{path}: cannot be read ({error})") from error
    highest = int(levels.max(initial=0))
    marked: NDArray[np.bool_] = levels > 0 if highest <= _NUMBERED else levels >= 128
    return marked


def _levels(image: Image.Image) -> NDArray[Any]:
    if image.mode in ("1", "L"):
        return np.asarray(image)
    if image.mode.startswith("I"):
        wide = np.asarray(image)
        return wide // 257 if wide.max(initial=0) > 255 else wide
    colours = _on_black(image)
    levels: NDArray[np.uint8] = colours.max(axis=2)
    # A palette's numbers say nothing: whatever shrinks a file may give white the first.
    names_kinds = image.mode == "P" and bool((levels > colours.min(axis=2)).any())
    return levels >= _NUMBERED if names_kinds else levels


def _on_black(image: Image.Image) -> NDArray[np.uint8]:
    """(H, W, 3); what is transparent is black. Painting programs keep a white mask's shape in its alpha."""
    if image.has_transparency_data:
        opaque = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", opaque.size, (0, 0, 0, 255)), opaque)
    return np.asarray(image.convert("RGB"))


def fingerprint(path: Path) -> str:
    """12 hex digits of the SHA-256 of the file: by these a bundle names the images that it was fitted on."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def pixels_of(frame: Frame) -> str:
    """The same of (H, W) or (H, W, 3) pixels, whatever file they came in."""
    return hashlib.sha256(repr(frame.shape).encode() + frame.tobytes()).hexdigest()[:12]


def input_spec(shapes: Mapping[Path, tuple[int, ...]], mode: Mode, min_side_px: int) -> InputSpec:
    """What a model that was trained on frames of these shapes may judge: their one size, or, when they differ, any size
    from `min_side_px` up. Raises DataError that names the frames that lie below."""
    heights, widths = ([shape[axis] for shape in shapes.values()] for axis in (0, 1))
    shortest = sorted(shapes, key=lambda path: min(shapes[path][:2]))
    small = [path for path in shortest if min(shapes[path][:2]) < min_side_px]
    if small:
        names = named((path.name for path in small), _FILES_NAMED)
        smaller = " (CFLOW takes them from 32 px up)" if min_side_px > 32 else ""
        raise DataError(
            f"{len(small)} of {len(shapes)} images go down to {size_text(shapes[small[0]])}, and this model "
            f"takes no side below {min_side_px} px: take them out, or give larger ones{smaller}: {names}"
        )
    one_size = len(set(shapes.values())) == 1
    return InputSpec(
        height_px=max(heights), width_px=max(widths), mode=mode, min_side_px=None if one_size else min_side_px
    )


def size_text(shape: tuple[int, ...]) -> str:
    """'width × height px' of an array's shape."""
    return f"{shape[1]} × {shape[0]} px"
