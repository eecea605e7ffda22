"""Images of several sizes: what a model trained on them may judge."""

import json
from pathlib import Path

import pytest
from detectors.conftest import normal_frames

from pipeline.detectors.bundle import MANIFEST, InputSpec, read_info
from pipeline.detectors.null import make_null_bundle
from pipeline.training.images.data import DataError, input_spec

pytestmark = pytest.mark.unit

MIXED = [*normal_frames(2, 48, 56), *normal_frames(1, 64, 40), *normal_frames(2, 48, 56, seed=1)]
FILES = {Path(f"part{number}.png"): frame.shape for number, frame in enumerate(MIXED)}


def test_one_size_in_training_is_the_only_size_accepted() -> None:
    spec = input_spec(dict(list(FILES.items())[:2]), "gray", min_side_px=32)
    assert spec.accepts(48, 56)
    assert not spec.accepts(56, 48)


def test_several_sizes_in_training_accept_any_from_the_patch_up() -> None:
    spec = input_spec(FILES, "gray", min_side_px=32)
    assert (spec.height_px, spec.width_px) == (64, 56)
    assert spec.accepts(32, 1000)
    assert not spec.accepts(31, 1000)


def test_none_is_accepted_that_is_far_larger_than_any_in_training() -> None:
    """A replica has the memory for frames as it knows them; one of 64 megapixels would end each that meets it."""
    small = input_spec(FILES, "gray", min_side_px=32)
    assert small.accepts(2048, 2048)
    assert not small.accepts(2048, 2049)
    assert small.describe() == "any size from 32 px to 4.2 megapixels (up to 56 × 64 px in training) gray"
    large = small.model_copy(update={"height_px": 3000, "width_px": 4000})
    assert large.accepts(6000, 8000)
    assert not large.accepts(6000, 8001)


def test_images_below_the_patch_are_refused_by_name() -> None:
    """Of thousands a few are narrower: who has to take them out must not search for them."""
    told = r"1 of 5 images go down to 40 × 64 px, and this model takes no side below 48 px.*: part2\.png$"
    with pytest.raises(DataError, match=told):
        input_spec(FILES, "gray", min_side_px=48)
    with pytest.raises(DataError, match=r"or give larger ones: tiny\.png$"):  # CFLOW, which is not told of itself
        input_spec({**FILES, Path("tiny.png"): (20, 20)}, "gray", min_side_px=32)


def test_a_bundle_from_before_keeps_its_hash(tmp_path: Path) -> None:
    """The new field decides nothing where it is absent, so it is not in the manifest and not in the hash."""
    make_null_bundle(tmp_path, 8, 8)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert "min_side_px" not in manifest["input"]
    info = read_info(tmp_path)
    wider = info.model_copy(update={"input": InputSpec(height_px=8, width_px=8, mode="gray", min_side_px=4)})
    assert wider.model_hash != info.model_hash
