"""The pure step: every record comes out exactly once, as a score or as a dead letter."""

import io
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from support.stream import frame, incoming, picture

from pipeline.detectors.base import Prediction
from pipeline.detectors.bundle import save_bundle
from pipeline.detectors.null import make_null_bundle
from pipeline.detectors.registry import load_detector
from pipeline.events import DeadReason, Doubt, Verdict, now
from pipeline.frames import decode
from pipeline.kafka.records import Incoming
from pipeline.maps import thumbnail
from pipeline.replica.inspection import DeadShare, Inspection, TooManyDeadError
from pipeline.replica.known_good import ModelFailedError
from pipeline.replica.recipes import Catalog, LoadedRecipe, Recipe, load_catalog
from pipeline.replica.single import judge
from pipeline.scoring import Dead, Scored, Scorer
from pipeline.verdicts import verdict_of

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = tmp_path_factory.mktemp("null")
    make_null_bundle(folder, 32, 32)
    return load_catalog({"null": Recipe(bundle=str(folder), cameras=("cam-*",))})


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    with ThreadPoolExecutor(2) as pool:
        yield Scorer(pool, now)


def test_bright_is_not_ok_and_dark_is_ok(scorer: Scorer, catalog: Catalog) -> None:
    batch = [incoming(frame(0), picture(40, seed=0), 5), incoming(frame(1), picture(220, seed=1), 6)]
    scored = scorer.score(batch, catalog)
    assert [s.verdict for s in scored.scores] == [Verdict.OK, Verdict.NOT_OK]
    assert [s.position.offset for s in scored.scores] == [5, 6]
    assert [m.key for m in scored.maps] == [s.map_key for s in scored.scores]
    assert all(m.anomaly_map is not None and m.thumbnail for m in scored.maps)
    assert scored.dead == ()


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (incoming(frame(0), b""), DeadReason.EMPTY),
        (incoming(frame(0), None), DeadReason.EMPTY),
        (incoming(frame(0), b"junk"), DeadReason.UNDECODABLE),
        (incoming(frame(0), picture(), headers=()), DeadReason.CONTRACT),
        (incoming(frame(0), picture(), key=b"cam-2"), DeadReason.CONTRACT),
        (incoming(frame(0), picture(), key=None), DeadReason.CONTRACT),
        (incoming(frame(0, camera="other"), picture()), DeadReason.UNKNOWN_CAMERA),
        (incoming(frame(0, recipe="elsewhere"), picture()), DeadReason.UNKNOWN_CAMERA),
    ],
    ids=["empty", "none", "junk", "no headers", "foreign key", "no key", "unknown camera", "unknown recipe"],
)
def test_a_bad_record_dies_alone(record: Incoming, reason: DeadReason, scorer: Scorer, catalog: Catalog) -> None:
    good = incoming(frame(1), picture(seed=1), 1)
    scored = scorer.score([record, good], catalog)
    assert [d.reason for d in scored.dead] == [reason]
    assert scored.dead[0].detail
    assert [s.sequence for s in scored.scores] == [1]


