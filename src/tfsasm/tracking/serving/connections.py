"""Who may connect, and what a client may hold and send.

What is unusual here: uvicorn waits for ever for the rest of a request. Who reaches the port, with a
token or without, could hold all files that the process may open, and no camera could connect again.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol

from tfsasm.errors import InputError

if sys.platform != "win32":
    import resource

SILENCE = 20.0
"""Seconds for a whole request, and from one to the next."""

MOST = 512
"""Connections at a time, or half of the files that the process may open."""

_AT_ONCE = 32  # connections that are accepted before any of them can be refused

_LAST_WORDS = 3  # seconds that clients have to go when the server ends

LARGEST_BODY = 10_000  # bytes

_HOST = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d{1,5})?", re.IGNORECASE)

_ORIGIN = re.compile(rf"https?://{_HOST.pattern}", re.IGNORECASE)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any that is free.

    Raises `InputError` where nothing can listen.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host}, port {port} ({reason}); give another --port"
        ) from error


def config_of(app: Any, **others: Any) -> Config:
    """How uvicorn serves `app`: by the one parser whose requests have a largest size."""
    return Config(
        app, http=PatientProtocol, ws="none", log_level="error", access_log=False,
        timeout_graceful_shutdown=_LAST_WORDS, backlog=_AT_ONCE, **others,
    )  # fmt: skip


class PatientProtocol(H11Protocol):
    """A connection that ends when it asks for nothing for `SILENCE`, and if it is one too many."""

    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there."""
        super().connection_made(transport)
        self._look_later()
        if len(self.connections) > most_connections():
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._watch = self.loop.call_later(SILENCE, self._look)

    def _look(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()  # not closed, which waits for a client that reads nothing
        else:
            self._look_later()


def most_connections() -> int:
    """How many there may be at a time."""
    if sys.platform == "win32":
        return MOST
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if files == resource.RLIM_INFINITY else min(MOST, files // 2)


def in_time(receive: Receive) -> Receive:
    """`receive` for which a body that has not come within `SILENCE` is that of a client gone."""
    whole = False

    async def received() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), SILENCE)
        except TimeoutError:
            return {"type": "http.disconnect"}
        whole = not message.get("more_body")
        return message

    return received


def local_only(app: ASGIApp) -> ASGIApp:
    """Refuses requests that name another host than this computer, or come from a page of one.

    A page of others can make a browser send here what it likes, and its name can be made to lead
    here (DNS rebinding); but the browser says what name that was, and whose page asks.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        answer = app
        if scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            hosts, origins = headers.getlist("Host"), headers.getlist("Origin")
            if len(hosts) != 1 or not _HOST.fullmatch(hosts[0]):
                answer = PlainTextResponse("ask by the name localhost", 400)
            elif not all(map(_ORIGIN.fullmatch, origins)):
                answer = PlainTextResponse("pages of others may not ask", 403)
        await answer(scope, receive, send)

    return guarded


def small_bodies(app: ASGIApp) -> ASGIApp:
    """Refuses what no call needs before it is read, and waits for no body for long.

    Pages of others can send here what they like, but JSON only if they are allowed to.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        answer = app
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            length = headers.get("Content-Length", "0")
            kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
            if "Transfer-Encoding" in headers or not length.isdecimal() or (
                int(length) > LARGEST_BODY
            ):
                answer = JSONResponse({"detail": f"a body has up to {LARGEST_BODY:,} bytes"}, 413)
            elif int(length) and kind != "application/json":
                answer = JSONResponse({"detail": "a body is of type application/json"}, 415)
        await answer(scope, in_time(receive), send)

    return guarded
