"""Only this computer's own pages and programs may ask, where anybody who asks is answered."""

from __future__ import annotations

import re

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?", re.IGNORECASE)

_ORIGIN = re.compile(rf"https?://{_HOST.pattern}", re.IGNORECASE)


class LocalOnly:
    """Refuses requests that name another host than this computer, or come from a page of one.

    A page of others can make a browser send here what it likes, and its name can be made to lead
    here (DNS rebinding); but the browser says what name that was, and whose page asks.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A request, as ASGI has it."""
        app = self._app
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            hosts, origins = headers.getlist("Host"), headers.getlist("Origin")
            if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
                app = PlainTextResponse("ask by the name localhost", 400)
            elif not all(map(_ORIGIN.fullmatch, origins)):
                app = PlainTextResponse("pages of others may not ask", 403)
        await app(scope, receive, send)