def test_what_raises_at_one_picture_ends_no_replica(
    scorer: Scorer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each replica that met it ended, and with it the whole partition. Faked: no picture is known that does it."""

    def stumbling(pixels: NDArray[np.uint8]) -> bytes:
        if pixels.mean() > 200:
            raise struct.error("unpack requires a buffer of 4 bytes")
        return thumbnail(pixels)

    monkeypatch.setattr("pipeline.scoring.thumbnail", stumbling)
    batch = [incoming(frame(0), picture(220, seed=0), 0), incoming(frame(1), picture(40, seed=1), 1)]
    scored = scorer.score(batch, catalog)
    assert [(d.reason, d.detail) for d in scored.dead] == [
        (DeadReason.SCORING_FAILED, "error: unpack requires a buffer of 4 bytes")
    ]
    assert [s.sequence for s in scored.scores] == [1]


@pytest.mark.parametrize("short", [2, 100], ids=["for a moment", "for good"])
def test_a_frame_that_is_opened_where_memory_is_short_is_no_broken_one(
    short: int, scorer: Scorer, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was dead at once, as `undecodable` and 'not a whole PNG or JPEG', which no replica stops for. A test that
    takes all memory would take it from the others, so Pillow is made to ask for too much."""
    refusals = iter(range(short))
    convert = Image.Image.convert

    def convert_if_there_is_room(self: Image.Image, *given: Any) -> Image.Image:
        if next(refusals, None) is not None:
            raise MemoryError
        return convert(self, *given)

    monkeypatch.setattr(Image.Image, "convert", convert_if_there_is_room)
    scored = scorer.score([incoming(frame(i), picture(seed=i), i) for i in range(3)], catalog)
    assert len(scored.scores) == (3 if short == 2 else 0)
    assert {dead.reason for dead in scored.dead} == (set() if short == 2 else {DeadReason.SCORING_FAILED})


def test_a_frame_of_another_size_is_not_decidable_and_has_no_score(scorer: Scorer, catalog: Catalog) -> None:
    (score,) = scorer.score([incoming(frame(0), picture(size=(48, 32), seed=0))], catalog).scores
    assert (score.verdict, score.doubts, score.score) == (Verdict.NOT_DECIDABLE, (Doubt.WRONG_SIZE,), None)


def test_a_camera_that_sends_colour_to_a_model_of_gray_is_told_of_once(
    scorer: Scorer, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    colour = io.BytesIO()
    Image.open(io.BytesIO(picture(seed=0))).convert("RGB").save(colour, "PNG")
    batch = [incoming(frame(0), colour.getvalue(), 0), incoming(frame(1), colour.getvalue(), 1)]
    batch.append(incoming(frame(2, camera="cam-2"), picture(seed=1), 2))
    assert len(scorer.score(batch, catalog).scores) == 3
    scorer.score(batch, catalog)
    (told,) = [record.getMessage() for record in caplog.records if "colour" in record.getMessage()]
    assert told.startswith("camera 'cam-1' sends images stored in colour, and bundle ")
    assert "sees gray alone" in told


def test_a_camera_that_begins_to_send_colour_is_told_of(
    scorer: Scorer, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does that goes over to its night mode, or lost its settings: its first frame alone was looked at."""
    colour = io.BytesIO()
    Image.open(io.BytesIO(picture(seed=1))).convert("RGB").save(colour, "PNG")
    scorer.score([incoming(frame(0), picture(seed=0), 0)], catalog)
    assert "colour" not in caplog.text
    scorer.score([incoming(frame(1), colour.getvalue(), 1)], catalog)
    assert "camera 'cam-1' sends images stored in colour" in caplog.text


def test_a_bundle_for_any_size_scores_frames_of_several_sizes_in_one_batch(scorer: Scorer, tmp_path: Path) -> None:
    info = make_null_bundle(tmp_path, 32, 32)
    save_bundle(tmp_path, info.model_copy(update={"input": info.input.model_copy(update={"min_side_px": 24})}), {})
    catalog = load_catalog({"null": Recipe(bundle=str(tmp_path), cameras=("cam-*",))})
    sizes = [(32, 32), (48, 32), (32, 32), (24, 60), (23, 60)]
    batch = [incoming(frame(i), picture(40 + i, size=size, seed=i), i) for i, size in enumerate(sizes)]
    scored = scorer.score(batch, catalog)
    assert [s.sequence for s in scored.scores] == [0, 1, 2, 3, 4]
    assert [s.doubts for s in scored.scores] == [(), (), (), (), (Doubt.WRONG_SIZE,)]
    alone = [scorer.score([record], catalog).scores[0].score for record in batch]
    assert [s.score for s in scored.scores] == alone


def test_a_bundle_with_a_very_long_name_scores(scorer: Scorer, tmp_path: Path) -> None:
    info = make_null_bundle(tmp_path, 32, 32)
    save_bundle(tmp_path, info.model_copy(update={"name": "n" * 1000}), {})
    catalog = load_catalog({"null": Recipe(bundle=str(tmp_path), cameras=("cam-*",))})
    (score,) = scorer.score([incoming(frame(0), picture(seed=0))], catalog).scores
    assert set(score.model.bundle) == {"n"}


def test_a_late_frame_is_scored_but_never_ok(scorer: Scorer, catalog: Catalog) -> None:
    record = incoming(frame(0), picture(seed=0))
    late = Incoming(record.topic, 0, 0, record.timestamp_ms + 61_000, record.key, record.value, record.headers)
    (score,) = scorer.score([late], catalog).scores
    assert (score.verdict, score.doubts) == (Verdict.NOT_DECIDABLE, (Doubt.LATE,))
    assert score.score is not None


def test_two_frames_of_one_id_and_other_bytes_the_second_dies(scorer: Scorer, catalog: Catalog) -> None:
    first, second = incoming(frame(0), picture(40, seed=0), 0), incoming(frame(0), picture(60, seed=1), 1)
    assert len(scorer.score([first], catalog).scores) == 1
    scored = scorer.score([second, first], catalog)
    assert [d.reason for d in scored.dead] == [DeadReason.DUPLICATE_SEQUENCE]
    assert len(scored.scores) == 1, "a replay of the first is scored again"


class Picky:
    """A detector that fails on one frame. A fake: no real model can be made to fail on demand."""

    def __init__(self, inner: LoadedRecipe, says_nan: bool) -> None:
        self._inner = inner.detector
        self._says_nan = says_nan
        self.info = self._inner.info

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        bad = batch.mean(axis=(1, 2)) > 200
        if bad.any() and not self._says_nan:
            raise RuntimeError("out of memory")
        found = self._inner.predict(batch)
        return replace(found, scores=np.where(bad, np.nan, found.scores))


@pytest.mark.parametrize(("says_nan", "told"), [(False, "out of memory"), (True, "not finite")])
def test_a_frame_that_the_model_fails_on_does_not_take_its_neighbours_along(
    says_nan: bool, told: str, scorer: Scorer, catalog: Catalog
) -> None:
    """NaN is below every threshold, and no verdict."""
    null = catalog.recipes["null"]
    picky = Catalog({"null": LoadedRecipe("null", null.recipe, Picky(null, says_nan))})
    batch = [incoming(frame(i), picture(220 if i == 1 else 40, seed=i), i) for i in range(3)]
    scored = scorer.score(batch, picky)
    assert [s.sequence for s in scored.scores] == [0, 2]
    assert [(d.record.offset, d.reason) for d in scored.dead] == [(1, DeadReason.SCORING_FAILED)]
    assert told in scored.dead[0].detail


class Slow:
    """A detector that takes a known time. A fake: a real one takes what the machine makes it take."""

    PASS_S = 0.1

    def __init__(self, inner: LoadedRecipe) -> None:
        self._inner = inner.detector
        self.info = inner.detector.info

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        time.sleep(self.PASS_S)
        return self._inner.predict(batch)


def test_the_stages_of_a_frame_are_told_in_milliseconds(scorer: Scorer, catalog: Catalog) -> None:
    null = catalog.recipes["null"]
    slow = Catalog({name: LoadedRecipe(name, null.recipe, Slow(null)) for name in ("null", "other")})
    captured = now() - timedelta(seconds=5)
    frames = [frame(i, recipe=recipe, captured_at=captured) for i, recipe in enumerate(("null", "other"))]
    arrived_ms = int(captured.timestamp() * 1000) + 2000
    records = [replace(incoming(f, picture(40, seed=f.sequence)), timestamp_ms=arrived_ms) for f in frames]
    began_s, waited_ms = time.perf_counter(), 1000 * time.time() - arrived_ms
    first, second = scorer.score(records, slow).scores
    took_ms = 1000 * (time.perf_counter() - began_s)
    for told in (first.timings_ms, second.timings_ms):
        assert told["transit"] == pytest.approx(2000, abs=1)
        assert waited_ms - 1 <= told["queue"] <= waited_ms + took_ms
        assert 0 < told["decode"] < took_ms
        assert 1000 * Slow.PASS_S <= told["infer"] < took_ms
        assert told["decode"] + told["wait"] + told["infer"] <= took_ms
    assert second.timings_ms["wait"] >= 1000 * Slow.PASS_S, "behind the other recipe's pass"


class Breaking:
    """A detector that works in some of its passes and then no longer. A fake: no GPU here can be made to."""

    def __init__(self, inner: LoadedRecipe, works: set[int]) -> None:
        self._inner = inner.detector
        self.info = inner.detector.info
        self._works = works
        self._passes = 0

    def predict(self, batch: NDArray[np.uint8]) -> Prediction:
        self._passes += 1
        if self._passes not in self._works:
            raise RuntimeError("CUDA error: unspecified launch failure")
        return self._inner.predict(batch)


@pytest.mark.parametrize(
    ("batches", "works"),
    [([2, 2], {1}), ([2, 1], {1}), ([4], {2, 3})],
    ids=["at a batch", "at a frame", "amid a batch"],
)
def test_a_model_that_breaks_takes_no_frame_along(
    batches: list[int], works: set[int], scorer: Scorer, catalog: Catalog
) -> None:
    null = catalog.recipes["null"]
    breaking = Catalog({"null": LoadedRecipe("null", null.recipe, Breaking(null, works))})
    records = iter([incoming(frame(i), picture(40, seed=i), i) for i in range(sum(batches))])
    for size in batches[:-1]:
        scored = scorer.score([next(records) for _ in range(size)], breaking)
        assert (len(scored.scores), scored.dead) == (size, ())
    with pytest.raises(ModelFailedError, match="unspecified launch failure"):
        scorer.score(list(records), breaking)


def test_a_model_that_fails_for_a_moment_buries_no_frame(
    scorer: Scorer, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a GPU whose memory somebody else fills. The frames went to the dead letters, and were good."""
    null = catalog.recipes["null"]
    batch, first_alone = 2, 3
    passes = set(range(1, 12)) - {batch, first_alone}
    breaking = Catalog({"null": LoadedRecipe("null", null.recipe, Breaking(null, passes))})
    scorer.score([incoming(frame(0), picture(40, seed=0), 0)], breaking)
    scored = scorer.score([incoming(frame(i), picture(40, seed=i), i) for i in range(1, 4)], breaking)
    assert [s.sequence for s in scored.scores] == [1, 2, 3]
    assert scored.dead == ()
    assert "failed on a frame: RuntimeError: CUDA error" in caplog.text


def test_a_model_that_can_take_no_batch_is_told_of_now_and_then(
    scorer: Scorer, catalog: Catalog, caplog: pytest.LogCaptureFixture
) -> None:
    """Its frames are scored one by one, and nobody heard why they wait in Kafka."""
    null = catalog.recipes["null"]
    breaking = Catalog({"null": LoadedRecipe("null", null.recipe, Breaking(null, {2, 3, 5, 6}))})
    for first in (0, 2):
        batch = [incoming(frame(i), picture(40, seed=i), i) for i in range(first, first + 2)]
        assert len(scorer.score(batch, breaking).scores) == 2
    (told,) = [record.getMessage() for record in caplog.records]
    assert "failed on 2 frames at once (RuntimeError: CUDA error" in told
    assert "max_batch" in told


def test_what_is_said_of_a_death_is_short_whatever_the_sender_wrote(scorer: Scorer, catalog: Catalog) -> None:
    """It goes into a header and a log."""
    facts = incoming(frame(0), picture())
    endless = tuple((name, b"x" * 10**6 if name == "captured_at" else value) for name, value in facts.headers)
    (dead,) = scorer.score([replace(facts, headers=endless)], catalog).dead
    assert dead.reason is DeadReason.CONTRACT
    assert 0 < len(dead.detail) <= 2000


def test_results_do_not_depend_on_the_batch(scorer: Scorer, catalog: Catalog) -> None:
    batch = [incoming(frame(i), picture(40 + i, seed=i), i) for i in range(5)]
    together = [(s.frame_id, s.score, s.verdict) for s in scorer.score(batch, catalog).scores]
    alone = [(s.frame_id, s.score, s.verdict) for r in batch for s in scorer.score([r], catalog).scores]
    assert together == alone


def test_an_empty_batch_is_nothing(scorer: Scorer, catalog: Catalog) -> None:
    assert scorer.score([], catalog) == Scored()


def test_burying_most_frames_for_a_fault_of_ours_is_refused(scorer: Scorer, catalog: Catalog) -> None:
    share = DeadShare(window=10)
    share.add(scorer.score([incoming(frame(i), picture(seed=i), i) for i in range(5)], catalog))
    share.add(Scored(dead=(Dead(incoming(frame(0), b""), DeadReason.UNDECODABLE, "camera's fault"),) * 50))
    share.add(ours(5))
    with pytest.raises(TooManyDeadError, match=r"6 of the last 10 frames.*scoring_failed: no such layer"):
        share.add(ours(1))


def unknown(count: int) -> Scored:
    return Scored(dead=(Dead(incoming(frame(0), b""), DeadReason.UNKNOWN_CAMERA, "no recipe"),) * count)


def test_a_camera_without_a_recipe_takes_no_others_along(scorer: Scorer, catalog: Catalog) -> None:
    """With more than half of the stream it ended every replica after 200 frames, again and again."""
    share = DeadShare()
    share.add(scorer.score([incoming(frame(0), picture(seed=1))], catalog))
    for _ in range(100):
        share.add(unknown(3))


def test_a_process_that_knows_none_of_its_first_cameras_stops() -> None:
    share = DeadShare()
    share.add(unknown(10))
    with pytest.raises(TooManyDeadError, match=r"16 of the first 16 frames.*unknown_camera: no recipe"):
        share.add(unknown(6))


def test_new_models_are_held_to_what_a_new_process_is(scorer: Scorer, tmp_path: Path) -> None:
    """A hundred frames were buried where a bundle that was swapped in failed on all: its predecessor had scored."""
    make_null_bundle(tmp_path / "well", 32, 32)
    recipe = Recipe(bundle=str(tmp_path / "well"), cameras=("*",))
    catalogs = [load_catalog({"null": recipe}), load_catalog({"elsewhere": recipe})]
    inspection = Inspection(scorer, lambda: catalogs[0], *cast("list[Any]", [None] * 4))
    batch = [incoming(frame(i), picture(seed=i), i) for i in range(16)]
    assert len(inspection.work(batch).scores) == 16
    catalogs[0] = load_catalog({"null": recipe}, before=catalogs[0])  # the same models: nothing begins anew
    assert len(inspection.work([incoming(frame(0, recipe="other"), picture(), 0)] * 16).dead) == 16
    del catalogs[0]
    with pytest.raises(TooManyDeadError, match="16 of the first 16 frames"):
        inspection.work(batch)


def ours(count: int) -> Scored:
    return Scored(dead=(Dead(incoming(frame(0), b""), DeadReason.SCORING_FAILED, "no such layer"),) * count)


@pytest.mark.parametrize("batches", [[16], [1] * 16, [10, 10], [200]])
def test_a_process_that_has_scored_nothing_yet_stops_after_a_batch_of_deaths(batches: list[int]) -> None:
    share = DeadShare()
    for count in batches[:-1]:
        share.add(ours(count))
    with pytest.raises(TooManyDeadError, match="scoring_failed: no such layer"):
        share.add(ours(batches[-1]))


def test_a_few_bad_frames_at_first_stop_nothing(scorer: Scorer, catalog: Catalog) -> None:
    good = scorer.score([incoming(frame(0), picture(seed=1))], catalog)
    assert good.scores
    share = DeadShare()
    share.add(ours(15))
    share.add(good)
    share.add(ours(90))


def test_a_good_frame_that_fills_the_window_does_not_hide_what_the_others_died_of(
    scorer: Scorer, catalog: Catalog
) -> None:
    share = DeadShare(window=10)
    share.add(ours(9))
    with pytest.raises(TooManyDeadError, match=r"9 of the last 10 frames.*no such layer"):
        share.add(scorer.score([incoming(frame(0), picture(seed=1))], catalog))


def test_an_unchanged_bundle_is_not_loaded_again(tmp_path: Path) -> None:
    make_null_bundle(tmp_path / "a", 8, 8)
    recipe = Recipe(bundle=str(tmp_path / "a"), cameras=("*",))
    before = load_catalog({"one": recipe})
    after = load_catalog({"one": recipe, "two": recipe}, before=before)
    assert after.recipes["two"].detector is before.recipes["one"].detector
    make_null_bundle(tmp_path / "a", 16, 16)
    changed = load_catalog({"one": recipe}, before=after)
    assert changed.recipes["one"].detector.info.input.height_px == 16


def test_a_recipe_is_for_its_own_cameras(catalog: Catalog) -> None:
    assert catalog.find("cam-17", "null") is not None
    assert catalog.find("dog-17", "null") is None


def test_the_detector_is_of_the_registry(tmp_path: Path) -> None:
    make_null_bundle(tmp_path, 8, 8)
    assert load_detector(tmp_path).info.method == "null"


def test_one_image_has_the_doubts_that_the_stream_has(scorer: Scorer, tmp_path: Path) -> None:
    info = make_null_bundle(tmp_path, 32, 32)
    quality = info.calibration.quality.model_copy(update={"bright_above": 100.0})
    save_bundle(
        tmp_path, info.model_copy(update={"calibration": info.calibration.model_copy(update={"quality": quality})}), {}
    )
    record = incoming(frame(0), picture(220, size=(48, 32), seed=0))
    (streamed,) = scorer.score(
        [record], load_catalog({"null": Recipe(bundle=str(tmp_path), cameras=("cam-*",))})
    ).scores
    alone = judge(decode(record.value, "gray"), load_detector(tmp_path))
    assert (alone.verdict, alone.doubts) == (streamed.verdict, streamed.doubts)
    assert alone.doubts == (Doubt.WRONG_SIZE, Doubt.BRIGHT)


def test_a_score_at_the_threshold_is_not_ok_and_a_doubt_outweighs_it() -> None:
    assert verdict_of(2.0, 2.0) is Verdict.NOT_OK
    assert verdict_of(1.99, 2.0) is Verdict.OK
    assert verdict_of(3.0, 2.0, (Doubt.DARK,)) is Verdict.NOT_DECIDABLE
    assert verdict_of(None, 2.0) is Verdict.NOT_DECIDABLE
