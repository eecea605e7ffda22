"""Recipes: which bundle judges which camera. Data, so a change needs no new process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.detectors.base import Detector
from pipeline.detectors.bundle import BundleError, read_info
from pipeline.detectors.registry import load_detector
from pipeline.events import ModelRef
from pipeline.frames import TimingLimits

SHIPPED_BUNDLES = Path(__file__).parent / "bundles"


class Recipe(BaseModel):
    """One way to judge frames."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundle: str = Field(description="An absolute path, or a name below ANDON_BUNDLES or among the shipped bundles.")
    cameras: tuple[str, ...] = Field(
        min_length=1, description="Camera ids that may ask for this recipe; * and ? match."
    )
    runtime: Literal["torch", "onnx", "openvino"] = Field(
        default="torch",
        description="What runs the networks. onnx and openvino: on the CPU, once `andon export` has made the graphs.",
    )
    late_after_s: float = Field(default=60, gt=0, description="Capture to broker; a later frame is NOT_DECIDABLE.")
    future_after_s: float = Field(default=5, ge=0, description="How far a camera's clock may run ahead.")
    model_hash: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{16}$",
        description="Accept only the bundle with this hash (`andon bundle check` tells it).",
    )
    frozen_after: int = Field(default=10, ge=1, description="So many equal frames in a row mean a hung camera.")

    @property
    def timing(self) -> TimingLimits:
        return TimingLimits(self.late_after_s, self.future_after_s, self.frozen_after)


@dataclass(frozen=True)
class LoadedRecipe:
    name: str
    recipe: Recipe
    detector: Detector

    @property
    def model(self) -> ModelRef:
        info = self.detector.info
        return ModelRef(bundle=info.name, method=info.method, hash=info.model_hash)


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

    Raises BundleError, also for a bundle with another hash than its recipe accepts.
    """
    old = before.recipes.values() if before else ()
    held = {(one.detector.info.model_hash, one.recipe.runtime): one.detector for one in old}
    detectors: dict[tuple[str, str], Detector] = {}
    for recipe in recipes.values():
        wanted = recipe.bundle, recipe.runtime
        if wanted not in detectors:
            folder = bundle_folder(recipe.bundle)
            unchanged = held.get((read_info(folder).model_hash, recipe.runtime))
            detectors[wanted] = unchanged or load_detector(folder, device, recipe.runtime)
    for name, recipe in recipes.items():
        found = detectors[recipe.bundle, recipe.runtime].info.model_hash
        if recipe.model_hash not in (None, found):
            raise BundleError(
                f"recipe {name!r} accepts only model {recipe.model_hash} of bundle {recipe.bundle!r}, but the one that "
                f"is there is {found}: deliver the right bundle, or accept this one in the recipe"
            )
    return Catalog(
        {name: LoadedRecipe(name, recipe, detectors[recipe.bundle, recipe.runtime]) for name, recipe in recipes.items()}
    )


def bundle_folder(bundle: str) -> Path:
    """An absolute path as it is; otherwise below ANDON_BUNDLES if it is there, else among the shipped ones."""
    root = os.environ.get("ANDON_BUNDLES")
    if root and (Path(root) / bundle).is_dir():
        return Path(root) / bundle
    return Path(bundle) if Path(bundle).is_absolute() else SHIPPED_BUNDLES / bundle
