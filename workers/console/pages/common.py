"""What all pages share: who asks, the token that an act needs, and the frame around a page."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Awaitable, Callable
from datetime import date, datetime, tzinfo
from functools import partial, wraps
from pathlib import Path
from typing import Annotated, Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.responses import JSONResponse, Response
from fastapi.templating import Jinja2Templates
from jinja2 import DictLoader, pass_context
from jinja2.runtime import Context
from starlette.datastructures import FormData

from pipeline.events import Evidence, now, to_ms
from pipeline.maps import map_key
from workers.console import lines
from workers.console.desk import Desk, Options
from workers.console.drawing import Drawings
from workers.console.identity import Identity
from workers.console.pages.static import STATIC
from workers.console.remembered import STATE_WORDS, ActOutcome
from workers.console.users import Role

TEMPLATES = Path(__file__).parents[1] / "templates"
templates = Jinja2Templates(directory=TEMPLATES)
# As they are now, like the scripts that they need: of those, a server tells none that came after its start.
templates.env.loader = DictLoader({file.name: file.read_text(encoding="utf-8") for file in TEMPLATES.iterdir()})
FRAME_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}:\d{1,15}")
MODEL = re.compile(r"[A-Za-z0-9]{1,64}")


class Refused(Exception):
    """Something that this person, or anybody, can't have. Shown as a page."""

    def __init__(self, title: str, text: str, status: int = 403) -> None:
        super().__init__(text)
        self.title = title
        self.status = status


def the_desk(request: Request) -> Desk:
    found: Desk = request.app.state.desk
    return found


def the_drawings(request: Request) -> Drawings:
    found: Drawings = request.app.state.drawings
    return found


def someone(request: Request) -> Identity:
    """Who is logged in. The guard lets nobody else through."""
    found: Identity | None = request.state.identity
    if found is None:
        raise Refused("Log in first", "Nobody is logged in.", 401)
    return found


def operator(who: Annotated[Identity, Depends(someone)]) -> Identity:
    return _as(who, Role.OPERATOR)


def engineer(who: Annotated[Identity, Depends(someone)]) -> Identity:
    return _as(who, Role.ENGINEER)


def _as(who: Identity, role: Role) -> Identity:
    if not who.may(role):
        raise Refused("Not in your role", f"{who.name} is {who.role.value}; this needs the role {role.value}.")
    return who


async def any_form(request: Request) -> FormData:
    return await request.form()


def is_ours(request: Request, form: FormData) -> bool:
    """Whether it comes from a page of this session."""
    return the_desk(request).sessions.is_csrf_token(request.state.session, text(form, "csrf"))


async def checked_form(request: Request) -> FormData:
    """The fields of an act, once its token has shown that it comes from our own page."""
    form = await request.form()
    if not is_ours(request, form):
        raise Refused("Not done", "The page was too old, or the request came from elsewhere. Load it again and retry.")
    return form


TheDesk = Annotated[Desk, Depends(the_desk)]
Someone = Annotated[Identity, Depends(someone)]
Operator = Annotated[Identity, Depends(operator)]
Engineer = Annotated[Identity, Depends(engineer)]
Form = Annotated[FormData, Depends(checked_form)]


def in_threads(limiter: CapacityLimiter) -> Callable[[Callable[..., Response]], Callable[..., Awaitable[Response]]]:
    """For a view that may wait long for Kafka or Redis: in threads of its own it holds up no other page."""

    def apart(view: Callable[..., Response]) -> Callable[..., Awaitable[Response]]:
        @wraps(view)
        async def awaited(*args: Any, **named: Any) -> Response:
            return await run_sync(partial(view, *args, **named), limiter=limiter)

        return awaited

    return apart


def text(form: FormData, name: str, at_most: int = 2000) -> str:
    value = form.get(name, "")
    return value[:at_most] if isinstance(value, str) else ""


def number(form: FormData, name: str) -> float:
    """Raises Refused for what is no number."""

    try:
        value = float(text(form, name))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Refused("Not done", f"{name.replace('_', ' ')} must be a number.", 400)
    return value


def safe_next(target: str) -> str:
    """A place on this page, and never elsewhere."""
    # Printable: browsers pass over tabs and line ends, so "/<tab>/host" would lead away.
    ours = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if ours else "/"


