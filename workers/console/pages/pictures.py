"""Thumbnail, heat map and whole frame, each a picture of its own, so that the opacity is the browser's business."""

from __future__ import annotations

from contextlib import suppress

from anyio import CapacityLimiter
from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.errors import AndonError
from pipeline.events import KafkaPosition
from pipeline.maps import map_key
from workers.console.desk import Desk
from workers.console.pages.common import FRAME_ID, MODEL, Refused, Someone, TheDesk, in_threads

router = APIRouter(prefix="/pictures")

_KEEP = {"cache-control": "private, max-age=600", "vary": "cookie"}
"""Of one login alone: who sits down after a logout is not shown what the browser has kept."""
_CLEAR = ""
_WORDS = (
    '<path fill="#101317" d="M0 0h72v72H0z"/><g fill="#fff" font-family="sans-serif" font-size="12" '
    'text-anchor="middle"><text x="36" y="33">picture</text><text x="36" y="48">{}</text></g>'
)

_threads = CapacityLimiter(12)
"""Of their own: a wall asks for hundreds of pictures, and where Redis hangs each waits for its time-out. In the threads
of the pages they would hold up who acknowledges a stop."""


@router.get("/{frame_id}/{model}/thumbnail")
@in_threads(_threads)
def thumbnail(who: Someone, desk: TheDesk, frame_id: str, model: str, stand_in: bool = False) -> Response:
    """`stand_in`: for a page that shows it without a script, which could not say that there is none. There the frame
    itself goes for a thumbnail that Redis has let go: a line may stand for longer than its maps are kept."""
    key = _key(frame_id, model)
    if not stand_in:
        return _picture(desk.pictures.thumbnail(key), "image/jpeg")
    why = "not kept"
    try:
        if found := desk.pictures.thumbnail(key):
            return _picture(found, "image/jpeg")
    except AndonError:
        why = "not read"
    try:
        score = desk.memory.score_of(frame_id)
        if score and _is_ours(desk, score.position) and (frame := desk.pictures.whole(score.position, frame_id)):
            return _picture(*frame)
    except AndonError:
        why = "not read"
    return _drawn(_WORDS.format(why))


@router.get("/{frame_id}/{model}/heat")
@in_threads(_threads)
def heat(who: Someone, desk: TheDesk, frame_id: str, model: str, stand_in: bool = False) -> Response:
    key = _key(frame_id, model)
    if not stand_in:
        return _picture(desk.pictures.heat(key), "image/png")
    found = None
    with suppress(AndonError):  # where Redis is away
        found = desk.pictures.heat(key)
    return _picture(found, "image/png") if found else _drawn(_CLEAR)


@router.get("/{frame_id}/whole")
@in_threads(_threads)
def whole(who: Someone, desk: TheDesk, frame_id: str) -> Response:
    """The frame as the camera sent it, while Kafka has it; else its thumbnail."""
    if not FRAME_ID.fullmatch(frame_id):
        raise Refused("There is no such picture", frame_id[:200], 404)
    at = place_of(desk, frame_id)
    found = desk.pictures.whole(at, frame_id) if at else None
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
    return at if at and _is_ours(desk, at) else None


def _is_ours(desk: Desk, at: KafkaPosition) -> bool:
    return at.topic == desk.settings.topics.frames.name


def _key(frame_id: str, model: str) -> str:
    if not FRAME_ID.fullmatch(frame_id) or not MODEL.fullmatch(model):
        raise Refused("There is no such picture", frame_id[:200], 404)
    return map_key(frame_id, model)


def _drawn(inside: str) -> Response:
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">{inside}</svg>'
    return Response(svg, media_type="image/svg+xml", headers=_KEEP | {"cache-control": "private, max-age=30"})


def _picture(content: bytes | None, kind: str) -> Response:
    if content is None:
        return Response(status_code=404)
    return Response(content, media_type=kind, headers=_KEEP)
