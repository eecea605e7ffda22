"""What people say of verdicts: correct, a false alarm, a missed defect, unsure. Kept with the image, for retraining.

One SQLite file: Kafka forgets a frame after a day, and a judgement without its image teaches nothing
(docs/decisions/0012-feedback-in-a-file.md). Rows are only ever added; the newest of a frame counts.
"""

from __future__ import annotations

import csv
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from pipeline.errors import AndonError
from pipeline.events import Score, Verdict, now
from pipeline.files.spreadsheet import cell

MAX_NOTE = 1000
DEFAULT_MAX_MIB = 4096


class FeedbackError(AndonError):
    """A judgement that can't be kept, or a store that can't be read."""


class Judgement(StrEnum):
    CORRECT = "correct"
    FALSE_ALARM = "false_alarm"
    """NOT_OK, and the part is good."""
    MISSED = "missed"
    """OK, and the part is bad."""
    UNSURE = "unsure"


@dataclass(frozen=True)
class Said:
    frame_id: str
    judgement: Judgement
    actor: str
    note: str
    at: datetime


_SCHEMA = """
CREATE TABLE IF NOT EXISTS feedback (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    frame_id TEXT NOT NULL, judgement TEXT NOT NULL, actor TEXT NOT NULL, role TEXT NOT NULL, note TEXT NOT NULL,
    at TEXT NOT NULL, camera_id TEXT NOT NULL, line_id TEXT NOT NULL, part_id TEXT NOT NULL, recipe TEXT NOT NULL,
    captured_at TEXT NOT NULL, verdict TEXT NOT NULL, score REAL, threshold REAL NOT NULL, bundle TEXT NOT NULL,
    model_hash TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS feedback_frame ON feedback (frame_id, number);
CREATE TABLE IF NOT EXISTS image (frame_id TEXT PRIMARY KEY, content_type TEXT NOT NULL, bytes BLOB NOT NULL);
"""


class FeedbackStore:
    """Any thread; several pages may share the file."""

    def __init__(self, path: Path, max_mib: int = DEFAULT_MAX_MIB) -> None:
        self.path = path
        self._max_bytes = max_mib * 1024 * 1024
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with self._open() as database:
            database.executescript("PRAGMA journal_mode=WAL;" + _SCHEMA)

    def add(
        self, score: Score, judgement: Judgement, actor: str, role: str, note: str, image: tuple[bytes, str] | None
    ) -> Said:
        """`image`: bytes and content type; None where Kafka has forgotten it. A word that was said before can be taken
        back then, too: its image is here. Raises FeedbackError."""
        if judgement not in fitting(score.verdict):
            raise FeedbackError(f"{judgement.value!r} does not fit a frame that is {score.verdict}")
        said = Said(score.frame_id, judgement, actor, note.strip()[:MAX_NOTE], now())
        if image is None and not self.of(score.frame_id):
            raise FeedbackError("Kafka has forgotten this frame, so there is nothing to train from")
        if self._bytes() + len(image[0] if image else b"") > self._max_bytes:
            raise FeedbackError(
                f"{self.path} has reached its limit of {self._max_bytes >> 20} MiB: export it with `andon feedback "
                "export`, move it away, or raise --feedback-mib"
            )
        with self._open() as database:
            if image is not None:
                database.execute("INSERT OR IGNORE INTO image VALUES (?, ?, ?)", (score.frame_id, image[1], image[0]))
            database.execute(
                "INSERT INTO feedback (frame_id, judgement, actor, role, note, at, camera_id, line_id, part_id, recipe,"
                " captured_at, verdict, score, threshold, bundle, model_hash) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    score.frame_id, judgement.value, actor, role, said.note, said.at.isoformat(), score.camera_id,
                    score.line_id, score.part_id, score.recipe, score.captured_at.isoformat(), score.verdict.value,
                    score.score, score.threshold, score.model.bundle, score.model.hash,
                ),
            )  # fmt: skip
        return said

    def of(self, frame_id: str) -> list[Said]:
        """Newest first."""
        with self._open() as database:
            rows = database.execute(
                "SELECT frame_id, judgement, actor, note, at FROM feedback WHERE frame_id = ? ORDER BY number DESC"
                " LIMIT 20",
                (frame_id,),
            ).fetchall()
        return [
            Said(frame, Judgement(said), who, note, datetime.fromisoformat(at)) for frame, said, who, note, at in rows
        ]

    def captured(self, frame_id: str) -> tuple[str, datetime] | None:
        """Line and moment of a frame that something was said of."""
        with self._open() as database:
            row = database.execute(
                "SELECT line_id, captured_at FROM feedback WHERE frame_id = ? LIMIT 1", (frame_id,)
            ).fetchone()
        return (row[0], datetime.fromisoformat(row[1])) if row else None

    def counts(self) -> dict[str, int]:
        """Judgement → frames, by the newest word on each."""
        with self._open() as database:
            return dict(database.execute(f"SELECT judgement, count(*) FROM ({_NEWEST}) GROUP BY judgement").fetchall())

    def _bytes(self) -> int:
        """With what is not in the file yet: as long as somebody reads, SQLite only adds to its log beside it."""
        total = 0
        for file in (self.path, self.path.with_name(f"{self.path.name}-wal")):
            with suppress(FileNotFoundError):  # the log goes with whoever was the last to have the file open
                total += file.stat().st_size
        return total

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=10)) as database, database:
                yield database
        except sqlite3.Error as error:
            raise FeedbackError(f"the feedback file {self.path} can't be used: {error}") from error