def page(request: Request, template: str, *, status: int = 200, **context: Any) -> Response:
    desk, who = the_desk(request), request.state.identity
    drawing = the_drawings(request).now() if who and not who.must_change else None
    everywhere = {
        "who": who,
        "csrf": desk.sessions.csrf_token(request.state.session),
        "notice": desk.options.notice,
        "may_operate": bool(who and who.may(Role.OPERATOR)),
        "may_engineer": bool(who and who.may(Role.ENGINEER)),
        "now_ms": to_ms(now()),
        **clock_facts(desk.options),
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "outcome": (outcome := _outcome(request, desk)),
        "outcome_words": told(outcome, desk.options) if outcome else "waiting for the alerting worker …",
        "drawing": drawing,
        # For a page that is open, and hears of its lines by its stream.
        "main_alone": request.headers.get("andon-part") == "main",
        "snapshot": drawing.snapshot if drawing else None,
    }
    return templates.TemplateResponse(request, template, everywhere | context, status_code=status)


def _outcome(request: Request, desk: Desk) -> ActOutcome | None:
    """Of the act that led here, where the page can't ask for it itself: without JavaScript."""
    try:
        return desk.memory.outcome(uuid.UUID(request.query_params.get("operation", "")))
    except ValueError:
        return None


def message(request: Request, title: str, words: str, status: int) -> Response:
    """For who asked for a page, as one. A wall whose pictures can't be read asks for hundreds of them."""
    if "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"error": words}, status)
    return page(request, "message.html", title=title, text=words, status=status)


def clock_facts(options: Options) -> dict[str, Any]:
    """What a template needs to tell a time."""
    here = now().astimezone(options.zone)
    return {"zone": options.zone, "zone_name": here.tzname(), "today": here.date()}


def drawings(desk: Desk) -> Drawings:
    def draw(template: str, **context: Any) -> str:
        return templates.get_template(template).render(**clock_facts(desk.options), **context)

    return Drawings(desk.live, draw, lambda: tuple(clock_facts(desk.options).values()))


def told(outcome: ActOutcome, options: Options) -> str:
    """With its time: the page may stand open for hours, and its line be stopped anew."""
    at = f"{outcome.at.astimezone(options.zone):%H:%M:%S %Z}"
    return f"{'done' if outcome.done else 'REFUSED'} at {at} – {outcome.words}"


def short(moment: datetime, zone: tzinfo | None, today: date) -> str:
    """With its date, unless it is of today. By the time of its own season: in autumn an hour comes twice."""
    here = moment.astimezone(zone)
    return f"{here:%H:%M:%S %Z}" if here.date() == today else f"{here:%Y-%m-%d %H:%M:%S %Z}"


@pass_context
def _clock(context: Context, moment: datetime | None) -> str:
    return moment.astimezone(context["zone"]).strftime("%Y-%m-%d %H:%M:%S %Z") if moment else "–"


@pass_context
def _short(context: Context, moment: datetime | None) -> str:
    return short(moment, context["zone"], context["today"]) if moment else "–"


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def pictures_of(frame_id: str, map_key: str | None) -> str | None:
    """The folder of a frame's pictures; the key names frame and model."""
    model = map_key.rsplit(":", 1)[-1] if map_key else ""
    return f"/pictures/{frame_id}/{model}" if MODEL.fullmatch(model) and FRAME_ID.fullmatch(frame_id) else None


def _with_pictures(evidence: Evidence) -> list[tuple[str, str | None]]:
    """Each frame, and the folder of its pictures. Keys are compared whole: `…:1` is in the key of `…:12`, too, whose
    model may be another."""
    keys = {key.rpartition(":")[0] + ":": key for key in evidence.map_keys}
    return [(frame_id, pictures_of(frame_id, keys.get(map_key(frame_id, "")))) for frame_id in evidence.frame_ids]


templates.env.filters |= {
    "clock": _clock, "short": _short, "figure": _figure, "ms": to_ms, "with_pictures": _with_pictures,
}  # fmt: skip
templates.env.globals |= {
    "kind_words": lines.words, "state_words": STATE_WORDS, "pictures_of": pictures_of, "static": STATIC.address,
}  # fmt: skip
