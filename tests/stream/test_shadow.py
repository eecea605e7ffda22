"""A shadow bundle sees what the live one sees, and can neither delay it past its limit, nor fail or change it."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from numpy.typing import NDArray
from support.stream import frame, incoming, picture

from pipeline import apart
from pipeline.detectors.base import Prediction
from pipeline.detectors.bundle import save_bundle
from pipeline.detectors.null import make_null_bundle
from pipeline.events import Doubt, Score, ShadowSkip, Verdict, now
from pipeline.replica import recipes, shadow
from pipeline.replica.recipes import Catalog, LoadedRecipe, LoadedShadow, Recipe, Shadow, load_catalog
from pipeline.replica.shadow import REST, Shadows
from pipeline.scoring import Scorer

pytestmark = pytest.mark.unit

LEVELS = (40, 150, 220)
"""Gray levels: OK for both, NOT_OK for the live bundle alone (from 0.5), NOT_OK for both (from 0.7)."""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("bundles")
    make_null_bundle(folder / "live", 32, 32)
    make_null_bundle(folder / "next", 32, 32, threshold=0.7)
    recipe = Recipe(bundle=str(folder / "live"), cameras=("*",), shadow=Shadow(bundle=str(folder / "next")))
    return load_catalog({"null": recipe})


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    with ThreadPoolExecutor(2) as pool:
        yield Scorer(pool, now, shadows=Shadows(within_s=60))


class Acting:
    """The shadow's detector, with a fault before it answers. A fake: no real model fails on demand."""

    def __init__(self, loaded: LoadedRecipe, act: Callable[[], object]) -> None:
        assert loaded.shadow
        assert loaded.shadow.detector
        self._inner, self._act = loaded.shadow.detector, act
        self.info = self._inner.info
        self.passes = 0

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        self.passes += 1
        self._act()
        return self._inner.predict(batch)


def acting(catalog: Catalog, act: Callable[[], object]) -> tuple[Catalog, Acting]:
    loaded = catalog.recipes["null"]
    detector = Acting(loaded, act)
    shadow = LoadedShadow("next", "torch", detector)  # type: ignore[arg-type]
    return Catalog({"null": LoadedRecipe("null", loaded.recipe, loaded.detector, shadow)}), detector


def scored(scorer: Scorer, catalog: Catalog, first: int = 0) -> tuple[Score, ...]:
    batch = [incoming(frame(first + i), picture(level, seed=i), first + i) for i, level in enumerate(LEVELS)]
    result = scorer.score(batch, catalog)
    assert result.dead == ()
    return result.scores


def live_part(scores: tuple[Score, ...]) -> list[tuple[object, ...]]:
    return [(s.frame_id, s.verdict, s.score, s.threshold, s.model, s.features, s.map_key) for s in scores]


def skips(scores: tuple[Score, ...]) -> set[ShadowSkip | None]:
    return {s.shadow.skipped for s in scores if s.shadow}


def test_both_verdicts_are_on_the_score(scorer: Scorer, catalog: Catalog) -> None:
    scores = scored(scorer, catalog)
    assert [s.verdict for s in scores] == [Verdict.OK, Verdict.NOT_OK, Verdict.NOT_OK]
    shadows = [s.shadow for s in scores if s.shadow]
    assert [s.verdict for s in shadows] == [Verdict.OK, Verdict.OK, Verdict.NOT_OK]
    assert [s.score for s in shadows] == [s.score for s in scores]
    assert {(s.threshold, s.model and s.model.bundle) for s in shadows} == {(0.7, "next")}
    assert all(s.shadow and s.shadow.model and s.shadow.model.hash != s.model.hash for s in scores)
    assert Score.from_json(scores[0].to_json()) == scores[0]


def test_a_score_from_before_shadows_is_still_read(scorer: Scorer, catalog: Catalog) -> None:
    (score, *_) = scored(scorer, catalog)
    old = score.model_dump_json(exclude={"shadow"}).encode()
    assert b"shadow" not in old.replace(b'"shadow":', b"", 1)
    assert Score.from_json(old) == score.model_copy(update={"shadow": None})


def test_a_recipe_without_a_shadow_says_nothing_of_one(scorer: Scorer, catalog: Catalog) -> None:
    loaded = catalog.recipes["null"]
    plain = Catalog({"null": LoadedRecipe("null", loaded.recipe, loaded.detector)})
    scores = scored(scorer, plain)
    assert [s.shadow for s in scores] == [None] * 3
    assert "shadow" not in scores[0].timings_ms


def fail() -> None:
    raise RuntimeError("out of memory")


@pytest.mark.parametrize("act", [fail, lambda: time.sleep(0.3)], ids=["fails", "slow"])
def test_the_live_verdicts_are_the_same_whatever_the_shadow_does(
    act: Callable[[], object], scorer: Scorer, catalog: Catalog
) -> None:
    wanted = live_part(scored(scorer, catalog))
    scorer.shadows.within_s = 0.05
    troubled, _ = acting(catalog, act)
    assert live_part(scored(scorer, troubled)) == wanted


