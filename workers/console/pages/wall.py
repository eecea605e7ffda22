"""The wall: a tile for each camera, by line."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from workers.console.pages.common import Someone, page

router = APIRouter()


@router.get("/")
def wall(request: Request, who: Someone) -> Response:
    return page(request, "wall.html")
