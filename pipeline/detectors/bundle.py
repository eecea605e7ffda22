"""A model on disk: `model.safetensors` and `bundle.json`, and nothing that runs code when it is read."""

import hashlib
import shutil
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, computed_field, field_validator
from pydantic_core import from_json

from pipeline.counting import named
from pipeline.errors import AndonError
from pipeline.files.durable import names_to_disk, naming, to_disk

WEIGHTS = "model.safetensors"
MANIFEST = "bundle.json"
CARD = "README.md"
_DRAFT = ".part"
SCHEMA_VERSION: Final = 1

_LARGER, _ALWAYS_PIXELS = 4, 4 * 1024 * 1024
"""So many times the pixels of the largest image in training, or so many pixels where that is more: who trains on small
pieces may have whole frames judged. What a network holds grows with the frame: one of 64 megapixels takes a replica
16 GB, and its end would be that of every replica that meets the frame after it."""


class BundleError(AndonError):
    """A bundle that must not be used: missing files, weights of another hash, an unknown method or version."""


class _Frozen(BaseModel):
    # No score reaches a threshold of NaN or infinity: every frame would be OK.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputSpec(_Frozen):
    """The frames that the model was trained on, and so the frames that it may judge."""

    height_px: int = Field(gt=0)
    """With frames of several sizes: of the largest."""
    width_px: int = Field(gt=0)
    mode: Literal["gray", "rgb"]
    # Left out of the manifest when it is None: bundles from before it existed keep their model hash.
    min_side_px: int | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)
    """None: a frame must have exactly the size above, and another size is a camera set up wrongly. A number: a frame
    whose shorter side reaches it is judged, since the training images differed in size, too, up to `most_pixels`."""

    def accepts(self, height_px: int, width_px: int) -> bool:
        if self.min_side_px is None:
            return (height_px, width_px) == (self.height_px, self.width_px)
        return min(height_px, width_px) >= self.min_side_px and height_px * width_px <= self.most_pixels

    @property
    def most_pixels(self) -> int:
        """Of a frame, where sizes may differ."""
        return max(_LARGER * self.height_px * self.width_px, _ALWAYS_PIXELS)

    def describe(self) -> str:
        """For people: '300 × 300 px gray', or 'any size from 96 px to 4.2 megapixels (…) gray'."""
        size = f"{self.width_px} × {self.height_px} px"
        if self.min_side_px is None:
            return f"{size} {self.mode}"
        most = f"{self.most_pixels / 1e6:.1f} megapixels"
        return f"any size from {self.min_side_px} px to {most} (up to {size} in training) {self.mode}"


class QualityLimits(_Frozen):
    """Outside these a frame is NOT_DECIDABLE. Taken from the spread of the training normals, so they fit the camera."""

    dark_below: float
    """Mean gray level, 0–255."""
    bright_above: float
    """Mean gray level, 0–255."""
    blurred_below: float
    """Variance of the Laplacian of the gray frame."""


class Promise(_Frozen):
    """What `andon calibrate` promises of a threshold: at most so many false stops a shift."""

    false_stops_per_shift: float = Field(gt=0)
    fps: float = Field(gt=0)
    """Inspected parts a second, as one camera sees them."""
    shift_hours: float = Field(gt=0)
    k: int = Field(ge=1)
    n: int = Field(ge=1)
    """A line stops at k of the last n parts NOT_OK."""
    confidence: float = Field(gt=0, lt=1)
    """How sure one may be that the share of good frames called NOT_OK is at most `Calibration.false_alarm_rate`."""
    rate_interval: tuple[float, float]
    """95 % of that share."""