def test_a_shadow_that_fails_is_counted_and_asked_again(scorer: Scorer, catalog: Catalog) -> None:
    failing, detector = acting(catalog, fail)
    for batch in range(3):
        assert skips(scored(scorer, failing, batch * 3)) == {ShadowSkip.FAILED}
    assert detector.passes == 3
    assert skips(scored(scorer, catalog, 9)) == {None}


def test_a_shadow_that_fails_takes_no_other_along_and_is_named_once(
    scorer: Scorer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frames of a well one in the same batch counted as failed, too, and the log did not say which one raised."""
    told: list[str] = []
    monkeypatch.setattr(shadow.log, "error", lambda words, *given: told.append(words % given))
    failing, _ = acting(catalog, fail)
    both = Catalog({"null": failing.recipes["null"], "well": replace(catalog.recipes["null"], name="well")})
    for first in range(0, 6, 2):
        recipes = {first: "null", first + 1: "well"} if first != 2 else {first: "well"}
        batch = [incoming(frame(i, recipe=recipe), picture(seed=i), i) for i, recipe in recipes.items()]
        skipped = {s.recipe: s.shadow.skipped for s in scorer.score(batch, both).scores if s.shadow}
        assert skipped == {"null": ShadowSkip.FAILED, "well": None} if first != 2 else {"well": None}
    assert told == ["shadow bundle 'next' raised: RuntimeError: out of memory"]


def test_a_machine_without_memory_for_a_pass_is_no_slow_one(
    scorer: Scorer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each later batch was called slow, and nobody told why."""
    hopeful, _ = acting(catalog, lambda: None)
    with monkeypatch.context() as short:
        short.setattr(shadow, "_judge_all", Mock(side_effect=MemoryError))
        assert skips(scored(scorer, hopeful)) == {ShadowSkip.FAILED}
    assert skips(scored(scorer, hopeful, 3)) == {None}


def test_a_shadow_that_hangs_holds_up_one_batch_for_its_limit_and_no_other(scorer: Scorer, catalog: Catalog) -> None:
    for_ever = threading.Event()
    hanging, detector = acting(catalog, lambda: for_ever.wait(60))
    scorer.shadows.within_s = 0.5
    try:
        began = time.monotonic()
        assert skips(scored(scorer, hanging)) == {ShadowSkip.SLOW}
        assert 0.5 <= time.monotonic() - began < 30
        scorer.shadows.within_s, began = 30, time.monotonic()
        for batch in range(1, 6):
            assert skips(scored(scorer, hanging, batch * 3)) == {ShadowSkip.SLOW}
        assert time.monotonic() - began < 30, "five batches, none of which waited"
        assert detector.passes == 1, "one pass at a time: what hangs does not pile up"
    finally:
        for_ever.set()


def test_a_pass_that_came_too_late_is_thrown_away_and_the_shadow_rests(catalog: Catalog) -> None:
    now_s, late = 0.0, threading.Event()
    slow, detector = acting(catalog, lambda: late.wait(20))
    with ThreadPoolExecutor(2) as pool:
        shadows = Shadows(within_s=0.02, clock_s=lambda: now_s)
        scorer = Scorer(pool, now, shadows=shadows)
        assert skips(scored(scorer, slow)) == {ShadowSkip.SLOW}
        now_s = 1.0
        late.set()
        for thread in threading.enumerate():
            if thread.name == "shadow":
                thread.join(20)
        shadows.within_s = 60
        for moment_s in (1.0, 0.99 + REST):
            now_s = moment_s
            assert skips(scored(scorer, slow, 3)) == {ShadowSkip.SLOW}
        assert detector.passes == 1, "the pass is over, and it rests"
        now_s = 1.01 + REST
        assert skips(scored(scorer, slow, 6)) == {None}


def test_while_frames_wait_the_shadow_does_not_look(catalog: Catalog) -> None:
    behind = True
    watched, detector = acting(catalog, lambda: None)
    with ThreadPoolExecutor(2) as pool:
        scorer = Scorer(pool, now, shadows=Shadows(within_s=60, behind=lambda: behind))
        assert skips(scored(scorer, watched)) == {ShadowSkip.BACKLOG}
        assert detector.passes == 0
        behind = False
        assert skips(scored(scorer, watched, 3)) == {None}


def test_the_shadow_waits_until_the_live_verdicts_stand(scorer: Scorer, catalog: Catalog) -> None:
    seen_at: list[object] = []
    watched, _ = acting(catalog, lambda: (time.sleep(0.05), seen_at.append(now())))
    scores = scored(scorer, watched)
    assert all(s.scored_at <= seen_at[0] for s in scores)  # type: ignore[operator]
    assert scores[0].timings_ms["shadow"] >= 50


def test_its_own_limits_of_light_and_size_are_its_own_doubts(scorer: Scorer, catalog: Catalog, tmp_path: Path) -> None:
    info = make_null_bundle(tmp_path / "picky", 32, 32)
    quality = info.calibration.quality.model_copy(update={"bright_above": 200.0})
    picky = info.model_copy(update={"calibration": info.calibration.model_copy(update={"quality": quality})})
    save_bundle(tmp_path / "picky", picky, {})
    make_null_bundle(tmp_path / "wide", 32, 64)
    live = catalog.recipes["null"].recipe
    for name, doubts in (("picky", (Doubt.BRIGHT,)), ("wide", (Doubt.WRONG_SIZE,))):
        recipe = live.model_copy(update={"shadow": Shadow(bundle=str(tmp_path / name))})
        bright = scored(scorer, load_catalog({"null": recipe}))[2]
        assert (bright.verdict, bright.doubts) == (Verdict.NOT_OK, ())
        assert bright.shadow
        assert (bright.shadow.verdict, bright.shadow.doubts) == (Verdict.NOT_DECIDABLE, doubts)


def test_a_late_frame_is_undecided_for_both(scorer: Scorer, catalog: Catalog) -> None:
    record = incoming(frame(0, repeats=50), picture(220, seed=0))
    (score,) = scorer.score([record], catalog).scores
    assert score.shadow
    assert score.doubts == score.shadow.doubts == (Doubt.FROZEN,)
    assert score.shadow.verdict is Verdict.NOT_DECIDABLE


@pytest.mark.parametrize("fault", ["absent", "hash", "colour"])
def test_a_shadow_that_cannot_be_loaded_leaves_the_live_bundle_at_work(
    fault: str, scorer: Scorer, catalog: Catalog, tmp_path: Path
) -> None:
    info = make_null_bundle(tmp_path / "next", 32, 32)
    if fault == "colour":
        colour = info.model_copy(update={"input": info.input.model_copy(update={"mode": "rgb"})})
        save_bundle(tmp_path / "next", colour, {})
    shadow = Shadow(
        bundle=str(tmp_path / ("absent" if fault == "absent" else "next")),
        model_hash="0123456789abcdef" if fault == "hash" else None,
    )
    recipe = catalog.recipes["null"].recipe.model_copy(update={"shadow": shadow})
    troubled = load_catalog({"null": recipe})
    loaded = troubled.recipes["null"].shadow
    assert loaded
    assert {"absent": "absent", "hash": "accepts only model", "colour": "colour"}[fault] in loaded.fault
    scores = scored(scorer, troubled)
    assert live_part(scores) == live_part(scored(scorer, catalog, 0))
    assert skips(scores) == {ShadowSkip.NOT_LOADED}


def test_shadows_are_loaded_one_after_the_other_also_behind_one_that_hangs(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was only tried blinded every line of a replica that started anew; then all had a minute together, and shared
    the machine in it, and the replica went on without those that are well. A file server that is away can't be had in
    a test, so what reads from it is held."""
    live, second, overlapped, load = catalog.recipes["null"].recipe, threading.Event(), [], recipes.load_detector
    names, answers = ("hangs", "1", "2"), threading.Event()
    wanted = {name: live.model_copy(update={"shadow": Shadow(bundle=str(tmp_path / name))}) for name in names}
    for name in names:
        make_null_bundle(tmp_path / name, 32, 32)

    def watched(folder: Path, *others: Any) -> Any:
        if folder.name == "hangs":
            answers.wait()
        elif folder.name == "1":
            overlapped.append(second.wait(0.5))
        elif folder.name == "2":
            second.set()
        return load(folder, *others)

    monkeypatch.setattr(recipes, "load_detector", watched)
    monkeypatch.setattr(recipes, "_SHADOW_S", 5)
    try:
        loaded = apart.begin(lambda: load_catalog(wanted), "bundles").result(60).recipes
    finally:
        answers.set()
    found = {name: recipe.shadow and recipe.shadow.detector is not None for name, recipe in loaded.items()}
    assert found == {"hangs": False, "1": True, "2": True}
    assert loaded["hangs"].shadow
    assert "has not loaded within 5 s" in loaded["hangs"].shadow.fault
    assert overlapped == [False]


def test_a_swap_of_recipes_keeps_what_is_in_memory(catalog: Catalog) -> None:
    """A shadow that becomes the live bundle is not loaded again, and the other way round."""
    before = catalog.recipes["null"]
    assert before.shadow
    swapped = Recipe(bundle=before.shadow.bundle, cameras=("*",), shadow=Shadow(bundle=before.recipe.bundle))
    after = load_catalog({"null": swapped}, before=catalog).recipes["null"]
    assert after.shadow
    assert after.detector is before.shadow.detector
    assert after.shadow.detector is before.detector
