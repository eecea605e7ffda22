"""One part: picture, heat map, what came before and after, which model judged, and what people say of it."""

from __future__ import annotations

from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from pipeline.events import Frame, Score, from_ms
from pipeline.kafka.reading import read_frame
from workers.console.desk import Desk
from workers.console.feedback import Judgement, fitting
from workers.console.pages.common import FRAME_ID, Form, Operator, Refused, Someone, TheDesk, in_threads, page, text
from workers.console.pages.pictures import place_of
from workers.console.tiles import bar_share

router = APIRouter()

NEIGHBOURS = 6
"""On each side."""
_threads = CapacityLimiter(12)
"""Of a part that this page has forgotten, Redis and Kafka are asked."""


@router.get("/parts/{frame_id}")
@in_threads(_threads)
def part(request: Request, who: Someone, desk: TheDesk, frame_id: str) -> Response:
    score = find(desk, frame_id)
    line = [one for one in desk.memory.recent(score.camera_id) if one.frame_id != frame_id]
    before = [one for one in line if one.captured_at <= score.captured_at][-NEIGHBOURS:]
    after = [one for one in line if one.captured_at > score.captured_at][:NEIGHBOURS]
    return page(
        request,
        "part.html",
        score=score,
        share=bar_share(score.score, score.threshold),
        before=before,
        after=after,
        said=desk.feedback.of(frame_id),
        judgements=fitting(score.verdict),
        alarms=[alarm for alarm in desk.memory.alarms() if frame_id in alarm.evidence.frame_ids],
    )


@router.post("/parts/{frame_id}/feedback")
@in_threads(_threads)
def judge(request: Request, who: Operator, desk: TheDesk, frame_id: str, form: Form) -> Response:
    score = find(desk, frame_id)
    try:
        judgement = Judgement(text(form, "judgement"))
    except ValueError as error:
        raise Refused("Not kept", "Say whether the verdict is right.", 400) from error
    at = place_of(desk, frame_id)
    image = desk.pictures.whole(at, frame_id) if at else None
    desk.feedback.add(score, judgement, who.name, who.role.value, text(form, "note"), image)
    return RedirectResponse(f"/parts/{frame_id}?kept={judgement.value}", 303)


def find(desk: Desk, frame_id: str) -> Score:
    """From this page's memory, else from Kafka. Raises Refused, MapStoreError, KafkaUnavailableError."""
    if not FRAME_ID.fullmatch(frame_id):
        raise Refused("There is no such part", frame_id[:200], 404)
    score = desk.memory.score_of(frame_id)
    at = None if score else place_of(desk, frame_id)
    if at and (record := read_frame(desk.settings, at, frame_id)):
        line_id = Frame.from_headers(record.headers).line_id
        score = desk.histories.find(frame_id, line_id, from_ms(record.timestamp_ms))
    if score is None and (judged := desk.feedback.captured(frame_id)):  # scores outlive frames and maps
        score = desk.histories.find(frame_id, *judged)
    if score is None:
        raise Refused(
            "This part is not kept any more",
            f"This page has forgotten {frame_id}, and Redis or Kafka, too: it has expired, or they were emptied.",
            404,
        )
    return score