_NEWEST = "SELECT * FROM feedback WHERE number IN (SELECT max(number) FROM feedback GROUP BY frame_id)"


def fitting(verdict: Verdict) -> tuple[Judgement, ...]:
    """What one can say of a verdict."""
    match verdict:
        case Verdict.NOT_OK:
            return Judgement.CORRECT, Judgement.FALSE_ALARM, Judgement.UNSURE
        case Verdict.OK:
            return Judgement.CORRECT, Judgement.MISSED, Judgement.UNSURE
        case Verdict.NOT_DECIDABLE:
            return Judgement.UNSURE, Judgement.MISSED


@dataclass(frozen=True)
class Exported:
    good: int
    defects: int
    left_out: int
    """People were unsure, or the frame was NOT_DECIDABLE and the part is said to be good."""


def export(path: Path, out: Path) -> dict[str, Exported]:
    """MVTec layout, a folder a recipe: `train/good` and `test/defect`, with `feedback.csv` beside them.

    Returns recipe → counts. Raises FeedbackError, also when `out` holds something already.
    """
    if not path.is_file():
        raise FeedbackError(f"there is no feedback file {path}: name the one of `andon console` with --feedback")
    if out.exists() and any(out.iterdir()):
        raise FeedbackError(f"{out} is not empty: give another folder, so that old and new do not mix")
    try:
        return _export(path, out)
    except sqlite3.Error as error:
        raise FeedbackError(f"the feedback file {path} can't be read: {error}") from error


def _export(path: Path, out: Path) -> dict[str, Exported]:
    counts: dict[str, Counter[str]] = {}
    with closing(sqlite3.connect(f"file:{path.resolve()}?mode=ro", uri=True, timeout=10)) as database:
        database.row_factory = sqlite3.Row
        rows = database.execute(
            f"SELECT * FROM ({_NEWEST}) AS said JOIN image ON image.frame_id = said.frame_id ORDER BY said.number"
        )
        for row in rows:
            recipe = out / row["recipe"]
            place = _place(Judgement(row["judgement"]), Verdict(row["verdict"]))
            counts.setdefault(row["recipe"], Counter())[place or "left out"] += 1
            if place is None:
                continue
            suffix = ".png" if row["content_type"] == "image/png" else ".jpg"
            # "=" is in no name of a camera or a boot, and "_" is: two frames would share a file.
            name = re.sub(r"[^A-Za-z0-9_.=-]", "_", row["frame_id"].replace(":", "="))
            file = recipe / place / (name + suffix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(row["bytes"])
            _note(recipe / "feedback.csv", file.relative_to(recipe), row)
    return {
        recipe: Exported(of["train/good"], of["test/defect"], of["left out"]) for recipe, of in sorted(counts.items())
    }


def _place(judgement: Judgement, verdict: Verdict) -> str | None:
    """The truth of the part, as far as a person vouches for it, and the frame shows it: trained on, one that is dark,
    blurred or of a wrong size would make what can't be inspected good."""
    if judgement is Judgement.UNSURE or (judgement is Judgement.FALSE_ALARM and verdict is Verdict.NOT_DECIDABLE):
        return None
    if judgement is Judgement.CORRECT:
        return "test/defect" if verdict is Verdict.NOT_OK else "train/good"
    return "train/good" if judgement is Judgement.FALSE_ALARM else "test/defect"


_FACTS = ("frame_id", "part_id", "camera_id", "line_id", "captured_at", "verdict", "score", "threshold", "bundle",
          "model_hash", "judgement", "actor", "role", "at", "note")  # fmt: skip


def _note(table: Path, file: Path, row: sqlite3.Row) -> None:
    new = not table.exists()
    with table.open("a", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        if new:
            writer.writerow(("file", *_FACTS))
        writer.writerow((file, *(cell(row[name]) for name in _FACTS)))
