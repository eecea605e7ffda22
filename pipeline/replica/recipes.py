"""Recipes: which bundle judges which camera. Data, so a change needs no new process."""

import logging
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pipeline import apart
from pipeline.detectors.base import Detector, Runtime
from pipeline.detectors.bundle import BundleError, read_info
from pipeline.detectors.registry import load_detector
from pipeline.events import MAX_LABEL, ModelRef
from pipeline.frames import TimingLimits

log = logging.getLogger(__name__)

SHIPPED_BUNDLES = Path(__file__).parents[1] / "bundles"
_SHADOW_S = 60.0
"""A shadow is waited for so long, once the live bundles are in memory: a file server that is away may never answer."""


class _WithBundle(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str = Field(
        min_length=1, description="An absolute path, or a name below ANDON_BUNDLES or among the shipped bundles."
    )
    runtime: Runtime = Field(
        default="torch",
        description="What runs the networks. onnx and openvino: on the CPU, once `andon export` has made the graphs.",
    )
    model_hash: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{16}$",
        description="Accept only the bundle with this hash (`andon bundle check` tells it).",
    )


class Shadow(_WithBundle):
    """A bundle that is tried beside the live one: it looks at the same frames, and moves nothing."""


class Recipe(_WithBundle):
    """One way to judge frames."""

    cameras: tuple[str, ...] = Field(
        min_length=1, description="Camera ids that may ask for this recipe; * and ? match."
    )
    shadow: Shadow | None = Field(default=None, description="A bundle that is tried beside the live one.")
    late_after_s: float = Field(default=60, gt=0, description="Capture to broker; a later frame is NOT_DECIDABLE.")
    future_after_s: float = Field(default=5, ge=0, description="How far a camera's clock may run ahead.")
    frozen_after: int = Field(default=10, ge=1, description="So many equal frames in a row mean a hung camera.")

    @property
    def timing(self) -> TimingLimits:
        return TimingLimits(self.late_after_s, self.future_after_s, self.frozen_after)


@dataclass(frozen=True)
class LoadedShadow:
    bundle: str
    runtime: Runtime
    detector: Detector | None
    fault: str = ""
    """Why there is no detector."""

    @cached_property
    def model(self) -> ModelRef | None:
        """Once, as of a recipe."""
        return None if self.detector is None else _model(self.detector)


@dataclass(frozen=True)
class LoadedRecipe:
    name: str
    recipe: Recipe
    detector: Detector
    shadow: LoadedShadow | None = None

    @cached_property
    def model(self) -> ModelRef:
        """Once: its hash takes all of the manifest."""
        return _model(self.detector)


def _model(detector: Detector) -> ModelRef:
    # Cut: a bundle's name is as long as its owner likes, and must not keep its scores off the stream.
    return ModelRef(bundle=detector.info.name[:MAX_LABEL], method=detector.info.method, hash=detector.info.model_hash)


@dataclass(frozen=True)
class Catalog:
    """All recipes, with their models in memory. Swapped as a whole, between two batches."""

    recipes: Mapping[str, LoadedRecipe]

    def find(self, camera_id: str, recipe: str) -> LoadedRecipe | None:
        loaded = self.recipes.get(recipe)
        if loaded and any(fnmatchcase(camera_id, pattern) for pattern in loaded.recipe.cameras):
            return loaded
        return None


def load_catalog(recipes: Mapping[str, Recipe], device: str = "auto", before: Catalog | None = None) -> Catalog:
    """Loads each bundle once; those that `before` already holds unchanged are kept.

    Raises BundleError, also for a bundle with another hash than its recipe accepts. A shadow that can't be loaded
    raises nothing: its `fault` tells, since what is only tried must never keep a replica from its work.
    """
    shelf = _Shelf(device, before)
    live = {name: shelf.take(recipe, f"recipe {name!r}") for name, recipe in recipes.items()}
    shelf.await_shadows([recipe.shadow for recipe in recipes.values() if recipe.shadow])
    return Catalog(
        {
            name: LoadedRecipe(name, recipe, live[name], _load_shadow(name, recipe, live[name], shelf))
            for name, recipe in recipes.items()
        }
    )


class _Shelf:
    """Every bundle in memory once, however many recipes name it, live or as a shadow."""

    def __init__(self, device: str, before: Catalog | None) -> None:
        self._device = device
        self._loads: dict[tuple[str, Runtime], Future[Detector]] = {}
        self._held: dict[tuple[str, Runtime, str], Detector] = {}
        """By place, too: a copy elsewhere, perhaps a half one, is what the next start of this replica must load."""
        for one in before.recipes.values() if before else ():
            self._hold(one.recipe, one.detector)
            if one.shadow and one.shadow.detector:
                self._hold(one.shadow, one.shadow.detector)

    def await_shadows(self, shadows: Sequence[Shadow]) -> None:
        """One after the other, so that each has the machine for itself, and its time also behind one that hangs."""
        for one in {(shadow.bundle, shadow.runtime): shadow for shadow in shadows}.values():
            wait([self.load(one)], _SHADOW_S)

    def load(self, wanted: Recipe | Shadow) -> "Future[Detector]":
        """Begins to, where nobody has."""
        key = wanted.bundle, wanted.runtime
        if key not in self._loads:
            self._loads[key] = apart.begin(partial(self._load, *key), "bundle")
        return self._loads[key]

    def take(self, wanted: Recipe | Shadow, who: str) -> Detector:
        """Raises BundleError."""
        detector = self.load(wanted).result()
        found = detector.info.model_hash
        if wanted.model_hash not in (None, found):
            raise BundleError(
                f"{who} accepts only model {wanted.model_hash} of bundle {wanted.bundle!r}, but the one that is there "
                f"is {found}: deliver the right bundle, or accept this one in the recipe"
            )
        return detector

    def _load(self, bundle: str, runtime: Runtime) -> Detector:
        folder = bundle_folder(bundle)
        unchanged = self._held.get((bundle, runtime, read_info(folder).model_hash))
        return unchanged or load_detector(folder, self._device, runtime)

    def _hold(self, of: Recipe | LoadedShadow, detector: Detector) -> None:
        self._held[of.bundle, of.runtime, detector.info.model_hash] = detector


def _load_shadow(name: str, recipe: Recipe, live: Detector, shelf: _Shelf) -> LoadedShadow | None:
    shadow = recipe.shadow
    if shadow is None:
        return None
    try:
        if not shelf.load(shadow).done():
            raise BundleError(
                f"bundle {shadow.bundle!r} has not loaded within {_SHADOW_S:g} s: this replica does without it until "
                "its recipes change or it starts anew"
            )
        detector = shelf.take(shadow, f"the shadow of recipe {name!r}")
    except Exception as error:  # torch, an engine or a file system may raise anything
        fault = str(error) or type(error).__name__
    else:
        if (live.info.input.mode, detector.info.input.mode) != ("gray", "rgb"):
            return LoadedShadow(shadow.bundle, shadow.runtime, detector)
        fault = f"bundle {shadow.bundle!r} wants colour, but frames of recipe {name!r} are decoded to gray"
    log.error("recipe %r goes on without its shadow: %s", name, fault)
    return LoadedShadow(shadow.bundle, shadow.runtime, None, fault)


def bundle_folder(bundle: str) -> Path:
    """An absolute path as it is; otherwise below ANDON_BUNDLES if it is there, else among the shipped ones."""
    root = os.environ.get("ANDON_BUNDLES")
    if root and (Path(root) / bundle).is_dir():
        return Path(root) / bundle
    return Path(bundle) if Path(bundle).is_absolute() else SHIPPED_BUNDLES / bundle
