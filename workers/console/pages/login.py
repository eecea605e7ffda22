"""Logging in and out, and choosing a password."""

from __future__ import annotations

import logging
import math
from ipaddress import ip_address
from typing import Annotated

from anyio import CapacityLimiter
from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from workers.console.desk import Desk
from workers.console.pages.common import Form, Someone, TheDesk, any_form, in_threads, is_ours, page, safe_next, text
from workers.console.sessions import new_session
from workers.console.users import User, UsersError

router = APIRouter()
_threads = CapacityLimiter(8)
"""Who logs in waits for one of two turns, and holds up nobody who stops a line or looks at one."""
log = logging.getLogger(__name__)


@router.get("/login")
def ask(request: Request, desk: TheDesk, next: str = "/", lost: bool = False) -> Response:
    """`lost`: an act led here."""
    if request.state.identity is not None:
        return RedirectResponse(safe_next(next), 303)
    fault = "Nobody was logged in any more, so what you asked for was NOT done. Log in, and ask again." if lost else ""
    return page(request, "login.html", next=safe_next(next), fault=fault)


@router.post("/login")
@in_threads(_threads)
def login(request: Request, desk: TheDesk, form: Annotated[FormData, Depends(any_form)]) -> Response:
    name, target = text(form, "name", 64).strip(), safe_next(text(form, "next"))
    if not is_ours(request, form):
        fault = "This page stood open for too long. Give the password once more."
        return page(request, "login.html", next=target, name=name, fault=fault, status=403)
    peer = _address(request, desk)
    user, wait_s = _check(desk, name, text(form, "password"), peer)
    if wait_s > 0:
        return _slowed(request, "login.html", wait_s, next=target, name=name)
    if user is None:
        log.warning("login of %r from %s failed", name, peer)
        return page(request, "login.html", next=target, name=name, fault="Name or password is wrong.", status=403)
    log.info("%s logged in from %s as %s", name, peer, user.role.value)
    request.state.session = new_session(name, user.fingerprint)
    return RedirectResponse("/password" if user.must_change else target, 303)


@router.post("/logout")
def logout(request: Request, who: Someone, desk: TheDesk, form: Form) -> Response:
    desk.sessions.end(request.state.session)
    request.state.session = new_session()
    return RedirectResponse("/login", 303)


@router.get("/password")
def password_form(request: Request, who: Someone) -> Response:
    return page(request, "password.html", fault="")


@router.post("/password")
@in_threads(_threads)
def choose_password(request: Request, who: Someone, desk: TheDesk, form: Form) -> Response:
    if who.by_proxy:
        return page(request, "password.html", fault="Your login is not kept here.", status=400)
    chosen = text(form, "new")
    known, wait_s = _check(desk, who.name, text(form, "old"), _address(request, desk))
    if wait_s > 0:
        return _slowed(request, "password.html", wait_s)
    if known is None:
        return page(request, "password.html", fault="The old password is wrong.", status=403)
    if chosen != text(form, "again"):
        return page(request, "password.html", fault="The new passwords differ.", status=400)
    try:
        desk.users.change_password(who.name, chosen)
    except UsersError as error:
        return page(request, "password.html", fault=str(error), status=400)
    user = desk.users.find(who.name)
    request.state.session = new_session(who.name, user.fingerprint if user else "")
    return RedirectResponse("/", 303)


def _check(desk: Desk, name: str, password: str, peer: str) -> tuple[User | None, float]:
    """The user, where the password is right, and how long to wait where too many were wrong."""
    wait_s = desk.limits.wait_s(name, peer)
    if wait_s > 0:
        return None, wait_s
    desk.limits.tried(name, peer)
    user = desk.users.check(name, password)
    if user is not None:
        desk.limits.succeeded(name, peer)
    return user, 0.0


def _slowed(request: Request, template: str, wait_s: float, **context: object) -> Response:
    fault = f"Too many failed tries. Wait {math.ceil(wait_s / 60)} min, or ask an engineer."
    answer = page(request, template, fault=fault, status=429, **context)
    answer.headers["retry-after"] = str(math.ceil(wait_s))
    return answer


def _address(request: Request, desk: Desk) -> str:
    """Whose failed tries these are. Behind a proxy everybody would have the same, and one who guesses would lock all
    others out. The last is the one that the proxy itself has added; what stands before it anybody may have sent."""
    peer = request.client.host if request.client else "?"
    told = request.headers.getlist("x-forwarded-for") if desk.options.behind_tls else []
    try:
        return str(ip_address(told[-1].split(",")[-1].strip())) if told else peer
    except ValueError:
        return peer
