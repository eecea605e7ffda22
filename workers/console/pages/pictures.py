"""Thumbnail, heat map and whole frame, each a picture of its own, so that the opacity is the browser's business."""

from __future__ import annotations

from anyio import CapacityLimiter
from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.events import KafkaPosition
from pipeline.maps import map_key
from workers.console.desk import Desk
from workers.console.pages.common import FRAME_ID, MODEL, Refused, Someone, TheDesk, in_threads

router = APIRouter(prefix="/pictures")

_KEEP = {"cache-control": "private, max-age=600"}


_threads = CapacityLimiter(12)
"""Of their own: a wall asks for hundreds of pictures, and where Redis hangs each waits for its time-out. In the threads
of the pages they would hold up who acknowledges a stop."""


@router.get("/{frame_id}/{model}/thumbnail")
@in_threads(_threads)
def thumbnail(who: Someone, desk: TheDesk, frame_id: str, model: str) -> Response:
    return _picture(desk.pictures.thumbnail(_key(frame_id, model)), "image/jpeg")


@router.get("/{frame_id}/{model}/heat")
@in_threads(_threads)
def heat(who: Someone, desk: TheDesk, frame_id: str, model: str) -> Response:
    return _picture(desk.pictures.heat(_key(frame_id, model)), "image/png")


@router.get("/{frame_id}/whole")
@in_threads(_threads)
def whole(who: Someone, desk: TheDesk, frame_id: str) -> Response:
    """The frame as the camera sent it, while Kafka has it; else its thumbnail."""
    if not FRAME_ID.fullmatch(frame_id):
        raise Refused("There is no such picture", frame_id[:200], 404)
    at = place_of(desk, frame_id)
    found = desk.pictures.whole(at) if at else None
    if found is None:
        keys = desk.pictures.keys_of(frame_id)
        return _picture(desk.pictures.thumbnail(keys[-1]) if keys else None, "image/jpeg")
    return _picture(*found)


def place_of(desk: Desk, frame_id: str) -> KafkaPosition | None:
    """Where the frame is, from its score or from its map. Only of our own topic of frames."""
    score = desk.memory.score_of(frame_id)
    at = score.position if score else None
    if at is None:
        keys = desk.pictures.keys_of(frame_id)
        stored = desk.pictures.stored(keys[-1]) if keys else None
        at = stored.position if stored else None
    return at if at and at.topic == desk.settings.topics.frames.name else None


def _key(frame_id: str, model: str) -> str:
    if not FRAME_ID.fullmatch(frame_id) or not MODEL.fullmatch(model):
        raise Refused("There is no such picture", frame_id[:200], 404)
    return map_key(frame_id, model)


def _picture(content: bytes | None, kind: str) -> Response:
    if content is None:
        return Response(status_code=404)
    return Response(content, media_type=kind, headers=_KEEP)