class Calibration(_Frozen):
    """Where the threshold comes from: normals that neither the network nor the forest was fitted on."""

    threshold: float
    """A frame with score ≥ threshold is NOT_OK."""
    false_alarm_rate: float = Field(gt=0, lt=1)
    """The share of normal frames that may score above the threshold: as asked for at training, or as follows from
    the promise."""
    normals: int = Field(gt=0)
    """So many; of parts with several pictures, so many parts."""
    score_quantiles: Mapping[str, float]
    """'0.01' … '0.99' → score, of the calibration normals. Drift is measured against these, in every score."""
    quality: QualityLimits
    # As with `min_side_px`: absent from bundles that were only trained, whose hash it must not change.
    promise: Promise | None = Field(default=None, exclude_if=lambda value: value is None)

    @field_validator("score_quantiles")
    @classmethod
    def _rise(cls, given: Mapping[str, float]) -> Mapping[str, float]:
        rising = sorted((float(level), score) for level, score in given.items())
        if any(not 0 < level < 1 for level, _ in rising):
            raise ValueError("levels must lie between 0 and 1")
        if any(after < before for (_, before), (_, after) in pairwise(rising)):
            raise ValueError("scores must not fall from one level to the next")
        return given


class BundleInfo(_Frozen):
    """bundle.json."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    """A folder's name: of versions of this bundle, folders are named after it."""
    method: str
    """A key of the registry, for instance 'radar'."""
    method_version: int
    """Raised when the same weights would score otherwise: an old bundle is then refused rather than misread."""
    input: InputSpec
    calibration: Calibration
    config: Mapping[str, Any]
    """The method's own hyper-parameters; the method validates them."""
    training: Mapping[str, Any]
    """Facts for the model card: data folder, counts, split, seed, command, seconds, package versions."""
    created_at: AwareDatetime
    weights_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")

    @field_validator("name")
    @classmethod
    def _is_no_path(cls, given: str) -> str:
        if not given or "/" in given or "\0" in given:
            raise ValueError("a bundle's name is that of a folder, and no path")
        return given

    @computed_field  # type: ignore[prop-decorator]
    @property
    def model_hash(self) -> str:
        """Identity of everything that decides a score: weights, hyper-parameters and threshold. 16 hex digits. Stands
        in the manifest, so that a digit that was changed there is seen as one in the weights is."""
        decisive = self.model_dump_json(
            include={"method", "method_version", "input", "calibration", "config", "weights_sha256"}
        )
        return hashlib.sha256(decisive.encode()).hexdigest()[:16]


def save_bundle(folder: Path, info: BundleInfo, tensors: Mapping[str, NDArray[Any]]) -> BundleInfo:
    """Writes a bundle; the manifest last and by rename, so that a folder with a manifest is whole. A full disk leaves
    the bundle that is there as it was.

    `info.weights_sha256` is replaced by the hash of what was written. A model card that is there goes: it is of another
    model. Returns the info as written.
    """
    from safetensors.numpy import save

    blob = save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()})
    written = info.model_copy(update={"weights_sha256": hashlib.sha256(blob).hexdigest()})
    _write(folder, {WEIGHTS: blob, MANIFEST: _manifest(written)})
    (folder / CARD).unlink(missing_ok=True)
    return written


def copy_bundle(source: Path, folder: Path, info: BundleInfo) -> None:
    """Writes a bundle of the same weights with another manifest; `folder` may be `source` itself.

    The model card is not taken along: it is of another model.
    """
    found: dict[str, bytes | Path] = {}
    if folder.resolve() != source.resolve():
        # Exported graphs, in folders, are of the weights, which stay. Hidden, or a draft, is what was left by a killed
        # export or training.
        for path in [path for path in source.rglob("*") if path.is_file() and path.suffix != _DRAFT]:
            own = path.relative_to(source)
            if not own.parts[0].startswith(".") and str(own) not in (MANIFEST, CARD):
                found[str(own)] = path
    _write(folder, {**found, MANIFEST: _manifest(info)})


def _manifest(info: BundleInfo) -> bytes:
    own = {"name": _as_text(info.name), "training": _as_text(info.training)}
    return (info.model_copy(update=own).model_dump_json(indent=2) + "\n").encode()


def _as_text(said: Any) -> Any:
    """Folders have names, and commands tell of folders, whose bytes are no UTF-8: a ZIP from Windows unpacks to such.
    JSON has no place for these bytes, so they are escaped."""
    if isinstance(said, str):
        return said.encode("utf-8", "backslashreplace").decode()
    if isinstance(said, Mapping):
        return {key: _as_text(value) for key, value in said.items()}
    return said


