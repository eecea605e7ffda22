"""Thresholds on trial, new versions of a bundle, and feedback."""

import csv
import random
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from console.plant import score
from typer.testing import CliRunner

from pipeline.detectors.bundle import load_bundle, read_info
from pipeline.events import Score, Verdict
from pipeline.replica.recipes import SHIPPED_BUNDLES
from pipeline.training.images.layouts import find_layout
from workers.alerting.core import candidates
from workers.alerting.core.state import Camera
from workers.alerting.policy import Candidate, LinePolicy, Response
from workers.cli import app
from workers.console.feedback import Exported, FeedbackError, FeedbackStore, Judgement, export
from workers.console.versions import find_bundle, write_version
from workers.console.whatif import histogram, shot, try_threshold

pytestmark = pytest.mark.unit
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
SHIPPED = SHIPPED_BUNDLES / "elpv-mono-radar"


def series(seed: int, count: int = 300) -> list[Score]:
    chance = random.Random(seed)
    made = []
    for number in range(count):
        value = chance.betavariate(2, 5)
        verdict = chance.choices([Verdict.OK, Verdict.NOT_DECIDABLE], [9, 1])[0]
        at = NOON + timedelta(seconds=number)
        part = f"part-{number // chance.choice((1, 2))}"
        made.append(
            score(
                number, verdict, camera=chance.choice(("cam-1", "cam-2")), captured_at=at, part_id=part,
                score=None if verdict is Verdict.NOT_DECIDABLE else value,
            )
        )  # fmt: skip
    return made


@pytest.mark.parametrize("seed", range(8))
def test_a_trial_tells_the_stops_that_alertings_own_candidates_would(seed: int) -> None:
    scores, threshold = series(seed), 0.35
    policy = LinePolicy(
        k=2, n=4, action=Response.HOLD, max_age_s=3600, candidates={"tried": Candidate(threshold=threshold)}
    )
    cameras: dict[str, Camera] = {}
    told = []
    for one in scores:
        camera = cameras.get(one.camera_id, Camera(captured_at=one.captured_at))
        cameras[one.camera_id], commands = candidates.judge(camera, one, policy, 1, one.scored_at)
        told += [(one.camera_id, one.captured_at) for _ in commands]
    tried = try_threshold([shot(one) for one in scores], threshold, 2, 4)
    assert [(stop.camera_id, stop.at) for stop in tried.stops] == told
    assert told  # or nothing was compared
    assert tried.judged == sum(one.score is not None for one in scores)
    assert tried.not_ok == sum(one.score is not None and one.score >= threshold for one in scores)


def test_a_histogram_holds_every_score_and_shows_the_threshold() -> None:
    shots = [shot(one) for one in series(1)]
    drawn = histogram(shots, 3.0)
    assert sum(drawn.counts) == sum(one.score is not None for one in shots)
    assert 0 < drawn.place(3.0) < 1
    assert sum(histogram([], 0.5).counts) == 0


