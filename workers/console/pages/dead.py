"""A look inside a dead letter."""

from __future__ import annotations

from anyio import CapacityLimiter
from fastapi import APIRouter, Request
from fastapi.responses import Response

from pipeline.kafka.dead_letters import cause_of_death
from pipeline.kafka.reading import read_one
from pipeline.kafka.records import Incoming
from workers.console.desk import Desk
from workers.console.pages.common import Operator, Refused, Someone, TheDesk, in_threads, page
from workers.console.pictures import as_picture

router = APIRouter(prefix="/dead")

_HEX_BYTES = 256
_threads = CapacityLimiter(12)
"""Each may wait for Kafka."""


@router.get("/{partition}/{offset}")
@in_threads(_threads)
def letter(request: Request, who: Someone, desk: TheDesk, partition: int, offset: int) -> Response:
    record = _read(desk, partition, offset)
    value = record.value or b""
    return page(
        request,
        "dead.html",
        place=f"{partition}:{offset}",
        cause=cause_of_death(record.headers),
        headers=[
            (name, value.decode(errors="replace")[:300])
            for name, value in record.headers
            if not name.startswith("dead.")
        ],
        key=(record.key or b"").decode(errors="replace")[:300],
        size=len(value),
        is_picture=as_picture(record.value) is not None,
        dump=[
            (f"{at:04x}", value[at : at + 16].hex(" "), "".join(_printable(byte) for byte in value[at : at + 16]))
            for at in range(0, min(len(value), _HEX_BYTES), 16)
        ],
    )


@router.get("/{partition}/{offset}/picture")
@in_threads(_threads)
def picture(who: Operator, desk: TheDesk, partition: int, offset: int) -> Response:
    found = as_picture(_read(desk, partition, offset).value)
    if found is None:
        raise Refused("Not a picture", "These bytes are no PNG or JPEG of a size that may be shown.", 415)
    return Response(found[0], media_type=found[1])


def _read(desk: Desk, partition: int, offset: int) -> Incoming:
    topic = desk.settings.topics.frames_dead
    found = read_one(desk.settings, topic.name, partition, offset)
    if found is None:
        raise Refused("There is no such dead letter", f"{partition}:{offset} has expired, or the place is wrong.", 404)
    return found


def _printable(byte: int) -> str:
    return chr(byte) if 32 <= byte < 127 else "."
