"""Logging in and out, and choosing a password."""

from __future__ import annotations

import logging
import math
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import FormData

from workers.console.pages.common import Form, Someone, TheDesk, any_form, is_ours, page, safe_next, text
from workers.console.sessions import new_session
from workers.console.users import UsersError

router = APIRouter()
log = logging.getLogger(__name__)


@router.get("/login")
def ask(request: Request, desk: TheDesk, next: str = "/", lost: bool = False) -> Response:
    """`lost`: an act led here."""
    if request.state.identity is not None:
        return RedirectResponse(safe_next(next), 303)
    fault = "Nobody was logged in any more, so what you asked for was NOT done. Log in, and ask again." if lost else ""
    return page(request, "login.html", next=safe_next(next), fault=fault)


@router.post("/login")
def login(request: Request, desk: TheDesk, form: Annotated[FormData, Depends(any_form)]) -> Response:
    name, target = text(form, "name", 64).strip(), safe_next(text(form, "next"))
    if not is_ours(request, form):
        fault = "This page stood open for too long. Give the password once more."
        return page(request, "login.html", next=target, name=name, fault=fault, status=403)
    peer = request.client.host if request.client else "?"
    wait_s = desk.limits.wait_s(name, peer)
    if wait_s > 0:
        minutes = math.ceil(wait_s / 60)
        answer = page(
            request, "login.html", next=target, name=name, status=429,
            fault=f"Too many failed tries. Wait {minutes} min, or ask an engineer.",
        )  # fmt: skip
        answer.headers["retry-after"] = str(math.ceil(wait_s))
        return answer
    desk.limits.tried(name, peer)
    user = desk.users.check(name, text(form, "password"))
    if user is None:
        log.warning("login of %r from %s failed", name, peer)
        return page(request, "login.html", next=target, name=name, fault="Name or password is wrong.", status=403)
    desk.limits.succeeded(name, peer)
    log.info("%s logged in from %s as %s", name, peer, user.role.value)
    request.state.session = new_session(name, user.fingerprint)
    return RedirectResponse("/password" if user.must_change else target, 303)


@router.post("/logout")
def logout(request: Request, who: Someone, form: Form) -> Response:
    request.state.session = new_session()
    return RedirectResponse("/login", 303)


@router.get("/password")
def password_form(request: Request, who: Someone) -> Response:
    return page(request, "password.html", fault="")


@router.post("/password")
def choose_password(request: Request, who: Someone, desk: TheDesk, form: Form) -> Response:
    if who.by_proxy:
        return page(request, "password.html", fault="Your login is not kept here.", status=400)
    chosen = text(form, "new")
    if desk.users.check(who.name, text(form, "old")) is None:
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
