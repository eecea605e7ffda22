"""The web application: pages behind one guard."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from pipeline.errors import AndonError
from pipeline.kafka.connection import KafkaUnavailableError
from pipeline.maps import MapStoreError
from workers.console.desk import Desk
from workers.console.guard import Guard
from workers.console.pages import acts, alarms, dead, events, health, login, model, part, pictures, wall
from workers.console.pages.common import Refused, drawings, message
from workers.console.pages.static import STATIC

ROUTERS = tuple(view.router for view in (wall, events, acts, alarms, part, pictures, model, health, dead, login))
_AWAY = (KafkaUnavailableError, MapStoreError)


def create_app(desk: Desk) -> FastAPI:
    app = FastAPI(title="Andon", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    app.state.drawings = drawings(desk)
    for router in ROUTERS:
        app.include_router(router)
    app.get(STATIC.address + "/{name}")(STATIC.answer)
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(AndonError, _fault)
    app.add_exception_handler(404, _missing)
    app.add_exception_handler(405, _missing)
    app.add_exception_handler(RequestValidationError, _unreadable)

    @app.get("/healthz")
    def healthz() -> Response:
        """503 for what only a restart mends. That Kafka is away is none of it: the page says so itself."""
        fault = None if desk.reader.alive else "the reading thread is dead"
        return PlainTextResponse((fault or "well") + "\n", 503 if fault else 200)

    # A wall of 500 lines is a megabyte, and nearly all of it the same words. Pictures and streams are left as they are.
    app.add_middleware(GZipMiddleware, compresslevel=5)
    options = desk.options
    app.add_middleware(
        Guard,
        users=desk.users,
        sessions=desk.sessions,
        proxy=options.proxy,
        hosts=options.hosts,
        secure=options.secure,
    )
    return app


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return message(request, error.title, str(error), error.status)


def _fault(request: Request, error: Exception) -> Response:
    return message(request, "That did not work", str(error), 503 if isinstance(error, _AWAY) else 400)


def _unreadable(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = (f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
    return message(request, "Not an address of this page", f"{request.url.path}: {'; '.join(faults)}"[:500], 400)


def _missing(request: Request, error: Exception) -> Response:
    """Also of an address that only takes what a form of ours sends, as after `reload` once that form was refused."""
    assert isinstance(error, HTTPException)
    if request.state.identity is None:
        return PlainTextResponse("There is no such page.", error.status_code)
    return message(request, "There is no such page", request.url.path, error.status_code)
