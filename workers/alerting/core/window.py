"""What one camera last saw: the window that k-of-n is counted in. Pure functions over tuples, oldest first."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from pipeline.events import Evidence, Score, Verdict

EVIDENCE_FRAMES = 20
"""An alarm shows at most so many frames, the newest, so that no event outgrows Kafka's limit."""


class FrameRef(BaseModel):
    """Where to look at a frame."""

    model_config = ConfigDict(frozen=True)

    frame_id: str
    map_key: str | None


NOT_SHOWN = FrameRef(frame_id="", map_key=None)
"""Of a bad part that is older than any that an alarm shows."""


class Seen(BaseModel):
    """One inspected part, or one frame."""

    model_config = ConfigDict(frozen=True)

    part_id: str
    """Empty for a frame that could be judged: nobody asks for its part."""
    shown_by: FrameRef | None = None
    """The newest frame that counts against it; None for a good one."""

    @property
    def bad(self) -> bool:
        return self.shown_by is not None


Window = tuple[Seen, ...]


def add_part(window: Window, score: Score, n: int) -> Window:
    """The last n inspected parts. A part is bad when any of its frames is NOT_OK; no later frame redeems it."""
    if score.verdict is Verdict.NOT_DECIDABLE:
        return window[-n:]
    seen = Seen(part_id=score.part_id, shown_by=_ref(score) if score.verdict is Verdict.NOT_OK else None)
    if all(part.part_id != seen.part_id for part in window):
        return _as_light_as_may_be((*window, seen)[-n:])
    changed = tuple(seen if seen.bad and part.part_id == seen.part_id else part for part in window)
    return _as_light_as_may_be(changed[-n:])


def add_frame(window: Window, score: Score, n: int) -> Window:
    """The last n frames; bad are those that could not be judged."""
    blind = score.verdict is Verdict.NOT_DECIDABLE
    seen = Seen(part_id=score.part_id, shown_by=_ref(score)) if blind else Seen(part_id="")
    return _as_light_as_may_be((*window, seen)[-n:])


def count_bad(window: Window) -> int:
    return sum(seen.bad for seen in window)


def evidence(window: Window, n: int) -> Evidence:
    """`k` counts every bad one of the window; the lists name the newest of them."""
    bad = [seen for seen in window if seen.bad]
    shown = [(seen.part_id, seen.shown_by) for seen in bad[-EVIDENCE_FRAMES:]]
    return Evidence(
        k=len(bad),
        n=n,
        bad_parts=tuple(dict.fromkeys(part_id for part_id, _ in shown)),
        frame_ids=tuple(ref.frame_id for _, ref in shown if ref),
        map_keys=tuple(ref.map_key for _, ref in shown if ref and ref.map_key),
    )


def _as_light_as_may_be(window: Window) -> Window:
    """Only the newest bad ones are ever shown, and a line stores thousands of them."""
    to_forget = count_bad(window) - EVIDENCE_FRAMES
    if to_forget <= 0:
        return window
    light = []
    for seen in window:
        if seen.bad and to_forget > 0:
            to_forget -= 1
            seen = seen if seen.shown_by is NOT_SHOWN else Seen(part_id=seen.part_id, shown_by=NOT_SHOWN)
        light.append(seen)
    return tuple(light)


def _ref(score: Score) -> FrameRef:
    return FrameRef(frame_id=score.frame_id, map_key=score.map_key)