def test_a_new_version_is_the_same_model_with_another_threshold_beside_the_old_one(tmp_path: Path) -> None:
    before = read_info(SHIPPED)
    first = write_version(SHIPPED, tmp_path, 0.75, actor="ada", role="engineer", reason="too many stops")
    info, tensors = load_bundle(first.folder)  # checks the hash of the weights
    assert tensors
    assert info.name == first.folder.name == f"{before.name}-v2"
    assert info.calibration.threshold == 0.75
    assert info.model_hash != before.model_hash
    assert info.weights_sha256 == before.weights_sha256
    assert info.training["threshold_chosen"]["by"] == "ada"
    assert info.training["threshold_chosen"]["model"] == before.model_hash
    assert info.calibration.promise is None
    assert read_info(SHIPPED) == before
    again = write_version(SHIPPED, tmp_path, 0.5, actor="ada", role="engineer", reason="x")
    assert again.folder.name == f"{before.name}-v3"
    assert read_info(first.folder).calibration.threshold == 0.75
    assert write_version(again.folder, tmp_path, 0.4, actor="ada", role="e", reason="x").folder.name.endswith("-v4")
    assert find_bundle(info.model_hash, tmp_path) == first.folder
    assert find_bundle(before.model_hash, tmp_path) == SHIPPED
    assert find_bundle("0" * 16, tmp_path) is None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_higher_threshold_promises_no_more_false_alarms(tmp_path: Path) -> None:
    calibration = read_info(SHIPPED).calibration
    levels = sorted(calibration.score_quantiles.values())
    rates = [
        write_version(SHIPPED, tmp_path, at, actor="a", role="e", reason="r").info.calibration.false_alarm_rate
        for at in (levels[0], levels[len(levels) // 2], levels[-1], levels[-1] * 2)
    ]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] <= calibration.false_alarm_rate


IMAGE = (b"\x89PNG-bytes", "image/png")


@pytest.fixture
def store(tmp_path: Path) -> FeedbackStore:
    return FeedbackStore(tmp_path / "feedback.sqlite")


def test_feedback_is_kept_with_its_image_and_the_newest_word_counts(store: FeedbackStore) -> None:
    bad = score(1, Verdict.NOT_OK)
    store.add(bad, Judgement.CORRECT, "ada", "operator", "", IMAGE)
    store.add(bad, Judgement.FALSE_ALARM, "grace", "engineer", " dust ", IMAGE)
    assert [(one.actor, one.judgement, one.note) for one in FeedbackStore(store.path).of(bad.frame_id)] == [
        ("grace", Judgement.FALSE_ALARM, "dust"),
        ("ada", Judgement.CORRECT, ""),
    ]
    assert store.counts() == {"false_alarm": 1}


def test_feedback_must_fit_the_verdict(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "feedback.sqlite")
    with pytest.raises(FeedbackError, match="does not fit"):
        store.add(score(1), Judgement.FALSE_ALARM, "ada", "operator", "", IMAGE)
    with pytest.raises(FeedbackError, match="does not fit"):
        store.add(score(1, Verdict.NOT_DECIDABLE), Judgement.FALSE_ALARM, "ada", "operator", "", IMAGE)
    assert store.counts() == {}


def test_a_frame_that_could_not_be_inspected_teaches_no_model_what_is_good(
    store: FeedbackStore, tmp_path: Path
) -> None:
    """Older pages took a false alarm for such a frame, and it stands in their files."""
    store.add(score(1, Verdict.NOT_OK), Judgement.FALSE_ALARM, "ada", "operator", "", IMAGE)
    with closing(sqlite3.connect(store.path)) as database, database:
        database.execute("UPDATE feedback SET verdict = 'NOT_DECIDABLE'")
    assert export(store.path, tmp_path / "out") == {"cells": Exported(good=0, defects=0, left_out=1)}


def test_the_file_of_feedback_stays_within_its_limit(tmp_path: Path) -> None:
    store = FeedbackStore(tmp_path / "small.sqlite", max_mib=1)
    with pytest.raises(FeedbackError, match="limit of 1 MiB"):
        store.add(score(1), Judgement.CORRECT, "ada", "operator", "", (b"x" * 2**20, "image/png"))
    assert store.counts() == {}


def test_the_limit_counts_what_a_reader_keeps_out_of_the_file(tmp_path: Path) -> None:
    """An export that takes its time, or a copy that hangs: the disk filled up beside a file that stayed small."""
    store = FeedbackStore(tmp_path / "small.sqlite", max_mib=1)
    with closing(sqlite3.connect(store.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM image").fetchone()
        for number in range(20):
            with suppress(FeedbackError):
                store.add(score(number), Judgement.CORRECT, "ada", "operator", "", (b"x" * 100_000, "image/png"))
        assert 0.5 < sum(file.stat().st_size for file in tmp_path.iterdir()) / 2**20 < 1.5


def test_feedback_is_exported_as_a_data_set_that_training_reads(store: FeedbackStore, tmp_path: Path) -> None:
    said = [
        (score(0), Judgement.CORRECT),
        (score(1), Judgement.MISSED),
        (score(2, Verdict.NOT_OK), Judgement.CORRECT),
        (score(3, Verdict.NOT_OK), Judgement.FALSE_ALARM),
        (score(4, Verdict.NOT_OK), Judgement.UNSURE),
    ]
    for one, judgement in said:
        store.add(one, judgement, "ada", "operator", "", (f"image {one.sequence}".encode(), "image/png"))
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["feedback", "export", "--feedback", str(store.path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "2 good, 2 defects, 1 left out" in done.output
    layout = find_layout(out / "cells")
    assert layout.name == "mvtec"
    assert sorted(path.read_bytes() for path in layout.normals) == [b"image 0", b"image 3"]
    assert sorted(image.path.read_bytes() for image in layout.test) == [b"image 1", b"image 2"]
    assert {image.kind for image in layout.test} == {"defect"}
    with (out / "cells" / "feedback.csv").open() as table:
        rows = {row["frame_id"]: row for row in csv.DictReader(table)}
    assert len(rows) == 4
    assert all((out / "cells" / row["file"]).is_file() and row["actor"] == "ada" for row in rows.values())
    with pytest.raises(FeedbackError, match="not empty"):
        export(store.path, out)


def test_frames_whose_names_are_alike_do_not_share_a_file(store: FeedbackStore, tmp_path: Path) -> None:
    """The picture of the second lay under the row of the first."""
    for camera, boot in (("cam", "1_b"), ("cam_1", "b")):
        one = score(3, camera=camera, boot_id=boot)
        store.add(one, Judgement.CORRECT, "ada", "operator", "", (one.frame_id.encode(), "image/png"))
    export(store.path, tmp_path / "out")
    with (tmp_path / "out" / "cells" / "feedback.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [(tmp_path / "out" / "cells" / row["file"]).read_bytes().decode() for row in rows] == [
        row["frame_id"] for row in rows
    ]


def test_no_note_is_a_formula_to_a_spreadsheet(store: FeedbackStore, tmp_path: Path) -> None:
    notes = ['=HYPERLINK("http://evil.example","why")', "+1", "-1+1", "@SUM(1)", "too dark"]
    for number, note in enumerate(notes):
        one = score(number, part_id=f"={number}")
        store.add(one, Judgement.CORRECT, "ada", "operator", note, IMAGE)
    export(store.path, tmp_path / "out")
    with (tmp_path / "out" / "cells" / "feedback.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["note"] for row in rows] == [*(f"'{note}" for note in notes[:-1]), "too dark"]
    assert [row["part_id"] for row in rows] == [f"'={number}" for number in range(len(notes))]
    assert {row["score"] for row in rows} == {"0.1"}


def test_a_file_that_is_no_feedback_is_named(tmp_path: Path) -> None:
    other = tmp_path / "other.sqlite"
    for content in (b"no database, but long enough to look at" * 100, b""):
        other.write_bytes(content)
        with pytest.raises(FeedbackError, match=r"other\.sqlite can't be read"):
            export(other, tmp_path / "out")