def _write(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    """All in full beside those that are there, then all by rename, in their order: a full disk leaves those that are
    there as they were, and so does a power cut. On the disk when it returns."""
    drafts = {name: folder / (name + _DRAFT) for name in files}
    try:
        for name, content in files.items():
            drafts[name].parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, drafts[name])
            else:
                with naming(drafts[name]):
                    drafts[name].write_bytes(content)
        to_disk(*drafts.values())
    except OSError:
        for draft in drafts.values():
            draft.unlink(missing_ok=True)
        raise
    for name, draft in drafts.items():
        draft.replace(folder / name)
    names_to_disk({*(draft.parent for draft in drafts.values()), folder.parent})


def read_info(folder: Path) -> BundleInfo:
    """Reads and validates bundle.json alone. Raises BundleError."""
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise BundleError(f"{folder} is not a bundle: it has no {MANIFEST}. Make one with `andon train`.")
    try:
        said = from_json(manifest.read_bytes())
        promised = said.pop("model_hash", None) if isinstance(said, dict) else None  # older bundles have none
        _check_schema(said, manifest)
        info = BundleInfo.model_validate(said)
    except ValueError as error:
        raise BundleError(f"{manifest} describes no bundle: {_said(error)}. Copy the bundle again") from error
    if promised not in (None, info.model_hash):
        raise BundleError(
            f"{manifest} has the model_hash {promised}, and what it says has {info.model_hash}: a threshold or another "
            "setting was changed after it was written. Copy the bundle again; to set a threshold there are "
            "`andon calibrate` and the operator's page"
        )
    return info


def _check_schema(said: Any, manifest: Path) -> None:
    """Of another schema every other key may be strange, and tells nobody why."""
    schema = said.get("schema_version", SCHEMA_VERSION) if isinstance(said, dict) else SCHEMA_VERSION
    if schema != SCHEMA_VERSION:
        raise BundleError(
            f"{manifest} is of schema {schema!r:.40}, and this program reads schema {SCHEMA_VERSION}: train it again, "
            "or run the release that wrote it"
        )


def _said(error: ValueError) -> str:
    """In a line. pydantic has four for each fault, with addresses on the web."""
    if not isinstance(error, ValidationError):
        return str(error)
    faults = error.errors(include_url=False, include_input=False)
    return named((f"{'.'.join(map(str, one['loc'])) or 'the whole file'}: {one['msg']}" for one in faults), 10)


def load_bundle(folder: Path) -> tuple[BundleInfo, dict[str, NDArray[Any]]]:
    """Reads a bundle and checks the hash of its weights. Raises BundleError."""
    from safetensors.numpy import load

    info = read_info(folder)
    blob = b""
    try:
        if (folder / WEIGHTS).exists() and not (folder / WEIGHTS).is_file():
            raise OSError(f"{WEIGHTS} is no file")  # a device or a pipe may have no end
        with (folder / WEIGHTS).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()  # what is not ours may not fit into memory
            if found == info.weights_sha256:
                file.seek(0)
                blob = file.read()
    except OSError as error:
        raise BundleError(f"cannot read the weights of bundle {folder}: {error}") from error
    if found != info.weights_sha256:
        raise BundleError(
            f"{folder / WEIGHTS} has sha256 {found[:12]}…, but {MANIFEST} promises {info.weights_sha256[:12]}…: "
            "the copy is damaged or the two files belong to different bundles. Copy the bundle again."
        )
    try:
        return info, load(blob)
    except Exception as error:  # safetensors has a kind of its own
        raise BundleError(f"{folder / WEIGHTS} holds no weights: {error}. Copy the bundle again.") from error


def check_version(info: BundleInfo, version: int) -> None:
    """Raises BundleError when the bundle was written for another version of its method's code."""
    if info.method_version != version:
        raise BundleError(
            f"it is of {info.method} version {info.method_version} and this program scores version {version}: "
            "train it again or run the matching release"
        )


def below(prefix: str, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """One network's tensors, under the names that it gives them."""
    return {name.removeprefix(prefix): array for name, array in tensors.items() if name.startswith(prefix)}
