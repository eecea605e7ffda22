"""What stands before every page: who asks, how much they may send, and what a browser may do with the answer."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from workers.console.identity import Identity, TrustedProxy, of_session
from workers.console.sessions import COOKIE, VIEWER_AGE_S, Session, Sessions, new_session
from workers.console.users import Users, UsersError

MAX_BODY_BYTES = 64 * 1024
OPEN = ("/login", "/static/", "/healthz")
"""What needs no login."""
_SAFE = frozenset({"GET", "HEAD"})

ANSWER = "andon-answer"
"""Whose answer it is: the page tells by it our 503 from that of a proxy which can not reach us, and that nobody is
logged in any more."""
_AGAIN = {"refresh": "10"}
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """ASGI middleware. Puts `session` and `identity` into the request's state."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        users: Users,
        sessions: Sessions,
        proxy: TrustedProxy | None = None,
        hosts: frozenset[str] | None = None,
        secure: bool = False,
    ) -> None:
        """hosts: the names that this page answers to; None for any. secure: the cookie travels by TLS alone."""
        self._app = app
        self._users = users
        self._sessions = sessions
        self._proxy = proxy
        self._hosts = hosts
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        session = self._sessions.open(_cookie(headers))
        # FastAPI has the library read them all for each request, whether anybody asks for one or not.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        fresh = session is None
        session = session or new_session()
        try:
            identity, fault = self._identify(scope, headers, session), None
        except UsersError as error:
            identity, fault = None, str(error)
        scope.setdefault("state", {}).update(session=session, identity=identity)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out.setdefault(ANSWER, "console" if identity or fault else "nobody")
                for name, value in HEADERS.items():
                    out.setdefault(name, value)
                out.setdefault("cache-control", "no-store")
                opened = scope["state"]["session"]
                if (fresh or opened is not session) and not scope["path"].startswith(("/static/", "/healthz", "/here")):
                    out.append("set-cookie", self._cookie_for(opened))
            await send(message)

        # A screen that nobody touches must not stay at these words.
        refusal = PlainTextResponse(fault, 503, _AGAIN) if fault else self._refusal(scope, headers, identity)
        if refusal is not None:
            await refusal(scope, receive, send_guarded)
            return
        if scope["method"] == "HEAD" and scope["path"] != "/events":  # which has no end that anybody could wait for
            scope = {**scope, "method": "GET"}  # the server sends the head of the answer alone
        await self._app(scope, _bounded(receive), send_guarded)

    def _identify(self, scope: Scope, headers: Headers, session: Session) -> Identity | None:
        if self._proxy:
            peer = scope["client"][0] if scope.get("client") else None
            vouched = self._proxy.vouches(peer, headers, self._users)
            if vouched:
                return vouched
        return of_session(session, self._users)

    def _refusal(self, scope: Scope, headers: Headers, identity: Identity | None) -> Response | None:
        path, method = scope["path"], scope["method"]
        if self._hosts is not None and _host(headers.get("host", "")) not in self._hosts and path != "/healthz":
            # Another name that leads here is how a foreign page would read this one (DNS rebinding).
            return PlainTextResponse("This page does not answer to that host name.", 421)
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            return PlainTextResponse(f"At most {MAX_BODY_BYTES} bytes, with their length told.", 413)
        if method not in _SAFE and headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("An act must come from this page.", 403)
        if path.startswith(OPEN):
            return None
        if identity is None:
            if "text/html" in headers.get("accept", ""):
                # A page where no person can go on would be the end of a tablet that shows no address bar.
                where = _target(scope) if method in _SAFE else f"{_origin(headers)}&lost=true"
                return RedirectResponse(f"/login?next={where}", 303)
            return PlainTextResponse("Log in first.", 401)
        if identity.must_change and path not in ("/password", "/logout"):
            return RedirectResponse("/password", 303)
        return None

    def _cookie_for(self, session: Session) -> str:
        secure = "; Secure" if self._secure else ""
        sealed = self._sessions.seal(session)
        return f"{COOKIE}={sealed}; Path=/; Max-Age={VIEWER_AGE_S}; HttpOnly; SameSite=Lax{secure}"


def _cookie(headers: Headers) -> str | None:
    """By hand, since ours is never in quotes: to undo the backslashes of 64 KB takes the library most of a minute, and
    every other page waits."""
    parts = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return next((value for name, _, value in parts if name == COOKIE), None)


def _host(header: str) -> str:
    return header.rsplit(":", 1)[0].lower() if not header.endswith("]") else header.lower()


def _target(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    path: str = scope["path"]
    return quote(f"{path}?{query}" if query else path)


def _origin(headers: Headers) -> str:
    """The page of ours that an act was asked on. Only its place here counts: the login leads nowhere else."""
    try:
        page = urlsplit(headers.get("referer", ""))
    except ValueError:
        return "/"
    return quote(f"{page.path or '/'}?{page.query}" if page.query else page.path or "/")


def _bounded(receive: Receive) -> Receive:
    """Believes no length that was told."""
    left = MAX_BODY_BYTES

    async def receive_bounded() -> Any:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            return {"type": "http.disconnect"}
        return message

    return receive_bounded
